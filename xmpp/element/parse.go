package element

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLimit is wrapped by what Parse returns for an element above its Limits.
var ErrLimit = errors.New("element: above the limit")

// SyntaxError is XML that is not well-formed, or that RFC 6120 §11.1 forbids.
type SyntaxError struct {
	Offset int // bytes from the start
	What   string
}

// Error tells what is wrong and where; it quotes nothing of the input.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("element: %s at byte %d", e.What, e.Offset)
}

// Scope resolves the prefixes that are declared outside the element that is
// parsed, as the stream header does.
type Scope struct {
	Default string   // the default namespace, e.g. "jabber:client"
	Prefix  []string // prefix, namespace, prefix, namespace …
}

const (
	xmlNS   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNS = "http://www.w3.org/2000/xmlns/"
)

// Parser parses one element after another and keeps its scratch space between
// them. It has one user at a time.
type Parser struct {
	outer Scope
	p     parser
}

// NewParser returns a Parser of elements that stand in outer.
func NewParser(outer Scope, l Limits) *Parser {
	return &Parser{outer: outer, p: parser{lim: l.withDefaults()}}
}

// Outer returns the scope that the parsed elements stand in.
func (pp *Parser) Outer() Scope { return pp.outer }

// Parse is a Parser's for once.
func Parse(b []byte, outer Scope, l Limits) (*Element, error) {
	return NewParser(outer, l).Parse(b)
}

// Parse parses one complete element: nothing may stand before or behind it. It
// accepts less than XML 1.0 does: no comments, processing instructions, document
// types or entities but the predefined ones (RFC 6120 §11.1), only ASCII names,
// and no undeclared prefixes. The error is a *SyntaxError or wraps ErrLimit.
//
// The strings of the tree share one copy of b, which lives as long as any of
// them.
func (pp *Parser) Parse(b []byte) (*Element, error) {
	p := &pp.p
	if len(b) > p.lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrLimit, len(b))
	}
	defer p.reset()
	p.s = string(b)
	p.scope(pp.outer)
	if err := p.element(); err != nil {
		return nil, err
	}
	if p.i != len(p.s) {
		return nil, p.fail("more than one element")
	}
	return p.root, nil
}

// reset forgets the last element, so that nothing of it is kept alive.
func (p *parser) reset() {
	clear(p.kids[:cap(p.kids)])
	clear(p.stack[:cap(p.stack)])
	clear(p.ns[:cap(p.ns)])
	clear(p.raw[:cap(p.raw)])
	clear(p.tag[:cap(p.tag)])
	*p = parser{lim: p.lim, stack: p.stack[:0], ns: p.ns[:0], raw: p.raw[:0], tag: p.tag[:0], kids: p.kids[:0]}
}

// ParseOpen parses one start tag, as a stream header is, and returns the element without
// content and what it declares.
func ParseOpen(b []byte, outer Scope, l Limits) (*Element, Scope, error) {
	l = l.withDefaults()
	if len(b) > l.Bytes {
		return nil, Scope{}, fmt.Errorf("%w: %d bytes", ErrLimit, len(b))
	}
	p := parser{s: string(b), lim: l}
	p.scope(outer)
	if !strings.HasPrefix(p.s, "<") {
		return nil, Scope{}, p.fail("no start tag")
	}
	p.i = 1
	if err := p.open(); err != nil {
		return nil, Scope{}, err
	}
	if p.i != len(p.s) {
		return nil, Scope{}, p.fail("more than one tag")
	}
	var s Scope
	for _, b := range p.ns {
		if b.prefix == "" {
			s.Default = b.uri
			continue
		}
		s.Prefix = append(s.Prefix, b.prefix, b.uri)
	}
	return p.root, s, nil
}

type binding struct{ prefix, uri string }

// frame is an element whose end tag has not come yet.
type frame struct {
	e    *Element
	name string // as written, prefix included
	ns   int    // len(parser.ns) outside the element
	kids int    // len(parser.kids) where its children begin
	text []byte // text of more than one piece
}

type parser struct {
	s     string
	i     int
	lim   Limits
	root  *Element
	stack []frame
	ns    []binding
	raw   []string   // attribute names of the current tag, as written
	tag   []Attr     // attributes of the current tag
	kids  []*Element // children of all open elements, the innermost last
	total int
	els   []Element // what is left of the slabs
	attrs []Attr
	ptrs  []*Element
}

func (p *parser) fail(what string) error { return &SyntaxError{p.i, what} }

func (p *parser) scope(outer Scope) {
	p.ns = append(p.ns, binding{"", outer.Default})
	for i := 0; i+1 < len(outer.Prefix); i += 2 {
		p.ns = append(p.ns, binding{outer.Prefix[i], outer.Prefix[i+1]})
	}
}

// element parses from the start tag of the root to its end tag.
func (p *parser) element() error {
	if !strings.HasPrefix(p.s, "<") {
		return p.fail("no start tag")
	}
	p.i = 1
	if err := p.open(); err != nil {
		return err
	}
	for len(p.stack) > 0 {
		if err := p.text(); err != nil {
			return err
		}
		p.i++ // the '<'
		if p.i == len(p.s) {
			return p.fail("unexpected end")
		}
		var err error
		switch p.s[p.i] {
		case '/':
			p.i++
			err = p.close()
		case '!':
			err = p.cdata()
		case '?':
			err = p.fail("processing instruction")
		default:
			err = p.open()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open parses a start tag behind its '<'.
func (p *parser) open() error {
	name, colon, err := p.name()
	if err != nil {
		return err
	}
	if len(p.stack) >= p.lim.Depth {
		return fmt.Errorf("%w: depth", ErrLimit)
	}
	if p.total++; p.total > p.lim.Elements {
		return fmt.Errorf("%w: number of elements", ErrLimit)
	}
	outerNS := len(p.ns)
	empty, err := p.attributes()
	if err != nil {
		return err
	}
	e := p.newElement()
	if e.Space, e.Local, err = p.resolve(name, colon); err != nil {
		return err
	}
	e.Attr = p.takeAttrs()
	if n := len(p.stack); n > 0 {
		if len(p.kids)-p.stack[n-1].kids >= p.lim.Children {
			return fmt.Errorf("%w: number of children", ErrLimit)
		}
		p.kids = append(p.kids, e)
	} else {
		p.root = e
	}
	if empty {
		if len(p.stack) > 0 {
			p.ns = p.ns[:outerNS]
		}
		return nil
	}
	p.stack = append(p.stack, frame{e: e, name: name, ns: outerNS, kids: len(p.kids)})
	return nil
}

// close parses an end tag behind its "</".
func (p *parser) close() error {
	f := &p.stack[len(p.stack)-1]
	if !strings.HasPrefix(p.s[p.i:], f.name) {
		return p.fail("wrong end tag")
	}
	p.i += len(f.name)
	p.skipSpace()
	if p.i == len(p.s) || p.s[p.i] != '>' {
		return p.fail("wrong end tag")
	}
	p.i++
	if f.text != nil {
		f.e.Text = string(f.text)
	}
	if kids := p.kids[f.kids:]; len(kids) > 0 {
		f.e.Children = p.takeKids(kids)
		p.kids = p.kids[:f.kids]
	}
	p.ns = p.ns[:f.ns]
	p.stack = p.stack[:len(p.stack)-1]
	return nil
}

// cdata parses a CDATA section from its "!" on.
func (p *parser) cdata() error {
	const begin, end = "![CDATA[", "]]>"
	if !strings.HasPrefix(p.s[p.i:], begin) {
		return p.fail("comment or declaration")
	}
	p.i += len(begin)
	n := strings.Index(p.s[p.i:], end)
	if n < 0 {
		return p.fail("unexpected end")
	}
	chunk := p.s[p.i : p.i+n]
	for j := 0; j < len(chunk); {
		size := charSize(chunk[j:])
		if size == 0 {
			p.i += j
			return p.fail("illegal character")
		}
		j += size
	}
	p.i += n + len(end)
	p.addText(newlines(chunk))
	return nil
}

func (p *parser) addText(s string) {
	f := &p.stack[len(p.stack)-1]
	switch {
	case s == "":
	case f.text != nil:
		f.text = append(f.text, s...)
	case f.e.Text == "":
		f.e.Text = s
	default:
		f.text = append(append(make([]byte, 0, 2*(len(f.e.Text)+len(s))), f.e.Text...), s...)
	}
}

// newElement, takeAttrs and takeKids cut from slabs, which saves most of the
// allocations of a stanza.
func (p *parser) newElement() *Element {
	if len(p.els) == 0 {
		if p.total == 1 {
			n := strings.Count(p.s, "<") - strings.Count(p.s, "</")
			n = max(1, min(n, 64))
			p.els, p.ptrs = make([]Element, n), make([]*Element, n-1)
		} else {
			p.els = make([]Element, 32)
		}
	}
	e := &p.els[0]
	p.els = p.els[1:]
	return e
}

func (p *parser) takeAttrs() []Attr {
	n := len(p.tag)
	if n == 0 {
		return nil
	}
	if len(p.attrs) < n {
		p.attrs = make([]Attr, max(12, n))
	}
	out := p.attrs[:n:n]
	p.attrs = p.attrs[n:]
	copy(out, p.tag)
	return out
}

func (p *parser) takeKids(kids []*Element) []*Element {
	n := len(kids)
	if len(p.ptrs) < n {
		p.ptrs = make([]*Element, n)
	}
	out := p.ptrs[:n:n]
	p.ptrs = p.ptrs[n:]
	copy(out, kids)
	return out
}
