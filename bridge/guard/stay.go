package guard

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Kinds of timers of those who were invited on proof.
const (
	timerMember = "member" // may be in a place: by account, nick!user@host, or bare JID
	timerInvex  = "invex"  // an entry of a channel's list of exceptions from +i
)

// Times of stays.
const (
	stayFor  = 8 * time.Hour    // if the rule says nothing
	inviteIn = 10 * time.Minute // for a nick without account, to come in
)

// stays are those who may be in a place for some time, because they were invited on
// proof. Each is kept as a Timer until what it put into a server's lists is taken back.
type stays struct {
	mu sync.Mutex // guards all
	// places holds them by place, in the order of their IDs. A list is never changed,
	// but replaced.
	places map[string][]Timer
}

func stayID(kind, place, who string) string { return kind + " " + place + " " + who }

// of returns the stays of a place, ended ones too.
func (s *stays) of(place string) []Timer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[place]
}

// all returns the stays of all places.
func (s *stays) all() (out []Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.places {
		out = append(out, list...)
	}
	return out
}

// without returns a copy of the list of a place, but for one.
func (s *stays) without(place, id string) []Timer {
	return slices.DeleteFunc(slices.Clone(s.places[place]), func(x Timer) bool { return x.ID == id })
}

func (s *stays) put(x Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[x.Place] = append(s.without(x.Place, x.ID), x)
	slices.SortFunc(s.places[x.Place], func(a, b Timer) int { return strings.Compare(a.ID, b.ID) })
}

func (s *stays) drop(x *Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[x.Place] = s.without(x.Place, x.ID); len(s.places[x.Place]) == 0 {
		delete(s.places, x.Place)
	}
}

func (s *stays) load(kept []Timer) {
	for _, x := range kept {
		if x.Kind == timerMember || x.Kind == timerInvex {
			s.put(x)
		}
	}
}

// putStay notes a stay, and has it kept.
func (g *Guard) putStay(x Timer) {
	g.stays.put(x)
	g.scribe.keep(x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) })
}

// dropStay forgets a stay.
func (g *Guard) dropStay(x *Timer) {
	g.stays.drop(x)
	g.scribe.drop(x.ID, x.ID)
}

// leaveStay ends a stay in a place that is not held any more: what it put into the
// server's lists is taken back if the place is held again.
func (g *Guard) leaveStay(x *Timer, now time.Time) {
	switch {
	case x.Kind == timerInvex:
		g.mark(x.Room, mark{timerDoor, "I", x.Place, x.Who}, time.Time{})
	case !x.byNick() && !strings.HasPrefix(x.Who, policy.MaskAccount): // a JID's membership
		left := Timer{ID: leftID(x.Room, x.Who), Kind: timerLeft, Room: x.Room, Who: x.Who, Due: now}
		g.mu.Lock()
		g.keptOf(x.Room).left[x.Who] = true
		g.mu.Unlock()
		g.scribe.keep(left.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, left) })
	}
	g.dropStay(x)
}

// holdsLocked reports whether a stay is good: its time is not over, and the person may
// still be invited there, by the key that proved them. So it ends with a key that is
// revoked, a ban, or a change of the rules.
func (sd *side) holdsLocked(x *Timer, now time.Time) bool {
	if !now.Before(x.Due) || !provenBy(sd.room.table.people[x.Person], x.Key) {
		return false
	}
	d, ok := sd.mayInviteLocked(x.Person, "", now)
	return ok && d.Rule == x.Rule
}

// mayInviteLocked decides whether a person may have themselves invited, once they have
// proven a key. jid is where they write from; "": the first that is known of them.
func (sd *side) mayInviteLocked(person, jid string, now time.Time) (policy.Decision, bool) {
	r := sd.room
	p := r.table.people[person]
	if p == nil || keyFor(p) == "" {
		return policy.Decision{}, false
	}
	if jid == "" && len(p.JIDs) > 0 {
		jid = p.JIDs[0]
	}
	f := policy.NewXMPPFacts("", person)
	f.Key = policy.Is(keyFor(p), "proof", time.Time{})
	f.Rung, f.RungKnown = policy.Verified, policy.Yes
	if f.JID = policy.IsNot("proof", time.Time{}); jid != "" {
		f.JID = policy.Is(jid, "proof", time.Time{})
	}
	r.g.banned(r.policy, &f, r.name, now)
	d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Invite}, now)
	return d, d.Effect <= policy.Alert && d.Basis == policy.ByRule
}

// keyFor is a key that proves a person now; "": none does.
func keyFor(p *policy.Person) string {
	for _, keys := range [...][]string{p.OpenPGP, p.OTR} {
		if len(keys) > 0 {
			return keys[0]
		}
	}
	return ""
}

// provenBy reports whether a key proves a person now. Where it is not known which key
// proved them, any does.
func provenBy(p *policy.Person, key string) bool {
	return p != nil && (key == "" || slices.Contains(p.OpenPGP, key) || slices.Contains(p.OTR, key))
}

// fits reports whether a stay is of that subject: by account, else by the very nick,
// user and host that sent the code; in a MUC by JID.
func (x *Timer) fits(f *policy.Facts) bool {
	switch account, isAccount := strings.CutPrefix(x.Who, policy.MaskAccount); {
	case x.Kind != timerMember:
		return false
	case isAccount:
		return f.Account.Known == policy.Yes && policy.SameAccount(account, f.Leg+"/"+f.Account.Value)
	case f.JID.Known == policy.Yes:
		return x.Who == f.JID.Value
	}
	return f.Host != "" && strings.EqualFold(x.Who, f.Nick+"!"+f.User+"@"+f.Host)
}

// byNick reports whether a stay is of one connection only.
func (x *Timer) byNick() bool { return strings.Contains(x.Who, "!") }

// byProof is from where a key is known of somebody who was invited.
const byProof = "invited on proof"

// grantLocked notes of somebody by which rule they were invited, and the key that was
// proven for it, if a stay of theirs is good.
func (sd *side) grantLocked(f *policy.Facts, now time.Time) *Timer {
	if f.Granted = ""; f.Key.From == byProof {
		f.Key = policy.Fact{Known: policy.Never}
	}
	for _, x := range sd.room.g.stays.of(sd.place.String()) {
		if !x.fits(f) || !sd.holdsLocked(&x, now) {
			continue
		}
		f.Granted = x.Rule
		if p := sd.room.table.people[x.Person]; f.Key.Known != policy.Yes {
			f.Key = policy.Is(keyFor(p), byProof, time.Time{})
		}
		return &x
	}
	return nil
}

// wasGuestLocked reports whether somebody was invited, and that has ended just now.
func (sd *side) wasGuestLocked(f *policy.Facts) bool {
	return slices.ContainsFunc(sd.room.g.stays.of(sd.place.String()), func(x Timer) bool { return x.fits(f) })
}

// arrivedLocked has the stay of a nick begin, as it comes in within the time for that.
func (sd *side) arrivedLocked(sub *subject, now time.Time) {
	x := sub.stay
	if x == nil || !x.byNick() || sub.here {
		return
	}
	if due := now.Add(sd.stayTimeLocked(x.Rule)); due.After(x.Due.Add(time.Minute)) {
		x.Due = due
		sd.room.g.putStay(*x)
	}
}

// renamedLocked has the stay of a connection go on by its new nick.
func (sd *side) renamedLocked(sub *subject, f *policy.Facts) {
	x := sub.stay
	if x == nil || !x.byNick() || f.User != sub.facts.User || f.Host != sub.facts.Host {
		return
	}
	sd.room.g.dropStay(x)
	x.Who = f.Nick + "!" + f.User + "@" + f.Host
	x.ID = stayID(x.Kind, x.Place, x.Who)
	sd.room.g.putStay(*x)
}

// leftLocked ends the stay of a connection that leaves: who comes by that nick next may
// be somebody else.
func (sd *side) leftLocked(sub *subject, split bool) {
	if x := sub.stay; x != nil && x.byNick() && !split {
		sd.room.g.dropStay(x)
	}
}

// stayTimeLocked is how long an invitation by a rule lasts.
func (sd *side) stayTimeLocked(rule string) time.Duration {
	for i := range sd.room.table.cfg.Policy.Rules {
		if r := &sd.room.table.cfg.Policy.Rules[i]; r.ID == rule && r.For > 0 {
			return r.For
		}
	}
	return stayFor
}

// staysLocked ends the stays that are not good any more. What they put into lists is
// taken back by the next look, which forgets them.
func (sd *side) staysLocked(now time.Time) {
	r := sd.room
	ended := false
	for _, x := range r.g.stays.of(sd.place.String()) {
		if sd.holdsLocked(&x, now) || sd.ending[x.ID] {
			continue
		}
		ended = true
		if x.Kind == timerMember {
			why := "its time is over"
			if now.Before(x.Due) {
				why = x.Person + " may not be invited any more"
			}
			r.noteLocked(&Act{At: now, Room: r.name, Place: sd.place.String(), Who: strings.TrimPrefix(x.Who, policy.MaskAccount), Person: x.Person, Do: policy.Invite, Rule: x.Rule, Acts: "invitation ends", Actor: actorGuard, Result: why})
		}
		if x.Kind == timerMember && sd.channel() {
			r.g.dropStay(&x)
			continue
		}
		if sd.ending == nil {
			sd.ending = map[string]bool{}
		}
		sd.ending[x.ID] = true
	}
	if ended {
		sd.judgeAllLocked(now)
		poke(sd.look)
	}
}

// overstayLocked counts those who are in a MUC though their stay has ended.
func (sd *side) overstayLocked(o *policy.MUCSeen) (n int) {
	for _, x := range sd.room.g.stays.of(sd.place.String()) {
		if sd.ending[x.ID] && slices.ContainsFunc(o.Occupants, func(oc policy.Occupant) bool { return oc.JID == x.Who }) {
			n++
		}
	}
	return n
}

// forgetStaysLocked forgets those that ended and have left nothing behind.
func (sd *side) forgetStaysLocked(o *bridge.Observed, now time.Time) {
	there := map[string]bool{}
	for _, m := range o.Channel.Lists['I'] {
		there[strings.ToLower(m)] = true
	}
	for _, h := range o.MUC.Affiliations {
		there[strings.ToLower(h.JID)] = h.Is == policy.Member
	}
	for _, x := range sd.room.g.stays.of(sd.place.String()) {
		if sd.ending[x.ID] && !sd.holdsLocked(&x, now) && (!there[strings.ToLower(x.Who)] || sd.byPolicyLocked(&x, now)) {
			delete(sd.ending, x.ID)
			sd.room.g.dropStay(&x)
		}
	}
}

// byPolicyLocked reports whether an entry stands by the rules, too.
func (sd *side) byPolicyLocked(x *Timer, now time.Time) bool {
	if sd.channel() {
		for _, l := range sd.want.Lists {
			if l.Mode == 'I' && contains(l.Want, x.Who) {
				return true
			}
		}
		return false
	}
	for _, h := range sd.wantMUC.Affiliations {
		if h.JID == x.Who && h.Is != policy.NoOne {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	return slices.ContainsFunc(list, func(m string) bool { return strings.EqualFold(m, s) })
}

// wantInvexLocked adds the entries that let the invited through +i, and takes back
// those whose time is over.
func (sd *side) wantInvexLocked(c *policy.Channel, now time.Time) {
	if !strings.Contains(sd.caps.ListModes, "I") {
		return
	}
	var wanted []string
	for _, l := range c.Lists {
		if l.Mode == 'I' {
			wanted = l.Want
		}
	}
	for _, x := range sd.room.g.stays.of(sd.place.String()) {
		if good := sd.holdsLocked(&x, now); x.Kind == timerInvex && !contains(wanted, x.Who) {
			addEntry(c, entry{'I', x.Who, !good})
		}
	}
}

// isThereLocked reports whether somebody with that JID is in the MUC.
func (sd *side) isThereLocked(jid string) bool {
	for _, sub := range sd.present {
		if sub.facts.JID.Known == policy.Yes && sub.facts.JID.Value == jid {
			return true
		}
	}
	return false
}

// wantStaysLocked adds the memberships of the invited to a MUC, and takes back those
// whose time is over. is has what everybody holds now.
func (sd *side) wantStaysLocked(is map[string]policy.Affiliation, now time.Time, add func(string, policy.Affiliation, string)) {
	for _, x := range sd.room.g.stays.of(sd.place.String()) {
		good := x.Kind == timerMember && sd.holdsLocked(&x, now)
		switch has := is[x.Who]; {
		case !good && has == policy.Member && !sd.isThereLocked(x.Who): // who is there goes first
			add(x.Who, policy.NoOne, "")
		case good && has != policy.Owner && has != policy.Admin:
			add(x.Who, policy.Member, byProof)
		}
	}
}
