package bridgetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Sink is a bridge.Sink that records.
type Sink struct {
	mu       sync.Mutex // guards all below
	messages []bridge.Message
	events   []bridge.Event
	proofs   []bridge.Proof
	changed  chan struct{}
}

var _ bridge.Sink = (*Sink)(nil)

// Take implements bridge.Sink. It accepts every message.
func (s *Sink) Take(_ context.Context, m bridge.Message) error {
	s.add(func() { s.messages = append(s.messages, m) })
	if m.Taken != nil {
		m.Taken(true)
	}
	return nil
}

// Notify implements bridge.Sink.
func (s *Sink) Notify(_ context.Context, e bridge.Event) error {
	s.add(func() { s.events = append(s.events, e) })
	return nil
}

// Prove implements bridge.Sink.
func (s *Sink) Prove(p bridge.Proof) { s.add(func() { s.proofs = append(s.proofs, p) }) }

func (s *Sink) add(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Messages returns the messages taken so far.
func (s *Sink) Messages() []bridge.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bridge.Message(nil), s.messages...)
}

// Events returns the events so far.
func (s *Sink) Events() []bridge.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bridge.Event(nil), s.events...)
}

// Proofs returns the proofs so far.
func (s *Sink) Proofs() []bridge.Proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bridge.Proof(nil), s.proofs...)
}

// Proof returns the last proof of a message, the zero Proof if there is none.
func (s *Sink) Proof(id string) bridge.Proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Backward(s.proofs) {
		if p.ID == id {
			return p
		}
	}
	return bridge.Proof{}
}

// Forget forgets all that was recorded.
func (s *Sink) Forget() { s.add(func() { s.messages, s.events, s.proofs = nil, nil, nil }) }

// Wait waits until ok holds, at most for limit, and reports whether it did. ok
// is looked at whenever something was recorded.
func (s *Sink) Wait(limit time.Duration, ok func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if ok() {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return ok()
		}
	}
}

// Conformance holds a leg to the contract of bridge.Leg, as far as that can be
// seen without a far side. open returns a new leg whose server, if it has one,
// need not be reachable; room is one of its rooms.
func Conformance(t *testing.T, room bridge.Room, open func(t *testing.T) bridge.Leg) {
	t.Helper()
	clear, _ := bridge.NewClearRoom(room, policy.Floor{})
	message := func() bridge.Outgoing {
		return bridge.Outgoing{ID: "conformance1", To: room, Clear: clear, Text: bridge.NewText("<a@b> text"), Prefix: "<a@b> ", Said: time.Now()}
	}
	// run starts the leg and returns what stops it and waits.
	run := func(t *testing.T, l bridge.Leg, s bridge.Sink) (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, s) }()
		return func() error {
			cancel()
			select {
			case err := <-done:
				return err
			case <-time.After(10 * time.Second):
				return errors.New("Run does not return")
			}
		}
	}
	t.Run("before Run nothing can be sent", func(t *testing.T) {
		l := open(t)
		if err := l.Send(t.Context(), message()); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("Send = %v, want ErrNotReady", err)
		}
		if l.Status().Name != l.Name() || l.Name() != room.Leg {
			t.Errorf("name %q, in the status %q, in its rooms %q", l.Name(), l.Status().Name, room.Leg)
		}
	})
	t.Run("a window is at least one", func(t *testing.T) {
		if n := open(t).Window(room); n < 1 {
			t.Errorf("Window = %d", n)
		}
	})
	t.Run("nobody can be asked while there is no link", func(t *testing.T) {
		l, ok := open(t).(bridge.AskLeg)
		if !ok {
			t.Skip("the leg cannot be asked about messages in doubt")
		}
		if a, err := l.Ask(t.Context(), []bridge.Outgoing{{ID: "x", To: room, Text: bridge.NewText("x")}}); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("Ask = %v, %v, want ErrNotReady", a, err)
		}
		_ = l.Asks(room) // either way
	})
	t.Run("Run ends with its context, and runs once", func(t *testing.T) {
		l := open(t)
		stop := run(t, l, &Sink{})
		if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if err := l.Run(t.Context(), &Sink{}); err == nil {
			t.Error("a second Run is no error")
		}
		if err := l.Send(t.Context(), message()); err == nil {
			t.Error("Send after Run is no error")
		}
	})
	t.Run("a foreign room is refused", func(t *testing.T) {
		l := open(t)
		stop := run(t, l, &Sink{})
		m := message()
		m.To.Name += "-unknown"
		m.Clear, _ = bridge.NewClearRoom(m.To, policy.Floor{})
		if err := l.Send(t.Context(), m); err == nil {
			t.Error("Send to a room the leg does not have is no error")
		}
		if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Run("everything may be called at once", func(t *testing.T) {
		l := open(t)
		stop := run(t, l, &Sink{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					_ = l.Status()
					_ = l.Window(room)
					if a, ok := l.(bridge.AskLeg); ok {
						_ = a.Asks(room)
					}
				}
			})
		}
		all.Wait()
		if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}
