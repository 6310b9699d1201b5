package lab

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// Proxy is a TCP relay before a server that a test can break: cut every
// connection with RST, refuse new ones, or swallow all bytes. It can keep what
// passes.
type Proxy struct {
	Addr string

	lab    *Lab
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex // guards all below
	ln     net.Listener
	conns  map[net.Conn]bool
	hole   chan struct{} // closed when the black hole ends; nil: there is none
	deaf   bool
	opened int
	record bool
	up     bytes.Buffer // from the clients
	down   bytes.Buffer // from the server
}

// Proxy starts a relay to target.
func (l *Lab) Proxy(target string) *Proxy {
	l.Helper()
	p := &Proxy{Addr: addr(l.Port()), lab: l, target: target, conns: map[net.Conn]bool{}}
	p.Restore()
	l.Cleanup(func() { p.Cut(); p.wg.Wait() })
	return p
}

// Cut resets every connection, and refuses new ones until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		_ = p.ln.Close()
		p.ln = nil
	}
	p.fill()
	p.resetAll()
}

// fill ends a black hole. What was swallowed is gone for good, and the connections
// with it.
func (p *Proxy) fill() {
	if p.hole != nil {
		close(p.hole)
		p.hole = nil
		p.resetAll()
	}
}

// Reset resets every connection; new ones are welcome.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetAll()
}

func (p *Proxy) resetAll() {
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(p.conns)
}

// Restore takes connections again after Cut, and ends a black hole.
func (p *Proxy) Restore() {
	p.lab.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill()
	p.deaf = false
	if p.ln != nil {
		return
	}
	ln, err := net.Listen("tcp", p.Addr)
	p.lab.must(err)
	p.ln = ln
	p.wg.Go(func() { p.accept(ln) })
}

// BlackHole swallows every byte in both directions, and that one side has closed
// too, as a firewall does that forgot the connection. Restore resets what was
// connected until then.
func (p *Proxy) BlackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole == nil {
		p.hole = make(chan struct{})
	}
}

// Deafen swallows what the server says, until Restore: it hears the clients, and they
// hear nothing of it.
func (p *Proxy) Deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// Record keeps what passes from now on.
func (p *Proxy) Record() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = true
}

// Recorded returns what clients (up) and server (down) sent since Record.
func (p *Proxy) Recorded() (up, down string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up.String(), p.down.String()
}

// Opened returns how many connections were ever taken.
func (p *Proxy) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

func (p *Proxy) accept(ln net.Listener) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(a) })
	}
}

func (p *Proxy) serve(a net.Conn) {
	defer func() { _ = a.Close() }()
	b, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		if t, ok := a.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return
	}
	defer func() { _ = b.Close() }()
	p.mu.Lock()
	if p.ln == nil { // cut meanwhile
		p.mu.Unlock()
		return
	}
	p.opened++
	p.conns[a], p.conns[b] = true, true
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.pipe(b, a, &p.up); _ = a.Close(); _ = b.Close() })
	p.pipe(a, b, &p.down)
	_, _ = a.Close(), b.Close()
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, a)
	delete(p.conns, b)
	p.mu.Unlock()
}

// pipe copies src to dst until either ends.
func (p *Proxy) pipe(dst, src net.Conn, rec *bytes.Buffer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		hole := p.hole
		lost := hole != nil || p.deaf && rec == &p.down
		if p.record && !lost {
			rec.Write(buf[:n])
		}
		p.mu.Unlock()
		if n > 0 && !lost {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if hole != nil {
				<-hole
			}
			return
		}
	}
}
