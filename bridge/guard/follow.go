package guard

import (
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// followLocked takes a ban over that somebody set who may, if it is of one known
// person; and its end. Others stay where they were set.
func (sd *side) followLocked(s *bridge.Sight, now time.Time) bool {
	r := sd.room
	author := sd.authorLocked(&s.By, now)
	if author == "" {
		return false
	}
	person, mask, set := "", "", true
	if sd.channel() {
		var ok bool
		if mask, ok = strings.CutPrefix(s.What, "+b "); !ok {
			if mask, ok = strings.CutPrefix(s.What, "-b "); !ok {
				return false
			}
			set = false
		}
		person = sd.whoIsLocked(mask)
	} else {
		if s.What != "affiliation" && s.What != bridge.WentBanned {
			return false
		}
		if who := r.policy.Who(&s.Facts); len(who) == 1 {
			person, mask = who[0], s.Facts.JID.Value
		}
		set = s.Is == policy.Outcast || s.What == bridge.WentBanned
	}
	if !set {
		return sd.unfollowLocked(mask, author, now)
	}
	if person == "" || r.table.refuses(person) != "" {
		return false
	}
	b := policy.BanRecord{ID: r.g.newID(now), Person: person, Rooms: []string{r.name}, Author: author, Reason: "banned by " + author, Set: now, Followed: true}
	r.g.projected(sd, r.g.putBan(b), mask)
	r.noteLocked(&Act{
		At: now, Room: r.name, Place: sd.place.String(), Who: person, Person: person, Effect: policy.Ban, Basis: policy.ByBan, Rule: b.ID,
		Acts: "ban", Actor: author, Result: "followed", Undo: "guard forgive " + b.ID,
	})
	r.judgeAllLocked(now)
	return true
}

// unfollowLocked ends the ban that a mark of this place stands for.
func (sd *side) unfollowLocked(mask, author string, now time.Time) bool {
	r := sd.room
	for _, m := range r.g.marks.of(timerBan, sd.place) {
		if !strings.EqualFold(m.mask, mask) {
			continue
		}
		for _, b := range r.g.endBans(func(b *policy.BanRecord) bool { return b.ID == m.ban && b.Followed }) {
			r.noteLocked(&Act{At: now, Room: r.name, Place: sd.place.String(), Who: b.Person, Person: b.Person, Basis: policy.ByBan, Rule: b.ID, Acts: "forgive", Actor: author, Result: "followed"})
			r.judgeAllLocked(now)
			return true
		}
	}
	return false
}

// authorLocked returns the known person who did something and has the right to hold op,
// by a rule; "" if it is none.
func (sd *side) authorLocked(by *bridge.By, now time.Time) string {
	f := by.Facts
	if sub := sd.present[by.Nick]; sub != nil {
		f = sub.facts
	}
	who := sd.room.policy.Who(&f)
	if len(who) != 1 || by.Server {
		return ""
	}
	d := policy.Decide(sd.room.policy, &f, policy.Event{Room: sd.room.name, Do: policy.Op}, now)
	if d.Effect > policy.Alert || d.Basis != policy.ByRule {
		return ""
	}
	return who[0]
}

// whoIsLocked returns the one person whom an entry of a ban list fits; "" if it fits
// nobody we know, or more than one who is there.
func (sd *side) whoIsLocked(mask string) string {
	for name, p := range sd.room.table.people {
		if slices.ContainsFunc(p.BanMasks(sd.place.Leg, sd.caps), func(m string) bool { return strings.EqualFold(m, mask) }) {
			return name
		}
	}
	facts := sd.factsLocked()
	person, hits := "", 0
	for i := range facts {
		if sd.room.policy.Hit(mask, facts[i:i+1]).Present == 0 {
			continue
		}
		hits++
		if who := sd.room.policy.Who(&facts[i]); len(who) == 1 {
			person = who[0]
		}
	}
	if hits != 1 {
		return ""
	}
	return person
}
