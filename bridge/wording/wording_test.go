package wording

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestBuiltin: English and German are complete; Builtin panics where keys or placeholders
// differ. No line is a wall.
func TestBuiltin(t *testing.T) {
	texts := Builtin()
	if got := texts.Languages(); !slices.Equal(got, []string{"deutsch", "english"}) {
		t.Fatal(got)
	}
	if !maps.EqualFunc(texts.by["english"], texts.by["deutsch"], func(a, b string) bool { return slices.Equal(used(a), used(b)) }) {
		t.Error("the languages differ")
	}
	for lang, by := range texts.by {
		for key, text := range by {
			for line := range strings.Lines(text) {
				if len(line) > 1200 {
					t.Errorf("%s.%s: a line of %d bytes is a wall", lang, key, len(line))
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	good := string(Source)
	line := func(part string) int { return 1 + strings.Count(good[:strings.Index(good, part)], "\n") }
	for _, tt := range []struct{ name, old, new, want string }{
		{"the program's own", "", "", ""},
		{"another wording", "Noted: {jid}.", "I have {jid}.", ""},
		{"a missing key", `  jid_noted: "Notiert: {jid}."` + "\n", "", fmt.Sprintf("%d: deutsch lacks jid_noted", line("deutsch:"))},
		{"a misspelt key", "\n  jid_noted: \"Notiert", "\n  jid_notet: \"Notiert", fmt.Sprintf("%d: deutsch lacks jid_noted; %d: deutsch: unknown key \"jid_notet\"", line("deutsch:"), line(`jid_noted: "Notiert`))},
		{"a missing placeholder", "Notiert: {jid}.", "Notiert.", fmt.Sprintf("%d: deutsch: jid_noted lacks {jid}", line(`jid_noted: "Notiert`))},
		{"a misspelt placeholder", "Notiert: {jid}.", "Notiert: {jid} {JID}.", fmt.Sprintf("%d: deutsch: jid_noted knows no {JID}", line(`jid_noted: "Notiert`))},
		{"an empty text", `jid_noted: "Noted: {jid}."`, `jid_noted: " "`, fmt.Sprintf("%d: english: jid_noted is no text", line(`jid_noted: "Noted`))},
		{"twice", `jid_noted: "Noted: {jid}."`, `jid_noted: "Noted: {jid}."` + "\n" + `  jid_noted: "Noted: {jid}."`, fmt.Sprintf("%d: english: jid_noted stands twice", line(`jid_noted: "Noted`)+1)},
		{"no English", "\nenglish:", "\nenglisch:", "0: has no english"},
		{"not YAML", "english:", "english", "0: is not YAML"},
		{"no mapping", good, "- a", "0: must be a mapping of languages"},
		{"a language of one text", "\ndeutsch:", "\nplatt: moin\ndeutsch:", fmt.Sprintf("%d: platt must be a mapping", line("deutsch:"))},
		{"a text for all of two lines", `all_mark: "(clear)"`, `all_mark: "(clear)\n(still)"`, fmt.Sprintf("%d: english: all_mark must be one line", line("all_mark:"))},
		{"a week of six days", "Mo, Di, Mi", "Mo, Di", fmt.Sprintf("%d: deutsch: all_weekdays must be 7 words", line(`all_weekdays: "Mo, Di`))},
		{"an odd name", "\ndeutsch:", "\nDeutsch !:", fmt.Sprintf("%d: \"Deutsch !\" is no name", line("deutsch:"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Replace(good, tt.old, tt.new, 1)
			if in == good && tt.old != tt.new {
				t.Fatalf("%q is not there", tt.old)
			}
			texts, bad := Parse([]byte(in))
			var got []string
			for _, p := range bad {
				got = append(got, fmt.Sprintf("%d: %s", p.Line, p.What))
			}
			if all := strings.Join(got, "; "); tt.want == "" && (all != "" || texts == nil) || tt.want != "" && !strings.HasPrefix(all, tt.want) {
				t.Errorf("%s\nwant %s", all, tt.want)
			}
		})
	}
}

// FuzzParse: whatever a file holds, it is texts that can be said, or problems.
func FuzzParse(f *testing.F) {
	f.Add("english: {a: b}")
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, in string) {
		texts, bad := Parse([]byte(in))
		if (texts == nil) == (len(bad) == 0) {
			t.Fatalf("%v, %v", texts, bad)
		}
	})
}
