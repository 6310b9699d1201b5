package guard

import (
	"fmt"
	"slices"
	"time"

	"drawbridge/policy"
)

// Names of the values that policy has none for, as JSON has them.
var (
	basisNames = []string{policy.ByDefault: "default", policy.ByRule: "rule", policy.ByDoubt: "doubt", policy.ByBan: "ban", policy.ByUnguarded: "unguarded"}
	knownNames = []string{policy.Unknown: "", policy.No: "no", policy.Yes: "yes", policy.Never: "never"}
)

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return ""
}

func parseName[T ~uint8](names []string, name string) (T, error) {
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("guard: %.40q is not one of %v", name, names)
	}
	return T(i), nil
}

// factsWords are policy.Facts as JSON has them. Nothing in them is message text: of a
// message they know how far it was protected, and whether it was one too many.
type factsWords struct {
	Leg        string            `json:"leg,omitempty"`
	Nick       string            `json:"nick,omitempty"`
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	Account    factWords         `json:"account,omitzero"`
	Cert       factWords         `json:"cert,omitzero"`
	JID        factWords         `json:"jid,omitzero"`
	Key        factWords         `json:"key,omitzero"`
	TLS        factWords         `json:"tls,omitzero"`
	Is         factWords         `json:"affiliation,omitzero"`
	Role       factWords         `json:"role,omitzero"`
	Occupant   factWords         `json:"occupant,omitzero"`
	Rung       string            `json:"rung,omitempty"` // where it is known
	RungKnown  string            `json:"rung_known,omitempty"`
	Since      time.Time         `json:"since,omitzero"`
	Admitted   bool              `json:"admitted,omitempty"`
	Floods     policy.FloodSet   `json:"floods,omitempty"`
	Ban        *policy.BanRecord `json:"ban,omitempty"`
	BanMissing policy.Missing    `json:"ban_missing,omitempty"`
	Granted    string            `json:"granted,omitempty"`
	Self       bool              `json:"self,omitempty"`
}

type factWords struct {
	Known string    `json:"known,omitempty"`
	Value string    `json:"value,omitempty"`
	From  string    `json:"from,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func wordsOf(f *policy.Facts) factsWords {
	one := func(f policy.Fact) factWords { return factWords{nameOf(knownNames, f.Known), f.Value, f.From, f.At} }
	w := factsWords{
		Leg: f.Leg, Nick: f.Nick, User: f.User, Host: f.Host, Account: one(f.Account), Cert: one(f.Cert), JID: one(f.JID), Key: one(f.Key), TLS: one(f.TLS),
		RungKnown: nameOf(knownNames, f.RungKnown), Since: f.Since, Admitted: f.Admitted, Floods: f.Floods, Ban: f.Ban, BanMissing: f.BanMissing, Granted: f.Granted, Self: f.Self,
	}
	if f.JID.Known != policy.Never { // on IRC nobody has these
		w.Is, w.Role, w.Occupant = one(f.Affiliation), one(f.Role), one(f.Occupant)
	}
	if f.RungKnown == policy.Yes {
		w.Rung = f.Rung.String()
	}
	return w
}

func (w *factsWords) facts() (f policy.Facts, err error) {
	f = policy.Facts{
		Leg: w.Leg, Nick: w.Nick, User: w.User, Host: w.Host, Since: w.Since, Admitted: w.Admitted, Floods: w.Floods, Ban: w.Ban, BanMissing: w.BanMissing, Granted: w.Granted, Self: w.Self,
	}
	for _, x := range []struct {
		to   *policy.Fact
		from factWords
	}{{&f.Account, w.Account}, {&f.Cert, w.Cert}, {&f.JID, w.JID}, {&f.Key, w.Key}, {&f.TLS, w.TLS}, {&f.Affiliation, w.Is}, {&f.Role, w.Role}, {&f.Occupant, w.Occupant}} {
		*x.to = policy.Fact{Value: x.from.Value, From: x.from.From, At: x.from.At}
		if x.to.Known, err = parseName[policy.Known](knownNames, x.from.Known); err != nil {
			return policy.Facts{}, err
		}
	}
	if f.JID.Known == policy.Never {
		never := policy.Fact{Known: policy.Never}
		f.Affiliation, f.Role, f.Occupant = never, never, never
	}
	if f.RungKnown, err = parseName[policy.Known](knownNames, w.RungKnown); err != nil || w.Rung == "" {
		return f, err
	}
	f.Rung, err = policy.ParseRung(w.Rung)
	return f, err
}
