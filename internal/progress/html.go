package progress

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"drawbridge/bridge/migrate"
)

//go:embed page.html
var pageText string

// The plots, in the units of their own coordinates.
const (
	plotDays  = 120
	plotWidth = 720
	plotHigh  = 200
	plotLeft  = 44
	plotTop   = 12
	plotFoot  = 26
)

// page is what page.html shows.
type page struct {
	*migrate.Report
	Made     string
	Since    string
	Next     string
	Shares   []share
	People   []person
	Left     int
	Phases   timeline
	Moved    *plot
	Lines    *plot
	NoFigure bool
}

type share struct {
	Name, Of  string
	Percent   string
	Part, All int
	Width     float64
}

type person struct {
	migrate.Traveller
	LastDay string
}

// plot is one picture.
type plot struct {
	Title, About        string
	Width, Height       int
	Base, Top           float64 // y of nothing, and of the most
	Left, Right         float64
	Most, Half          int
	HalfY               float64
	Ticks               []tick
	Lines               []line
	Bars                []rect
	Legend              []legend
	LabelY, LegendWidth float64
}

type tick struct {
	X    float64
	Text string
}

type line struct {
	Tone   int
	Name   string
	Points string
	X, Y   float64 // of its last point
}

type rect struct {
	X, Y, W, H float64
	Tone       int
	Clear      bool // hatched: not by its colour alone
	Title      string
}

type legend struct {
	Tone int
	Name string
}

// timeline is the phases and their dates.
type timeline struct {
	Width, Height int
	Stops         []stop
	Done          float64 // x up to which it is done
}

type stop struct {
	X          float64
	Name, Date string
	Done, Now  bool
}

// HTML writes a report as one page: no script, nothing from elsewhere, in light and dark,
// and for paper. All that people chose, as their nicks, is escaped.
func HTML(w io.Writer, r *migrate.Report) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	p := newPage(r)
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	return nil
}

func newPage(r *migrate.Report) *page {
	days := fill(r.Days, plotDays)
	f := &r.Status.Figures
	p := &page{Report: r, Made: r.Now.Local().Format(timeForm), Since: r.Status.Since.Local().Format(timeForm), Phases: newTimeline(r), NoFigure: len(days) == 0}
	switch {
	case r.Status.Next == nil:
		p.Next = "That is the last phase."
	case r.Status.Held:
		p.Next = "Held by " + r.Status.HeldBy + ": no date counts."
	case r.Status.Due.IsZero():
		p.Next = "Next comes " + r.Status.Next.String() + ", by hand."
	default:
		p.Next = "Next comes " + r.Status.Next.String() + " on " + r.Status.Due.Local().Format(timeForm) + "."
	}
	for _, x := range []share{
		{Name: "linked", Of: "of those who spoke on IRC lately", Part: f.Linked, All: f.Speakers},
		{Name: "verified", Of: "of the linked have a verified key", Part: f.Verified, All: f.Linked},
		{Name: "encrypted", Of: "of the lines of the last 7 days", Part: f.Encrypted, All: f.Lines},
	} {
		if x.Percent = strings.TrimSpace(percent(x.Part, x.All)); x.All > 0 {
			x.Width = 100 * float64(x.Part) / float64(x.All)
		}
		p.Shares = append(p.Shares, x)
	}
	for i := range r.People {
		x := person{r.People[i], r.People[i].Last.Local().Format(time.DateOnly)}
		if x.Next != "" {
			p.Left++
		}
		p.People = append(p.People, x)
	}
	if len(days) > 0 {
		p.Moved, p.Lines = moved(days), spoken(days)
	}
	return p
}

// newPlot makes the frame of a plot over days, with values up to most.
func newPlot(title, about string, days []migrate.Day, most int) *plot {
	p := &plot{
		Title: title, About: about, Width: plotWidth, Height: plotHigh + plotTop + plotFoot, Left: plotLeft, Right: plotWidth - 8, Top: plotTop, Base: plotTop + plotHigh,
		Most: even(most), LabelY: plotTop + plotHigh + 18,
	}
	p.Half, p.HalfY = p.Most/2, (p.Base+p.Top)/2
	every := (len(days) + 7) / 8
	for i := 0; i < len(days); i += max(every, 1) {
		p.Ticks = append(p.Ticks, tick{p.x(i, len(days)), days[i].Date[5:]})
	}
	return p
}

// even rounds up to a number that halves well.
func even(n int) int {
	step := 2
	for n > 10*step {
		step *= 5
		if n > 10*step {
			step *= 2
		}
	}
	return max(step, (n+step-1)/step*step)
}

// x is the middle of a day, y the height of a value.
func (p *plot) x(i, n int) float64 { return p.Left + (float64(i)+0.5)*(p.Right-p.Left)/float64(n) }

func (p *plot) y(v int) float64 {
	return p.Base - (p.Base-p.Top)*float64(v)/float64(p.Most)
}

// moved plots how many spoke on IRC lately, are linked, and have a verified key.
func moved(days []migrate.Day) *plot {
	most := 0
	for i := range days {
		most = max(most, days[i].Speakers)
	}
	p := newPlot("People", "People who spoke on IRC lately, those of them who are linked, and those with a verified key, by day.", days, most)
	for tone, s := range []struct {
		name string
		of   func(*migrate.Day) int
	}{
		{"spoke on IRC lately", func(d *migrate.Day) int { return d.Speakers }},
		{"linked", func(d *migrate.Day) int { return d.Linked }},
		{"verified key", func(d *migrate.Day) int { return d.Verified }},
	} {
		l := line{Tone: tone, Name: s.name}
		var points []string
		for i := range days {
			l.X, l.Y = p.x(i, len(days)), p.y(s.of(&days[i]))
			points = append(points, fmt.Sprintf("%.1f,%.1f", l.X, l.Y))
		}
		l.Points = strings.Join(points, " ")
		p.Lines = append(p.Lines, l)
		p.Legend = append(p.Legend, legend{tone, s.name})
	}
	return p
}

// spoken plots lines by leg and rung.
func spoken(days []migrate.Day) *plot {
	most, keys := 0, series(days)
	tones := tonesOf(keys)
	for i := range days {
		most = max(most, days[i].All)
	}
	p := newPlot("Lines a day, by network and protection", "Lines that were relayed on each day, by the network or account where they were said and by how far they were protected.", days, most)
	wide := 0.8 * (p.Right - p.Left) / float64(len(days))
	for i := range days {
		sum := 0
		for j, k := range keys {
			n := days[i].Lines[k]
			if n == 0 {
				continue
			}
			top := p.y(sum + n)
			p.Bars = append(p.Bars, rect{p.x(i, len(days)) - wide/2, top, wide, p.y(sum) - top, tones[j], strings.HasSuffix(k, "/clear"), fmt.Sprintf("%s: %d %s", days[i].Date, n, k)})
			sum += n
		}
	}
	for i, k := range keys {
		p.Legend = append(p.Legend, legend{tones[i], k})
	}
	return p
}

// tonesOf gives each series a class of colours of page.html: by its rung, so that clear
// lines look alike on every page, and another where two networks have the same.
func tonesOf(keys []string) []int {
	byRung := map[string][]int{"clear": {1, 6}, "sealed": {0, 5}, "signed": {3, 4}, "verified": {2, 7}}
	out := make([]int, len(keys))
	for i, k := range keys {
		rung := k[strings.LastIndexByte(k, '/')+1:]
		tones := byRung[rung]
		if len(tones) == 0 {
			tones = []int{7}
		}
		out[i] = tones[0]
		byRung[rung] = append(tones[1:], tones[0])
	}
	return out
}

// newTimeline puts the phases side by side: their dates stand below them.
func newTimeline(r *migrate.Report) timeline {
	t := timeline{Width: plotWidth, Height: 74}
	for i, d := range r.Dates {
		s := stop{X: 70 + float64(i)*(plotWidth-140)/float64(max(len(r.Dates)-1, 1)), Name: d.Phase.String(), Date: "by hand", Done: d.Done, Now: d.Phase == r.Status.Phase}
		switch {
		case !d.Date.IsZero():
			s.Date = d.Date.Local().Format(time.DateOnly)
		case d.Done:
			s.Date = ""
		}
		if s.Done {
			t.Done = s.X
		}
		t.Stops = append(t.Stops, s)
	}
	return t
}
