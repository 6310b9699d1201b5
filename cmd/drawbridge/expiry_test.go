package main

import (
	"testing"
	"time"

	"drawbridge/internal/store"
)

// TestExpiryIsToldOnce: a key that ends soon is told of at each step; a restart does
// not tell of it again on the same day.
func TestExpiryIsToldOnce(t *testing.T) {
	st, err := store.Open(store.Config{Dir: t.TempDir()}, store.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ends := now.Add(20 * day)
	all := []keyReport{
		{Person: "alice", Fingerprint: "A", Expires: ends},
		{Person: "bob", Fingerprint: "B", Expires: now.Add(900 * day)},
		{Person: "carol", Fingerprint: "C"},
	}
	var b *bot
	var warned map[string]warning
	for _, step := range []struct {
		name  string
		start bool
		after time.Duration
		want  int
	}{
		{"at the start", true, 0, 1},
		{"later", false, time.Hour, 0},
		{"a restart on the same day", true, 2 * time.Hour, 0},
		{"and later", false, 3 * time.Hour, 0},
		{"a restart on the next day", true, 25 * time.Hour, 1},
		{"the next step", false, 13 * day, 1},
		{"a restart right then", true, 13 * day, 0},
		{"the last day", false, 19 * day, 1},
		{"it is over", false, 20 * day, 1},
		{"a restart after it", true, 20*day + time.Hour, 0},
	} {
		if step.start {
			b = &bot{store: st, log: newQuiet()}
			warned = b.loadWarned(t.Context(), now.Add(step.after))
		}
		got := b.expiring(t.Context(), all, now.Add(step.after), warned)
		if len(got) != step.want || len(got) > 0 && got[0].Person != "alice" {
			t.Errorf("%s: warned of %v", step.name, got)
		}
	}
	all[0].Expires = ends.Add(700 * day) // it was prolonged
	b.expiring(t.Context(), all, now.Add(21*day), warned)
	if kept, err := st.Cursors(t.Context(), warnedLeg); err != nil || len(kept) != 0 {
		t.Errorf("kept %v, %v", kept, err)
	}
}
