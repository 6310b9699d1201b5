package archive

import (
	"strings"
	"time"
	"unicode"
)

// Kind says what a line of a log is.
type Kind int

// The kinds.
const (
	Said   Kind = iota // what somebody said
	Action             // /me
	Notice
	Event // joins, parts, modes, topics; and what was not understood
)

// Line is one line of a log.
type Line struct {
	// Day is the date, "2006-01-02"; "" where the log does not tell it.
	Day string
	// Time is the time of the day as it was logged, "15:04" or "15:04:05"; "" where
	// there is none.
	Time string
	Kind Kind
	Nick string // "" of an Event
	Text string
	// Odd is set if the line is none of its format: it is kept as it is.
	Odd bool
}

// stamp is what stands before a line: a date, if there is one, and a time.
type stamp struct{ day, time string }

// cutStamp cuts "[2024-01-31 12:34:56] ", "12:34 " and the like off a line. A
// date may be followed by T, a time by fractions and a zone.
func cutStamp(s string) (st stamp, rest string, ok bool) {
	open := strings.HasPrefix(s, "[")
	if open {
		s = s[1:]
	}
	if len(s) > 10 && isDate(s[:10]) && (s[10] == ' ' || s[10] == 'T') {
		st.day, s = s[:10], s[11:]
	}
	n := timeLen(s)
	if n == 0 {
		return stamp{}, "", false
	}
	st.time, s = s[:n], s[n:]
	s = s[zoneLen(s):]
	if open {
		if s, ok = strings.CutPrefix(s, "]"); !ok {
			return stamp{}, "", false
		}
	}
	if s == "" {
		return st, "", true
	}
	if s[0] != ' ' && s[0] != '\t' {
		return stamp{}, "", false
	}
	return st, s[1:], true
}

// isDate reports whether s is a date as 2024-01-31.
func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// timeLen returns the length of the time at the start of s, 0 if there is none.
func timeLen(s string) int {
	two := func(i int, most byte) bool {
		return len(s) >= i+2 && digit(s[i]) && digit(s[i+1]) && (s[i] < most || most == '2' && s[i] == '2' && s[i+1] < '4')
	}
	if !two(0, '2') || len(s) < 5 || s[2] != ':' || !two(3, '6') {
		return 0
	}
	if len(s) >= 8 && s[5] == ':' && (two(6, '6') || s[6:8] == "60") {
		return 8
	}
	return 5
}

// zoneLen returns the length of fractions of a second and a zone, as ".123456Z".
func zoneLen(s string) int {
	n := 0
	if strings.HasPrefix(s, ".") {
		for n = 1; n < len(s) && digit(s[n]); n++ {
		}
	}
	if n < len(s) && s[n] == 'Z' {
		return n + 1
	}
	if n+5 <= len(s) && (s[n] == '+' || s[n] == '-') && digit(s[n+1]) && digit(s[n+2]) {
		if s[n+3] == ':' && n+6 <= len(s) {
			return n + 6
		}
		if digit(s[n+3]) && digit(s[n+4]) {
			return n + 5
		}
	}
	return n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// months are the beginnings of months, as irssi writes them in English and German.
var months = map[string]time.Month{
	"jan": 1, "jän": 1, "feb": 2, "mar": 3, "mär": 3, "mrz": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7, "aug": 8,
	"sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}

// longDate reads "Mon Jan 15 12:34:56 2024", "Tue Jan 16 2024" and "Di 16 Jan 2024".
func longDate(s string) (day string, ok bool) {
	var y, d int
	var m time.Month
	for _, w := range strings.Fields(s) {
		w = strings.ToLower(strings.Trim(w, ".,"))
		switch n := number(w); {
		case n >= 1970 && n <= 9999:
			y = n
		case n >= 1 && n <= 31:
			d = n
		case m == 0:
			r := []rune(w)
			m = months[string(r[:min(len(r), 3)])]
		}
	}
	if y == 0 || m == 0 || d == 0 {
		return "", false
	}
	t := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return t.Format(time.DateOnly), t.Day() == d
}

// number returns the number that s is, -1 if it is none.
func number(s string) int {
	if s == "" || len(s) > 4 {
		return -1
	}
	n := 0
	for i := range len(s) {
		if !digit(s[i]) {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// clean takes out what a page must not show or obey: colours and other control
// codes of IRC, and what turns the direction of text around.
func clean(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case 0x03: // colour: up to two digits, a comma, two digits
			i = colour(s, i+1)
			continue
		case 0x04: // hex colour
			for end := min(len(s), i+7); i+1 < end && isHex(s[i+1]); i++ {
			}
			i++
			continue
		}
		r, size := rune(s[i]), 1
		if s[i] >= 0x80 {
			for _, r = range s[i:] {
				break
			}
			size = len(string(r))
			if r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD") {
				size = 1
			}
		}
		if r == '\t' {
			r = ' '
		}
		if !hidden(r) || r == ' ' {
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// hidden reports whether a rune is left out, or changed.
func hidden(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

func isHex(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// colour returns where the text goes on after a colour code's numbers at i.
func colour(s string, i int) int {
	two := func(i int) int {
		for n := 0; n < 2 && i < len(s) && digit(s[i]); n++ {
			i++
		}
		return i
	}
	j := two(i)
	if j > i && j+1 < len(s) && s[j] == ',' && digit(s[j+1]) {
		j = two(j + 1)
	}
	return j
}
