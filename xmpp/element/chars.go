package element

import (
	"strings"
	"unicode/utf8"
)

// Classes of ASCII bytes.
const (
	textPlain uint8 = 1 << iota // stands for itself in text and attribute values
	nameStart
	nameByte
)

// classes has the classes of each byte; of those from 0x80 on there are none.
var classes = func() (t [256]uint8) {
	for b := 0x20; b < 0x80; b++ {
		t[b] = textPlain
	}
	t['\t'], t['\n'] = textPlain, textPlain
	for _, b := range []byte("<&]") {
		t[b] = 0
	}
	// The quotes end an attribute value; value looks for its own one first.
	for b := 'a'; b <= 'z'; b++ {
		t[b] |= nameStart | nameByte
		t[b-'a'+'A'] |= nameStart | nameByte
	}
	t['_'] |= nameStart | nameByte
	for _, b := range []byte("0123456789-.") {
		t[b] |= nameByte
	}
	return t
}()

// name parses a qualified name; colon is where its colon is, or -1.
func (p *parser) name() (name string, colon int, err error) {
	s, start := p.s, p.i
	i, part := start, start
	colon = -1
	for ; i < len(s); i++ {
		if classes[s[i]]&nameByte != 0 && (i > part || classes[s[i]]&nameStart != 0) {
			continue
		}
		if s[i] == ':' && colon < 0 && i > start {
			colon, part = i-start, i+1
			continue
		}
		break
	}
	if i == part {
		return "", 0, p.fail("bad name")
	}
	p.i = i
	return s[start:i], colon, nil
}

func (p *parser) skipSpace() bool {
	start := p.i
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
			continue
		}
		break
	}
	return p.i > start
}

// newlines turns CR LF and CR into LF (XML 1.0 §2.11).
func newlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// unescape resolves the references in p.s[start:end] and normalises line ends.
func (p *parser) unescape(start, end int) (string, error) {
	s := p.s[start:end]
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		n := strings.IndexAny(s[i:], "&\r")
		if n < 0 {
			out = append(out, s[i:]...)
			break
		}
		out = append(out, s[i:i+n]...)
		i += n
		if s[i] == '\r' {
			out = append(out, '\n')
			if i++; i < len(s) && s[i] == '\n' {
				i++
			}
			continue
		}
		r, size := reference(s[i:])
		if size == 0 {
			p.i = start + i
			return "", p.fail("bad or custom entity")
		}
		out = utf8.AppendRune(out, r)
		i += size
	}
	return string(out), nil
}

// reference decodes the predefined entity or character reference that s begins
// with; size is 0 if it is neither, or of a character that XML does not have.
func reference(s string) (r rune, size int) {
	for _, e := range [...]struct {
		ref string
		r   rune
	}{{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}} {
		if strings.HasPrefix(s, e.ref) {
			return e.r, len(e.ref)
		}
	}
	digits, base := 2, rune(10)
	if !strings.HasPrefix(s, "&#") {
		return 0, 0
	}
	if strings.HasPrefix(s, "&#x") {
		digits, base = 3, 16
	}
	for i := digits; i < len(s) && i < digits+8; i++ {
		b := rune(s[i])
		switch {
		case b == ';' && i > digits && legal(r):
			return r, i + 1
		case b >= '0' && b <= '9':
			r = r*base + b - '0'
		case base == 16 && (b|0x20) >= 'a' && (b|0x20) <= 'f':
			r = r*base + (b | 0x20) - 'a' + 10
		default:
			return 0, 0
		}
		if r > utf8.MaxRune {
			return 0, 0
		}
	}
	return 0, 0
}

// legal reports whether XML 1.0 §2.2 has the character.
func legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}
