package policy

import "fmt"

// Effect is what a decision comes to. Effects are ordered by severity: of all
// rules that match, the most severe wins.
type Effect uint8

// The effects, mildest first.
const (
	Allow      Effect = iota
	Alert             // allowed, and the admins are told
	Devoice           // may listen
	Quarantine        // may be there: not heard, not relayed, told what to do
	Deny              // may not do this; who is in the room without right is removed
	Kick              // removed, and may come back
	Ban               // removed, for some time
)

var effectNames = []string{"allow", "alert", "devoice", "quarantine", "deny", "kick", "ban"}

// Do is what a subject does or wants: the action that a rule speaks of.
type Do uint8

// The actions.
const (
	Join Do = iota
	Speak
	Op       // to hold op, or to be moderator
	Voice    // to hold voice
	Invite   // to be invited, or to become a member
	RelayIn  // from this room into the bridge
	RelayOut // from the bridge into this room
	Order    // to give the bot an order
	doCount
)

var doNames = []string{"join", "speak", "op", "voice", "invite", "relay-in", "relay-out", "command"}

// Strength says how well an identity is proven.
type Strength uint8

// The strengths, weakest first.
const (
	Nick    Strength = iota // anybody can take one
	Host                    // shared by all behind it
	Account                 // services account of an IRC network
	RealJID                 // seen by the bot, vouched for by the person's server
	Cert                    // TLS client certificate on IRC
	Key                     // verified OpenPGP or OTR key
	strengths
)

var strengthNames = []string{"nick", "host", "account", "jid", "cert", "key"}

// Known is the state of a fact. The zero value is the careful one.
type Known uint8

// The states of a fact.
const (
	Unknown Known = iota // not yet, or no more: services are down
	No
	Yes
	Never // this network cannot tell, for nobody: rules about it do not apply
)

var knownNames = []string{"unknown", "no", "yes", "never told"}

// Acts is a set of things to do about a decision.
type Acts uint16

// What there is to do.
const (
	ActLookUp   Acts = 1 << iota // the facts in Decision.Missing, then decide again
	ActTell                      // tell the subject what to do next
	ActAlert                     // tell the admins
	ActWithhold                  // do not relay
	ActDevoice                   // take voice: -v, role visitor
	ActDeop                      // take op, or moderator
	ActOp                        // give op
	ActVoice                     // give voice
	ActInvite                    // let in: INVITE, or membership
	ActKick
	ActBan
)

var actNames = []string{"look-up", "tell", "alert", "withhold", "devoice", "deop", "op", "voice", "invite", "kick", "ban"}

// Removes reports whether the subject has to leave the room.
func (a Acts) Removes() bool { return a&(ActKick|ActBan) != 0 }

// String lists the acts by name.
func (a Acts) String() string { return setString(uint64(a), actNames, "+") }

// String returns the name that ParseEffect reads.
func (e Effect) String() string { return nameOf(effectNames, uint8(e), "effect") }

// String returns the name that ParseDo reads.
func (d Do) String() string { return nameOf(doNames, uint8(d), "do") }

// String returns the name that ParseStrength reads.
func (s Strength) String() string { return nameOf(strengthNames, uint8(s), "strength") }

// String returns a word for people.
func (k Known) String() string { return nameOf(knownNames, uint8(k), "known") }

// ParseEffect returns the effect of that name.
func ParseEffect(name string) (Effect, error) { return parseName[Effect](effectNames, name) }

// ParseDo returns the action of that name.
func ParseDo(name string) (Do, error) { return parseName[Do](doNames, name) }

// ParseStrength returns the strength of that name.
func ParseStrength(name string) (Strength, error) { return parseName[Strength](strengthNames, name) }

func nameOf(names []string, i uint8, kind string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", kind, i)
}

func parseName[T ~uint8](names []string, name string) (T, error) {
	for i, n := range names {
		if n == name {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("policy: %q is not one of %v", name, names)
}

func setString(set uint64, names []string, sep string) string {
	out := ""
	for i, n := range names {
		if set&(1<<i) == 0 {
			continue
		}
		if out != "" {
			out += sep
		}
		out += n
	}
	return out
}

// boolKnown is what a bool is as a fact.
func boolKnown(b bool) Known {
	if b {
		return Yes
	}
	return No
}

// not, and: Kleene's logic. Making an input unknown makes the result unknown
// or leaves it, and never turns yes into no. Never is no in every conjunction,
// and is not turned round.
func not(k Known) Known {
	switch k {
	case Yes:
		return No
	case No:
		return Yes
	}
	return k
}

func and(a, b Known) Known {
	switch {
	case a == No || b == No:
		return No
	case a == Never || b == Never:
		return Never
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return Yes
}
