package element

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

var client = Scope{Default: "jabber:client", Prefix: []string{"stream", "http://etherx.jabber.org/streams"}}

const mucMessage = `<message type='groupchat' from='dev@rooms.corp.example/alice' to='bot@corp.example/drawbridge' id='7c1f2c4e-8f1d-4a7e-9d0b-2f1f6c6a9b11' xml:lang='en'>` +
	`<body>the build is green again, &quot;thanks&quot; to bob</body><origin-id xmlns='urn:xmpp:sid:0' id='7c1f2c4e-8f1d-4a7e-9d0b-2f1f6c6a9b11'/>` +
	`<stanza-id xmlns='urn:xmpp:sid:0' by='dev@rooms.corp.example' id='1732233445'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='aGVsbG8='/></message>`

var parseTests = []struct {
	name, in string
	want     *Element // nil: refused
}{
	{"empty", `<presence/>`, New("jabber:client", "presence")},
	{"attributes", `<iq type="get" id='a"b'/>`, New("jabber:client", "iq", "type", "get", "id", `a"b`)},
	{"space in tags", "<iq\n id = 'x'\t></iq >", New("jabber:client", "iq", "id", "x")},
	{"children inherit", `<message><body>hi</body></message>`, New("jabber:client", "message").Add(New("jabber:client", "body").SetText("hi"))},
	{"own namespace", `<a xmlns='u'><b/></a>`, New("u", "a").Add(New("u", "b"))},
	{"namespace ends with its element", `<a><b xmlns='u'/><c/></a>`, New("jabber:client", "a").Add(New("u", "b"), New("jabber:client", "c"))},
	{"no namespace", `<a xmlns=''/>`, New("", "a")},
	{"outer prefix", `<stream:error/>`, New("http://etherx.jabber.org/streams", "error")},
	{"prefixed child", `<a xmlns:p='u'><p:b><c/></p:b></a>`, New("jabber:client", "a").Add(New("u", "b").Add(New("jabber:client", "c")))},
	{"prefix declared on itself", `<p:a xmlns:p='u'/>`, New("u", "a")},
	{"prefix redeclared", `<p:a xmlns:p='u'><p:b xmlns:p='v'/><p:c/></p:a>`, New("u", "a").Add(New("v", "b"), New("u", "c"))},
	{"xml:lang kept, other prefixed attributes dropped", `<a xml:lang='en' xmlns:p='u' p:x='1' y='2'/>`, New("jabber:client", "a", "xml:lang", "en", "y", "2")},
	{"entities", `<a b='&lt;&amp;&apos;'>&gt;&quot;&#x41;&#97;&#x1F600;&#xfFfd;</a>`, New("jabber:client", "a", "b", `<&'`).SetText(">\"Aa\U0001F600\uFFFD")},
	{"line ends", "<a b='1\r\n2'>x\r\ny\rz&#13;</a>", New("jabber:client", "a", "b", "1\n2").SetText("x\ny\nz\r")},
	{"mixed content", `<a>1<b/>2<b/>3</a>`, New("jabber:client", "a").Add(New("jabber:client", "b"), New("jabber:client", "b")).SetText("123")},
	{"cdata", `<a>x<![CDATA[<b>&amp;]]>y</a>`, New("jabber:client", "a").SetText("x<b>&amp;y")},
	{"utf-8", `<a>žluťoučký 🐎</a>`, New("jabber:client", "a").SetText("žluťoučký 🐎")},
	{"brackets in text", `<a>]] ]]&gt;</a>`, New("jabber:client", "a").SetText("]] ]]>")},

	{"nothing", ``, nil},
	{"text", `hello`, nil},
	{"half a tag", `<a`, nil},
	{"half an element", `<a>`, nil},
	{"half an end", `<a></a`, nil},
	{"no name", `<>x</>`, nil},
	{"two elements", `<a/><b/>`, nil},
	{"space before", ` <a/>`, nil},
	{"space behind", `<a/> `, nil},
	{"wrong end tag", `<a></b>`, nil},
	{"longer end tag", `<a></ab>`, nil},
	{"crossing", `<a><b></a></b>`, nil},
	{"end tag with other prefix", `<p:a xmlns:p='u' xmlns:q='u'></q:a>`, nil},
	{"comment", `<a><!-- x --></a>`, nil},
	{"processing instruction", `<a><?x y?></a>`, nil},
	{"doctype", `<!DOCTYPE a [<!ENTITY x "y">]><a/>`, nil},
	{"doctype inside", `<a><!DOCTYPE b></a>`, nil},
	{"custom entity", `<a>&x;</a>`, nil},
	{"html entity", `<a>&nbsp;</a>`, nil},
	{"unfinished entity", `<a>&amp</a>`, nil},
	{"empty reference", `<a>&#;&#x;</a>`, nil},
	{"reference to NUL", `<a>&#0;</a>`, nil},
	{"reference to a surrogate", `<a>&#xD800;</a>`, nil},
	{"reference beyond Unicode", `<a>&#x110000;</a>`, nil},
	{"reference that overflows", `<a>&#99999999999999999999;</a>`, nil},
	{"NUL", "<a>\x00</a>", nil},
	{"control character", "<a>\x1b[31m</a>", nil},
	{"control character in attribute", "<a b='\x01'/>", nil},
	{"invalid utf-8", "<a>\xff</a>", nil},
	{"overlong utf-8", "<a>\xc0\xbc</a>", nil},
	{"utf-8 of a surrogate", "<a>\xed\xa0\x80</a>", nil},
	{"invalid utf-8 in attribute", "<a b='\xc3'/>", nil},
	{"invalid utf-8 in cdata", "<a><![CDATA[\xff]]></a>", nil},
	{"U+FFFE", "<a>\ufffe</a>", nil},
	{"]]> in text", `<a>]]></a>`, nil},
	{"open cdata", `<a><![CDATA[x</a>`, nil},
	{"attribute twice", `<a b='1' b='2'/>`, nil},
	{"attribute without value", `<a b/>`, nil},
	{"attribute without quotes", `<a b=c/>`, nil},
	{"attributes without space", `<a b='1'c='2'/>`, nil},
	{"< in attribute", `<a b='<'/>`, nil},
	{"undeclared prefix", `<p:a/>`, nil},
	{"undeclared prefix of attribute", `<a p:x='1'/>`, nil},
	{"prefix of a sibling", `<a><p:b xmlns:p='u'/><p:c/></a>`, nil},
	{"two colons", `<a:b:c xmlns:a='u'/>`, nil},
	{"name is a colon", `<:/>`, nil},
	{"nothing behind the colon", `<stream:/>`, nil},
	{"name begins with a digit", `<1a/>`, nil},
	{"xmlns as prefix", `<xmlns:a/>`, nil},
	{"element of XML itself", `<xml:a/>`, nil},
	{"xml redeclared", `<a xmlns:xml='u'/>`, nil},
	{"prefix undeclared again", `<a xmlns:p=''/>`, nil},
	{"slash inside", `<a / >`, nil},
}

func TestParse(t *testing.T) {
	for _, tt := range parseTests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in), client, Limits{})
			if tt.want == nil {
				var syn *SyntaxError
				if !errors.As(err, &syn) {
					t.Fatalf("Parse(%q) = %v, %v, want a *SyntaxError", tt.in, got, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Parse(%q): %v", tt.in, err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Parse(%q) = %s, want %s", tt.in, AppendXML(nil, got, ""), AppendXML(nil, tt.want, ""))
			}
		})
	}
}

func TestParseRefusesBombs(t *testing.T) {
	var attrs, kids strings.Builder
	for i := range 65 {
		fmt.Fprintf(&attrs, " a%d=''", i)
	}
	for range 200 {
		kids.WriteString("<b>" + strings.Repeat("<c/>", 100) + "</b>")
	}
	for _, tt := range []struct{ name, in string }{
		{"size", "<a>" + strings.Repeat("x", 256<<10) + "</a>"},
		{"depth", strings.Repeat("<a>", 33) + strings.Repeat("</a>", 33)},
		{"depth, never closed", strings.Repeat("<a>", 80000)},
		{"attributes", "<a" + attrs.String() + "/>"},
		{"children", "<a>" + strings.Repeat("<b/>", 4097) + "</a>"},
		{"elements", "<a>" + kids.String() + "</a>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.in), client, Limits{}); !errors.Is(err, ErrLimit) {
				t.Errorf("err = %v, want ErrLimit", err)
			}
		})
	}
	at := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	if _, err := Parse([]byte(at(32)), client, Limits{}); err != nil {
		t.Errorf("depth 32 is refused: %v", err)
	}
}

func TestParseOpen(t *testing.T) {
	e, scope, err := ParseOpen([]byte(`<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' id='x' version='1.0'>`), Scope{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Is("http://etherx.jabber.org/streams", "stream") || e.Get("id") != "x" {
		t.Errorf("got %s", AppendXML(nil, e, ""))
	}
	e, err = Parse([]byte(`<s:features><a/></s:features>`), scope, Limits{})
	if err != nil || !e.Is("http://etherx.jabber.org/streams", "features") || e.Child("jabber:client", "a") == nil {
		t.Errorf("the scope does not resolve: %v", err)
	}
	for _, in := range []string{``, `x`, `<a>x`, `<a></a>`, `<a`, `</a>`} {
		if _, _, err := ParseOpen([]byte(in), Scope{}, Limits{}); err == nil {
			t.Errorf("ParseOpen(%q) accepts", in)
		}
	}
}

// reference parses as encoding/xml does.
func referenceParse(in []byte) (*Element, error) {
	const head = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	d := xml.NewDecoder(io.MultiReader(strings.NewReader(head), bytes.NewReader(in), strings.NewReader(`</stream:stream>`)))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var stack []*Element
	var root *Element
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &Element{Space: tok.Name.Space, Local: tok.Name.Local}
			for _, a := range tok.Attr {
				switch {
				case a.Name.Space == "" && a.Name.Local != "xmlns":
					e.Attr = append(e.Attr, Attr{a.Name.Local, a.Value})
				case a.Name == xml.Name{Space: xmlNS, Local: "lang"}:
					e.Attr = append(e.Attr, Attr{"xml:lang", a.Value})
				}
			}
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.Children = append(top.Children, e)
			} else {
				root = e
			}
			stack = append(stack, e)
		case xml.EndElement:
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].Text += string(tok)
			}
		}
	}
}

// FuzzParse holds Parse against encoding/xml: it never accepts more, and sees
// the same tree.
func FuzzParse(f *testing.F) {
	for _, tt := range parseTests {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte(mucMessage))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Parse(in, client, Limits{})
		if err != nil {
			return
		}
		want, err := referenceParse(in)
		if err != nil {
			t.Fatalf("accepts what encoding/xml refuses (%v): %q", err, in)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %s, encoding/xml has %s", in, AppendXML(nil, got, ""), AppendXML(nil, want, ""))
		}
		again, err := Parse(AppendXML(nil, got, client.Default), client, Limits{Bytes: 1 << 30})
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("no round trip of %q: %v", in, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(mucMessage)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	p := NewParser(client, Limits{})
	for b.Loop() {
		if _, err := p.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
