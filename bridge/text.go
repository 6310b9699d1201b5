package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"
)

const redacted = "redacted"

// ErrRedacted is what every marshaler of Text returns: message text is never
// serialised by accident.
var ErrRedacted = errors.New("bridge: message text does not marshal")

// Text is what somebody said: UTF-8, with XEP-0393 styling and LF between lines.
// It has no exported bytes, and prints, logs and marshals as "redacted", so that
// text cannot reach a log or a disk by mistake. Reveal is the only way out;
// internal/archtest lists who may call it.
type Text struct{ s string }

// NewText takes s as message text.
func NewText(s string) Text { return Text{s} }

// canonical returns t as the core keeps it: UTF-8 with LF at each place where some
// client begins a new line, and no other control characters than TAB. So every
// line that anybody sees can carry who said it.
func (t Text) canonical() Text {
	s := t.s
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if r != '\n' && (breaksLine(r) || unwanted(r)) || r == utf8.RuneError && size == 1 {
			return Text{strings.Trim(cleanLines(s), "\n")}
		}
		i += size
	}
	return t
}

func cleanLines(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case breaksLine(r):
			return '\n'
		case unwanted(r):
			return -1
		}
		return r
	}, s)
}

// breaksLine reports what ends a line for some client (UAX #14, class BK, CR, LF, NL).
func breaksLine(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

// unwanted reports other control characters, which terminals may obey.
func unwanted(r rune) bool { return r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 }

// Reveal returns the text itself. Only the encoders may call it: the IRC
// encoder, each scheme's Seal, the clear-body encoder, and the store's sealer.
func (t Text) Reveal() string { return t.s }

// Len returns the length of the text in bytes.
func (t Text) Len() int { return len(t.s) }

// String returns "redacted".
func (Text) String() string { return redacted }

// GoString returns "redacted".
func (Text) GoString() string { return redacted }

// Format prints "redacted" whatever the verb.
func (Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "redacted".
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns ErrRedacted; it serves JSON, XML and YAML too.
func (Text) MarshalText() ([]byte, error) { return nil, ErrRedacted }

// MarshalBinary returns ErrRedacted; it serves gob too.
func (Text) MarshalBinary() ([]byte, error) { return nil, ErrRedacted }

// MarshalYAML returns ErrRedacted.
func (Text) MarshalYAML() (any, error) { return nil, ErrRedacted }
