package xmpp

import (
	"maps"
	"slices"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

// Reconfigure applies c live: people, rooms, nicks and status text change
// without dropping the stream; another login or server makes a new one. If c is
// wrong, nothing changes. The account's name cannot change.
func (l *Leg) Reconfigure(c Config) error {
	c.Name = l.name
	conf, err := prepare(c)
	if err != nil {
		return err
	}
	l.reload.Lock()
	defer l.reload.Unlock()
	old := l.conf.Swap(conf)
	l.mu.Lock()
	goneRooms, joinRooms := l.setRooms(conf)
	gonePeople, come := l.setPeople(conf)
	for _, m := range l.rooms { // somebody acted: try again what was refused
		if m.state == bridge.StateRefused && !slices.Contains(joinRooms, m) {
			m.attempts, m.state = 0, bridge.StateDown
			joinRooms = append(joinRooms, m)
		}
	}
	s := l.lastSession()
	refused := l.state == bridge.StateRefused
	l.mu.Unlock()

	for _, c := range gonePeople {
		l.notify(bridge.Event{Kind: bridge.RoomDown, Room: c.room, Detail: "no longer configured"})
		l.quit(s, c)
	}
	if relogin(old, conf) || refused {
		if s != nil {
			s.end(errReconfigured)
		}
		l.dialNow()
		return nil
	}
	if s == nil {
		return nil
	}
	for _, m := range goneRooms {
		s.leave(m)
	}
	for _, m := range joinRooms {
		s.join(m)
	}
	for _, c := range gonePeople {
		l.estrange(c)
	}
	s.askAgain()
	if len(come) > 0 {
		l.known(s)
	}
	if len(come) > 0 || !maps.EqualFunc(old.Schemes, conf.Schemes, slices.Equal) {
		s.publishKeys()
	}
	if !maps.EqualFunc(old.Schemes, conf.Schemes, slices.Equal) || old.Status != conf.Status || old.HideVersion != conf.HideVersion || len(come) > 0 {
		s.announce() // to newcomers who are subscribed already, it brings theirs
	}
	return nil
}

// relogin reports whether the stream itself depends on what changed. The first
// person of an account needs acknowledgements, see Leg.once.
func relogin(a, b *setup) bool {
	return a.jid.String() != b.jid.String() || a.Password != b.Password ||
		a.Server != b.Server || a.TLS.Mode != b.TLS.Mode || a.TLS.CAFile != b.TLS.CAFile ||
		!slices.Equal(a.TLS.Pins, b.TLS.Pins) || a.ChannelBinding != b.ChannelBinding || a.AllowPlain != b.AllowPlain ||
		len(a.People) == 0 && len(b.People) > 0
}

// dialNow ends the waiting for the next attempt.
func (l *Leg) dialNow() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// KeysChanged tells the leg that keys were loaded anew: presence is signed
// again, and messages held for want of a key are tried again.
func (l *Leg) KeysChanged() {
	l.mu.Lock()
	s := l.lastSession()
	people := slices.Collect(maps.Values(l.people))
	l.mu.Unlock()
	if s != nil {
		s.sigMu.Lock()
		s.sig = nil
		s.sigMu.Unlock()
		s.announce()
		s.publishKeys()
	}
	for _, c := range people {
		if s != nil {
			s.recheck(c)
		}
		l.notify(bridge.Event{Kind: bridge.RoomKeys, Room: c.room})
	}
	l.tellSessions(nil)
}

// TrustChanged tells the leg that other keys of a person count now: what is held for
// them is tried again, and a key that they had published before it counted is fetched.
func (l *Leg) TrustChanged(person string) {
	l.mu.Lock()
	c, s := l.people[person], l.lastSession()
	if c != nil {
		c.keys.wanted = true
	}
	l.mu.Unlock()
	if c != nil {
		if s != nil {
			s.recheck(c)
			s.tendKeys(time.Now())
		}
		l.notify(bridge.Event{Kind: bridge.RoomKeys, Room: c.room})
		l.tellSessions(c)
	}
}

// estrange keeps the presences of a contact that was taken out: one of its JIDs
// may belong to another entry now, or come back.
func (l *Leg) estrange(c *contact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for full, r := range c.resources {
		if !r.silent && len(l.strangers) < maxStrangers {
			l.strangers[full] = element.New(nsClient, "presence", "from", full).Add(
				element.New(nsCaps, "c", "node", r.client))
		}
	}
	clear(c.resources)
}
