package element

import (
	"fmt"
	"unicode/utf8"
)

// AppendXML appends e as XML to dst. parentNS is the default namespace of where
// it will stand: the namespace is declared only where it differs. Text comes
// before the children. Everything is escaped, and characters that XML 1.0 does
// not have become U+FFFD; an attribute "xmlns" is left out, since Space says it.
//
// Names are the program's own or the parser's: AppendXML panics on one that is
// not an ASCII XML name without colon ("xml:lang" excepted).
func AppendXML(dst []byte, e *Element, parentNS string) []byte {
	checkName(e.Local)
	dst = append(dst, '<')
	dst = append(dst, e.Local...)
	if e.Space != parentNS {
		dst = append(dst, " xmlns='"...)
		dst = appendEscaped(dst, e.Space, true)
		dst = append(dst, '\'')
	}
	for _, a := range e.Attr {
		if a.Name == "xmlns" {
			continue
		}
		if a.Name != "xml:lang" {
			checkName(a.Name)
		}
		dst = append(dst, ' ')
		dst = append(dst, a.Name...)
		dst = append(dst, "='"...)
		dst = appendEscaped(dst, a.Value, true)
		dst = append(dst, '\'')
	}
	if e.Text == "" && len(e.Children) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = appendEscaped(dst, e.Text, false)
	for _, c := range e.Children {
		if c != nil {
			dst = AppendXML(dst, c, e.Space)
		}
	}
	dst = append(dst, "</"...)
	dst = append(dst, e.Local...)
	return append(dst, '>')
}

func checkName(s string) {
	ok := s != "" && classes[s[0]]&nameStart != 0
	for i := 0; ok && i < len(s); i++ {
		ok = classes[s[i]]&nameByte != 0
	}
	if !ok {
		panic(fmt.Sprintf("element: %q is not a name", s))
	}
}

// appendEscaped appends s; in attribute values white space is escaped as well,
// since parsers may turn it into blanks (XML 1.0 §3.3.3).
func appendEscaped(dst []byte, s string, attr bool) []byte {
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		esc, size := "", 1
		switch {
		case b == '&':
			esc = "&amp;"
		case b == '<':
			esc = "&lt;"
		case b == '>':
			esc = "&gt;"
		case b == '\'' && attr:
			esc = "&apos;"
		case b == '"' && attr:
			esc = "&quot;"
		case b == '\r':
			esc = "&#xD;"
		case b == '\n' && attr:
			esc = "&#xA;"
		case b == '\t' && attr:
			esc = "&#x9;"
		case b >= 0x20 && b < utf8.RuneSelf || b == '\n' || b == '\t':
			i++
			continue
		default:
			if n := charSize(s[i:]); n > 0 {
				i += n
				continue
			}
			esc = "\uFFFD"
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError {
				size = n // U+FFFE, U+FFFF: three bytes for one
			}
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, esc...)
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}
