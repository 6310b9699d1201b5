package xmpp

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

const (
	pageSize    = 100             // messages asked for at once; servers give less
	pageTimeout = 2 * time.Minute // of an answer
	clockSkew   = time.Minute     // between the server and us, where times are compared
)

// catchUp reads an archive (XEP-0313) from where we were to now. What comes live
// meanwhile waits behind it. It belongs to the reader.
type catchUp struct {
	owner string // bare JID: a room, or our account
	m     *muc   // nil for the account
	from  place
	after string
	start time.Time // where there is no after
	last  string    // id of the last result
	query string
	pages int
	n     int
	live  []liveStanza
	// expired is set when the server gave no answer: the reader goes on without.
	expired atomic.Bool
}

type liveStanza struct {
	e      *element.Element
	ticket uint64
}

// catchUpFrom begins to read an archive.
func (s *session) catchUpFrom(owner string, m *muc, from place) {
	if old := s.archives[owner]; old != nil {
		for _, h := range old.live {
			s.tickets.done(h.ticket)
		}
	}
	c := &catchUp{owner: owner, m: m, from: from, after: from.id, start: from.at}
	s.archives[owner] = c
	if sent, ok := s.proofs.oldestInherited(); ok && m == nil && from.id != "" {
		// What came in meanwhile may stand behind what is looked for. The core knows
		// the ids of what it has taken in.
		if sent = sent.Add(-clockSkew); sent.Before(from.at) {
			c.after, c.start = "", sent
		}
	}
	s.page(c)
}

// page asks for the next page.
func (s *session) page(c *catchUp) {
	c.pages++
	c.query = s.idPrefix + c.owner
	form := element.New(nsForm, "x", "type", "submit").Add(formType())
	set := element.New(nsRSM, "set").Add(element.New(nsRSM, "max").SetText(strconv.Itoa(pageSize)))
	if c.after != "" {
		set.Add(element.New(nsRSM, "after").SetText(c.after))
	} else {
		at := c.start
		if c.m != nil {
			s.leg.mu.Lock()
			at, c.m.since.id = c.m.recent.since(at), ""
			s.leg.mu.Unlock()
		}
		form.Add(field("start", at.UTC().Format(placeFormat)))
	}
	to := ""
	if c.m != nil {
		to = c.owner
	}
	s.ask("set", to, element.New(nsMAM, "query", "queryid", c.query).Add(form, set), pageTimeout, func(reply *element.Element, err error) {
		if errors.Is(err, errIQTimeout) || errors.Is(err, errIQMany) { // not the reader's call
			c.expired.Store(true)
			return
		}
		s.paged(c, reply, err)
	})
}

func formType() *element.Element {
	f := field("FORM_TYPE", nsMAM)
	f.Attr = append(f.Attr, element.Attr{Name: "type", Value: "hidden"})
	return f
}

func isTrue(s string) bool { return s == "true" || s == "1" }

func field(name, value string) *element.Element {
	return element.New(nsForm, "field", "var", name).Add(element.New(nsForm, "value").SetText(value))
}

// paged goes on after a page.
func (s *session) paged(c *catchUp, reply *element.Element, err error) {
	if s.archives[c.owner] != c || s.outOf(c) {
		return
	}
	if err != nil {
		var se *stanzaError
		if errors.As(err, &se) && se.Condition == "item-not-found" && c.after != "" {
			c.after = "" // the archive has forgotten the message: by the time, then
			s.page(c)
			return
		}
		s.leg.log.Warn("the archive could not be read", "leg", s.leg.name, "room", c.owner, "err", err)
		s.caughtUp(c)
		return
	}
	fin := reply.Child(nsMAM, "fin")
	last := ""
	if e := fin.Child(nsRSM, "set").Child(nsRSM, "last"); e != nil {
		last = e.Text
	}
	if fin == nil || isTrue(fin.Get("complete")) || last == "" || last == c.after {
		s.caughtUp(c)
		return
	}
	c.after = last
	if c.m != nil {
		s.leg.mu.Lock()
		c.m.deadline = time.Now().Add(pageTimeout)
		s.leg.mu.Unlock()
	}
	s.page(c)
}

// caughtUp ends a catch-up: what is not in the archive of what we sent is in doubt,
// the room or the account is ready, and what came live follows.
func (s *session) caughtUp(c *catchUp) {
	l := s.leg
	delete(s.archives, c.owner)
	if c.n > 0 || c.pages > 1 {
		l.log.Info("caught up", "leg", l.name, "room", c.owner, "n", c.n)
	}
	for _, h := range c.live {
		s.handle(h.e, h.ticket)
	}
	if c.m != nil {
		s.proofs.leave(c.owner, time.Time{})
		s.enter(c.m)
		return
	}
	s.proofs.doubtInherited()
	l.mu.Lock()
	s.reading = false
	var up []bridge.Event
	for _, p := range l.people {
		if len(p.resources) > 0 {
			up = append(up, bridge.Event{Kind: bridge.RoomUp, Room: p.room, Who: p.sender(p.client, p.lastBare)})
		}
	}
	l.mu.Unlock()
	slices.SortFunc(up, func(a, b bridge.Event) int { return strings.Compare(a.Room.Name, b.Room.Name) })
	for _, e := range up {
		l.notify(e)
	}
}

// outOf reports whether we are out of the room again whose archive is read, and
// ends the reading: what waits behind it is in the archive, too.
func (s *session) outOf(c *catchUp) bool {
	if c.m == nil {
		return false
	}
	s.leg.mu.Lock()
	in := c.m.reading && s.leg.rooms[c.owner] == c.m
	s.leg.mu.Unlock()
	if in {
		return false
	}
	delete(s.archives, c.owner)
	for _, h := range c.live {
		s.tickets.done(h.ticket)
	}
	return true
}

// result takes one message of an archive; true if the ticket was kept for the
// core. Only the owner of the archive is believed, and only when asked.
func (s *session) result(r *element.Element, from string, ticket uint64) bool {
	bare, res := splitJID(from)
	if bare == "" {
		bare = s.bare
	}
	l := s.leg
	l.mu.Lock()
	q := s.asking[r.Get("queryid")]
	l.mu.Unlock()
	if q != nil && bare == q.owner && res == "" {
		s.found(q, r)
		return false
	}
	c := s.archives[bare]
	if c == nil || res != "" || r.Get("queryid") != c.query {
		s.leg.counts.add(countOwn)
		return false
	}
	fwd := r.Child(nsForward, "forwarded")
	msg, id := fwd.Child(nsClient, "message"), keptID(r.Get("id"))
	if msg == nil || id == "" || id == c.last {
		return false
	}
	c.last = id
	c.n++
	e := archived(msg, fwd.Child(nsDelay, "delay"), c.owner, id)
	sender, nick := splitJID(e.Get("from"))
	switch {
	case c.m != nil:
		if sender != c.owner || e.Get("type") != "groupchat" {
			return false
		}
		return s.groupchat(c.m, e, nick, ticket)
	case sender == s.bare || sender == "":
		s.proofs.settleInherited(e.Get("id"))
		return false
	}
	l.mu.Lock()
	p := l.byJID[sender]
	l.mu.Unlock()
	if p == nil || e.Get("type") == "groupchat" || e.Get("type") == "error" || e.Get("type") == "headline" {
		return false
	}
	return s.chat(p, e, sender, nick, ticket)
}

// archived is a message of an archive as it would have come live, but late: with
// the archive's id and time, and with nobody else's word on either.
func archived(msg, delay *element.Element, owner, id string) *element.Element {
	e := *msg
	e.Children = make([]*element.Element, 0, len(msg.Children)+2)
	for _, c := range msg.Children {
		switch {
		case c.Is(nsDelay, "delay"):
		case c.Is(nsSID, "stanza-id"):
		default:
			e.Children = append(e.Children, c)
		}
	}
	stamp := delay.Get("stamp")
	e.Children = append(e.Children,
		element.New(nsSID, "stanza-id", "by", owner, "id", id),
		element.New(nsDelay, "delay", "stamp", stamp))
	return &e
}

// waits keeps a live message back while the archive it belongs to is read.
func (s *session) waits(owner string, e *element.Element, ticket uint64) bool {
	c := s.archives[owner]
	if c == nil || s.outOf(c) {
		return false
	}
	if c.expired.Load() || len(c.live) >= maxHeld {
		s.leg.log.Warn("the archive could not be read to its end", "leg", s.leg.name, "room", owner)
		s.caughtUp(c)
		return false
	}
	c.live = append(c.live, liveStanza{e, ticket})
	return true
}
