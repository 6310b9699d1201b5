package bridge

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var templateTests = []struct {
	in, want string // want is the prefix for bob on irc, "" for an error
}{
	{DefaultTemplate, "<bob@irc> "},
	{"[{origin}/{name}] {text}", "[irc/bob] "},
	{"{name} ({origin}): {text}", "bob (irc): "},
	{"🌉 {name}@{origin}: {text}", "🌉 bob@irc: "},
	{"", ""},
	{"{name}: {text}", ""},
	{"<{name}@{origin}>", ""},
	{"<{name}{name}@{origin}> {text}", ""},
	{"<{name}@{origin}> {text} {text}", ""},
	{"<{name}@{origin}> {text} --", ""},
	{"{text} -- {name}@{origin}", ""},
	{"{name}{origin}: {text}", ""},
	{"{name} {origin}: {text}", ""},
	{"<{name}@{origin} {text}", ""},
	{"<{name}@{origin}>\n{text}", ""},
	{"<{name}@{origin}>\x02 {text}", ""},
	{"<{name}@{origin}> \xff{text}", ""},
	{"<{name}@{origin}>" + strings.Repeat(" ", 80) + "{text}", ""},
}

func TestTemplates(t *testing.T) {
	for _, tt := range templateTests {
		tmpl, err := parseTemplate(tt.in)
		if tt.want == "" {
			if !errors.Is(err, ErrTemplate) || CheckTemplate(tt.in) == nil {
				t.Errorf("CheckTemplate(%q) = %v, want an error", tt.in, err)
			}
			continue
		}
		if err != nil || tmpl.prefix("bob", "irc") != tt.want {
			t.Errorf("%q: prefix %q, %v, want %q", tt.in, tmpl.prefix("bob", "irc"), err, tt.want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, tt := range templateTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		tmpl, err := parseTemplate(in)
		if err != nil {
			return
		}
		p := tmpl.prefix("{origin}", "{name}")
		if want := strings.NewReplacer(fieldName, "{origin}", fieldOrigin, "{name}", fieldText, "").Replace(in); p != want {
			t.Fatalf("%q: prefix %q, want %q", in, p, want)
		}
	})
}

func TestLateMark(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		said time.Time
		want string
	}{
		{now.Add(-time.Hour), "(14:00) "},
		{now.Add(-24 * time.Hour), "(21 Nov 15:00) "},
	} {
		if got := lateMark(tt.said, now); got != tt.want {
			t.Errorf("lateMark(%v) = %q, want %q", tt.said, got, tt.want)
		}
	}
}
