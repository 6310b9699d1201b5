package migrate

import (
	"errors"
	"fmt"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/wording"
)

// Phase is how far a bridge's way off IRC is. Phases come one after the other.
type Phase uint8

// The phases.
const (
	// Mirror: both sides hear each other, as without a migration.
	Mirror Phase = iota
	// EncryptedFirst: what was said in clear on IRC is marked as such on the other side.
	EncryptedFirst
	// ReadOnly: nobody speaks in the channel any more (+m). What is said on Jabber is
	// still relayed there, so that those who are left can read.
	ReadOnly
	// Farewell: topic, a word to who comes in and a line a day point to the new place.
	Farewell
	// Closed: nobody comes in any more (+i), and nothing is relayed there.
	Closed
	phases
)

var phaseNames = [phases]string{"mirror", "encrypted-first", "irc-readonly", "farewell", "closed"}

// String returns the name that ParsePhase reads.
func (p Phase) String() string {
	if p < phases {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// ParsePhase returns the phase of that name.
func ParsePhase(name string) (Phase, error) {
	for i, n := range phaseNames {
		if n == name {
			return Phase(i), nil
		}
	}
	return 0, fmt.Errorf("migrate: %.40q is not one of %v", name, phaseNames)
}

// MarshalText writes the name, for JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Phase) UnmarshalText(name []byte) (err error) {
	*p, err = ParsePhase(string(name))
	return err
}

// Phases lists all, in their order.
func Phases() []Phase { return []Phase{Mirror, EncryptedFirst, ReadOnly, Farewell, Closed} }

// Move is the way of one bridge off IRC. The zero value of a field is its default.
type Move struct {
	Bridge string
	// Channels are its IRC channels, and Old the MUCs that are closed with them. A
	// guard holds each of them.
	Channels, Old []bridge.Room
	Begin         Phase // of a bridge of which the store knows nothing
	// Dates says when phases begin; zero: by hand only.
	Dates [phases]time.Time
	// Gates are what must hold before a phase begins.
	Gates [phases]Gates
	// Recent is how long ago somebody may have spoken and still counts; 0 is 30 days.
	Recent time.Duration
	// To says where people find the team from now on: one line, for topic and notices.
	To string
	// Texts are what all are told; nil is wording.Builtin. Languages are those in which
	// they are: topics and marks in the first alone; nil is English.
	Texts     *wording.Texts
	Languages []string
	// Forward is the channel to which the server sends who wants into the closed one; "":
	// to none.
	Forward string
	// Ignore lists nicks and accounts that are not people: other bots.
	Ignore []string
}

// DefaultRecent is Move.Recent, if that is 0.
const DefaultRecent = 30 * 24 * time.Hour

func (m *Move) recent() time.Duration {
	if m.Recent <= 0 {
		return DefaultRecent
	}
	return m.Recent
}

// Gates are shares in per cent that must be reached; 0 is not asked for.
type Gates struct {
	// Linked: of those who spoke on IRC lately, who are joined to a person.
	Linked int `json:"linked,omitempty"`
	// Verified: of these, who have a verified key.
	Verified int `json:"verified,omitempty"`
	// Encrypted: of the lines of the last LinesWindow, those that came encrypted.
	Encrypted int `json:"encrypted,omitempty"`
}

// LinesWindow is how far back lines are counted for a gate.
const LinesWindow = 7 * 24 * time.Hour

// MinCounted is how long must have been counted before any gate holds: what nobody has
// looked at proves nothing.
const MinCounted = 3 * 24 * time.Hour

// Figures are what gates look at.
type Figures struct {
	Since time.Time `json:"since,omitzero"` // counted since then; zero: not at all
	// Speakers spoke on IRC within Move.Recent; Linked of them are joined to a person,
	// and Verified of these have a verified key.
	Speakers int `json:"speakers"`
	Linked   int `json:"linked"`
	Verified int `json:"verified"`
	// Lines were said within LinesWindow, Encrypted of them.
	Lines     int `json:"lines"`
	Encrypted int `json:"encrypted"`
	// Rooms are those that the guard does not hold now, or cannot close as is due next,
	// and why.
	Rooms []string `json:"rooms,omitempty"`
}

// share is a part of all in per cent, rounded down; of nothing, all.
func share(part, all int) int {
	if all <= 0 {
		return 100
	}
	return part * 100 / all
}

// Check lists what does not hold, for people; nothing: the gates are open.
func (g Gates) Check(f Figures, now time.Time) (shut []string) {
	if g == (Gates{}) {
		return nil
	}
	if counted := now.Sub(f.Since); f.Since.IsZero() || counted < MinCounted {
		return []string{fmt.Sprintf("counting began %s, and gates need %d days", since(f.Since), MinCounted/(24*time.Hour))}
	}
	for _, x := range []struct {
		want, part, all int
		what            string
	}{
		{g.Linked, f.Linked, f.Speakers, "of those who spoke on IRC lately are linked"},
		{g.Verified, f.Verified, f.Linked, "of the linked have a verified key"},
		{g.Encrypted, f.Encrypted, f.Lines, "of the lines of the last week came encrypted"},
	} {
		if have := share(x.part, x.all); have < x.want {
			shut = append(shut, fmt.Sprintf("%d %% (%d of %d) %s, and it takes %d %%", have, x.part, x.all, x.what, x.want))
		}
	}
	return shut
}

func since(t time.Time) string {
	if t.IsZero() {
		return "not yet"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// shut lists all that stands before a phase: its gates and, where the phase does
// something to the channel, a guard that would not carry it out.
func (m *Move) shut(to Phase, f Figures, now time.Time) []string {
	out := m.Gates[to].Check(f, now)
	if to >= ReadOnly {
		out = append(out, f.Rooms...)
	}
	return out
}

// Errors that callers branch on.
var (
	ErrConfig   = errors.New("migrate: config")
	ErrNoBridge = errors.New("migrate: no such bridge is on its way")
	// ErrGates: what must hold before the phase does not.
	ErrGates = errors.New("migrate: the gates are shut")
	// ErrSkip: a phase would be left out.
	ErrSkip = errors.New("migrate: a phase cannot be skipped")
	// ErrEnd: there is no phase beyond, or before.
	ErrEnd = errors.New("migrate: there is no such step")
	// ErrPast: a date is new and lies in the past.
	ErrPast = errors.New("migrate: a date lies in the past")
	// ErrRunning is returned by a second Run.
	ErrRunning = errors.New("migrate: a mover runs once")
)
