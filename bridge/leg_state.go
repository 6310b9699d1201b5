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
	many BatchLeg // leg, if it is one, else nil
	asks AskLeg   // leg, if it is one, else nil
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
	many, _ := l.(BatchLeg)
	asks, _ := l.(AskLeg)
	if private, ok := l.(PrivateLeg); ok && len(c.asides) > 0 {
		private.Hear(c)
	}
	return &legState{c: c, leg: l, many: many, asks: asks, name: l.Name(), in: &intake{wake: c.wake}}
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

// batch is how many messages the leg likes to be given at once.
func (l *legState) batch() int {
	if l.many == nil {
		return 1
	}
	return sendBatch
}

// send sends ms and returns how many it did, and why not the next. A leg that
// panicked has sent none, as far as anybody can tell.
func (l *legState) send(ctx context.Context, ms []Outgoing) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, l.panicked("send", v)
		}
	}()
	if len(ms) > 1 {
		n, err := l.many.SendAll(ctx, ms)
		if err != nil || n < 1 {
			n = min(max(n, 0), len(ms)-1)
		}
		return n, err
	}
	if err := l.leg.Send(ctx, ms[0]); err != nil {
		return 0, err
	}
	return 1, nil
}

// ask asks the leg, which is an AskLeg, about ms.
func (l *legState) ask(ctx context.Context, ms []Outgoing) (answers []Answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			answers, err = nil, l.panicked("ask", v)
		}
	}()
	return l.asks.Ask(ctx, ms)
}

// mute reports whether the leg could not be asked about what is sent to r now. A
// leg that is no AskLeg is taken at its word: its Window.
func (l *legState) mute(r Room) (mute bool) {
	defer func() {
		if v := recover(); v != nil {
			_ = l.panicked("asks", v)
			mute = true
		}
	}()
	return l.asks != nil && !l.asks.Asks(r)
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
