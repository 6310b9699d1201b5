package xmpp

import (
	"slices"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
)

// A line in a session (e2ee.Session) can arrive and not be read: the client has lost
// its keys, or was gone. The leg remembers which lines went to which resource, and
// tells the core which of them were read, and which are to be sent again.

// Bounds of that memory.
const (
	unreadMax = 256 // lines to one contact
	// lostFor is how far back an error reaches that a resource could not read us.
	lostFor = time.Minute
	// leftFor is how far back it is not known what a resource read that has left or has
	// ended the session: it swallows what the server still writes to it.
	leftFor = 10 * time.Second
	// flightFor is how old a line must be to be proven by a message of its reader: a
	// younger one may have crossed it.
	flightFor = 2 * time.Second
	// receiptFor is how long a receipt is not yet believed: some clients send it
	// before they decrypt, and the error follows.
	receiptFor = time.Second
)

// unreadLine is a line that may not have been read.
type unreadLine struct {
	id      string
	to      string // full JID
	sent    time.Time
	receipt time.Time // when its receipt came
}

// unreadLines are those of one contact, in the order they were sent. Nothing of it
// outlives the process: what was acknowledged before a restart counts as delivered.
type unreadLines struct {
	mu    sync.Mutex // guards lines
	lines []unreadLine
}

// sent enters a line that is about to be written.
func (u *unreadLines) sent(id, to string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines = slices.DeleteFunc(u.lines, func(l unreadLine) bool { return l.id == id })
	if len(u.lines) >= unreadMax || len(u.lines) > 0 && now.Sub(u.lines[0].sent) > bridge.UnprovenFor {
		u.lines = slices.Delete(u.lines, 0, 1)
	}
	u.lines = append(u.lines, unreadLine{id: id, to: to, sent: now})
}

// take takes out the lines that match, and returns their ids.
func (u *unreadLines) take(match func(*unreadLine) bool) (ids []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines = slices.DeleteFunc(u.lines, func(l unreadLine) bool {
		if !match(&l) {
			return false
		}
		ids = append(ids, l.id)
		return true
	})
	return ids
}

// received notes a receipt.
func (u *unreadLines) received(id, from string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.lines {
		if l := &u.lines[i]; l.id == id && l.to == from && l.receipt.IsZero() {
			l.receipt = now
		}
	}
}

// believed reports whether the receipt of l proves that it was read.
func (l *unreadLine) believed(now time.Time) bool {
	return !l.receipt.IsZero() && now.Sub(l.receipt) >= receiptFor
}

// receipted reports whether read has something to take.
func (u *unreadLines) receipted(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.ContainsFunc(u.lines, func(l unreadLine) bool { return l.believed(now) })
}

// read takes out what receipts have proven.
func (u *unreadLines) read(now time.Time) []string {
	return u.take(func(l *unreadLine) bool { return l.believed(now) })
}

// proven takes out what a message proves that the resource wrote at: in the session,
// so it reads it.
func (u *unreadLines) proven(full string, at time.Time) []string {
	return u.take(func(l *unreadLine) bool { return l.to == full && at.Sub(l.sent) >= flightFor })
}

// lost takes out what the resource may not have read.
func (u *unreadLines) lost(full string, now time.Time) []string {
	return u.take(func(l *unreadLine) bool { return l.to == full && now.Sub(l.sent) <= lostFor })
}

// left takes out what a resource may not have read that was gone at, or had ended the
// session. A receipt of about then proves nothing: mcabber sends one also for a line
// that it cannot read, and what is behind the end is noted before that is opened.
func (u *unreadLines) left(full string, at time.Time) []string {
	return u.take(func(l *unreadLine) bool {
		return l.to == full && at.Sub(l.sent) <= leftFor && !l.believed(at)
	})
}

// returned takes out the line that came back, and those behind it to the same
// resource.
func (u *unreadLines) returned(id string) []string {
	at := -1
	var full string
	u.mu.Lock()
	if i := slices.IndexFunc(u.lines, func(l unreadLine) bool { return l.id == id }); i >= 0 {
		at, full = i, u.lines[i].to
	}
	u.mu.Unlock()
	if at < 0 {
		return nil
	}
	seen := false
	return u.take(func(l *unreadLine) bool {
		seen = seen || l.id == id
		return seen && l.to == full
	})
}

// showed tells the core what became of lines to c.
func (s *session) showed(c *contact, o bridge.Outcome, ids []string) {
	for _, id := range ids {
		s.proofs.prove(bridge.Proof{Room: c.room, ID: id, Outcome: o})
	}
}

// unread tells the core of lines to c that are to be sent again.
func (s *session) unread(c *contact, ids []string, why string) {
	if len(ids) > 0 {
		s.leg.log.Info("lines were not read and are sent again", "leg", s.leg.name, "to", c.room.Name, "n", len(ids), "rule", why)
		s.showed(c, bridge.Unread, ids)
	}
}

// readLately tells the core what receipts have proven, in turn: an end of the session or
// an error that came before them may still wait to be opened.
func (s *session) readLately(now time.Time) {
	l := s.leg
	if len(l.talks) == 0 {
		return
	}
	l.mu.Lock()
	all := make([]*contact, 0, len(l.people))
	for _, c := range l.people {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		if c.unread.receipted(now) {
			l.work.submit(c.lane, func() { s.showed(c, bridge.Delivered, c.unread.read(now)) })
		}
	}
}

// cameBack handles a line in a session that came back from a resource: it and what
// was sent behind it go out again, and not in that session before it is heard of.
func (s *session) cameBack(c *contact, from, id string) bool {
	if !s.proofs.inSession(c.room, id) {
		return false
	}
	s.leg.work.submit(c.lane, func() {
		s.leg.inTurn(c, func() {
			ids := c.unread.returned(id)
			if len(ids) > 0 {
				s.leg.leave(from)
			}
			s.unread(c, ids, "bounce")
		})
	})
	return true
}

// inSession reports whether one of the lines sent lately went out in a session.
func (p *proofs) inSession(room bridge.Room, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := func(w waiting) bool { return w.session && w.id == id && w.room == room }
	return slices.ContainsFunc(p.chats, same) || slices.ContainsFunc(p.recent, same)
}

// arrived is what the server's acknowledgement of w proves.
func (w waiting) arrived() bridge.Outcome {
	if w.session {
		return bridge.Acked
	}
	return bridge.Delivered
}

// isSession reports whether scheme is one with sessions.
func isSession(scheme e2ee.Scheme) bool {
	_, ok := scheme.(e2ee.Session)
	return ok
}
