package main

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/config"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
	"drawbridge/xmpp/trust"
)

// TestFetchSchedule: each key soon after the start, then about once a day, one at a
// time; who is no longer wanted is forgotten.
func TestFetchSchedule(t *testing.T) {
	start := time.Now()
	due := map[string]time.Time{}
	list := []wanted{{fpr: "A"}, {fpr: "B"}}
	asked := map[string][]time.Time{}
	for now := start; now.Before(start.Add(10 * 24 * time.Hour)); now = now.Add(fetchTick) {
		if w, ok := nextWanted(list, due, now); ok {
			asked[w.fpr] = append(asked[w.fpr], now)
		}
	}
	for _, w := range list {
		times := asked[w.fpr]
		if len(times) < 8 || len(times) > 14 || times[0].Sub(start) > fetchFirst+2*fetchTick {
			t.Errorf("%s was asked for %d times in ten days, first after %v", w.fpr, len(times), times[0].Sub(start))
		}
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < fetchEvery*3/4 || d > fetchEvery*5/4+2*fetchTick {
				t.Errorf("%s after %v", w.fpr, d)
			}
		}
	}
	if nextWanted(list[:1], due, start); len(due) != 1 {
		t.Errorf("%d keys are remembered", len(due))
	}
}

// TestKeysThatCountAreWatched: not only those of the config are fetched, checked and
// warned of.
func TestKeysThatCountAreWatched(t *testing.T) {
	c := &config.Config{
		People:  []config.Person{{Name: "bob", JIDs: []string{"bob@corp.example"}, OpenPGP: []string{strings.Repeat("1", 40)}}},
		Bridges: []config.Bridge{{Name: "dev", XMPP: &config.BridgeXMPP{Account: "bot", People: []string{"bob"}}}},
	}
	book, err := trust.New(t.Context(), trustConfig(c), trust.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	accepted := strings.Repeat("2", 40)
	if _, err := book.Accept(t.Context(), trust.Decision{Person: "bob", Kind: e2ee.KeyOpenPGP, Fingerprint: accepted, How: e2ee.HowAdmin}); err != nil {
		t.Fatal(err)
	}
	ring, err := openpgp.NewKeyring(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := &keys{ring: ring, book: book}
	if list := wantedKeys(c, k); len(list) != 2 || list[1].fpr != accepted {
		t.Errorf("fetched: %v", list)
	}
	if list := k.report(c); len(list) != 2 || list[1].Fingerprint != accepted || !strings.Contains(list[1].Problem, "not in the keyring") {
		t.Errorf("reported: %v", list)
	}
	if list, _ := k.check(c); len(list) != 2 {
		t.Errorf("checked: %v", list)
	}
	c.Bridges[0].Schemes = []string{"ox"}
	if list, awaited := k.check(c); len(list) != 0 || len(awaited) != 2 {
		t.Errorf("checked, with OX: %v, %v", list, awaited)
	}
}
