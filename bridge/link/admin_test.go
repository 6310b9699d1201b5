package link_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge/link"
	"drawbridge/policy"
)

// Of people in a group an admin has to agree, and not the same.
func TestAdminAgrees(t *testing.T) {
	for _, mode := range []link.Mode{link.Open, link.Staff} {
		for _, person := range []string{"alice", "dave"} { // by list, by the company's key
			live(t, mode, func(h *house) {
				code := h.code("M", person)
				h.heard()
				has(t, "answer", h.says(person, "!link "+code, policy.Signed), "An admin has to agree")
				has(t, "admins", h.heard(), "admins: "+person+" has proven", "!guard link "+person+" corp/M")
				h.linked(person + "=corp/M waits")
				if _, ok := h.Of("corp", "M"); ok || h.Bind(people[0]) != people[0] {
					t.Error("it holds before anybody agreed")
				}
				h.open() // a new process
				if _, err := h.Accept(h.ctx, person, "corp", "M", person); !errors.Is(err, link.ErrSelf) {
					t.Errorf("agreed to oneself: %v", err)
				}
				if _, err := h.Accept(h.ctx, "bob", "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
					t.Errorf("agreed to another person: %v", err)
				}
				if _, err := h.Accept(h.ctx, person, "corp", "M", "root"); err != nil {
					t.Error(err)
				}
				has(t, "person", h.heard(), person+": An admin agreed")
				h.linked(person + "=corp/M")
				if _, err := h.Accept(h.ctx, person, "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
					t.Errorf("agreed twice: %v", err)
				}
			})
		}
	}
	live(t, link.Staff, func(h *house) { // refused, and forgotten
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		if _, err := h.End("corp", "M", "root", "an admin ended it"); err != nil {
			t.Error(err)
		}
		h.linked()
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		h.linked("alice=corp/M waits")
		time.Sleep(link.WaitsFor + time.Minute)
		h.linked()
	})
}

// Who comes into a group has no account in it that no admin has looked at: not one that
// was linked before, nor one that is being linked, nor after a restart.
func TestGroupComesLater(t *testing.T) {
	staff := *people[1]
	staff.Groups = []string{"staff"}
	now := []*policy.Person{people[0], &staff}
	live(t, link.Open, func(h *house) {
		h.says("alice", "!link "+h.code("A", "alice"), policy.Signed)
		if _, err := h.Accept(h.ctx, "alice", "corp", "A", "root"); err != nil {
			t.Error(err)
		}
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.heard()
		h.cfg.People = now
		h.Reload(h.cfg)
		h.linked("alice=corp/A", "bob=corp/M waits")
		if h.Bind(&staff) != &staff {
			t.Error("it holds before anybody agreed")
		}
		time.Sleep(2 * time.Minute)
		has(t, "admins", h.heard(), "admins: bob is of a group now", "!guard link bob corp/M")
		h.open()
		h.linked("alice=corp/A", "bob=corp/M waits")
		if _, err := h.Accept(h.ctx, "bob", "corp", "M", "root"); err != nil {
			t.Error(err)
		}
		h.Reload(h.cfg)
		h.linked("alice=corp/A", "bob=corp/M")
	})
	live(t, link.Open, func(h *house) {
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.cfg.People = now
		h.open()
		h.linked("bob=corp/M waits")
	})
	live(t, link.Open, func(h *house) {
		code := h.code("M", "bob")
		h.store.meanwhile(func() { go h.Reload(link.Config{Mode: link.Open, People: now}); runtime.Gosched() })
		h.says("bob", "!link "+code, policy.Signed)
		synctest.Wait()
		if _, holds := h.Of("corp", "M"); holds {
			t.Error("it holds, and nobody agreed")
		}
	})
}

// People whose names differ in capitals are two: what is judged of one is not of the
// other.
func TestNamesInCapitals(t *testing.T) {
	live(t, link.Staff, func(h *house) {
		h.cfg.People = []*policy.Person{{Name: "Dora"}, {Name: "dora", Groups: []string{"staff"}}}
		h.Reload(h.cfg)
		h.says("dora", "!link "+h.code("M", "dora"), policy.Signed)
		h.linked("dora=corp/M waits")
		h.code("N", "Dora")
		if told := h.heard(); strings.Contains(told, "Dora: ") {
			t.Errorf("who is in no group is asked: %s", told)
		}
	})
}

// An admin's word for who leaves at that moment links nothing.
func TestAgreedAsTheyLeave(t *testing.T) {
	live(t, link.Open, func(h *house) {
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		h.linked("alice=corp/M waits")
		h.store.meanwhile(func() { h.other(func() { h.EndOf("alice") }) })
		if l, err := h.Accept(h.ctx, "alice", "corp", "M", "carol"); !errors.Is(err, link.ErrNothing) {
			t.Errorf("%+v: %v", l, err)
		}
		h.linked()
		h.Reload(link.Config{Mode: link.Open, People: people[1:]})
		h.linked()
	})
}
