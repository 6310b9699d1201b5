package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/migrate"
)

// hostile is a nick that wants to be more than a nick.
const hostile = `<img src=x onerror=alert(1)>`

func at(day int) time.Time { return time.Date(2027, 3, day, 12, 0, 0, 0, time.Local) }

// testReport is a team in the middle of its way: 20 days, with one that is missing.
func testReport() *migrate.Report {
	next := migrate.Farewell
	r := &migrate.Report{
		Now: at(20),
		Status: migrate.Status{
			Bridge: "dev", Phase: migrate.ReadOnly, Since: at(15), Next: &next, Due: at(25),
			Shut:    []string{"80 % (8 of 10) of those who spoke on IRC lately are linked, and it takes 95 %"},
			Figures: migrate.Figures{Since: at(1), Speakers: 10, Linked: 8, Verified: 6, Lines: 400, Encrypted: 300},
		},
		Dates: []migrate.PhaseDate{
			{Phase: migrate.Mirror, Done: true},
			{Phase: migrate.EncryptedFirst, Date: at(5), Done: true},
			{Phase: migrate.ReadOnly, Date: at(15), Done: true},
			{Phase: migrate.Farewell, Date: at(25)},
			{Phase: migrate.Closed},
		},
		People: []migrate.Traveller{
			{Name: hostile, Kind: "nick", Leg: "corp", Last: at(19), OnIRC: 7, Next: "log in to services, then !move"},
			{Name: "bob", Kind: "person", Leg: "corp", Linked: true, Last: at(20), OnIRC: 3, OnXMPP: 40, Next: "show a key that can be verified: !move key"},
			{Name: "alice", Kind: "person", Leg: "bot", Linked: true, Verified: true, Last: at(20), OnXMPP: 90},
		},
		Refused: 1,
	}
	for day := 1; day <= 20; day++ {
		if day == 7 {
			continue
		}
		d := migrate.Day{Bridge: "dev", Date: at(day).Format(time.DateOnly), Speakers: 10, Linked: day * 8 / 20, Verified: day * 6 / 20}
		d.Lines = map[string]int{"corp/clear": 60 - 3*day, "bot/sealed": day, "bot/verified": 2 * day}
		for k, n := range d.Lines {
			if d.All += n; k != "corp/clear" {
				d.Encrypted += n
			}
		}
		r.Days = append(r.Days, d)
	}
	return r
}

func TestText(t *testing.T) {
	text := Text(testReport())
	for _, want := range []string{
		"dev: irc-readonly since 2027-03-15 12:00, by date",
		"  next: farewell on 2027-03-25 12:00",
		"! stands before it: 80 % (8 of 10)",
		"linked     ████████████████░░░░  80 %  8 of 10 who spoke on IRC lately",
		"  day        lines                bot/sealed bot/verified corp/clear  encrypted",
		"  2027-03-20 ████████████████████         20           40          0  100 %",
		"3 spoke lately, 2 of them have something to do yet; 1 asked not to be counted",
		"bob                       2027-03-20  yes     no       3      40  show a key",
		"alice                     2027-03-20  yes     yes      0      90  –",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "2027-03-06") {
		t.Error("more than the last days are listed")
	}
	if text := Text(&migrate.Report{}); !strings.Contains(text, "0 spoke lately") {
		t.Errorf("of nothing:\n%s", text)
	}
}

func TestPlanText(t *testing.T) {
	text := Plan(&migrate.Plan{Bridge: "dev", Phase: migrate.Mirror, Steps: []migrate.PlanStep{
		{Phase: migrate.EncryptedFirst, Date: at(5), Means: "marked", Announced: []time.Time{at(4)}, Says: []string{"From now on"}, Places: []guard.MoveStep{{Place: bridge.Room{Leg: "corp", Name: "#dev"}}}},
		{Phase: migrate.ReadOnly, Means: "silent", Gates: migrate.Gates{Linked: 90}, Shut: []string{"too few"}, Places: []guard.MoveStep{{Place: bridge.Room{Leg: "corp", Name: "#dev"}, Lines: []string{"MODE #dev +m"}, Why: "dry run"}}},
	}})
	want := `dev is mirror now

encrypted-first, 2027-03-05 12:00: marked
  announced   2027-03-04 12:00
  says        From now on
  corp/#dev: nothing changes

irc-readonly, by hand: silent
  gates       linked 90 %
  ! shut now: too few
  corp/#dev: MODE #dev +m
  ! corp/#dev: dry run
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func page1(t testing.TB, r *migrate.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPageIsInert: whatever people call themselves, the page has no script, no handler,
// and nothing that is fetched from elsewhere.
func TestPageIsInert(t *testing.T) {
	r := testReport()
	r.Status.Bridge = `"><script>alert(1)</script>`
	r.Days[0].Lines[`"/><script>x`] = 3
	r.Status.Shut = []string{"</p><iframe src=//evil.example>"}
	text := page1(t, r)
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			found[n.Data]++
		}
		for _, a := range n.Attr {
			away := strings.Contains(a.Val, "//") && a.Key != "xmlns"
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || away || strings.Contains(strings.ToLower(a.Val), "javascript:") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	for _, bad := range []string{"script", "iframe", "img", "object", "embed", "form", "base", "foreignobject"} {
		if found[bad] > 0 {
			t.Errorf("%d <%s> in the page", found[bad], bad)
		}
	}
	if found["svg"] != 3+3 || found["pattern"] != 1 || found["polyline"] != 3 || found["rect"] < 50 || found["circle"] < 8 {
		t.Errorf("plots miss: %v", found)
	}
	if !strings.Contains(text, "&lt;img src=x onerror=alert(1)&gt;") {
		t.Error("the hostile nick is not shown as it is")
	}
	if strings.Contains(text, "@import") || strings.Contains(strings.ReplaceAll(text, "url(#hatch)", ""), "url(") {
		t.Error("the style fetches something")
	}
}

func TestPageOfNothing(t *testing.T) {
	text := page1(t, &migrate.Report{Now: at(1), Dates: testReport().Dates})
	for _, want := range []string{"Nothing was counted yet.", "0 spoke lately"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "ZgotmplZ") {
		t.Error("the page has values that are none")
	}
	if strings.Contains(page1(t, testReport()), "ZgotmplZ") {
		t.Error("something was filtered out of the page")
	}
}

func TestEven(t *testing.T) {
	for n, want := range map[int]int{0: 2, 1: 2, 2: 2, 3: 4, 20: 20, 21: 30, 95: 100, 101: 120, 999: 1000, 1001: 1200} {
		if got := even(n); got < n || got%2 != 0 || got > 2*max(n, 2) {
			t.Errorf("even(%d) = %d, about %d", n, got, want)
		}
	}
}
