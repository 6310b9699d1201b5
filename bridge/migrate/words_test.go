package migrate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/wording"
)

// everything lists all that people are told of a move.
func everything(m *Move) string {
	var b strings.Builder
	line := func(what, text string) { fmt.Fprintf(&b, "%s:\n  %s\n", what, strings.ReplaceAll(text, "\n", "\n  ")) }
	due := time.Date(2027, 3, 1, 17, 0, 0, 0, time.UTC)
	for i, lead := range []time.Duration{7 * oneDay, oneDay, time.Hour, 50 * time.Hour, 5 * time.Hour, 20 * time.Minute, time.Minute} {
		p := Phases()[1:][i%4]
		line(fmt.Sprintf("%s before %s", lead, p), m.all(func(v voice) string { return v.soon(p, due, due.Add(-lead)) }))
	}
	for _, p := range Phases() {
		line(p.String(), m.all(func(v voice) string { return v.begun(p) }))
		if mv := channelMoving(m, p); mv != (guard.Moving{}) {
			line(p.String()+" topic", mv.Topic)
			line(p.String()+" entry", mv.Entry)
		}
	}
	line("once a day", m.all(voice.pointer))
	line("mark", m.voice().say("mark"))
	return b.String()
}

// TestAllIsSaidInEachLanguage: announcements, entries and the daily line in each language
// of a bridge, topic and mark in the first.
func TestAllIsSaidInEachLanguage(t *testing.T) {
	m := testMove()
	m.Languages = []string{"deutsch", "english"}
	path := filepath.Join("testdata", "said.txt")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := everything(m); got != string(want) {
		t.Errorf("%s:\n%s", path, got)
	}
	if topic := channelMoving(m, Farewell).Topic; len(topic) > 200 {
		t.Errorf("a topic of %d bytes, with an address that may be as long again", len(topic))
	}
}

// TestTextsOfAllAreTheFiles: each text for all is used, and all that is said comes from the
// file: of one where each text is its key, nothing else is heard.
func TestTextsOfAllAreTheFiles(t *testing.T) {
	var file map[string]map[string]string
	if err := yaml.Unmarshal(wording.Source, &file); err != nil {
		t.Fatal(err)
	}
	for key, text := range file[wording.English] {
		if !strings.HasPrefix(key, "all_") || key == "all_weekdays" || key == "all_months" {
			continue
		}
		keyed := "<" + key
		for {
			_, rest, ok := strings.Cut(text, "{")
			if !ok {
				break
			}
			name, rest, _ := strings.Cut(rest, "}")
			keyed, text = keyed+" {"+name+"}", rest
		}
		file[wording.English][key] = keyed + ">"
	}
	edited, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	m := testMove()
	var bad []wording.Problem
	if m.Texts, bad = wording.Parse(edited); len(bad) > 0 {
		t.Fatal(bad)
	}
	got := everything(m)
	for _, key := range m.Texts.Keys() {
		if strings.HasPrefix(key, "all_") && key != "all_weekdays" && key != "all_months" && !strings.Contains(got, "<"+key) {
			t.Errorf("nobody says %s", key)
		}
	}
	for l := range strings.Lines(got) {
		if strings.HasPrefix(l, "  ") && strings.TrimSpace(l) != "" && (!strings.HasPrefix(l, "  <") || !strings.HasSuffix(l, ">\n")) {
			t.Errorf("not from the file: %q", l)
		}
	}
	if !strings.Contains(got, "<all_date Mon 1 Mar 2027 17:00>") {
		t.Errorf("no date in\n%s", got)
	}
}
