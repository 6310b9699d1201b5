package xmpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// Leg is one XMPP account. It implements bridge.Leg.
type Leg struct {
	name    string
	deps    Deps
	log     *slog.Logger
	order   []string // names of all schemes
	signers []e2ee.PresenceSigner
	talks   []e2ee.Session

	conf    atomic.Pointer[setup]
	started atomic.Bool
	counts  counts
	pipe    *pipe
	work    *workers
	wake    chan struct{}      // capacity 1: dial now, whatever the backoff
	revive  *stream.Resumption // the session of the process before, until it was tried; Run's own
	unbound bool               // the server refuses channel binding; Run's own

	lastPanic, lastRefused atomic.Int64 // when these were last logged

	reload sync.Mutex // one Reconfigure at a time

	mu   sync.Mutex // guards all below
	sess *session   // nil while there is no stream
	// resting is a session whose stream has ended and that may be resumed.
	resting *session
	people  map[string]*contact
	byJID   map[string]*contact
	rooms   map[string]*muc
	// strangers are presences of people not configured, by full JID.
	strangers map[string]*element.Element
	places    map[string]place // how far archives were read, by owner
	trails    map[string][]place
	stuck     map[string]stuck   // archives that could not be read
	owed      []*element.Element // receipts that wait for a session
	inquiries int                // made so far
	inHand    map[inHand]bool    // messages on their way to the core
	pace      pace
	state     bridge.State
	since     time.Time
	detail    string
	notes     map[string]string    // trouble of the whole account, by kind
	published map[string]e2ee.Item // on PEP, by node
	own       keyLook              // at what our account has of it
	// rosterKnown is set once the server has told who is subscribed.
	rosterKnown bool
	eyes        eyes // of the guard
}

var (
	_ bridge.BatchLeg = (*Leg)(nil)
	_ bridge.Enforcer = (*Leg)(nil)
)

// New checks c and returns the leg; nothing is dialled before Run.
func New(c Config, d Deps) (*Leg, error) {
	conf, err := prepare(c)
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Dial == nil {
		d.Dial = func(ctx context.Context, c stream.Config) (Stream, error) {
			st, err := stream.Dial(ctx, c)
			if err != nil {
				return nil, err // not a nil *stream.Stream in a Stream
			}
			return st, nil
		}
	}
	if d.Cores <= 0 {
		d.Cores = runtime.GOMAXPROCS(0)
	}
	l := &Leg{
		name: conf.Name, deps: d, log: d.Log,
		pipe: newPipe(), work: newWorkers(), wake: make(chan struct{}, 1),
		people: map[string]*contact{}, byJID: map[string]*contact{}, rooms: map[string]*muc{}, strangers: map[string]*element.Element{}, places: map[string]place{}, trails: map[string][]place{}, stuck: map[string]stuck{}, inHand: map[inHand]bool{},
		since: time.Now(), notes: map[string]string{}, published: map[string]e2ee.Item{},
	}
	for _, s := range d.Schemes {
		l.order = append(l.order, s.Name())
		if ps, ok := s.(e2ee.PresenceSigner); ok {
			l.signers = append(l.signers, ps)
		}
	}
	l.talks = talking(d.Schemes)
	l.work.panicked = l.panicked
	l.conf.Store(conf)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setPeople(conf)
	l.setRooms(conf)
	return l, nil
}

// Name returns the account's name in the config.
func (l *Leg) Name() string { return l.name }

// Window is 16 for a room and 64 for a chat. A room's server is kept busy by two
// writes of eight lines, one in its hands and one on the way; and what a lost link
// leaves in doubt is still within the 20 lines of history that rooms keep as a rule.
func (l *Leg) Window(room bridge.Room) int {
	if room.Kind == bridge.MUC {
		return 16
	}
	return 64
}

var errTwice = errors.New("xmpp: Run was called twice")

// Run connects and serves until ctx ends, then says goodbye.
func (l *Leg) Run(ctx context.Context, sink bridge.Sink) error {
	if !l.started.CompareAndSwap(false, true) {
		return errTwice
	}
	var delivery, crew sync.WaitGroup
	delivery.Go(func() { l.deliver(ctx, sink) })
	for range l.deps.Cores {
		crew.Go(l.work.run)
	}
	stop := context.AfterFunc(ctx, l.pipe.close)
	defer stop()
	l.loadCursors(ctx)
	var b backoff
	for ctx.Err() == nil {
		class, detail, lived := l.once(ctx, sink)
		if ctx.Err() != nil {
			break
		}
		wait := b.next(class, lived, l.resting != nil, time.Now())
		if l.resting != nil && wait >= 0 {
			wait = max(wait, settleTime(l.resting.left))
		}
		l.rest(ctx, class, detail, wait)
	}
	l.abandon(stream.Leftover{}, "stopped")
	l.setState(bridge.StateDown, "stopped")
	l.pipe.close()
	l.work.close()
	crew.Wait()
	delivery.Wait()
	return nil
}

// once opens a stream and serves it to its end.
func (l *Leg) once(ctx context.Context, sink bridge.Sink) (class endClass, detail string, lived time.Duration) {
	conf := l.conf.Load()
	l.setState(bridge.StateOpening, "connecting")
	var s *session
	sc := stream.Config{
		JID: conf.jid, Password: conf.Password, Server: conf.Server, TLS: conf.TLS,
		ChannelBinding: conf.ChannelBinding, AllowPlain: conf.AllowPlain, Log: l.log,
		// Acknowledgements are for chats: rooms prove by reflection and catch up by
		// their archive or history, and would make the server keep a copy of all they
		// hear. Where a history was once too short, that is worth it.
		NoSM: len(conf.People) == 0 && !l.tooShort(),
		OnAck: func(n uint64) {
			if s != nil { // it is called from Next, so by our reader
				s.acknowledged(n)
			}
		},
		OnIdle: func() {
			if s != nil {
				s.proofs.flush()
			}
		},
	}
	if len(conf.Rooms) > 0 {
		sc.MaxStanza = maxTaken
	}
	// Once a login worked only without channel binding, the next ones of this
	// process do not try it: each try is a failed login in the server's books.
	if l.unbound && sc.ChannelBinding != stream.BindingRequired {
		sc.ChannelBinding = stream.BindingOff
	}
	sc.OnBindingRefused = func() { l.unbound = true }
	if l.resting != nil && relogin(l.resting.login, conf) {
		l.abandon(stream.Leftover{}, "the configuration changed")
	}
	sc.Resume = l.revive
	if l.resting != nil {
		sc.Resume = l.resting.left
	}
	st, err := l.deps.Dial(ctx, sc)
	if err != nil {
		class, detail = classify(err, conf.bare)
		return class, detail, 0
	}
	l.counts.add(countStreams)
	l.revive = nil
	if st.Resumed() {
		l.counts.add(countResumed)
	}
	if st.Resumed() && l.resting != nil {
		s = l.resting
		s.resume(st)
	} else {
		orphans := l.abandon(st.Leftover(), "the session was lost")
		s = newSession(l, st, sink)
		s.revived = st.Resumed()
		s.out.dropped = func() { l.counts.add(countReplies) }
		s.out.own(orphans...)
	}
	l.up(s)
	if !st.Resumed() {
		l.keepSession(s)
	}
	l.log.Info("connected", "leg", l.name, "jid", s.full, "sm", st.SM(), "resumed", st.Resumed())
	err = s.run(ctx)
	lived = time.Since(s.st().began)
	class, detail = classify(err, conf.bare)
	l.down(s, detail)
	if class == endViolation {
		l.mu.Lock()
		l.pace.halve(time.Now())
		l.mu.Unlock()
	}
	return class, detail, lived
}

// rest waits for the next attempt; for ever if wait is negative, until the
// configuration changes.
func (l *Leg) rest(ctx context.Context, class endClass, detail string, wait time.Duration) {
	state := bridge.StateDown
	if class == endLogin || class == endCertificate {
		state = bridge.StateRefused
	}
	changed := l.setState(state, detail)
	switch {
	case !changed:
	case wait < 0:
		l.log.Error("stopped until somebody acts", "leg", l.name, "err", detail)
	default:
		l.log.Warn("not connected", "leg", l.name, "err", detail, "took", wait)
	}
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	case <-l.wake:
	}
}

// setState reports whether the detail is news.
func (l *Leg) setState(state bridge.State, detail string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != state {
		l.since = time.Now()
	}
	news := detail != l.detail && state != bridge.StateOpening
	l.state = state
	if state != bridge.StateOpening || l.detail == "" {
		l.detail = detail
	}
	return news
}

// up enters a new stream.
func (l *Leg) up(s *session) {
	l.mu.Lock()
	l.sess, l.resting, l.state, l.since, l.detail = s, nil, bridge.StateUp, time.Now(), ""
	if len(l.owed) > 0 {
		s.out.own(l.owed...)
		l.owed = nil
	}
	l.showAgain()
	l.mu.Unlock()
	l.look()
	l.notify(bridge.Event{Kind: bridge.LegUp, Resumed: s.st().Resumed()})
}

// down ends a stream. If its session may be resumed, all that it knew stays as
// it is until it was, or could not be.
func (l *Leg) down(s *session, why string) {
	l.mu.Lock()
	l.sess, l.resting = nil, s
	l.lostSights(why)
	l.mu.Unlock()
	l.look()
	l.tellSessions(nil)
	if s.left == nil {
		l.abandon(stream.Leftover{}, why)
	}
	l.notify(bridge.Event{Kind: bridge.LegDown, Detail: why})
}

// abandon gives up the session that rests, if there is one: nobody is online and
// no room is joined any more, and what was not proven is in doubt. It returns what
// the next session is to say in its place.
func (l *Leg) abandon(left stream.Leftover, why string) (orphans []*element.Element) {
	l.mu.Lock()
	s := l.resting
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	s.release()
	s.admitAll()
	s.unanswered()
	l.mu.Lock()
	l.resting = nil
	l.notes, l.rosterKnown = map[string]string{}, false
	clear(l.strangers)
	var gone []bridge.Event
	var jids []string
	for _, c := range l.people {
		jids = append(jids, c.person.JIDs...)
		if c.reset() {
			gone = append(gone, bridge.Event{Kind: bridge.RoomDown, Room: c.room, Detail: why})
		}
	}
	for _, m := range l.rooms {
		if m.state == bridge.StateUp {
			m.left = time.Unix(0, s.lastRead.Load())
		}
		if m.reset() {
			gone = append(gone, bridge.Event{Kind: bridge.RoomDown, Room: m.room, Detail: why})
		}
	}
	l.mu.Unlock()
	l.leave(jids...)
	for _, e := range gone {
		l.notify(e)
	}
	return s.abandon(left)
}

// session returns the stream as it is now, or nil.
func (l *Leg) session() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sess
}

// lastSession returns the session that has a stream, or may have one again. l.mu
// is held.
func (l *Leg) lastSession() *session {
	if l.sess != nil {
		return l.sess
	}
	return l.resting
}

// notify puts an event behind the messages that came before it.
func (l *Leg) notify(e bridge.Event) {
	e.Leg = l.name
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if l.started.Load() {
		l.pipe.push(&item{isEvent: true, event: e})
	}
}

// deliver hands messages and events to the core, in order.
func (l *Leg) deliver(ctx context.Context, sink bridge.Sink) {
	for {
		it, ok := l.pipe.pop()
		if !ok {
			return
		}
		if it.ready != nil {
			<-it.ready
		}
		var err error
		switch {
		case it.isEvent:
			err = sink.Notify(ctx, it.event)
		case it.skip:
			it.skipped()
		default:
			err = sink.Take(ctx, it.msg)
		}
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil {
			l.log.Error("the core did not take a message", "leg", l.name, "err", err)
		}
		for _, e := range it.events {
			_ = sink.Notify(ctx, e) // fails only when ctx has ended
		}
	}
}

// note remembers trouble of the whole account for status, and forgets it when
// text is "".
func (l *Leg) note(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if format == "" {
		delete(l.notes, kind)
		return
	}
	l.notes[kind] = fmt.Sprintf(format, args...)
}
