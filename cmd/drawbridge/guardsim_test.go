package main

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/bridge/link"
	"drawbridge/policy"
)

// TestSimulation: each act on which other rules decide otherwise is printed, with what they
// would decide and why; acts that were no decision are not counted.
func TestSimulation(t *testing.T) {
	plain := policy.NewIRCFacts("corp", "eve", "eve", "10.0.0.7")
	plain.TLS, plain.Account = policy.IsNot("WHOX", noon), policy.IsNot("extended-join", noon)
	good := plain
	good.TLS = policy.Is("", "WHOX", noon)
	acts := []guard.Act{
		{At: noon, Room: "finance", Place: "corp/#finance", Who: "eve!eve@10.0.0.7", Effect: policy.Kick, Basis: policy.ByRule, Rule: "tls-only", Acts: "kick", Facts: plain, Actor: "guard", Result: "sent"},
		{At: noon, Room: "finance", Place: "corp/#finance", Who: "eve!eve@10.0.0.7", Facts: good, Actor: "guard", Result: "let in"},
		{At: noon, Room: "finance", Acts: "enable", Actor: "alice"},
	}
	spec := policy.Spec{Rooms: []policy.Room{{Name: "finance"}}, Rules: []policy.Rule{{ID: "tls-asked", Do: []policy.Do{policy.Join}, If: policy.If{TLS: policy.No}, Effect: policy.Alert}}}
	out, err := guard.Replay(spec, iter.Seq2[guard.Act, error](func(yield func(guard.Act, error) bool) {
		for _, a := range acts {
			if !yield(a, nil) {
				return
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	g := &globals{streams: streams{out: &text}}
	if err := g.printSimulation(&out); err != nil {
		t.Fatal(err)
	}
	const want = `2026-11-22 12:00:00  corp/#finance  eve!eve@10.0.0.7  join -> kick by tls-only (sent)
  now: alert
2026-11-22 12:00:00 corp/#finance  join by eve!eve@10.0.0.7  -> ALERT (it was kick)
  who      not known: no account (extended-join), certificate not known
  facts    tls=no (WHOX, 0s old)
  matched  tls-asked tls is false -> alert   <- decided
  default  allow (room finance)
2 decisions read, 1 decided otherwise
`
	if text.String() != want {
		t.Errorf("printed\n%s, want\n%s", text.String(), want)
	}
	text.Reset()
	g.json = true
	if err := g.printSimulation(&out); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Read        int
		Differences []struct {
			Act          guard.Act
			Effect, Rule string
		}
	}
	if err := json.Unmarshal(text.Bytes(), &doc); err != nil || doc.Read != 2 || len(doc.Differences) != 1 || doc.Differences[0].Effect != "alert" || doc.Differences[0].Rule != "tls-asked" || doc.Differences[0].Act.Rule != "tls-only" {
		t.Errorf("%v: %s", err, text.String())
	}
}

const simulated = `networks: {corp: {server: "irc.corp.example:6697", nick: bridge}}
store: {memory: true}
rooms: {finance: {irc: {network: corp, channel: "#finance"}, default: allow, dry_run: false}}
rules: [{id: tls-only, do: join, if: {tls: false}, effect: kick}]
`

// TestSimulateInAChat: the audit of a guard that has kicked, judged by the rules of a
// file that an admin names in their chat; and what such a name cannot reach, or show.
func TestSimulateInAChat(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	secret := "hunter2"
	for path, text := range map[string]string{
		filepath.Join(home, "drawbridge.yaml"): simulated,
		filepath.Join(home, "milder.yaml"):     strings.Replace(simulated, "effect: kick", "effect: quarantine", 1),
		filepath.Join(home, "same.yml"):        simulated,
		filepath.Join(home, "broken.yaml"):     "password: " + secret + "\nnetworks: {" + secret + ": [",
		filepath.Join(home, "notes.txt"):       secret,
		filepath.Join(home, ".hidden.yaml"):    simulated,
		filepath.Join(outside, "milder.yaml"):  simulated,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(home, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &bot{path: filepath.Join(home, "drawbridge.yaml"), log: newQuiet(), links: link.New(link.Config{}, link.Deps{})}
		spec, err := b.besideSpec("drawbridge.yaml")
		if err != nil {
			t.Fatal(err)
		}
		place := bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#finance"}
		leg := guardtest.NewLeg("corp", "irc")
		leg.Open(place)
		g, err := guard.New(guard.Config{Policy: spec, Rooms: []guard.Room{{Name: "finance", Channel: place}}, Legs: []bridge.Enforcer{leg}}, guard.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		leg.Ready(place)
		for _, nick := range []string{"eve", "alice"} {
			f := policy.NewIRCFacts("corp", nick, nick, nick+".example")
			f.Account, f.Cert, f.TLS = policy.IsNot("extended-join", time.Now()), policy.IsNot("276", time.Now()), policy.IsNot("WHOX", time.Now())
			if nick == "alice" {
				f.TLS = policy.Is("", "WHOX", time.Now())
			}
			leg.Join(place, f)
		}
		time.Sleep(time.Minute)
		d := guardDesk{orders: func() guard.Orders { return g }, other: b.besideSpec}
		order := func(words ...string) string {
			return d.Order(context.Background(), bridge.Order{Verb: "simulate", Args: words, Person: "alice"})
		}
		got := order("milder.yaml")
		for _, want := range []string{
			"2 decisions read, 1 decided otherwise\n", "eve!eve@eve.example  join -> kick by tls-only: withhold+kick (sent", "\n  now: quarantine\n", "-> QUARANTINE (it was kick)", "  matched  tls-only tls is false -> quarantine   <- decided",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		if strings.Contains(got, "alice!") {
			t.Errorf("she was let in as she is now:\n%s", got)
		}
		for _, tt := range []struct{ words, want string }{
			{"same.yml", "2 decisions read, 0 decided otherwise"},
			{"milder.yaml --who nobody", "0 decisions read, 0 decided otherwise"},
			{"milder.yaml --room attic", "0 decisions read, 0 decided otherwise"},
			{"broken.yaml", "Not done: " + errUnfit.Error() + "."},
			{"notes.txt", "Not done: " + errBeside.Error() + "."},
			{".hidden.yaml", "Not done: " + errBeside.Error() + "."},
			{"missing.yaml", "Not done: " + errNoFile.Error() + "."},
			{"folder.yaml", "Not done: " + errNoFile.Error() + "."},
			{"../" + filepath.Base(outside) + "/milder.yaml", "Not done: " + errBeside.Error() + "."},
			{filepath.Join(outside, "milder.yaml"), "Not done: " + errBeside.Error() + "."},
			{"milder.yaml\\..\\x.yaml", "Not done: " + errBeside.Error() + "."},
		} {
			if got := order(strings.Fields(tt.words)...); got != tt.want || strings.Contains(got, secret) {
				t.Errorf("%s: %s, want %s", tt.words, got, tt.want)
			}
		}
		for range 100 { // more than a chat takes
			f := policy.NewIRCFacts("corp", "eve", "eve", "eve.example")
			f.Account, f.TLS = policy.IsNot("extended-join", time.Now()), policy.IsNot("WHOX", time.Now())
			leg.Join(place, f)
			time.Sleep(time.Minute)
		}
		if got := order("milder.yaml"); strings.Count(got, "\n") > chatLines+1 || !strings.Contains(got, " lines more") && !strings.Contains(got, " more") || !strings.HasPrefix(got, "102 decisions read, 101 decided otherwise\n") {
			t.Errorf("%d lines:\n%s", strings.Count(got, "\n"), got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
