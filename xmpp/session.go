package xmpp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// session is one stream from bind to end. Its reader takes every stanza, in the
// order of the wire; it never waits for an answer, for a scheme, or for the
// server to read. Writing goes through out, except for messages, which the
// outboxes' goroutines write themselves.
type session struct {
	leg      *Leg
	st       Stream
	full     string // our JID as bound
	bare     string
	domain   string
	idPrefix string
	began    time.Time

	out     *outQueue
	iqs     iqTable
	proofs  *proofs
	tickets *tickets
	kick    chan struct{} // capacity 1: chats wait for an acknowledgement
	done    chan struct{} // closed when the reader has ended

	lastRead atomic.Int64 // Unix nanoseconds of the last stanza
	inHand   atomic.Int64 // since when the reader has had a stanza in hand; 0: it reads
	leaving  atomic.Bool  // we said goodbye: rooms put us out, as they should
	lastSent atomic.Int64 // of the last message sent

	causeMu sync.Mutex // guards cause
	cause   error      // why we closed the stream ourselves

	sigMu sync.Mutex // guards sig
	sig   *signature // of our presence, kept for a while
}

func newSession(l *Leg, st Stream, sink bridge.Sink) *session {
	var r [6]byte
	_, _ = rand.Read(r[:]) // never fails
	j := st.JID()
	s := &session{
		leg: l, st: st,
		full: j.String(), bare: j.Bare().String(), domain: j.Domainpart(),
		idPrefix: base64.RawURLEncoding.EncodeToString(r[:]) + "-",
		began:    time.Now(),
		out:      newOutQueue(),
		kick:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	s.proofs = newProofs(sink.Prove)
	s.tickets = &tickets{report: st.Handled}
	s.lastRead.Store(s.began.UnixNano())
	s.lastSent.Store(s.began.UnixNano())
	return s
}

// conf returns the configuration as it is now.
func (s *session) conf() *setup { return s.leg.conf.Load() }

// run serves the stream until it ends, and says why. No goroutine is left.
func (s *session) run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(s.write)
	wg.Go(s.requestAcks)
	wg.Go(s.keepHouse)
	bye := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(bye)
		s.wantAck()
		s.proofs.settled(lastProofs)
		s.leaving.Store(true)
		_, _ = s.st.Send(element.New(nsClient, "presence", "type", "unavailable"))
		s.end(context.Cause(ctx))
	})
	s.start()
	err := s.read()
	if !stop() {
		<-bye
	}
	close(s.done)
	s.out.close()
	_ = s.st.Close()
	wg.Wait()
	for _, q := range s.iqs.expired(time.Time{}) {
		s.guard("iq", func() { q.answer(nil, errIQTimeout) })
	}
	s.causeMu.Lock()
	defer s.causeMu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return err
}

// end closes the stream for a reason of ours; the first reason counts.
func (s *session) end(why error) {
	s.causeMu.Lock()
	if s.cause == nil {
		s.cause = why
	}
	s.causeMu.Unlock()
	_ = s.st.Close()
}

// read takes stanzas until the stream ends.
func (s *session) read() error {
	for {
		e, err := s.st.Next()
		s.lastRead.Store(time.Now().UnixNano())
		if err == nil {
			s.inHand.Store(s.lastRead.Load())
			s.take(e)
			s.inHand.Store(0)
			continue
		}
		var large *stream.TooLargeError
		var malformed *stream.MalformedError
		if !errors.As(err, &large) && !errors.As(err, &malformed) {
			return err
		}
		s.leg.counts.add(countMalformed)
		s.leg.log.Debug("stanza skipped", "leg", s.leg.name, "err", err)
		s.tickets.done(s.tickets.take())
	}
}

// take handles one stanza. Nothing a stanza holds may end the session: a panic is
// counted and logged, without its value, which may hold text.
func (s *session) take(e *element.Element) {
	// The strings of a stanza share its bytes. What is remembered of it must not
	// keep all of them: the sender's address, the id; others where they are kept.
	for i := range e.Attr {
		switch e.Attr[i].Name {
		case "from", "id":
			e.Attr[i].Value = strings.Clone(e.Attr[i].Value)
		}
	}
	ticket := s.tickets.take()
	kept := false
	s.guard(e.Local, func() { kept = s.dispatch(e, ticket) })
	if !kept {
		s.tickets.done(ticket)
	}
}

// guard runs f and survives its panic; false if there was one.
func (s *session) guard(what string, f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			s.leg.panicked(what, r)
		}
	}()
	f()
	return true
}

// panicked counts a panic, and logs it without its value, which may hold text.
func (l *Leg) panicked(what string, v any) {
	l.counts.add(countPanics)
	if l.mayLog(&l.lastPanic) {
		l.log.Error("panic while handling a stanza", "leg", l.name, "rule", what, "err", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	}
}

// dispatch sends a stanza to its handler, and reports whether the ticket was
// kept, to be given back when the core has taken the message in.
func (s *session) dispatch(e *element.Element, ticket uint64) (kept bool) {
	if e.Space != nsClient {
		return false
	}
	switch e.Local {
	case "message":
		return s.message(e, ticket)
	case "presence":
		s.presence(e)
	case "iq":
		s.iq(e)
	}
	return false
}

// start asks for the roster, shows our presence and joins the rooms, all in the
// first writes; answers come as they come.
func (s *session) start() {
	s.ask("get", "", element.New(nsRoster, "query"), time.Minute, s.roster)
	s.announce()
	s.leg.joinAll(s)
}

// outQueue holds what the reader and the housekeeper want to write. Our own
// stanzas are bounded by our people and rooms; answers to others are given up
// when too many wait.
type outQueue struct {
	mu      sync.Mutex // guards all below
	some    sync.Cond
	list    []*element.Element
	replies int
	closed  bool
	dropped func()
}

// outReplies bounds the answers that wait, and maxReply the bytes of each: an
// answer repeats the id of its question, and one above the server's limit would
// end the stream at anybody's wish.
const (
	outReplies = 256
	maxReply   = 8 << 10
)

func newOutQueue() *outQueue {
	q := &outQueue{dropped: func() {}}
	q.some.L = &q.mu
	return q
}

func (q *outQueue) own(e ...*element.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.list = append(q.list, e...)
		q.some.Signal()
	}
}

func (q *outQueue) reply(e *element.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
	case q.replies >= outReplies || wireSize(e) > maxReply:
		q.dropped()
	default:
		q.replies++
		q.list = append(q.list, e)
		q.some.Signal()
	}
}

// next waits for what is to be written; nil once the queue is closed.
func (q *outQueue) next() []*element.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	list := q.list
	q.list, q.replies = nil, 0
	return list
}

func (q *outQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

// write is the goroutine behind out.
func (s *session) write() {
	for {
		list := s.out.next()
		if list == nil {
			return
		}
		if _, err := s.st.Send(list...); err != nil {
			s.leg.log.Debug("write failed", "leg", s.leg.name, "err", err)
			return // Next reports the end of the stream
		}
	}
}

// lastProofs is how long a stopping leg waits for the proofs of what it sent.
const lastProofs = time.Second

// A chat asks for its acknowledgement itself where no request is under way. What
// is sent meanwhile is asked for at once when there is so much of it, else after
// a moment, so that a busy stream needs one request for many lines.
const (
	ackBatch = 16
	ackAfter = 10 * time.Millisecond
)

// requestAcks has chats proven that were sent while a request was under way: it
// asks how many stanzas were handled (XEP-0198), or pings the server behind them.
func (s *session) requestAcks() {
	for {
		select {
		case <-s.done:
			return
		case <-s.kick:
		}
		n, _ := s.proofs.last()
		if n > 0 && n < ackBatch {
			select {
			case <-s.done:
				return
			case <-time.After(ackAfter):
			}
			n, _ = s.proofs.last()
		}
		if n > 0 && s.proofs.request(time.Now()) {
			s.requestAck()
		}
	}
}

func (s *session) requestAck() {
	if s.st.SM() {
		_ = s.st.RequestAck() // Next has the error
		return
	}
	_, seq := s.proofs.last()
	s.ask("get", s.domain, element.New(nsPing, "ping"), s.conf().PingTimeout, func(_ *element.Element, err error) {
		if !errors.Is(err, errIQTimeout) && !errors.Is(err, errIQMany) { // a refusal is an answer too
			s.acknowledged(seq)
		}
	})
}

// wantAck asks requestAcks to look after waiting chats.
func (s *session) wantAck() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// acknowledged is told how many of our stanzas the server has handled.
func (s *session) acknowledged(n uint64) {
	if s.proofs.upTo(n) > 0 {
		s.wantAck()
	}
}

// readerStuck is how long a stanza may be in the reader's hands before nobody
// reads the server's answers, because the core is full.
const readerStuck = 500 * time.Millisecond

// keepHouse looks after all that has a deadline, once a second.
func (s *session) keepHouse() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var pinged time.Time
	for {
		var now time.Time
		select {
		case <-s.done:
			return
		case now = <-t.C:
		}
		for _, q := range s.iqs.expired(now) {
			s.guard("iq", func() { q.answer(nil, errIQTimeout) })
		}
		s.guard("rooms", func() { s.leg.tendRooms(s, now) })
		since := s.inHand.Load()
		busy := since != 0 && now.UnixNano()-since > int64(readerStuck)
		if busy {
			s.lastRead.Store(now.UnixNano())
		}
		if s.proofs.overdue(now, s.conf().PingTimeout, busy) {
			s.end(errNoPong)
			return
		}
		heard := time.Unix(0, s.lastRead.Load())
		if !heard.Before(pinged) {
			pinged = time.Time{}
		}
		switch silent := now.Sub(heard); {
		case !pinged.IsZero() && now.Sub(pinged) > s.conf().PingTimeout:
			s.end(errNoPong)
			return
		case pinged.IsZero() && silent > s.conf().PingAfter:
			pinged = now
			s.ask("get", s.domain, element.New(nsPing, "ping"), s.conf().PingTimeout, func(*element.Element, error) {})
		}
	}
}
