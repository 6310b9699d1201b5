package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Told is what only the caller knows of a decision that is explained.
type Told struct {
	Place  string // as people write it: "corp/#finance"
	Result string // what became of it: "sent 0.2 ms after JOIN", "dry run"; "": nothing is said
	Undo   string // the order that takes it back; ""
}

// Who returns the names of the people whom the facts prove, best proof first,
// each once. A protected helper without a name is "" and left out.
func (p *Policy) Who(f *Facts) []string {
	var out []string
	for kind := Key; kind >= Account; kind-- {
		if name := p.bound(f, kind); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// bound returns the person whom the identity of that kind proves.
func (p *Policy) bound(f *Facts, kind Strength) string {
	fact, leg := f.fact(kind), f.Leg
	if fact == nil || fact.Known != Yes {
		return ""
	}
	value := fact.Value
	switch kind {
	case RealJID, Key:
		leg = ""
	case Account:
		value = FoldAccount(value)
	}
	return p.names[ident{kind, leg, value}]
}

// Explain says in lines for people what was decided, by which rule and facts, and
// what would change it. It shows names and facts, never what was said.
func Explain(p *Policy, f *Facts, e Event, d Decision, now time.Time, t Told) string {
	var b page
	b.Grow(1024)
	b.write(now.UTC().Format(time.DateTime), " ", orElse(t.Place, e.Room), "  ", e.Do.String(), " by ", f.source(), "  -> ", strings.ToUpper(d.Effect.String()))
	if t.Result != "" {
		b.write(" (", t.Result, ")")
	}
	b.write("\n")
	b.line("who", p.describe(f))
	if f.Granted != "" {
		b.line("invited", "on proof of a key, by rule ", f.Granted)
	}
	if facts := f.describe(now); facts != "" {
		b.line("facts", facts)
	}
	width := 8
	for _, s := range d.Trace() {
		width = max(width, len(p.rules[s.Rule].ID))
	}
	for _, s := range d.Trace() {
		r := &p.rules[s.Rule]
		id := r.ID + pad[:min(len(pad), width-len(r.ID)+1)]
		switch s.Match {
		case Yes:
			b.line("matched", id, r.describe(), " -> ", r.Effect.String(), decided(d.Basis == ByRule && d.Rule == r.ID))
		case Unknown:
			b.line("waits", id, r.part(s.Why), " is not known")
		case Never:
			b.line("skipped", id, "this network never tells: ", r.part(s.Why))
		default:
			b.line("missed", id, "needs ", r.part(s.Why))
		}
	}
	p.explainBasis(&b, e, &d)
	if d.Missing != 0 {
		b.line("asks", d.Missing.String())
	}
	if change := p.wouldChange(e, &d); change != "" {
		b.write("  would change if: ", change, "\n")
	}
	if t.Undo != "" {
		b.line("undo", t.Undo)
	}
	return b.String()
}

// page is a text of labelled lines.
type page struct{ strings.Builder }

// pad is as wide as the longest name the config takes.
const pad = "                                                                 "

func (b *page) write(parts ...string) {
	for _, s := range parts {
		b.WriteString(s)
	}
}

func (b *page) line(label string, parts ...string) {
	b.write("  ", label, pad[:max(1, 9-len(label))])
	b.write(parts...)
	b.WriteByte('\n')
}

// decided marks the line that the verdict rests on.
func decided(yes bool) string {
	if yes {
		return "   <- decided"
	}
	return ""
}

func (p *Policy) explainBasis(b *page, e Event, d *Decision) {
	room := p.rooms[e.Room]
	if room == nil {
		b.line("default", "room ", e.Room, " has no guard")
		return
	}
	b.line("default", room.byDefault(e.Do).String(), " (room ", e.Room, ")", decided(d.Basis == ByDefault))
	switch d.Basis {
	case ByBan:
		until := "until forgiven"
		if !d.Until.IsZero() {
			until = "until " + d.Until.UTC().Format(time.DateTime)
		}
		b.line("ban", d.Rule, ", ", until, decided(true))
	case ByDoubt:
		b.line("doubt", "a fact that is missing could change this: ", d.Effect.String(), " until it is known", decided(true))
	}
	switch d.Protected {
	case Yes:
		b.line("held", "protected: never removed by a rule or ban")
	case Unknown:
		b.line("held", "may be protected: not removed before that is known")
	}
}

func (f *Facts) source() string {
	switch {
	case f.Host != "":
		return f.Nick + "!" + f.User + "@" + f.Host
	case f.JID.Known == Yes:
		return fmt.Sprintf("%s (%s)", orElse(f.Nick, f.JID.Value), f.JID.Value)
	}
	return orElse(f.Nick, "somebody")
}

// describe says who somebody is, and by what.
func (p *Policy) describe(f *Facts) string {
	out := strings.Join(p.Who(f), ", ")
	if out == "" {
		if out = "anonymous"; f.unknown()&(MissingAccount|MissingJID|MissingCert|MissingKey) != 0 {
			out = "not known"
		}
	}
	var by []string
	for kind := Account; kind <= Key; kind++ {
		fact := f.fact(kind)
		what := [...]string{Account: "account", RealJID: "JID", Cert: "certificate", Key: "key"}[kind]
		switch fact.Known {
		case Yes:
			what += " " + fact.Value
			if p.bound(f, kind) == "" {
				what += " (bound to nobody)"
			}
		case No:
			what = "no " + what
		case Unknown:
			what += " not known"
		default:
			continue
		}
		if fact.From != "" {
			what += " (" + fact.From + ")"
		}
		by = append(by, what)
	}
	if f.Self {
		return "the bot itself"
	}
	if id := f.Occupant.Value; f.Occupant.Known == Yes {
		by = append(by, "occupant "+id[:min(len(id), 8)])
	}
	return out + ": " + strings.Join(by, ", ")
}

// describe lists the facts that are not about who it is.
func (f *Facts) describe(now time.Time) string {
	var out []string
	if f.TLS.Known != Never {
		from := ""
		if f.TLS.From != "" {
			from = " (" + f.TLS.From
			if !f.TLS.At.IsZero() {
				from += ", " + age(now.Sub(f.TLS.At)) + " old"
			}
			from += ")"
		}
		out = append(out, "tls="+f.TLS.Known.String()+from)
	}
	for _, x := range [...]struct {
		name string
		fact *Fact
	}{{"affiliation", &f.Affiliation}, {"role", &f.Role}} {
		switch x.fact.Known {
		case Yes:
			out = append(out, x.name+"="+x.fact.Value)
		case Unknown:
			out = append(out, x.name+"=unknown")
		}
	}
	switch f.RungKnown {
	case Yes:
		out = append(out, "encryption="+f.Rung.String())
	case Unknown:
		out = append(out, "encryption=unknown")
	}
	if f.Floods != 0 {
		out = append(out, "floods="+f.Floods.String())
	}
	if !f.Since.IsZero() {
		out = append(out, "here for "+now.Sub(f.Since).Round(time.Second).String())
	}
	return strings.Join(out, "  ")
}

// age shortens a duration for people.
func age(d time.Duration) string {
	if d > time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
