package stream

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"drawbridge/xmpp/element"
)

const testHeader = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='a>b' version="1.0">`

// frames runs a framer over r and describes what it finds, one string each.
func frames(r io.Reader, max int) []string {
	f := newFramer(r, max)
	var out []string
	for {
		kind, b, err := f.next()
		var large *TooLargeError
		var ours *StreamError
		switch {
		case errors.As(err, &large):
			out = append(out, fmt.Sprintf("large %d", large.Size))
		case errors.As(err, &ours):
			return append(out, ours.Condition)
		case err != nil:
			return append(out, err.Error())
		case kind == frameHeader:
			out = append(out, "header "+string(b))
		case kind == frameEnd:
			out = append(out, "end")
		default:
			out = append(out, string(b))
		}
	}
}

var framerTests = []struct {
	name, in string
	want     []string // behind the header
}{
	{"nothing", ``, []string{"EOF"}},
	{"empty elements", `<a/><b />`, []string{`<a/>`, `<b />`, "EOF"}},
	{"nested", `<a><b><c/></b></a><d></d>`, []string{`<a><b><c/></b></a>`, `<d></d>`, "EOF"}},
	{"white space between", " \r\n<a/>\t <b/> ", []string{`<a/>`, `<b/>`, "EOF"}},
	{"text", `<a>x / > y</a>`, []string{`<a>x / > y</a>`, "EOF"}},
	{"quotes hide signs", `<a b='/>' c="'>"><d e='</a>'/></a>`, []string{`<a b='/>' c="'>"><d e='</a>'/></a>`, "EOF"}},
	{"quotes in text", `<a>don't</a><b/>`, []string{`<a>don't</a>`, `<b/>`, "EOF"}},
	{"cdata", `<a><![CDATA[<b></a>]] >]]></a><c/>`, []string{`<a><![CDATA[<b></a>]] >]]></a>`, `<c/>`, "EOF"}},
	{"cdata with brackets at its end", `<a><![CDATA[]]]]></a>`, []string{`<a><![CDATA[]]]]></a>`, "EOF"}},
	{"cdata ends after one bracket more", `<a><![CDATA[]>]]></a>`, []string{`<a><![CDATA[]>]]></a>`, "EOF"}},
	{"entities stand as they are", `<a>&lt;b&gt;</a>`, []string{`<a>&lt;b&gt;</a>`, "EOF"}},
	{"utf-8", `<ž>🐎</ž>`, []string{`<ž>🐎</ž>`, "EOF"}},
	{"end of stream", `<a/></stream:stream>`, []string{`<a/>`, "end", "EOF"}},
	{"element under way", `<a><b/>`, []string{"EOF"}},
	{"exactly the limit", `<a>` + strings.Repeat("x", 93) + `</a>`, []string{`<a>` + strings.Repeat("x", 93) + `</a>`, "EOF"}},
	{"one above the limit", `<a>` + strings.Repeat("x", 94) + `</a><b/>`, []string{"large 101", `<b/>`, "EOF"}},
	{"large, then small, then large", `<a b='` + strings.Repeat("x", 500) + `'/> <b/><c>` + strings.Repeat("<d/>", 50) + `</c><e/>`, []string{"large 509", `<b/>`, "large 207", `<e/>`, "EOF"}},

	{"text between", `<a/>x<b/>`, []string{`<a/>`, "not-well-formed"}},
	{"NUL between", "<a/>\x00", []string{`<a/>`, "not-well-formed"}},
	{"comment", `<!-- x --><a/>`, []string{"restricted-xml"}},
	{"comment inside", `<a><!-- x --></a>`, []string{"restricted-xml"}},
	{"document type", `<!DOCTYPE a><a/>`, []string{"restricted-xml"}},
	{"document type inside", `<a><!DOCTYPE b></a>`, []string{"restricted-xml"}},
	{"processing instruction", `<?x?><a/>`, []string{"restricted-xml"}},
	{"processing instruction inside", `<a><?x?></a>`, []string{"restricted-xml"}},
	{"cdata between", `<![CDATA[x]]>`, []string{"restricted-xml"}},
	{"no name", `<>`, []string{"not-well-formed"}},
	{"space before the name", `< a/>`, []string{"not-well-formed"}},
	{"slash in a tag", `<a/b>`, []string{"not-well-formed"}},
	{"tag in a tag", `<a <b/>`, []string{"not-well-formed"}},
}

func TestFramer(t *testing.T) {
	for _, tt := range framerTests {
		t.Run(tt.name, func(t *testing.T) {
			const header, limit = `<s:s a='>'>`, 100
			in := "<?xml version='1.0'?>\n" + header + tt.in
			want := append([]string{"header " + header}, tt.want...)
			for cut := range len(in) + 1 {
				r := io.MultiReader(strings.NewReader(in[:cut]), strings.NewReader(in[cut:]))
				if got := frames(r, limit); !slices.Equal(got, want) {
					t.Fatalf("cut at %d: got %q, want %q", cut, got, want)
				}
			}
			if got := frames(iotest.OneByteReader(strings.NewReader(in)), limit); !slices.Equal(got, want) {
				t.Errorf("byte by byte: got %q, want %q", got, want)
			}
		})
	}
}

func TestFramerHeader(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"declaration", `<?xml version='1.0'?>` + testHeader + `<a/>`, []string{"header " + testHeader, `<a/>`, "EOF"}},
		{"no declaration", testHeader + `<a/>`, []string{"header " + testHeader, `<a/>`, "EOF"}},
		{"document type", `<!DOCTYPE x []>` + testHeader, []string{"restricted-xml"}},
		{"ends at once", `<stream:stream/>`, []string{"not-well-formed"}},
		{"end tag first", `</stream:stream>`, []string{"not-well-formed"}},
		{"not XML", "HTTP/1.1 400 Bad Request\r\n", []string{"not-well-formed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := frames(iotest.OneByteReader(strings.NewReader(tt.in)), 1000); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFramerRestart(t *testing.T) {
	f := newFramer(strings.NewReader(testHeader+`<a/>`+`<?xml version='1.0'?>`+testHeader+`<b/>`), 1000)
	var got []frameKind
	for range 2 {
		k, _, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, k)
	}
	f.restart()
	for range 2 {
		k, _, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, k)
	}
	if want := []frameKind{frameHeader, frameElement, frameHeader, frameElement}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// repeat is n bytes of a pattern, made while it is read.
type repeat struct {
	pattern string
	n       int
	at      int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.at == r.n {
		return 0, io.EOF
	}
	n := min(len(p), r.n-r.at)
	for i := 0; i < n; {
		i += copy(p[i:n], r.pattern[(r.at+i)%len(r.pattern):])
	}
	r.at += n
	return n, nil
}

func TestFramerKeepsMemoryAtBombs(t *testing.T) {
	for _, tt := range []struct{ name, before, pattern, behind string }{
		{"text", `<message from='a@b/c'><x>`, "x", `</x></message>`},
		{"children", `<message from='a@b/c'>`, "<a/>", `</message>`},
		{"depth, never closed", `<message from='a@b/c'>`, "<a>", ``},
		{"attribute", `<message from='a@b/c' b='`, "x", `'/>`},
		{"attributes", `<message from='a@b/c' `, "b='' ", `/>`},
		{"cdata", `<message from='a@b/c'><![CDATA[`, "]", `]]></message>`},
		{"name", `<`, "x", `/>`},
		{"white space", ``, " ", ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			size := 2 << 20
			if tt.name == "text" {
				size = 8 << 20
			}
			n := size - size%len(tt.pattern)
			tt.pattern = strings.Repeat(tt.pattern, 1000)
			r := io.MultiReader(strings.NewReader(testHeader+tt.before), &repeat{pattern: tt.pattern, n: n}, strings.NewReader(tt.behind+"<next/>"))
			f := newFramer(r, 256<<10)
			if _, _, err := f.next(); err != nil {
				t.Fatal(err)
			}
			_, b, err := f.next()
			if c := cap(f.buf); c > 1<<20 {
				t.Errorf("the buffer has grown to %d bytes", c)
			}
			var large *TooLargeError
			switch {
			case tt.behind == "" && tt.before != "":
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v", err)
				}
				return
			case tt.before == "":
				if string(b) != "<next/>" {
					t.Errorf("got %q, %v", b, err)
				}
				return
			case !errors.As(err, &large) || large.Size != len(tt.before)+n+len(tt.behind):
				t.Fatalf("got %q, %v", b, err)
			}
			if _, b, err := f.next(); string(b) != "<next/>" {
				t.Errorf("then got %q, %v", b, err)
			}
		})
	}
}

// FuzzFramer cuts the input in two ways, which must not matter, and holds what
// is found against encoding/xml: where that sees a well-formed stream, we see
// its children.
func FuzzFramer(f *testing.F) {
	for _, tt := range framerTests {
		f.Add([]byte(tt.in), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		whole := append([]byte(testHeader), in...)
		at := int(cut) % (len(whole) + 1)
		a := frames(io.MultiReader(bytes.NewReader(whole[:at]), bytes.NewReader(whole[at:])), 1000)
		b := frames(iotest.OneByteReader(bytes.NewReader(whole)), 1000)
		if !slices.Equal(a, b) {
			t.Fatalf("%q cut at %d: %q, byte by byte %q", whole, at, a, b)
		}
		want, ok := children(whole)
		if !ok || a[len(a)-1] == "restricted-xml" {
			return
		}
		var got []string
		for _, frame := range a[1 : len(a)-1] {
			if !strings.HasPrefix(frame, "large") && frame != "end" {
				got = append(got, frame)
			}
		}
		if len(got) < len(want) && !slices.ContainsFunc(a, func(s string) bool { return strings.HasPrefix(s, "large") }) {
			// A name that encoding/xml knows and we refuse ends the stream earlier.
			if last := a[len(a)-1]; last != "not-well-formed" {
				t.Fatalf("%q: found %q, want %q", whole, got, want)
			}
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] && !slices.ContainsFunc(a, func(s string) bool { return strings.HasPrefix(s, "large") }) {
				t.Fatalf("%q: found %q, want %q", whole, got, want)
			}
		}
	})
}

// children cuts a stream with encoding/xml; ok is false unless it is well-formed
// to its end, white space between the elements.
func children(stream []byte) (out []string, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(append(bytes.Clone(stream), "</stream:stream>"...)))
	depth, from := 0, int64(0)
	for {
		before := d.InputOffset()
		tok, err := d.Token()
		if err != nil {
			return out, err == io.EOF
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth == 1 {
				from = before
			}
			depth++
		case xml.EndElement:
			depth--
			switch depth {
			case 1:
				out = append(out, string(stream[from:d.InputOffset()]))
			case 0:
				return out, d.InputOffset() == int64(len(stream)+len("</stream:stream>"))
			}
		case xml.CharData:
			if depth == 1 && strings.Trim(string(tok), " \t\r\n") != "" {
				return nil, false
			}
		default:
			return nil, false
		}
	}
}

func BenchmarkFrameAndParse(b *testing.B) {
	const stanza = `<message type='groupchat' from='dev@rooms.corp.example/alice' to='bot@corp.example/drawbridge' id='7c1f2c4e-8f1d-4a7e-9d0b-2f1f6c6a9b11' xml:lang='en'>` +
		`<body>the build is green again, &quot;thanks&quot; to bob</body><origin-id xmlns='urn:xmpp:sid:0' id='7c1f2c4e-8f1d-4a7e-9d0b-2f1f6c6a9b11'/>` +
		`<stanza-id xmlns='urn:xmpp:sid:0' by='dev@rooms.corp.example' id='1732233445'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='aGVsbG8='/></message>`
	f := newFramer(io.MultiReader(strings.NewReader(testHeader), &repeat{pattern: stanza, n: len(stanza) * b.N}), 256<<10)
	p := element.NewParser(element.Scope{Default: nsClient}, element.Limits{})
	if _, _, err := f.next(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(stanza)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		_, frame, err := f.next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}
