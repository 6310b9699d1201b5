package bridge

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The bounds of each leg's intake. At either, Take blocks: the leg stops
// reading, and the network slows its senders down.
const (
	IntakeMessages = 4096
	IntakeBytes    = 8 << 20
)

// itemCost is what an item counts beside its text, in bytes.
const itemCost = 256

// ErrStopped is returned by Take and Notify of a leg that the core has let go.
var ErrStopped = errors.New("bridge: leg is stopped")

// item is what a leg handed over: a message, or an event.
type item struct {
	msg Message
	ev  *Event
}

func (it *item) cost() int64 { return int64(it.msg.Text.Len()) + itemCost }

// intake is the bounded queue between a leg's reader and the dispatcher.
type intake struct {
	wake chan struct{} // the dispatcher's

	mu      sync.Mutex // guards all below
	items   []item
	head    int
	n       int   // items waiting or being dispatched
	bytes   int64 // their cost
	held    int   // of them, waiting for room in an outbox
	space   chan struct{}
	stalled time.Time
	state   intakeState
}

type intakeState uint8

const (
	intakeOpen    intakeState = iota
	intakeClosing             // shutting down: what comes is let go unacknowledged, so the reader still reads proofs
	intakeGone                // the leg was removed
)

func (in *intake) put(ctx context.Context, it item, now func() time.Time) error {
	cost := it.cost()
	for {
		in.mu.Lock()
		switch {
		case in.state == intakeGone:
			in.mu.Unlock()
			return ErrStopped
		case in.state == intakeClosing:
			in.mu.Unlock()
			return ctx.Err()
		case in.n < IntakeMessages && (in.bytes+cost <= IntakeBytes || in.n == 0):
			in.n++
			in.bytes += cost
			in.items = append(in.items, it)
			in.mu.Unlock()
			poke(in.wake)
			return nil
		}
		if in.space == nil {
			in.space = make(chan struct{})
		}
		if in.stalled.IsZero() {
			in.stalled = now()
		}
		space := in.space
		in.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take appends up to limit items to buf. They count as waiting until free.
func (in *intake) take(buf []item, limit int) []item {
	in.mu.Lock()
	defer in.mu.Unlock()
	part := in.items[in.head:]
	part = part[:min(limit, len(part))]
	buf = append(buf, part...)
	clear(part)
	in.head += len(part)
	switch {
	case in.head == len(in.items):
		in.items, in.head = in.items[:0], 0
	case in.head >= 1024:
		rest := copy(in.items, in.items[in.head:])
		clear(in.items[rest:])
		in.items, in.head = in.items[:rest], 0
	}
	return buf
}

// free gives back the room of items that were dispatched.
func (in *intake) free(n int, bytes int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.n -= n
	in.bytes -= bytes
	in.stalled = time.Time{}
	in.releaseLocked()
}

// hold counts n items more that wait for room in an outbox.
func (in *intake) hold(n int) {
	in.mu.Lock()
	in.held += n
	in.mu.Unlock()
}

func (in *intake) releaseLocked() {
	if in.space != nil {
		close(in.space)
		in.space = nil
	}
}

// setState closes the intake, or gives it up.
func (in *intake) setState(s intakeState) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.state = max(in.state, s)
	in.releaseLocked()
}

func (in *intake) status() IntakeStatus {
	in.mu.Lock()
	defer in.mu.Unlock()
	return IntakeStatus{Messages: in.n, Bytes: in.bytes, Held: in.held, Stalled: in.stalled}
}

// sink is what one leg sees of the core.
type sink struct {
	c *Core
	l *legState
}

var _ Sink = sink{}

// Take implements Sink.
func (s sink) Take(ctx context.Context, m Message) error {
	m.Text = m.Text.canonical()
	return s.l.in.put(ctx, item{msg: m}, s.c.now)
}

// Notify implements Sink.
func (s sink) Notify(ctx context.Context, e Event) error {
	return s.l.in.put(ctx, item{ev: &e}, s.c.now)
}

// Prove implements Sink.
func (s sink) Prove(p Proof) {
	o := s.c.table.Load().outboxes[p.Room]
	if o == nil { // of a room just removed
		s.c.mu.Lock()
		o = s.c.outboxes[p.Room]
		s.c.mu.Unlock()
	}
	if o != nil {
		o.prove(p)
	}
}
