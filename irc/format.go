package irc

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ergochat/irc-go/ircfmt"
)

// The formatting codes of IRC (modern.ircdocs.horse/formatting).
const (
	codeBold      = '\x02'
	codeColour    = '\x03'
	codeHexColour = '\x04'
	codeReset     = '\x0f'
	codeMono      = '\x11'
	codeReverse   = '\x16'
	codeItalic    = '\x1d'
	codeStrike    = '\x1e'
	codeUnderline = '\x1f'
)

// styles pairs the codes that XEP-0393 can express with its directives, in the
// order in which they are nested.
var styles = [...]struct {
	code, directive byte
	on              func(*ircfmt.FormattedSubstring) bool
}{
	{codeBold, '*', func(f *ircfmt.FormattedSubstring) bool { return f.Bold }},
	{codeItalic, '_', func(f *ircfmt.FormattedSubstring) bool { return f.Italic }},
	{codeStrike, '~', func(f *ircfmt.FormattedSubstring) bool { return f.Strikethrough }},
	{codeMono, '`', func(f *ircfmt.FormattedSubstring) bool { return f.Monospace }},
}

// toStyling turns one line with IRC formatting codes into XEP-0393 styling.
// Colours, underline and reverse have no equal there and are dropped, as is a
// style that XEP-0393 cannot express where it stands, and every other control
// character (a tab becomes a blank).
func toStyling(s string) string {
	if !hasControl(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for _, run := range ircfmt.Split(dropHexColours(s)) {
		text := strings.Map(dropControl, run.Content)
		open := openings(&b, &run, text)
		if open == "" {
			b.WriteString(text)
			continue
		}
		core := strings.TrimSpace(text)
		at := strings.Index(text, core)
		b.WriteString(text[:at])
		b.WriteString(open)
		b.WriteString(core)
		for i := len(open) - 1; i >= 0; i-- {
			b.WriteByte(open[i])
		}
		b.WriteString(text[at+len(core):])
	}
	return b.String()
}

// openings returns the directives that can open before text behind what b holds:
// at the start or behind a blank, round something, and not round themselves
// (XEP-0393 §4.2).
func openings(b *strings.Builder, run *ircfmt.FormattedSubstring, text string) string {
	core := strings.TrimSpace(text)
	if core == "" {
		return ""
	}
	if text[0] == core[0] && b.Len() > 0 {
		if last, _ := utf8.DecodeLastRuneInString(b.String()); !unicode.IsSpace(last) {
			return ""
		}
	}
	var open []byte
	for _, st := range styles {
		if st.on(run) && strings.IndexByte(core, st.directive) < 0 {
			open = append(open, st.directive)
		}
	}
	if run.Monospace && strings.IndexByte(core, '`') < 0 {
		return "`" // nothing is styled inside preformatted text
	}
	return string(open)
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// dropControl is for strings.Map.
func dropControl(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
		return -1
	}
	return r
}

// dropHexColours takes \x04RRGGBB[,RRGGBB] out, which ircfmt does not know.
func dropHexColours(s string) string {
	if strings.IndexByte(s, codeHexColour) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != codeHexColour {
			b.WriteByte(s[i])
			continue
		}
		n := hexDigits(s[i+1:])
		i += n
		if n == 6 && i+1 < len(s) && s[i+1] == ',' && hexDigits(s[i+2:]) == 6 {
			i += 7
		}
	}
	return b.String()
}

// hexDigits returns 6 if s begins with six hex digits, else 0.
func hexDigits(s string) int {
	if len(s) < 6 {
		return 0
	}
	for i := range 6 {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0
		}
	}
	return 6
}

// fromStyling turns the spans of one line of XEP-0393 text into IRC codes. What
// control characters the line holds itself are dropped first, so that nobody
// sends codes through the bridge that were not meant as such.
func fromStyling(line string) string {
	if hasControl(line) {
		line = strings.Map(dropControl, line)
	}
	if !strings.ContainsAny(line, "*_~`") {
		return line
	}
	var b strings.Builder
	b.Grow(len(line))
	writeSpans(&b, line, 0)
	return b.String()
}

// maxNesting bounds the depth of nested spans.
const maxNesting = 4

func writeSpans(b *strings.Builder, s string, depth int) {
	start := 0 // of what is not yet written
	for i := 0; i < len(s); i++ {
		code := codeFor(s[i])
		if code == 0 || depth == maxNesting || !mayOpen(s, i) {
			continue
		}
		end := closing(s, i)
		if end < 0 {
			continue
		}
		b.WriteString(s[start:i])
		b.WriteByte(code)
		if code == codeMono {
			b.WriteString(s[i+1 : end])
		} else {
			writeSpans(b, s[i+1:end], depth+1)
		}
		b.WriteByte(code)
		start, i = end+1, end
	}
	b.WriteString(s[start:])
}

func codeFor(c byte) byte {
	for _, st := range styles {
		if st.directive == c {
			return st.code
		}
	}
	return 0
}

// mayOpen reports whether the directive at s[i] can open a span: at the start,
// behind a blank or another directive, and before text.
func mayOpen(s string, i int) bool {
	if i+1 >= len(s) {
		return false
	}
	if next, _ := utf8.DecodeRuneInString(s[i+1:]); unicode.IsSpace(next) {
		return false
	}
	if i == 0 {
		return true
	}
	last, _ := utf8.DecodeLastRuneInString(s[:i])
	return unicode.IsSpace(last)
}

// closing returns where the span opened at s[i] ends, or -1.
func closing(s string, i int) int {
	for end := i + 2; end < len(s); end++ {
		if s[end] == s[i] {
			last, _ := utf8.DecodeLastRuneInString(s[:end])
			if !unicode.IsSpace(last) {
				return end
			}
		}
	}
	return -1
}

// carryStyles closes nothing, for a line's end does, but opens again at the
// start of each piece what was open at the end of the one before. It adds at
// most len(styles) bytes to a piece.
func carryStyles(pieces []string) {
	var on [len(styles)]bool
	for p, piece := range pieces {
		var open []byte
		for i, st := range styles {
			if on[i] {
				open = append(open, st.code)
			}
			if strings.Count(piece, string(rune(st.code)))%2 == 1 {
				on[i] = !on[i]
			}
		}
		if p > 0 && len(open) > 0 {
			pieces[p] = string(open) + piece
		}
	}
}
