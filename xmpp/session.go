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

// session is one XMPP session from bind to end: over one stream, or several of
// which each resumes the one before (XEP-0198). Its reader takes every stanza, in
// the order of the wire; it never waits for an answer, for a scheme, or for the
// server to read. Writing goes through out, except for messages, which the
// outboxes' goroutines write themselves.
type session struct {
	leg      *Leg
	login    *setup // the configuration it logged in by
	link     atomic.Pointer[link]
	full     string // our JID as bound
	bare     string
	domain   string
	idPrefix string

	out     *outQueue
	iqs     iqTable
	proofs  *proofs
	tickets *tickets
	kick    chan struct{} // capacity 1: chats wait for an acknowledgement

	archives map[string]*catchUp // that are being read, by owner: the reader's own
	asking   map[string]*inquiry // by queryid; guarded by Leg.mu
	reading  bool                // the account's is among them; guarded by Leg.mu
	started  bool                // roster, presence and rooms were asked for
	revived  bool                // it is of an earlier process
	joins    []*muc              // rooms that wait for their turn to be joined; guarded by Leg.mu

	held fence // the reader's own; between two streams Leg.Run's
	// keyless are messages that wait for keys, by their contact: as held. waiting
	// is since when there are any, as Unix nanoseconds; 0 for none.
	keyless map[*contact]*keyless
	waiting atomic.Int64
	// fromArchive: the room's line in hand is from its archive, not one that says so. The
	// reader's own.
	fromArchive bool

	// left is what the last stream left to be resumed, nil if it cannot be; ended is
	// when that was. They are Leg.Run's own.
	left  *stream.Resumption
	ended time.Time

	lastRead atomic.Int64  // Unix nanoseconds of the last stanza
	asides   atomic.Uint64 // whispers and invitations so far
	inHand   atomic.Int64  // since when the reader has had a stanza in hand; 0: it reads
	leaving  atomic.Bool   // we said goodbye: rooms put us out, as they should
	lastSent atomic.Int64  // of the last message sent

	sigMu sync.Mutex // guards sig
	sig   *signature // of our presence, kept for a while
}

// link is one stream of a session.
type link struct {
	Stream
	began time.Time
	done  chan struct{} // closed when the reader has ended

	mu    sync.Mutex // guards cause
	cause error      // why we closed the stream ourselves
}

func newLink(st Stream) *link { return &link{Stream: st, began: time.Now(), done: make(chan struct{})} }

// st returns the stream as it is now, or was last.
func (s *session) st() *link { return s.link.Load() }

func newSession(l *Leg, st Stream, sink bridge.Sink) *session {
	var r [6]byte
	_, _ = rand.Read(r[:]) // never fails
	j := st.JID()
	s := &session{
		leg: l, login: l.conf.Load(),
		full: j.String(), bare: j.Bare().String(), domain: j.Domainpart(),
		idPrefix: base64.RawURLEncoding.EncodeToString(r[:]) + "-",
		out:      newOutQueue(),
		kick:     make(chan struct{}, 1),
		archives: map[string]*catchUp{},
		asking:   map[string]*inquiry{},
		keyless:  map[*contact]*keyless{},
	}
	s.link.Store(newLink(st))
	s.proofs = newProofs(sink.Prove)
	s.tickets = &tickets{report: func(n int) { s.st().Handled(n) }}
	now := time.Now().UnixNano()
	s.lastRead.Store(now)
	s.lastSent.Store(now)
	return s
}

// conf returns the configuration as it is now.
func (s *session) conf() *setup { return s.leg.conf.Load() }

// run serves the stream until it ends, and says why. No goroutine is left.
func (s *session) run(ctx context.Context) error {
	var wg sync.WaitGroup
	st := s.st()
	if st.Resumed() {
		s.held.settle()
	}
	if !s.started {
		s.started = true
		s.start()
	}
	wg.Go(func() { s.write(st) })
	wg.Go(func() { s.requestAcks(st) })
	wg.Go(func() { s.keepHouse(st) })
	bye := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(bye)
		s.wantAck()
		s.proofs.settled(lastProofs)
		s.leaving.Store(true)
		_, _ = st.Send(element.New(nsClient, "presence", "type", "unavailable"))
		s.end(context.Cause(ctx))
	})
	err := s.read(st)
	if !stop() {
		<-bye
	}
	close(st.done)
	s.out.stop()
	_ = st.Close()
	wg.Wait()
	s.proofs.flush()
	s.left, s.ended = st.Resumption(), time.Now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause != nil {
		return st.cause
	}
	return err
}

// end closes the stream for a reason of ours; the first reason counts. After
// errNoPong it may be resumed, as after a cut.
func (s *session) end(why error) {
	st := s.st()
	st.mu.Lock()
	if st.cause == nil {
		st.cause = why
	}
	st.mu.Unlock()
	if errors.Is(why, errNoPong) {
		st.Abort(why)
		return
	}
	_ = st.Close()
}

// stuck reports whether the reader waits for the core: what the server has
// answered is not read then.
func (s *session) stuck(now time.Time) bool {
	since := s.inHand.Load()
	return since != 0 && now.UnixNano()-since > int64(readerStuck)
}

// read takes stanzas until the stream ends.
func (s *session) read(st *link) error {
	for {
		e, err := st.Next()
		s.lastRead.Store(time.Now().UnixNano())
		if err == nil {
			s.inHand.Store(s.lastRead.Load())
			s.take(e)
			s.inHand.Store(0)
			continue
		}
		var large *stream.TooLargeError
		var malformed *stream.MalformedError
		switch {
		case errors.As(err, &large):
			s.skipped(large.Head, err)
		case errors.As(err, &malformed):
			s.skipped(malformed.Head, err)
		default:
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
	// What an archive tells comes in order, and before the end of its page, which is no
	// message.
	if s.held.up && e.Local == "message" && e.Child(nsMAM, "result") == nil {
		if !s.held.expired.Load() {
			s.held.hold(newHeld(e, ticket, s.bare))
			if s.held.full() {
				for _, h := range s.held.ebb() {
					s.handle(h.e, h.ticket)
				}
			}
			return
		}
		s.release()
	}
	s.handle(e, ticket)
}

func (s *session) handle(e *element.Element, ticket uint64) {
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
	if from, known := s.leg.place(s.bare); known && len(s.conf().People) > 0 {
		s.leg.mu.Lock()
		s.reading = true
		s.leg.mu.Unlock()
		s.catchUpFrom(s.bare, nil, from, false)
	} else {
		s.leg.begin(s.bare, time.Now())
	}
	s.announce()
	if s.revived {
		s.probeContacts()
	}
	s.leg.joinAll(s)
	s.publishKeys()
}

// outQueue holds what the reader and the housekeeper want to write. Our own
// stanzas are bounded by our people and rooms; answers to others are given up
// when too many wait.
type outQueue struct {
	mu      sync.Mutex // guards all below
	some    sync.Cond
	list    []*element.Element
	replies int
	asides  int
	stopped bool // there is no stream now
	closed  bool // and there will be none
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

// own reports whether there is a writer, or will be one again.
func (q *outQueue) own(e ...*element.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.list = append(q.list, e...)
	q.some.Signal()
	return true
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

// next waits for what is to be written; nil while there is no stream.
func (q *outQueue) next() []*element.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.stopped && !q.closed {
		q.some.Wait()
	}
	if q.stopped || q.closed {
		return nil
	}
	list := q.list
	q.list, q.replies, q.asides = nil, 0, 0
	return list
}

// putBack puts back what could not be written.
func (q *outQueue) putBack(list []*element.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(list, q.list...)
}

// stop ends the writer; what comes from now on waits for start, or for nothing.
func (q *outQueue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.some.Broadcast()
}

func (q *outQueue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = false
}

// close ends the queue and returns what was left in it.
func (q *outQueue) close() []*element.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
	list := q.list
	q.list = nil
	return list
}

// write is the goroutine behind out.
func (s *session) write(st *link) {
	for {
		list := s.out.next()
		if list == nil {
			return
		}
		if _, err := st.Send(list...); err != nil {
			s.leg.log.Debug("write failed", "leg", s.leg.name, "err", err)
			if errors.Is(err, stream.ErrNotSent) {
				s.out.putBack(list)
			}
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
func (s *session) requestAcks(st *link) {
	for {
		select {
		case <-st.done:
			return
		case <-s.kick:
		}
		n, _ := s.proofs.last()
		if n > 0 && n < ackBatch {
			select {
			case <-st.done:
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
	if st := s.st(); st.SM() {
		_ = st.RequestAck() // Next has the error
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
func (s *session) keepHouse(st *link) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var pinged time.Time
	var settled <-chan time.Time
	if st.Resumed() {
		settled = time.After(fenceTime)
	}
	joining := time.NewTicker(joinEvery)
	defer joining.Stop()
	for {
		var now time.Time
		select {
		case <-st.done:
			return
		case <-joining.C:
			if !s.joinSome(1) {
				joining.Stop()
			}
			continue
		case <-settled:
			s.settled()
			continue
		case now = <-t.C:
		}
		for _, q := range s.iqs.expired(now) {
			s.guard("iq", func() { q.answer(nil, errIQTimeout) })
		}
		s.guard("rooms", func() { s.leg.tendRooms(s, now) })
		s.guard("keys", func() { s.tendKeys(now) })
		s.due(now)
		s.leg.tellSessions(nil)
		s.guard("archives", func() { s.leg.rereadArchives(s, now) })
		busy := s.stuck(now)
		if busy {
			s.lastRead.Store(now.UnixNano())
		}
		// An ejabberd that writes its archive slowly answers late, but goes on to send.
		// Prosody may send and read nothing, if a stanza was torn: it is given up.
		if v, ok := st.Saved(0); ok && v.GoesOn() {
			busy = busy || now.UnixNano()-s.lastRead.Load() < int64(time.Second)
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
