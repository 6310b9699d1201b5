// Package bridgetest helps to test the core and what plugs into it: a leg
// without a network, and suites that every Leg and every Journal has to pass.
package bridgetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
)

// Leg is a bridge.Leg without a network. Rooms are ready unless SetNotReady or
// SetHold says otherwise, and every message is proven delivered at once, unless
// Manual is called.
type Leg struct {
	name, proto string

	mu      sync.Mutex // guards all below
	sink    bridge.Sink
	ctx     context.Context // of Run, for the test's own calls only
	ran     bool
	running chan struct{}
	die     chan error
	sent    []bridge.Outgoing
	errs    map[bridge.Room]error
	manual  bool
	proof   bridge.Outcome
	delay   time.Duration
	window  int
	rooms   []bridge.RoomStatus
	keys    []bridge.OwnKey
	only    map[bridge.Room]bool
	hook    func(bridge.Outgoing)
	refuse  func(bridge.Outgoing) error
}

var _ bridge.BatchLeg = (*Leg)(nil)

// NewLeg returns a leg; proto is "irc" or "xmpp".
func NewLeg(name, proto string) *Leg {
	return &Leg{name: name, proto: proto, window: 8, proof: bridge.Delivered, running: make(chan struct{}), die: make(chan error, 1), errs: map[bridge.Room]error{}}
}

// Name implements bridge.Leg.
func (l *Leg) Name() string { return l.name }

// Run implements bridge.Leg.
func (l *Leg) Run(ctx context.Context, sink bridge.Sink) error {
	l.mu.Lock()
	if l.ran {
		l.mu.Unlock()
		return errors.New("bridgetest: a leg runs once")
	}
	l.ran, l.sink, l.ctx = true, sink, ctx
	close(l.running)
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.die:
		return err
	}
}

// Send implements bridge.Leg.
func (l *Leg) Send(ctx context.Context, m bridge.Outgoing) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	if err := l.errs[m.To]; err != nil {
		l.mu.Unlock()
		return err
	}
	if l.only != nil && !l.only[m.To] {
		l.mu.Unlock()
		return bridge.ErrNotReady
	}
	if l.sink == nil || l.ctx.Err() != nil {
		l.mu.Unlock()
		return bridge.ErrNotReady
	}
	if l.refuse != nil {
		if err := l.refuse(m); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	l.sent = append(l.sent, m)
	sink, manual, hook, proof := l.sink, l.manual, l.hook, l.proof
	l.mu.Unlock()
	if hook != nil {
		hook(m)
	}
	if !manual {
		sink.Prove(bridge.Proof{Room: m.To, ID: m.ID, Outcome: proof})
	}
	return nil
}

// SendAll implements bridge.BatchLeg.
func (l *Leg) SendAll(ctx context.Context, ms []bridge.Outgoing) (int, error) {
	for n, m := range ms {
		if err := l.Send(ctx, m); err != nil {
			return n, err
		}
	}
	return len(ms), nil
}

// Window implements bridge.Leg.
func (l *Leg) Window(bridge.Room) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window
}

// Status implements bridge.Leg.
func (l *Leg) Status() bridge.LegStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bridge.LegStatus{Name: l.name, Proto: l.proto, State: bridge.StateUp, Rooms: append([]bridge.RoomStatus(nil), l.rooms...), Keys: l.keys}
}

// Manual leaves the proofs to the test.
func (l *Leg) Manual() { l.set(func() { l.manual = true }) }

// Acks makes every message be proven as Acked, as of a leg whose readers show later
// what they could read; the test tells that by Prove.
func (l *Leg) Acks() { l.set(func() { l.proof = bridge.Acked }) }

// SetWindow sets what Window returns; 8 at first.
func (l *Leg) SetWindow(n int) { l.set(func() { l.window = n }) }

// SetDelay makes every Send take this long.
func (l *Leg) SetDelay(d time.Duration) { l.set(func() { l.delay = d }) }

// SetError makes Send to room fail with err; nil ends that.
func (l *Leg) SetError(room bridge.Room, err error) { l.set(func() { l.errs[room] = err }) }

// Refuse sets a function that says for each message why it cannot be sent, or nil.
func (l *Leg) Refuse(f func(bridge.Outgoing) error) { l.set(func() { l.refuse = f }) }

// Only makes the leg have these rooms and no others; at first it has all.
func (l *Leg) Only(rooms ...bridge.Room) {
	l.set(func() {
		l.only = map[bridge.Room]bool{}
		for _, r := range rooms {
			l.only[r] = true
		}
	})
}

// SetRooms sets the rooms that Status tells about.
func (l *Leg) SetRooms(rooms ...bridge.RoomStatus) { l.set(func() { l.rooms = rooms }) }

// SetKeys sets the bot's own keys that Status tells about.
func (l *Leg) SetKeys(keys ...bridge.OwnKey) { l.set(func() { l.keys = keys }) }

// OnSend sets a function that sees each message sent, before its proof.
func (l *Leg) OnSend(f func(bridge.Outgoing)) { l.set(func() { l.hook = f }) }

// Asked is a Leg that can be asked about messages in doubt.
type Asked struct {
	*Leg
	answer func([]bridge.Outgoing) ([]bridge.Answer, error)
	mute   atomic.Bool
}

var _ bridge.AskLeg = (*Asked)(nil)

// NewAsked makes l answer by answer, which runs on the goroutine of a room.
func NewAsked(l *Leg, answer func([]bridge.Outgoing) ([]bridge.Answer, error)) *Asked {
	return &Asked{Leg: l, answer: answer}
}

// Asks implements bridge.AskLeg; at first it can be asked.
func (l *Asked) Asks(bridge.Room) bool { return !l.mute.Load() }

// Mute sets whether nobody could be asked about what is sent from now on.
func (l *Asked) Mute(on bool) { l.mute.Store(on) }

// Ask implements bridge.AskLeg.
func (l *Asked) Ask(_ context.Context, ms []bridge.Outgoing) ([]bridge.Answer, error) {
	return l.answer(ms)
}

func (l *Leg) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// Die makes Run return err by itself.
func (l *Leg) Die(err error) { l.die <- err }

// Sent returns what was sent so far, in order.
func (l *Leg) Sent() []bridge.Outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]bridge.Outgoing(nil), l.sent...)
}

// TakeSent returns what was sent since the last call.
func (l *Leg) TakeSent() []bridge.Outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent = nil
	return sent
}

// Take hands a message to the core, once Run is running.
func (l *Leg) Take(m bridge.Message) error {
	sink, ctx := l.sinkNow()
	return sink.Take(ctx, m)
}

// Say hands a line of nick in room to the core.
func (l *Leg) Say(room bridge.Room, nick, text string) error {
	return l.Take(bridge.Message{Room: room, From: bridge.Sender{Nick: nick}, Text: bridge.NewText(text), Time: time.Now()})
}

// Notify hands an event to the core.
func (l *Leg) Notify(e bridge.Event) error {
	sink, ctx := l.sinkNow()
	e.Leg = l.name
	return sink.Notify(ctx, e)
}

// RoomUp reports room ready.
func (l *Leg) RoomUp(room bridge.Room) error {
	return l.Notify(bridge.Event{Kind: bridge.RoomUp, Room: room})
}

// Prove reports an outcome to the core.
func (l *Leg) Prove(p bridge.Proof) {
	sink, _ := l.sinkNow()
	sink.Prove(p)
}

func (l *Leg) sinkNow() (bridge.Sink, context.Context) {
	<-l.running
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sink, l.ctx
}
