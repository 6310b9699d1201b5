package bridge

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"drawbridge/policy"
)

func testNamer() *namer {
	return newNamer(newPeopleMarks([]policy.Person{
		{Name: "alice", JIDs: []string{"alice.smith@corp.example"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"asmith"}}}},
		{Name: "bob"},
	}), "<@>")
}

var nameTests = []struct{ name, nick, person, want string }{
	{"plain", "carol", "", "carol"},
	{"umlauts stay", "jürgen", "", "jürgen"},
	{"signs of the template", "x@jabber> hi <y", "", "x_jabber_ hi _y"},
	{"action form", "* carol", "", "_ carol"},
	{"line breaks become a space", "a\r\nb", "", "a b"},
	{"control and NUL", "a\x00\x02\x1fb", "", "ab"},
	{"right-to-left override", "a\u202eb", "", "ab"},
	{"zero width", "ca\u200brol\u2060\ufeff", "", "carol"},
	{"invisible letters", "ca\u3164\u115frol\u2800", "", "carol"},
	{"only invisible", "\u200b\u202e", "", "unnamed"},
	{"empty", "", "", "unnamed"},
	{"invalid UTF-8", "a\xff\xfeb", "", "ab"},
	{"spaces", "  a   b  ", "", "a b"},
	{"twenty", "abcdefghijklmnopqrst", "", "abcdefghijklmnopqrst"},
	{"twenty-one", "abcdefghijklmnopqrstu", "", "abcdefghijklmnopqrs…"},
	{"zalgo", "z" + strings.Repeat("\u0335", 500), "", "z" + strings.Repeat("\u0335", 3)},

	{"a person proven", "alice", "alice", "alice"},
	{"a person's other nick", "al", "alice", "al"},
	{"a person not proven", "alice", "", "alice?"},
	{"in capitals", "ALICE", "", "ALICE?"},
	{"as somebody else", "alice", "bob", "alice?"},
	{"Cyrillic", "аlісе", "", "аlісе?"},
	{"Greek", "αlιcε", "", "αlιcε?"},
	{"full width", "ｂｏｂ", "", "ｂｏｂ?"},
	{"mathematical", "𝐛𝐨𝐛", "", "𝐛𝐨𝐛?"},
	{"digits", "b0b", "", "b0b?"},
	{"one for l", "a1ice", "", "a1ice?"},
	{"appended sign", "bob_", "", "bob_?"},
	{"zero width inside", "bo\u200bb", "", "bob?"},
	{"accents", "bób", "", "bób?"},
	{"local part of a JID", "alice.smith", "", "alice.smith?"},
	{"account", "asmith", "", "asmith?"},
	{"only similar", "bobby", "", "bobby"},
}

func TestNames(t *testing.T) {
	for _, tt := range nameTests {
		t.Run(tt.name, func(t *testing.T) {
			n := testNamer()
			for range 2 { // the second from the cache
				if got := n.show(Sender{Nick: tt.nick, Person: tt.person}); got != tt.want {
					t.Errorf("show(%q, %q) = %q, want %q", tt.nick, tt.person, got, tt.want)
				}
			}
		})
	}
}

func TestNamesCacheIsBounded(t *testing.T) {
	n := testNamer()
	for i := range 3 * namesKept {
		n.show(Sender{Nick: string(rune('a'+i%26)) + strings.Repeat("x", i%50) + string(rune(0x4e00+i))})
	}
	if len(n.seen) > namesKept {
		t.Errorf("%d names kept", len(n.seen))
	}
}

func FuzzName(f *testing.F) {
	for _, tt := range nameTests {
		f.Add(tt.nick)
	}
	n := testNamer()
	tmpl, err := parseTemplate(DefaultTemplate)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, nick string) {
		name := n.clean(nick)
		if name == "" || !utf8.ValidString(name) || uniseg.GraphemeClusterCount(name) > nameGraphemes || len(name) > nameBytes+8 {
			t.Fatalf("clean(%q) = %q", nick, name)
		}
		for _, r := range name {
			if unicode.IsControl(r) || invisible(r) || strings.ContainsRune("<@>*", r) {
				t.Fatalf("clean(%q) = %q holds %U", nick, name, r)
			}
		}
		// Nobody's prefix can be taken for another's: it splits in one way only.
		p := tmpl.prefix(name, "irc")
		if strings.Count(p, "<")+strings.Count(p, "@")+strings.Count(p, "> ") != 3 {
			t.Fatalf("prefix %q is ambiguous", p)
		}
		if skeleton(nick) != skeleton(strings.ToLower(nick)) && isASCII(nick) {
			t.Fatalf("skeleton of %q depends on case", nick)
		}
		n.show(Sender{Nick: nick})
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Foreign words that are said back are cut between characters.
func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"short", 5, "short"},
		{"shorter", 6, "sho…"},
		{"größer", 8, "größer"},
		{"größer", 7, "grö…"},
		{"größer", 6, "gr…"}, // not the half of ö
		{"日本語", 5, "…"},
		{"\xbf\xbf\xbf\xbf", 3, "…"},
		{"abcdef", 1, "…"},
	} {
		if got := Shorten(tt.in, tt.limit); got != tt.want {
			t.Errorf("Shorten(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}
