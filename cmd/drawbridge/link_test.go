package main

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
	"drawbridge/bridge/link"
	"drawbridge/bridge/migrate"
	"drawbridge/bridge/move"
	"drawbridge/policy"
)

// linkBook has alice, with an account of each kind: linked, waiting.
func linkBook(t *testing.T) *link.Book { return linkBookIn(t, guard.NewMemory()) }

func linkBookIn(t *testing.T, store link.Store) *link.Book {
	t.Helper()
	now := time.Now()
	return link.New(link.Config{People: []*policy.Person{{Name: "alice", Groups: []string{"staff"}}}}, link.Deps{
		Store: store, Kept: guard.Kept{Links: []guard.Link{
			{ID: "1", Person: "alice", Network: "corp", Account: "al", Made: now, Used: now, By: "root"},
			{ID: "2", Person: "alice", Network: "corp", Account: "ali", Made: now, Used: now, Waits: now.Add(time.Hour)},
		}},
	})
}

// TestLinkOrders: what admins may order about links, without a guarded room too.
func TestLinkOrders(t *testing.T) {
	book := linkBook(t)
	d := guardDesk{orders: func() guard.Orders { return nil }, links: book}
	day := time.Now().UTC().Format(time.DateOnly)
	until := time.Now().UTC().Add(time.Hour).Format(time.DateOnly)
	for _, tt := range []struct{ verb, words, by, answer string }{
		{"links", "", "bob", "alice: corp/al since " + day + ", agreed to by root\nalice: corp/ali, proven, waits for an admin until " + until},
		{"link", "alice corp/ali", "alice", "Not done: another admin has to agree, or the machine."},
		{"link", "alice ali", "bob", "Not done: write the account as NETWORK/ACCOUNT."},
		{"link", "alice corp/al", "bob", "Not done: nothing of that kind is there: alice has not proven that corp/al is theirs, or that was agreed to; drawbridge guard links."},
		{"link", "alice corp/ali", "bob", "corp/ali is alice from now on"},
		{"unlink", "corp/al", "bob", "corp/al is not alice any more"},
		{"unlink", "corp/al", "bob", "Not done: nothing of that kind is there: corp/al is linked to nobody; drawbridge guard links."},
		{"links", "", "bob", "alice: corp/ali since " + day + ", agreed to by bob"},
	} {
		if got := d.Order(t.Context(), bridge.Order{Verb: tt.verb, Args: strings.Fields(tt.words), Person: tt.by}); got != tt.answer && time.Now().UTC().Format(time.DateOnly) == day {
			t.Errorf("%s %s: %q, want %q", tt.verb, tt.words, got, tt.answer)
		}
	}
}

// fullDisk is a store of a full disk.
type fullDisk struct{ *guard.Memory }

func (fullDisk) Drop(context.Context, ...string) error { return errors.New("no space left on device") }

// TestUnlinkedOnAFullDisk: it has ended, and the admin hears what that is worth.
func TestUnlinkedOnAFullDisk(t *testing.T) {
	book := linkBookIn(t, fullDisk{guard.NewMemory()})
	d := guardDesk{orders: func() guard.Orders { return nil }, links: book}
	const want = "corp/al is not alice any more, but that cannot be written down: the store fails, and a restart would bring it back. It is tried again"
	if got := d.Order(t.Context(), bridge.Order{Verb: "unlink", Args: []string{"corp/al"}, Person: "bob"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, ok := book.Of("corp", "al"); ok {
		t.Error("it still holds")
	}
}

// invites is a bridge.Proofs that takes what begins with invite.
type invites struct{}

func (invites) Claims(_, text string) bool { return strings.HasPrefix(text, "invite ") }

func (invites) Prove(context.Context, *bridge.Claim) string { return "invited" }

// TestProofsAreTold apart: each goes to who asked for it.
func TestProofsAreToldApart(t *testing.T) {
	d := proofDesk{linkBook(t), invites{}}
	for text, want := range map[string]string{
		"!link list": "alice: corp/al", "!LINK": "alice: corp/al", "!invite corp/#finance al": "invited", "invite corp/#finance al": "invited",
	} {
		if got := d.Prove(t.Context(), &bridge.Claim{Text: text, Person: "alice"}); !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
	if !d.Claims("alice", "invite x y") || d.Claims("alice", "hello") {
		t.Error("claims are not those of either")
	}
	if got := (proofDesk{links: linkBook(t)}).Prove(t.Context(), &bridge.Claim{Text: "!invite x y", Person: "alice"}); got != "Nobody is invited here." {
		t.Errorf("without a guard: %q", got)
	}
}

// open is a gate that lets everything in.
type open struct{ bridge.Gate }

func (open) In(*bridge.Message, time.Time) bridge.Ruling { return bridge.Ruling{} }

// TestLinkedAccountsAreThePersons: in what the core and the policy take, and only
// those that hold.
func TestLinkedAccountsAreThePersons(t *testing.T) {
	c := guardedFull()
	book := linkBook(t)
	for _, p := range coreConfig(c, nil, book).People {
		if p.Name == "alice" && !slices.Contains(p.IRC["corp"].Accounts, "al") || slices.Contains(p.IRC["corp"].Accounts, "ali") {
			t.Errorf("%s has %v", p.Name, p.IRC["corp"].Accounts)
		}
	}
	seenGate{open{}, book}.In(&bridge.Message{Room: bridge.Room{Leg: "corp"}, From: bridge.Sender{Account: "AL"}}, time.Now())
	if got := linked([]*policy.Person{{Name: "bob"}}, nil); len(got) != 1 || got[0].Name != "bob" {
		t.Errorf("without a book: %v", got)
	}
}

// TestKeysAreFreshForProofs: before a proof is judged, the keys are looked at as they are;
// the answer to a test message of !move needs none.
func TestKeysAreFreshForProofs(t *testing.T) {
	looked := false
	judged := judge(func() bool { return looked })
	p := moveProofs{judged, move.New(move.Deps{Store: migrate.NewMemory()}), func() { looked = true }}
	if got := p.Prove(t.Context(), &bridge.Claim{Text: "!move CODE", Person: "alice"}); looked || !strings.Contains(got, "Nothing is asked of you") {
		t.Errorf("%q, looked at the keys: %v", got, looked)
	}
	if got := p.Prove(t.Context(), &bridge.Claim{Text: "!link CODE", Person: "alice"}); got != "judged by keys as they are: true" {
		t.Error(got)
	}
}

// judge is a bridge.Proofs that says whether it is so.
type judge func() bool

func (judge) Claims(string, string) bool { return false }
func (j judge) Prove(context.Context, *bridge.Claim) string {
	return fmt.Sprint("judged by keys as they are: ", j())
}
