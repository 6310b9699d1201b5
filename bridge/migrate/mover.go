package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Guard is what a Mover needs of guard.Guard.
type Guard interface {
	SetMoving(all map[bridge.Room]guard.Moving)
	PlanMoving(ctx context.Context, place bridge.Room, steps []guard.Moving) ([]guard.MoveStep, error)
	HeldBy(place bridge.Room) string
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
	writeEvery = 5 * time.Second // counts go to the store: so much of them a kill takes
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

// tick does what is due.
func (m *Mover) tick(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, people := m.now(), m.d.People()
	for i := range m.moves {
		mv := &m.moves[i]
		before := m.states[mv.Bridge]
		f := m.figuresLocked(mv, people, now)
		after, actions := Step(mv, before, f, now)
		m.census.note(mv, after.Phase, &f, now)
		if !after.equal(&before) && !m.keepLocked(ctx, after) {
			continue // in a second again: nothing is said that is not kept
		}
		for _, a := range actions {
			m.actLocked(mv, &after, a, now)
		}
	}
}

// equal compares states.
func (s *State) equal(o *State) bool {
	a, b := *s, *o
	same := a.Since.Equal(b.Since) && a.Date.Equal(b.Date) && a.Due.Equal(b.Due) && a.Missed.Equal(b.Missed) && a.Warned.Equal(b.Warned) &&
		a.Pointed.Equal(b.Pointed) && a.Counted.Equal(b.Counted) && slices.EqualFunc(a.Known, b.Known, time.Time.Equal)
	return same && a.Bridge == b.Bridge && a.Phase == b.Phase && a.By == b.By && a.Held == b.Held && a.HeldBy == b.HeldBy && a.Told == b.Told
}

// keepLocked keeps a state, and takes it.
func (m *Mover) keepLocked(ctx context.Context, s State) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := m.d.Store.PutState(ctx, s); err != nil {
		m.d.Log.Error("migration: the store fails, nothing goes on", "rule", s.Bridge, "err", err)
		return false
	}
	m.states[s.Bridge] = s
	return true
}

// figuresLocked are the figures of a move.
func (m *Mover) figuresLocked(mv *Move, people *People, now time.Time) Figures {
	f := m.census.figures(mv, people, now)
	f.Since = m.states[mv.Bridge].Counted
	for _, place := range slices.Concat(mv.Channels, mv.Old) {
		if why := m.d.Guard.HeldBy(place); why != "" && !slices.Contains(f.Rooms, why) {
			f.Rooms = append(f.Rooms, why)
		}
	}
	return f
}

// actLocked carries one action out.
func (m *Mover) actLocked(mv *Move, s *State, a Action, now time.Time) {
	switch a.Kind {
	case Announce:
		m.d.Log.Info("migration: announced", "rule", mv.Bridge+" "+a.Phase.String(), "took", a.Due.Sub(now))
		m.note(mv, byDate, "announce "+a.Phase.String()+" for "+since(a.Due), "", "said")
		m.tell(mv, func(v voice) string { return v.soon(a.Phase, a.Due, now) })
	case Enter:
		m.enteredLocked(mv, s, byDate)
	case Warn:
		m.d.Log.Warn("migration: held back", "rule", mv.Bridge+" "+a.Phase.String(), "err", a.Text)
		m.note(mv, byDate, "enter "+a.Phase.String(), "", "refused: "+a.Text)
		m.d.Alarm("Bridge " + mv.Bridge + " does not become " + a.Phase.String() + ", though its date has come: " + a.Text + ".")
	case Point:
		m.d.Core.Announce(mv.Bridge, mv.all(voice.pointer), bridge.Channel)
	}
}

// enteredLocked begins the phase of a state that is kept already.
func (m *Mover) enteredLocked(mv *Move, s *State, by string) {
	m.d.Log.Info("migration: entered", "rule", mv.Bridge+" "+s.Phase.String(), "from", by)
	undo := ""
	if s.Phase > Mirror {
		undo = "migrate back " + mv.Bridge
	}
	m.note(mv, by, "enter "+s.Phase.String(), undo, "done")
	// Told before the door is shut: +m would not stop the bot, but a closed channel
	// hears nothing any more.
	m.tell(mv, func(v voice) string { return v.begun(s.Phase) })
	m.applyLocked()
}

// byDate is who acts when a date has come.
const byDate = "date"

// note writes a line of the audit.
func (m *Mover) note(mv *Move, by, acts, undo, result string) {
	a := guard.Act{At: m.now(), Acts: "migrate " + mv.Bridge + ": " + acts, Actor: by, Result: result, Undo: undo, Effect: policy.Alert}
	if len(mv.Channels) > 0 {
		a.Place = mv.Channels[0].String()
	}
	m.d.Guard.Note(a)
}

// tell says something in both places, in each language.
func (m *Mover) tell(mv *Move, say func(voice) string) {
	m.d.Core.Announce(mv.Bridge, mv.all(say), bridge.Channel, bridge.MUC, bridge.Chat)
}

// applyLocked has the guard and the core follow the phases.
func (m *Mover) applyLocked() {
	moving, marks := map[bridge.Room]guard.Moving{}, map[string]string{}
	for i := range m.moves {
		mv := &m.moves[i]
		p := m.states[mv.Bridge].Phase
		if p >= EncryptedFirst {
			marks[mv.Bridge] = mv.voice().say("mark")
		}
		for _, place := range mv.Channels {
			moving[place] = channelMoving(mv, p)
		}
		for _, place := range mv.Old {
			moving[place] = oldMoving(mv, p)
		}
	}
	m.d.Core.SetMarks(marks)
	m.d.Guard.SetMoving(moving)
}

// channelMoving is what a phase asks of a channel.
func channelMoving(m *Move, p Phase) guard.Moving {
	out := guard.Moving{ReadOnly: p >= ReadOnly, Closed: p >= Closed}
	if p >= ReadOnly {
		out.Entry = m.all(func(v voice) string { return v.greeting(p) })
	}
	if p >= Farewell {
		out.Topic = m.voice().pointer()
	}
	if p >= Closed {
		out.Forward = m.Forward
	}
	return out
}

// oldMoving is what a phase asks of a MUC that is left with the channel.
func oldMoving(m *Move, p Phase) guard.Moving {
	out := guard.Moving{Closed: p >= Closed}
	if p >= Farewell {
		out.Topic, out.Entry = m.voice().pointer(), m.all(func(v voice) string { return v.greeting(p) })
	}
	return out
}

// now is the time by the wall clock alone: what is weeks ahead goes by that, whatever the
// machine slept in between.
func (m *Mover) now() time.Time { return m.d.Now().Round(0) }

// Count implements bridge.Census.
func (m *Mover) Count(s *bridge.Spoken) {
	if !m.ready.Load() {
		return
	}
	cp := *s
	cp.At = s.At.Round(0)
	m.census.count(&cp)
}

// write writes the counts down.
func (m *Mover) write(ctx context.Context) {
	days, speakers, gone := m.census.take()
	if len(days)+len(speakers)+len(gone) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := m.d.Store.PutCounts(ctx, days, speakers, gone); err != nil {
		m.census.again(days, speakers, gone)
		m.d.Log.Error("migration: counts are not kept yet", "err", err)
	}
}

// forget drops what is older than is kept.
func (m *Mover) forget(ctx context.Context) {
	before := m.now().AddDate(0, 0, -KeepDays)
	m.census.forget(before)
	if err := m.d.Store.Forget(ctx, before); err != nil && ctx.Err() == nil {
		m.d.Log.Warn("migration: old counts are not forgotten", "err", err)
	}
}

// Refuse counts somebody no more, and forgets what was counted of them (!move stop); with
// on false they are counted again. name is a nick, an account, a person or a JID on leg.
func (m *Mover) Refuse(ctx context.Context, leg, name string, on bool) error {
	id := RefusalID{leg, strings.ToLower(name)}
	var err error
	if on {
		err = m.d.Store.PutRefusal(ctx, Refusal{id, m.now()})
	} else {
		err = m.d.Store.DropRefusal(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("migrate: refusal: %w", err)
	}
	m.census.refuse(id, on)
	m.write(ctx)
	return nil
}

// Refuses reports whether somebody does not want to be counted.
func (m *Mover) Refuses(leg, name string) bool {
	m.census.mu.Lock()
	defer m.census.mu.Unlock()
	return m.census.refusals[RefusalID{leg, strings.ToLower(name)}]
}

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
