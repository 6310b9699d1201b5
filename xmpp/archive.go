package xmpp

import (
	"errors"
	"slices"
	"strconv"
	"strings"
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
	// tail are the last messages of an archive whose ids are times: ejabberd may write
	// one after others that came later, and hand it out live.
	tail  []heldStanza
	live  []heldStanza
	bytes int         // of live
	timer *time.Timer // until what is late has come
	looks int         // how often the tail was read again
	seen  int         // n when it was read last
	tries int         // that failed for now

	forgotten bool // the archive does not know the message that we had last
	first     time.Time
	// again is set where the room or the account is ready already: an earlier attempt
	// failed.
	again bool
}

// maxTries is how often a page is asked for before we go on without; later the
// archive is tried again.
const maxTries = 3

// maxTail is how far behind its place a late message of an archive may come.
const maxTail = 64

// catchUpFrom begins to read an archive.
func (s *session) catchUpFrom(owner string, m *muc, from place, again bool) {
	if old := s.archives[owner]; old != nil {
		s.drop(old)
	}
	c := &catchUp{owner: owner, m: m, from: from, after: from.id, start: from.at, again: again}
	s.archives[owner] = c
	s.leg.unstick(owner)
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
			s.later(func() { s.paged(c, nil, err) })
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

// later has the reader do something: once the server has answered a ping. Does it
// not, the link is dead, and what was to be done is, too.
func (s *session) later(f func()) {
	s.ask("get", s.domain, element.New(nsPing, "ping"), pageTimeout, func(_ *element.Element, err error) {
		if !errors.Is(err, errIQTimeout) && !errors.Is(err, errIQMany) {
			f()
		}
	})
}

// paged goes on after a page.
func (s *session) paged(c *catchUp, reply *element.Element, err error) {
	if s.archives[c.owner] != c || s.outOf(c) {
		return
	}
	if err != nil {
		s.pageFailed(c, err)
		return
	}
	c.tries = 0
	fin := reply.Child(nsMAM, "fin")
	last := ""
	if e := fin.Child(nsRSM, "set").Child(nsRSM, "last"); e != nil {
		last = e.Text
	}
	if fin == nil || isTrue(fin.Get("complete")) || last == "" || last == c.after {
		if s.late(c) {
			return
		}
		s.leg.wasRead(c.owner)
		if c.looks > 0 && !c.again {
			s.leg.stick(c.owner, time.Now()) // and once more, when all has come to rest
		}
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

// maxLooks bounds how often the end of an archive is read again.
const maxLooks = 4

// late reads the end of an archive again, after a moment, where its ids are times,
// until nothing new is there: ejabberd writes what came to a dying session later.
// false: nothing more is expected.
func (s *session) late(c *catchUp) bool {
	if len(c.tail) == 0 && !isTime(c.from.id) || c.looks >= maxLooks || c.looks > 0 && c.seen == c.n {
		return false
	}
	c.looks++
	c.seen = c.n
	c.timer = time.AfterFunc(fenceTime, func() {
		s.later(func() {
			if s.archives[c.owner] != c || s.outOf(c) {
				return
			}
			c.last, c.after = "", c.from.id
			if len(c.tail) > 0 {
				c.after = c.tail[0].id
			}
			s.page(c)
		})
	})
	return true
}

// pageFailed tries again, or goes on without what the archive does not give.
func (s *session) pageFailed(c *catchUp, err error) {
	var se *stanzaError
	refused := errors.As(err, &se)
	log := s.leg.log.With("leg", s.leg.name, "room", c.owner, "err", err)
	switch {
	case refused && se.Condition == "item-not-found" && c.after != "":
		c.after, c.forgotten = "", true // by the time, then
		s.page(c)
	case refused && se.Type != "wait" && se.Condition != "internal-server-error" && se.Condition != "resource-constraint":
		log.Warn("the archive may not be read")
		if c.m != nil { // the server keeps what is said to an account that is away
			s.leg.gap(c.m, time.Time{})
		}
		s.caughtUp(c)
	default:
		if c.tries++; c.tries < maxTries {
			s.page(c)
			return
		}
		log.Warn("the archive could not be read: it will be tried again")
		s.leg.stick(c.owner, time.Now())
		s.caughtUp(c)
	}
}

// caughtUp ends a catch-up: the room or the account is ready, and what came live
// follows.
func (s *session) caughtUp(c *catchUp) {
	l := s.leg
	delete(s.archives, c.owner)
	if c.n > 0 || c.pages > 1 {
		l.log.Info("caught up", "leg", l.name, "room", c.owner, "n", c.n)
	}
	if c.m != nil && c.forgotten && (c.first.IsZero() || c.first.After(c.from.at.Add(time.Second))) {
		l.gap(c.m, c.first)
	}
	for _, h := range sorted(append(c.tail, c.live...)) {
		s.handOn(h)
	}
	switch {
	case c.again:
	case c.m != nil:
		s.enter(c.m)
	default:
		s.peopleReady()
	}
}

// peopleReady ends the reading of the account's archive: chats are ready.
func (s *session) peopleReady() {
	l := s.leg
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
	in := (c.m.reading || c.again && c.m.state == bridge.StateUp) && s.leg.rooms[c.owner] == c.m
	s.leg.mu.Unlock()
	if in {
		return false
	}
	s.drop(c)
	return true
}

// drop ends a catch-up without its outcome: what waits behind it will be read again.
func (s *session) drop(c *catchUp) {
	delete(s.archives, c.owner)
	if c.timer != nil {
		c.timer.Stop()
	}
	for _, h := range append(c.tail, c.live...) {
		s.tickets.done(h.ticket)
	}
}

// handOn handles a message that was held, live or from an archive.
func (s *session) handOn(h heldStanza) {
	if h.of == nil {
		s.handle(h.e, h.ticket)
		return
	}
	kept := false
	s.guard("archive", func() { kept = s.old(h) })
	if !kept {
		s.tickets.done(h.ticket)
	}
}

// old handles a message of an archive; true if the ticket was kept for the core.
func (s *session) old(h heldStanza) bool {
	sender, nick := splitJID(h.e.Get("from"))
	if h.of.m != nil {
		s.fromArchive = true
		defer func() { s.fromArchive = false }()
		return s.groupchat(h.of.m, h.e, nick, h.ticket)
	}
	s.leg.mu.Lock()
	p := s.leg.byJID[sender]
	s.leg.mu.Unlock()
	return p != nil && s.chat(p, h.e, sender, nick, h.ticket)
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
	if slices.ContainsFunc(c.tail, func(h heldStanza) bool { return h.id == id }) {
		return false // read again
	}
	c.last = id
	if at, err := time.Parse(time.RFC3339, fwd.Child(nsDelay, "delay").Get("stamp")); err == nil && c.first.IsZero() {
		c.first = at
	}
	h := heldStanza{e: archived(msg, fwd.Child(nsDelay, "delay"), c.owner, id), ticket: ticket, of: c}
	sender, _ := splitJID(h.e.Get("from"))
	typ := h.e.Get("type")
	switch {
	case c.m != nil && (sender != c.owner || typ != "groupchat"):
		return false
	case c.m != nil:
	case sender == s.bare || sender == "":
		return false // our own: Ask looks for it
	case typ == "groupchat" || typ == "error" || typ == "headline":
		return false
	}
	c.n++
	if !isTime(id) {
		return s.old(h)
	}
	h.room, h.id = sender, id
	c.tail = append(c.tail, h)
	if len(c.tail) > maxTail {
		s.handOn(c.tail[0])
		c.tail = c.tail[1:]
	}
	return true
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
	if len(c.live) >= maxHeld || c.bytes >= maxHeldBytes {
		s.leg.log.Warn("the archive could not be read to its end: too much is said meanwhile", "leg", s.leg.name, "room", owner)
		s.leg.stick(owner, time.Now())
		s.caughtUp(c)
		return false
	}
	c.live, c.bytes = append(c.live, newHeld(e, ticket, s.bare)), c.bytes+sizeOf(e)
	return true
}
