package bridge

import (
	"strings"
	"testing"

	"drawbridge/policy"
)

func TestGauge(t *testing.T) {
	g := NewGauge()
	here := func(word string) bool { return word == "alice" || word == "bob" || word == "_x_" }
	for _, tt := range []struct {
		line string
		want policy.Said
	}{
		{"", policy.Said{}},
		{"12 !?", policy.Said{}},
		{"HELP me", policy.Said{Letters: 6, Capitals: 4}},
		{"ÄÖ ß", policy.Said{Letters: 3, Capitals: 2}},
		{"alice: bob, alice! @bob carol", policy.Said{Letters: 21, Highlights: 2}},
		{"_x_ is a name as it is", policy.Said{Letters: 14, Highlights: 1}},
	} {
		got := g.Measure(tt.line, here)
		got.Hash = 0
		if got != tt.want {
			t.Errorf("%q: %+v, not %+v", tt.line, got, tt.want)
		}
	}
	if g.Measure("Buy NOW ", here).Hash != g.Measure("buy now", here).Hash {
		t.Error("case and blanks make another line")
	}
	if g.Measure("a", here).Hash == NewGauge().Measure("a", here).Hash {
		t.Error("two processes hash alike")
	}
}

// One line with a thousand names costs no more than the bound.
func TestGaugeIsBounded(t *testing.T) {
	asked := 0
	s := NewGauge().Measure(strings.Repeat("x ", 1<<20), func(string) bool { asked++; return false })
	if asked > 2*gaugeWords || s.Highlights != 0 {
		t.Errorf("asked %d times, %d highlights", asked, s.Highlights)
	}
	n := 0
	s = NewGauge().Measure(strings.Repeat("a b c d e ", 100), func(string) bool { n++; return true })
	if s.Highlights != 5 {
		t.Errorf("%d highlights, not 5", s.Highlights)
	}
}
