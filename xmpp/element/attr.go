package element

import (
	"fmt"
	"strings"
)

// attributes parses up to the end of a start tag into p.tag; xmlns goes to p.ns.
func (p *parser) attributes() (empty bool, err error) {
	p.raw, p.tag = p.raw[:0], p.tag[:0]
	for {
		spaced := p.skipSpace()
		if p.i == len(p.s) {
			return false, p.fail("unexpected end")
		}
		switch p.s[p.i] {
		case '>':
			p.i++
			return false, p.checkPrefixes()
		case '/':
			p.i++
			if p.i == len(p.s) || p.s[p.i] != '>' {
				return false, p.fail("no > behind /")
			}
			p.i++
			return true, p.checkPrefixes()
		}
		if !spaced {
			return false, p.fail("no space before attribute")
		}
		if err := p.attribute(); err != nil {
			return false, err
		}
	}
}

func (p *parser) attribute() error {
	name, colon, err := p.name()
	if err != nil {
		return err
	}
	if len(p.raw) >= p.lim.Attrs {
		return fmt.Errorf("%w: number of attributes", ErrLimit)
	}
	for _, r := range p.raw {
		if r == name {
			return p.fail("attribute twice")
		}
	}
	p.raw = append(p.raw, name)
	p.skipSpace()
	if p.i == len(p.s) || p.s[p.i] != '=' {
		return p.fail("attribute without value")
	}
	p.i++
	p.skipSpace()
	value, err := p.value()
	if err != nil {
		return err
	}
	switch {
	case name == "xmlns":
		if value == xmlNS || value == xmlnsNS {
			return p.fail("reserved namespace")
		}
		p.ns = append(p.ns, binding{"", value})
	case colon < 0 || name == "xml:lang":
		p.tag = append(p.tag, Attr{name, value})
	case name[:colon] == "xmlns":
		prefix := name[colon+1:]
		if prefix == "xml" || prefix == "xmlns" || value == "" || value == xmlNS || value == xmlnsNS {
			return p.fail("reserved prefix or namespace")
		}
		p.ns = append(p.ns, binding{prefix, value})
	}
	return nil
}

// checkPrefixes refuses attributes with undeclared prefixes, now that all
// declarations of the tag are known.
func (p *parser) checkPrefixes() error {
	for _, name := range p.raw {
		colon := strings.IndexByte(name, ':')
		if colon < 0 || name[:colon] == "xmlns" {
			continue
		}
		if _, ok := p.lookup(name[:colon]); !ok {
			return p.fail("undeclared prefix")
		}
	}
	return nil
}

func (p *parser) resolve(name string, colon int) (space, local string, err error) {
	prefix := ""
	local = name
	if colon >= 0 {
		prefix, local = name[:colon], name[colon+1:]
	}
	space, ok := p.lookup(prefix)
	if !ok || space == xmlNS {
		return "", "", p.fail("undeclared prefix")
	}
	return space, local, nil
}

func (p *parser) lookup(prefix string) (string, bool) {
	for i := len(p.ns) - 1; i >= 0; i-- {
		if p.ns[i].prefix == prefix {
			return p.ns[i].uri, true
		}
	}
	if prefix == "xml" {
		return xmlNS, true
	}
	return "", false
}
