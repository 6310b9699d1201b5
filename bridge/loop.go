package bridge

import (
	"strings"
	"sync"
	"time"
)

const (
	recentFor   = 60 * time.Second // for how long a rendered line is known again
	recentLines = 512              // rendered lines kept for each bridge
	recentLong  = 32               // of them, long ones, which come back in pieces
	longLine    = 300              // bytes
	leadMax     = 96               // bytes of "<name@origin> " before a line
	leadsMax    = 8                // of them before each other
	pieceMin    = 8                // bytes of the smallest piece known again
)

// recent knows the lines that a bridge put into its channels and MUCs lately, to
// know them again when another bridge without marks brings them back. Only a
// bridge with two such rooms has one: where there is one, nothing can go round.
//
// A line is known again when it is one of ours with nothing, or only other
// bridges' "<name> ", before it. What people write before or after a quote lets
// it through. A nil recent knows nothing.
type recent struct {
	mu    sync.Mutex // guards all below
	lines map[uint64]time.Time
	ring  []uint64 // keys of lines, a ring once it is full
	next  int
	long  []longSaid
}

type longSaid struct {
	prefix, text string // folded
	at           time.Time
}

func newRecent() *recent { return &recent{lines: map[uint64]time.Time{}} }

// add remembers a line about to be sent.
func (rc *recent) add(out Outgoing, r *Row, now time.Time) {
	if rc == nil || out.To.Kind == Chat {
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	text := out.Text.s
	if !strings.Contains(text, "\n") {
		rc.addLocked(foldHash("", text), now)
	} else {
		rc.addLocked(foldHash("", text), now)
		for line := range strings.Lines(r.Text.s) {
			rc.addLocked(foldHash(out.Prefix, line), now)
		}
	}
	if len(text) > longLine {
		if len(rc.long) == recentLong {
			rc.long = append(rc.long[:0], rc.long[1:]...)
		}
		rc.long = append(rc.long, longSaid{foldString(out.Prefix), foldString(r.Text.s), now})
	}
}

func (rc *recent) addLocked(h uint64, now time.Time) {
	if _, known := rc.lines[h]; !known {
		if len(rc.ring) < recentLines {
			rc.ring = append(rc.ring, h)
		} else {
			delete(rc.lines, rc.ring[rc.next])
			rc.ring[rc.next] = h
			rc.next = (rc.next + 1) % recentLines
		}
	}
	rc.lines[h] = now
}

// repeats reports whether text is a line of ours come back.
func (rc *recent) repeats(text string, now time.Time) bool {
	if rc == nil {
		return false
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if len(rc.lines) == 0 {
		return false
	}
	first, _, multi := strings.Cut(text, "\n")
	for range leadsMax {
		if rc.knownLocked(first, now) || multi && rc.knownLocked(text, now) {
			return true
		}
		rest, ok := cutLead(first)
		if !ok {
			return false
		}
		text = text[len(first)-len(rest):]
		first = rest
	}
	return false
}

func (rc *recent) knownLocked(line string, now time.Time) bool {
	if at, ok := rc.lines[foldHash("", line)]; ok && now.Sub(at) <= recentFor {
		return true
	}
	if len(rc.long) == 0 {
		return false
	}
	folded := foldString(line)
	for _, l := range rc.long {
		piece, ok := strings.CutPrefix(folded, l.prefix)
		if ok && len(piece) >= pieceMin && now.Sub(l.at) <= recentFor && strings.Contains(l.text, piece) {
			return true
		}
	}
	return false
}

// cutLead takes what another bridge put before a line: "<bob> ", "[bob] ",
// "(bob) ", "bob: ", with the marks of styling around it.
func cutLead(s string) (rest string, ok bool) {
	body := strings.TrimLeft(s, styleSigns)
	if body == "" {
		return "", false
	}
	end := -1
	switch closing := strings.IndexByte("<[({", body[0]); {
	case closing >= 0:
		end = strings.IndexByte(body, ">])}"[closing])
	default:
		if end = strings.Index(body, ": "); end > 0 && strings.ContainsAny(body[:end], " \t") {
			return "", false
		}
	}
	if end <= 0 || end > leadMax {
		return "", false
	}
	rest = strings.TrimLeft(body[end+1:], styleSigns+": ")
	return rest, rest != "" && len(rest) < len(body)-end-1
}

const styleSigns = "*_~`"

// skipped reports whether folding leaves c out: what networks and styling change
// on the way.
func skipped(c byte) bool {
	return c <= ' ' || c == '*' || c == '_' || c == '~' || c == '`' || c == 0x7f
}

// foldHash hashes what folding leaves of a and b together (FNV-1a).
func foldHash(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [2]string{a, b} {
		for i := range len(s) {
			if c := s[i]; !skipped(c) {
				h = (h ^ uint64(c)) * 1099511628211
			}
		}
	}
	return h
}

func foldString(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if !skipped(s[i]) {
			out = append(out, s[i])
		}
	}
	return string(out)
}
