package otr

import (
	"strings"
	"testing"

	"drawbridge/policy"
)

// TestTextSurvives: what people write comes out as they wrote it, in each client.
func TestTextSurvives(t *testing.T) {
	for _, text := range []string{`<b> & "`, `&lt; &amp; <script>alert(1)</script>`, "two\nlines", "a < b && c > d", "&", "plain", "  two  blanks ", "<br>"} {
		if got := unescape(escape(text)); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
		for _, tt := range []struct {
			client string
			format Format
		}{{"pidgin", FormatAuto}, {"", FormatHTML}, {"profanity", FormatAuto}, {"mcabber", FormatAuto}, {"", FormatLiteral}} {
			w := newWorld(t, func(c *Config, _ *Deps) { c.Format = func(*policy.Person) Format { return tt.format } })
			w.bot.s.Arrive(w.bot.peer, tt.client, false)
			w.bot.open(w.client, "?OTRv2?")
			wire, shown := text, text
			switch {
			case tt.client == "pidgin" || tt.format == FormatHTML:
				wire, shown = escape(text), escape(text)
			case tt.client == "mcabber": // it resolves entities before it shows them
				shown = strings.ReplaceAll(text, "&", "&amp;")
			}
			// The client's scheme is literal both ways: it shows what is inside.
			w.client.s.format = func(*policy.Person) Format { return FormatLiteral }
			w.say(w.bot, w.client, text, shown)
			w.say(w.client, w.bot, wire, text)
		}
	}
}

func TestFormatByContent(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	w.client.s.format = func(*policy.Person) Format { return FormatLiteral }
	for _, tt := range []struct{ wire, text, back string }{
		{"hello", "hello", "<b>"},
		{"&lt;b&gt; &amp; &quot;", `<b> & "`, "&lt;b&gt;"},
		{"plain again", "plain again", "&lt;b&gt;"}, // it has shown what it is
		{`<FONT COLOR="#ff0000">red</FONT>`, "red", "&lt;b&gt;"},
		{`<html xmlns='x'><body><p>one</p><p>two<br/>three</p></body></html>`, "one\ntwo\nthree", "&lt;b&gt;"},
		{"a < b && c", "a < b && c", "<b>"},
		{"<b> & \"", "<b> & \"", "<b>"},
	} {
		w.say(w.client, w.bot, tt.wire, tt.text)
		w.say(w.bot, w.client, "<b>", tt.back)
	}
}

func TestUnescape(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"&lt;b&gt;x&lt;/b&gt; &amp; &quot;q&quot; &apos;&#39;&nbsp;.", `<b>x</b> & "q" '' .`},
		{"<b>bold</b> <i>it</i>", "bold it"},
		{"one<br>two<BR/>three", "one\ntwo\nthree"},
		{`<a href="https://x.example/">https://x.example/</a>`, "https://x.example/"},
		{`<a href="https://x.example/">here</a>.`, "here <https://x.example/>."},
		{`<a href="mailto:a@x">a@x</a></a></p>`, "a@x"},
		{`<script>alert("x")</script><style>p{}</style>ok`, "ok"},
		{`<img alt=":-)" src="x">`, ":-)"},
		{"<!-- c -->x<![CDATA[y]]>", "x"},
		{"&bogus; &#0; &#xd800; &#x110000;", "&bogus; \ufffd \ufffd \ufffd"},
		{"open <b", "open "},
		{strings.Repeat("<div>", 5000) + "deep", "deep"},
	} {
		if got := unescape(tt.in); got != tt.want {
			t.Errorf("%.60q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in      string
		form    form
		version byte
		text    string
	}{
		{"hello", formPlain, 0, "hello"},
		{"", formPlain, 0, ""},
		{"?OTR is what", formPlain, 0, "?OTR is what"},
		{"see ?OTRv2? there", formPlain, 0, "see ?OTRv2? there"},
		{"?OTRv", formPlain, 0, "?OTRv"},
		{"?OTRv2 yes?", formPlain, 0, "?OTRv2 yes?"},
		{"?OTRv2?", formQuery, 2, ""},
		{" ?OTRv23?\nalice has requested", formQuery, 3, ""},
		{"?OTR?v2?", formQuery, 2, ""},
		{"?OTR?v?", formQuery, 0, ""},
		{"?OTR?", formQuery, 0, ""},
		{"?OTRv3?", formQuery, 3, ""},
		{"?OTR:AAMD.\n", formEncoded, 0, "?OTR:AAMD."},
		{"?OTR Error: x", formError, 0, ""},
		{"?OTR,1,2,abc,", formFragment, 0, ""},
		{"?OTR|1|2,1,2,abc,", formFragment, 0, ""},
		{"x" + tagBase, formTagged, 0, "x"},
		{"x" + tagBase + tagV2 + " y", formTagged, 2, "x y"},
		{"x" + tagBase + tagV2 + tagV3 + " y", formTagged, 3, "x y"},
		{"?OTRv4?", formQuery, 0, ""},
	} {
		if b := parse(tt.in); b.form != tt.form || b.version != tt.version || b.text != tt.text {
			t.Errorf("%q: %+v", tt.in, b)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`<a href="x">y</a><br>&lt;`)
	f.Add("<script><!--")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > maxText {
			return
		}
		_ = guess(in)
		if out := unescape(in); len(out) > 4*len(in)+64 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
		if got := unescape(escape(in)); got != in && strings.ToValidUTF8(in, "") == in && !strings.ContainsAny(in, "\r\x00\u00a0") {
			t.Errorf("%q came back as %q", in, got)
		}
	})
}

// FuzzBody feeds bodies into a talk, with a session and without: no text comes out
// that is not the peer's, and the session stands.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"?OTRv2?", "?OTR:AAICAQ==.", "?OTR,1,2,abc,", "?OTR Error: x", "x" + tagBase + tagV2, "?OTR|1|2,1,2,x,"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, up := range []bool{false, true} {
			w := newWorld(t, nil)
			if up {
				w.up()
			}
			for _, body := range []string{one, two, one} {
				g := w.bot.open(nil, body)
				if g.err == nil && !g.o.Silent && g.o.Rung != policy.Clear {
					t.Fatalf("%q opened as %q", body, g.text)
				}
			}
			if up {
				w.say(w.client, w.bot, "still here", "still here")
				w.say(w.bot, w.client, "still here", "still here")
			}
		}
	})
}
