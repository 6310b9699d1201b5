package guard

import (
	"context"
	"strings"
	"time"

	"drawbridge/policy"
)

// Kinds of timers.
const (
	timerGuest = "guest"
	timerBan   = "ban"
	timerMute  = "mute"
	timerLeft  = "left" // what Who holds in the MUC of Room is to be taken away
	timerDoor  = "door"
)

// maxTold bounds what a room remembers to have noted.
const maxTold = 8192

// judgeAllLocked judges everybody who is there anew.
func (sd *side) judgeAllLocked(now time.Time) {
	if !sd.ready || !sd.room.loaded {
		return
	}
	for _, sub := range sd.present {
		sd.knowLocked(sub, now)
		sub.asked = 0
		if x := sub.removal; x != nil && x.held {
			sub.removal = nil
		}
		sd.judgeLocked(sub, now)
	}
}

// fillLocked adds what the room knows to what a leg knows of somebody.
func (sd *side) fillLocked(f *policy.Facts, key string, now time.Time) {
	r := sd.room
	if f.Account.Known == policy.No && sd.down {
		f.Account.Known, f.Account.From = policy.Unknown, "services are away"
	}
	sd.grantLocked(f, now)
	if key == "" {
		key = keyOf(f, r.policy.Who(f))
	}
	_, f.Admitted = r.admitted[key]
	f.Floods = r.floods.In(key, now)
	r.g.banned(r.policy, f, r.name, now)
}

// judgeLocked decides on somebody who is there, and notes what there is to do.
func (sd *side) judgeLocked(sub *subject, now time.Time) {
	r := sd.room
	if !r.loaded || !sd.ready || sub.facts.Self {
		return
	}
	if sub.peer != nil {
		sd.peerLocked(sub)
		return
	}
	f := sub.facts
	sd.fillLocked(&f, sub.key, now)
	d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, now)
	if !sub.judged && sd.guestLocked(sub, &f, &d, now) {
		d = policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, now)
	}
	first := !sub.judged
	sub.judged, sub.again = true, d.Again
	changed := first || sub.effect != d.Effect || sub.rule != d.Rule
	sub.effect, sub.basis, sub.rule, sub.reason = d.Effect, d.Basis, d.Rule, d.Reason
	sd.lookUpLocked(sub, d.Missing)
	if d.Acts&policy.ActAlert != 0 && changed {
		r.eventLocked("alert "+d.Rule, source(&f)+" is in "+sd.place.String()+" (rule "+orElse(d.Rule, "none")+")", now)
	}
	if d.Acts.Removes() {
		sub.quiet = true
		sd.removeLocked(sub, &f, &d, policy.Join, now)
		return
	}
	speak := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Speak}, now)
	if f.Floods != 0 {
		sub.again = soonest(sub.again, r.floods.Until(sub.key))
	}
	if speak.Acts.Removes() && speak.Effect >= policy.Kick && f.Ban == nil {
		sub.effect, sub.basis, sub.rule, sub.reason, sub.quiet = speak.Effect, speak.Basis, speak.Rule, speak.Reason, true
		sd.removeLocked(sub, &f, &speak, policy.Speak, now)
		return
	}
	if x := sub.removal; x != nil && x.sent.IsZero() {
		sub.removal = nil // it may stay, after all
	}
	if d.Effect <= policy.Quarantine && d.Basis != policy.ByDoubt {
		r.admitLocked(sub.key, now)
	}
	if first && !sub.here {
		a := sd.actLocked(&f, &d, policy.Join, now)
		a.Result = "let in"
		r.noteLocked(a)
	}
	sd.voiceLocked(sub, &f, &d, &speak, now)
}

// voiceLocked withholds voice from who may not be heard, and gives rights to who has
// them by a rule.
func (sd *side) voiceLocked(sub *subject, f *policy.Facts, d, speak *policy.Decision, now time.Time) {
	r := sd.room
	op := policy.Decide(r.policy, f, policy.Event{Room: r.name, Do: policy.Op}, now)
	voice := policy.Decide(r.policy, f, policy.Event{Room: r.name, Do: policy.Voice}, now)
	sd.lookUpLocked(sub, speak.Missing|op.Missing|voice.Missing)
	was := sub.quiet
	by := d
	if sub.quiet = d.Effect >= policy.Devoice || speak.Effect >= policy.Devoice; d.Effect < policy.Devoice {
		by = speak
	}
	sub.give, sub.take, sub.want = "", "", ""
	if sd.channel() {
		sd.channelRights(sub, by, &op, &voice)
	} else {
		sd.mucRights(sub, &op, &voice)
	}
	do := policy.Speak
	if by == d {
		do = policy.Join
	}
	sub.by = verdictOf(do, by)
	if strings.ContainsAny(sub.give+sub.take, "qaoh") || sub.want == policy.Moderator || sub.role == policy.Moderator && sub.want != "" {
		sub.by = verdictOf(policy.Op, &op)
	}
	if sub.quiet && !was {
		a := sd.actLocked(f, by, do, now)
		a.Result = r.resultLocked("withheld")
		if sd.onceLocked(a, now) {
			r.noteLocked(a)
		}
		if sd.mucCaps.Ejabberd {
			poke(sd.look) // which moderates the room
		}
	}
	if sub.quiet && !sub.told && by.Acts&policy.ActTell != 0 {
		sub.told = true
		if acts, _ := sd.actsLocked(); r.armed && acts && len(sd.words) < maxWords {
			sd.words = append(sd.words, whisper{sub.facts.Nick, sd.adviceLocked(by)})
			poke(sd.wake)
		}
	}
	if !sub.quiet {
		sub.told = false
	}
	sub.mute = sd.muteLocked(sub, by)
	sd.queueLocked(sub)
}

const maxWords = 64

// muteLocked reports whether somebody has to be silenced by an entry of a list: a rule
// says so, and the channel does not keep them silent by itself.
func (sd *side) muteLocked(sub *subject, by *policy.Decision) bool {
	if strings.Contains(sd.want.Set, "M") && sub.facts.Account.Known == policy.No {
		return false // who is not logged in is silent there
	}
	return sd.channel() && sub.quiet && by.Basis == policy.ByRule && !strings.Contains(sd.want.Set, "m") && sub.facts.Host != ""
}

// queueLocked has somebody's rights, role and silence changed as they shall be, if they
// are not so. Rights about which somebody fights are left alone.
func (sd *side) queueLocked(sub *subject) {
	if sub.byOther && sd.room.breaker.Stopped(sd.rightsOf(sub), sd.room.g.now()) {
		sub.give, sub.take, sub.want = "", "", ""
	}
	if sub.give+sub.take == "" && sub.want == "" && sub.mute == (sub.muted != nil) {
		return
	}
	if acts, _ := sd.actsLocked(); !sub.queued && sd.room.armed && acts {
		sub.queued = true
		sd.status = append(sd.status, sub)
		poke(sd.wake)
	}
}

// channelRights says which letters of PREFIX somebody shall have.
func (sd *side) channelRights(sub *subject, by, op, voice *policy.Decision) {
	has := func(c string) bool { return strings.Contains(sub.rights, c) }
	moving := sd.room.g.movingOf(sd.place)
	// A channel that a migration keeps silent gives nobody a voice.
	moderated := strings.Contains(sd.want.Set, "m") && !strings.Contains(sd.room.before[sd.place.String()].Set, "m")
	if op.Acts&policy.ActDeop != 0 {
		for _, c := range "qaoh" {
			if has(string(c)) {
				sub.take += string(c)
			}
		}
	} else if op.Acts&policy.ActOp != 0 && !sub.quiet && !sub.powerful() {
		sub.give += "o"
	}
	switch {
	case sub.quiet && has("v"), moving.ReadOnly && has("v") && !sub.powerful():
		sub.take += "v"
	case moving.ReadOnly:
	case !sub.quiet && !has("v") && !sub.powerful() && sub.give == "" && (voice.Acts&policy.ActVoice != 0 || moderated):
		sub.give += "v"
	case voice.Acts&policy.ActDevoice != 0 && has("v"):
		sub.take += "v"
	}
}

// mucRights says which role somebody shall have. Owners and admins are beyond roles.
func (sd *side) mucRights(sub *subject, op, voice *policy.Decision) {
	if sub.is == policy.Owner || sub.is == policy.Admin {
		return
	}
	switch {
	case sub.quiet:
		sub.want = policy.Visitor
	case op.Acts&policy.ActOp != 0:
		sub.want = policy.Moderator
	case sub.role == policy.Visitor && sub.is == policy.NoOne && sd.room.shut && !sd.closed:
		return // a lockdown: who comes now is not heard before it ends
	case sub.role == policy.Moderator && op.Acts&policy.ActDeop == 0, voice.Acts&policy.ActDevoice != 0 && sub.role == policy.Visitor:
		return
	default:
		sub.want = policy.Participant
	}
	if sub.want == sub.role {
		sub.want = ""
	}
}

// maxLookups bounds the questions that wait; what does not fit is asked when somebody is
// judged anew.
const maxLookups = 4096

// lookUpLocked asks for what is missing of somebody, once.
func (sd *side) lookUpLocked(sub *subject, m policy.Missing) {
	if sd.down {
		m &^= policy.MissingAccount // nobody can tell
	}
	if m &^= sub.asked | policy.MissingKey | policy.MissingRung; m != 0 && len(sd.lookups) < maxLookups {
		sub.asked |= m
		sd.lookups = append(sd.lookups, lookup{sub.facts.Nick, m})
		poke(sd.wake)
	}
}

// guestLocked keeps when a guest's stay ends, over restarts and over parting: who comes
// back goes on with the same stay, and may begin another once as much time has passed
// as it lasted. It reports whether Since is another than now.
func (sd *side) guestLocked(sub *subject, f *policy.Facts, d *policy.Decision, now time.Time) bool {
	r := sd.room
	if d.Again.IsZero() || f.Ban != nil || d.Effect > policy.Quarantine {
		return false
	}
	stay := d.Again.Sub(now)
	if due, known := r.guests[sub.key]; known && now.Before(due.Add(stay)) && !due.After(d.Again) {
		sub.facts.Since = due.Add(-stay)
		f.Since = sub.facts.Since
		return true
	}
	if len(r.guests) >= MaxAdmitted {
		return false
	}
	r.guests[sub.key] = d.Again
	x := Timer{ID: guestID(r.name, sub.key), Kind: timerGuest, Room: r.name, Who: sub.key, Due: d.Again}
	r.g.scribe.keep(x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) })
	return false
}

// removeLocked notes that somebody has to go.
func (sd *side) removeLocked(sub *subject, f *policy.Facts, d *policy.Decision, do policy.Do, now time.Time) {
	r := sd.room
	acts, peer := sd.actsLocked()
	left := !acts && d.Basis == policy.ByDefault && sd.letInLocked(sub)
	if was := sub.removal; was != nil && (was.left == left || !was.left && !was.sent.IsZero()) {
		return
	}
	x := &removal{sub: sub, nick: sub.facts.Nick, reason: sd.reasonLocked(d), act: sd.actLocked(f, d, do, now)}
	sub.removal, x.left = x, left
	x.counts = d.Basis != policy.ByBan && !sd.leaverLocked(f, now) && (sub.here || d.Budgeted(f, now)) && !sd.cameToFloodLocked(sub, f, d, do, now)
	switch { // what was agreed is no mistake of the rules
	case d.Basis != policy.ByDefault:
	case sub.guest:
		x.counts = false
		x.reason = "your invitation has ended: ask me for another (!invite, in your encrypted chat with me)"
	case sd.overstaysLocked(sub, now):
		x.counts, x.reason = false, "your time as a guest is over"
	}
	if !r.armed {
		x.held, x.act.Result = true, resultDry
		if sd.onceLocked(x.act, now) {
			r.noteLocked(x.act)
		}
		return
	}
	if left {
		x.held, x.counts, x.act.Result = true, false, "left to "+peer+", who let them in"
		if sd.onceLocked(x.act, now) {
			r.noteLocked(x.act)
		}
		return
	}
	if !acts && d.Basis != policy.ByBan { // a ban was ordered here
		x.from = now.Add(peerTime)
		x.act.Acts += " after " + peer
	}
	switch {
	case d.Basis == policy.ByBan:
		if x.ban = f.Ban; strings.HasPrefix(x.ban.Mask, policy.MaskOccupant) && f.JID.Known == policy.Yes {
			x.ban = r.g.nameBan(x.ban, sub)
		}
		x.act.Undo = "guard forgive " + x.ban.ID
	case d.Effect == policy.Ban:
		makes := *d
		x.makes = &makes
	}
	sd.removals = append(sd.removals, x)
	poke(sd.wake)
}

// cameToFloodLocked reports whether somebody goes for a flood who came for the first time
// within the last minute: that they were let in for a moment makes them no member.
func (sd *side) cameToFloodLocked(sub *subject, f *policy.Facts, d *policy.Decision, do policy.Do, now time.Time) bool {
	if f.Floods == 0 || sub.here || sub.known {
		return false
	}
	first := *f
	first.Admitted = false
	if d.Budgeted(&first, now) {
		return false
	}
	first.Floods = 0
	calm := policy.Decide(sd.room.policy, &first, policy.Event{Room: sd.room.name, Do: do}, now)
	return !calm.Acts.Removes()
}

// overstaysLocked reports whether somebody is a guest whose time is over.
func (sd *side) overstaysLocked(sub *subject, now time.Time) bool {
	due, guest := sd.room.guests[sub.key]
	return guest && sub.facts.Since.Before(due) && !now.Before(due)
}

// actLocked begins a line of the audit.
func (sd *side) actLocked(f *policy.Facts, d *policy.Decision, do policy.Do, now time.Time) *Act {
	a := &Act{
		At: now, Room: sd.room.name, Place: sd.place.String(), Who: source(f), Do: do, Effect: d.Effect, Basis: d.Basis, Rule: d.Rule,
		Acts: d.Acts.String(), Facts: *f, Actor: actorGuard,
	}
	if who := sd.room.policy.Who(f); len(who) > 0 {
		a.Person = who[0]
	}
	return a
}

// onceLocked reports whether an act was not noted lately: of what is only withheld, or
// only would be done, one line in ten minutes is enough.
func (sd *side) onceLocked(a *Act, now time.Time) bool {
	r := sd.room
	who := a.Who
	if f := &a.Facts; f.JID.Known != policy.Yes && f.Occupant.Known == policy.Yes { // a nick tells less
		who = f.OccupantMask()
	}
	key := a.Place + " " + who + " " + a.Rule + " " + a.Do.String() + " " + a.Result
	if at, known := r.told[key]; known && now.Sub(at) < alarmEvery && !now.Before(at) {
		return false
	}
	if len(r.told) >= maxTold {
		clear(r.told)
	}
	r.told[key] = now
	return true
}

// soonest is the earlier of two times, of which zero is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
