package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
)

// The bounds of what is kept for a resumption. Above them the session is not
// resumed: what is unacknowledged at its end stays so.
const (
	unackedStanzas = 1 << 14
	unackedBytes   = 16 << 20
)

// askEvery is after how many stanzas Send asks for an acknowledgement by itself,
// so that what is kept stays little.
const askEvery = 64

// resumeMax is for how long we ask the server to keep the session.
const resumeMax = 10 * time.Minute

// maxStrikes is how many resumptions in a row may end by the link before the
// server has acknowledged anything: then it is not the link.
const maxStrikes = 8

// unacked holds our stanzas that the server has not acknowledged, as written, in
// order.
type unacked struct {
	list  [][]byte
	head  int
	bytes int
	free  [][]byte // buffers to use again
}

func (u *unacked) len() int { return len(u.list) - u.head }

func (u *unacked) push(b []byte) {
	var buf []byte
	if n := len(u.free); n > 0 {
		buf = u.free[n-1][:0]
		u.free = u.free[:n-1]
	}
	if u.head > 0 && len(u.list) == cap(u.list) {
		n := copy(u.list, u.list[u.head:])
		clear(u.list[n:])
		u.list, u.head = u.list[:n], 0
	}
	u.list = append(u.list, append(buf, b...))
	u.bytes += len(b)
}

// drop lets go of the first n.
func (u *unacked) drop(n int) {
	for ; n > 0 && u.len() > 0; n-- {
		b := u.list[u.head]
		u.list[u.head] = nil
		u.head++
		u.bytes -= len(b)
		if cap(b) <= 4<<10 && len(u.free) < 2*askEvery {
			u.free = append(u.free, b)
		}
	}
	if u.len() == 0 {
		u.list, u.head = u.list[:0], 0
	}
}

// all returns the stanzas, in order.
func (u *unacked) all() [][]byte { return u.list[u.head:] }

// keep remembers stanzas that are about to be written by s; ends are where in b
// each one ends. False: another stream has taken over, nothing was kept. resent
// tells that they will be sent again should the write fail.
func (m *management) keep(s *Stream, b []byte, ends []int) (ok, resent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != s {
		return false, false
	}
	if m.over {
		return true, false
	}
	if m.unacked.len()+len(ends) > unackedStanzas || m.unacked.bytes+len(b) > unackedBytes {
		m.over, m.unacked = true, unacked{}
		s.c.Log.Warn("too much is unacknowledged: the session cannot be resumed any more", "n", unackedStanzas)
		return true, false
	}
	from := 0
	for _, end := range ends {
		m.unacked.push(b[from:end])
		from = end
	}
	return true, true
}

// Resumption is what a stream that ended leaves behind: enough to resume its
// session (XEP-0198 §5), by Config.Resume.
type Resumption struct{ sm *management }

// Resumption returns what is needed to resume the session of s, once s has
// ended; nil where it cannot be resumed: the server does not do it, we said
// goodbye, or somebody else has taken the resource.
func (s *Stream) Resumption() *Resumption {
	select {
	case <-s.dead:
	default:
		return nil
	}
	m := s.sm
	var se *StreamError
	ours := errors.As(s.cause, &se)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.on || m.id == "" || m.owner != s, errors.Is(s.cause, ErrClosed):
		return nil
	case ours && se.Condition == "conflict":
		return nil
	case m.unconfirmed && (ours || errors.Is(s.cause, ErrNoAnswer)):
		// Prosody 0.12 goes on with the XML parser of the old connection: a stanza torn
		// by the cut makes what comes then not well-formed, or swallows it.
		m.over = true
	case m.unconfirmed:
		m.strikes++
		m.over = m.over || m.strikes >= maxStrikes
	}
	return &Resumption{m}
}

// Unacked is how many of our stanzas the server has not acknowledged.
func (r *Resumption) Unacked() int {
	if r == nil || r.sm == nil {
		return 0
	}
	r.sm.mu.Lock()
	defer r.sm.mu.Unlock()
	return r.sm.unacked.len()
}

// erlangTerm begins the id of a session of ejabberd: an Erlang tuple in base64.
const erlangTerm = "g2"

// GoesOn reports whether the server's old connection goes on with what it has read
// after it has handed its count over, as that of ejabberd 23.01 does (the code of
// mod_stream_mgmt, and seen): a session with much on its way must not be resumed in
// haste. Its ids tell the server.
func (r *Resumption) GoesOn() bool {
	return r != nil && r.sm != nil && strings.HasPrefix(r.sm.id, erlangTerm)
}

// GoesOn is that of a Resumption.
func (v Saved) GoesOn() bool { return strings.HasPrefix(v.ID, erlangTerm) }

// usable reports whether it is worth a try.
func (r *Resumption) usable() bool {
	if r == nil || r.sm == nil {
		return false
	}
	r.sm.mu.Lock()
	defer r.sm.mu.Unlock()
	return !r.sm.over
}

// location is where the server wants us back, "" if it does not care.
func (r *Resumption) location() string {
	if !r.usable() {
		return ""
	}
	return r.sm.location
}

// Leftover is what a session that could not be resumed leaves to the next one.
type Leftover struct {
	// Acked is how many of its stanzas the server has handled, as far as it said.
	Acked uint64
	// Stanzas are those behind them, in order. The server may have handled some.
	Stanzas []*element.Element
}

func (r *Resumption) leftover() Leftover {
	if r == nil || r.sm == nil {
		return Leftover{}
	}
	m := r.sm
	m.mu.Lock()
	defer m.mu.Unlock()
	left := Leftover{Acked: m.acked}
	for _, b := range m.unacked.all() {
		if e, err := element.Parse(b, element.Scope{Default: nsClient}, element.Limits{}); err == nil {
			left.Stanzas = append(left.Stanzas, e)
		}
	}
	m.owner, m.over, m.unacked = nil, true, unacked{}
	return left
}

// resume asks the server for the session of m. False: it does not have it any
// more, and a resource is to be bound.
func (n *negotiation) resume(m *management) (ok bool, again uint64, err error) {
	h, received := m.handled.Load(), m.received.Load()
	m.uncounted = min(m.uncounted, received) // those that nobody read are gone
	// What we have received and not handled comes again: it is in our hands.
	again = received - max(h, m.uncounted)
	if err := n.write(element.New(nsSM, "resume", "previd", m.id, "h", m.wire(h))); err != nil {
		return false, 0, err
	}
	for {
		e, err := n.read()
		switch {
		case err != nil:
			return false, 0, err
		case e.Is(nsSM, "resumed"):
			acked, err := strconv.ParseUint(e.Get("h"), 10, 32)
			if err == nil && m.revived {
				m.sent.Store(acked)
				m.revived = false
			}
			if err == nil {
				_, err = m.acknowledge(uint32(acked))
			}
			if err == nil && e.Get("previd") != m.id {
				err = errors.New("it is another one")
			}
			if err != nil {
				m.giveUp()
				return false, 0, fmt.Errorf("the session that the server resumed: %w", err)
			}
			return true, again, nil
		case e.Is(nsSM, "failed"):
			// Prosody tells what it had handled; it may also close the stream now.
			if acked, err := strconv.ParseUint(e.Get("h"), 10, 32); err == nil {
				_, _ = m.acknowledge(uint32(acked)) // a wrong count proves nothing
			}
			m.giveUp()
			n.c.Log.Info("the server does not have our session any more")
			return false, 0, nil
		}
		if err := n.keep(e); err != nil {
			return false, 0, err
		}
	}
}

func (m *management) giveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
}

// takeOver makes s the stream of m's session, and returns what is to be sent
// again.
func (m *management) takeOver(s *Stream) (resend []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner, m.unconfirmed = s, s.resumed
	resend = make([]byte, 0, m.unacked.bytes+len("<r xmlns='urn:xmpp:sm:3'/>"))
	for _, b := range m.unacked.all() {
		resend = append(resend, b...)
	}
	return element.AppendXML(resend, AckRequest(), nsClient)
}

// resend writes what the old stream could not be sure of, and asks whether it
// has arrived. writeMu is held since before anybody could write.
func (s *Stream) resend(b []byte) {
	defer s.writeMu.Unlock()
	for len(b) > 0 {
		n := min(len(b), readSize)
		if s.write(b[:n]) != nil {
			return // Next has it
		}
		b = b[n:]
	}
}

// Resumed reports whether this stream goes on with the session of Config.Resume.
func (s *Stream) Resumed() bool { return s.resumed }

// Acked returns how many of our stanzas the server has handled, as last told.
func (s *Stream) Acked() uint64 {
	s.sm.mu.Lock()
	defer s.sm.mu.Unlock()
	return s.sm.acked
}

// Leftover returns what the session of Config.Resume left, where it could not be
// resumed.
func (s *Stream) Leftover() Leftover { return s.left }

// Abort ends the stream without a word, because of why: the session stays to be
// resumed.
func (s *Stream) Abort(why error) { _ = s.fail(why) }

// Saved is what another process needs to resume a session.
type Saved struct {
	ID       string
	Location string // where the server wants us back, "" if it does not care
	JID      jid.JID
	Handled  uint32 // of the server's stanzas, as it counts them
}

// Saved returns what is to be kept of the session when handled stanzas of those
// that Next has returned, of all its streams, have been taken in. False: the server
// does not resume.
func (s *Stream) Saved(handled uint64) (Saved, bool) {
	m := s.sm
	h := m.base + handled
	h -= min(h, m.uncounted)
	return Saved{m.id, m.location, m.jid, uint32(h)}, m.on && m.id != ""
}

// Resume returns a resumption of a session of an earlier process. Which of our
// stanzas have arrived only the server knows: its count is taken as ours.
func (v Saved) Resume() *Resumption {
	m := newManagement()
	m.on, m.revived = true, true
	m.id, m.location, m.jid, m.base = v.ID, v.Location, v.JID, uint64(v.Handled)
	m.handled.Store(m.base)
	m.received.Store(m.base)
	return &Resumption{m}
}
