package element

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendXML(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   *Element
		want string
	}{
		{"empty", New("jabber:client", "presence"), `<presence/>`},
		{"namespace only where it differs", New("jabber:client", "message").Add(New("jabber:client", "body").SetText("hi"), New("urn:xmpp:hints", "store").Add(New("urn:xmpp:hints", "x"))), `<message><body>hi</body><store xmlns='urn:xmpp:hints'><x/></store></message>`},
		{"child without namespace", New("jabber:client", "a").Add(New("", "b")), `<a><b xmlns=''/></a>`},
		{"text is escaped", New("jabber:client", "a").SetText("<b>&amp;]]>\r\n"), "<a>&lt;b&gt;&amp;amp;]]&gt;&#xD;\n</a>"},
		{"attributes are escaped", New("jabber:client", "a", "b", "'\"<>&\n\t"), `<a b='&apos;&quot;&lt;&gt;&amp;&#xA;&#x9;'/>`},
		{"nothing gets out of a namespace", New("u'><evil/>", "a"), `<a xmlns='u&apos;&gt;&lt;evil/&gt;'/>`},
		{"illegal characters", New("jabber:client", "a").SetText("1\x00\x1b\ufffe\xff\xed\xa0\x80z\ufffd"), "<a>1\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdz\ufffd</a>"},
		{"xml:lang", New("jabber:client", "a", "xml:lang", "cs"), `<a xml:lang='cs'/>`},
		{"xmlns is not an attribute", &Element{Space: "jabber:client", Local: "a", Attr: []Attr{{"xmlns", "u"}}}, `<a/>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendXML([]byte("x"), tt.in, "jabber:client")); got != "x"+tt.want {
				t.Errorf("got  %s\nwant x%s", got, tt.want)
			}
		})
	}
}

func TestAppendXMLPanicsOnNames(t *testing.T) {
	for _, e := range []*Element{
		New("", ""), New("", "a b"), New("", "a>"), New("", "stream:error"), New("", "1"), New("", "é"),
		New("", "a", "b='' c", "x"), New("", "a", "x:y", "z"),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for %+v", e)
				}
			}()
			AppendXML(nil, e, "")
		}()
	}
}

func drawElement(t *rapid.T, depth int) *Element {
	name := rapid.StringMatching(`[A-Za-z_][A-Za-z0-9._-]{0,8}`)
	text := rapid.StringOf(rapid.RuneFrom([]rune("aB 0<>&'\"]\r\n\tž🐎\ufffd\x00\x1b\ufffe")))
	e := &Element{
		Space: rapid.SampledFrom([]string{"", "jabber:client", "urn:x", "a'b<&"}).Draw(t, "space"),
		Local: name.Draw(t, "local"),
		Text:  text.Draw(t, "text"),
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 4, rapid.ID[string]).Draw(t, "attributes") {
		if n != "xmlns" {
			e.Attr = append(e.Attr, Attr{n, text.Draw(t, "value")})
		}
	}
	if depth > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "children") {
			e.Children = append(e.Children, drawElement(t, depth-1))
		}
	}
	return e
}

// legalise does to a tree what AppendXML says it does to text.
func legalise(e *Element) {
	clean := func(s string) string {
		return strings.Map(func(r rune) rune {
			if !legal(r) {
				return 0xFFFD
			}
			return r
		}, s)
	}
	e.Text = clean(e.Text)
	for i := range e.Attr {
		e.Attr[i].Value = clean(e.Attr[i].Value)
	}
	for _, c := range e.Children {
		legalise(c)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawElement(t, 3)
		out := AppendXML(nil, e, client.Default)
		got, err := Parse(out, client, Limits{})
		if err != nil {
			t.Fatalf("Parse(%q): %v", out, err)
		}
		legalise(e)
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("%q: got %q", out, AppendXML(nil, got, client.Default))
		}
	})
}

func BenchmarkAppendXML(b *testing.B) {
	e, err := Parse([]byte(mucMessage), client, Limits{})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	b.SetBytes(int64(len(mucMessage)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendXML(buf[:0], e, client.Default)
	}
}
