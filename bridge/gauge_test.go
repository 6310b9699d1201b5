package bridge

import (
	"strings"
	"testing"

	"drawbridge/policy"
)

func TestGauge(t *testing.T) {
	g := NewGauge()
	here := func(word string) string { // as on IRC: whatever the case
		if name := strings.ToLower(word); name == "alice" || name == "bob" || name == "_x_" || name == "a:b" {
			return name
		}
		return ""
	}
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
		{"alice,bob", policy.Said{Letters: 8, Highlights: 2}},
		{"hey alice/bob/_x_: (alice)", policy.Said{Letters: 17, Highlights: 3}},
		{"alice ALICE Alice", policy.Said{Letters: 15, Capitals: 6, Highlights: 1}},
		{"a:b", policy.Said{Letters: 2, Highlights: 1}},
		{"alicebob alice.bob", policy.Said{Letters: 16}},
	} {
		got := g.Measure(tt.line, here)
		got.Hash = 0
		if got != tt.want {
			t.Errorf("%q: %+v, not %+v", tt.line, got, tt.want)
		}
	}
	for _, same := range []string{"Buy NOW ", "b u y n o w", "\tbuy\u00a0\u00a0now"} {
		if g.Measure(same, here).Hash != g.Measure("buy now", here).Hash {
			t.Errorf("%q is another line", same)
		}
	}
	long := strings.Repeat("ä long line ", 40)
	if g.Measure(long, here).Hash != g.Measure(strings.ToUpper(long), here).Hash || g.Measure(long, here).Hash == g.Measure(long+"x", here).Hash {
		t.Error("a long line is another one, or like another one")
	}
	if g.Measure("a", here).Hash == NewGauge().Measure("a", here).Hash {
		t.Error("two processes hash alike")
	}
}

// One line with a thousand names costs no more than the bound.
func TestGaugeIsBounded(t *testing.T) {
	asked := 0
	s := NewGauge().Measure(strings.Repeat("x ", 1<<20), func(string) string { asked++; return "" })
	if asked > 2*gaugeWords || s.Highlights != 0 {
		t.Errorf("asked %d times, %d highlights", asked, s.Highlights)
	}
	asked = 0
	if NewGauge().Measure(strings.Repeat("x,", 1<<20), func(string) string { asked++; return "" }); asked > 2*gaugeWords {
		t.Errorf("asked %d times about one word", asked)
	}
	n := 0
	s = NewGauge().Measure(strings.Repeat("a b c d e ", 100), func(word string) string { n++; return word })
	if s.Highlights != 5 {
		t.Errorf("%d highlights, not 5", s.Highlights)
	}
}
