package proof

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 500_000_000, time.UTC)

// counting gives bytes that never repeat.
type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	c.n++
	return copy(p, fmt.Sprintf("%0*d", len(p), c.n)), nil
}

func ticket(person, nick string) Ticket {
	return Ticket{
		Kind: Invite, By: "person " + person, Person: person, Leg: "bot", JID: person + "@corp.example", Bot: "bridge@corp.example",
		Room: "finance", Target: "#finance", Network: "corp", Nick: nick, Account: person,
	}
}

func of(person string) func(*Ticket) bool {
	return func(t *Ticket) bool { return t.Person == person }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A ticket is found by its code alone, by whom it was asked of alone, and taken once.
func TestBook(t *testing.T) {
	b := NewBook(&counting{})
	k, code, err := b.Ask(ticket("alice", "al"), start)
	must(t, err)
	if !IsCode(code) || strings.Contains(fmt.Sprintf("%+v", k), code) || k.Until.Sub(start) > Life || k.Until.Nanosecond() != 0 {
		t.Fatalf("code %q of %+v", code, k)
	}
	for _, tt := range []struct {
		name, by, code string
		fits           func(*Ticket) bool
		at             time.Duration
		want           error
	}{
		{"right", "a", code, of("alice"), time.Minute, nil},
		{"right, in capitals", "a", strings.ToUpper(code), of("alice"), time.Minute, nil},
		{"wrong", "b", code[:23] + "x", of("alice"), time.Minute, ErrUnknown},
		{"empty", "b", "", of("alice"), time.Minute, ErrUnknown},
		{"another person's", "b", code, of("bob"), time.Minute, ErrUnknown},
		{"late", "a", code, of("alice"), Life, ErrLate},
		{"before it was made, by a clock that was set back", "a", code, of("alice"), -time.Minute, ErrLate},
	} {
		got, err := b.Find(tt.by, tt.code, tt.fits, start.Add(tt.at))
		if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || got.ID != k.ID) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	stale := k
	if !b.Take(&k, start) || b.Take(&k, start) || b.Take(&stale, start) {
		t.Error("it can be taken twice, or not at all")
	}
	if _, err := b.Find("a", code, of("alice"), start); !errors.Is(err, ErrUsed) {
		t.Errorf("a used one: %v", err)
	}
	if !b.Has(of("alice")) || b.Has(of("bob")) {
		t.Error("who was asked lately is not told apart")
	}
	b.Sweep(start.Add(2 * time.Hour))
	if b.Has(of("alice")) {
		t.Error("what is long past is remembered")
	}
}

// Asking again for the same replaces; who asks for much, or guesses, is stopped, and
// that alone.
func TestBounds(t *testing.T) {
	b := NewBook(nil)
	first, code, err := b.Ask(ticket("alice", "al"), start)
	must(t, err)
	again, _, err := b.Ask(ticket("alice", "AL"), start)
	must(t, err)
	if again.ID != first.ID || again.Hash == first.Hash || len(b.open) != 1 || b.Take(&first, start) {
		t.Errorf("asked again: %+v, then %+v", first, again)
	}
	if _, err := b.Find("a", code, of("alice"), start); !errors.Is(err, ErrUnknown) {
		t.Errorf("the code that was replaced: %v", err)
	}
	for i := range MaxEach - 1 {
		_, _, err = b.Ask(ticket("alice", fmt.Sprint("al", i)), start)
		must(t, err)
	}
	if _, _, err = b.Ask(ticket("alice", "one more"), start); !errors.Is(err, ErrMany) {
		t.Errorf("one too many: %v", err)
	}
	if _, _, err = b.Ask(ticket("bob", "bob"), start); err != nil {
		t.Errorf("bob: %v", err)
	}
	for range MaxAsks - MaxEach - 1 {
		_, _, err = b.Ask(ticket("alice", "al"), start)
		must(t, err)
	}
	if _, _, err = b.Ask(ticket("alice", "al"), start); !errors.Is(err, ErrOften) {
		t.Errorf("asked too often: %v", err)
	}
	bob, code, err := b.Ask(ticket("bob", "bob"), start)
	must(t, err)
	for range MaxTries {
		if _, err := b.Find("mallory", "guess", of("bob"), start); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a guess: %v", err)
		}
	}
	if _, err := b.Find("mallory", code, of("bob"), start); !errors.Is(err, ErrOften) || !b.Tired("mallory", start) {
		t.Errorf("after too many guesses: %v", err)
	}
	if _, err := b.Find("bob", code, of("bob"), start); err != nil {
		t.Errorf("bob himself: %v", err)
	}
	if _, err := b.Find("mallory", code, of("bob"), start.Add(Per)); errors.Is(err, ErrOften) {
		t.Errorf("after ten minutes: %v", err)
	}
	if ids := b.Sweep(start.Add(Life)); len(ids) != MaxEach+1 || len(b.open) != 0 || b.Take(&bob, start) {
		t.Errorf("swept %v, %d are left", ids, len(b.open))
	}
	for i := range maxRates + 10 {
		k := ticket("bob", "x")
		k.By = fmt.Sprint("account corp/p", i)
		_, _, _ = b.Ask(k, start)
	}
	if len(b.open) != MaxAll || len(b.rates) > maxRates+1 || len(b.past) > maxPast {
		t.Errorf("%d open, %d rates, %d past: not bounded", len(b.open), len(b.rates), len(b.past))
	}
}

// A second step has another code and the time that was left; a restart changes nothing.
func TestSteps(t *testing.T) {
	b := NewBook(nil)
	k, code, err := b.Ask(ticket("alice", "al"), start)
	must(t, err)
	found, err := b.Find("a", code, of("alice"), start.Add(time.Minute))
	must(t, err)
	if !b.Take(&found, start.Add(time.Minute)) {
		t.Fatal("not taken")
	}
	found.Step, found.UserHost = StepNick, "a@host"
	next, second, err := b.Next(found, start.Add(time.Minute))
	must(t, err)
	if second == code || next.ID == k.ID || !next.Until.Equal(k.Until) || next.UserHost != "a@host" {
		t.Errorf("the second step %+v", next)
	}
	old := ticket("bob", "bob")
	old.ID, old.Made, old.Until = "old", start.Add(-time.Hour), start
	after := NewBook(nil)
	if over := after.Load([]Ticket{next, old}, start.Add(2*time.Minute)); len(over) != 1 || over[0] != "old" || len(after.open) != 1 {
		t.Errorf("loaded: %v are over, %d open", over, len(after.open))
	}
	if _, err := after.Find("a", second, of("alice"), start.Add(2*time.Minute)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if ids := after.End(of("alice"), start); len(ids) != 1 || len(after.open) != 0 {
		t.Errorf("ended %v", ids)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no chance") }

func TestNoChanceNoCode(t *testing.T) {
	if k, code, err := NewBook(broken{}).Ask(ticket("alice", "al"), start); err == nil || code != "" || k.ID != "" {
		t.Errorf("%+v, %q, %v", k, code, err)
	}
}

func TestSentence(t *testing.T) {
	const code = "aaaa-bbbb-cccc-dddd-2345"
	until := start.Add(Life).Truncate(time.Second)
	nick, anon, room, link := ticket("alice", "al[x]`"), ticket("alice", "al"), ticket("alice", ""), ticket("alice", "al")
	anon.Account = ""
	room.Network, room.Target = "", "finance@rooms.corp.example"
	link.Kind = Link
	const end = ": nonce aaaa-bbbb-cccc-dddd-2345, good once, until 2026-11-22 10:10:00 UTC."
	all := []struct {
		t    Ticket
		want string
	}{
		{nick, "I ask bridge@corp.example to invite the nick al[x]` (account alice) to #finance on corp" + end},
		{anon, "I ask bridge@corp.example to invite the nick al (without an account) to #finance on corp" + end},
		{room, "I ask bridge@corp.example to let alice@corp.example into finance@rooms.corp.example" + end},
		{link, "I want the IRC account alice on corp to act as alice for bridge@corp.example" + end},
	}
	for i := range all {
		k := &all[i].t
		k.Until = until
		got := Sentence(k, code)
		if got != all[i].want {
			t.Errorf("sentence\n%s\nwant\n%s", got, all[i].want)
		}
		if CodeIn(got) != code || CodeIn(strings.ReplaceAll(got, " ", "\n")) != code {
			t.Errorf("the nonce of %q is not found", got)
		}
		for j := range all {
			if says := Says(&all[j].t, code, got); says != (i == j) && !(i != j && all[j].t.Until.IsZero()) {
				t.Errorf("%q counts as %q: %v", got, all[j].want, says)
			}
		}
		for _, other := range []string{got + " x", "x " + got, got + got, strings.TrimSuffix(got, "."), strings.Replace(got, code, "aaaa-bbbb-cccc-dddd-2346", 1), strings.ReplaceAll(got, " ", ""), ""} {
			if Says(k, code, other) {
				t.Errorf("%q counts as %q", other, got)
			}
		}
		if !Says(k, code, "  "+strings.ReplaceAll(got, " ", "\n\t ")+"\n") {
			t.Error("broken lines do not count")
		}
	}
	for _, text := range []string{"", "nonce", "nonce x,", "nonce AAAA-bbbb-cccc-dddd-0189,", "a nonce aaaa-bbbb-cccc-dddd-23451"} {
		if got := CodeIn(text); got != "" {
			t.Errorf("CodeIn(%q) = %q", text, got)
		}
	}
}

// FuzzSays: no other text passes for a ticket's sentence, and a nonce that is found is
// one.
func FuzzSays(f *testing.F) {
	const code = "aaaa-bbbb-cccc-dddd-2345"
	k := ticket("alice", "al")
	k.Until = start.Add(Life)
	want := Sentence(&k, code)
	f.Add(want)
	f.Add("x " + want)
	f.Add(strings.ReplaceAll(want, " ", "\u00a0"))
	f.Add("nonce " + code)
	f.Fuzz(func(t *testing.T, text string) {
		if Says(&k, code, text) && strings.Join(strings.Fields(text), " ") != want {
			t.Fatalf("%q counts", text)
		}
		if c := CodeIn(text); c != "" && (!IsCode(c) || !strings.Contains(text, c)) {
			t.Fatalf("%q has the nonce %q", text, c)
		}
	})
}

// Strangers who come by the thousand and guess wear nobody out but strangers.
func TestStrangersTireNobody(t *testing.T) {
	b := NewBook(nil)
	_, code, err := b.Ask(ticket("alice", "al"), start)
	must(t, err)
	for i := range maxRates + MaxTries {
		_, _ = b.Find(fmt.Sprint("irc corp/e", i, "@host"), "guess", of("alice"), start)
	}
	if !b.Tired("irc corp/another@host", start) {
		t.Error("strangers guess without end")
	}
	if _, err := b.Find("person alice", code, of("alice"), start); err != nil {
		t.Errorf("alice: %v", err)
	}
	if _, _, err := b.Ask(ticket("bob", "bob"), start); err != nil {
		t.Errorf("bob: %v", err)
	}
}
