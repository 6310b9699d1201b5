package migrate

import (
	"strconv"
	"strings"
	"time"

	"drawbridge/bridge/wording"
)

// voice says the texts of one bridge in one language.
type voice struct {
	*Move
	texts *wording.Texts
	lang  string
}

// voices are those of a bridge, one for each of its languages.
func (m *Move) voices() []voice {
	texts, langs := m.Texts, m.Languages
	if texts == nil {
		texts = wording.Builtin()
	}
	if len(langs) == 0 {
		langs = []string{wording.English}
	}
	out := make([]voice, len(langs))
	for i, l := range langs {
		out[i] = voice{m, texts, l}
	}
	return out
}

// voice is the first of them, for what there is room for once: topics and marks.
func (m *Move) voice() voice { return m.voices()[0] }

// all has something said in each language of a bridge, a line for each.
func (m *Move) all(say func(v voice) string) string {
	var out []string
	for _, v := range m.voices() {
		out = append(out, say(v))
	}
	return strings.Join(out, "\n")
}

func (v voice) say(key string, args ...string) string {
	values := map[string]string{"to": v.To}
	for i := 0; i+1 < len(args); i += 2 {
		values[args[i]] = args[i+1]
	}
	return v.texts.Say(v.lang, "all_"+key, values)
}

// entry is one of a list of words.
func (v voice) entry(key string, i int) string {
	return strings.TrimSpace(strings.Split(v.say(key), ",")[i])
}

// key is a phase as keys of texts have it.
func (p Phase) key() string { return strings.ReplaceAll(p.String(), "-", "_") }

// means is what a phase means, for people who are told of it.
func (v voice) means(p Phase) string { return v.say("means_" + p.key()) }

// soon tells of a phase to come.
func (v voice) soon(p Phase, due, now time.Time) string {
	return v.say("soon", "when", v.left(due.Sub(now)), "date", v.date(due), "phase", v.say("phase_"+p.key()), "means", v.means(p), "how", v.say("how"))
}

// begun tells of a phase that begins.
func (v voice) begun(p Phase) string {
	if p == Mirror {
		return v.say("again", "means", v.means(p))
	}
	return v.say("begun", "phase", v.say("phase_"+p.key()), "means", v.means(p), "how", v.say("how"))
}

// pointer is the topic of a channel that is left, and its line a day.
func (v voice) pointer() string { return v.say("pointer") }

// greeting is said to who comes in.
func (v voice) greeting(p Phase) string {
	return v.say("entry", "means", v.means(p), "how", v.say("how"))
}

// date writes a date, by UTC.
func (v voice) date(at time.Time) string {
	at = at.UTC()
	return v.say("date", "weekday", v.entry("weekdays", (int(at.Weekday())+6)%7), "day", strconv.Itoa(at.Day()),
		"month", v.entry("months", int(at.Month())-1), "year", strconv.Itoa(at.Year()), "time", at.Format("15:04"))
}

// left writes a time to come, rounded to what matters.
func (v voice) left(d time.Duration) string {
	n := func(key string, n time.Duration) string { return v.say(key, "n", strconv.Itoa(int(n))) }
	switch d += time.Minute / 2; {
	case d >= 36*time.Hour:
		return n("in_days", (d+12*time.Hour)/(24*time.Hour))
	case d >= 23*time.Hour:
		return v.say("in_a_day")
	case d >= 90*time.Minute:
		return n("in_hours", (d+30*time.Minute)/time.Hour)
	case d >= 55*time.Minute:
		return v.say("in_an_hour")
	case d >= 2*time.Minute:
		return n("in_minutes", d/time.Minute)
	}
	return v.say("in_a_minute")
}
