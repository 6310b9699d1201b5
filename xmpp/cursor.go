package xmpp

import (
	"context"
	"strings"
	"time"

	"drawbridge/bridge"
)

// place is how far an archive was read: the time and the archive id of the last
// message that the core has taken in. id is "" where there was none.
type place struct {
	at time.Time
	id string
}

const placeFormat = "2006-01-02T15:04:05.000Z"

// String is the value of a cursor.
func (p place) String() string {
	return strings.TrimSuffix(p.at.UTC().Format(placeFormat)+" "+p.id, " ")
}

func parsePlace(value string) (place, bool) {
	value, _, _ = strings.Cut(value, "\n")
	stamp, id, _ := strings.Cut(value, " ")
	at, err := time.Parse(time.RFC3339, stamp)
	return place{at, id}, err == nil
}

// loadCursors takes over what earlier runs have read.
func (l *Leg) loadCursors(ctx context.Context) {
	if l.deps.Cursors == nil {
		return
	}
	known, err := l.deps.Cursors.Cursors(ctx, l.name)
	if err != nil {
		l.log.Error("how far the archives were read is not known: what was said meanwhile stays unread", "leg", l.name, "err", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, value := range known {
		if p, ok := parsePlace(value); ok {
			l.places[name] = p
		}
	}
	// What of ours a room without an archive has is seen in its history alone, which
	// a resumed session does not show.
	for name := range l.rooms {
		if l.places[name].id == "" {
			return
		}
	}
	if v, ok := revival(known, l.conf.Load().jid); ok {
		l.revive = v.Resume()
	}
}

// place returns how far the archive of a bare JID was read; false if it never was.
func (l *Leg) place(owner string) (place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.places[owner]
	return p, ok
}

// trailing is how many messages the place in an archive lies behind the last one:
// where a session ends, a server may have let one overtake others, which are only
// in the archive then. The core knows the ids of what it reads again.
const trailing = 16

// cursor gives a message a place in the archive of owner, and the count of its
// session, and advances the leg's own when the core has taken it. Taken is called in
// the order of the wire.
func (s *session) cursor(m *bridge.Message, owner, id string, ticket uint64) {
	l := s.leg
	p, moved := l.advance(owner, place{m.Time, id})
	m.Cursor = bridge.Cursor{Name: owner, Value: p.String()}
	if v, ok := s.st().Saved(s.tickets.hand(ticket)); ok && l.deps.Cursors != nil {
		m.Cursor.Value, m.Cursor.Whole = withCount(m.Cursor.Value, v), true
	}
	if !moved {
		return
	}
	taken := m.Taken
	m.Taken = func(ok bool) {
		l.mu.Lock()
		l.places[owner] = p
		l.mu.Unlock()
		taken(ok)
	}
}

// advance returns the place of a cursor whose message is at p, and whether it is
// another than before.
func (l *Leg) advance(owner string, p place) (_ place, moved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.isStuck(owner), p.id == "" && l.rooms[owner] == nil: // the account has no archive
		return l.places[owner], false
	case p.id == "":
		return p, true
	}
	trail := l.trails[owner]
	if len(trail) < trailing {
		l.trails[owner] = append(trail, p)
		return l.places[owner], false
	}
	first := trail[0]
	copy(trail, trail[1:])
	trail[trailing-1] = p
	return first, true
}

// begin notes that an archive is read from now on, where nothing is known of it.
func (l *Leg) begin(owner string, now time.Time) {
	l.mu.Lock()
	_, known := l.places[owner]
	p := place{at: now}
	if !known {
		l.places[owner] = p
	}
	l.mu.Unlock()
	if known || l.deps.Cursors == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.deps.Cursors.SetCursor(ctx, l.name, bridge.Cursor{Name: owner, Value: p.String()}); err != nil {
		l.log.Error("the place in an archive was not kept", "leg", l.name, "room", owner, "err", err)
	}
}
