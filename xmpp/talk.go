package xmpp

import (
	"errors"
	"fmt"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// This file seats schemes with sessions (e2ee.Session) in the leg.

// talking returns those schemes of the account that are e2ee.Session.
func talking(schemes []e2ee.Scheme) (out []e2ee.Session) {
	for _, s := range schemes {
		if t, ok := s.(e2ee.Session); ok {
			out = append(out, t)
		}
	}
	return out
}

// inTurn runs f, which has a session's scheme make messages for c and writes them,
// while nothing else does for c: they must reach the wire in the order in which
// they were made. An account without such schemes does not wait.
func (l *Leg) inTurn(c *contact, f func()) {
	if c != nil && len(l.talks) > 0 {
		c.turn.Lock()
		defer c.turn.Unlock()
	}
	f()
}

// letter is what a scheme wants a peer to get, as a stanza; nil if it has no
// resource to go to, for it must not go to the bare JID.
func letter(p e2ee.Peer, pay e2ee.Payload) *element.Element {
	if pay.Resource != "" {
		p.Resource = pay.Resource
	}
	if p.Resource == "" {
		return nil
	}
	msg := element.New(nsClient, "message", "to", p.Bare+"/"+p.Resource, "type", "chat")
	addPayload(msg, pay)
	return msg
}

// arrive tells the sessions of a resource that came, or whose client became known.
func (s *session) arrive(c *contact, bare, res, client string) {
	l := s.leg
	if len(l.talks) == 0 || res == "" {
		return
	}
	l.mu.Lock()
	p := e2ee.Peer{Account: l.name, Self: s.bare, Bare: bare, Resource: res, Person: c.person}
	l.mu.Unlock()
	for _, t := range l.talks {
		s.guard("arrive", func() {
			for _, pay := range t.Arrive(p, client, e2ee.Prefers(l.deps.Schemes, l.orderOf(l.conf.Load(), c.room.Name), t, p)) {
				if msg := letter(p, pay); msg != nil {
					s.out.own(msg)
				}
			}
		})
	}
}

// leave tells the sessions that resources of a person are gone: full JIDs, or bare
// ones for all of theirs.
func (l *Leg) leave(jids ...string) {
	for _, j := range jids {
		bare, res := splitJID(j)
		for _, t := range l.talks {
			t.Leave(e2ee.Peer{Account: l.name, Bare: bare, Resource: res})
		}
	}
}

// quit ends the sessions with the JIDs of a contact that was taken out, but for those
// that another has now; s is nil while nothing can be written.
func (l *Leg) quit(s *session, c *contact) {
	for _, j := range c.person.JIDs {
		bare, _ := splitJID(j)
		l.mu.Lock()
		kept := l.byJID[bare] != nil
		l.mu.Unlock()
		if kept {
			continue
		}
		p := e2ee.Peer{Account: l.name, Bare: bare, Person: c.person}
		l.inTurn(c, func() {
			for _, t := range l.talks {
				for _, pay := range t.Quit(p) {
					if s != nil {
						s.handshake(p, pay)
					}
				}
			}
		})
	}
}

// due sends what time has made due.
func (s *session) due(now time.Time) {
	s.readLately(now)
	for _, t := range s.leg.talks {
		s.guard("due", func() {
			for _, d := range t.Due(now) {
				if msg := letter(d.To, d.Payload); msg != nil {
					s.out.own(msg)
				}
			}
		})
	}
}

// changed does what a message, said at, changed in the session with p: events follow
// it, and the core hears which lines were read, or not.
func (s *session) changed(c *contact, it *item, p e2ee.Peer, at time.Time, changes []e2ee.Change) {
	l := s.leg
	full := p.Bare + "/" + p.Resource
	if len(changes) > 0 {
		defer l.tellSessions(c)
	}
	for _, ch := range changes {
		l.log.Debug("session", "leg", l.name, "from", c.room.Name, "rule", ch.String())
		switch ch {
		case e2ee.Proven:
			s.showed(c, bridge.Delivered, c.unread.proven(full, at))
		case e2ee.Lost:
			s.unread(c, c.unread.lost(full, time.Now()), ch.String())
		case e2ee.Ended: // what crossed it was not read, and mcabber does not say so
			s.unread(c, c.unread.left(full, at), ch.String())
		case e2ee.Established:
			it.events = append(it.events, bridge.Event{Kind: bridge.RoomKeys, Leg: l.name, Room: c.room, Time: time.Now()})
		}
	}
}

// errNobody is the error of AskSMP about somebody who is not here.
var errNobody = errors.New("xmpp: they are not online")

// AskSMP asks a person the question about the shared secret, by the first scheme
// that can. Errors are those of e2ee.SMPAsker, and one for a person who is not
// online, or has no client that can answer.
func (l *Leg) AskSMP(person, question string) error {
	s := l.session()
	l.mu.Lock()
	c := l.people[person]
	l.mu.Unlock()
	if s == nil || c == nil {
		return errNobody
	}
	p, _, err := s.addressee(person)
	if err != nil {
		return errNobody
	}
	p.Resource = "" // whichever has a session, and spoke last
	for _, scheme := range l.deps.Schemes {
		asker, ok := scheme.(e2ee.SMPAsker)
		if !ok {
			continue
		}
		l.inTurn(c, func() {
			var pay e2ee.Payload
			if pay, err = asker.AskSMP(p, question); err == nil {
				s.handshake(p, pay)
			}
		})
		if err != nil {
			return fmt.Errorf("xmpp: ask %s: %w", person, err)
		}
		return nil
	}
	return fmt.Errorf("xmpp: ask %s: %w", person, e2ee.ErrNotBuilt)
}
