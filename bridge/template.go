package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// DefaultTemplate shows who said a line, and on which side.
const DefaultTemplate = "<{name}@{origin}> {text}"

// The fields of a template.
const (
	fieldName   = "{name}"
	fieldOrigin = "{origin}"
	fieldText   = "{text}"
)

// ErrTemplate is wrapped by every error of CheckTemplate.
var ErrTemplate = errors.New("bridge: template")

// CheckTemplate reports whether s can show who said what: {name}, {origin} and
// {text} once each, {text} at the very end (what follows the text could be
// forged by it), at least one sign between name and origin, no control
// characters, and at most 64 bytes beside the fields.
func CheckTemplate(s string) error {
	_, err := parseTemplate(s)
	return err
}

// template is a parsed who-said-it template.
type template struct {
	lead, mid, tail string // around the two names
	originFirst     bool
	reserved        string // signs of the template, which no name may hold
}

func parseTemplate(s string) (template, error) {
	for _, f := range [...]string{fieldName, fieldOrigin, fieldText} {
		if n := strings.Count(s, f); n != 1 {
			return template{}, fmt.Errorf("%w %q: %s must stand in it once, not %d times", ErrTemplate, s, f, n)
		}
	}
	head, rest, _ := strings.Cut(s, fieldText)
	if rest != "" {
		return template{}, fmt.Errorf("%w %q: nothing may follow {text}", ErrTemplate, s)
	}
	var t template
	name, origin := strings.Index(head, fieldName), strings.Index(head, fieldOrigin)
	first, second := fieldName, fieldOrigin
	if t.originFirst = origin < name; t.originFirst {
		first, second = second, first
	}
	t.lead, rest, _ = strings.Cut(head, first)
	t.mid, t.tail, _ = strings.Cut(rest, second)
	signs := t.lead + t.mid + t.tail
	if len(signs) > 64 {
		return template{}, fmt.Errorf("%w %q: longer than 64 bytes", ErrTemplate, s)
	}
	var reserved strings.Builder
	for _, r := range signs {
		switch {
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return template{}, fmt.Errorf("%w %q: no control characters", ErrTemplate, s)
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsSpace(r):
		default:
			reserved.WriteRune(r)
		}
	}
	t.reserved = reserved.String()
	if !strings.ContainsAny(t.mid, t.reserved) || t.reserved == "" {
		return template{}, fmt.Errorf("%w %q: a sign must stand between {name} and {origin}", ErrTemplate, s)
	}
	if !strings.ContainsAny(t.tail, t.reserved) {
		return template{}, fmt.Errorf("%w %q: a sign must stand between the names and {text}", ErrTemplate, s)
	}
	return t, nil
}

// prefix returns the part of a line before its text.
func (t template) prefix(name, origin string) string {
	if t.originFirst {
		name, origin = origin, name
	}
	return t.lead + name + t.mid + origin + t.tail
}
