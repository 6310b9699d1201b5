package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
)

var day0 = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

const oneDay = 24 * time.Hour

func days(n float64) time.Time { return day0.Add(time.Duration(n * float64(oneDay))) }

// open are figures by which every gate holds.
var open = Figures{Since: day0.Add(-30 * oneDay), Speakers: 10, Linked: 10, Verified: 10, Lines: 100, Encrypted: 100}

func testMove() *Move {
	m := &Move{Bridge: "dev", Channels: []bridge.Room{{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}}, To: "dev@rooms.corp.example"}
	m.Dates[EncryptedFirst], m.Dates[ReadOnly], m.Dates[Farewell], m.Dates[Closed] = days(10), days(20), days(25), days(30)
	m.Gates[ReadOnly] = Gates{Linked: 90, Verified: 80, Encrypted: 50}
	return m
}

// journey steps every quarter of an hour, and tells what was done on which day.
func journey(m *Move, s *State, from, to time.Time, figures func(time.Time) Figures) (out []string) {
	for now := from; now.Before(to); now = now.Add(15 * time.Minute) {
		var actions []Action
		*s, actions = Step(m, *s, figures(now), now)
		for _, a := range actions {
			at := now.Sub(day0)
			line := fmt.Sprintf("%d %02d:%02d ", at/oneDay, at%oneDay/time.Hour, at%time.Hour/time.Minute)
			switch a.Kind {
			case Announce:
				line += fmt.Sprintf("announce %s %s", a.Phase, strings.ToLower(testMove().voice().left(a.Due.Sub(now))))
			case Enter:
				line += "enter " + a.Phase.String()
			case Warn:
				line += "warn " + a.Phase.String()
			case Point:
				line += "point"
			}
			out = append(out, line)
		}
	}
	return out
}

func always(f Figures) func(time.Time) Figures { return func(time.Time) Figures { return f } }

func TestJourneyByDates(t *testing.T) {
	s := State{Bridge: "dev", Since: day0}
	got := journey(testMove(), &s, day0, days(40), always(open))
	want := []string{
		"3 00:00 announce encrypted-first in 7 days", "9 00:00 announce encrypted-first in a day", "9 23:00 announce encrypted-first in an hour", "10 00:00 enter encrypted-first",
		"13 00:00 announce irc-readonly in 7 days", "19 00:00 announce irc-readonly in a day", "19 23:00 announce irc-readonly in an hour", "20 00:00 enter irc-readonly",
		// Farewell is five days off: the week before it is over, and that is what is said.
		"20 00:15 announce farewell in 5 days", "24 00:00 announce farewell in a day", "24 23:00 announce farewell in an hour", "25 00:00 enter farewell",
		"25 00:15 announce closed in 5 days", "26 00:00 point", "27 00:00 point", "28 00:00 point", "29 00:00 point", "29 00:00 announce closed in a day",
		"29 23:00 announce closed in an hour", "30 00:00 point", "30 00:00 enter closed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Announcements are said once each, wherever the state is kept and loaded between.
func TestAnnouncedOnceOverRestarts(t *testing.T) {
	m, s := testMove(), State{Bridge: "dev", Since: day0}
	var got []string
	for n := 0.0; n < 10; n++ {
		got = append(got, journey(m, &s, days(n), days(n+1), always(open))...)
		store := NewMemory()
		if err := store.PutState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		k, err := store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s = k.States[0]
	}
	if want := []string{"3 00:00 announce encrypted-first in 7 days", "9 00:00 announce encrypted-first in a day", "9 23:00 announce encrypted-first in an hour"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestLateStarts(t *testing.T) {
	for _, tt := range []struct {
		name string
		from time.Time
		want []string
	}{
		{"a day and a half before: only what is still ahead", days(8.5), []string{"8 12:00 announce encrypted-first in 2 days", "9 00:00 announce encrypted-first in a day", "9 23:00 announce encrypted-first in an hour", "10 00:00 enter encrypted-first"}},
		{"half an hour before", days(10).Add(-30 * time.Minute), []string{"9 23:30 announce encrypted-first in 30 minutes", "10 00:00 enter encrypted-first"}},
		{"long after: nobody was told, so they are told a day before", days(12), []string{"12 00:00 announce encrypted-first in a day", "12 23:00 announce encrypted-first in an hour", "13 00:00 enter encrypted-first"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := State{Bridge: "dev", Since: day0}
			if got := journey(testMove(), &s, tt.from, days(13).Add(time.Minute), always(open)); !slices.Equal(got[:min(len(got), len(tt.want))], tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestGatesHoldBack: the date comes, a gate is shut: the admins hear of it once a day,
// and once it is open people are told a day and an hour before.
func TestGatesHoldBack(t *testing.T) {
	m, s := testMove(), State{Bridge: "dev", Phase: EncryptedFirst, Since: days(10)}
	few := open
	few.Linked = 8
	got := journey(m, &s, days(19.75), days(23.5), func(now time.Time) Figures {
		if now.Before(days(22)) {
			return few
		}
		return open
	})
	want := []string{
		"19 18:00 announce irc-readonly in 6 hours", "19 23:00 announce irc-readonly in an hour", "20 00:00 warn irc-readonly", "21 00:00 warn irc-readonly",
		"22 00:00 announce irc-readonly in a day", "22 23:00 announce irc-readonly in an hour", "23 00:00 enter irc-readonly", "23 00:15 announce farewell in 2 days",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestGates(t *testing.T) {
	g := Gates{Linked: 90, Verified: 80, Encrypted: 50}
	for _, tt := range []struct {
		name   string
		change func(*Figures)
		shut   string
	}{
		{"all hold", func(*Figures) {}, ""},
		{"nothing was counted yet", func(f *Figures) { f.Since = time.Time{} }, "counting began not yet"},
		{"counted for a day", func(f *Figures) { f.Since = day0.Add(-oneDay) }, "gates need 3 days"},
		{"too few linked", func(f *Figures) { f.Linked, f.Verified = 8, 8 }, "80 % (8 of 10) of those who spoke on IRC lately are linked, and it takes 90 %"},
		{"rounded down", func(f *Figures) { f.Speakers, f.Linked, f.Verified = 1000, 899, 899 }, "89 % (899 of 1000)"},
		{"keys of the linked", func(f *Figures) { f.Verified = 7 }, "70 % (7 of 10) of the linked have a verified key"},
		{"clear lines", func(f *Figures) { f.Encrypted = 49 }, "49 % (49 of 100) of the lines of the last week came encrypted"},
		{"nobody speaks there any more", func(f *Figures) { *f = Figures{Since: f.Since} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := open
			tt.change(&f)
			got := strings.Join(g.Check(f, day0), "; ")
			if (got == "") != (tt.shut == "") || !strings.Contains(got, tt.shut) {
				t.Errorf("shut: %q, want %q", got, tt.shut)
			}
		})
	}
	if shut := (Gates{}).Check(Figures{}, day0); shut != nil {
		t.Errorf("without gates: %q", shut)
	}
}

func TestByHand(t *testing.T) {
	m, s := testMove(), State{Bridge: "dev", Since: day0}
	to := Closed
	if _, err := Advance(m, s, open, &to, "alice", day0); !errors.Is(err, ErrSkip) {
		t.Errorf("to closed at once: %v", err)
	}
	to = EncryptedFirst
	s, err := Advance(m, s, open, &to, "alice", day0)
	if err != nil || s.Phase != EncryptedFirst || s.By != "alice" {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := Advance(m, s, open, &to, "alice", day0); !errors.Is(err, ErrEnd) {
		t.Errorf("to where it is: %v", err)
	}
	few := open
	few.Linked = 1
	if _, err := Advance(m, s, few, nil, "alice", day0); !errors.Is(err, ErrGates) {
		t.Errorf("with shut gates: %v", err)
	}
	dry := open
	dry.Rooms = []string{"room office is in dry run"}
	if _, err := Advance(m, s, dry, nil, "alice", day0); !errors.Is(err, ErrGates) || !strings.Contains(err.Error(), "dry run") {
		t.Errorf("in dry run: %v", err)
	}
	if s, err = Advance(m, s, open, nil, "alice", day0); err != nil || s.Phase != ReadOnly {
		t.Fatalf("%+v, %v", s, err)
	}
	// One step back stays, whatever the dates say, until it is let go.
	if s, err = Back(s, "bob", days(21)); err != nil || s.Phase != EncryptedFirst || !s.Held || s.HeldBy != "bob" {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := journey(m, &s, days(21), days(24), always(open)); got != nil {
		t.Errorf("held: %q", got)
	}
	s = Hold(s, false, "bob")
	if got, want := journey(m, &s, days(24), days(25.5), always(open)), []string{"24 00:00 announce irc-readonly in a day", "24 23:00 announce irc-readonly in an hour", "25 00:00 enter irc-readonly"}; !slices.Equal(got[:3], want) {
		t.Errorf("let go: %q", got)
	}
	if _, err := Back(State{Bridge: "dev"}, "bob", day0); !errors.Is(err, ErrEnd) {
		t.Errorf("back from mirror: %v", err)
	}
	if _, err := Advance(m, State{Bridge: "dev", Phase: Closed}, open, nil, "bob", day0); !errors.Is(err, ErrEnd) {
		t.Errorf("beyond closed: %v", err)
	}
}

// TestDatesInThePast: a new date must lie ahead; one that was known may have come.
func TestDatesInThePast(t *testing.T) {
	m, s := testMove(), State{Bridge: "dev", Since: day0}
	s, err := Admit(m, s, day0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Admit(m, s, days(12)); err != nil {
		t.Errorf("a date that came while the bot was off: %v", err)
	}
	m.Dates[EncryptedFirst] = days(11)
	if _, err := Admit(m, s, days(12)); !errors.Is(err, ErrPast) || !strings.Contains(err.Error(), "migration.dev.dates.encrypted-first") {
		t.Errorf("a new date in the past: %v", err)
	}
	s.Phase = EncryptedFirst
	if _, err := Admit(m, s, days(12)); err != nil {
		t.Errorf("of a phase that is entered: %v", err)
	}
}
