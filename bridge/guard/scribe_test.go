package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
)

// testScribe is a scribe that nobody runs, and what the admins were told.
func testScribe(s Store) (*scribe, *[]string) {
	var told []string
	a := &alarms{tell: func(text string) { told = append(told, text) }, log: slog.New(slog.DiscardHandler), told: map[string]time.Time{}}
	now := time.Now()
	return newScribe(s, a.log, func(matter, text string) { a.raise(matter, text, matter == matterLost, now) }, a.over), &told
}

// ordered is an act that counts, and seenAct one on somebody: a person, or nobody known.
func ordered(n int) *Act { return &Act{Actor: "alice", Acts: fmt.Sprint("order ", n)} }

func seenAct(person string) *Act {
	return &Act{Actor: actorGuard, Person: person, Facts: policy.NewIRCFacts("corp", "eve", "e", "h")}
}

// While the store fails no more than so many acts wait; the oldest go, and are counted.
// Strangers push out nobody's but their own, and the admins are told once.
func TestActsThatWaitAreBounded(t *testing.T) {
	store := NewMemory()
	s, told := testScribe(store)
	for i := range 50 {
		s.note(ordered(i))
		s.note(seenAct("bob"))
		for range 2*maxNameless/50 + 1 {
			s.note(seenAct(""))
		}
	}
	lost := uint64(50*(2*maxNameless/50+1) - maxNameless)
	if n, got := s.waiting(); n != 100+maxNameless || got != lost {
		t.Errorf("%d wait, %d are lost, want %d and %d", n, got, 100+maxNameless, lost)
	}
	if len(*told) != 1 || !strings.Contains((*told)[0], "is lost") {
		t.Errorf("told %q", *told)
	}
	if err := s.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	var orders []string
	persons, nameless := 0, 0
	for a, err := range store.Acts(t.Context(), Query{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case a.Actor == "alice":
			orders = append(orders, a.Acts)
			if len(orders) == 50 && nameless < maxNameless-2*maxNameless/50-1 {
				t.Errorf("out of order: the last order after %d others", nameless)
			}
		case a.Person != "":
			persons++
		default:
			nameless++
		}
	}
	if len(orders) != 50 || orders[0] != "order 0" || orders[49] != "order 49" || persons != 50 || nameless != maxNameless {
		t.Errorf("%d orders, %d of persons, %d of others in the audit", len(orders), persons, nameless)
	}
	if n, _ := s.waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// Acts that wait count up to their bound, of each kind.
func TestEachKindOfActsIsBounded(t *testing.T) {
	for kind, a := range []*Act{ofOrder: ordered(0), ofPerson: seenAct("bob"), ofNameless: seenAct("")} {
		s, _ := testScribe(NewMemory())
		for range mostActs[kind] + 3 {
			s.note(a)
		}
		if n, lost := s.waiting(); n != mostActs[kind] || lost != 3 {
			t.Errorf("kind %d: %d wait, %d are lost", kind, n, lost)
		}
	}
}

// What strangers have written down pushes out nothing that counts.
func TestJobsOfStrangersHaveTheirOwnBound(t *testing.T) {
	s, told := testScribe(NewMemory())
	var kept []string
	keep := func(key string) {
		s.keep(key, func(context.Context, Store) error { kept = append(kept, key); return nil })
	}
	keep("room finance")
	for i := range maxLoose + 10 {
		keep(guestID("lobby", fmt.Sprint("account corp/u", i)))
		keep(mark{timerMute, "b", "corp/#lobby", fmt.Sprint("m:*!*@h", i)}.id())
	}
	keep("ban b1")
	if err := s.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2+maxLoose || kept[0] != "room finance" || kept[1] != "ban b1" || len(s.jobs) != 0 {
		t.Errorf("%d kept, first %q", len(kept), kept[:2])
	}
	if _, lost := s.waiting(); lost != maxLoose+20 || len(*told) != 1 {
		t.Errorf("%d lost, told %q", lost, *told)
	}
}

// failingStore fails for what it says.
type failingStore struct {
	*Memory
	fails func(what string) bool
	did   []string
}

func (f *failingStore) do(what string) error {
	if f.fails != nil && f.fails(what) {
		return errors.New("no space left")
	}
	f.did = append(f.did, what)
	return nil
}

// What was never written need not be forgotten; what may have been is.
func TestAddedAndDroppedIsNothing(t *testing.T) {
	store := &failingStore{Memory: NewMemory(), fails: func(string) bool { return true }}
	s, _ := testScribe(store)
	put := func(id string) keeping { return func(context.Context, Store) error { return store.do("put " + id) } }
	for i := range maxJobs { // a rule bans, and its bans end
		id := fmt.Sprint("b", i)
		s.add("ban "+id, put(id))
		s.drop("ban "+id, id)
	}
	if len(s.jobs)+len(s.order[0]) != 0 {
		t.Errorf("%d jobs wait", len(s.jobs))
	}
	s.add("ban x", put("x"))
	if s.write(t.Context()) == nil { // it may be there, or not
		t.Fatal("it did not fail")
	}
	s.drop("ban x", "x")
	s.add("ban y", put("y"))
	s.drop("ban y", "y")
	s.add("ban y", put("y"))
	store.fails = nil
	must(t, s.write(t.Context()))
	if want := []string{"put y"}; !slices.Equal(store.did, want) || len(s.jobs) != 0 {
		t.Errorf("did %q, want %q", store.did, want)
	}
	must(t, store.PutBan(t.Context(), policy.BanRecord{ID: "z"}))
	s.drop("ban z", "z")
	must(t, s.write(t.Context()))
	if k, _ := store.Load(t.Context()); len(k.Bans) != 0 {
		t.Error("what an earlier process kept was not dropped")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// One change that cannot be kept does not stop the others, nor the audit.
func TestOneThatFailsStopsNoOther(t *testing.T) {
	store := &failingStore{Memory: NewMemory(), fails: func(what string) bool { return what == "bad" }}
	s, _ := testScribe(store)
	for _, key := range []string{"bad", "good", "better"} {
		s.keep(key, func(context.Context, Store) error { return store.do(key) })
	}
	s.note(ordered(1))
	for range 2 {
		if s.write(t.Context()) == nil {
			t.Error("it did not fail")
		}
	}
	if n, _ := s.waiting(); n != 0 || len(s.jobs) != 1 || !slices.Equal(store.did, []string{"good", "better"}) {
		t.Errorf("%d acts, %d jobs wait; did %q", n, len(s.jobs), store.did)
	}
}

// One that fails stops neither what strangers caused, nor, if it is one of those, what counts.
func TestOneThatFailsStopsNoLooseOnes(t *testing.T) {
	guest := func(n int) string { return guestID("lobby", fmt.Sprint("account corp/u", n)) }
	for _, keys := range [][]string{{"ban b1", guest(1), guest(2)}, {guest(1), "ban b1", "room lobby"}} {
		store := &failingStore{Memory: NewMemory(), fails: func(what string) bool { return what == keys[0] }}
		s, _ := testScribe(store)
		for _, key := range keys {
			s.keep(key, func(context.Context, Store) error { return store.do(key) })
		}
		for range 2 {
			if s.write(t.Context()) == nil {
				t.Error("it did not fail")
			}
		}
		if !slices.Equal(store.did, keys[1:]) || len(s.jobs) != 1 {
			t.Errorf("%q fails: did %q, %d wait", keys[0], store.did, len(s.jobs))
		}
	}
}

// What changed while it was written is written again: the last word counts.
func TestLastWordCounts(t *testing.T) {
	s, _ := testScribe(NewMemory())
	var kept []string
	word := func(w string) {
		s.keep("room", func(context.Context, Store) error {
			if kept = append(kept, w); w == "one" {
				s.keep("room", func(context.Context, Store) error { kept = append(kept, "two"); return nil })
			}
			return nil
		})
	}
	word("none")
	word("one")
	must(t, s.write(t.Context()))
	if len(kept) != 2 || kept[0] != "one" || kept[1] != "two" || len(s.jobs)+len(s.order[0]) != 0 {
		t.Errorf("kept %q, %d jobs left", kept, len(s.jobs))
	}
}
