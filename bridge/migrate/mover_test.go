package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// stage is a Mover with all that it needs, on a clock that the test moves.
type stage struct {
	t      *testing.T
	now    time.Time
	store  *Memory
	mover  *Mover
	people []*policy.Person
	said   []string // "text", in all places
	moving map[bridge.Room]guard.Moving
	marks  map[string]string
	audit  []string
	alarms []string
	held   string // why a place is not held
	open   string // why a place would stay open if it were closed now
	broken error  // of the store
}

func (s *stage) Announce(name, text string, kinds ...bridge.RoomKind) int {
	s.said = append(s.said, fmt.Sprintf("%s %v: %s", name, kinds, text))
	return len(kinds)
}
func (s *stage) SetMarks(marks map[string]string)           { s.marks = marks }
func (s *stage) SetMoving(all map[bridge.Room]guard.Moving) { s.moving = all }
func (s *stage) HeldBy(_ bridge.Room, closing bool) string {
	if closing && s.held == "" {
		return s.open
	}
	return s.held
}

func (s *stage) Note(a guard.Act) { s.audit = append(s.audit, a.Actor+" "+a.Acts+" ("+a.Result+")") }

func (s *stage) PlanMoving(_ context.Context, place bridge.Room, steps []guard.Moving) ([]guard.MoveStep, error) {
	out := make([]guard.MoveStep, len(steps))
	for i := range steps {
		out[i] = guard.MoveStep{Place: place, Lines: []string{fmt.Sprint(steps[i].ReadOnly, steps[i].Closed)}}
	}
	return out, nil
}

// stageStore fails when it is told to.
type stageStore struct {
	*Memory
	s *stage
}

func (f stageStore) PutState(ctx context.Context, s State) error {
	if f.s.broken != nil {
		return f.s.broken
	}
	return f.Memory.PutState(ctx, s)
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, now: day0, store: NewMemory()}
	for i, name := range []string{"anna", "ben", "cleo"} {
		p := &policy.Person{Name: name, JIDs: []string{name + "@corp.example"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{name}}}}
		if i < 2 {
			p.OpenPGP = []string{"KEY"}
		}
		s.people = append(s.people, p)
	}
	s.start()
	return s
}

// start makes a mover as a new process does.
func (s *stage) start() {
	s.t.Helper()
	m := testMove()
	m.Ignore = []string{"Ci-Bot"}
	s.mover = New([]Move{*m}, Deps{
		Store: stageStore{s.store, s}, Now: func() time.Time { return s.now }, Guard: s, Core: s, People: func() *People { return NewPeople(s.people) },
		Alarm: func(text string) { s.alarms = append(s.alarms, text) },
	})
	if err := s.mover.Load(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// at moves the clock and lets the mover look at it.
func (s *stage) at(day float64) {
	s.now = days(day)
	s.mover.tick(s.t.Context())
}

var ircRoom = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}

// says lets somebody on IRC speak, with an account or "".
func (s *stage) says(nick, account string) {
	s.mover.Count(&bridge.Spoken{Bridge: "dev", Room: ircRoom, From: bridge.Sender{Nick: nick, Account: account}, At: s.now})
}

// sealed lets a person speak from Jabber.
func (s *stage) sealed(person string) {
	s.mover.Count(&bridge.Spoken{Bridge: "dev", Room: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: person}, From: bridge.Sender{Nick: person, Person: person}, Rung: policy.Verified, At: s.now})
}

func (s *stage) figures() Figures { return s.mover.Status()[0].Figures }

func TestCounts(t *testing.T) {
	s := newStage(t)
	s.says("Anna", "anna")
	s.says("Anna2", "ANNA")   // one account under two nicks
	s.says("stranger", "")    // nobody knows who that is
	s.says("Stranger", "")    // the same
	s.says("cleo", "")        // a nick proves nobody …
	s.says("cleo", "cleo")    // … and who logs in since is one and the same
	s.says("ci-bot", "cibot") // no person
	s.sealed("ben")
	f := s.figures()
	if f.Speakers != 3 || f.Linked != 2 || f.Verified != 1 || f.Lines != 7 || f.Encrypted != 1 {
		t.Errorf("figures %+v", f)
	}
	s.mover.Count(&bridge.Spoken{Bridge: "other", Room: ircRoom, From: bridge.Sender{Nick: "x"}, At: s.now})
	if got := s.figures(); got.Speakers != f.Speakers || got.Lines != f.Lines {
		t.Errorf("a bridge that stays is counted: %+v", got)
	}
	// What is counted outlives the process, and after a month without a word nobody counts.
	s.mover.write(t.Context())
	s.start()
	if got := s.figures(); got.Speakers != 3 || got.Lines != 7 {
		t.Errorf("in the next process %+v", got)
	}
	s.now = days(31)
	if got := s.figures(); got.Speakers != 0 || got.Lines != 0 {
		t.Errorf("a month later %+v", got)
	}
}

func TestRefusals(t *testing.T) {
	s := newStage(t)
	s.says("Shy", "")
	s.says("anna", "anna")
	if err := s.mover.Refuse(t.Context(), "corp", "shy", true); err != nil {
		t.Fatal(err)
	}
	before := s.figures()
	s.says("SHY", "")
	s.says("other", "shy")
	for range 2 {
		if f := s.figures(); f.Speakers != 1 || f.Lines != before.Lines || !s.mover.Refuses("corp", "Shy") {
			t.Errorf("who refuses is counted: %+v", f)
		}
		r, err := s.mover.Report(t.Context(), "dev")
		if err != nil || len(r.People) != 1 || r.Refused != 1 {
			t.Errorf("report %+v, %v", r, err)
		}
		s.mover.write(t.Context())
		s.start() // also in the next process
	}
	if k, _ := s.store.Load(t.Context()); len(k.Speakers) != 1 {
		t.Errorf("kept of who refuses: %+v", k.Speakers)
	}
	if err := s.mover.Refuse(t.Context(), "corp", "shy", false); err != nil {
		t.Fatal(err)
	}
	if s.says("shy", ""); s.figures().Speakers != 2 {
		t.Error("who wants to be counted again is not")
	}
}

func TestSpeakersAreBounded(t *testing.T) {
	s := newStage(t)
	for i := range MaxSpeakers + 10 {
		s.now = s.now.Add(time.Second)
		s.says(fmt.Sprint("nick", i), "")
	}
	if n := s.figures().Speakers; n != MaxSpeakers {
		t.Errorf("%d are known", n)
	}
	s.mover.write(t.Context())
	k, _ := s.store.Load(t.Context())
	if len(k.Speakers) != MaxSpeakers || slices.ContainsFunc(k.Speakers, func(x Speaker) bool { return x.Name == "nick3" }) {
		t.Errorf("%d are kept, and who spoke longest ago is among them", len(k.Speakers))
	}
}

// talk fills a week with lines that open all gates but that of who is linked.
func (s *stage) talk(at float64) {
	s.now = days(at)
	for _, name := range []string{"anna", "ben"} {
		s.says(name, name)
		s.sealed(name)
		s.sealed(name)
	}
}

// TestPhasesAreCarriedOut goes the whole way, and looks at what core and guard were told.
func TestPhasesAreCarriedOut(t *testing.T) {
	s := newStage(t)
	if s.marks["dev"] != "" || s.moving[ircRoom] != (guard.Moving{}) {
		t.Errorf("mirror asks %v, %v", s.marks, s.moving)
	}
	for d := 3.0; d <= 10; d += 0.02 {
		s.at(d)
	}
	s.at(10)
	if got := strings.Join(s.said, "\n"); strings.Count(got, "In 7 days") != 1 || strings.Count(got, "In a day") != 1 || strings.Count(got, "In an hour")+strings.Count(got, "minutes (") != 1 || strings.Count(got, "From now on: encrypted-first") != 1 || len(s.said) != 4 {
		t.Errorf("said\n%s", got)
	}
	if want := "dev [channel muc chat]: "; !strings.HasPrefix(s.said[0], want) {
		t.Errorf("said %q, not in both places", s.said[0])
	}
	if s.marks["dev"] != "(clear)" || s.moving[ircRoom] != (guard.Moving{}) {
		t.Errorf("encrypted-first asks %v, %v", s.marks, s.moving)
	}
	for d := 13.0; d < 20; d += 0.02 {
		s.at(d)
	}
	s.says("jo", "jo")
	s.talk(20)
	s.at(20)
	if st := s.mover.Status()[0]; !st.Overdue || len(st.Shut) == 0 {
		t.Errorf("its date has passed: %+v", st)
	}
	if len(s.alarms) != 1 || !strings.Contains(s.alarms[0], "66 % (2 of 3)") || s.moving[ircRoom].ReadOnly {
		t.Errorf("with a straggler: %q, %+v", s.alarms, s.moving)
	}
	s.people = append(s.people, &policy.Person{Name: "jo", JIDs: []string{"jo@corp.example"}, OpenPGP: []string{"K"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"jo"}}}})
	s.held = "room office is in dry run"
	if _, err := s.mover.Advance(t.Context(), "", nil, "alice"); !errors.Is(err, ErrGates) || !strings.Contains(err.Error(), "dry run") {
		t.Errorf("in dry run: %v", err)
	}
	s.held = ""
	for d := 20.1; d < 21.3; d += 0.02 {
		s.at(d)
	}
	if got := s.moving[ircRoom]; !got.ReadOnly || got.Closed || got.Topic != "" || !strings.Contains(got.Entry, "!move") {
		t.Errorf("irc-readonly asks %+v", got)
	}
	s.talk(21.5)
	if p, err := s.mover.Advance(t.Context(), "dev", nil, "alice"); err != nil || p != Farewell {
		t.Fatal(p, err)
	}
	if got := s.moving[ircRoom]; !got.ReadOnly || got.Closed || !strings.Contains(got.Topic, "dev@rooms.corp.example") {
		t.Errorf("farewell asks %+v", got)
	}
	s.said = nil
	s.at(22.6)
	s.start() // the line of the day is not said again by another process
	s.at(22.7)
	s.at(23.7)
	if n := strings.Count(strings.Join(s.said, "\n"), "dev [channel]: This team has moved to "); n != 2 {
		t.Errorf("%d lines of two days: %q", n, s.said)
	}
	s.talk(24)
	if p, err := s.mover.Advance(t.Context(), "dev", nil, "alice"); err != nil || p != Closed || !s.moving[ircRoom].Closed {
		t.Fatal(p, err, s.moving)
	}
	if p, err := s.mover.Back(t.Context(), "dev", "bob"); err != nil || p != Farewell || s.moving[ircRoom].Closed {
		t.Fatal(p, err, s.moving)
	}
	s.at(60)
	if st := s.mover.Status()[0]; st.Phase != Farewell || !st.Held || st.HeldBy != "bob" {
		t.Errorf("held: %+v", st)
	}
	for _, want := range []string{
		"date migrate dev: announce encrypted-first for 2027-01-11 12:00 (said)", "date migrate dev: enter encrypted-first (done)", "date migrate dev: enter irc-readonly (refused: 66 %",
		"alice migrate dev: enter farewell (done)", "bob migrate dev: enter farewell (done)",
	} {
		if !slices.ContainsFunc(s.audit, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("%q is not in the audit:\n%s", want, strings.Join(s.audit, "\n"))
		}
	}
}

// A room that is left and would stay open holds the phase that closes it, and that one
// alone: nobody is told that it is closed.
func TestRoomThatStaysOpenHoldsThePhase(t *testing.T) {
	s := newStage(t)
	if err := s.store.PutState(t.Context(), State{Bridge: "dev", Phase: ReadOnly, Since: days(20), Counted: day0}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.now, s.open = days(26), "bot/dev would stay open"
	if p, err := s.mover.Advance(t.Context(), "dev", nil, "alice"); err != nil || p != Farewell {
		t.Fatal(p, err)
	}
	s.said = nil
	if p, err := s.mover.Advance(t.Context(), "dev", nil, "alice"); !errors.Is(err, ErrGates) || !strings.Contains(err.Error(), s.open) || p != Farewell {
		t.Errorf("by hand: %s, %v", p, err)
	}
	s.at(30)
	if st := s.mover.Status()[0]; st.Phase != Farewell || !slices.Contains(st.Shut, s.open) || len(s.alarms) != 1 || !strings.Contains(s.alarms[0], s.open) {
		t.Errorf("by its date: %+v, alarms %q", st, s.alarms)
	}
	if strings.Contains(strings.Join(s.said, "\n"), "closed") || s.moving[ircRoom].Closed {
		t.Errorf("said %q, asked %+v", s.said, s.moving)
	}
	s.open = ""
	for d := 30.1; d < 31.3; d += 0.02 {
		s.at(d)
	}
	if st := s.mover.Status()[0]; st.Phase != Closed || !s.moving[ircRoom].Closed {
		t.Errorf("once it can close: %+v", st)
	}
}

// TestNothingIsSaidThatIsNotKept: while the store fails nothing goes on, and nothing is
// said twice when it is back.
func TestNothingIsSaidThatIsNotKept(t *testing.T) {
	s := newStage(t)
	s.broken = errors.New("disk full")
	s.at(3)
	s.at(3.1)
	if _, err := s.mover.Advance(t.Context(), "dev", nil, "alice"); err == nil || s.mover.Status()[0].Phase != Mirror {
		t.Error("entered, and not kept")
	}
	if len(s.said) > 0 {
		t.Errorf("said %q", s.said)
	}
	s.broken = nil
	s.at(3.2)
	if s.at(3.3); len(s.said) != 1 {
		t.Errorf("said %q", s.said)
	}
}

func TestReload(t *testing.T) {
	s := newStage(t)
	s.at(4)
	later := *testMove()
	later.Dates[EncryptedFirst] = days(3)
	if err := s.mover.CheckDates([]Move{later}); !errors.Is(err, ErrPast) {
		t.Errorf("a new date in the past: %v", err)
	}
	if err := s.mover.Reload(t.Context(), []Move{later}); !errors.Is(err, ErrPast) {
		t.Errorf("a new date in the past: %v", err)
	}
	later.Dates[EncryptedFirst] = days(6)
	s.said = nil
	if err := s.mover.Reload(t.Context(), []Move{later}); err != nil {
		t.Fatal(err)
	}
	if s.at(4.1); len(s.said) != 1 || !strings.Contains(s.said[0], "In 2 days") {
		t.Errorf("another date: said %q", s.said)
	}
	if err := s.mover.Reload(t.Context(), nil); err != nil || len(s.moving)+len(s.marks) > 0 {
		t.Errorf("without a migration the guard is asked %v, %v, %v", s.moving, s.marks, err)
	}
	if _, err := s.mover.Plan(t.Context(), "dev"); !errors.Is(err, ErrNoBridge) {
		t.Errorf("of no bridge: %v", err)
	}
}

func TestPlanAndReport(t *testing.T) {
	s := newStage(t)
	s.says("anna", "anna")
	s.says("<b>eve", "")
	s.sealed("anna")
	s.says("dan", "Dan")
	if err := s.store.PutTalk(t.Context(), Talk{ID: "corp/dan", Step: "client", At: s.now}); err != nil {
		t.Fatal(err)
	}
	p, err := s.mover.Plan(t.Context(), "")
	if err != nil || len(p.Steps) != 4 || len(p.Steps[0].Announced) != 3 || p.Steps[1].Places[0].Lines[0] != "true false" || p.Steps[3].Places[0].Lines[0] != "true true" {
		t.Errorf("plan %+v, %v", p, err)
	}
	s.at(0.1)
	r, err := s.mover.Report(t.Context(), "")
	if err != nil || len(r.Days) != 1 || r.Days[0].Lines["corp/clear"] != 3 || r.Days[0].Speakers != 3 || len(r.People) != 3 {
		t.Fatalf("report %+v, %v", r, err)
	}
	if x := r.People[0]; x.Name != "<b>eve" || x.Next != "log in to services, then !move" || x.OnIRC != 1 {
		t.Errorf("who is left: %+v", x)
	}
	if x := r.People[1]; x.Name != "dan" || x.Next != "go on with !move (at: client)" || x.Step != "client" {
		t.Errorf("who is in the middle of it: %+v", x)
	}
	if x := r.People[2]; x.Name != "anna" || x.Next != "" || x.OnXMPP != 1 || x.OnIRC != 1 {
		t.Errorf("who is over: %+v", x)
	}
}
