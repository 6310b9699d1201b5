package guard

import (
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// rightsLocked takes in what somebody may do in the room now. What a server gave, as
// after a netsplit, is judged once that has settled.
func (sd *side) rightsLocked(s *bridge.Sight, now time.Time) {
	sub := sd.present[s.Facts.Nick]
	if sub == nil {
		return
	}
	moved := sub.is != s.Is
	sub.rights, sub.is, sub.role = s.Rights, s.Is, s.Role
	if !sd.channel() {
		sub.facts.Affiliation, sub.facts.Role = s.Facts.Affiliation, s.Facts.Role
	}
	if sub.facts.Self || s.Self {
		sd.ownLocked(sub)
		if !sd.holds {
			sd.powerlessLocked(s, now)
		} else {
			sd.regains = 0
			sd.room.overLocked("rights " + sd.place.String())
		}
		poke(sd.look)
		return
	}
	ours := sd.oursLocked(&s.By)
	if ours {
		if sub.byOther = false; moved && sub.peer == nil {
			sd.judgeLocked(sub, now) // rules may ask for it
		}
		return
	}
	sub.byOther = true
	if sub.peer != nil {
		sd.judgeLocked(sub, now)
		poke(sd.look) // it may be our turn now
		return
	}
	if s.By.Server {
		sd.settle = newest(sd.settle, now.Add(settleTime))
		return
	}
	if !sd.channel() {
		sd.doneByLocked(sub.facts.JID.Value, &s.By)
		poke(sd.look) // it may be about the affiliation
	}
	sd.judgeLocked(sub, now)
	if !sub.queued || sub.give+sub.take == "" && sub.want == "" {
		return
	}
	if sd.room.breaker.Reverted(sd.rightsOf(sub), s.By.Nick, now) {
		sub.give, sub.take, sub.want = "", "", ""
		sd.warLocked("the rights of "+s.Facts.Nick, s.By.Nick, now)
	}
}

// rightsOf is a matter of war.
func (sd *side) rightsOf(sub *subject) string { return "rights " + sd.place.String() + " " + sub.key }

// ownLocked takes in what the bot itself may do.
func (sd *side) ownLocked(sub *subject) {
	if sd.channel() {
		sd.holds = strings.ContainsAny(sub.rights, "qaoh")
		return
	}
	sd.holds = sub.is == policy.Owner
}

// oursLocked reports whether a change was made by this guard, or by a peer: those are
// never undone.
func (sd *side) oursLocked(by *bridge.By) bool {
	if by.Facts.Self || by.Nick != "" && by.Nick == sd.self && !by.Server {
		return true
	}
	if sub := sd.present[by.Nick]; sub != nil && sub.peer != nil {
		return true
	}
	return sd.room.table.peerOf(&by.Facts) != nil
}

// powerlessLocked asks for op again, unless somebody takes it again and again.
func (sd *side) powerlessLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	text := sd.place.String() + ": the bot has lost its rights"
	if s.By.Nick != "" {
		text += ", by " + s.By.Nick
	}
	if !sd.channel() {
		text += ": an owner has to restore them"
	}
	r.alarmLocked("rights "+sd.place.String(), text, now)
	if s.By.Nick != "" && r.breaker.Reverted(sd.ownRights(), s.By.Nick, now) {
		sd.warLocked("the bot's own rights", s.By.Nick, now)
		sd.regains = regainsMild // who took them loses theirs, too
	}
	sd.regainLocked(now)
}

// How op is asked for: regainsMild times OP, or UNBAN and INVITE, then RECOVER, which
// takes op from everybody else; from then on by mild words again, now and then.
const (
	regainsMild  = 2
	regainEvery  = 3 * time.Second
	recoverEvery = 10 * time.Minute
)

// ownRights is a matter of war.
func (sd *side) ownRights() string { return "own rights " + sd.place.String() }

// regainLocked asks services for op, or to be let in, and to recover the channel if
// that does not help.
func (sd *side) regainLocked(now time.Time) {
	sd.regain = time.Time{}
	if !sd.channel() || sd.caps.Services == policy.NoServices || !sd.room.armed || sd.down || sd.holds || !sd.ready && !sd.shutOut {
		return
	}
	switch sd.regains++; {
	case sd.regains == regainsMild+1 && sd.caps.Services == policy.Atheme && (sd.recovered.IsZero() || now.Sub(sd.recovered) >= recoverEvery):
		sd.asks, sd.recovered, sd.mess = []string{"RECOVER"}, now, true
	case sd.room.breaker.Stopped(sd.ownRights(), now):
		return
	case sd.shutOut:
		sd.asks = []string{"UNBAN", "INVITE"}
	default:
		sd.asks = []string{"OP"}
	}
	sd.regain = now.Add(regainEvery)
	if sd.regains > regainsMild {
		sd.regain = now.Add(lookEvery)
	}
	r := sd.room
	r.noteLocked(&Act{
		At: now, Room: r.name, Place: sd.place.String(), Effect: policy.Alert, Acts: "ask ChanServ: " + strings.Join(sd.asks, ", "), Actor: actorGuard, Result: "sent",
	})
	poke(sd.wake)
}

// shutOutLocked asks services to let the bot in, where the channel does not.
func (sd *side) shutOutLocked(s *bridge.Sight, now time.Time) {
	if s.Caps != nil {
		sd.caps = *s.Caps
	}
	switch s.What {
	case "470", "471", "473", "474", "475", "477": // sent on, full, +i, +b, +k, +R
	default:
		sd.shutOut, sd.regains, sd.regain = false, 0, time.Time{}
		return
	}
	r := sd.room
	r.alarmLocked("rights "+sd.place.String(), sd.place.String()+": the bot is not let in: "+s.Text, now)
	sd.shutOut = true
	if sd.regain.IsZero() {
		sd.regainLocked(now)
	}
}

// modeLocked hears of a change of the room's own state.
func (sd *side) modeLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	sd.trackLocked(s.What)
	if sd.oursLocked(&s.By) {
		sd.keySeenLocked(s, now)
		return
	}
	if aboutKey(s.What) {
		plain := *s
		plain.What = s.What[:2] // no key is shown, and a war about it is one whatever the key
		s = &plain
	}
	if !sd.channel() {
		what := s.Facts.JID.Value
		if s.What == "topic" {
			what = s.What
		}
		sd.doneByLocked(what, &s.By)
	}
	if s.What == "topic" && sd.mayTopicLocked(s) {
		sd.topic = s.Topic // if it was not told, the next look takes it
		poke(sd.look)
		return
	}
	if r.cfg.FollowOps && !s.By.Server && sd.followLocked(s, now) {
		return
	}
	sd.mergedLocked(s, now)
	if !sd.keepsLocked(s) {
		return
	}
	if !sd.channel() {
		poke(sd.look) // which tells what it was, and whether it is a war
		return
	}
	if acts, _ := sd.actsLocked(); !acts {
		poke(sd.look) // the peer sets it back: that is its war
		return
	}
	if s.By.Nick != "" && r.breaker.Reverted(sd.matter(s.What), s.By.Nick, now) {
		sd.warLocked(s.What, s.By.Nick, now)
		return
	}
	if s.By.Server {
		sd.settle = newest(sd.settle, now.Add(settleTime))
		return
	}
	poke(sd.look)
}

// maxMerged is how many bans by servers are looked at together.
const maxMerged = 64

// mergedLocked notes a ban that a server or a service set: nobody here knows who wanted
// it. It is judged once a netsplit has settled.
func (sd *side) mergedLocked(s *bridge.Sight, now time.Time) {
	if !sd.channel() || len(s.What) < 4 || s.What[1:3] != "b " {
		return
	}
	mask := s.What[3:]
	sd.merged = slices.DeleteFunc(sd.merged, func(m string) bool { return strings.EqualFold(m, mask) })
	if s.What[0] != '+' || !s.By.Server || len(sd.merged) >= maxMerged {
		return
	}
	sd.merged = append(sd.merged, mask)
	sd.settle = newest(sd.settle, now.Add(settleTime))
}

// wantMergedLocked takes those back that a guard would not set, if it were asked to: of
// somebody protected, or of too many who are there. Others stay: they may be meant.
func (sd *side) wantMergedLocked(c *policy.Channel, live map[string]bool) {
	for _, mask := range sd.merged {
		if live[strings.ToLower(mask)] {
			continue
		}
		if sd.room.policy.Hit(mask, sd.factsLocked()).Refused(sd.room.most.Limit(len(sd.present))) != "" {
			addEntry(c, entry{'b', mask, true})
		}
	}
}

// aboutKey reports whether a change of a channel is one of its key.
func aboutKey(what string) bool {
	return strings.HasPrefix(what, "+k") || strings.HasPrefix(what, "-k")
}

// matter is what a war can be about: a mode, whatever its sign.
func (sd *side) matter(what string) string {
	if len(what) > 1 && (what[0] == '+' || what[0] == '-') {
		what = what[1:]
	}
	return sd.place.String() + " " + what
}

// trackLocked keeps the flags of a channel, and who may pass its door, up to date.
func (sd *side) trackLocked(what string) {
	if mask, pass := strings.CutPrefix(what, "+I "); pass && sd.channel() {
		sd.passes = append(slices.Clone(sd.passes), mask)
	} else if mask, pass := strings.CutPrefix(what, "-I "); pass && sd.channel() {
		sd.passes = slices.DeleteFunc(slices.Clone(sd.passes), func(m string) bool { return strings.EqualFold(m, mask) })
		if acts, _ := sd.actsLocked(); !acts {
			sd.judgeAllLocked(sd.room.g.now()) // who was let in by it
		}
	}
	if len(what) != 2 || !sd.channel() {
		return
	}
	letter := what[1:]
	if sd.flags = strings.ReplaceAll(sd.flags, letter, ""); what[0] == '+' {
		sd.flags += letter
	}
}

// keepsLocked reports whether a change is one that the guard undoes.
func (sd *side) keepsLocked(s *bridge.Sight) bool {
	if s.What == "topic" {
		return sd.room.cfg.Topic
	}
	if !sd.channel() {
		return true // the next look tells
	}
	if len(s.What) < 2 {
		return true
	}
	if aboutKey(s.What) {
		return sd.room.cfg.RotateKey > 0
	}
	sign, letter := s.What[0], s.What[1:2]
	if _, mask, ok := strings.Cut(s.What, " "); ok {
		for _, l := range sd.want.Lists {
			if string(l.Mode) != letter {
				continue
			}
			in := l.Want
			if sign == '+' {
				in = l.Drop
			}
			for _, m := range in {
				if strings.EqualFold(m, mask) {
					return true
				}
			}
		}
		return false
	}
	if sign == '-' {
		return strings.Contains(sd.want.Set, letter)
	}
	return strings.Contains(sd.want.Clear, letter)
}

// mayTopicLocked reports whether a topic was set by somebody who may.
func (sd *side) mayTopicLocked(s *bridge.Sight) bool {
	if s.By.Server {
		return false
	}
	f := s.By.Facts
	if sub := sd.present[s.By.Nick]; sub != nil {
		f = sub.facts
	}
	d := policy.Decide(sd.room.policy, &f, policy.Event{Room: sd.room.name, Do: policy.Op}, sd.room.g.now())
	return d.Effect <= policy.Alert
}

// warLocked stops setting something back.
func (sd *side) warLocked(what, by string, now time.Time) {
	sd.room.eventLocked("war "+sd.place.String(), sd.place.String()+": "+by+" sets "+what+" back again and again: the guard leaves it for now", now)
	sd.room.noteLocked(&Act{At: now, Room: sd.room.name, Place: sd.place.String(), Who: by, Effect: policy.Alert, Acts: "alert", Actor: actorGuard, Result: "mode war about " + what})
	poke(sd.look) // services may lock it
}
