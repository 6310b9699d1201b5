package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	bridgeUser = "drawbridge"
	bridgeNick = "brbot"
)

// Bins are the programs used, from flags.
type Bins struct {
	InspIRCd, Prosody string
	IRCDHistory       bool
}

// Session is one bridge-under-test (nil Spec: none) with fresh servers, C
// mapped channels, K senders a side and one observer a side.
type Session struct {
	Cfg    *Config
	Spec   *Spec
	C, K   int
	Dir    string
	Ports  Ports
	Srv    *Servers
	Bridge *Proc
	data   Data
	pairs  []Pairing

	ircObs  *IRCClient
	xmppObs []*XMPPClient // one for rooms; one per contact in pair mode
	ircS    []*IRCClient
	xmppS   []*XMPPClient
	proxies []*Proxy

	pmu      sync.Mutex
	ircIn    map[string]bool // channels that the bridge is in
	mucIn    map[string]bool
	cur      sync.RWMutex
	i2x, x2i *Tracker

	StartS float64 // start to joined
}

// NewSession starts servers, clients and the bridge, and waits until all are in.
func NewSession(cfg *Config, spec *Spec, c, k int, dir string, proxied bool) (s *Session, err error) {
	s = &Session{Cfg: cfg, Spec: spec, C: c, K: k, Dir: dir, Ports: portsFrom(cfg.Base), ircIn: map[string]bool{}, mucIn: map[string]bool{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	os.RemoveAll(dir)
	for i := 0; i < c; i++ {
		n := fmt.Sprintf("c%03d", i)
		s.pairs = append(s.pairs, Pairing{Channel: "#" + n, Room: n, RoomJID: n + "@" + mucHost, Contact: fmt.Sprintf("u%03d@%s", i, domain)})
	}
	users := []string{bridgeUser, "obs"}
	var contacts []string
	for i := 0; i < k; i++ {
		users = append(users, fmt.Sprintf("xs%d", i))
	}
	if spec != nil && spec.Kind == "pair" {
		for _, p := range s.pairs {
			contacts = append(contacts, strings.SplitN(p.Contact, "@", 2)[0])
		}
		users = append(users, contacts...)
	}
	history := 20 // Prosody's own default
	if proxied {
		history = 1000 // a bridge that comes back can catch up
	}
	if s.Srv, err = NewServers(dir, s.Ports, cfg.Bins, users, bridgeUser, contacts, history); err != nil {
		return
	}
	if err = s.Srv.Start(); err != nil {
		return
	}
	d := Data{
		Dir: filepath.Join(dir, "bridge"), Host: "127.0.0.1", IRCPort: s.Ports.IRC, XMPPPort: s.Ports.C2S,
		IRCNick: bridgeNick, MUCNick: bridgeNick, User: bridgeUser, JID: bridgeUser + "@" + domain, Password: password, Domain: domain, MUC: mucHost,
		CAFile: s.Srv.CAFile, Pairs: s.pairs,
	}
	if proxied {
		for _, m := range []struct {
			listen, to int
			put        *int
		}{{s.Ports.IRCProxy, s.Ports.IRC, &d.IRCPort}, {s.Ports.C2SProxy, s.Ports.C2S, &d.XMPPPort}} {
			var p *Proxy
			if p, err = NewProxy(addr(m.listen), addr(m.to)); err != nil {
				return
			}
			s.proxies = append(s.proxies, p)
			*m.put = m.listen
		}
	}
	if spec != nil {
		d.Bin = cfg.BinOf[spec.Bin]
		if d.Bin == "" {
			d.Bin = spec.Bin
		}
	}
	d.KeyDir = filepath.Join(dir, "keys")
	if spec != nil {
		if mk := codecKeys[spec.Codec]; mk != nil {
			if err = mk(d.KeyDir, append([]string{bridgeUser}, contacts...), spec.CodecA); err != nil {
				return
			}
		}
	}
	s.data = d
	if err = s.startClients(); err != nil {
		return
	}
	if spec != nil {
		t0 := time.Now()
		if err = s.startBridge(); err != nil {
			return
		}
		if !waitFor(time.Duration(spec.JoinS*1e9), s.BridgeIn) {
			err = fmt.Errorf("%s did not join both sides within %.0f s (IRC %d/%d, XMPP %d/%d); see %s", spec.Name, spec.JoinS, len(s.ircIn), c, len(s.mucIn), c, d.Dir)
			return
		}
		s.StartS = time.Since(t0).Seconds()
		for _, x := range s.xmppObs {
			h, ok := x.Codec.(Handshaker)
			if !ok {
				continue
			}
			h.Begin(x, d.JID)
			if !waitFor(20*time.Second, h.Ready) {
				err = errors.New("no encrypted session with " + spec.Name)
				return
			}
		}
		time.Sleep(time.Duration(200+spec.RunsMs) * time.Millisecond)
	}
	return s, nil
}

func (s *Session) startBridge() (err error) {
	if s.Bridge == nil {
		if s.Bridge, err = s.Spec.Prepare(s.data); err != nil {
			return err
		}
	}
	return s.Bridge.Start()
}

// BridgeIn says whether the bridge is in every channel and room.
func (s *Session) BridgeIn() bool {
	s.pmu.Lock()
	defer s.pmu.Unlock()
	return len(s.ircIn) >= s.C && len(s.mucIn) >= s.C
}

func (s *Session) codec(user string) Codec {
	if s.Spec == nil {
		return plainCodec{}
	}
	c, err := newCodec(s.Spec.Codec, s.data.KeyDir, user, s.Spec.CodecA)
	if err != nil {
		logf("codec: %v", err)
		return plainCodec{}
	}
	return c
}

func (s *Session) startClients() error {
	var chans, rooms []string
	for i := range s.pairs {
		chans = append(chans, s.pairs[i].Channel)
		rooms = append(rooms, s.pairs[i].RoomJID)
	}
	kind := ""
	if s.Spec != nil {
		kind = s.Spec.Kind
	}
	senders := map[string]bool{}
	s.ircObs = &IRCClient{Addr: addr(s.Ports.IRC), Nick: "ircobs", Channels: chans}
	s.ircObs.OnMsg = func(from, target, text string) {
		s.cur.RLock()
		a, b := s.i2x, s.x2i
		s.cur.RUnlock()
		if s.Spec == nil {
			a, b = b, a // no bridge: the same side is the far side
		}
		if b != nil {
			b.Seen(text, false)
		}
		if a != nil {
			a.Witness(text)
		}
	}
	s.ircObs.OnPresence = func(nick, ch string, in bool) {
		if !strings.HasPrefix(nick, bridgeNick) {
			return
		}
		s.pmu.Lock()
		if in {
			s.ircIn[ch] = true
		} else if ch == "*" {
			s.ircIn = map[string]bool{}
		} else {
			delete(s.ircIn, ch)
		}
		s.pmu.Unlock()
	}
	for i := 0; i < s.K; i++ {
		c := &IRCClient{Addr: addr(s.Ports.IRC), Nick: fmt.Sprintf("is%d", i)}
		for j := i; j < s.streams(); j += s.K {
			c.Channels = appendOnce(c.Channels, chans[j%s.C])
		}
		senders[c.Nick] = true
		s.ircS = append(s.ircS, c)
	}
	onMsg := func(from, typ, body string, delayed bool) {
		s.cur.RLock()
		a, b := s.i2x, s.x2i
		s.cur.RUnlock()
		if s.Spec == nil {
			a, b = b, a
		}
		if a != nil {
			a.Seen(body, delayed)
		}
		if b != nil && !delayed {
			b.Witness(body)
		}
	}
	xm := func(user, nick string, rooms []string) *XMPPClient {
		x := &XMPPClient{Addr: addr(s.Ports.C2S), Domain: domain, User: user, Pass: password, Nick: nick, Rooms: rooms, Codec: plainCodec{}}
		if kind == "pair" {
			x.Codec = s.codec(user)
		}
		if p, ok := x.Codec.(Presencer); ok {
			x.Presence = p.Presence()
		}
		return x
	}
	if kind == "pair" {
		for i, p := range s.pairs {
			c := xm(strings.SplitN(p.Contact, "@", 2)[0], "", nil)
			c.OnMsg = func(from, typ, body string, delayed bool) {
				if strings.HasPrefix(from, bridgeUser+"@") {
					onMsg(from, typ, body, delayed)
				}
			}
			c.OnPresence = func(from string, in bool) {
				if strings.HasPrefix(from, bridgeUser+"@") {
					s.pmu.Lock()
					if in {
						s.mucIn[fmt.Sprint(i)] = true
					} else {
						delete(s.mucIn, fmt.Sprint(i))
					}
					s.pmu.Unlock()
				}
			}
			s.xmppObs = append(s.xmppObs, c)
		}
		s.xmppS = s.xmppObs // the contacts speak themselves
	} else {
		o := xm("obs", "xmppobs", rooms)
		o.OnMsg = onMsg
		o.OnPresence = func(from string, in bool) {
			room, nick, _ := strings.Cut(from, "/")
			if !strings.HasPrefix(nick, bridgeNick) {
				return
			}
			s.pmu.Lock()
			if in {
				s.mucIn[room] = true
			} else {
				delete(s.mucIn, room)
			}
			s.pmu.Unlock()
		}
		s.xmppObs = []*XMPPClient{o}
		for i := 0; i < s.K; i++ {
			var rs []string
			for j := i; j < s.streams(); j += s.K {
				rs = appendOnce(rs, rooms[j%s.C])
			}
			s.xmppS = append(s.xmppS, xm(fmt.Sprintf("xs%d", i), fmt.Sprintf("xs%d", i), rs))
		}
	}
	s.ircObs.Start()
	for _, c := range s.ircS {
		c.Start()
	}
	for _, c := range s.xmppObs {
		c.Start()
	}
	if kind != "pair" {
		for _, c := range s.xmppS {
			c.Start()
		}
	}
	if !waitFor(60*time.Second, s.clientsUp) {
		return errors.New("the harness's own clients did not all get in")
	}
	return nil
}

func appendOnce(l []string, v string) []string {
	for _, x := range l {
		if x == v {
			return l
		}
	}
	return append(l, v)
}

func (s *Session) clientsUp() bool {
	if !s.ircObs.Up() {
		return false
	}
	for _, c := range s.ircS {
		if !c.Up() {
			return false
		}
	}
	for _, c := range append(s.xmppObs, s.xmppS...) {
		if !c.Up() {
			return false
		}
	}
	return true
}

// streams: one per sender and channel, as few as cover both.
func (s *Session) streams() int { return max(s.K, s.C) }

// Close ends the bridge, the clients and the servers.
func (s *Session) Close() {
	if s.Bridge != nil {
		s.Bridge.Stop()
	}
	if s.ircObs != nil && s.ircObs.done != nil {
		s.ircObs.Close()
	}
	for _, c := range s.ircS {
		if c.done != nil {
			c.Close()
		}
	}
	seen := map[*XMPPClient]bool{}
	for _, c := range append(s.xmppObs, s.xmppS...) {
		if c.done != nil && !seen[c] {
			seen[c] = true
			c.Close()
		}
	}
	for _, p := range s.proxies {
		p.Close()
	}
	if s.Srv != nil {
		s.Srv.Stop()
	}
}
