package xmpp

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
)

// maxResources bounds what is remembered of one contact's resources.
const maxResources = 16

// contact is a configured person as this account sees them. Its fields are
// guarded by Leg.mu, except lane, which belongs to the workers, turn and unread.
type contact struct {
	room   bridge.Room
	person *policy.Person // replaced as a whole
	lane   *lane
	turn   sync.Mutex // see Leg.inTurn; never taken with Leg.mu held
	unread unreadLines
	kept   atomic.Bool // the last line to them was one that archives keep

	resources map[string]*resource // by full JID
	// last is the full JID that spoke last, "" while replies go to the bare JID:
	// a presence unlocks it (RFC 6121 §5.1).
	last     string
	lastBare string
	client   string // of the resource that spoke or came last
	subs     map[string]subscription
	inRung   policy.Rung // of the last message that was opened
	inScheme string
	checking bool               // signatures of presences are being verified
	reached  map[string]reached // what the guard was told last of sessions, by bare JID
	keys     keyLook
}

// resource is one client of a contact.
type resource struct {
	bare   string
	client string
	asked  bool // for its version
	// priority and came say which one is written to first while none has spoken.
	priority int
	came     time.Time
	// silent is set for one that wrote to us without having shown a presence.
	silent bool
	sign   *signedPresence // its last presence, if that was signed
}

// subscription is the roster's word on one JID (RFC 6121 §2.1.2).
type subscription struct {
	to, from bool
	asked    bool   // our request is out
	back     int    // requests made because of one of theirs, see maxAskBack
	refused  string // why the last request came to nothing
}

// maxAskBack bounds how often a contact's requests have us ask them again until they
// agree or somebody reloads: one that declines and asks by itself goes round no longer.
const maxAskBack = 10

func newContact(leg string, p policy.Person) *contact {
	return &contact{
		room: bridge.Room{Leg: leg, Kind: bridge.Chat, Name: p.Name}, person: &p, lane: &lane{},
		resources: map[string]*resource{}, subs: map[string]subscription{},
	}
}

// reset forgets what only a stream tells, and reports whether c was online.
func (c *contact) reset() bool {
	online := len(c.resources) > 0
	c.resources, c.subs = map[string]*resource{}, map[string]subscription{}
	c.last, c.lastBare = "", ""
	return online
}

// setPeople makes contacts of the people of conf, and keeps those that stay. It
// returns those that went and came. l.mu is held.
func (l *Leg) setPeople(conf *setup) (gone, come []*contact) {
	old := l.people
	l.people, l.byJID = make(map[string]*contact, len(conf.People)), map[string]*contact{}
	for _, p := range conf.People {
		c := old[p.Name]
		if c == nil || !slices.Equal(c.person.JIDs, p.JIDs) {
			if c != nil {
				gone = append(gone, c)
			}
			c = newContact(l.name, p)
			come = append(come, c)
		} else {
			c.person = &p
		}
		delete(old, p.Name)
		l.people[p.Name] = c
		for _, j := range p.JIDs {
			bare, _ := splitJID(j)
			l.byJID[bare] = c
		}
	}
	return append(gone, slices.Collect(maps.Values(old))...), come
}

// roster takes the answer to the roster request, and asks everybody who has not
// agreed yet.
func (s *session) roster(reply *element.Element, err error) {
	if err != nil {
		s.leg.note("roster", "the server did not send the roster: %v", err)
		s.leg.log.Warn("no roster", "leg", s.leg.name, "err", err)
	} else {
		s.rosterPush(reply.Child(nsRoster, "query"))
	}
	s.leg.mu.Lock()
	defer s.leg.mu.Unlock()
	s.leg.rosterKnown = true
	s.subscribeAll()
}

// rosterPush takes items of the roster, all or changed ones.
func (s *session) rosterPush(q *element.Element) {
	if q == nil {
		return
	}
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range q.Children {
		if !it.Is(nsRoster, "item") {
			continue
		}
		bare, _ := splitJID(it.Get("jid"))
		c := l.byJID[bare]
		if c == nil {
			continue
		}
		sub := c.subs[bare]
		state := it.Get("subscription")
		sub.to = state == "to" || state == "both"
		sub.from = state == "from" || state == "both"
		if sub.to {
			sub.refused = ""
		}
		c.subs[bare] = sub
	}
}

// askAgain asks everybody once more who has not agreed, since somebody acted: there may
// have been no account, or they declined by mistake. Servers do not show a request twice
// that waits for its answer (RFC 6121 §3.1.3). Before the roster is known nobody is
// asked: roster will do it.
func (s *session) askAgain() {
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.rosterKnown {
		return
	}
	for _, c := range l.people {
		for bare, sub := range c.subs {
			sub.asked, sub.back = false, 0
			c.subs[bare] = sub
		}
	}
	s.subscribeAll()
}

// subscribeAll asks every JID of every person for a subscription who was not asked
// yet. l.mu is held.
func (s *session) subscribeAll() {
	for _, c := range s.leg.people {
		for _, j := range c.person.JIDs {
			s.subscribe(c, j)
		}
	}
}

// subscribe asks one JID; l.mu is held.
func (s *session) subscribe(c *contact, bare string) {
	bare, _ = splitJID(bare)
	sub := c.subs[bare]
	if sub.to || sub.asked {
		return
	}
	sub.asked, sub.refused = true, ""
	c.subs[bare] = sub
	s.out.own(element.New(nsClient, "presence", "type", "subscribe", "to", bare))
}

// subscription handles the presences that are about subscriptions. c is nil for
// strangers.
func (s *session) subscription(c *contact, typ, bare string) {
	l := s.leg
	if c == nil {
		if typ == "subscribe" {
			l.counts.add(countSubscriptions)
			s.out.reply(element.New(nsClient, "presence", "type", "unsubscribed", "to", bare))
			if l.mayLog(&l.lastRefused) {
				l.log.Info("subscription refused", "leg", l.name, "from", printable(bare, 100))
			}
		}
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sub := c.subs[bare]
	switch typ {
	case "subscribe":
		// Ours may have come before they had an account, or been declined by mistake.
		again := !sub.to && sub.back < maxAskBack
		if sub.from = true; again {
			sub.asked = false
			sub.back++
		}
		c.subs[bare] = sub
		s.out.own(element.New(nsClient, "presence", "type", "subscribed", "to", bare))
		if again {
			s.subscribe(c, bare)
		}
	case "subscribed":
		sub.to, sub.back, sub.refused = true, 0, ""
		c.subs[bare] = sub
	case "unsubscribe":
		sub.from = false
		c.subs[bare] = sub
		s.out.own(element.New(nsClient, "presence", "type", "unsubscribed", "to", bare))
	case "unsubscribed":
		sub.to, sub.asked, sub.refused = false, false, "refused our subscription request"
		c.subs[bare] = sub
		l.log.Warn("subscription refused by a contact", "leg", l.name, "from", c.person.Name)
	}
}

// subscriptionNote tells what is missing before c's presence is seen, "" if
// nothing is. l.mu is held.
func (c *contact) subscriptionNote() string {
	for _, sub := range c.subs {
		if sub.to {
			return ""
		}
	}
	for _, j := range c.person.JIDs {
		bare, _ := splitJID(j)
		if why := c.subs[bare].refused; why != "" {
			return c.person.Name + " (" + bare + ") " + why
		}
	}
	return c.person.Name + " has not accepted our subscription request; ask them to add the bot's JID as a contact"
}

// signature is our signed presence, kept for signatureFor.
type signature struct {
	status string
	x      *element.Element
	err    error
	made   time.Time
}
