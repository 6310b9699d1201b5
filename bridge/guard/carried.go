package guard

import (
	"errors"
	"slices"
	"time"

	"drawbridge/bridge"
)

// rightsAct is a line of the audit about voice and op.
func (sd *side) rightsAct(sub *subject) *Act {
	acts := ""
	for _, x := range []struct{ sign, letters string }{{"+", sub.give}, {"-", sub.take}} {
		if x.letters != "" {
			acts += x.sign + x.letters
		}
	}
	if sub.want != "" {
		acts = "role " + string(sub.want)
	}
	return &Act{
		At: sd.room.g.now(), Room: sd.room.name, Place: sd.place.String(), Who: source(&sub.facts), Person: sub.person, Do: sub.by.do, Effect: sub.by.effect,
		Rule: sub.by.rule, Basis: sub.by.basis, Acts: acts, Facts: sub.facts, Actor: actorGuard,
	}
}

// carriedOut notes what became of a round: the audit comes with or after the act. ends: the
// guard does, and nothing is tried again.
func (sd *side) carriedOut(w *work, err error, ends bool) {
	r := sd.room
	now := r.g.now()
	r.mu.Lock()
	due := now.Add(retryTime)
	switch {
	case ends, w.handed != nil: // which lookAfter tries again
	case err == nil:
		sd.undone.done()
	default:
		due = sd.undone.failed(&w.again, now)
	}
	stay := sd.removedLocked(w, err, due, now)
	if err != nil { // they are judged anew then, and what is still to change is
		for i, sub := range w.status {
			sub.again = soonest(sub.again, due)
			if sd.channel() {
				sub.muted = w.muted[i]
			}
		}
	}
	for _, a := range w.acts {
		a.Result = "sent"
		if err != nil {
			a.Result = failed(err)
		}
		r.noteLocked(a)
	}
	for _, a := range w.late {
		r.noteLocked(a)
	}
	for i := range w.changes {
		if c := &w.changes[i]; c.order != nil {
			sd.orderedLocked(c.order, c.err)
		}
	}
	if !ends {
		sd.tellFailureLocked(w, err, stay, now)
	}
	places := r.placesLocked()
	r.mu.Unlock()
	if err == nil {
		sd.purge(w.removals, places)
	}
}

// removedLocked notes what became of those who had to go, and reports whether any are still
// there, or none had to.
func (sd *side) removedLocked(w *work, err error, due, now time.Time) (stay bool) {
	stay = len(w.removals) == 0
	for _, x := range w.removals {
		there := sd.present[x.nick] == x.sub
		stay = stay || there
		x.sent, x.due, x.failed = now, due, err != nil
		switch {
		case err != nil && !there:
			x.act.Result = "gone"
			if x.ban != nil {
				poke(sd.look) // which sets what keeps them out
			}
		case err == nil && x.gone:
			x.act.Result = "banned: they had left"
		case err == nil:
			x.act.Result = "sent " + now.Sub(x.act.At).Round(10*time.Microsecond).String() + " after it was seen"
		case errors.Is(err, bridge.ErrNotReady):
			x.act.Result = "the room was not reachable"
		default:
			x.act.Result = failed(err)
		}
		sd.room.noteLocked(x.act)
	}
	return stay
}

// tellFailureLocked tells the admins what is not done, once it has failed for a while, and
// ends that. What a look hands over is told at once: it was wrong for longer than a moment.
func (sd *side) tellFailureLocked(w *work, err error, stay bool, now time.Time) {
	r := sd.room
	matter, told := "apply "+sd.place.String(), sd.undone.fails >= failsTold
	if w.handed != nil {
		matter, told = "repair "+sd.place.String(), !errors.Is(err, bridge.ErrNotReady)
	}
	switch {
	case err != nil && stay && told:
		r.alarmLocked(matter, sd.place.String()+": what the guard asked for was not done: "+err.Error()+". It is tried again", now)
	case err == nil && len(w.changes) > 0 && (w.handed != nil || sd.undone.fails == 0):
		r.overLocked(matter)
	}
}

func failed(err error) string { return "failed: " + err.Error() }

// purge sends the lines back that wait and were said by those who had to go.
func (sd *side) purge(gone []*removal, places []bridge.Room) {
	if len(gone) == 0 {
		return
	}
	persons, nicks := map[string]bool{}, map[string]bool{}
	for _, x := range gone {
		if x.act.Person != "" {
			persons[x.act.Person] = true
		} else {
			nicks[x.nick] = true
		}
	}
	in := func(room bridge.Room) bool { return slices.Contains(places, room) }
	sd.room.g.purge(func(row *bridge.Row) bool {
		return persons[row.Person] && row.Person != "" && (in(row.From) || in(row.To)) || row.Person == "" && row.From == sd.place && nicks[row.Name]
	}, "who said it was removed from the room")
}

func (r *room) placesLocked() (out []bridge.Room) {
	for _, sd := range r.sides {
		out = append(out, sd.place)
	}
	return out
}
