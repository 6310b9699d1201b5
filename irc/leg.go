package irc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/dialer"
)

// errEmpty is returned by Send for a message without anything to show.
var errEmpty = errors.New("irc: the message holds nothing that can be sent")

// Leg is one IRC network. Make one with New.
type Leg struct {
	name string
	deps Deps
	log  *slog.Logger

	mem *memory

	running   atomic.Bool
	guards    atomic.Pointer[guards] // nil: nothing is guarded
	listener  atomic.Pointer[bridge.Listener]
	observing chan struct{} // held by the Observe under way; capacity 1
	asking    chan struct{} // held by the Account under way; capacity 1
	gauge     *bridge.Gauge
	changed   atomic.Bool // the session has yet to take cfg over

	mu        sync.Mutex // guards what follows
	cfg       Config
	session   *session
	restart   bool // the session is to end: its connection is not cfg's
	kick      chan struct{}
	state     bridge.State
	since     time.Time
	detail    string
	connected bool

	keyMu sync.Mutex // guards keys
	keys  map[bridge.Room][]string
}

var _ bridge.BatchLeg = (*Leg)(nil)

// New returns a leg for cfg, not yet connected. It fails with ErrConfig,
// ErrPlainSASL or ErrDupeChannel, and when a certificate file cannot be used.
func New(cfg Config, deps Deps) (*Leg, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	deps = deps.withDefaults()
	return &Leg{
		name: cfg.Name, cfg: cfg, deps: deps, log: deps.Log, since: deps.Now(), kick: make(chan struct{}, 1),
		mem:       newMemory(cfg.Name, deps.Cursors, deps.Log),
		observing: make(chan struct{}, 1), asking: make(chan struct{}, 1), gauge: bridge.NewGauge(),
	}, nil
}

// check fills cfg's defaults and tries its certificate files.
func (c Config) check() (Config, error) {
	c, err := c.withDefaults()
	if err != nil {
		return c, err
	}
	if !c.TLSOff {
		if _, err := c.tls().Config("localhost"); err != nil {
			return c, fmt.Errorf("irc: %s: %w", c.Name, err)
		}
	}
	return c, nil
}

// Name returns the network's name in the config.
func (l *Leg) Name() string { return l.name }

func (l *Leg) config() Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

// restarting reports whether the connection is not the configured one any more.
func (l *Leg) restarting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.restart
}

// Reconfigure applies cfg. Channels are joined, left and given new keys, and a
// new nick is taken, on the live connection; anything else reconnects. Channels
// that refused us are asked again. Nothing changes when it returns an error.
func (l *Leg) Reconfigure(cfg Config) error {
	cfg, err := cfg.check()
	if err != nil {
		return err
	}
	if cfg.Name != l.name {
		return errNameChanged
	}
	l.mu.Lock()
	same := l.cfg.sameConnection(cfg)
	l.cfg = cfg
	s := l.session
	l.restart = l.restart || !same
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}: // a wait between connections ends
	default:
	}
	if s != nil {
		l.changed.Store(true)
		s.wake()
	}
	return nil
}

// Run connects and serves until ctx ends. It owns every goroutine it starts;
// when it returns, none is left. A second call is an error.
func (l *Leg) Run(ctx context.Context, sink bridge.Sink) error {
	if !l.running.CompareAndSwap(false, true) {
		return errSecondRun
	}
	if l.load(ctx) != nil {
		return nil // ctx ended
	}
	kept := l.keep(ctx)
	defer kept()
	var retry retrier
	upgrade := ""
	for server := 0; ctx.Err() == nil; server++ {
		cfg := l.config()
		l.setState(bridge.StateOpening, "")
		started := l.deps.Now()
		err := l.once(ctx, sink, cfg, cfg.Servers[server%len(cfg.Servers)], upgrade)
		upgrade = ""
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errRestart) {
			retry, server = retrier{}, -1
			continue
		}
		if tls := (*upgradeError)(nil); errors.As(err, &tls) {
			l.log.Info("the server wants TLS", "leg", l.name, "to", tls.port)
			if l.down(ctx, sink, err.Error()) != nil {
				break
			}
			upgrade = tls.port
			server--
			continue
		}
		wait := retry.next(err, l.deps.Now(), l.deps.Now().Sub(started), len(cfg.Servers), l.deps.Rand)
		l.lost(ctx, sink, err, wait)
		if err := l.pause(ctx, wait); err != nil {
			break
		}
	}
	l.setState(bridge.StateDown, "stopped")
	return nil
}

// load reads what an earlier process has kept, until that works or ctx ends: what
// is kept tells which hosts are not to be spoken to without TLS.
func (l *Leg) load(ctx context.Context) error {
	for try := 1; ; try++ {
		err := l.mem.load(ctx)
		if err == nil {
			return nil
		}
		if l.setState(bridge.StateDown, "the store cannot be read: "+err.Error()) {
			l.log.Error("cursors not read", "leg", l.name, "err", err)
		}
		if err := l.pause(ctx, backoff(slowFirst, slowLast, try, l.deps.Rand)); err != nil {
			return err
		}
	}
}

// keep starts to write down what the leg remembers; the function it returns ends
// that, and waits for it.
func (l *Leg) keep(ctx context.Context) (stop func()) {
	if l.mem.cursors == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it ends after the last session
	var wg sync.WaitGroup
	wg.Go(func() { l.mem.keep(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// errRestart ends a session whose connection is not the configured one any more.
var errRestart = errors.New("irc: the configuration changed")

// once makes one connection and serves it to its end. upgrade is the port to use
// TLS on, if the server has just asked for it.
func (l *Leg) once(ctx context.Context, sink bridge.Sink, cfg Config, addr, upgrade string) error {
	to, err := l.linkTo(cfg, addr, upgrade)
	if err != nil {
		return err
	}
	conn, err := l.connect(ctx, cfg, to)
	switch {
	case err != nil && to.secure && cfg.TLSOff:
		return fmt.Errorf("%w, whatever tls: off says: remove that, and set ca_file or pin_sha256 for a private certificate: %w", errWantsTLS, err)
	case err != nil:
		return err
	}
	s := newSession(l, cfg, to, conn, sink.Prove)
	l.mu.Lock()
	l.session, l.restart = s, !l.cfg.sameConnection(cfg)
	l.changed.Store(true) // what came while we dialled
	l.mu.Unlock()
	err = s.run(ctx, sink)
	l.mu.Lock()
	l.session = nil
	restart := l.restart
	l.mu.Unlock()
	if restart {
		if nerr := l.down(ctx, sink, "reconnecting: the configuration changed"); nerr != nil {
			return nerr
		}
		return errRestart
	}
	return err
}

// connect dials and, unless told otherwise, does TLS on top.
func (l *Leg) connect(ctx context.Context, cfg Config, to link) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.RegisterTimeout)
	defer cancel()
	conn, err := dialer.TCP(ctx, l.deps.Dial, net.JoinHostPort(to.host, to.port))
	if err != nil || !to.secure {
		return conn, err
	}
	return dialer.Client(ctx, conn, cfg.tls(), to.host)
}

// lost notes why there is no connection.
func (l *Leg) lost(ctx context.Context, sink bridge.Sink, err error, wait time.Duration) {
	state := bridge.StateDown
	if errors.Is(err, errRefusedUs) || dialer.NotTrusted(err) {
		state = bridge.StateRefused
	}
	first := l.setState(state, err.Error())
	if first {
		l.log.Warn("no connection", "leg", l.name, "err", err, "retry", wait)
	} else {
		l.log.Debug("no connection", "leg", l.name, "err", err, "retry", wait)
	}
	_ = l.down(ctx, sink, err.Error()) // ctx ended: Run ends too
}

// down tells that the leg is down, if it was up.
func (l *Leg) down(ctx context.Context, sink bridge.Sink, why string) error {
	l.mu.Lock()
	was := l.connected
	l.connected = false
	l.mu.Unlock()
	if !was {
		return nil
	}
	return sink.Notify(ctx, bridge.Event{Kind: bridge.LegDown, Leg: l.name, Detail: why, Time: l.deps.Now()})
}

// pause waits, or until Reconfigure is called.
func (l *Leg) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.kick:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// setState notes how the leg is doing, and reports whether that is news.
func (l *Leg) setState(state bridge.State, detail string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if state == bridge.StateOpening && l.detail != "" {
		detail = l.detail // keep why the last one failed
	}
	news := l.state != state && state != bridge.StateOpening && l.detail != detail
	if l.state != state {
		l.since = l.deps.Now()
	}
	l.state, l.detail = state, detail
	if state == bridge.StateUp {
		l.connected = true
	}
	return news
}

// Send writes m to its channel and returns when its lines are on the socket. A
// message of several lines is sent whole or ends in doubt. Errors:
// bridge.ErrNotReady, ctx's, and one for a message with nothing to show.
func (l *Leg) Send(ctx context.Context, m bridge.Outgoing) error {
	_, err := l.SendAll(ctx, []bridge.Outgoing{m})
	return err
}

// SendAll writes ms to their channel: as many lines in one write, behind one PING,
// as the window admits.
func (l *Leg) SendAll(ctx context.Context, ms []bridge.Outgoing) (n int, err error) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil {
		return 0, bridge.ErrNotReady
	}
	room := ms[0].To
	limit, ok := s.win.bodyLimit(room)
	if !ok {
		return 0, bridge.ErrNotReady
	}
	jobs := make([]*job, 0, len(ms))
	for _, m := range ms {
		lines := encode(m, limit)
		if len(lines) == 0 {
			err = errEmpty
			break // what comes before it can go
		}
		jobs = append(jobs, &job{id: m.ID, lines: l.mem.rest(m.ID, lines), notice: m.Notice, prefix: shownPrefix(m, limit)})
	}
	if len(jobs) == 0 {
		return 0, err
	}
	n, werr := s.win.send(ctx, room, jobs...)
	if werr != nil {
		err = werr
	}
	return n, err
}

// Window is how many messages to room may wait for their proof at once.
func (l *Leg) Window(bridge.Room) int { return windowLines - guardLines }

// Status returns a snapshot of the leg.
func (l *Leg) Status() bridge.LegStatus {
	l.mu.Lock()
	st := bridge.LegStatus{Name: l.name, Proto: "irc", State: l.state, Since: l.since, Detail: l.detail}
	cfg, s := l.cfg, l.session
	l.mu.Unlock()
	if s == nil {
		for _, ch := range cfg.Channels {
			st.Rooms = append(st.Rooms, bridge.RoomStatus{Room: Room(l.name, ch.Name), State: bridge.StateDown, Detail: "not connected"})
		}
		return st
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Self = s.self()
	if s.link.secure && cfg.TLSOff {
		st.Notes = append(st.Notes, "tls: off is not followed: the network asks for TLS (sts)")
	}
	for _, key := range slices.Sorted(maps.Keys(s.notes)) {
		st.Notes = append(st.Notes, s.notes[key])
	}
	if n := s.win.unwhispered(); n > 0 {
		st.Notes = append(st.Notes, fmt.Sprintf("%d words to people were left out: too many waited", n))
	}
	if s.bad > 0 {
		st.Notes = append(st.Notes, fmt.Sprintf("%d lines of the server could not be read", s.bad))
	}
	for _, ch := range cfg.Channels {
		r := bridge.RoomStatus{Room: Room(l.name, ch.Name), State: bridge.StateOpening}
		if c := s.channel(ch.Name); c != nil && c.wanted {
			r.State, r.Detail, r.Proven, r.Members, r.Accounts = c.state, c.detail, c.proven, s.nicks(c), s.accounts(c)
			if r.State == bridge.StateUp && s.muted(c) {
				r.State, r.Detail = bridge.StateRefused, "joined, but moderated (+m): give the bot voice, /mode "+c.name+" +v "+s.nick
			}
		}
		st.Rooms = append(st.Rooms, r)
	}
	return st
}
