package guard

import (
	"fmt"
	"time"

	"drawbridge/policy"
)

// tick does what is due by the clock.
func (g *Guard) tick(now time.Time) {
	t := g.table.Load()
	ended := g.endBans(func(b *policy.BanRecord) bool { return !b.Until.IsZero() && !now.Before(b.Until) })
	for i := range ended {
		b := &ended[i]
		g.scribe.note(&Act{At: now, Who: orElse(b.Person, b.Mask), Person: b.Person, Basis: policy.ByBan, Rule: b.ID, Acts: "ban ends", Actor: actorGuard, Result: "its time is over"})
	}
	g.tickets.sweep(g, now)
	for _, x := range g.stays.all() { // of places that are not held any more
		if !now.Before(x.Due) && !t.holds(x.Place) {
			g.leaveStay(&x, now)
		}
	}
	for _, r := range t.rooms {
		r.mu.Lock()
		if r.loaded {
			r.tickLocked(now, len(ended) > 0)
		}
		r.mu.Unlock()
	}
}

func (r *room) tickLocked(now time.Time, bans bool) {
	r.carryShutLocked(now)
	r.flushLocked()
	for key, at := range r.told {
		if d := now.Sub(at); d > alarmEvery || d < 0 {
			delete(r.told, key)
		}
	}
	for matter, a := range r.open {
		if !a.until.IsZero() && !now.Before(a.until) {
			delete(r.open, matter)
		}
	}
	if bans {
		r.judgeAllLocked(now)
	}
	for _, sd := range r.sides {
		if at := sd.regain; !at.IsZero() && !now.Before(at) {
			sd.regainLocked(now)
		}
		if sd.ready {
			sd.tickLocked(now)
			continue
		}
		if sd.lost.IsZero() {
			sd.lost = now // it has not been there yet
		}
		if now.Sub(sd.lost) >= awayTime {
			r.alarmLocked("lost "+sd.place.String(), sd.place.String()+" is not held: "+orElse(sd.why, "the bot is not there"), now)
		}
	}
	if r.warned && !r.over {
		r.waitsLocked(now)
	}
	r.sweepLocked(now)
}

// waitsLocked looks whether anybody is still to go who may not, and says so.
func (r *room) waitsLocked(now time.Time) {
	n := 0
	for _, sd := range r.sides {
		for _, sub := range sd.present {
			if x := sub.removal; x != nil && x.counts && x.sent.IsZero() {
				n++
			}
		}
	}
	if n == 0 {
		r.calmLocked()
		return
	}
	r.alarmLocked("budget", fmt.Sprintf("%d are to go by the rules, and are not heard, but that is more than may go at once. Mend the rules, or remove them: guard ban WHO --for 1m", n), now)
}

// guestsKept is how long it is remembered that a guest's stay ended.
const guestsKept = 7 * 24 * time.Hour

// sweepLocked forgets guests whose stay ended long ago, once an hour.
func (r *room) sweepLocked(now time.Time) {
	if d := now.Sub(r.swept); d < time.Hour && d >= 0 {
		return
	}
	r.swept = now
	for key, due := range r.guests {
		if now.Sub(due) < guestsKept {
			continue
		}
		delete(r.guests, key)
		id := guestID(r.name, key)
		r.g.scribe.drop(id, id)
	}
}

func guestID(room, key string) string { return timerGuest + " " + room + " " + key }

func (sd *side) tickLocked(now time.Time) {
	due := func(at *time.Time) bool {
		if at.IsZero() || now.Before(*at) {
			return false
		}
		*at = time.Time{}
		return true
	}
	if due(&sd.settle) {
		sd.judgeAllLocked(now)
		poke(sd.look)
	}
	if sd.keyDueLocked(now) {
		poke(sd.look)
	}
	for _, x := range sd.removals {
		if !x.from.After(now) {
			poke(sd.wake)
			break
		}
	}
	sd.staysLocked(now)
	sd.retryLocked(now)
	for _, sub := range sd.present {
		sd.againLocked(sub, now)
	}
}

// againLocked judges somebody anew whose time has come, or who is still there though
// they were removed.
func (sd *side) againLocked(sub *subject, now time.Time) {
	if x := sub.removal; x != nil && !x.sent.IsZero() && !now.Before(x.due) {
		tries := x.tries
		if !x.failed {
			tries++
		}
		if tries > retriesMax {
			sd.room.eventLocked("stays "+sd.place.String(), fmt.Sprintf("%s is still in %s, though removed %d times", source(&sub.facts), sd.place, tries), now)
			x.due, x.tries = now.Add(10*retryTime), retriesMax
			return
		}
		sub.removal = nil
		if sd.judgeLocked(sub, now); sub.removal != nil {
			sub.removal.tries, sub.removal.paid = tries, x.paid
		}
		return
	}
	if !sub.again.IsZero() && !now.Before(sub.again) {
		sub.again = time.Time{}
		sub.facts.Floods = sd.room.floods.In(sub.key, now)
		sd.judgeLocked(sub, now)
	}
}
