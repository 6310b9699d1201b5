package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// The bounds of an inquiry: pages of an archive, and how long each may take.
const (
	askPages   = 50
	askTimeout = 30 * time.Second
	// askAgain is after how long an archive that may get messages late is read again.
	askAgain = time.Second
	// clockSlack is what the clocks may move against each other meanwhile.
	clockSlack = 5 * time.Second
)

var _ bridge.AskLeg = (*Leg)(nil)

// inquiry looks for messages of ours in an archive, from its end backwards. Its
// fields are guarded by Leg.mu once it is under way.
type inquiry struct {
	owner string // bare JID of the archive
	with  string // the bare JID that the account's archive is asked about, "" for all
	query string
	ids   map[string]bridge.Answer
	open  int       // ids that were not found yet
	first time.Time // of the oldest message that was seen; zero: there is none
	// behind is how far the server's clock is behind ours at most, as its latest message
	// shows; meaningful once there is a first.
	behind time.Duration
	late   bool          // the archive may get messages late: its ids are those of ejabberd
	gone   chan struct{} // closed: the room that was asked is another one by now
}

// Ask looks for ms in the archive of their room, or in that of the account
// (XEP-0313). Where a room has none, what it has shown us of its history, and since,
// tells. Absent is said only of what left after the oldest message seen: an
// archive that begins later may have forgotten it, or may never have kept any. Nor is
// it said of what may have been sent by a scheme whose messages no archive keeps.
func (l *Leg) Ask(ctx context.Context, ms []bridge.Outgoing) ([]bridge.Answer, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	s := l.session()
	if s == nil {
		return nil, bridge.ErrNotReady
	}
	q := &inquiry{owner: s.bare, ids: make(map[string]bridge.Answer, len(ms))}
	for i := range ms {
		q.ids[ms[i].ID] = bridge.Unanswered
	}
	q.open = len(q.ids)
	to := ms[0].To
	if to.Kind == bridge.MUC {
		m := l.room(to.Name)
		if m == nil || !s.featuresKnown(ctx, m) {
			return nil, bridge.ErrNotReady
		}
		l.mu.Lock()
		mam := m.mam
		l.mu.Unlock()
		if !mam {
			return l.shown(m, ms), nil
		}
		q.owner = m.room.Name
	} else {
		l.mu.Lock()
		c := l.people[to.Name]
		if c != nil && len(c.person.JIDs) == 1 {
			q.with, _ = splitJID(c.person.JIDs[0])
		}
		l.mu.Unlock()
		if c == nil {
			return nil, bridge.ErrNotReady
		}
	}
	whole, err := s.inquireToRest(ctx, q, ms)
	if err != nil {
		return nil, err
	}
	answers := l.answers(q, ms, whole)
	if s.inSessions(&ms[0]) {
		for i, a := range answers {
			if a == bridge.Absent { // it asked not to be kept (no-store)
				answers[i] = bridge.Unanswered
			}
		}
	}
	return answers, nil
}

// Asks reports whether our own archive has what is sent to a person, which it has not
// of what goes in sessions. Of a room it is trusted that it has an archive, or a
// history that holds what may be on its way, as by default it has.
func (l *Leg) Asks(room bridge.Room) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room.Kind == bridge.MUC {
		return true
	}
	bare, c := l.conf.Load().bare, l.people[room.Name]
	archive := l.places[bare].id != "" || len(l.trails[bare]) > 0 // something came with its ids
	return archive && c != nil && c.kept.Load()
}

// inSessions reports whether lines like m go to their person in sessions.
func (s *session) inSessions(m *bridge.Outgoing) bool {
	if m.To.Kind != bridge.Chat || len(s.leg.talks) == 0 {
		return false
	}
	p, _, err := s.addressee(m.To.Name)
	if err != nil {
		return true // gone again: nothing is known
	}
	scheme, _, err := s.choose(*m, p)
	return err == nil && isSession(scheme)
}

// inquireToRest is inquire, again and again where an archive may get messages late,
// until a look finds no more: what the lost connection of an ejabberd has read of ours
// it goes on to deliver, one after the other, also after a session took its place.
func (s *session) inquireToRest(ctx context.Context, q *inquiry, ms []bridge.Outgoing) (whole bool, err error) {
	for looked := -1; ; {
		if whole, err = s.inquire(ctx, q, ms); err != nil {
			return false, err
		}
		s.leg.mu.Lock()
		open, late := q.open, q.late
		s.leg.mu.Unlock()
		if !late || open == 0 || open == looked {
			return whole, nil
		}
		looked = open
		t := time.NewTimer(askAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return false, ctx.Err()
		case <-t.C:
		}
	}
}

// unkept reports whether m may have been sent by a scheme whose messages no archive
// keeps.
func (l *Leg) unkept(m *bridge.Outgoing) bool {
	for _, s := range l.deps.Schemes {
		if _, ok := s.(e2ee.Unkept); ok && m.To.Kind == bridge.Chat && slices.Contains(m.Schemes, s.Name()) {
			return true
		}
	}
	return false
}

// answers are what q has found. whole tells that the archive was read from its
// beginning.
func (l *Leg) answers(q *inquiry, ms []bridge.Outgoing, whole bool) []bridge.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]bridge.Answer, len(ms))
	for i := range ms {
		out[i] = q.ids[ms[i].ID]
		if out[i] == bridge.Unanswered && !l.unkept(&ms[i]) && q.reaches(ms[i].Since(), whole) {
			out[i] = bridge.Absent
		}
	}
	return out
}

// reaches reports whether all that came since at was seen. In a busy archive the latest
// message tells the server's clock well enough; else it may be clockSkew behind.
func (q *inquiry) reaches(at time.Time, whole bool) bool {
	if q.first.IsZero() || at.IsZero() {
		return false
	}
	if !whole {
		at = at.Add(-min(clockSkew, max(0, q.behind)+clockSlack))
	}
	return q.first.Before(at)
}

// inquire reads an archive page by page, the latest first, until all was found or
// what follows is too old. whole tells that there is no older page.
func (s *session) inquire(ctx context.Context, q *inquiry, ms []bridge.Outgoing) (whole bool, err error) {
	l := s.leg
	since := ms[0].Since()
	for i := range ms {
		if at := ms[i].Since(); at.Before(since) {
			since = at
		}
	}
	l.mu.Lock()
	l.inquiries++
	q.query = s.idPrefix + "ask-" + strconv.Itoa(l.inquiries)
	s.asking[q.query], q.gone = q, make(chan struct{})
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(s.asking, q.query)
	}()
	before := ""
	for range askPages {
		fin, err := s.askPage(ctx, q, before)
		if err != nil || fin == nil {
			return false, err
		}
		l.mu.Lock()
		done := q.open == 0 || q.reaches(since, false)
		l.mu.Unlock()
		set := fin.Child(nsRSM, "set")
		next := ""
		if e := set.Child(nsRSM, "first"); e != nil {
			next = e.Text
		}
		switch {
		case done:
			return false, nil
		case next == "" || isTrue(fin.Get("complete")):
			return true, nil
		case next == before:
			return false, nil // it goes round in circles
		}
		before = next
	}
	return false, nil
}

// entered ends the inquiries of a room that we came into: a room that was destroyed, or
// whose server started again, never answers what it was asked before.
func (s *session) entered(room string) {
	s.leg.mu.Lock()
	defer s.leg.mu.Unlock()
	for id, q := range s.asking {
		if q.owner == room {
			close(q.gone)
			delete(s.asking, id)
		}
	}
}

// askPage asks for the messages before an id, or the last ones. nil: the archive
// says nothing.
func (s *session) askPage(ctx context.Context, q *inquiry, before string) (fin *element.Element, err error) {
	type reply struct {
		e   *element.Element
		err error
	}
	back := make(chan reply, 1)
	set := element.New(nsRSM, "set").Add(element.New(nsRSM, "max").SetText(strconv.Itoa(pageSize)), element.New(nsRSM, "before").SetText(before))
	to, filter := "", element.New(nsForm, "x", "type", "submit").Add(formType())
	if q.owner != s.bare {
		to = q.owner
	}
	if q.with != "" {
		filter.Add(field("with", q.with))
	}
	s.ask("set", to, element.New(nsMAM, "query", "queryid", q.query).Add(filter, set), askTimeout, func(e *element.Element, err error) {
		back <- reply{e, err}
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.gone:
		return nil, bridge.ErrNotReady
	case r := <-back:
		var refused *stanzaError
		switch {
		case r.err == nil:
			return r.e.Child(nsMAM, "fin"), nil
		case errors.As(r.err, &refused):
			s.leg.log.Debug("the archive was not told about what is in doubt", "leg", s.leg.name, "room", q.owner, "err", r.err)
			return nil, nil
		case s.leg.session() != s:
			return nil, bridge.ErrNotReady
		}
		return nil, fmt.Errorf("%w: %w", r.err, context.DeadlineExceeded) // too slow, or too much under way
	}
}

// found takes a result for an inquiry: whose archive it is was checked.
func (s *session) found(q *inquiry, r *element.Element) {
	fwd := r.Child(nsForward, "forwarded")
	msg := fwd.Child(nsClient, "message")
	if msg == nil {
		return
	}
	at, err := time.Parse(time.RFC3339, fwd.Child(nsDelay, "delay").Get("stamp"))
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	if behind := time.Since(at); err == nil && (q.first.IsZero() || behind < q.behind) {
		q.behind = behind
	}
	if err == nil && (q.first.IsZero() || at.Before(q.first)) {
		q.first = at
	}
	q.late = q.late || isTime(r.Get("id"))
	sender, _ := splitJID(msg.Get("from"))
	switch {
	case sender != q.owner && !(sender == "" && q.owner == s.bare):
		return // in the account's archive somebody else; in a room's nobody of it
	case msg.Get("type") == "error":
		return // it came back
	}
	for _, id := range []string{ownID(msg.Get("id")), msg.Child(nsSID, "origin-id").Get("id")} {
		if a, ours := q.ids[id]; ours && a == bridge.Unanswered {
			q.ids[id] = bridge.Present
			q.open--
		}
	}
}

// shown answers for a room without an archive: from what it has shown us of
// our own, since the first line of the history that we asked for when we came in,
// or since then.
func (l *Leg) shown(m *muc, ms []bridge.Outgoing) []bridge.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]bridge.Answer, len(ms))
	for i := range ms {
		switch {
		case m.mine.has(mineKey(ms[i].ID)):
			out[i] = bridge.Present
		case !m.from.IsZero() && m.from.Before(ms[i].Since().Add(-overlap)):
			out[i] = bridge.Absent
		}
	}
	return out
}

// mineKey tells our own lines apart.
func mineKey(id string) uint64 { return lineKey("", id, "") }

// featuresKnown waits until it is known what a room can do.
func (s *session) featuresKnown(ctx context.Context, m *muc) bool {
	s.leg.mu.Lock()
	known := m.known
	s.leg.mu.Unlock()
	if known {
		return true
	}
	done := make(chan struct{})
	s.askFeatures(m, func() { close(done) })
	select {
	case <-ctx.Done():
		return false
	case <-done:
	}
	return s.leg.session() == s
}
