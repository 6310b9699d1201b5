package stream

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
)

// management is the state of XEP-0198. A stream that resumes another takes its
// state over, so that both count on.
type management struct {
	on bool
	// uncounted stanzas came before <enabled/>: Next returns them, but the server
	// does not count them.
	uncounted uint64
	base      uint64        // handled by earlier processes
	revived   bool          // an earlier process counted what was sent, and is no more
	sent      atomic.Uint64 // our stanzas; raised under Stream.writeMu, before the write
	received  atomic.Uint64 // stanzas that Next has returned
	handled   atomic.Uint64 // of these, what the leg has taken in
	behind    atomic.Bool   // the last answer named less than was received
	answer    chan struct{} // capacity 1: an answer is due

	// What the server said when it enabled resumption; id is "" if it did not.
	id       string
	location string        // host or host:port to come back to, "" for any
	max      time.Duration // how long it keeps the session, 0 if it did not say
	jid      jid.JID

	mu          sync.Mutex // guards all below
	owner       *Stream    // who may add to unacked
	acked       uint64     // of our stanzas, as last told
	unacked     unacked
	unconfirmed bool // resumed, and nothing acknowledged since
	strikes     int  // resumptions in a row that were not confirmed
	over        bool // it cannot be resumed any more
}

func newManagement() *management { return &management{answer: make(chan struct{}, 1)} }

// ack returns <a/> with what we have handled (XEP-0198 §4).
func (m *management) ack() *element.Element {
	h := m.handled.Load()
	m.behind.Store(h < m.received.Load())
	return element.New(nsSM, "a", "h", m.wire(h))
}

// wire is h handled stanzas as the server counts them, modulo 2^32.
func (m *management) wire(h uint64) string {
	h -= min(h, m.uncounted)
	return strconv.FormatUint(h&(1<<32-1), 10)
}

// acknowledge takes the server's count (modulo 2^32: what it says more than the
// last one) and lets go of what it covers. An error is a count above what was sent.
func (m *management) acknowledge(h uint32) (acked uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	acked = m.acked + uint64(h-uint32(m.acked))
	if sent := m.sent.Load(); acked > sent {
		return m.acked, &StreamError{
			Condition: "undefined-condition", Ours: true,
			Text: fmt.Sprintf("the server acknowledged %d stanzas where %d were sent", h, sent),
		}
	}
	m.unacked.drop(int(acked - m.acked))
	m.acked = acked
	return acked, nil
}

// confirmed notes that the server counts on after a resumption.
func (m *management) confirmed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unconfirmed, m.strikes = false, 0
}

// AckRequest returns <r/>, to be sent as the last element of a Send: the server
// then answers with what it has handled.
func AckRequest() *element.Element { return element.New(nsSM, "r") }

// RequestAck asks the server how many stanzas it has handled; the answer comes
// by OnAck. Without XEP-0198 it does nothing.
func (s *Stream) RequestAck() error {
	if !s.sm.on {
		return nil
	}
	_, err := s.Send(AckRequest())
	return err
}

// Handled counts n more stanzas as taken in: the server's requests are answered
// with this count (XEP-0198 §4). An answer that named less than we had received
// is corrected once the leg has caught up. After the end of the stream it still
// counts, for the stream that resumes this one.
func (s *Stream) Handled(n int) {
	h := s.sm.handled.Add(uint64(max(n, 0)))
	if s.sm.on && s.sm.behind.Load() && h >= s.sm.received.Load() {
		s.sm.due()
	}
}

func (m *management) due() {
	select {
	case m.answer <- struct{}{}:
	default: // one is due already, and will name the latest count
	}
}

// answerRequests writes answers to <r/>, so that Next never waits for a write: a
// server that reads nothing until we have read would stop both sides.
func (s *Stream) answerRequests() {
	for {
		select {
		case <-s.dead:
			return
		case <-s.sm.answer:
		}
		if _, err := s.Send(s.sm.ack()); err != nil {
			return // Next has it
		}
	}
}

// management handles <r/> and <a/>.
func (s *Stream) management(e *element.Element) error {
	if !s.sm.on {
		return nil
	}
	switch e.Local {
	case "r":
		s.sm.due()
	case "a":
		h, err := strconv.ParseUint(e.Get("h"), 10, 32)
		if err != nil {
			return &StreamError{Condition: "undefined-condition", Text: "acknowledgement without a count", Ours: true}
		}
		acked, err := s.sm.acknowledge(uint32(h))
		if err != nil {
			return err
		}
		s.sm.confirmed()
		s.c.OnAck(acked)
	}
	return nil
}
