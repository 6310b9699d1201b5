package archive

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Format is how a program writes its logs.
type Format string

// The formats.
const (
	Irssi   Format = "irssi"
	WeeChat Format = "weechat"
	ZNC     Format = "znc"
)

// Formats lists them.
func Formats() []Format { return []Format{Irssi, WeeChat, ZNC} }

// parse reads one line. ok is false if it is none of the format. day is not empty
// where the line tells one, for itself and what follows; silent is a line that
// says nothing else.
type parsed struct {
	Line
	day    string
	silent bool
}

func (f Format) parse(s string) (p parsed, ok bool) {
	switch f {
	case Irssi:
		return parseIrssi(s)
	case WeeChat:
		return parseWeeChat(s)
	}
	return parseZNC(s)
}

// parseIrssi reads "12:34 <@nick> text", "12:34  * nick acts", "12:34 -nick:#dev-
// notice", "12:34 -!- event", and the dates of "--- Log opened" and "--- Day
// changed".
func parseIrssi(s string) (parsed, bool) {
	if rest, ok := strings.CutPrefix(s, "--- "); ok {
		day, _ := longDate(rest)
		return parsed{Line: Line{Kind: Event, Text: s}, day: day, silent: day != ""}, day != "" || strings.HasPrefix(rest, "Log closed")
	}
	st, rest, ok := cutStamp(s)
	if !ok {
		return parsed{}, false
	}
	p, ok := spoken(st, rest, "-!- ", " * ")
	switch p.Kind {
	case Said:
		p.Nick = bare(p.Nick)
	case Notice:
		p.Nick, _, _ = strings.Cut(p.Nick, ":")
	}
	return p, ok || strings.HasPrefix(rest, "!")
}

// spoken reads what stands behind the time, where event and act begin lines of those
// kinds.
func spoken(st stamp, rest, event, act string) (parsed, bool) {
	p := parsed{Line: Line{Time: st.time, Kind: Event, Text: rest}, day: st.day}
	if text, is := strings.CutPrefix(rest, event); is {
		p.Text = text
		return p, true
	}
	if text, is := strings.CutPrefix(rest, act); is {
		p.Kind = Action
		p.Nick, p.Text, _ = strings.Cut(text, " ")
		return p, true
	}
	if nick, text, is := between(rest, '<', "> "); is {
		p.Kind, p.Nick, p.Text = Said, nick, text
		return p, true
	}
	if nick, text, is := between(rest, '-', "- "); is {
		p.Kind, p.Nick, p.Text = Notice, nick, text
		return p, true
	}
	return p, false
}

// parseZNC reads "[12:34:56] <nick> text", "[12:34:56] * nick acts", "[12:34:56]
// -nick- notice" and "[12:34:56] *** event".
func parseZNC(s string) (parsed, bool) {
	if !strings.HasPrefix(s, "[") {
		return parsed{}, false
	}
	st, rest, ok := cutStamp(s)
	if !ok {
		return parsed{}, false
	}
	p := parsed{Line: Line{Time: st.time, Kind: Event, Text: rest}, day: st.day}
	if text, is := strings.CutPrefix(rest, "*** "); is {
		p.Text = text
		return p, true
	}
	if act, is := strings.CutPrefix(rest, "* "); is {
		p.Kind = Action
		p.Nick, p.Text, _ = strings.Cut(act, " ")
		return p, true
	}
	if nick, text, is := between(rest, '<', "> "); is {
		p.Kind, p.Nick, p.Text = Said, bare(nick), text
		return p, true
	}
	if nick, text, is := between(rest, '-', "- "); is {
		p.Kind, p.Nick, p.Text = Notice, nick, text
		return p, true
	}
	return p, false
}

// parseWeeChat reads "2024-01-31 12:34:56<tab>prefix<tab>text", where the prefix is
// a nick, " *", "-->", "<--" or "--".
func parseWeeChat(s string) (parsed, bool) {
	at, rest, tab := strings.Cut(s, "\t")
	st, after, ok := cutStamp(at)
	if !tab || !ok || after != "" || st.day == "" {
		return parsed{}, false
	}
	prefix, text, tab := strings.Cut(rest, "\t")
	if !tab {
		prefix, text = "", rest
	}
	p := parsed{Line: Line{Time: st.time, Kind: Event, Text: text}, day: st.day}
	switch prefix = strings.TrimSpace(prefix); prefix {
	case "", "-->", "<--", "--", "=!=":
	case "*":
		p.Kind = Action
		p.Nick, p.Text, _ = strings.Cut(text, " ")
	default:
		p.Kind, p.Nick = Said, bare(prefix)
	}
	return p, true
}

// between cuts s into what stands between its first sign and end, and the rest. An
// empty text may have lost the space of end.
func between(s string, first byte, end string) (in, rest string, ok bool) {
	if len(s) < 2 || s[0] != first {
		return "", "", false
	}
	in, rest, ok = strings.Cut(s[1:], end)
	if !ok {
		in, ok = strings.CutSuffix(s[1:], end[:1])
	}
	return in, rest, ok && in != "" && !strings.Contains(strings.TrimLeft(in, " "), " ")
}

// bare takes the sign of a status off a nick: no nick begins with one of them.
func bare(nick string) string {
	if t := strings.TrimLeft(nick, "@+%&~! "); t != "" {
		return t
	}
	return nick
}

// detect says which format the lines are in: the one that reads most of them, and
// at least half.
func detect(lines []string) (Format, error) {
	best, most, all := Format(""), 0, 0
	for _, s := range lines {
		if strings.TrimSpace(s) != "" {
			all++
		}
	}
	if all == 0 {
		return "", errEmpty
	}
	for _, f := range Formats() {
		n := 0
		for _, s := range lines {
			p, ok := f.parse(s)
			if !ok {
				continue
			}
			n += 2
			if f == Irssi && (p.silent || strings.HasPrefix(p.Text, "-!-")) || f == ZNC && timeLen(s[1:]) == 8 {
				n++ // what only this program writes
			}
		}
		if n > most {
			best, most = f, n
		}
	}
	if most < all {
		return "", fmt.Errorf("is no log of irssi, WeeChat or ZNC: of %d lines at its start %d can be read", all, most/2)
	}
	return best, nil
}

var nameDate = regexp.MustCompile(`(?:^|[^0-9])((?:19|20)[0-9]{2})-?([01][0-9])-?([0-3][0-9])(?:[^0-9]|$)`)

// dateOf returns the date in a file's name, as of "2024-01-31.log" and
// "#dev_20240131.log", "" if there is none.
func dateOf(name string) string {
	for _, m := range nameDate.FindAllStringSubmatch(name, -1) {
		day := m[1] + "-" + m[2] + "-" + m[3]
		if isDate(day) {
			return day
		}
	}
	return ""
}

// dayAfter returns the next date.
func dayAfter(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return t.AddDate(0, 0, 1).Format(time.DateOnly)
}
