package irc

import (
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// splitText cuts text into pieces of at most limit bytes, never inside a UTF-8
// sequence, inside a grapheme only when that alone is longer than limit, and
// before a blank where one stands in the second half of a piece: ngIRCd takes
// blanks off the end of a line, so behind one would lose it. The pieces joined
// are the text. limit counts what follows the colon of PRIVMSG: 512 less
// CR LF, our source and the target (RFC 2812 §2.3). It returns nil for empty
// text, and panics if limit < utf8.UTFMax.
func splitText(text string, limit int) []string {
	if limit < utf8.UTFMax {
		panic("irc: splitText: limit below utf8.UTFMax")
	}
	if text == "" {
		return nil
	}
	var out []string
	for len(text) > limit {
		n := cut(text, limit)
		out = append(out, text[:n])
		text = text[n:]
	}
	return append(out, text)
}

// cut returns where to cut text, which is longer than limit.
func cut(text string, limit int) int {
	for i := limit; i > limit/2; i-- {
		if text[i] == ' ' && (text[i-1] < utf8.RuneSelf || boundaryBeforeBlank(text[:i+1])) {
			return i
		}
	}
	return lastGrapheme(text, limit)
}

// boundaryBeforeBlank reports whether the blank that s ends with begins a
// grapheme: after a few prepending characters it does not.
func boundaryBeforeBlank(s string) bool {
	_, n := utf8.DecodeLastRuneInString(s[:len(s)-1])
	g, _, _, _ := uniseg.FirstGraphemeClusterInString(s[len(s)-1-n:], -1)
	return len(g) == n
}

// lastGrapheme returns the last grapheme boundary of text at or before limit,
// the last rune boundary if the first grapheme alone is longer, and at least one
// byte.
func lastGrapheme(text string, limit int) int {
	from := limit
	// Between two ASCII characters there is always a boundary (text holds no CR).
	for from > 0 && !(text[from-1] < utf8.RuneSelf && text[from] < utf8.RuneSelf) {
		from--
	}
	last, state := from, -1
	for rest := text[from:]; rest != ""; {
		var g string
		g, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if last+len(g) > limit {
			break
		}
		last += len(g)
	}
	if last > 0 {
		return last
	}
	last = limit
	for last > 1 && !utf8.RuneStart(text[last]) {
		last--
	}
	if limit-last >= utf8.UTFMax { // not UTF-8: cut anywhere
		return limit
	}
	return last
}
