package policy

import (
	"strings"
	"time"
)

// match tells whether a rule fits, and which part of it decided.
func (r *rule) match(f *Facts, s *subject, now time.Time) (result Known, why Clause) {
	result = Yes
	if !r.all {
		if result = r.who.match(f, s); closed(result) {
			return result, InWho
		}
	}
	for i := range r.except {
		k := r.except[i].match(f, s)
		if k == Never { // who cannot be told apart is no exception
			k = No
		}
		if k = not(k); k != Yes {
			if result, why = and(result, k), InExcept; closed(result) {
				return result, why
			}
		}
	}
	if r.For > 0 && r.Effect != Ban && !f.Since.IsZero() && !now.Before(f.Since.Add(r.For)) {
		return No, InFor
	}
	for part := InTLS; part <= InFloods; part++ {
		if !r.If.asks(part) {
			continue
		}
		if k := r.If.match(f, part); k != Yes {
			if result, why = and(result, k), part; closed(result) {
				return result, why
			}
		}
	}
	return result, why
}

// closed reports whether no further part of a rule can make it match.
func closed(k Known) bool { return k == No || k == Never }

// missing lists the facts that would settle a rule whose match is unknown.
func (r *rule) missing(f *Facts, s *subject) Missing {
	var out Missing
	if !r.all {
		out |= r.who.missing(s)
	}
	for i := range r.except {
		out |= r.except[i].missing(s)
	}
	for part, m := range conditionFacts {
		if m != 0 && r.If.asks(Clause(part)) && r.If.match(f, Clause(part)) == Unknown {
			out |= m
		}
	}
	return out
}

// conditionFacts says which fact a condition asks for.
var conditionFacts = [...]Missing{
	InTLS: MissingTLS, InAccount: MissingAccount, InCert: MissingCert, InEncrypted: MissingRung,
	InAffiliation: MissingAffiliation, InRole: MissingRole, InFloods: 0,
}

// conditions is a compiled If.
type conditions struct {
	If
	asked uint16 // the clauses that ask for something
}

func compileIf(c If) conditions {
	out := conditions{If: c}
	for part, asks := range [...]bool{
		InTLS: c.TLS != Unknown, InAccount: c.Account != Unknown, InCert: c.Cert != Unknown, InEncrypted: c.Encrypted != Unknown || c.Below != Clear,
		InAffiliation: c.Affiliations != 0, InRole: c.Roles != 0, InFloods: c.Floods != 0,
	} {
		if asks {
			out.asked |= 1 << part
		}
	}
	return out
}

// asks reports whether a clause asks for something.
func (c *conditions) asks(part Clause) bool { return c.asked>>part&1 != 0 }

// match looks at one condition; what is not asked fits.
func (c *conditions) match(f *Facts, part Clause) Known {
	switch part {
	case InTLS:
		return asked(c.TLS, f.TLS.Known)
	case InAccount:
		return asked(c.Account, f.Account.Known)
	case InCert:
		return asked(c.Cert, f.Cert.Known)
	case InEncrypted:
		k := Yes
		if c.Encrypted != Unknown {
			k = asked(c.Encrypted, f.atLeast(Sealed))
		}
		if c.Below != Clear {
			k = and(k, not(f.atLeast(c.Below)))
		}
		return k
	case InAffiliation:
		return isOf(&f.Affiliation, uint8(c.Affiliations), affiliationNames[:])
	case InRole:
		return isOf(&f.Role, uint8(c.Roles), roleNames[:])
	case InFloods:
		return boolKnown(c.Floods == 0 || c.Floods&f.Floods != 0)
	}
	return Yes
}

// asked compares a condition with a fact; Unknown is not asked.
func asked(want, is Known) Known {
	switch want {
	case No:
		return not(is)
	case Yes:
		return is
	}
	return Yes
}

// atLeast reports whether the message is protected that far.
func (f *Facts) atLeast(r Rung) Known {
	if f.RungKnown != Yes {
		return f.RungKnown
	}
	return boolKnown(f.Rung >= r)
}

func (c *clause) match(f *Facts, s *subject) Known {
	result := Yes
	if c.named {
		result = s.is(c.want, c.at)
	}
	if c.anonymous {
		result = and(result, not(s.is(groupSet{1 << somebody}, c.at)))
	}
	if len(c.hosts) > 0 {
		result = and(result, f.anyHost(c.hosts))
	}
	return result
}

func (c *clause) missing(s *subject) Missing {
	want := c.want
	if c.anonymous {
		want.add(somebody)
	}
	return s.missing(c.at, want)
}

// anyHost reports whether a mask of the list fits. XMPP shows no hosts.
func (f *Facts) anyHost(masks []string) Known {
	if f.Host == "" {
		if f.Account.Known == Never {
			return Never
		}
		return Unknown
	}
	for _, m := range masks {
		if f.matches(m) {
			return Yes
		}
	}
	return No
}

// matches reports whether a folded mask fits the subject's nick!user@host.
func (f *Facts) matches(mask string) bool {
	nick, rest, _ := strings.Cut(mask, "!")
	user, host, _ := strings.Cut(rest, "@")
	return f.Host != "" && wild(nick, f.Nick) && wild(user, f.User) && wild(host, f.Host)
}

// FoldMask returns a mask in the form that is compared: complete
// (nick!user@host) and in lower case.
func FoldMask(mask string) string {
	nick, rest, bang := strings.Cut(mask, "!")
	if !bang {
		nick, rest = "*", mask
		if !strings.Contains(mask, "@") {
			nick, rest = mask, "*@*"
			if strings.ContainsAny(mask, ".:") { // a host alone
				nick, rest = "*", "*@"+mask
			}
		}
	}
	user, host, at := strings.Cut(rest, "@")
	if !at {
		host = "*"
	}
	return strings.ToLower(or(nick) + "!" + or(user) + "@" + or(host))
}

func or(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

// wild matches a folded pattern with * and ? against s, whatever its case, in
// time len(pattern)·len(s) at most. Case is that of RFC 1459, the widest in use.
func wild(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || lower(pattern[p]) == lower(s[i])):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func lower(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '[', c == ']', c == '\\':
		return c + '{' - '['
	case c == '~':
		return '^'
	}
	return c
}
