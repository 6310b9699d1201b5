// Package xmpptest is the far end of a stream for tests of the XMPP leg: it plays
// the server's part of a transcript and checks ours, without a network.
package xmpptest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

const (
	nsClient = "jabber:client"
	nsSM     = "urn:xmpp:sm:3"
)

// Stream is a fake stream. It satisfies xmpp.Stream.
type Stream struct {
	self  jid.JID
	sm    bool
	onAck func(uint64)

	mu      sync.Mutex // guards all below
	some    sync.Cond
	in      []any // *element.Element, error, or uint64 for an acknowledgement
	out     []*element.Element
	seq     uint64
	handled int
	closed  bool
	sendErr error
	onIdle  func()

	left     *stream.Resumption
	resumed  bool
	acked    uint64
	leftover stream.Leftover
}

// NewStream returns a stream bound to the full JID self. sm says whether the
// server has XEP-0198; onAck may be nil.
func NewStream(self string, sm bool, onAck func(uint64)) *Stream {
	s := &Stream{self: jid.MustParse(self), sm: sm, onAck: onAck}
	s.some.L = &s.mu
	return s
}

// OnIdle sets what Next calls when nothing is queued, before it waits.
func (s *Stream) OnIdle(f func()) { s.onIdle = f }

// Resumable makes the stream one that can be resumed once it has ended.
func (s *Stream) Resumable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = &stream.Resumption{}
}

// Resume makes the stream one that resumes old: the server has handled acked
// stanzas of it.
func (s *Stream) Resume(old *Stream, acked uint64) {
	old.mu.Lock()
	seq, handled := old.seq, old.handled
	old.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed, s.acked, s.seq, s.handled = true, acked, seq, handled
}

// Leave makes the stream one that could not resume another.
func (s *Stream) Leave(left stream.Leftover) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leftover = left
}

// Abort ends the stream with why.
func (s *Stream) Abort(why error) { s.Fail(why) }

// Resumption returns something if Resumable was called.
func (s *Stream) Resumption() *stream.Resumption {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Resumed reports whether Resume was called.
func (s *Stream) Resumed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed
}

// Acked returns the last acknowledgement that Resume or Push gave.
func (s *Stream) Acked() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Leftover returns what Leave was given.
func (s *Stream) Leftover() stream.Leftover {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftover
}

// Saved returns nothing that could be kept.
func (s *Stream) Saved(uint64) (stream.Saved, bool) { return stream.Saved{}, false }

// JID returns the bound JID.
func (s *Stream) JID() jid.JID { return s.self }

// SM reports whether the server has XEP-0198.
func (s *Stream) SM() bool { return s.sm }

// Next returns what Push queued, in order.
func (s *Stream) Next() (*element.Element, error) {
	for {
		v, err := s.pop()
		switch v := v.(type) {
		case *element.Element:
			return v, nil
		case error:
			return nil, v
		case uint64:
			if s.onAck != nil {
				s.onAck(v)
			}
		default:
			return nil, err
		}
	}
}

func (s *Stream) pop() (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 && s.onIdle != nil {
		s.mu.Unlock()
		s.onIdle()
		s.mu.Lock()
	}
	for len(s.in) == 0 && !s.closed {
		s.some.Wait()
	}
	if s.closed {
		return nil, io.EOF
	}
	v := s.in[0]
	s.in = s.in[1:]
	return v, nil
}

// Send records stanzas.
func (s *Stream) Send(stanzas ...*element.Element) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	if s.sendErr != nil {
		return 0, s.sendErr
	}
	s.out = append(s.out, stanzas...)
	for _, e := range stanzas {
		if e.Space != nsSM {
			s.seq++
		}
	}
	return s.seq, nil
}

// RequestAck records <r/>.
func (s *Stream) RequestAck() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return io.ErrClosedPipe
	}
	s.out = append(s.out, element.New(nsSM, "r"))
	return nil
}

// Handled counts stanzas as taken in.
func (s *Stream) Handled(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled += n
}

// Close ends the stream.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.some.Broadcast()
	return nil
}

// Closed reports whether the leg has closed the stream.
func (s *Stream) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Fail ends the stream with err, as a cut link does.
func (s *Stream) Fail(err error) { s.push(err) }

// FailSends makes every Send fail with err.
func (s *Stream) FailSends(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendErr = err
}

// Deliver queues a stanza from the server.
func (s *Stream) Deliver(e *element.Element) { s.push(e) }

// Skip queues an error about one stanza, which Next returns.
func (s *Stream) Skip(err error) { s.push(err) }

func (s *Stream) push(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = append(s.in, v)
	s.some.Signal()
}

// Push parses and queues a stanza from the server; <a/> of XEP-0198 becomes an
// acknowledgement.
func (s *Stream) Push(xml string) error {
	e, err := Parse(xml)
	if err != nil {
		return err
	}
	if e.Is(nsSM, "a") {
		h, err := strconv.ParseUint(e.Get("h"), 10, 64)
		if err != nil {
			return err
		}
		s.push(h)
		return nil
	}
	s.push(e)
	return nil
}

// HandledCount returns how many stanzas the leg has taken in.
func (s *Stream) HandledCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handled
}

// Seq returns how many stanzas the leg has sent.
func (s *Stream) Seq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// Sent takes the first stanza of those sent and not yet looked at, nil if there
// is none.
func (s *Stream) Sent() *element.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out) == 0 {
		return nil
	}
	e := s.out[0]
	s.out = s.out[1:]
	return e
}

// Parse reads one stanza as it stands in a jabber:client stream.
func Parse(xml string) (*element.Element, error) {
	return element.Parse([]byte(xml), element.Scope{Default: nsClient}, element.Limits{})
}

// XML writes a stanza as it stands in a jabber:client stream.
func XML(e *element.Element) string {
	if e == nil {
		return "nothing"
	}
	return string(element.AppendXML(nil, e, nsClient))
}

// Match compares a stanza with a pattern: same names, attributes in any order,
// children in order, same text. In the pattern, '*' as a value matches any, and
// '$name' matches and remembers any value in vars, which later '$name' must
// equal. The error tells the first difference.
func Match(pattern, got *element.Element, vars map[string]string) error {
	switch {
	case got == nil:
		return errors.New("nothing was sent")
	case pattern.Space != got.Space || pattern.Local != got.Local:
		return fmt.Errorf("is {%s}%s, not {%s}%s", got.Space, got.Local, pattern.Space, pattern.Local)
	case !value(pattern.Text, got.Text, vars):
		return fmt.Errorf("<%s> holds %q, not %q", got.Local, got.Text, pattern.Text)
	case len(pattern.Attr) != len(got.Attr):
		return fmt.Errorf("<%s> has attributes %v, not %v", got.Local, got.Attr, pattern.Attr)
	case len(pattern.Children) != len(got.Children):
		return fmt.Errorf("<%s> has %d children, not %d", got.Local, len(got.Children), len(pattern.Children))
	}
	for _, a := range pattern.Attr {
		has := slices.ContainsFunc(got.Attr, func(b element.Attr) bool { return b.Name == a.Name })
		if v := got.Get(a.Name); !has || !value(a.Value, v, vars) {
			return fmt.Errorf("<%s> has %s=%q, not %q", got.Local, a.Name, v, a.Value)
		}
	}
	for i := range pattern.Children {
		if err := Match(pattern.Children[i], got.Children[i], vars); err != nil {
			return fmt.Errorf("in <%s>: %w", got.Local, err)
		}
	}
	return nil
}

func value(pattern, got string, vars map[string]string) bool {
	if pattern == "*" {
		return true
	}
	if strings.HasPrefix(pattern, "$") {
		if want, known := vars[pattern]; known {
			return got == want
		}
		vars[pattern] = got
		return true
	}
	return pattern == got
}

// Fill replaces the variables of a transcript line by what they matched.
func Fill(line string, vars map[string]string) string {
	names := make([]string, 0, len(vars))
	for n := range vars {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, n := range names {
		line = strings.ReplaceAll(line, n, vars[n])
	}
	return line
}

// Line is one step of a transcript: what stands before the colon and behind it.
type Line struct {
	N          int // its number in the file
	Mark, Text string
}

// Lines cuts a transcript into steps: "MARK: text", where lines that begin with a
// blank go on with the step before; # begins a comment line.
func Lines(transcript string) ([]Line, error) {
	var out []Line
	for n, l := range strings.Split(transcript, "\n") {
		switch {
		case strings.TrimSpace(l) == "" || strings.HasPrefix(l, "#"):
		case l[0] == ' ' || l[0] == '\t':
			if len(out) == 0 {
				return nil, fmt.Errorf("line %d goes on with nothing", n+1)
			}
			out[len(out)-1].Text += strings.TrimSpace(l)
		default:
			mark, text, ok := strings.Cut(l, ":")
			if !ok {
				return nil, fmt.Errorf("line %d has no mark", n+1)
			}
			out = append(out, Line{n + 1, mark, strings.TrimSpace(text)})
		}
	}
	return out, nil
}
