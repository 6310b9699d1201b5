package bridge

import (
	"errors"
	"fmt"
	"log/slog"
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
