package xmpp

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"drawbridge/xmpp/element"
)

// The bounds of what is held back, by a fence or behind an archive.
const (
	maxHeld      = 8192
	maxHeldBytes = 16 << 20
)

// fence holds the messages that come right after a resumption. ejabberd 23.01
// lets a new one overtake the last of the old stream's; its stanza-ids, which are
// times, tell their order. Other servers' ids are no numbers, and nothing moves.
type fence struct {
	up      bool
	number  atomic.Int32 // of the stream: an answer to the ping of an earlier one means nothing
	expired atomic.Bool  // the server did not answer in time
	list    []heldStanza
	bytes   int
}

// full reports whether no more can be held.
func (f *fence) full() bool { return len(f.list) >= maxHeld || f.bytes >= maxHeldBytes }

type heldStanza struct {
	e      *element.Element
	ticket uint64
	room   string // what its archive id is of, "" for none
	id     string
	of     *catchUp // whose archive it is from; nil: it came live
}

// newHeld is a live message; self is our bare JID.
func newHeld(e *element.Element, ticket uint64, self string) heldStanza {
	h := heldStanza{e: e, ticket: ticket}
	by := self
	bare, _ := splitJID(e.Get("from"))
	if e.Get("type") == "groupchat" {
		by = bare
	}
	if id := stanzaID(e, by); isTime(id) {
		h.room, h.id = bare, id
	}
	return h
}

// hold keeps a message until the fence falls.
func (f *fence) hold(h heldStanza) {
	f.list = append(f.list, h)
	f.bytes += sizeOf(h.e)
}

// isTime reports an id that is a time, as ejabberd makes them: digits that are
// microseconds, so that all are of one length until the year 2286.
func isTime(id string) bool {
	return len(id) == 16 && strings.Trim(id, "0123456789") == ""
}

// fall ends the fence and returns what it held, in order.
func (f *fence) fall() []heldStanza {
	list := f.list
	f.up, f.list, f.bytes = false, nil, 0
	return sorted(list)
}

// ebb returns the first half of what a full fence holds, and holds the other: one
// that was overtaken lies a few places behind, not thousands.
func (f *fence) ebb() []heldStanza {
	list := sorted(f.list)
	n := len(list) / 2
	f.list = slices.Clone(list[n:])
	f.bytes = 0
	for _, h := range f.list {
		f.bytes += sizeOf(h.e)
	}
	return list[:n]
}

// sorted puts, of each room, the messages that have times for ids in that order,
// in the places that they had.
func sorted(list []heldStanza) []heldStanza {
	places := map[string][]int{}
	for i, h := range list {
		if h.id != "" {
			places[h.room] = append(places[h.room], i)
		}
	}
	for _, at := range places {
		of := make([]heldStanza, len(at))
		for i, p := range at {
			of[i] = list[p]
		}
		slices.SortStableFunc(of, func(a, b heldStanza) int { return strings.Compare(a.id, b.id) })
		for i, p := range at {
			list[p] = of[i]
		}
	}
	return list
}

// fenceTime is how long a fence stands at least: ejabberd's old connection hands
// on what it still has when it ends, a little after the resumption.
const fenceTime = 300 * time.Millisecond

// settle puts the fence up, before the reader begins. What that of the stream
// before still holds stays there: the one that was overtaken may come only now.
func (f *fence) settle() {
	f.up = true
	f.number.Add(1)
	f.expired.Store(false)
}

// settled lets the fence fall once the server has answered a ping, which it reads
// behind all that we sent again.
func (s *session) settled() {
	number := s.held.number.Load()
	s.ask("get", s.domain, element.New(nsPing, "ping"), s.conf().PingTimeout, func(_ *element.Element, err error) {
		switch {
		case number != s.held.number.Load(): // asked on an earlier stream
		case errors.Is(err, errIQTimeout): // not the reader: it sees it
			s.held.expired.Store(true)
			// Prosody may swallow all that we say after a resumption, and go on telling us
			// what others say: no silence would show it.
			if !s.stuck(time.Now()) {
				s.end(errNoPong)
			}
		case errors.Is(err, errIQMany):
			s.held.expired.Store(true)
		default:
			s.release()
		}
	})
}

// release hands on what was held; the reader calls it, or who ends the session.
func (s *session) release() {
	for _, h := range s.held.fall() {
		s.handle(h.e, h.ticket)
	}
}
