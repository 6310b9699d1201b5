package bridge

import (
	"hash/maphash"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

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
func (g *Gauge) Line(l Line, here func(word string) string) policy.Said {
	return g.Measure(l.Text.s, here)
}

// Measure measures one line. Equal lines, but for case and blanks, have equal hashes. here
// returns whom in the room a word names, as it was written, and always the same for the
// same one; "": nobody. Each counts once, and at most 64.
func (g *Gauge) Measure(line string, here func(word string) string) (s policy.Said) {
	var h maphash.Hash
	h.SetSeed(g.seed)
	buf := make([]byte, 0, 64)
	for _, r := range line {
		if unicode.IsLetter(r) {
			s.Letters++
			if unicode.IsUpper(r) {
				s.Capitals++
			}
		}
		if unicode.IsSpace(r) {
			continue
		}
		if buf = utf8.AppendRune(buf, unicode.ToLower(r)); len(buf) > cap(buf)-utf8.UTFMax {
			_, _ = h.Write(buf) // never fails
			buf = buf[:0]
		}
	}
	_, _ = h.Write(buf)
	s.Hash = h.Sum64()
	s.Highlights = highlights(line, here)
	return s
}

// Signs around a name, and between names that are written without a blank. A nick may hold
// many of them: so the whole word is looked at first.
const (
	aroundNames  = "@,:;.!?()<>*_\"'"
	betweenNames = ",;:/&+=()<>\"@"
)

// highlights counts those whom a line names.
func highlights(line string, here func(string) string) int {
	var named [gaugeNames]string
	n, words := 0, 0
	names := func(word string) bool {
		words++
		name := here(word)
		if trimmed := strings.Trim(word, aroundNames); name == "" && trimmed != "" && trimmed != word {
			name = here(trimmed)
		}
		if name != "" && !slices.Contains(named[:n], name) {
			named[n] = name
			n++
		}
		return name != ""
	}
	for word := range strings.FieldsSeq(line) {
		if words >= gaugeWords || n == gaugeNames {
			break
		}
		if names(word) || !strings.ContainsAny(word, betweenNames) {
			continue
		}
		for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return strings.ContainsRune(betweenNames, r) }) {
			if words >= gaugeWords || n == gaugeNames {
				break
			}
			names(part)
		}
	}
	return n
}
