// Package progress writes how far a migration is: for terminals and chats, and as one page
// with plots that needs nothing from elsewhere. It shows counts, times and names, and
// never what somebody said: package migrate has no text.
package progress

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"drawbridge/bridge/migrate"
)

const (
	barWidth  = 20
	textDays  = 14 // of a terminal
	timeForm  = "2006-01-02 15:04"
	allowance = 100 // people listed in a terminal
)

// bar is a share as a bar of barWidth signs.
func bar(part, all int) string {
	n := 0
	if all > 0 {
		n = (part*barWidth + all/2) / all
	}
	n = min(max(n, 0), barWidth)
	return strings.Repeat("█", n) + strings.Repeat("░", barWidth-n)
}

// percent writes a share; of nothing there is none.
func percent(part, all int) string {
	if all <= 0 {
		return "  – %"
	}
	return fmt.Sprintf("%3d %%", part*100/all)
}

// Status writes the states of bridges.
func Status(all []migrate.Status) string {
	var b strings.Builder
	for i := range all {
		status(&b, &all[i])
	}
	return b.String()
}

func status(b *strings.Builder, s *migrate.Status) {
	by := "by date"
	if s.By != "" {
		by = "by " + s.By
	}
	fmt.Fprintf(b, "%s: %s since %s, %s\n", s.Bridge, s.Phase, s.Since.Local().Format(timeForm), by)
	switch {
	case s.Next == nil:
		fmt.Fprintf(b, "  that is the last phase; drawbridge migrate back %s leads back\n", s.Bridge)
	case s.Held:
		fmt.Fprintf(b, "  held by %s: no date counts. Next would come %s%s\n", s.HeldBy, s.Next, on(s.Due))
	case s.Due.IsZero():
		fmt.Fprintf(b, "  next: %s, by hand\n", s.Next)
	default:
		fmt.Fprintf(b, "  next: %s%s\n", s.Next, on(s.Due))
	}
	for _, why := range s.Shut {
		fmt.Fprintf(b, "  ! stands before it: %s\n", why)
	}
	figures(b, &s.Figures)
}

func on(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " on " + at.Local().Format(timeForm)
}

func figures(b *strings.Builder, f *migrate.Figures) {
	for _, x := range []struct {
		name, of  string
		part, all int
	}{
		{"linked", "who spoke on IRC lately", f.Linked, f.Speakers},
		{"verified", "of these, with a verified key", f.Verified, f.Linked},
		{"encrypted", "lines of the last 7 days", f.Encrypted, f.Lines},
	} {
		fmt.Fprintf(b, "  %-10s %s %s  %d of %d %s\n", x.name, bar(x.part, x.all), percent(x.part, x.all), x.part, x.all, x.of)
	}
}

// Plan writes what phases will do.
func Plan(p *migrate.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s now", p.Bridge, p.Phase)
	if p.Held {
		b.WriteString(", and held: no date counts")
	}
	b.WriteString("\n")
	if len(p.Steps) == 0 {
		b.WriteString("no phase is left\n")
	}
	for i := range p.Steps {
		planStep(&b, &p.Steps[i])
	}
	return b.String()
}

func planStep(b *strings.Builder, s *migrate.PlanStep) {
	when := "by hand"
	if !s.Date.IsZero() {
		when = s.Date.Local().Format(timeForm)
	}
	fmt.Fprintf(b, "\n%s, %s: %s\n", s.Phase, when, s.Means)
	if len(s.Announced) > 0 {
		var at []string
		for _, t := range s.Announced {
			at = append(at, t.Local().Format(timeForm))
		}
		fmt.Fprintf(b, "  announced   %s\n", strings.Join(at, ", "))
	}
	if g := s.Gates; g != (migrate.Gates{}) {
		var want []string
		for _, x := range []struct {
			name string
			n    int
		}{{"linked", g.Linked}, {"verified", g.Verified}, {"encrypted", g.Encrypted}} {
			if x.n > 0 {
				want = append(want, fmt.Sprintf("%s %d %%", x.name, x.n))
			}
		}
		fmt.Fprintf(b, "  gates       %s\n", strings.Join(want, ", "))
	}
	for _, why := range s.Shut {
		fmt.Fprintf(b, "  ! shut now: %s\n", why)
	}
	for _, says := range s.Says {
		fmt.Fprintf(b, "  says        %s\n", says)
	}
	for _, p := range s.Places {
		for _, line := range p.Lines {
			fmt.Fprintf(b, "  %s: %s\n", p.Place, line)
		}
		if len(p.Lines) == 0 && p.Why == "" {
			fmt.Fprintf(b, "  %s: nothing changes\n", p.Place)
		}
		if p.Why != "" {
			fmt.Fprintf(b, "  ! %s: %s\n", p.Place, p.Why)
		}
	}
}

// Text writes a report for a terminal.
func Text(r *migrate.Report) string {
	var b strings.Builder
	status(&b, &r.Status)
	if days := fill(r.Days, textDays); len(days) > 0 {
		b.WriteString("\n")
		lines(&b, days)
	}
	b.WriteString("\n")
	people(&b, r)
	return b.String()
}

// lines is a table of the lines of each day.
func lines(b *strings.Builder, days []migrate.Day) {
	keys, most := series(days), 1
	for i := range days {
		most = max(most, days[i].All)
	}
	fmt.Fprintf(b, "  %-10s %-*s", "day", barWidth, "lines")
	for _, k := range keys {
		fmt.Fprintf(b, " %*s", max(len(k), 4), k)
	}
	b.WriteString("  encrypted\n")
	for i := range days {
		d := &days[i]
		fmt.Fprintf(b, "  %-10s %s", d.Date, bar(d.All, most))
		for _, k := range keys {
			fmt.Fprintf(b, " %*d", max(len(k), 4), d.Lines[k])
		}
		fmt.Fprintf(b, "  %s\n", percent(d.Encrypted, d.All))
	}
}

// people is a table of who spoke lately.
func people(b *strings.Builder, r *migrate.Report) {
	left, wide := 0, len("who")
	for i := range r.People {
		if r.People[i].Next != "" {
			left++
		}
		wide = max(wide, min(utf8.RuneCountInString(r.People[i].Name), 24))
	}
	fmt.Fprintf(b, "  %d spoke lately, %d of them have something to do yet", len(r.People), left)
	if r.Refused > 0 {
		fmt.Fprintf(b, "; %d asked not to be counted", r.Refused)
	}
	b.WriteString("\n")
	if len(r.People) == 0 {
		return
	}
	fmt.Fprintf(b, "  %-*s  %-10s  %-6s  %-3s  %5s  %6s  %s\n", wide, "who", "last", "linked", "key", "IRC", "Jabber", "next step")
	for i := range r.People[:min(len(r.People), allowance)] {
		x := &r.People[i]
		next := x.Next
		if next == "" {
			next = "–"
		}
		fmt.Fprintf(b, "  %s  %s  %-6s  %-3s  %5d  %6d  %s\n", pad(x.Name, wide), x.Last.Local().Format(time.DateOnly), yes(x.Linked), yes(x.Verified), x.OnIRC, x.OnXMPP, next)
	}
	if n := len(r.People) - allowance; n > 0 {
		fmt.Fprintf(b, "  … and %d more: --json or --html has all\n", n)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pad fills a name up to so many signs, or cuts it.
func pad(s string, n int) string {
	r := []rune(s)
	if len(r) > n {
		r = append(r[:n-1], '…')
	}
	return string(r) + strings.Repeat(" ", n-len(r))
}

// series lists what lines were counted by, in one order.
func series(days []migrate.Day) []string {
	all := map[string]bool{}
	for i := range days {
		for k := range days[i].Lines {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// fill returns the last days, at most n, with those that nobody spoke on: they carry the
// figures of the day before.
func fill(days []migrate.Day, n int) (out []migrate.Day) {
	if len(days) == 0 {
		return nil
	}
	at, err := time.Parse(time.DateOnly, days[0].Date)
	last, bad := time.Parse(time.DateOnly, days[len(days)-1].Date)
	if err != nil || bad != nil {
		return days
	}
	if first := last.AddDate(0, 0, 1-n); at.Before(first) {
		at = first
	}
	i, before := 0, days[0]
	for ; !at.After(last); at = at.AddDate(0, 0, 1) {
		date := at.Format(time.DateOnly)
		for i < len(days) && days[i].Date < date {
			before = days[i]
			i++
		}
		if i < len(days) && days[i].Date == date {
			before = days[i]
			out = append(out, before)
			i++
			continue
		}
		out = append(out, migrate.Day{
			Bridge: before.Bridge, Date: date, Phase: before.Phase, Speakers: before.Speakers, Linked: before.Linked, Verified: before.Verified,
		})
	}
	return out
}
