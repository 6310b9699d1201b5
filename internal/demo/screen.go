package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// screen prints the play, in colour where there is a terminal.
type screen struct {
	w      io.Writer
	colour bool
}

// Colours, as SGR codes.
const (
	bold    = "1"
	dim     = "2"
	green   = "32"
	yellow  = "33"
	magenta = "35"
	cyan    = "36"
)

func newScreen(f *os.File) *screen {
	st, err := f.Stat()
	tty := err == nil && st.Mode()&os.ModeCharDevice != 0
	return &screen{w: f, colour: tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s *screen) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) { _, _ = fmt.Fprintln(s.w, text) }

// head prints a heading.
func (s *screen) head(text string) {
	s.line("")
	s.line(s.paint(bold, text))
}

// step prints what is done.
func (s *screen) step(format string, args ...any) {
	s.line("  " + s.paint(green, "✓") + " " + fmt.Sprintf(format, args...))
}

// Widths of a box and of the text in it, in columns of the terminal.
const (
	boxWidth   = 80
	innerWidth = boxWidth - 4
)

// box prints lines under a title; each is shown printable and cut to size.
func (s *screen) box(colour, title string, lines []string) {
	s.line(s.paint(colour, "  ┌─ "+title+" "+strings.Repeat("─", max(0, boxWidth-6-utf8.RuneCountInString(title)))))
	for _, l := range lines {
		for _, part := range fold(strings.TrimRight(printable(l), " "), innerWidth) {
			s.line(s.paint(colour, "  │ ") + part)
		}
	}
	s.line(s.paint(colour, "  └"+strings.Repeat("─", boxWidth-3)))
}

// arrow prints what happens between two boxes.
func (s *screen) arrow(text string) { s.line(s.paint(dim, "        │ "+text)) }

// printable replaces what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}

// fold breaks a line at width, at a blank where there is one.
func fold(s string, width int) []string {
	var out []string
	for {
		r := []rune(s)
		if len(r) <= width {
			return append(out, s)
		}
		cut := width
		for i := width; i > width/2; i-- {
			if r[i] == ' ' {
				cut = i
				break
			}
		}
		out = append(out, string(r[:cut]))
		s = strings.TrimPrefix(string(r[cut:]), " ")
	}
}

// layOut breaks a stanza into a line for each of its children, and leaves out
// most of the armor.
func layOut(stanza string) []string {
	stanza = strings.NewReplacer("&#10;", "\n", "&#xA;", "\n", "><", ">\n<", "encrypted'>", "encrypted'>\n", "</x>", "\n</x>\n").Replace(stanza)
	var out []string
	armor := 0
	for l := range strings.Lines(stanza) {
		switch l = strings.TrimSuffix(l, "\n"); {
		case l == "":
		case strings.HasPrefix(l, "<message"), strings.HasPrefix(l, "</message"):
			out = append(out, l)
		case strings.HasPrefix(l, "<"):
			out = append(out, "  "+l)
		default:
			if armor++; armor <= 4 {
				out = append(out, "    "+l)
			} else if armor == 5 {
				out = append(out, "    …")
			}
		}
	}
	return out
}
