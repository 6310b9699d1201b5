package element

import (
	"strings"
	"unicode/utf8"
)

// text parses character data up to the next '<'.
func (p *parser) text() error {
	s, start := p.s, p.i
	i := start
	plain := true
	for i < len(s) {
		switch c := classes[s[i]]; {
		case c&textPlain != 0:
			i++
		case s[i] == '<':
			p.i = i
			if i == start {
				return nil
			}
			if plain {
				p.addText(s[start:i])
				return nil
			}
			t, err := p.unescape(start, i)
			if err != nil {
				return err
			}
			p.addText(t)
			return nil
		case s[i] == '&' || s[i] == '\r':
			plain = false
			i++
		case s[i] == ']':
			if strings.HasPrefix(s[i:], "]]>") {
				p.i = i
				return p.fail("]]> in text")
			}
			i++
		default:
			size := charSize(s[i:])
			if size == 0 {
				p.i = i
				return p.fail("illegal character")
			}
			i += size
		}
	}
	p.i = i
	return p.fail("unexpected end")
}

// value parses a quoted attribute value.
func (p *parser) value() (string, error) {
	if p.i == len(p.s) || p.s[p.i] != '\'' && p.s[p.i] != '"' {
		return "", p.fail("attribute value without quotes")
	}
	s, quote := p.s, p.s[p.i]
	start := p.i + 1
	plain := true
	for i := start; i < len(s); {
		switch b := s[i]; {
		case b == quote:
			p.i = i + 1
			if plain {
				return s[start:i], nil
			}
			return p.unescape(start, i)
		case classes[b]&textPlain != 0 || b == ']':
			i++
		case b == '&' || b == '\r':
			plain = false
			i++
		case b == '<':
			p.i = i
			return "", p.fail("< in attribute value")
		default:
			size := charSize(s[i:])
			if size == 0 {
				p.i = i
				return "", p.fail("illegal character")
			}
			i += size
		}
	}
	p.i = len(s)
	return "", p.fail("unexpected end")
}

// charSize returns the length of the UTF-8 sequence that s begins with, or 0 if
// it is none or XML 1.0 §2.2 does not have the character.
func charSize(s string) int {
	if b := s[0]; b < utf8.RuneSelf {
		if b < 0x20 && b != '\t' && b != '\n' && b != '\r' {
			return 0
		}
		return 1
	}
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
		return 0
	}
	return size
}
