package store

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"drawbridge/bridge"
)

// TestConfirmRuns: rows that follow each other end by one statement, and each is
// counted, mapped and deleted as if it had one of its own.
func TestConfirmRuns(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	var rows []*bridge.Row
	for i := range 12 {
		r := testRow(fmt.Sprintf("w%02d", i), "text")
		if i >= 9 {
			r.Bridge = "ops"
		}
		rows = append(rows, r)
	}
	e := testEntry("1", rows...)
	e.Counts = []bridge.Count{{Bridge: "dev", Copies: 9}, {Bridge: "ops", Copies: 3}}
	mustIngest(t, s, e)
	done := func(i int, f bridge.Fate, netID string) bridge.Done {
		r := rows[i]
		return bridge.Done{Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, To: r.To, Fate: f, NetID: netID}
	}
	ends := []bridge.Done{
		done(0, bridge.FateRelayed, ""), done(1, bridge.FateRelayed, ""), done(2, bridge.FateRelayed, "n2"), done(3, bridge.FateRelayed, "n3"),
		done(5, bridge.FateAcked, ""), done(6, bridge.FateAcked, ""), done(7, bridge.FateBounced, ""), done(6, bridge.FateUnread, ""),
		done(8, bridge.FateRelayed, ""), done(9, bridge.FateRelayed, ""), done(10, bridge.FateDead, ""), done(11, bridge.FateDead, ""),
		{Seq: rows[11].Seq + 1, Bridge: "ops", Fate: bridge.FateDead},
	}
	ends[7].Unproven = true
	for range 2 { // what has ended already is not counted again
		if err := s.Confirm(t.Context(), ends); err != nil {
			t.Fatal(err)
		}
		ends = slices.DeleteFunc(ends, func(d bridge.Done) bool { return d.Fate == bridge.FateAcked || d.Fate == bridge.FateUnread })
	}
	got, err := ledgers(t.Context(), s.read)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][6]uint64{"dev": {5, 1, 0, 1, 1, 2}, "ops": {1, 0, 2, 0, 0, 0}} {
		l := got[name]
		if have := [6]uint64{l.Relayed, l.Bounced, l.Dead, l.Unproven, l.Unread, waitingOf(t, s, name)}; have != want {
			t.Errorf("%s: relayed, bounced, dead, unproven, unread, waiting %v, want %v", name, have, want)
		}
	}
	mapped, err := s.read.QueryContext(context.Background(), "SELECT wire_id || '=' || net_id FROM msgmap ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mapped.Close() }()
	var pairs []string
	for mapped.Next() {
		var p string
		if err := mapped.Scan(&p); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	if want := []string{"w00=", "w01=", "w02=n2", "w03=n3", "w08=", "w09="}; mapped.Err() != nil || !slices.Equal(pairs, want) {
		t.Errorf("mapped %v, want %v (%v)", pairs, want, mapped.Err())
	}
}

func waitingOf(t *testing.T, s *Store, bridge string) (n uint64) {
	t.Helper()
	if err := s.read.QueryRow("SELECT count(*) FROM outbox WHERE bridge = ? AND state IN (0, 1)", bridge).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
