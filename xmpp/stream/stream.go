// Package stream is one XMPP client stream (RFC 6120): dialling, TLS, SASL,
// resource binding and stream management (XEP-0198), whole stanzas in and out.
// It knows nothing of what stanzas say.
package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
)

// goodbye is how long Close waits for the server's end of the stream.
const goodbye = time.Second

// Stream is a negotiated stream. Send, RequestAck, Handled, Ping and Close are
// safe for concurrent use; Next has one caller at a time.
type Stream struct {
	c    Config
	jid  jid.JID
	conn net.Conn

	readMu sync.Mutex // guards the reading side: the next four
	framer *framer
	parser *element.Parser
	early  []*element.Element
	skip   uint64 // stanzas to come that the stream resumed has returned already

	writeMu sync.Mutex // guards the next three and the order of writes
	buf     []byte
	ends    []int // of the stanzas in buf
	unasked int   // stanzas sent since the last request for an acknowledgement

	sm      *management
	resumed bool
	left    Leftover

	closing  atomic.Bool
	failOnce sync.Once
	cause    error         // why the stream ended; set before dead is closed
	dead     chan struct{} // closed when it has ended
	wg       sync.WaitGroup
}

// newStream returns the stream of a new session, or of one that sm has counted
// so far.
func newStream(n *negotiation, bound jid.JID, sm *management) *Stream {
	return &Stream{
		c: n.c, jid: bound, conn: n.conn, sm: sm,
		framer: n.framer, parser: n.parser, early: n.early,
		dead: make(chan struct{}),
	}
}

// begin starts what the stream does by itself.
func (s *Stream) begin() *Stream {
	if s.sm.on {
		resend := s.sm.takeOver(s)
		if s.resumed {
			s.writeMu.Lock()
			s.wg.Go(func() { s.resend(resend) })
		}
		s.wg.Go(s.answerRequests)
	}
	return s
}

// JID returns the full JID that the server bound.
func (s *Stream) JID() jid.JID { return s.jid }

// SM reports whether the server acknowledges stanzas (XEP-0198).
func (s *Stream) SM() bool { return s.sm.on }

// Next returns the next stanza, with its namespaces resolved. It blocks until
// there is one or the stream ends. *TooLargeError and *MalformedError are about
// one stanza, and the next call goes on; any other error is the end of the
// stream, and the same from then on.
//
// Each stanza that Next returns, and each of those two errors, is to be counted
// by a call of Handled once the leg has taken it in.
func (s *Stream) Next() (*element.Element, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	for {
		e, err := s.read()
		var large *TooLargeError
		var malformed *MalformedError
		switch {
		case err == nil && e == nil:
			continue // not a stanza
		case err != nil && !errors.As(err, &large) && !errors.As(err, &malformed):
			return nil, s.fail(err)
		case s.skip > 0:
			s.skip--
			continue
		}
		s.sm.received.Add(1)
		return e, err
	}
}

// read returns the next stanza, or nil for what is none.
func (s *Stream) read() (*element.Element, error) {
	if len(s.early) > 0 {
		e := s.early[0]
		s.early = s.early[1:]
		return e, nil
	}
	kind, frame, err := s.framer.next()
	var large *TooLargeError
	if errors.As(err, &large) {
		large.Head = s.headOf(large.head)
		if large.Head != nil && !isStanza(large.Head) {
			return nil, nil
		}
		return nil, large
	}
	if err != nil {
		return nil, err
	}
	if kind == frameEnd {
		return nil, fmt.Errorf("xmpp stream: the server closed the stream: %w", io.EOF)
	}
	e, err := s.parser.Parse(frame)
	if err != nil {
		head := s.headOf(frame)
		if head != nil && !isStanza(head) {
			return nil, nil
		}
		return nil, &MalformedError{Err: err, Head: head}
	}
	switch {
	case isStanza(e):
		return e, nil
	case e.Space == nsSM:
		return nil, s.management(e)
	case e.Is(nsStream, "error"):
		return nil, streamError(e)
	}
	return nil, nil
}

// Send writes stanzas in one write. It returns the number of the last one,
// counted from 1, which OnAck reports once the server has handled it. It
// returns after the write, or when Config.WriteTimeout has passed; a failed
// write ends the stream. With AckRequest as the last element, the server
// answers at once; without XEP-0198 that is left out.
//
// In a session that can be resumed, stanzas whose write failed are sent again by
// the stream that resumes it: that is no error. ErrNotSent means that nothing was
// written, now or later; any other error, that part of it may have left.
func (s *Stream) Send(stanzas ...*element.Element) (last uint64, err error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	select {
	case <-s.dead:
		return s.sm.sent.Load(), fmt.Errorf("%w: %w", ErrNotSent, s.cause)
	default:
	}
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	asks, counted := false, 0 // bytes of counted stanzas
	for _, e := range stanzas {
		if e.Space == nsSM {
			if !s.sm.on {
				continue // an AckRequest that this server would not know
			}
			asks = asks || e.Local == "r"
			s.buf = element.AppendXML(s.buf, e, nsClient)
			continue
		}
		s.buf = element.AppendXML(s.buf, e, nsClient)
		if isStanza(e) {
			counted = len(s.buf)
			s.ends = append(s.ends, counted)
		}
	}
	if len(s.buf) == 0 {
		return s.sm.sent.Load(), nil
	}
	resent := false
	if n := len(s.ends); n > 0 && s.sm.id != "" {
		ok := false
		if ok, resent = s.sm.keep(s, s.buf[:counted], s.ends); !ok {
			return s.sm.sent.Load(), ErrNotSent
		}
		if s.unasked += n; s.unasked >= askEvery && !asks {
			s.buf = element.AppendXML(s.buf, AckRequest(), nsClient)
			asks = true
		}
	}
	if asks {
		s.unasked = 0
	}
	last = s.sm.sent.Add(uint64(len(s.ends)))
	if err = s.write(s.buf); resent {
		err = nil
	}
	return last, err
}

// Ping writes one space (RFC 6120 §4.6.1): on a dead connection the writes fail
// sooner or later. A server that is alive does not answer.
func (s *Stream) Ping() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.write([]byte{' '})
}

// write writes b with a deadline; writeMu is held. No context reaches it: one
// that is cancelled in the middle would leave half a stanza, and with it a dead stream.
func (s *Stream) write(b []byte) error {
	select {
	case <-s.dead:
		return s.cause
	default:
	}
	timeout := s.c.WriteTimeout
	if s.closing.Load() {
		timeout = goodbye
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(timeout)) // fails on a closed connection only
	if _, err := s.conn.Write(b); err != nil {
		return s.fail(fmt.Errorf("xmpp stream: write: %w", err))
	}
	if cap(s.buf) > 256<<10 {
		s.buf = nil
	}
	return nil
}

// fail ends the stream with err, unless it has ended already, and returns why
// it has ended.
func (s *Stream) fail(err error) error {
	s.failOnce.Do(func() {
		var ours *StreamError
		if errors.As(err, &ours) && ours.Ours {
			s.tell(ours)
		}
		if s.closing.Load() {
			err = ErrClosed
		}
		s.cause = err
		close(s.dead)
		_ = s.conn.Close() // nothing more is to come
	})
	<-s.dead
	return s.cause
}

// tell sends our stream error, if nobody holds the writing side.
func (s *Stream) tell(e *StreamError) {
	if !s.writeMu.TryLock() {
		return
	}
	defer s.writeMu.Unlock()
	b := append([]byte(nil), "<stream:error>"...)
	b = element.AppendXML(b, element.New(nsStreams, e.Condition), nsClient)
	b = element.AppendXML(b, element.New(nsStreams, "text").SetText(e.Text), nsClient)
	b = append(b, "</stream:error></stream:stream>"...)
	_ = s.conn.SetWriteDeadline(time.Now().Add(goodbye))
	_, _ = s.conn.Write(b) // a courtesy
}

// Close tells the server what we have handled, says goodbye, waits up to a
// second for the server's, and closes the connection. Next then returns
// ErrClosed. No goroutine of the stream is left when Close returns.
func (s *Stream) Close() error {
	if !s.closing.Swap(true) {
		s.sayGoodbye()
	}
	_ = s.fail(ErrClosed)
	s.wg.Wait()
	return nil
}

func (s *Stream) sayGoodbye() {
	// A writer that is stuck gives up, and the reader too.
	_ = s.conn.SetDeadline(time.Now().Add(goodbye))
	s.writeMu.Lock()
	var b []byte
	if s.sm.on {
		b = element.AppendXML(b, s.sm.ack(), nsClient)
	}
	err := s.write(append(b, "</stream:stream>"...))
	s.writeMu.Unlock()
	if err != nil {
		return
	}
	if !s.readMu.TryLock() {
		// Next is reading: it sees the end, or the deadline. It may also be about to
		// return a stanza, and never be called again.
		select {
		case <-s.dead:
		case <-time.After(goodbye):
		}
		return
	}
	defer s.readMu.Unlock()
	for {
		kind, _, err := s.framer.next()
		if err == nil && kind == frameEnd {
			return
		}
		var large *TooLargeError
		if err != nil && !errors.As(err, &large) {
			return
		}
	}
}

// headOf parses the start tag that frame begins with; nil if it cannot.
func (s *Stream) headOf(frame []byte) *element.Element {
	var quote byte
	for i, b := range frame {
		switch {
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '\'' || b == '"':
			quote = b
		case b == '>':
			e, _, err := element.ParseOpen(frame[:i+1], s.parser.Outer(), element.Limits{})
			if err != nil {
				return nil
			}
			return e
		}
	}
	return nil
}
