package migrate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is how far one bridge is: what the store keeps of it.
type State struct {
	Bridge string    `json:"bridge"`
	Phase  Phase     `json:"phase"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"` // the admin, "" for the date
	// Held: no date counts until an admin says advance, or hold --off.
	Held   bool   `json:"held,omitempty"`
	HeldBy string `json:"held_by,omitempty"`
	// Date is the date of the next phase that what follows is about.
	Date time.Time `json:"date,omitzero"`
	// Due stands for Date where that passed while a gate was shut, or while nobody was
	// there to announce it.
	Due time.Time `json:"due,omitzero"`
	// Told is the shortest lead that was announced; 0: none.
	Told time.Duration `json:"told,omitempty"`
	// Missed is when the date passed, Warned when the admins were last told.
	Missed time.Time `json:"missed,omitzero"`
	Warned time.Time `json:"warned,omitzero"`
	// Pointed is when the daily line was last said.
	Pointed time.Time `json:"pointed,omitzero"`
	// Counted is since when what is said is counted.
	Counted time.Time `json:"counted,omitzero"`
	// Known are the dates that were taken from the config: one that is not among them
	// must lie ahead.
	Known []time.Time `json:"known,omitempty"`
}

// ActionKind tells what an Action is.
type ActionKind uint8

// The kinds of actions.
const (
	Announce ActionKind = iota + 1 // Phase begins at Due: told in both places
	Enter                          // Phase begins now
	Warn                           // the admins are told Text
	Point                          // the daily line is said
)

// Action is something that Step wants done.
type Action struct {
	Kind  ActionKind
	Phase Phase
	Due   time.Time
	Text  string
}

// leads are how long before a phase it is announced.
var leads = [...]time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour}

const (
	// makeUp is how long people are told before a date that was missed is made up for.
	makeUp = 24 * time.Hour
	// warnEvery and pointEvery are between two warnings, or daily lines.
	warnEvery  = 24 * time.Hour
	pointEvery = 24 * time.Hour
)

// Step says what there is to do now, and the state after it. The caller keeps the state
// before it acts: so nothing is said twice, whatever happens.
func Step(m *Move, s State, f Figures, now time.Time) (State, []Action) {
	var out []Action
	if s.Phase == Farewell && !now.Before(s.Pointed.Add(pointEvery)) {
		s.Pointed = now
		out = append(out, Action{Kind: Point, Phase: s.Phase})
	}
	next := s.Phase + 1
	if next >= phases || s.Held {
		return s, out
	}
	if date := m.Dates[next]; !s.Date.Equal(date) {
		s.Date, s.Due, s.Told, s.Missed, s.Warned = date, time.Time{}, 0, time.Time{}, time.Time{}
	}
	if s.Date.IsZero() {
		return s, out
	}
	due := s.due()
	if now.Before(due) {
		s, out = s.announce(next, due, now, out)
		return s, out
	}
	if shut := m.shut(next, f, now); len(shut) > 0 {
		return s.miss(next, shut, now, out)
	}
	if !s.Missed.IsZero() || s.Told == 0 || s.Told > leads[len(leads)-1] {
		// Nobody was told in time: they are now.
		s.Due, s.Told, s.Missed, s.Warned = now.Add(makeUp), 0, time.Time{}, time.Time{}
		s, out = s.announce(next, s.Due, now, out)
		return s, out
	}
	return s.enter(next, "", now), append(out, Action{Kind: Enter, Phase: next})
}

func (s *State) due() time.Time {
	if s.Due.IsZero() {
		return s.Date
	}
	return s.Due
}

// announce tells of a phase if a lead is reached that was not announced: only the
// shortest, with the time that is really left.
func (s State) announce(next Phase, due, now time.Time, out []Action) (State, []Action) {
	for i := len(leads) - 1; i >= 0; i-- {
		lead := leads[i]
		if due.Sub(now) > lead {
			continue
		}
		if s.Told == 0 || s.Told > lead {
			s.Told = lead
			out = append(out, Action{Kind: Announce, Phase: next, Due: due})
		}
		break
	}
	return s, out
}

// miss notes that the date passed while something stood before the phase.
func (s State) miss(next Phase, shut []string, now time.Time, out []Action) (State, []Action) {
	if s.Missed.IsZero() {
		s.Missed = now
	}
	if s.Warned.IsZero() || !now.Before(s.Warned.Add(warnEvery)) {
		s.Warned = now
		out = append(out, Action{Kind: Warn, Phase: next, Due: s.due(), Text: strings.Join(shut, "; ")})
	}
	return s, out
}

// enter begins a phase.
func (s State) enter(p Phase, by string, now time.Time) State {
	next := State{Bridge: s.Bridge, Phase: p, Since: now, By: by, Counted: s.Counted, Known: s.Known}
	if p == Farewell {
		next.Pointed = now // it is told just now
	}
	return next
}

// Advance enters the next phase by hand, if its gates hold. to must be that phase, or
// phases: whichever is next.
func Advance(m *Move, s State, f Figures, to *Phase, by string, now time.Time) (State, error) {
	next := s.Phase + 1
	switch {
	case next >= phases:
		return s, fmt.Errorf("%w: %s is %s, and that is the last phase", ErrEnd, s.Bridge, s.Phase)
	case to != nil && *to > next:
		return s, fmt.Errorf("%w: %s is %s, and next comes %s", ErrSkip, s.Bridge, s.Phase, next)
	case to != nil && *to < next:
		return s, fmt.Errorf("%w: %s is %s already", ErrEnd, s.Bridge, s.Phase)
	}
	if shut := m.shut(next, f, now); len(shut) > 0 {
		return s, fmt.Errorf("%w: %s", ErrGates, strings.Join(shut, "; "))
	}
	return s.enter(next, by, now), nil
}

// Back enters the phase before, and holds there: else a date that has passed would lead
// on at once.
func Back(s State, by string, now time.Time) (State, error) {
	if s.Phase == Mirror {
		return s, fmt.Errorf("%w: %s is %s, and that is the first phase", ErrEnd, s.Bridge, s.Phase)
	}
	s = s.enter(s.Phase-1, by, now)
	s.Held, s.HeldBy = true, by
	return s, nil
}

// Hold stops the dates, or lets them count again.
func Hold(s State, on bool, by string) State {
	s.Held, s.HeldBy = on, by
	if !on {
		s.HeldBy = ""
		s.Date = time.Time{} // and so looked at anew
		s.Due, s.Told, s.Missed, s.Warned = time.Time{}, 0, time.Time{}, time.Time{}
	}
	return s
}

// PastError is an ErrPast with where it stands.
type PastError struct {
	Bridge string
	Phase  Phase
	Date   time.Time
}

// Error implements error.
func (e *PastError) Error() string {
	return fmt.Sprintf("%v: migration.%s.dates.%s: %s", ErrPast, e.Bridge, e.Phase, e.Date.Format("2006-01-02 15:04"))
}

// Unwrap returns ErrPast.
func (e *PastError) Unwrap() error { return ErrPast }

// Admit takes the dates of a config over. One that is new, lies in the past and is of a
// phase yet to come is a *PastError.
func Admit(m *Move, s State, now time.Time) (State, error) {
	var known []time.Time
	for p := s.Phase + 1; p < phases; p++ {
		d := m.Dates[p]
		if d.IsZero() {
			continue
		}
		if d.Before(now) && !slices.ContainsFunc(s.Known, d.Equal) {
			return s, &PastError{m.Bridge, p, d}
		}
	}
	for _, d := range m.Dates {
		if !d.IsZero() {
			known = append(known, d)
		}
	}
	s.Known = known
	return s, nil
}
