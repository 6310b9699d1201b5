package irc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
)

// Times of a session.
const (
	writeTimeout = 20 * time.Second
	byeTimeout   = 2 * time.Second // from QUIT to closing
	judgeEvery   = 5 * time.Second
)

// errRefusedUs is wrapped by the end of a session that the server did not want:
// ERROR, 465, a refused login or nick. Trying again at once would only annoy.
var errRefusedUs = errors.New("irc: the server refused us")

// errLost is wrapped by the end of a session that was good: try again soon.
var errLost = errors.New("irc: connection lost")

var errPingTimeout = fmt.Errorf("%w: the server stopped answering", errLost)

// output is something for the Sink.
type output struct {
	message bridge.Message
	event   bridge.Event
}

// session is one connection. Its reader goroutine, which is run, alone handles
// lines and timers.
type session struct {
	leg  *Leg
	deps Deps
	log  *slog.Logger
	link link
	conn net.Conn
	rd   *lineReader
	win  *window
	asks inquiries
	// asked is set while an inquiry waits that the reader has not looked at, called
	// while a call or lookup does.
	asked, called atomic.Bool
	calls         struct {
		mu      sync.Mutex // guards what follows
		waiting []call
		over    bool // nobody reads any more
	}
	lookups lookups

	mu sync.RWMutex // guards state, cfg, up, notes: written by the reader alone
	state
	cfg   Config
	up    bool
	notes map[string]string

	// The reader's own.
	reg      registration
	batches  map[string]batch
	out      []output
	err      error // ends the session after the line at hand
	now      time.Time
	last     time.Time // of the last line received
	pinged   time.Time // of a keepalive PING not answered yet
	due      time.Time // earliest timer
	bye      time.Time // when to close after QUIT
	armed    time.Time // read deadline in force
	proving  bool
	unproven bool
	joining  int // JOINs under way whose fence proves rooms
	regain   regain
	ctcp     ctcpLimit
	bad      uint64    // lines that could not be parsed
	requests uint64    // CHATHISTORY sent so far
	written  time.Time // when the presence was last written

	guards    *guards
	sights    []bridge.Sight   // of the line at hand
	privates  []bridge.Private // the same
	heard     []heard
	finds     []find
	knocks    []knock
	later     []string // questions for which there is time
	laterAt   time.Time
	services  services
	evidence  evidence
	merging   merging
	observing *observation
	account   *accountAsked
	lookQueue []lookup
	whois     map[string]*whois // under way, by folded nick

	sts time.Duration // of the policy that came with this connection; 0: none
}

func newSession(l *Leg, cfg Config, to link, conn net.Conn, prove func(bridge.Proof)) *session {
	s := &session{
		leg: l, link: to, deps: l.deps, log: l.log, conn: conn, rd: newLineReader(conn), cfg: cfg,
		state: newState(), notes: map[string]string{}, batches: map[string]batch{}, now: l.deps.Now(),
	}
	s.last = s.now
	s.win = newWindow(&deadlineWriter{conn}, l.deps.Now, func(error) { _ = conn.Close() }, prove)
	return s
}

// deadlineWriter gives every write a deadline.
type deadlineWriter struct{ conn net.Conn }

func (w *deadlineWriter) Write(p []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.conn.Write(p)
}

// wake makes the reader look at what changed outside.
func (s *session) wake() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// run serves the connection until it ends or ctx does, and returns why.
func (s *session) run(ctx context.Context, sink bridge.Sink) error {
	stop := context.AfterFunc(ctx, s.wake)
	defer stop()
	err := s.serve(ctx, sink)
	_ = s.conn.Close()
	s.breakOffAll(ctx, sink)
	if !s.up && !errors.Is(err, errRefusedUs) && ctx.Err() == nil {
		err = fmt.Errorf("%w: closed before we were registered: %w", errRefusedUs, err)
	}
	s.endAsks()
	s.endCalls()
	s.win.kill(err)
	s.win.flush()
	s.remember()
	return err
}

// breakOffAll hands out the lines of this connection that no history holds.
func (s *session) breakOffAll(ctx context.Context, sink bridge.Sink) {
	s.mu.Lock()
	for _, c := range s.channels {
		if c.joined && c.wanted {
			s.breakOff(c)
		}
		s.sawLost(c, "not connected")
	}
	s.mu.Unlock()
	_ = s.deliver(ctx, sink) // ctx has ended, or the core: nobody takes them
}

// remember keeps what the end of a connection is to be known by.
func (s *session) remember() {
	if s.up {
		s.leg.mem.saw(s.last)
	}
	if s.sts > 0 {
		s.leg.mem.setPolicy(s.link.host, stsPolicy{s.link.port, s.sts, s.deps.Now().Add(s.sts)})
	}
}

func (s *session) serve(ctx context.Context, sink bridge.Sink) error {
	s.begin()
	s.win.flush()
	for {
		line, err := s.read(ctx)
		s.now = s.deps.Now()
		s.mu.Lock()
		s.guard()
		switch {
		case err == nil:
			s.last = s.now
			s.bad += s.rd.skipped()
			s.handle(line)
			if s.up && s.now.Sub(s.written) >= seenEvery {
				s.written = s.now
				s.leg.mem.saw(s.now)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.tick(ctx)
		default:
			s.mu.Unlock()
			return fmt.Errorf("%w: %w", errLost, err)
		}
		s.mu.Unlock()
		if err := s.deliver(ctx, sink); err != nil && s.err == nil {
			s.goodbye()
		}
		if s.err != nil {
			return s.err
		}
		if !s.rd.more() {
			if s.unproven && !s.proving && s.joining == 0 {
				s.proveRooms()
			}
			s.win.flush()
		}
	}
}

// read returns the next line, waiting no longer than the next timer.
func (s *session) read(ctx context.Context) ([]byte, error) {
	if s.rd.more() {
		return s.rd.next()
	}
	if s.due.IsZero() {
		s.due = s.nextDue()
	}
	if !s.armed.Equal(s.due) {
		s.armed = s.due
		_ = s.conn.SetReadDeadline(s.due) // fails on a closed connection only, and so does the read, which says why
	}
	// A wake sets the deadline back, but what it is for may have come before the
	// deadline was set.
	if s.bye.IsZero() && ctx.Err() != nil || s.leg.changed.Load() || s.asked.Load() || s.called.Load() {
		return nil, os.ErrDeadlineExceeded
	}
	return s.rd.next()
}

// timer makes sure that tick runs at t.
func (s *session) timer(t time.Time) {
	if !t.IsZero() && (s.due.IsZero() || t.Before(s.due)) {
		s.due = t
	}
}

// tick does what time, Reconfigure or the end of ctx asks for.
func (s *session) tick(ctx context.Context) {
	s.armed, s.due = time.Time{}, time.Time{}
	if ctx.Err() != nil && s.bye.IsZero() {
		s.goodbye()
	}
	switch {
	case !s.bye.IsZero() && !s.now.Before(s.bye):
		s.err = context.Canceled
	case !s.up && !s.now.Before(s.reg.deadline):
		s.err = fmt.Errorf("%w: registration took longer than %s", errRefusedUs, s.cfg.RegisterTimeout)
	}
	if s.err != nil {
		return
	}
	if s.leg.changed.Swap(false) {
		if s.leg.restarting() {
			s.goodbye()
			return
		}
		s.reconfigure(s.leg.config())
	}
	s.keepalive()
	s.helloDue()
	if s.asked.Load() {
		s.answerAsks()
	}
	if s.called.Load() {
		s.doCalls()
	}
	if s.up {
		s.historyDue()
		s.forgetOwn()
		s.joinDue()
		s.regainDue()
		s.servicesDue()
		s.laterDue()
		s.mergeDue()
		s.observeDue()
		s.accountDue()
		s.whoisDue()
		s.win.tick()
	}
}

// nextDue is the earliest timer.
func (s *session) nextDue() time.Time {
	if !s.bye.IsZero() {
		return s.bye
	}
	s.due = s.last.Add(s.cfg.Keepalive)
	if s.pinged.After(s.last) {
		s.due = s.pinged.Add(s.cfg.Keepalive)
	}
	if !s.up {
		s.timer(s.reg.deadline)
		if !s.reg.introduced {
			s.timer(s.reg.hello)
		}
		return s.due
	}
	for _, c := range s.channels {
		s.timer(c.retry)
		if c.replay != nil && c.replay.req != nil {
			s.timer(c.replay.req.sent.Add(historyTimeout))
		}
		if !c.asked.IsZero() {
			s.timer(c.asked.Add(joinTimeout))
		}
	}
	s.timer(s.regain.at)
	if len(s.later) > 0 {
		s.timer(s.laterAt)
	}
	s.timer(s.services.ask)
	s.timer(s.services.fresh)
	s.timer(s.merging.due)
	for _, w := range s.whois {
		s.timer(w.asked.Add(whoisLasts))
	}
	if s.observing != nil {
		s.timer(s.observing.deadline)
	}
	if s.account != nil {
		s.timer(s.account.deadline)
	}
	if s.win.waiting() {
		s.timer(s.now.Add(judgeEvery))
	}
	return s.due
}

// keepalive asks a silent server whether it is there.
func (s *session) keepalive() {
	switch {
	case s.pinged.After(s.last):
		if s.now.Sub(s.pinged) >= s.cfg.Keepalive {
			s.err = errPingTimeout
		}
	case s.now.Sub(s.last) >= s.cfg.Keepalive:
		s.pinged = s.now
		s.win.raw("PING keepalive")
	}
}

// goodbye says QUIT; the server closes, or byeTimeout passes.
func (s *session) goodbye() {
	if !s.bye.IsZero() {
		return
	}
	s.bye = s.now.Add(byeTimeout)
	s.due = s.bye
	s.win.raw("QUIT :" + s.cfg.QuitMessage)
}

// deliver hands out what the last line brought, in order. The reader holds no
// lock here: the Sink may make it wait.
func (s *session) deliver(ctx context.Context, sink bridge.Sink) error {
	defer func() {
		clear(s.out)
		s.out = s.out[:0]
	}()
	s.showSights()
	s.showPrivates()
	if !s.bye.IsZero() {
		return nil
	}
	for i := range s.out {
		o := &s.out[i]
		var err error
		if o.event.Kind != 0 {
			err = sink.Notify(ctx, o.event)
		} else {
			err = sink.Take(ctx, o.message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) notify(kind bridge.EventKind, room bridge.Room, who bridge.Sender, detail string) {
	s.out = append(s.out, output{event: bridge.Event{
		Kind: kind, Leg: s.cfg.Name, Room: room, Who: who, Detail: detail, Time: s.now,
	}})
}

// note keeps a line for `status`; "" takes it back.
func (s *session) note(key, text string) {
	if text == "" {
		delete(s.notes, key)
		return
	}
	s.notes[key] = text
}
