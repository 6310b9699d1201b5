package bridge

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// legState is a leg as the core runs it. A panic in any of the leg's methods
// ends at most the call.
type legState struct {
	leg  Leg
	name string
	in   *intake
	c    *Core

	mu     sync.Mutex // guards all below
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	up     time.Time     // LegUp since, zero when down
	ended  error         // why Run returned though nobody asked
	ups    uint64        // LegUp events so far
}

func newLegState(c *Core, l Leg) *legState {
	return &legState{c: c, leg: l, name: l.Name(), in: &intake{wake: c.wake}}
}

// run runs the leg until ctx ends, or it does.
func (l *legState) run(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = l.panicked("run", v)
		}
	}()
	return l.leg.Run(ctx, sink{l.c, l})
}

func (l *legState) send(ctx context.Context, m Outgoing) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = l.panicked("send", v)
		}
	}()
	return l.leg.Send(ctx, m)
}

func (l *legState) window(r Room) (n int) {
	defer func() {
		if v := recover(); v != nil {
			_ = l.panicked("window", v)
			n = 1
		}
	}()
	return l.leg.Window(r)
}

func (l *legState) status() (s LegStatus) {
	defer func() {
		if v := recover(); v != nil {
			s = LegStatus{Name: l.name, Detail: l.panicked("status", v).Error()}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ended != nil {
			s.State, s.Detail = StateRefused, "stopped: "+reasonOf(l.ended)
		}
	}()
	return l.leg.Status()
}

// panicked logs a panic of the leg. The value is not logged: it may hold text.
func (l *legState) panicked(where string, v any) error {
	l.c.log.Error("leg panicked", "leg", l.name, "op", where, "err", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	return fmt.Errorf("bridge: leg %s: panic in %s", l.name, where)
}

// panicked logs a panic of the core, or of a library it calls with foreign words.
// The value is not logged: it may hold text.
func (c *Core) panicked(where string, v any) {
	c.log.Error("core panicked", "op", where, "err", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

// contain is to be deferred: it keeps a panic to what is being done.
func (c *Core) contain(where string) {
	if v := recover(); v != nil {
		c.panicked(where, v)
	}
}

// taken tells the leg what became of a message.
func (l *legState) taken(m *Message, ok bool) {
	if m.Taken == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			_ = l.panicked("taken", v)
		}
	}()
	m.Taken(ok)
}

func (l *legState) setUp(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = at
	if !at.IsZero() {
		l.ups++
	}
}

// connects returns how often the leg came up.
func (l *legState) connects() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ups
}

// upFor returns for how long the leg has been up, 0 when it is down.
func (l *legState) upFor(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up.IsZero() {
		return 0
	}
	return now.Sub(l.up)
}
