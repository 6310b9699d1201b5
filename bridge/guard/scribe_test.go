package guard

import (
	"context"
	"log/slog"
	"testing"
)

// While the store fails no more than so many acts wait; the oldest go, and are counted.
func TestActsThatWaitAreBounded(t *testing.T) {
	s := newScribe(NewMemory(), slog.New(slog.DiscardHandler), func(string) {})
	for range maxActs + 3 {
		s.note(&Act{})
	}
	if n, lost := s.waiting(); n != maxActs || lost != 3 {
		t.Errorf("%d wait, %d are lost", n, lost)
	}
}

// What changed while it was written is written again: the last word counts.
func TestLastWordCounts(t *testing.T) {
	s := newScribe(NewMemory(), slog.New(slog.DiscardHandler), func(string) {})
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
	if err := s.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2 || kept[0] != "one" || kept[1] != "two" || len(s.jobs)+len(s.order) != 0 {
		t.Errorf("kept %q, %d jobs left", kept, len(s.jobs))
	}
}
