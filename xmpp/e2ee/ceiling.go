package e2ee

import (
	"fmt"
	"strings"

	"drawbridge/policy"
)

// ceiling is what a scheme can reach at best with the clients people have.
type ceiling struct {
	signs bool   // its messages carry a proof of who wrote them
	why   string // why not, and with whom
	way   string // what to do about it
}

var ceilings = map[string]ceiling{
	"openpgp": {
		why: "Psi, Gajim, Dino, profanity and mcabber do not sign XEP-0027 messages, so they arrive as sealed at best",
		way: "set `require: {in: sealed}`, or add a scheme that signs: ox (Gajim, profanity) or otr (profanity, mcabber, Pidgin)",
	},
	"ox":  {signs: true},
	"otr": {signs: true},
}

// Ceiling returns the highest rungs, incoming and outgoing, that a person can
// ever reach in a scheme with the clients people have, and why incoming is no
// higher ("" if nothing is in the way). Unknown schemes reach clear.
func Ceiling(scheme string, person *policy.Person) (reach policy.Floor, why string) {
	c, ok := ceilings[scheme]
	if !ok {
		return policy.Floor{}, "no such scheme"
	}
	top := policy.Signed
	if Pinned(scheme, person) {
		top = policy.Verified
	} else if scheme == "openpgp" {
		return policy.Floor{}, "no key is pinned, and keys are never learnt from presence"
	}
	reach = policy.Floor{In: top, Out: top}
	if !c.signs {
		reach.In = policy.Sealed
	}
	return reach, c.why
}

// FloorError says that a person can never meet a bridge's floor with the schemes
// it lists, and what to do. `drawbridge check` prints it.
type FloorError struct {
	Person    string
	Direction string      // "in" or "out"
	Floor     policy.Rung // what the bridge asks for in that direction
	Best      policy.Rung // what this person can reach
	Why, Way  string      // the cause and the way out, for people
}

func (e *FloorError) Error() string {
	return fmt.Sprintf("%s can never reach %s: %s (best: %s): %s", e.Person, e.Direction, e.Floor, e.Best, e.Why)
}

// Is makes a FloorError an ErrFloor.
func (e *FloorError) Is(target error) bool { return target == ErrFloor }

// CheckFloor tells whether a person can ever meet floor with one of the schemes
// of order. The same scheme must do for both directions only where the person
// has just one: each direction is looked at by itself. The error is a *FloorError.
func CheckFloor(person *policy.Person, order []string, floor policy.Floor) error {
	if !floor.Encrypted() {
		return nil
	}
	var best policy.Floor
	var whyIn, whyOut, way []string
	anyPin := len(person.OpenPGP) > 0 || len(person.OTR) > 0
	for _, name := range order {
		if anyPin && !Pinned(name, person) {
			w := name + ": the person's pinned key is of another scheme"
			whyIn, whyOut = append(whyIn, w), append(whyOut, w)
			continue
		}
		reach, why := Ceiling(name, person)
		best.In, best.Out = max(best.In, reach.In), max(best.Out, reach.Out)
		if reach.In < floor.In && why != "" {
			whyIn = append(whyIn, name+": "+why)
			if w := ceilings[name].way; w != "" && reach.In > policy.Clear {
				way = append(way, w)
			}
		}
		if reach.Out < floor.Out && why != "" {
			whyOut = append(whyOut, name+": "+why)
		}
	}
	const pin = "pin the person's key: `openpgp: [FINGERPRINT]` or `otr: [FINGERPRINT]`"
	e := &FloorError{Person: person.Name}
	switch {
	case best.Out < floor.Out || best.Out == policy.Clear:
		e.Direction, e.Floor, e.Best, e.Why = "out", floor.Out, best.Out, strings.Join(whyOut, "; ")
		e.Way = pin
	case best.In < floor.In:
		e.Direction, e.Floor, e.Best, e.Why = "in", floor.In, best.In, strings.Join(whyIn, "; ")
		if e.Way = strings.Join(way, "; "); e.Way == "" {
			e.Way = pin
		}
	default:
		return nil
	}
	if e.Why == "" {
		e.Why = "no key is pinned"
	}
	return e
}
