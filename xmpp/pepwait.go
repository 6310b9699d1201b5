package xmpp

import (
	"errors"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// The bounds of what waits for the key of one contact.
const (
	maxKeyless   = 64
	keylessBytes = 1 << 20
	keylessFor   = 30 * time.Second
)

// keyless are messages of a contact that wait, in their order, for a key that counts
// and is being asked for: a signature by it cannot be checked before. They come at the
// first start with that key, out of the server's store for who was offline.
type keyless struct {
	list  []heldStanza
	bytes int
	since time.Time
}

// waitsForKey keeps a message of c until the look at the keys of c is over; true if it
// was kept. Only the reader calls it.
func (s *session) waitsForKey(c *contact, e *element.Element, bare, res string, ticket uint64) bool {
	k := s.keyless[c]
	if k == nil {
		if !s.leg.looking(c) || !s.lacksKey(c, e, bare, res) {
			return false
		}
		k = &keyless{since: time.Now()}
		s.keyless[c] = k
		s.waiting.CompareAndSwap(0, k.since.UnixNano())
	}
	if len(k.list) >= maxKeyless || k.bytes >= keylessBytes {
		s.admit(c)
		return false
	}
	k.list = append(k.list, heldStanza{e: e, ticket: ticket})
	k.bytes += sizeOf(e)
	return true
}

// looking reports whether the keys of c are being asked for, or will be soon.
func (l *Leg) looking(c *contact) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.people[c.room.Name] == c && (c.keys.wanted || c.keys.open > 0)
}

// lacksKey reports whether a message is of a scheme that has no key of its sender.
func (s *session) lacksKey(c *contact, e *element.Element, bare, res string) bool {
	in := e2ee.Incoming{Children: e.Children}
	if b := e.Child(nsClient, "body"); b != nil {
		in.Body = b.Text
	}
	s.leg.mu.Lock()
	p := e2ee.Peer{Account: s.leg.name, Self: s.bare, Bare: bare, Resource: res, Person: c.person}
	s.leg.mu.Unlock()
	scheme, err := s.claim(p, in)
	if err != nil || scheme == nil {
		return false
	}
	err = nil
	s.guard("reach", func() { _, err = scheme.Reach(p) })
	return errors.Is(err, e2ee.ErrNoKey)
}

// keysCame has the reader look at what waits for keys: it is who gets the answer to a
// ping.
func (s *session) keysCame() {
	if s.waiting.Load() == 0 {
		return
	}
	s.ask("get", s.domain, element.New(nsPing, "ping"), s.conf().PingTimeout, func(_ *element.Element, err error) {
		if !errors.Is(err, errIQTimeout) && !errors.Is(err, errIQMany) { // else it is not the reader
			s.admitKeyed(time.Now())
		}
	})
}

// admitKeyed handles what has waited for keys that are there now, or are not to be had.
func (s *session) admitKeyed(now time.Time) {
	for c, k := range s.keyless {
		if !s.leg.looking(c) || now.Sub(k.since) >= keylessFor {
			s.admit(c)
		}
	}
}

// admitAll ends the waiting for keys: the session is over.
func (s *session) admitAll() {
	for c := range s.keyless {
		s.admit(c)
	}
}

// admit handles what has waited for a key of c.
func (s *session) admit(c *contact) {
	k := s.keyless[c]
	delete(s.keyless, c)
	if len(s.keyless) == 0 {
		s.waiting.Store(0)
	}
	for _, h := range k.list {
		bare, res := splitJID(h.e.Get("from"))
		s.leg.mu.Lock()
		known := s.leg.byJID[bare] == c
		s.leg.mu.Unlock()
		kept := false
		if known {
			s.guard("message", func() { kept = s.chat(c, h.e, bare, res, h.ticket) })
		}
		if !kept {
			s.tickets.done(h.ticket)
		}
	}
}
