package xmpp

import (
	"strings"
	"unicode/utf8"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
)

// openedText takes the decrypted body of o over into a message.
func openedText(o e2ee.Opened) (bridge.MessageKind, bridge.Text) { return said(o.Reveal()) }

// said makes a message's text of a body: LF between lines, no control characters
// (a decrypted body may hold any byte), and /me taken off (XEP-0245).
func said(body string) (bridge.MessageKind, bridge.Text) {
	body = clean(body)
	if rest, ok := strings.CutPrefix(body, "/me "); ok {
		return bridge.Action, bridge.NewText(rest)
	}
	return bridge.Say, bridge.NewText(body)
}

// clean returns s as valid UTF-8 with LF between lines and no other control
// character than TAB, without blank lines around it.
func clean(s string) string {
	ok := true
	for i := 0; i < len(s) && ok; i++ {
		c := s[i]
		ok = c >= 0x20 && c < 0x7f || c == '\n' || c == '\t'
	}
	if !ok && (!utf8.ValidString(s) || strings.ContainsFunc(s, isControl)) {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n")
		s = strings.Map(func(r rune) rune {
			switch {
			case r == '\r':
				return '\n'
			case isControl(r):
				return -1
			}
			return r
		}, s)
	}
	return strings.Trim(s, "\n")
}

// isControl reports characters that no line may hold: C0 and C1 without TAB and
// LF, and what XML 1.0 does not have.
func isControl(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff
}
