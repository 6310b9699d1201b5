package irc

import (
	"strings"
	"unicode/utf8"
)

// windows1252 holds the runes of bytes 0x80 to 0x9f; the five unassigned ones
// are read as U+FFFD. The others are their own code points.
var windows1252 = [32]rune{
	'€', utf8.RuneError, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', utf8.RuneError, 'Ž', utf8.RuneError,
	utf8.RuneError, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', utf8.RuneError, 'ž', 'Ÿ',
}

// decode returns text from the wire as UTF-8: as it is where it is UTF-8, else
// read as Windows-1252, which old clients send. A line that a server cut in the
// middle of its last character counts as UTF-8 without that character.
func decode(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if cut := trimPartialRune(s); len(cut) < len(s) && utf8.ValidString(cut) && !isASCII(cut) {
		return cut
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	for i := range len(s) {
		switch c := s[i]; {
		case c < utf8.RuneSelf:
			b.WriteByte(c)
		case c < 0xa0:
			b.WriteRune(windows1252[c-0x80])
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// trimPartialRune cuts an unfinished UTF-8 sequence off the end of s.
func trimPartialRune(s string) string {
	for i := len(s) - 1; i >= 0 && i >= len(s)-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			if s[i] >= utf8.RuneSelf && !utf8.FullRuneInString(s[i:]) {
				return s[:i]
			}
			break
		}
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
