package guard

import (
	"iter"

	"drawbridge/policy"
)

// Replay judges what acts were decided on by another policy, with the facts and at the
// time of each. Acts that were no decision on somebody, such as orders and repairs,
// are passed over. A break in the chain ends it.
func Replay(other policy.Spec, acts iter.Seq2[Act, error]) (Simulation, error) {
	var out Simulation
	p, err := policy.Compile(other)
	if err != nil {
		return out, err
	}
	for a, err := range acts {
		if err != nil {
			return out, err
		}
		if a.Facts.Leg == "" {
			continue
		}
		out.Read++
		e := policy.Event{Room: a.Room, Do: a.Do}
		d := policy.Decide(p, &a.Facts, e, a.At)
		if d.Effect == a.Effect {
			continue
		}
		why := policy.Explain(p, &a.Facts, e, d, a.At, policy.Told{Place: a.Place, Result: "it was " + a.Effect.String()})
		out.Differences = append(out.Differences, Difference{Act: a, Now: d, Why: why})
	}
	return out, nil
}

// String is the act in one line, for people.
func (a *Act) String() string {
	place := a.Place
	if place == "" {
		place = a.Room
	}
	if place == "" {
		place = "all rooms"
	}
	out := a.At.UTC().Format("2006-01-02 15:04:05") + "  " + place + "  "
	if a.Facts.Leg == "" {
		out += join(" ", a.Actor+":", a.Acts, a.Who)
	} else {
		by := a.Rule
		if a.Basis != policy.ByRule {
			by = join(" ", nameOf(basisNames, a.Basis), a.Rule)
		}
		out += join(" ", a.Who, bracket(a.Person)) + "  " + join(" ", a.Do.String(), "->", a.Effect.String(), "by", by)
		if a.Acts != "" && a.Acts != a.Effect.String() {
			out += ": " + a.Acts
		}
	}
	if a.Result != "" {
		out += " (" + a.Result + ")"
	}
	if a.Undo != "" {
		out += "; undo: " + a.Undo
	}
	return out
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	out := ""
	for _, p := range parts {
		if p != "" && out != "" {
			out += sep
		}
		out += p
	}
	return out
}
