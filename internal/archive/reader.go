package archive

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// maxLine bounds a line of a log in bytes; what is more of it is left out, and
// counted.
const maxLine = 64 << 10

var errEmpty = errors.New("is empty")

// reader reads the lines of one log, in its order.
type reader struct {
	src     *bufio.Reader
	format  Format
	charset *charmap.Charmap // of lines that are not UTF-8
	day     string           // of the lines to come
	last    string           // time of the line before
	counts  *Counts
	zone    func(day, clock string) (string, string) // moves a time to another zone; nil: none
}

// Counts are what was read.
type Counts struct {
	Files, Lines int
	Odd          int // lines that were not understood, and are kept as they are
	Cut          int // lines longer than 64 KiB
	Undated      int // lines whose date nothing tells
	Recoded      int // lines that were not UTF-8
}

// newReader reads a log. day is the date of lines before the first date, "" if it is
// not known.
func newReader(src io.Reader, f Format, charset *charmap.Charmap, day string, counts *Counts) *reader {
	return &reader{src: bufio.NewReaderSize(src, maxLine), format: f, charset: charset, day: day, counts: counts}
}

// next returns the next line. The error is io.EOF in the end.
func (r *reader) next() (Line, error) {
	for {
		s, err := r.line()
		if err != nil {
			return Line{}, err
		}
		if s == "" {
			continue
		}
		if l, ok := r.take(s); ok {
			r.counts.Lines++
			if l.Odd {
				r.counts.Odd++
			}
			if l.Day == "" {
				r.counts.Undated++
			}
			return l, nil
		}
	}
}

// take makes a Line of a line of the file; ok is false if it says nothing but the
// date.
func (r *reader) take(s string) (l Line, ok bool) {
	p, understood := r.format.parse(s)
	switch {
	case !understood:
		p = parsed{Line: Line{Time: r.last, Kind: Event, Text: s, Odd: true}}
	case p.day != "":
		r.day = p.day
		r.last = ""
	case r.day != "" && r.format == Irssi && behind(p.Time, r.last):
		r.day = dayAfter(r.day) // midnight went by without a word
	}
	if p.silent {
		return Line{}, false
	}
	r.last = p.Time
	l = p.Line
	l.Day, l.Nick, l.Text = r.day, clean(l.Nick), clean(l.Text)
	if r.zone != nil && l.Day != "" && l.Time != "" {
		l.Day, l.Time = r.zone(l.Day, l.Time)
	}
	return l, true
}

// behind reports whether the clock went back so far that a day has ended. An hour
// is what the end of summer time takes back.
func behind(now, before string) bool {
	const day = 12 * 60
	return now != "" && before != "" && minutes(before)-minutes(now) > day
}

func minutes(s string) int {
	return number(s[:2])*60 + number(s[3:5])
}

// zones returns what moves times of one zone to another. What summer time makes
// twice is taken as the first of them; the order of lines stays that of the log.
func zones(from, to *time.Location) func(day, clock string) (string, string) {
	if to == nil || from == to {
		return nil
	}
	return func(day, clock string) (string, string) {
		layout := "15:04:05"[:min(len(clock), 8)]
		t, err := time.ParseInLocation(time.DateOnly+" "+layout, day+" "+clock, from)
		if err != nil { // a leap second
			return day, clock
		}
		t = t.In(to)
		return t.Format(time.DateOnly), t.Format(layout)
	}
}

// line returns the next line without its end, as UTF-8.
func (r *reader) line() (string, error) {
	b, err := r.src.ReadSlice('\n')
	cut := false
	s := string(b)
	for errors.Is(err, bufio.ErrBufferFull) {
		cut = true
		_, err = r.src.ReadSlice('\n')
	}
	if err != nil && (!errors.Is(err, io.EOF) || s == "") {
		return "", err
	}
	if cut {
		r.counts.Cut++
		s = trimPartial(s)
	}
	s = strings.TrimRight(s, "\r\n")
	if utf8.ValidString(s) {
		return strings.TrimPrefix(s, "\uFEFF"), nil
	}
	r.counts.Recoded++
	return decode(r.charset, s), nil
}

// trimPartial cuts an unfinished UTF-8 sequence off the end of what was cut.
func trimPartial(s string) string {
	for i := len(s) - 1; i >= max(0, len(s)-utf8.UTFMax); i-- {
		if utf8.RuneStart(s[i]) {
			if !utf8.FullRuneInString(s[i:]) {
				return s[:i]
			}
			break
		}
	}
	return s
}

func decode(m *charmap.Charmap, s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	for i := range len(s) {
		b.WriteRune(m.DecodeByte(s[i]))
	}
	return b.String()
}

// Charset returns the one-byte encoding that is called so, as "windows-1252",
// "ISO 8859-15" or "koi8-r", and the names of all where there is none.
func Charset(name string) (m *charmap.Charmap, known []string) {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, strings.ToLower(s))
	}
	want := plain(name)
	if want == "latin1" {
		want = "iso88591"
	}
	if rest, ok := strings.CutPrefix(want, "cp125"); ok {
		want = "windows125" + rest
	}
	for _, e := range charmap.All {
		c, ok := e.(*charmap.Charmap)
		if !ok {
			continue
		}
		if plain(c.String()) == want {
			return c, nil
		}
		known = append(known, strings.ReplaceAll(strings.ToLower(c.String()), " ", "-"))
	}
	return nil, known
}

// within reports whether a day is of the span; one that is not known always is.
func within(day, since, until string) bool {
	return day == "" || (since == "" || day >= since) && (until == "" || day <= until)
}

// ParseDay reads a date for Options.
func ParseDay(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return "", errors.New("is not a date as 2024-01-31")
	}
	return t.Format(time.DateOnly), nil
}
