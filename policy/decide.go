package policy

import (
	"time"
)

// Event is what is judged: somebody does something in a room.
type Event struct {
	Room string
	Do   Do
}

// Basis says what a decision rests on.
type Basis uint8

// What a decision can rest on.
const (
	ByDefault   Basis = iota // no rule matched
	ByRule                   // Decision.Rule
	ByDoubt                  // Decision.Missing
	ByBan                    // a live ban
	ByUnguarded              // the room has no guard, or no rule speaks of this
)

// Step is what one rule said.
type Step struct {
	Rule  uint16 // its place in the policy
	Match Known  // Never: the network cannot tell what it asks
	Why   Clause // what decided, where it is not Yes
}

// Clause is a part of a rule.
type Clause uint8

// The parts of a rule, in the order in which they are looked at.
const (
	InWho Clause = iota
	InExcept
	InTLS
	InAccount
	InCert
	InEncrypted
	InAffiliation
	InRole
	InFloods
	InFor
)

// Decision is a verdict, with all that led to it. It holds no pointers of its
// own and is made without allocating.
type Decision struct {
	Do        Do // what was judged
	Effect    Effect
	Basis     Basis
	Rule      string // ID of the rule or ban that decided; "" for others
	Reason    string // what the subject is told
	Acts      Acts
	Missing   Missing // unknown facts that could change the verdict
	Protected Known   // Yes: a more severe effect was held back; Unknown: may be
	Until     time.Time
	// Again is when time alone changes the verdict, as when a guest's stay ends;
	// zero: never.
	Again time.Time
	steps [MaxRules]Step
	n     int
}

// Trace returns what each rule of the room and action said, in the order of the
// config.
func (d *Decision) Trace() []Step { return d.steps[:d.n] }

// RuleID returns the ID of the rule of a step.
func (p *Policy) RuleID(s Step) string { return p.rules[s.Rule].ID }

// Decide judges what a subject does in a room. Deny overrides: of all rules that
// match the most severe one wins, whatever their order, and of equals the one
// whose ID comes first. An unknown fact in a rule that restricts means
// quarantine, in one that allows nothing; either way it is Missing.
func Decide(p *Policy, f *Facts, e Event, now time.Time) (d Decision) {
	room := p.rooms[e.Room]
	if room == nil {
		return Decision{Do: e.Do, Basis: ByUnguarded}
	}
	d.Do = e.Do
	var s subject
	p.identify(f, &s)
	v, unknown := verdict{d: &d}, f.unknown()
	for _, i := range room.rules[e.Do] {
		r := &p.rules[i]
		match, why := r.match(f, &s, now)
		d.steps[d.n] = Step{i, match, why}
		d.n++
		if match == Unknown && d.Missing != unknown {
			d.Missing |= r.missing(f, &s)
		}
		v.take(r, match)
		if match != No && r.For > 0 && r.Effect != Ban && !f.Since.IsZero() {
			d.again(f.Since.Add(r.For), now)
		}
	}
	if f.BanMissing != 0 && e.Do != Order {
		d.Missing |= f.BanMissing
		v.doubt = Quarantine
	}
	v.base(room, e.Do, f.Granted)
	if f.Ban.Live(e.Room, now) && e.Do != Order {
		d.Effect, d.Basis, d.Rule, d.Reason, d.Until = Ban, ByBan, f.Ban.ID, f.Ban.Reason, f.Ban.Until
		if !d.Until.IsZero() {
			d.again(d.Until, now)
		}
	} else if d.Effect == Ban && v.most.For > 0 {
		d.Until = now.Add(v.most.For)
	}
	d.protect(f, &s, e.Do)
	d.act(e.Do)
	return d
}

// verdict gathers what the rules say.
type verdict struct {
	d     *Decision
	most  *rule // the most severe that matches
	allow *rule
	held  bool   // a rule says quarantine: the subject may be there
	maybe bool   // a fact we do not have could let it in
	doubt Effect // of rules that a fact we do not have could make match
	alert bool
}

func (v *verdict) take(r *rule, match Known) {
	switch match {
	case Yes:
		if r.Effect == Allow {
			if v.allow == nil || r.ID < v.allow.ID {
				v.allow = r
			}
			return
		}
		v.held = v.held || r.Effect == Quarantine
		v.alert = v.alert || r.Effect == Alert
		if v.most == nil || r.severer(v.most) {
			v.most = r
		}
	case Unknown:
		v.maybe = v.maybe || r.Effect == Allow || r.Effect == Quarantine
		if r.Effect >= Devoice {
			v.doubt = max(v.doubt, min(r.Effect, Quarantine))
		}
	}
}

// severer orders rules that match, so that the order of the file does not count.
func (r *rule) severer(o *rule) bool {
	if r.Effect != o.Effect {
		return r.Effect > o.Effect
	}
	if r.For != o.For && r.Effect == Ban {
		return r.For == 0 || o.For != 0 && r.For > o.For
	}
	return r.ID < o.ID
}

// base puts together what matched, what could, and the room's default.
func (v *verdict) base(room *room, do Do, granted string) {
	d := v.d
	d.Basis = ByDefault
	switch {
	case v.allow != nil:
		d.Effect, d.Basis, d.Rule, d.Reason = Allow, ByRule, v.allow.ID, v.allow.Reason
	case v.held:
		d.Effect = Quarantine
	case granted != "" && (do == Join || do == Speak):
		d.Basis, d.Rule = ByRule, granted // in the place of the room's default
	default:
		d.Effect = room.byDefault(do)
		if v.most == nil && d.n == 0 && d.Effect == Allow && 1<<do&governs != 0 {
			d.Basis = ByUnguarded
		}
		if d.Effect == Deny && v.maybe {
			d.Effect, d.Basis = Quarantine, ByDoubt
		}
	}
	if v.doubt > d.Effect {
		d.Effect, d.Basis, d.Rule, d.Reason = v.doubt, ByDoubt, "", ""
	}
	if v.most != nil && v.most.Effect >= d.Effect {
		d.Effect, d.Basis, d.Rule, d.Reason = v.most.Effect, ByRule, v.most.ID, v.most.Reason
	}
	if v.alert {
		d.Acts |= ActAlert
	}
}

// byDefault is the effect where no rule matches. What is not join or speak is
// allowed until a rule gives it to somebody; invitations and orders always need
// a rule.
func (r *room) byDefault(do Do) Effect {
	switch {
	case do == Join, do == Speak:
		return r.Default
	case do == Invite, do == Order, r.governed&(1<<do) != 0:
		return Deny
	}
	return Allow
}

// protect holds back what would remove a protected subject, or one of whom that
// is not known yet.
func (d *Decision) protect(f *Facts, s *subject, do Do) {
	d.Protected = s.protected(f)
	if d.Protected == No {
		return
	}
	most := Deny
	if do == Join { // where deny removes, too
		if most = Alert; d.Protected == Unknown {
			most = Quarantine
		}
	}
	if d.Effect <= most {
		d.Protected = No // nothing to hold back
		return
	}
	d.Effect, d.Until = most, time.Time{}
	if d.Protected == Unknown {
		d.Missing |= s.missing(Account, groupSet{1 << protected})
	}
}

// again keeps the earliest time after now.
func (d *Decision) again(at, now time.Time) {
	if at.After(now) && (d.Again.IsZero() || at.Before(d.Again)) {
		d.Again = at
	}
}

// act says what there is to do.
func (d *Decision) act(do Do) {
	if d.Missing != 0 {
		d.Acts |= ActLookUp
	}
	if d.Effect == Alert || d.Protected == Yes {
		d.Acts |= ActAlert
	}
	if d.Effect >= Devoice && d.Effect < Kick {
		switch do {
		case Join:
			d.Acts |= ActDevoice
		case Speak, RelayIn:
			d.Acts |= ActDevoice | ActWithhold
		case Op:
			d.Acts |= ActDeop
		case Voice:
			d.Acts |= ActDevoice
		default:
			d.Acts |= ActWithhold
		}
	}
	switch d.Effect {
	case Allow, Alert:
		if d.Basis == ByRule {
			d.Acts |= [doCount]Acts{Op: ActOp, Voice: ActVoice, Invite: ActInvite}[do]
		}
	case Quarantine:
		d.Acts |= ActWithhold | ActTell
	case Deny:
		d.Acts |= ActTell
		if do == Join {
			d.Acts = d.Acts&^ActDevoice | ActWithhold | ActKick
		}
	case Kick:
		d.Acts |= ActWithhold | ActKick
	case Ban:
		d.Acts |= ActWithhold | ActKick | ActBan
	}
}

// subject is who somebody can be, by how well it is proven: a set at Account
// holds what is proven by an account or better; fresh, what that kind alone could.
type subject struct{ have, may, fresh [strengths]groupSet }

// identify finds the people that the facts prove, and those whom facts that are
// not known could prove.
func (p *Policy) identify(f *Facts, s *subject) {
	for kind := Key; kind >= Account; kind-- {
		if kind < Key {
			s.have[kind], s.may[kind] = s.have[kind+1], s.may[kind+1]
		}
		leg := f.Leg
		if kind == RealJID || kind == Key {
			leg = ""
		}
		switch fact := f.fact(kind); fact.Known {
		case Yes:
			value := fact.Value
			if kind == Account {
				value = FoldAccount(value) // allocates only where it must
			}
			s.have[kind].or(p.who[ident{kind, leg, value}])
		case Unknown:
			s.fresh[kind] = p.can[source{kind, leg}]
			s.may[kind].or(s.fresh[kind])
		}
	}
	s.have[Host], s.may[Host] = s.have[Account], s.may[Account]
	for i := range p.hosts[f.Leg] {
		if h := &p.hosts[f.Leg][i]; f.matches(h.mask) {
			s.have[Host].or(h.set)
		}
	}
}

// is reports whether the subject is, by at least that proof, in one of the groups.
func (s *subject) is(want groupSet, at Strength) Known {
	switch {
	case s.have[at].meets(want):
		return Yes
	case s.may[at].meets(want):
		return Unknown
	}
	return No
}

// missing lists the facts that could prove one of the groups.
func (s *subject) missing(at Strength, want groupSet) Missing {
	var out Missing
	for kind := Key; kind >= max(at, Account); kind-- {
		if s.fresh[kind].meets(want) {
			out |= missing(kind)
		}
	}
	return out
}

func (s *subject) protected(f *Facts) Known {
	if f.Self {
		return Yes
	}
	return s.is(groupSet{1 << protected}, Account)
}
