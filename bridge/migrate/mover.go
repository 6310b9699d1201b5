package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
)

// Guard is what a Mover needs of guard.Guard.
type Guard interface {
	SetMoving(all map[bridge.Room]guard.Moving)
	PlanMoving(ctx context.Context, place bridge.Room, steps []guard.Moving) ([]guard.MoveStep, error)
	HeldBy(place bridge.Room, closing bool) string
	Note(a guard.Act)
}

// Core is what a Mover needs of bridge.Core.
type Core interface {
	Announce(name, text string, kinds ...bridge.RoomKind) int
	SetMarks(marks map[string]string)
}

// Deps are what a Mover needs from outside.
type Deps struct {
	Log   *slog.Logger     // nil is silence
	Store Store            // nil is a new Memory
	Now   func() time.Time // nil is time.Now
	Guard Guard
	Core  Core
	// People returns who is whom now, with the keys that prove them: NewPeople.
	People func() *People
	// Alarm tells the admins something; nil: the log alone. It must not block.
	Alarm func(text string)
}

// Mover carries out migrations. Make one with New, start Run before the core. It is the
// core's bridge.Census. Its one goroutine is that of Run.
type Mover struct {
	d      Deps
	census *census
	ready  atomic.Bool // what was kept is loaded

	mu     sync.Mutex // guards all below; held while a step is kept and carried out
	loaded bool
	ran    bool
	moves  []Move
	states map[string]State
}

var (
	_ bridge.Census = (*Mover)(nil)
	_ Orders        = (*Mover)(nil)
)

// Times of a Mover.
const (
	tickEvery  = time.Second
	writeEvery = time.Second // counts go to the store: so much of them a kill takes
	writeTime  = 10 * time.Second
	forgetWait = 6 * time.Hour
)

// New returns a mover that is not running yet.
func New(moves []Move, d Deps) *Mover {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Store == nil {
		d.Store = NewMemory()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Alarm == nil {
		d.Alarm = func(string) {}
	}
	m := &Mover{d: d, census: newCensus(), moves: moves, states: map[string]State{}}
	m.census.use(moves)
	return m
}

// Load takes over what an earlier process kept, and checks the dates: a new one in the
// past is ErrPast. It is to be called once, before Run and before the legs, so that no
// channel is opened for a moment by a restart.
func (m *Mover) Load(ctx context.Context) error {
	k, err := m.d.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("migrate: load: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range k.States {
		m.states[s.Bridge] = s
	}
	m.census.load(&k)
	if err := m.admitLocked(ctx, m.moves); err != nil {
		return err
	}
	m.loaded = true
	m.ready.Store(true)
	m.applyLocked()
	return nil
}

// admitLocked takes moves over into the states, all or none, and keeps them.
func (m *Mover) admitLocked(ctx context.Context, moves []Move) error {
	now := m.now()
	next := maps.Clone(m.states)
	var errs []error
	for i := range moves {
		mv := &moves[i]
		s, known := next[mv.Bridge]
		if !known {
			s = State{Bridge: mv.Bridge, Phase: mv.Begin, Since: now, Counted: now}
		}
		s, err := Admit(mv, s, now)
		errs = append(errs, err)
		next[mv.Bridge] = s
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := range moves {
		if err := m.d.Store.PutState(ctx, next[moves[i].Bridge]); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	m.states = next
	return nil
}

// Reload changes to other moves, whole or not at all. What was reached stays.
func (m *Mover) Reload(ctx context.Context, moves []Move) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded {
		if err := m.admitLocked(ctx, moves); err != nil {
			return err
		}
	}
	m.moves = moves
	m.census.use(moves)
	m.applyLocked()
	return nil
}

// CheckDates reports whether Reload would take moves.
func (m *Mover) CheckDates(moves []Move) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	var errs []error
	for i := range moves {
		mv := &moves[i]
		s, known := m.states[mv.Bridge]
		if !known {
			s = State{Bridge: mv.Bridge, Phase: mv.Begin}
		}
		_, err := Admit(mv, s, now)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run steps and counts until ctx ends, and writes down what was counted before it
// returns. A second call is an error.
func (m *Mover) Run(ctx context.Context) error {
	m.mu.Lock()
	again := m.ran || !m.loaded
	m.ran = true
	m.mu.Unlock()
	if again {
		return ErrRunning
	}
	step, write, forget := time.NewTicker(tickEvery), time.NewTicker(writeEvery), time.NewTicker(forgetWait)
	defer step.Stop()
	defer write.Stop()
	defer forget.Stop()
	m.forget(ctx)
	for {
		select {
		case <-ctx.Done():
			m.write(context.WithoutCancel(ctx))
			return nil
		case <-step.C:
			m.tick(ctx)
		case <-write.C:
			m.write(ctx)
		case <-forget.C:
			m.forget(ctx)
		}
	}
}

// now is the time by the wall clock alone: what is weeks ahead goes by that, whatever the
// machine slept in between.
func (m *Mover) now() time.Time { return m.d.Now().Round(0) }

// BridgeOf returns the move whose channel a room is, for guides in it; nil: none is.
func (m *Mover) BridgeOf(room bridge.Room) (Move, Phase, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.moves {
		if slices.Contains(m.moves[i].Channels, room) {
			return m.moves[i], m.states[m.moves[i].Bridge].Phase, true
		}
	}
	return Move{}, 0, false
}
