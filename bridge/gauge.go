package bridge

import (
	"hash/maphash"
	"strings"
	"unicode"

	"drawbridge/policy"
)

// Gauge measures lines for a guard: a leg shows these numbers (SightSaid), never the
// line. It is safe for concurrent use.
type Gauge struct{ seed maphash.Seed }

// NewGauge returns a Gauge whose hashes nobody outside of this process can foresee.
func NewGauge() *Gauge { return &Gauge{maphash.MakeSeed()} }

// The bounds of one line: words looked at, and names remembered of it.
const (
	gaugeWords = 1024
	gaugeNames = 64
)

// Line measures a line that a Gate is asked about.
func (g *Gauge) Line(l Line, here func(word string) bool) policy.Said {
	return g.Measure(l.Text.s, here)
}

// Measure measures one line. Equal lines, but for case and the blanks around them,
// have equal hashes. here reports whether a word, as it was written, names somebody in
// the room; each counts once, and at most 64.
func (g *Gauge) Measure(line string, here func(word string) bool) (s policy.Said) {
	line = strings.TrimSpace(line)
	s.Hash = maphash.String(g.seed, strings.ToLower(line))
	for _, r := range line {
		if unicode.IsLetter(r) {
			s.Letters++
			if unicode.IsUpper(r) {
				s.Capitals++
			}
		}
	}
	var named [gaugeNames]string
	words := 0
	for word := range strings.FieldsSeq(line) {
		if words++; words > gaugeWords || s.Highlights == gaugeNames {
			break
		}
		if !here(word) {
			if word = strings.Trim(word, "@,:;.!?()<>*_\"'"); word == "" || !here(word) {
				continue
			}
		}
		seen := false
		for _, n := range named[:s.Highlights] {
			seen = seen || n == word
		}
		if !seen {
			named[s.Highlights] = word
			s.Highlights++
		}
	}
	return s
}
