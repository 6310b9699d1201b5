package bridge

import (
	"context"
	"errors"
	"sync"
	"time"
)

// runner is what one Run owns: the goroutines of legs and outboxes. Its methods
// run on the goroutine of Run.
type runner struct {
	c        *Core
	outboxes sync.WaitGroup
	stops    map[*outbox]context.CancelFunc
	live     map[*legState]bool
	ended    chan *legState // a leg's Run has returned though nobody asked
	over     chan struct{}  // closed when nobody reads ended any more
}

func newRunner(c *Core) *runner {
	return &runner{
		c: c, stops: map[*outbox]context.CancelFunc{}, live: map[*legState]bool{},
		ended: make(chan *legState), over: make(chan struct{}),
	}
}

// supervise serves until ctx ends, or every leg has.
func (r *runner) supervise(ctx, legCtx, outCtx context.Context) error {
	defer close(r.over)
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-r.ended:
			delete(r.live, l)
			if len(r.live) == 0 {
				return r.allDead()
			}
		case ch := <-r.c.changes:
			r.apply(ch, legCtx, outCtx)
			close(ch.applied)
		}
	}
}

func (r *runner) allDead() error {
	errs := []error{ErrLegsDead}
	for _, l := range *r.c.legs.Load() {
		l.mu.Lock()
		errs = append(errs, l.ended)
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// apply carries out a Reload: old legs say goodbye before the new ones start.
func (r *runner) apply(ch *change, legCtx, outCtx context.Context) {
	var stopping sync.WaitGroup
	for _, l := range ch.stop {
		stopping.Go(func() { l.stop() })
		delete(r.live, l)
	}
	stopping.Wait()
	for _, o := range ch.close {
		if stop := r.stops[o]; stop != nil {
			stop()
			delete(r.stops, o)
		}
	}
	r.c.attach(ch.table, ch.legs)
	for _, o := range ch.table.outboxes {
		if r.stops[o] == nil {
			r.startOutbox(outCtx, o)
		}
	}
	for _, l := range ch.start {
		r.startLeg(legCtx, l)
	}
}

func (r *runner) startOutbox(ctx context.Context, o *outbox) {
	ctx, cancel := context.WithCancel(ctx)
	r.stops[o] = cancel
	r.outboxes.Go(func() { o.run(ctx) })
}

// startLeg runs l; l.stop and waitLegs wait for it.
func (r *runner) startLeg(ctx context.Context, l *legState) {
	r.live[l] = true
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	l.mu.Lock()
	l.cancel, l.done = cancel, done
	l.mu.Unlock()
	go func() {
		err := l.run(ctx)
		asked := ctx.Err() != nil
		cancel()
		l.setUp(time.Time{})
		r.c.legEnded(l)
		if asked {
			close(done)
			return
		}
		if err == nil {
			err = errors.New("bridge: the leg ended by itself")
		}
		l.mu.Lock()
		l.ended = err
		l.mu.Unlock()
		r.c.log.Error("leg ended", "leg", l.name, "err", err)
		close(done)
		select {
		case r.ended <- l:
		case <-r.over:
		}
	}()
}

// stop ends a leg and waits for it, at most for goodbyeTime.
func (l *legState) stop() {
	l.in.setState(intakeGone)
	l.mu.Lock()
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	select {
	case <-done:
	case <-time.After(goodbyeTime):
		l.c.log.Error("leg does not end", "leg", l.name, "took", goodbyeTime)
	}
}

// waitLegs waits for all legs, whose context has ended.
func (r *runner) waitLegs() {
	var all sync.WaitGroup
	for l := range r.live {
		all.Go(l.stop)
	}
	all.Wait()
}

// legEnded puts in doubt what a leg left on the wire.
func (c *Core) legEnded(l *legState) {
	c.mu.Lock()
	var lost []*outbox
	for room, o := range c.outboxes {
		if room.Leg == l.name {
			lost = append(lost, o)
		}
	}
	c.mu.Unlock()
	for _, o := range lost {
		o.linkLost()
	}
}
