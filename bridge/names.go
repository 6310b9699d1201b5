package bridge

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// The bounds of names as shown.
const (
	nameGraphemes = 20
	nameBytes     = 80
	nameMarks     = 3    // combining marks on one letter
	namesKept     = 4096 // names a bridge remembers the look of
	noName        = "unnamed"
	doubtMark     = "?" // after a name that looks like a configured person's, and is not proven
)

// namer makes names fit to be shown in one bridge: nothing in them can look like
// the bridge's own "<name@origin> ", and who looks like a configured person
// without being proven to be that person is marked.
type namer struct {
	marks    peopleMarks
	reserved string

	mu   sync.Mutex // guards seen
	seen map[nameKey]string
}

type nameKey struct{ nick, person string }

// newNamer returns a namer for a bridge whose templates hold the signs reserved.
func newNamer(marks peopleMarks, reserved string) *namer {
	return &namer{marks: marks, reserved: "<@>*" + reserved, seen: map[nameKey]string{}}
}

// show returns the name of a sender as it is shown.
func (n *namer) show(s Sender) string {
	k := nameKey{s.Nick, s.Person}
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, ok := n.seen[k]; ok {
		return name
	}
	name := n.clean(s.Nick)
	if n.marks.imitates(s.Nick, s.Person) || n.marks.imitates(name, s.Person) {
		name += doubtMark
	}
	if len(n.seen) >= namesKept {
		clear(n.seen)
	}
	k.nick = strings.Clone(k.nick) // it may share the memory of all that it came with
	n.seen[k] = name
	return name
}

// clean makes s one visible word group of at most nameGraphemes: no control, no
// bidi, nothing invisible, no sign of a template.
func (n *namer) clean(s string) string {
	var b strings.Builder
	marks, space := 0, false
	for len(s) > 0 && b.Len() < nameBytes {
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError, invisible(r):
			continue
		case unicode.Is(unicode.M, r):
			if marks++; marks > nameMarks || b.Len() == 0 {
				continue
			}
		default:
			marks = 0
		}
		if strings.ContainsRune(n.reserved, r) {
			r = '_'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return noName
	}
	return cutGraphemes(b.String(), nameGraphemes)
}

// invisible reports whether r shows nothing, or changes how its neighbours show.
func invisible(r rune) bool {
	switch {
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r),
		unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r),
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return true
	}
	return r == '\u2800' // BRAILLE PATTERN BLANK
}

// cutGraphemes keeps at most limit graphemes, the last of them "…" if it cuts.
func cutGraphemes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	rest, state, kept := s, -1, 0
	for n := 0; rest != ""; n++ {
		if n == limit-1 {
			kept = len(s) - len(rest)
		}
		if n == limit {
			return strings.TrimRight(s[:kept], " ") + "…"
		}
		_, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
	}
	return s
}

// Shorten cuts s to at most limit bytes, "…" included and never inside a character: for
// foreign words that are said back, or logged. A limit below the 3 bytes of "…" is taken
// for them.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "…"
	cut := max(limit-len(more), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
