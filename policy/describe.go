package policy

import (
	"slices"
	"strings"
)

// describe says of whom and when a rule speaks.
func (r *rule) describe() string {
	var out []string
	if !r.all {
		out = append(out, r.who.describe(&r.Who))
	}
	for part := InTLS; part <= InFloods; part++ {
		if s := r.If.describe(part); s != "" {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return "everybody"
	}
	return strings.Join(out, ", ")
}

// part says what one part of a rule asks for.
func (r *rule) part(c Clause) string {
	switch c {
	case InWho:
		return r.who.describe(&r.Who)
	case InExcept:
		out := make([]string, len(r.except))
		for i := range r.except {
			out[i] = r.except[i].describe(&r.Except[i])
		}
		return "not to be " + strings.Join(out, " or ")
	case InFor:
		return "to be here for less than " + r.For.String()
	}
	return r.If.describe(c)
}

func (c *clause) describe(w *Who) string {
	var out []string
	for _, g := range w.Groups {
		out = append(out, "group "+g)
	}
	out = append(out, w.People...)
	s := strings.Join(out, " or ")
	if c.named && c.at != Account {
		s += " by " + c.at.String()
	}
	if c.anonymous {
		s = strings.TrimPrefix(s+" and anonymous", " and ")
	}
	if len(w.Hosts) > 0 {
		s = strings.TrimPrefix(s+" and host "+strings.Join(w.Hosts, " or "), " and ")
	}
	return s
}

// become says what somebody would have to be, and how to prove it.
func (c *clause) become(w *Who) string {
	how := [strengths]string{"", "seen at a host of", "logged in as", "here with the JID of", "with the certificate of", "with the verified key of"}[c.at]
	out := slices.Clone(w.People)
	if len(w.Groups) > 0 {
		out = append(out, "a member of "+strings.Join(w.Groups, " or "))
	}
	return how + " " + strings.Join(out, " or ")
}

// describe says what one condition asks for; "" for nothing.
func (c *conditions) describe(part Clause) string {
	is := func(what string, k Known) string {
		if k == Unknown {
			return ""
		}
		if k == Yes {
			return what + " is true"
		}
		return what + " is false"
	}
	switch part {
	case InTLS:
		return is("tls", c.TLS)
	case InAccount:
		return is("logged in", c.Account)
	case InCert:
		return is("certificate", c.Cert)
	case InEncrypted:
		s := is("encrypted", c.Encrypted)
		if c.Below != Clear {
			s = strings.TrimPrefix(s+", encryption below "+c.Below.String(), ", ")
		}
		return s
	case InAffiliation:
		return isOneOf("affiliation", c.Affiliations.String())
	case InRole:
		return isOneOf("role", c.Roles.String())
	case InFloods:
		if c.Floods != 0 {
			return "flood of " + c.Floods.String()
		}
	}
	return ""
}

// isOneOf says what is asked of a word; "" for nothing.
func isOneOf(what, words string) string {
	if words == "" {
		return ""
	}
	return what + " is " + words
}

// wouldChange says what would let the subject do it: what undoes each rule that
// forbids, and one of the rules that allow.
func (p *Policy) wouldChange(e Event, d *Decision) string {
	if d.Effect <= Alert || d.Basis == ByUnguarded {
		return ""
	}
	if d.Basis == ByBan {
		return "the ban ends or is forgiven"
	}
	var undo, allow []string
	for _, s := range d.Trace() {
		r := &p.rules[s.Rule]
		switch {
		case r.Effect > Alert && s.Match == Yes:
			undo = append(undo, r.undone())
		case r.Effect == Allow && s.Match == Yes:
			allow = []string{""}
		case r.Effect == Allow && s.Match != Never && (len(allow) == 0 || allow[0] != ""):
			if s.Why == InWho && r.who.named {
				allow = append(allow, r.who.become(&r.Who))
			} else {
				allow = append(allow, r.part(s.Why))
			}
		}
	}
	if room := p.rooms[e.Room]; room.byDefault(e.Do) == Allow {
		allow = nil
	}
	if s := strings.Join(allow, " or "); s != "" {
		undo = append(undo, s)
	}
	return strings.Join(undo, " and ")
}

// undone says what would make a rule that matches not match.
func (r *rule) undone() string {
	var out []string
	for part := InTLS; part <= InFloods; part++ {
		switch s := r.If.describe(part); {
		case s == "":
		case part == InAffiliation, part == InRole:
			out = append(out, strings.Replace(s, " is ", " is not ", 1))
		default:
			out = append(out, "not "+s)
		}
	}
	if !r.all {
		out = append(out, "not "+r.who.describe(&r.Who))
	}
	if len(out) == 0 {
		out = []string{"rule " + r.ID + " is changed"}
	}
	words := strings.NewReplacer("not tls is false", "connected with TLS", "not logged in is false", "logged in", "not encrypted is false", "encrypted",
		"not certificate is false", "shown a certificate", " is true", "")
	return words.Replace(strings.Join(out, " or "))
}
