package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// sentry is a guard.Orders that writes down what it is ordered.
type sentry struct {
	guard.Orders
	did  []string
	err  error
	acts []guard.Act
}

var (
	noon     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	finance  = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#finance"}
	financeM = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "finance@rooms.corp.example"}
)

func (s *sentry) note(format string, args ...any) error {
	s.did = append(s.did, fmt.Sprintf(format, args...))
	return s.err
}

func (s *sentry) Status() guard.Status {
	return guard.Status{Now: noon, Bans: 2, Acts: 1, Lost: 3, Rooms: []guard.RoomStatus{
		{
			Name: "finance", Armed: true, Shut: noon.Add(time.Hour), Did: map[string]uint64{"kick": 3, "ban": 1}, Alarms: []string{"the store fails"},
			Places: []guard.PlaceStatus{
				{Room: finance, Ready: true, Holds: true, Looked: noon, Present: 12, Quarantined: 1, ServicesDown: true, Cannot: []string{"who is logged in"}, Plan: []string{"MODE #finance +R"}},
				{Room: financeM, Ready: true, Looked: noon, Present: 2},
			},
		},
		{Name: "lobby", Shut: noon.Add(-time.Hour), Places: []guard.PlaceStatus{{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#lobby"}}}},
	}}
}

func (s *sentry) Explain(who, room string, do policy.Do) (string, error) {
	return "why\n", s.note("explain %s %s %s", who, room, do)
}

func (s *sentry) Enable(_ context.Context, room, by string) error {
	return s.note("enable %s by %s", room, by)
}

func (s *sentry) Disable(_ context.Context, room, by string) error {
	return s.note("disable %s by %s", room, by)
}

func (s *sentry) Ban(_ context.Context, o guard.BanOrder) (policy.BanRecord, error) {
	return policy.BanRecord{ID: "b1", Person: o.Who, Until: noon}, s.note("ban %s from %q for %s: %q by %s", o.Who, o.Room, o.For, o.Reason, o.By)
}

func (s *sentry) Forgive(_ context.Context, who, by string) (int, error) {
	return 2, s.note("forgive %s by %s", who, by)
}

func (s *sentry) Lockdown(_ context.Context, room string, last time.Duration, by string) (time.Time, error) {
	return noon, s.note("lockdown %s %s by %s", room, last, by)
}

func (s *sentry) DropOwner(_ context.Context, room, jid, by string) error {
	return s.note("drop-owner %s %s by %s", room, jid, by)
}

func (s *sentry) Destroy(_ context.Context, o guard.DestroyOrder) error {
	return s.note("destroy %+v", o)
}

func (s *sentry) RotateKey(_ context.Context, room, by string) error {
	return s.note("rotate-key %s by %s", room, by)
}

func (s *sentry) Key(person, room string) (string, error) {
	return "sesame", s.note("key %s of %s", room, person)
}

func (s *sentry) Audit(_ context.Context, q guard.Query) iter.Seq2[guard.Act, error] {
	_ = s.note("audit %s %s %d", q.Who, q.Room, q.Last)
	return func(yield func(guard.Act, error) bool) {
		for _, a := range s.acts {
			why := error(nil)
			if a.Actor == "break" {
				why = guard.ErrChain
			}
			if !yield(a, why) {
				return
			}
		}
	}
}

// TestGuardInChats: what an admin may write, what the guard is told, and what comes back.
func TestGuardInChats(t *testing.T) {
	for _, tt := range []struct {
		verb, words string
		did         string // "": nothing
		answer      string
	}{
		{"explain", "eve finance", "explain eve finance join", "why"},
		{"explain", "eve corp/#FINANCE speak", "explain eve finance speak", "why"},
		{"explain", "eve finance fly", "", `Not done: "fly" is not one of [join speak op voice invite relay-in relay-out command].`},
		{"explain", "eve", "", "Not done: it takes other words. !guard explain WHO ROOM [ACTION]"},
		{"enable", "#finance", "enable finance by alice", "finance is armed: its rules are carried out"},
		{"disable", "finance@rooms.corp.example", "disable finance by alice", "finance is in dry run: the guard only says what it would do"},
		{"enable", "", "", "Not done: it takes other words. !guard enable ROOM"},
		{"ban", "eve --for 2h --room corp/#finance --reason come back later", `ban eve from "finance" for 2h0m0s: "come back later" by alice`, "eve is banned from every guarded room until 2026-11-22 12:00 UTC (b1)"},
		{"ban", "eve —for 30d", `ban eve from "" for 720h0m0s: "" by alice`, "eve is banned from every guarded room until 2026-11-22 12:00 UTC (b1)"},
		{"ban", "eve --for ever", "", `Not done: invalid argument "ever" for "--for" flag: "ever" is not a duration; write a number with s, m, h or d, as 30s, 8h or 30d. !guard ban WHO`},
		{"ban", "eve --for 0", "", `Not done: invalid argument "0" for "--for" flag: more than nothing. !guard ban WHO`},
		{"ban", "eve --maximum", "", "Not done: unknown flag: --maximum. !guard ban WHO"},
		{"forgive", "eve", "forgive eve by alice", "2 bans of eve ended"},
		{"lockdown", "finance", "lockdown finance 0s by alice", "finance is shut until 2026-11-22 12:00 UTC"},
		{"lockdown", "finance --for 10m", "lockdown finance 10m0s by alice", "finance is shut until 2026-11-22 12:00 UTC"},
		{"lockdown", "finance --off", "lockdown finance -1ns by alice", "finance is open again"},
		{"lockdown", "finance --off --for 1h", "", "Not done: either for a time, or off."},
		{"drop-owner", "finance mallory@x", "drop-owner finance mallory@x by alice", "mallory@x is not owner of finance any more"},
		{"destroy", "corp/#finance --venue new@rooms.x --bridged --reason we moved house", "destroy {Room:finance Venue:new@rooms.x Reason:we moved house Bridged:true By:alice}", "the Jabber room of finance is gone; take it out of the configuration now: a bot that starts with it makes it anew"},
		{"destroy", "", "", "Not done: it takes other words. !guard destroy ROOM"},
		{"rotate-key", "finance", "rotate-key finance by alice", "the channel of finance gets another key, and who may join is told it"},
		{"key", "corp/#finance", "key finance of alice", "sesame"},
		{"audit", "", "audit   20", "nothing of that kind was done"},
		{"audit", "--who eve --room attic --last 5", "audit eve attic 5", "nothing of that kind was done"},
		{"simulate", "", "", "Not done: it takes other words. !guard simulate FILE"},
		{"simulate", "/etc/drawbridge/new.yaml", "", "Not done: name a file beside the configuration in use, as new.yaml, without a folder."},
		{"fly", "", "", "Not done: that is ordered on the machine."},
	} {
		t.Run(tt.verb+" "+tt.words, func(t *testing.T) {
			s := &sentry{}
			d := guardDesk{orders: func() guard.Orders { return s }, other: (&bot{path: "drawbridge.yaml"}).besideSpec}
			got := d.Order(t.Context(), bridge.Order{Verb: tt.verb, Args: strings.Fields(tt.words), Person: "alice"})
			if did := strings.Join(s.did, "; "); did != tt.did || got != tt.answer {
				t.Errorf("did %q, want %q; answered\n%s, want\n%s", did, tt.did, got, tt.answer)
			}
		})
	}
}

// TestGuardRefuses: what is not done is told with the way out.
func TestGuardRefuses(t *testing.T) {
	for _, tt := range []struct {
		err    error
		answer string
	}{
		{guard.ErrSecond, "Not done: needs a second admin, who gives the same order within 10 minutes; another admin gives the same order, here or by !guard in their encrypted chat."},
		{fmt.Errorf("%w: attic", guard.ErrNoRoom), "Not done: no such room is guarded: attic; drawbridge guard status lists them."},
		{errors.New("guard: odd"), "Not done: odd."},
	} {
		s := &sentry{err: tt.err}
		if got := (guardDesk{orders: func() guard.Orders { return s }}).Order(t.Context(), bridge.Order{Verb: "enable", Args: []string{"attic"}, Person: "alice"}); got != tt.answer {
			t.Errorf("%s, want %s", got, tt.answer)
		}
	}
	// Of what was provisioned, and of rooms that were, the audit is shown all the same.
	unguarded, err := guard.New(guard.Config{}, guard.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	bare := guardDesk{orders: func() guard.Orders { return unguarded }}
	if got := bare.Order(t.Context(), bridge.Order{Verb: "audit"}); got != "nothing of that kind was done" {
		t.Errorf("the audit without rooms: %s", got)
	}
	if got := bare.Order(t.Context(), bridge.Order{Verb: "status"}); !strings.Contains(got, "no room is guarded; add rooms:") {
		t.Errorf("status without rooms: %s", got)
	}
	none := guardDesk{orders: func() guard.Orders { return nil }}
	if got := none.Order(t.Context(), bridge.Order{Verb: "status"}); got != "Not done: no room is guarded; add rooms: to the configuration, and reload." {
		t.Errorf("without rooms: %s", got)
	}
}

func TestGuardStatusText(t *testing.T) {
	s := (&sentry{}).Status()
	want := `finance: armed, shut until 2026-11-22 13:00 UTC, since the start 1 ban, 3 kick
  corp/#finance: held, 12 there, 1 in quarantine, services are down: nobody is removed for lack of an account
    cannot be kept here: who is logged in
    to change: MODE #finance +R
  bot/finance@rooms.corp.example: NOT HELD: the bot is not owner, 2 there
  ! the store fails
lobby: dry run
  corp/#lobby: not joined
2 bans in force
! the store is slow or fails: for the audit 1 wait, 3 are lost`
	if got := statusText(&s); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := statusText(&guard.Status{}); got != "no room is guarded" {
		t.Errorf("without rooms: %s", got)
	}
}

// TestAuditComesInPages: all of it, each act once, with the breaks of the chain.
func TestAuditComesInPages(t *testing.T) {
	s := &sentry{acts: make([]guard.Act, 2*pageActs+3)}
	for i := range s.acts {
		s.acts[i].Seq = int64(i + 1)
	}
	s.acts[4].Actor = "break"
	o := findGuardOrder("audit")
	var got []int64
	breaks := 0
	for a := (guardArgs{}); ; a.After = got[len(got)-1] {
		out, err := o.carryOut(t.Context(), guardOn{Orders: s}, a, "alice")
		if err != nil {
			t.Fatal(err)
		}
		page := out.Result.(auditPage)
		breaks += len(page.Broken)
		for _, act := range page.Acts {
			got = append(got, act.Seq)
		}
		if !page.More {
			break
		}
	}
	if len(got) != 2*pageActs+2 || got[0] != 1 || got[len(got)-1] != 2*pageActs+3 || breaks != 1 {
		t.Errorf("%d acts, %d breaks", len(got), breaks)
	}
}

// TestGuardTables: each order is in the tables of both packages.
func TestGuardTables(t *testing.T) {
	var names []string
	for _, o := range guardOrders() {
		names = append(names, o.name)
		if guardHelp[o.name][1] == "" && !o.chat {
			t.Errorf("%s has no help", o.name)
		}
	}
	if want := []string{"status", "explain", "enable", "disable", "ban", "forgive", "lockdown", "drop-owner", "destroy", "rotate-key", "key", "links", "link", "unlink", "audit", "simulate"}; !reflect.DeepEqual(names, want) {
		t.Errorf("orders %v, want %v", names, want)
	}
}
