package xmpp

import (
	"time"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// settleTime is how long to wait before a session is resumed: what the old
// connection has read and not handled would come twice, where it goes on with it. A
// backlog that takes longer than settleMost is far above our windows.
func settleTime(r *stream.Resumption) time.Duration {
	if !r.GoesOn() {
		return 0
	}
	return min(time.Duration(r.Unacked())*settleEach, settleMost)
}

const (
	settleEach = 15 * time.Millisecond // SQLite archives on both sides of a line
	settleMost = 15 * time.Second
)

// resume goes on with st: rooms, presences and questions are as they were, and
// what was on the wire is there again. Each room is asked whether it agrees.
func (s *session) resume(st Stream) {
	now := time.Now()
	away := now.Sub(s.ended)
	if s.left.GoesOn() { // what the old connection was handed meanwhile may be in the archives alone
		s.leg.stickAll(now)
	}
	s.left = nil
	s.link.Store(newLink(st))
	s.lastRead.Store(now.UnixNano())
	s.iqs.postpone(away)
	s.proofs.resumed(st.Acked(), away, now)
	s.out.start()
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.rooms {
		m.deadline = m.deadline.Add(away)
		m.heard, m.asked = time.Time{}, false // the next look asks at once
	}
}

// unanswered ends the questions that wait.
func (s *session) unanswered() {
	for _, q := range s.iqs.expired(time.Time{}) {
		s.guard("iq", func() { q.answer(nil, errIQTimeout) })
	}
}

// abandon ends a session that is not resumed. What the server has handled of it
// is proven; the rest is in doubt, in the order it was sent, and the core asks for
// it (Ask). The receipts that may not have arrived are returned: their senders wait
// for them, and a second one does no harm.
func (s *session) abandon(left stream.Leftover) (receipts []*element.Element) {
	s.proofs.upTo(left.Acked)
	s.proofs.close()
	for _, e := range append(left.Stanzas, s.out.close()...) {
		if e.Local == "message" && e.Child(nsReceipts, "received") != nil {
			receipts = append(receipts, e)
		}
	}
	return receipts
}

// receipt gives a receipt for a message that the core has taken, as many as it takes
// while nothing can be written. It may have come in a session that is no more: then
// the next one gives it.
func (l *Leg) receipt(e *element.Element) {
	if wireSize(e) > maxReply {
		l.counts.add(countReplies)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.lastSession(); s == nil || !s.out.own(e) {
		l.owed = append(l.owed, e)
	}
}
