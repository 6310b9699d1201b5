// Package lab runs real servers and real clients on loopback, for end-to-end
// tests and for the demo: InspIRCd with atheme, ngIRCd, Prosody, ejabberd,
// profanity, mcabber, Pidgin and gpg, a TCP proxy that can be cut, and two small
// raw clients of its own. Each Lab has its own folder, its own certificate authority
// and its own ports on 127.0.0.1; it ends every process it started by its PID.
//
// The programs come from Debian packages (`make deps`). Nothing of the bridge is
// imported here: the lab stands on the other side of the wire.
package lab

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// patience is how long servers and clients may take for one thing: long, for a
// machine under load.
const patience = 3 * time.Minute

// TB is the part of testing.TB that the lab needs. A plain program brings its
// own; there, Fatalf must not return.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Lab is one set of servers and clients. Its methods fail the test where they
// cannot do what they are asked; they may be called from the test's goroutine
// only. What they start ends with the test.
type Lab struct {
	TB
	Dir string // the lab's own folder
	CA  *CA    // signs the certificates of its servers

	once  sync.Once  // for report
	mu    sync.Mutex // guards names and procs
	names map[string]int
	procs []*Proc
}

// New makes a lab in a folder of its own. When the test failed, the tail of each
// process's log is printed.
func New(tb TB) *Lab {
	tb.Helper()
	// Sockets lie in it, whose paths may not be long: a test's TempDir is.
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &Lab{TB: tb, Dir: dir, names: map[string]int{}}
	l.CA = newCA(l)
	return l
}

// report prints the ends of the logs of a failed test.
func (l *Lab) report() {
	if !l.Failed() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.procs {
		for _, log := range append([]string{p.Out}, p.Logs...) {
			if t := tail(log, 4<<10); t != "" {
				l.Logf("--- %s: end of %s\n%s", p.Name, log, t)
			}
		}
	}
}

func tail(name string, n int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return string(b)
}

// folder makes a folder of the lab, numbered when the name is taken.
func (l *Lab) folder(name string) string {
	l.Helper()
	l.mu.Lock()
	l.names[name]++
	if n := l.names[name]; n > 1 {
		name += strconv.Itoa(n)
	}
	l.mu.Unlock()
	dir := filepath.Join(l.Dir, name)
	l.must(os.MkdirAll(dir, 0o700))
	return dir
}

func (l *Lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("lab: %v", err)
	}
}

// write makes a file of the lab and the folders above it.
func (l *Lab) write(name, text string) {
	l.Helper()
	l.must(os.MkdirAll(filepath.Dir(name), 0o700))
	l.must(os.WriteFile(name, []byte(text), 0o600))
}

// Port returns a port on 127.0.0.1 that is free now. It lies below the range
// that the kernel gives to outgoing connections, so that none takes it before
// its server does.
func (l *Lab) Port() int {
	l.Helper()
	for range 200 {
		p := 10240 + rand.IntN(32000-10240)
		ln, err := net.Listen("tcp", addr(p))
		if err != nil {
			continue
		}
		_ = ln.Close()
		if l.reserve(p) {
			return p
		}
	}
	l.Fatalf("lab: no free port on 127.0.0.1")
	return 0
}

// ofdSetLock is F_OFD_SETLK of Linux: a lock of the open file, not of the process.
const ofdSetLock = 37

// reserve keeps a port from the labs of other tests and processes until the test ends:
// the server takes it only later. It reports whether the port was nobody's.
func (l *Lab) reserve(port int) bool {
	l.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("drawbridge-lab-ports-%d", os.Geteuid())), os.O_RDWR|os.O_CREATE, 0o600)
	l.must(err)
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(port), Len: 1}
	if err := syscall.FcntlFlock(f.Fd(), ofdSetLock, &lock); err != nil {
		_ = f.Close()
		return false
	}
	l.Cleanup(func() { _ = f.Close() })
	return true
}

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Poll asks cond every 10 ms until it is true, and reports whether it became so
// within d.
func Poll(d time.Duration, cond func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Await fails the test if cond does not become true within d.
func (l *Lab) Await(d time.Duration, what string, cond func() bool) {
	l.Helper()
	if !Poll(d, cond) {
		l.Fatalf("lab: waited %v in vain: %s", d, what)
	}
}

// awaitPort waits until something listens at addr.
func (l *Lab) awaitPort(p *Proc, addr string) {
	l.Helper()
	ok := Poll(patience, func() bool {
		if !p.Alive() {
			l.Fatalf("lab: %s ended at its start:\n%s", p.Name, tail(p.Out, 4<<10))
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	if !ok {
		l.Fatalf("lab: %s does not listen at %s", p.Name, addr)
	}
}
