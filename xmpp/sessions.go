package xmpp

import (
	"maps"
	"slices"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// sessionGrace is how long one who came online, or whom we see for the first time on
// a stream, may have no session with us before that is known: keys are agreed on then.
const sessionGrace = 30 * time.Second

// reached is how far the sessions with a JID reach.
type reached struct {
	rung  policy.Rung
	known policy.Known
}

var _ bridge.SessionTeller = (*Leg)(nil)

// Sessions implements bridge.SessionTeller. With somebody who is no contact of this
// account there are none.
func (l *Leg) Sessions(jid string) (policy.Rung, policy.Known) {
	bare, _ := splitJID(jid)
	l.mu.Lock()
	c := l.byJID[bare]
	l.mu.Unlock()
	if c == nil {
		return policy.Clear, policy.Yes
	}
	r := l.reach(c, bare, time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, asked := c.reached[bare]; !asked {
		if c.reached == nil {
			c.reached = map[string]reached{}
		}
		c.reached[bare] = r
	} else if l.told(c, bare, r) { // others were told something else
		l.lookSoon() // who asks may hold what See needs
	}
	return r.rung, r.known
}

// reach asks the schemes. None of the leg's locks is held.
func (l *Leg) reach(c *contact, bare string, now time.Time) (out reached) {
	defer func() {
		if v := recover(); v != nil {
			l.panicked("sessions", v)
			out = reached{}
		}
	}()
	conf := l.conf.Load()
	p := e2ee.Peer{Account: l.name, Self: conf.bare, Bare: bare}
	l.mu.Lock()
	p.Person = c.person
	up, since, signed := l.sess != nil, l.since, false
	for _, r := range c.resources {
		if r.bare == bare {
			signed = signed || r.sign != nil && r.sign.good
			if r.came.After(since) {
				since = r.came
			}
		}
	}
	l.mu.Unlock()
	if !up {
		return reached{}
	}
	out.rung, out.known = e2ee.Sessions(l.deps.Schemes, l.orderOf(conf, c.room.Name), p, signed), policy.Yes
	if out.rung == policy.Clear && now.Sub(since) < sessionGrace {
		out.known = policy.Unknown
	}
	return out
}

// told notes what was said last of the sessions with a JID that somebody asked about,
// and queues a sight if that was something else; l.mu is held.
func (l *Leg) told(c *contact, bare string, r reached) (changed bool) {
	if c.reached[bare] == r {
		return false
	}
	c.reached[bare] = r
	s := bridge.Sight{Kind: bridge.SightSessions, Leg: l.name, Time: time.Now()}
	s.Facts = policy.NewXMPPFacts(l.name, "")
	s.Facts.JID = policy.Is(bare, "stream", s.Time)
	l.eyes.queue = append(l.eyes.queue, s)
	return true
}

// tellSessions shows the guard whose sessions reach something else than it was told, of
// those that it asked about; nil: of all contacts.
func (l *Leg) tellSessions(of *contact) {
	if !l.eyes.on.Load() {
		return
	}
	l.mu.Lock()
	all := []*contact{of}
	if of == nil {
		all = slices.Collect(maps.Values(l.people))
	}
	l.mu.Unlock()
	changed, now := false, time.Now()
	for _, c := range all {
		l.mu.Lock()
		asked := slices.Collect(maps.Keys(c.reached))
		l.mu.Unlock()
		for _, bare := range asked {
			r := l.reach(c, bare, now)
			l.mu.Lock()
			changed = l.told(c, bare, r) || changed
			l.mu.Unlock()
		}
	}
	if changed {
		l.look()
	}
}
