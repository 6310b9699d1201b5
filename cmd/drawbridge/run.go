package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/internal/host"
	"drawbridge/internal/web"
)

// stopTime bounds a shutdown: the core drains its outboxes for a part of it,
// then the legs say goodbye.
const stopTime = 15 * time.Second

// collectAt is the growth of the heap, in percent, at which it is collected. Half of
// Go's default keeps 100 channels under load below 30 MiB. It costs a busy bot a tenth
// of its processor time (decision 19).
const collectAt = 50

func newRun(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the bot",
		Long: `Run the bot in the foreground until SIGTERM or SIGINT.

SIGHUP and "drawbridge reload" read the configuration anew. Logs go to stderr
and never hold message text.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runBot(g) },
	}
}

// runBot is the life of the bot, from the configuration to the last goodbye.
func runBot(g *globals) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	hardenErr := host.Harden()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	c, err := g.load()
	if err != nil {
		return err
	}
	log, level := newLogger(g.err, c.Log.Format, c.Log.Level)
	if hardenErr != nil {
		log.Warn("memory is not kept from debuggers", "err", hardenErr)
	}
	srv, err := takeSocket(c, log) // before the keys are opened, which takes time
	if err != nil {
		return err
	}
	d, err := newDaemon(c, srv, log, level)
	if err != nil {
		srv.Close()
		var e *exitError
		if errors.As(err, &e) {
			return err
		}
		printErrors(g.err, err)
		return misused(fmt.Errorf("%s is not usable", c.File), "")
	}
	defer closeStore(d.store, log) // the core has ended
	return d.serve(signals)
}

// takeSocket takes the admin socket; who has it is the one instance.
func takeSocket(c *config.Config, log *slog.Logger) (*admin.Server, error) {
	srv, err := admin.Listen(c.Admin.Socket, log)
	switch {
	case errors.Is(err, admin.ErrRunning):
		return nil, failed(fmt.Errorf("%w at %s", err, c.Admin.Socket), "drawbridge status; or give this bot another admin.socket")
	case err != nil:
		return nil, failed(err, "set admin.socket to a path that the bot's user may create")
	}
	return srv, nil
}

// daemon is a bot with its doors: admin socket, web server, systemd.
type daemon struct {
	*bot
	admin  *admin.Server
	web    *web.Server
	notify host.Notifier
}

// newDaemon opens the store and the keys and makes the bot, and the web server if
// there is one.
func newDaemon(c *config.Config, srv *admin.Server, log *slog.Logger, level *slog.LevelVar) (_ *daemon, err error) {
	st, replay, err := openStore(c, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeStore(st, log)
		}
	}()
	company, hooks := &companyKey{}, &hooks{}
	book, err := openBook(c, st, company, hooks, log)
	if err != nil {
		return nil, storeFailed(err)
	}
	k, err := openKeysWith(c, nil, nil, replay, book, log)
	if err != nil {
		return nil, err
	}
	if err = k.openOTR(c, nil, st, log); err != nil {
		return nil, err
	}
	k.keepLearned(c, log)
	company.set(k, c)
	b, err := newBot(c, k, buildLeg(st, log), st, log, level)
	if err != nil {
		return nil, err
	}
	b.company, hooks.bot = company, b
	if err = b.loadMover(); err != nil {
		return nil, err
	}
	d := &daemon{bot: b, admin: srv, notify: host.NewNotifier(os.Getenv)}
	if c.Metrics.Listen == "" {
		return d, nil
	}
	ln, err := net.Listen("tcp", c.Metrics.Listen)
	if err != nil {
		return nil, failed(fmt.Errorf("metrics.listen: %w", err), "choose another port in metrics.listen, or leave it out")
	}
	src := web.Source{Status: b.core.Status, Ready: b.ready, KeysEnd: b.keysEnd}
	if st != nil {
		src.Store = func() web.StoreFigures {
			s := st.Stats()
			return web.StoreFigures{
				Rows: s.Rows, Commits: s.Commits, Ops: s.Ops, Failed: s.Failed, CommitP99: s.CommitP99, Stuck: s.Problem != "", Lost: s.Lost,
			}
		}
	}
	src.Guard, src.Migrate = b.guard.Status, b.mover.Status
	d.web = web.New(ln, src, log)
	log.Info("metrics listen", "addr", ln.Addr().String())
	return d, nil
}

// serve runs everything until a signal or a failure of the core ends it.
func (d *daemon) serve(signals <-chan os.Signal) error {
	aux, stopAux := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopAux()
	wg.Go(func() { d.logEnd("admin socket", d.admin.Serve(aux, adminRows(d.bot))) })
	if d.web != nil {
		wg.Go(func() { d.logEnd("web server", d.web.Serve(aux)) })
	}
	wg.Go(func() { d.watchKeys(aux) })
	wg.Go(func() { d.fetchKeys(aux) })
	wg.Go(func() { d.keys.book.Run(aux) })
	wg.Go(func() { d.links.Run(aux) })
	wg.Go(func() { d.tellSystemd(aux) })

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- d.runGuarded(ctx) }()
	d.log.Info("started", "pid", os.Getpid(), "version", readVersion().Version, "socket", d.admin.Path())
	wrong, awaited := d.keys.check(d.cfg)
	for _, e := range slices.Concat(wrong, awaited) {
		d.log.Warn("key cannot be used: what is said to its owner is held", "err", e.Error())
	}
	d.said(d.notify.Ready(d.summary()))
	for {
		select {
		case err := <-done:
			if err != nil {
				return failed(err, "")
			}
			return failed(errors.New("the core ended by itself"), "")
		case s := <-signals:
			if s == syscall.SIGHUP {
				d.reloadNow()
				continue
			}
			d.log.Info("stopping", "signal", s.String())
			d.said(d.notify.Stopping())
			stop()
			return d.drain(done, signals)
		}
	}
}

// runGuarded runs the core, with the guard and the mover from before its legs start until
// after they have ended: they write down what they did and counted to the last.
func (d *daemon) runGuarded(ctx context.Context) error {
	guarded, stopGuard := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGuard()
	ctx, stopCore := context.WithCancel(ctx)
	defer stopCore()
	ended := make(chan error, 1)
	go func() {
		err := d.guard.Run(guarded)
		if err != nil { // it cannot read what it kept: better no bot than an open door
			stopCore()
		}
		ended <- err
	}()
	select {
	case <-d.guard.Loaded(): // not before: an armed room would be open for a moment
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	moved := make(chan error, 1)
	go func() { moved <- d.mover.Run(guarded) }()
	err := d.core.Run(ctx)
	stopGuard()
	err = errors.Join(<-moved, err)
	return errors.Join(<-ended, err)
}

// drain waits for the core to end, at most stopTime, and not beyond a second
// signal.
func (d *daemon) drain(done <-chan error, signals <-chan os.Signal) error {
	late := time.NewTimer(stopTime)
	defer late.Stop()
	for {
		select {
		case err := <-done:
			d.log.Info("stopped")
			if err != nil && !errors.Is(err, context.Canceled) {
				return failed(err, "")
			}
			return nil
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			os.Exit(exitFailed)
		case <-late.C:
			d.log.Error("stopped before everything was sent", "took", stopTime)
			os.Exit(exitFailed)
		}
	}
}

// reloadNow reloads because of SIGHUP: what changed goes to the log.
func (d *daemon) reloadNow() {
	d.said(d.notify.Reloading())
	_, _ = d.reload()
	d.said(d.notify.Ready(d.summary()))
}

// tellSystemd feeds the watchdog for as long as the core answers, and keeps the
// status line of systemctl fresh.
func (d *daemon) tellSystemd(ctx context.Context) {
	every := 10 * time.Second
	if w := d.notify.Watchdog(); w > 0 {
		every = min(every, w/2)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A core that hangs makes summary hang: then nobody feeds the watchdog.
		if s := d.summary(); s != last {
			last = s
			d.said(d.notify.Status(s))
		}
		if d.notify.Watchdog() > 0 {
			d.said(d.notify.Alive())
		}
	}
}

func (d *daemon) said(err error) {
	if err != nil {
		d.log.Debug("systemd not told", "err", err)
	}
}

func (d *daemon) logEnd(what string, err error) {
	if err != nil {
		d.log.Error(what+" ended", "err", err)
	}
}
