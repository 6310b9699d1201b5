package irc

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"drawbridge/bridge"
)

const family = "👩‍👩‍👧‍👦" // one grapheme of 25 bytes

var splitTests = []struct {
	name, in string
	limit    int
	want     []string
}{
	{"nothing", "", 10, nil},
	{"fits", "0123456789", 10, []string{"0123456789"}},
	{"at a word", "hello big world", 10, []string{"hello big", " world"}},
	{"no blank in the second half", "a bcdefghijkl", 8, []string{"a bcdefg", "hijkl"}},
	{"no word to cut at", "abcdefghijklmno", 6, []string{"abcdef", "ghijkl", "mno"}},
	{"not inside UTF-8", "aäöüß", 4, []string{"aä", "öü", "ß"}},
	{"not inside a grapheme", "ab" + family + "cd", 26, []string{"ab", family + "c", "d"}},
	{"combining mark stays with its letter", "abce\u0301f", 4, []string{"abc", "e\u0301f"}},
	{"flag", "xx🇩🇪", 8, []string{"xx", "🇩🇪"}},
	{"a grapheme longer than a line", family, 10, []string{"👩\u200d", "👩\u200d", "👧\u200d", "👦"}},
	{"not UTF-8", strings.Repeat("\x80", 10), 4, []string{"\x80\x80\x80\x80", "\x80\x80\x80\x80", "\x80\x80"}},
}

func TestSplitText(t *testing.T) {
	for _, tt := range splitTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := splitText(tt.in, tt.limit); !slices.Equal(got, tt.want) {
				t.Errorf("splitText(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
			}
		})
	}
}

func checkSplit(t interface{ Fatalf(string, ...any) }, text string, limit int) {
	pieces := splitText(text, limit)
	if got := strings.Join(pieces, ""); got != text {
		t.Fatalf("joined it is %q, not %q", got, text)
	}
	boundaries := map[int]bool{}
	if utf8.ValidString(text) && !strings.ContainsAny(text, "\r\n") {
		at, state := 0, -1
		for rest := text; rest != ""; {
			var g string
			g, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
			if len(g) > limit {
				boundaries = nil
				break
			}
			at += len(g)
			boundaries[at] = true
		}
	} else {
		boundaries = nil
	}
	at := 0
	for i, p := range pieces {
		if len(p) > limit || p == "" {
			t.Fatalf("piece %d of %q is %d bytes, limit %d", i, text, len(p), limit)
		}
		at += len(p)
		if boundaries != nil && !boundaries[at] {
			t.Fatalf("%q is cut inside a grapheme at %d", text, at)
		}
		if utf8.ValidString(text) && !utf8.ValidString(p) {
			t.Fatalf("piece %q is not UTF-8", p)
		}
	}
}

func TestSplitJoinsToItsInput(t *testing.T) {
	alphabet := rapid.SampledFrom([]string{"a", "b", " ", "  ", "ä", "\u0301", family, "🇩🇪", "한", "\u0600", "\u200d", "word", "x"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(alphabet, 0, 120).Draw(t, "text"), "")
		checkSplit(t, text, rapid.IntRange(4, 90).Draw(t, "limit"))
	})
}

func FuzzSplitText(f *testing.F) {
	for _, tt := range splitTests {
		f.Add(tt.in, tt.limit)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < utf8.UTFMax || limit > 1000 {
			return
		}
		checkSplit(t, text, limit)
	})
}

var decodeTests = []struct{ in, want string }{
	{"plain", "plain"},
	{"grüße", "grüße"},
	{"gr\xfc\xdfe", "grüße"},
	{"\x80 \x93q\x94 \x81", "€ “q” \ufffd"},
	{"grüße \xe2\x82", "grüße "}, // cut by the server inside the last character
	{"caf\xe9", "café"},
}

var stylingTests = []struct{ name, in, want string }{
	{"plain", "plain *as typed*", "plain *as typed*"},
	{"bold", "\x02bold\x02", "*bold*"},
	{"left open", "\x02bold", "*bold*"},
	{"nested", "\x02\x1dboth\x0f not", "*_both_* not"},
	{"blanks stay outside", "a\x02 b \x02c", "a *b* c"},
	{"inside a word it cannot be", "wo\x02rd\x02", "word"},
	{"round its own sign it cannot be", "\x022*3\x02", "2*3"},
	{"colours go", "\x0304,12red\x03 \x031,2a", "red a"},
	{"hex colours go", "\x04ff0000red\x04 \x0412345 \x04aabbcc,ddeeffx", "red 12345 x"},
	{"only a code", "\x02\x02", ""},
	{"mono takes nothing inside", "\x11\x02code\x0f", "`code`"},
	{"controls go", "a\tb\x07\x01c", "a bc"},
	{"c1 goes", "a\u0085b\x02", "ab"},
}

func TestDecode(t *testing.T) {
	for _, tt := range decodeTests {
		if got := decode(tt.in); got != tt.want {
			t.Errorf("Decode(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestToStyling(t *testing.T) {
	for _, tt := range stylingTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := toStyling(tt.in); got != tt.want {
				t.Errorf("toStyling(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestFromStyling(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain", "plain"},
		{"*bold* and _it_", "\x02bold\x02 and \x1dit\x1d"},
		{"*bold _both_*", "\x02bold \x1dboth\x1d\x02"},
		{"2*3*4", "2*3*4"},
		{"* not* *this either *", "* not* *this either *"},
		{"snake_case_name", "snake_case_name"},
		{"`*x*`", "\x11*x*\x11"},
		{"**", "**"},
		{"a\rb\x00c\x02d", "abcd"},
	} {
		if got := fromStyling(tt.in); got != tt.want {
			t.Errorf("FromStyling(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, tt := range stylingTests {
		f.Add(tt.in)
	}
	for _, tt := range decodeTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := toStyling(decode(in))
		if !utf8.ValidString(got) {
			t.Fatalf("%q becomes %q, which is not UTF-8", in, got)
		}
		if hasControl(got) {
			t.Fatalf("%q becomes %q, which holds control characters", in, got)
		}
		for _, line := range encode(bridge.Outgoing{Text: bridge.NewText(in), Prefix: "<a@b> "}, 100) {
			if len(line) > 100 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n\x00\x01\x03\x04") {
				t.Fatalf("%q is sent as %q", in, line)
			}
		}
	})
}

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name, prefix, text string
		limit              int
		want               []string
	}{
		{"one line", "<a@j> ", "<a@j> hi", 50, []string{"<a@j> hi"}},
		{"each line begins with the prefix", "<a@j> ", "<a@j> one\ntwo\n\nthree", 50, []string{"<a@j> one", "<a@j> two", "<a@j> three"}},
		{"each piece, too", "<a> ", "<a> hello big world", 14, []string{"<a> hello big", "<a>  world"}},
		{"a style goes on in the next piece", "", "*hello big world*", 16, []string{"\x02hello big", "\x02 world\x02"}},
		{"a block of code", "<a> ", "<a> see:\n```go\nx := *y*\n```\nok", 50, []string{"<a> see:", "<a> \x11x := *y*\x11", "<a> ok"}},
		{"nothing", "", " \n ", 50, nil},
		{"the prefix is not styled", "<*a*> ", "<*a*> x", 50, []string{"<*a*> x"}},
		{"no line breaks through the prefix", "<a\r\nQUIT> ", "<a\r\nQUIT> x", 50, []string{"<aQUIT> x"}},
		{"not UTF-8", "", "a\xffb", 50, []string{"a\ufffdb"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := encode(bridge.Outgoing{Prefix: tt.prefix, Text: bridge.NewText(tt.text)}, tt.limit)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	m := bridge.Outgoing{Prefix: "<alice@jabber> ", Text: bridge.NewText("<alice@jabber> " + strings.Repeat("a line of about ninety bytes ", 3))}
	b.ReportAllocs()
	for b.Loop() {
		encode(m, 450)
	}
}

func BenchmarkSplitLongUTF8(b *testing.B) {
	text := strings.Repeat("Zwölf große Boxkämpfer "+family+" ", 60)
	b.ReportAllocs()
	for b.Loop() {
		splitText(text, 450)
	}
}
