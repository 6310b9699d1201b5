package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/wording"
)

// Orders is what admins ask of migrations, and what Mover answers. All methods are safe
// for concurrent use. by is the admin, for the audit. An unknown bridge is ErrNoBridge; a
// name "" is the one bridge that there is.
type Orders interface {
	Status() []Status
	// Plan says what each phase to come will do, and when. Nothing is changed.
	Plan(ctx context.Context, name string) (Plan, error)
	// Advance enters the next phase; to, if not nil, has to be it. Errors: ErrGates,
	// ErrSkip, ErrEnd.
	Advance(ctx context.Context, name string, to *Phase, by string) (Phase, error)
	// Back enters the phase before, and holds there. Error: ErrEnd.
	Back(ctx context.Context, name, by string) (Phase, error)
	// Hold stops the dates, or with on false lets them count again.
	Hold(ctx context.Context, name string, on bool, by string) error
	Report(ctx context.Context, name string) (Report, error)
}

// Status is how far one bridge is.
type Status struct {
	Bridge  string    `json:"bridge"`
	Phase   Phase     `json:"phase"`
	Since   time.Time `json:"since"`
	By      string    `json:"by,omitempty"`
	Held    bool      `json:"held,omitempty"`
	HeldBy  string    `json:"held_by,omitempty"`
	Next    *Phase    `json:"next,omitempty"`    // nil: it is the last
	Due     time.Time `json:"due,omitzero"`      // zero: by hand
	Overdue bool      `json:"overdue,omitempty"` // Due has passed, and Next was not entered
	Shut    []string  `json:"shut,omitempty"`    // what stands before Next now
	Figures Figures   `json:"figures"`
}

// Plan is what the phases of one bridge will do.
type Plan struct {
	Bridge string     `json:"bridge"`
	Phase  Phase      `json:"phase"` // now
	Held   bool       `json:"held,omitempty"`
	Steps  []PlanStep `json:"steps"`
}

// PlanStep is one phase to come.
type PlanStep struct {
	Phase Phase     `json:"phase"`
	Date  time.Time `json:"date,omitzero"` // zero: by hand
	Means string    `json:"means"`
	Gates Gates     `json:"gates,omitzero"`
	Shut  []string  `json:"shut,omitempty"` // what does not hold, as of now
	// Announced lists when it will be told, from now on.
	Announced []time.Time      `json:"announced,omitempty"`
	Says      []string         `json:"says,omitempty"` // in the channel
	Places    []guard.MoveStep `json:"places,omitempty"`
}

// move returns the one of that name.
func (m *Mover) moveLocked(name string) (*Move, error) {
	if name == "" && len(m.moves) == 1 {
		return &m.moves[0], nil
	}
	for i := range m.moves {
		if m.moves[i].Bridge == name {
			return &m.moves[i], nil
		}
	}
	var names []string
	for i := range m.moves {
		names = append(names, m.moves[i].Bridge)
	}
	if name == "" {
		return nil, fmt.Errorf("%w: name one of %s", ErrNoBridge, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("%w: %.64s", ErrNoBridge, name)
}

// Status implements Orders.
func (m *Mover) Status() (out []Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, people := m.now(), m.d.People()
	for i := range m.moves {
		out = append(out, m.statusLocked(&m.moves[i], people, now))
	}
	return out
}

func (m *Mover) statusLocked(mv *Move, people *People, now time.Time) Status {
	s := m.states[mv.Bridge]
	f := m.figuresLocked(mv, people, now)
	st := Status{Bridge: mv.Bridge, Phase: s.Phase, Since: s.Since, By: s.By, Held: s.Held, HeldBy: s.HeldBy, Figures: f}
	if next := s.Phase + 1; next < phases {
		st.Next, st.Shut = &next, mv.shut(next, f, now)
		if st.Due = mv.Dates[next]; !s.Due.IsZero() {
			st.Due = s.Due
		}
		st.Overdue = !st.Due.IsZero() && !now.Before(st.Due)
	}
	return st
}

// Plan implements Orders.
func (m *Mover) Plan(ctx context.Context, name string) (Plan, error) {
	m.mu.Lock()
	found, err := m.moveLocked(name)
	if err != nil {
		m.mu.Unlock()
		return Plan{}, err
	}
	mv, now := *found, m.now()
	s, f := m.states[mv.Bridge], m.figuresLocked(&mv, m.d.People(), now)
	m.mu.Unlock()

	out := Plan{Bridge: mv.Bridge, Phase: s.Phase, Held: s.Held}
	for p := s.Phase + 1; p < phases; p++ {
		step := PlanStep{Phase: p, Date: mv.Dates[p], Means: (voice{&mv, wording.Builtin(), wording.English}).means(p), Gates: mv.Gates[p], Shut: mv.shut(p, f, now)}
		if p == s.Phase+1 && !s.Due.IsZero() {
			step.Date = s.Due
		}
		for _, lead := range leads {
			if at := step.Date.Add(-lead); !step.Date.IsZero() && at.After(now) {
				step.Announced = append(step.Announced, at)
			}
		}
		for _, v := range mv.voices() {
			if step.Says = append(step.Says, v.begun(p)); p == Farewell {
				step.Says = append(step.Says, "once a day: "+v.pointer())
			}
		}
		out.Steps = append(out.Steps, step)
	}
	for _, place := range mv.Channels {
		if err := m.planPlace(ctx, &out, place, func(p Phase) guard.Moving { return channelMoving(&mv, p) }); err != nil {
			return Plan{}, err
		}
	}
	for _, place := range mv.Old {
		if err := m.planPlace(ctx, &out, place, func(p Phase) guard.Moving { return oldMoving(&mv, p) }); err != nil {
			return Plan{}, err
		}
	}
	return out, nil
}

// planPlace adds what the phases do to one place. One that cannot be looked at says so.
func (m *Mover) planPlace(ctx context.Context, out *Plan, place bridge.Room, moving func(Phase) guard.Moving) error {
	var steps []guard.Moving
	for i := range out.Steps {
		steps = append(steps, moving(out.Steps[i].Phase))
	}
	all, err := m.d.Guard.PlanMoving(ctx, place, steps)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("migrate: %s: %w", place, err)
	}
	for i := range out.Steps {
		step := guard.MoveStep{Place: place}
		if err != nil {
			step.Why = "cannot be looked at now: " + strings.TrimPrefix(err.Error(), "guard: ")
		} else {
			step = all[i]
		}
		out.Steps[i].Places = append(out.Steps[i].Places, step)
	}
	return nil
}

// change carries an admin's step out.
func (m *Mover) change(ctx context.Context, name, by string, step func(*Move, State, Figures, time.Time) (State, error)) (Phase, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mv, err := m.moveLocked(name)
	if err != nil {
		return 0, err
	}
	now, before := m.now(), m.states[mv.Bridge]
	after, err := step(mv, before, m.figuresLocked(mv, m.d.People(), now), now)
	if err != nil {
		return before.Phase, err
	}
	if err := m.d.Store.PutState(ctx, after); err != nil {
		return before.Phase, fmt.Errorf("migrate: %w", err)
	}
	m.states[mv.Bridge] = after
	if after.Phase != before.Phase {
		m.enteredLocked(mv, &after, by)
	}
	return after.Phase, nil
}

// Advance implements Orders.
func (m *Mover) Advance(ctx context.Context, name string, to *Phase, by string) (Phase, error) {
	return m.change(ctx, name, by, func(mv *Move, s State, f Figures, now time.Time) (State, error) {
		return Advance(mv, s, f, to, by, now)
	})
}

// Back implements Orders.
func (m *Mover) Back(ctx context.Context, name, by string) (Phase, error) {
	return m.change(ctx, name, by, func(_ *Move, s State, _ Figures, now time.Time) (State, error) { return Back(s, by, now) })
}

// Hold implements Orders.
func (m *Mover) Hold(ctx context.Context, name string, on bool, by string) error {
	_, err := m.change(ctx, name, by, func(mv *Move, s State, _ Figures, _ time.Time) (State, error) {
		word := "hold"
		if !on {
			word = "hold --off"
		}
		m.note(mv, by, word, "", "done")
		return Hold(s, on, by), nil
	})
	return err
}

// Report is how far people are.
type Report struct {
	Now    time.Time `json:"now"`
	Status Status    `json:"status"`
	// Dates of the phases, where they have one; Means says what they are.
	Dates []PhaseDate `json:"dates"`
	Days  []Day       `json:"days"` // oldest first
	// People are those who spoke lately, those furthest from done first.
	People []Traveller `json:"people"`
	// Refused do not want to be counted; they are in no figure.
	Refused int `json:"refused,omitempty"`
}

// PhaseDate is when a phase begins or began.
type PhaseDate struct {
	Phase Phase     `json:"phase"`
	Date  time.Time `json:"date,omitzero"` // zero: by hand
	Done  bool      `json:"done,omitempty"`
}

// Traveller is one who spoke lately.
type Traveller struct {
	Name     string    `json:"name"` // person, account or nick
	Kind     string    `json:"kind"` // as of SpeakerID
	Leg      string    `json:"leg"`
	Linked   bool      `json:"linked"`
	Verified bool      `json:"verified"`
	Last     time.Time `json:"last"`   // spoken anywhere
	OnIRC    int       `json:"on_irc"` // lines
	OnXMPP   int       `json:"on_xmpp"`
	Next     string    `json:"next"`           // the next step, "" when done
	Step     string    `json:"step,omitempty"` // of !move, where they are in it
}

// Report implements Orders.
func (m *Mover) Report(ctx context.Context, name string) (Report, error) {
	talks, err := m.d.Store.Talks(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("migrate: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mv, err := m.moveLocked(name)
	if err != nil {
		return Report{}, err
	}
	now, people := m.now(), m.d.People()
	out := Report{Now: now, Status: m.statusLocked(mv, people, now)}
	for _, p := range Phases() {
		d := PhaseDate{Phase: p, Date: mv.Dates[p], Done: p <= out.Status.Phase}
		if p == out.Status.Phase {
			d.Date = out.Status.Since
		}
		out.Dates = append(out.Dates, d)
	}
	out.Days, out.People, out.Refused = m.census.report(mv, people, talks, now)
	return out, nil
}

// report lists days and people.
func (c *census) report(m *Move, people *People, talks []Talk, now time.Time) (days []Day, out []Traveller, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.days {
		if d.Bridge == m.Bridge {
			days = append(days, *d)
		}
	}
	slices.SortFunc(days, func(a, b Day) int { return strings.Compare(a.Date, b.Date) })
	legs := m.legs()
	steps := map[string]string{} // of !move, by leg and account
	for _, t := range talks {
		steps[strings.ToLower(t.ID)] = t.Step
	}
	at := map[string]int{}
	for id, s := range c.speakers {
		if id.Bridge != m.Bridge || now.Sub(s.Last) > m.recent() {
			continue
		}
		key, p := strings.Join([]string{id.Leg, id.Kind, id.Name}, "\x00"), people.Of(id)
		one := Traveller{Name: id.Name, Kind: id.Kind, Leg: id.Leg}
		if p != nil {
			key = "person\x00" + p.Name
			one = Traveller{Name: p.Name, Kind: "person", Leg: id.Leg, Linked: true, Verified: hasKey(p)}
		} else if s.Shown != "" && strings.EqualFold(s.Shown, id.Name) {
			one.Name = s.Shown
		}
		i, known := at[key]
		if !known {
			i, out = len(out), append(out, one)
			at[key] = i
		}
		x := &out[i]
		if s.Last.After(x.Last) {
			x.Last = s.Last
		}
		if legs[id.Leg] {
			x.OnIRC += s.Lines
			x.Leg = id.Leg
		} else {
			x.OnXMPP += s.Lines
		}
		if step := steps[strings.ToLower(id.Leg)+"/"+id.Name]; id.Kind == "account" && step != "" {
			x.Step = step
		}
		if id.Kind == "jid" { // who is there and nobody's person has moved
			x.Linked = true
		}
	}
	for i := range out {
		out[i].Next = nextStep(&out[i])
	}
	slices.SortFunc(out, func(a, b Traveller) int {
		if ra, rb := rank(&a), rank(&b); ra != rb {
			return ra - rb
		}
		return strings.Compare(a.Name, b.Name)
	})
	for id := range c.refusals {
		if legs[id.Leg] {
			refused++
		}
	}
	return days, out, refused
}

// rank is how far somebody is.
func rank(x *Traveller) int {
	switch {
	case !x.Linked:
		return 0
	case !x.Verified:
		return 1
	case x.Next != "":
		return 2
	}
	return 3
}

// nextStep says what somebody has to do next, "" when nothing.
func nextStep(x *Traveller) string {
	over := x.Linked && x.Verified && x.OnXMPP > 0
	switch {
	case x.Step != "" && x.Step != "done" && !over:
		return "go on with !move (at: " + x.Step + ")"
	case !x.Linked && x.Kind == "nick":
		return "log in to services, then !move"
	case !x.Linked:
		return "make or link a Jabber account: !move"
	case x.Kind == "jid":
		return ""
	case !x.Verified:
		return "show a key that can be verified: !move key"
	case x.OnXMPP == 0:
		return "write from Jabber for the first time"
	}
	return ""
}
