package stream

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"drawbridge/xmpp/element"
)

// management is the state of XEP-0198.
type management struct {
	on bool
	// uncounted stanzas came before <enabled/>: Next returns them, but the server
	// does not count them.
	uncounted uint64
	received  atomic.Uint64 // stanzas that Next has returned
	handled   atomic.Uint64 // of these, what the leg has taken in
	behind    atomic.Bool   // the last answer named less than was received
	answer    chan struct{} // capacity 1: an answer is due
}

// ack returns <a/> with what we have handled (XEP-0198 §4).
func (m *management) ack() *element.Element {
	h := m.handled.Load()
	m.behind.Store(h < m.received.Load())
	h -= min(h, m.uncounted)
	return element.New(nsSM, "a", "h", strconv.FormatUint(h&(1<<32-1), 10))
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
// is corrected once the leg has caught up.
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
		// h is modulo 2^32: what it says more than the last one.
		acked := s.acked + uint64(uint32(h)-uint32(s.acked))
		if sent := s.sent.Load(); acked > sent {
			return &StreamError{
				Condition: "undefined-condition", Ours: true,
				Text: fmt.Sprintf("the server acknowledged %d stanzas where %d were sent", h, sent),
			}
		}
		s.acked = acked
		s.c.OnAck(acked)
	}
	return nil
}
