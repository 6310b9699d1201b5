package main

import (
	"bytes"
	"encoding/json"
	"iter"
	"testing"

	"drawbridge/bridge/guard"
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
