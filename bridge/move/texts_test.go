package move

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBuiltinTexts: English and German are complete; Builtin panics where keys or
// placeholders differ. Each key is said somewhere, and each that is said is there.
func TestBuiltinTexts(t *testing.T) {
	texts := Builtin()
	if got := texts.Languages(); !slices.Equal(got, []string{"deutsch", "english"}) {
		t.Fatal(got)
	}
	if !maps.EqualFunc(texts.by["english"], texts.by["deutsch"], func(a, b string) bool { return slices.Equal(used(a), used(b)) }) {
		t.Error("the languages differ")
	}
	said := saidKeys(t)
	for _, c := range clients {
		for _, m := range c.methods {
			said["client_"+c.key+"_"+m], said["key_"+m] = true, true
		}
	}
	for key := range texts.by[English] {
		if !said[key] {
			t.Errorf("nobody says %s", key)
		}
		delete(said, key)
	}
	for key := range said {
		if strings.Contains(key, "_") {
			t.Errorf("%s is said, and is no text", key)
		}
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

// saidKeys are the strings of the package that look like keys.
func saidKeys(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, file := range []string{"next.go", "desk.go", "act.go", "limits.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == "" && !strings.HasSuffix(s, "_") {
					out[s] = true
				}
			}
			return true
		})
	}
	return out
}

func TestParseTexts(t *testing.T) {
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
		{"an odd name", "\ndeutsch:", "\nDeutsch !:", fmt.Sprintf("%d: \"Deutsch !\" is no name", line("deutsch:"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Replace(good, tt.old, tt.new, 1)
			if in == good && tt.old != tt.new {
				t.Fatalf("%q is not there", tt.old)
			}
			texts, bad := ParseTexts([]byte(in))
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

// FuzzParseTexts: whatever a file holds, it is texts that can be said, or problems.
func FuzzParseTexts(f *testing.F) {
	f.Add("english: {a: b}")
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, in string) {
		texts, bad := ParseTexts([]byte(in))
		if (texts == nil) == (len(bad) == 0) {
			t.Fatalf("%v, %v", texts, bad)
		}
	})
}
