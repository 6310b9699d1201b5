package guard

import (
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// In implements bridge.Gate: it judges what is said in a guarded room, for speaking
// and for being relayed.
func (g *Guard) In(m *bridge.Message, now time.Time) bridge.Ruling {
	sd := g.table.Load().sides[m.Room]
	if sd == nil {
		return bridge.Ruling{}
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return bridge.Ruling{}
	}
	if sd.closedByMove() {
		return bridge.Ruling{Refused: true, Rule: "migration", Reason: orElse(g.movingOf(m.Room).Entry, m.Room.Name+" is closed, and nobody elsewhere hears what you say here")}
	}
	sub := sd.present[m.From.Nick]
	if m.Delayed {
		sub = nil // who has the nick now need not be who said it
	}
	var f policy.Facts
	switch {
	case m.Facts != nil:
		f = *m.Facts
	case sub != nil:
		f = sub.facts
	default:
		if f = factsOf(r.table, m.From, m.Room); !sd.channel() {
			f.Affiliation, f.Role, f.RungKnown = policy.Fact{}, policy.Fact{}, policy.Unknown
		}
	}
	key := ""
	if sub != nil {
		f.Since, f.Self, key = sub.facts.Since, f.Self || sub.facts.Self, sub.key
		f.Rung, f.RungKnown = sub.facts.Rung, sub.facts.RungKnown
	} else {
		r.table.reach(&f)
	}
	if f.Self || r.table.peerOf(&f) != nil {
		return bridge.Ruling{}
	}
	sd.fillLocked(&f, key, now)
	// Who may not be there, or only in silence, is not relayed, gone by now or not.
	in := policy.Decision{}
	if sub != nil && sub.judged {
		in.Effect, in.Basis, in.Rule, in.Reason = sub.effect, sub.basis, sub.rule, sub.reason
	} else {
		in = policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, now)
	}
	if in.Effect >= policy.Devoice {
		return sd.rulingLocked(&f, &in, policy.Join, now)
	}
	for _, do := range [...]policy.Do{policy.Speak, policy.RelayIn} {
		if do == policy.RelayIn {
			f.Rung, f.RungKnown = m.Rung, policy.Yes // of this very line, whatever their sessions are
		}
		if d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: do}, now); d.Acts&policy.ActWithhold != 0 {
			return sd.rulingLocked(&f, &d, do, now)
		}
	}
	return bridge.Ruling{}
}

// Out implements bridge.Gate: it judges what goes into a guarded room. Who is banned
// from the room by one network does not speak there through another.
func (g *Guard) Out(from bridge.Sender, source, to bridge.Room, line bridge.Line, rung policy.Rung, now time.Time) bridge.Ruling {
	t := g.table.Load()
	sd := t.sides[to]
	if sd == nil {
		return bridge.Ruling{}
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return bridge.Ruling{}
	}
	if sd.closedByMove() {
		return bridge.Ruling{Refused: true, Rule: "migration"} // of what everybody has been told
	}
	f := factsOf(t, from, source)
	key := ""
	other := t.sides[source]
	if other != nil && other.room == r && from.Nick != "" {
		if sub := other.present[from.Nick]; sub != nil {
			f, key = sub.facts, sub.key
		}
	}
	f.Rung, f.RungKnown = rung, policy.Yes
	if p := t.people[from.Person]; p != nil && rung >= policy.Verified && len(p.OpenPGP)+len(p.OTR) > 0 {
		f.Key = policy.Is(append(p.OpenPGP[:len(p.OpenPGP):len(p.OpenPGP)], p.OTR...)[0], "message", time.Time{})
	}
	if key == "" {
		key = keyOf(&f, r.policy.Who(&f))
	}
	if other == nil || other.room != r { // what is said in this room itself is counted there
		sd.countLocked(key, line, now)
	}
	f.Floods = r.floods.In(key, now)
	g.banned(r.policy, &f, r.name, now)
	if f.Ban == nil && (other == nil || from.Nick == "") {
		f.BanMissing = 0 // a room that nobody watches tells too little
	}
	if f.Floods != 0 && f.Ban == nil { // a rule about those who flood holds whatever way they speak
		d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Speak}, now)
		if d.Basis == policy.ByRule && d.Acts&policy.ActWithhold != 0 {
			return sd.rulingLocked(&f, &d, policy.Speak, now)
		}
	}
	d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.RelayOut}, now)
	if d.Acts&policy.ActWithhold == 0 || from.Nick == "" && d.Basis == policy.ByDoubt {
		return bridge.Ruling{}
	}
	return sd.rulingLocked(&f, &d, policy.RelayOut, now)
}

// countLocked counts a line that somebody says here through a bridge, once for both
// places of the room: the dispatcher asks about all of them before the next line.
func (sd *side) countLocked(key string, line bridge.Line, now time.Time) {
	r := sd.room
	if line.N == 0 || line.N == r.counted {
		return
	}
	r.counted = line.N
	said := r.g.gauge.Line(line, func(word string) string {
		if sd.present[word] == nil {
			return ""
		}
		return word
	})
	r.floods.Said(key, said, now)
}

// rulingLocked refuses, and has it noted: once in ten minutes for each speaker and
// rule. In a dry run nothing is refused.
func (sd *side) rulingLocked(f *policy.Facts, d *policy.Decision, do policy.Do, now time.Time) bridge.Ruling {
	r := sd.room
	a := sd.actLocked(f, d, do, now)
	a.Acts, a.Result = policy.ActWithhold.String(), r.resultLocked("not relayed")
	if sd.onceLocked(a, now) {
		r.noteLocked(a)
	}
	if !r.armed {
		return bridge.Ruling{}
	}
	return bridge.Ruling{Refused: true, Rule: orElse(d.Rule, d.Effect.String()), Reason: r.refusal(d)}
}

// factsOf is what is known of a speaker by the sender of a message alone: the person
// whom it is proven to be, the account or JID.
func factsOf(t *table, from bridge.Sender, source bridge.Room) policy.Facts {
	var f policy.Facts
	p := t.people[from.Person]
	if source.Kind == bridge.Channel {
		f = policy.NewIRCFacts(source.Leg, from.Nick, "", "")
		f.Cert, f.TLS = policy.Fact{Known: policy.Never}, policy.Fact{Known: policy.Never}
		switch account := from.Account; {
		case account != "":
			f.Account = policy.Is(account, "message", time.Time{})
		case p != nil && len(p.IRC[source.Leg].Accounts) > 0:
			f.Account = policy.Is(p.IRC[source.Leg].Accounts[0], "message", time.Time{})
		case from.Nick != "":
			f.Account = policy.IsNot("message", time.Time{})
		}
		return f
	}
	f = policy.NewXMPPFacts(source.Leg, from.Nick)
	switch {
	case from.JID != "":
		f.JID = policy.Is(bare(from.JID), "message", time.Time{})
	case p != nil && len(p.JIDs) > 0:
		f.JID = policy.Is(p.JIDs[0], "message", time.Time{})
	}
	return f
}
