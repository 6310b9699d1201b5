package guard

import (
	"time"
)

// goingLocked takes those who have to go now. Those who count go within the budget or
// not at all: beyond it the room is shut, and the admins are told.
func (sd *side) goingLocked(w *work, now time.Time) []*removal {
	r := sd.room
	var go_, wait []*removal
	counted := 0
	acts, _ := sd.actsLocked()
	for _, x := range sd.removals {
		x.gone = sd.present[x.nick] != x.sub
		switch {
		case x.sub.removal != x: // it was decided anew
			continue
		case x.gone && (x.makes == nil || !acts):
			continue
		case x.from.After(now):
			wait = append(wait, x)
			continue
		case x.counts && r.budget.Again(x.paid, now): // tried again: it is counted already
			x.counts, x.paid = false, now
		case x.counts:
			counted++
		}
		go_ = append(go_, x)
	}
	sd.removals = wait
	switch {
	case counted == 0:
		return go_
	case r.over:
		return sd.withheldLocked(w, go_, now)
	case r.budget.Take(counted, len(sd.present), now): // others may be held back still: see waitsLocked
		for _, x := range go_ {
			if x.counts {
				x.paid = now
			}
		}
		return go_
	case r.warned && counted <= r.most.Most():
		return sd.fewLocked(go_, now)
	case r.warned: // the admins know: who stays is not heard, and the room is not shut for it again and again
		return sd.withheldLocked(w, go_, now)
	}
	within := sd.withheldLocked(w, go_, now)
	r.over = true
	if until := now.Add(r.cfg.JoinsFor); r.lock.Until().Before(until) {
		r.shutLocked(until, now)
	}
	r.alarmLocked("lockdown", "more would be removed at once than may be: nobody is, and the room is shut until "+r.lock.Until().UTC().Format(time.TimeOnly)+". See drawbridge guard status", now)
	return within
}

// withheldLocked keeps back those who count, and returns the others.
func (sd *side) withheldLocked(w *work, all []*removal, now time.Time) []*removal {
	within := all[:0]
	for _, x := range all {
		if !x.counts {
			within = append(within, x)
			continue
		}
		x.held, x.act.Result = true, "over the budget"
		if sd.onceLocked(x.act, now) {
			w.late = append(w.late, x.act)
		}
	}
	return within
}

// fewLocked returns as many as may go now, and has the others wait. In a small room a
// few are a large share; once the admins were told, and nobody said otherwise while it
// was shut, they go one after the other.
func (sd *side) fewLocked(all []*removal, now time.Time) []*removal {
	r := sd.room
	within := all[:0]
	for _, x := range all {
		if x.counts && !r.budget.Take(1, len(sd.present), now) {
			x.from = now.Add(r.most.Span())
			sd.removals = append(sd.removals, x)
			continue
		}
		if x.counts {
			x.paid = now
		}
		within = append(within, x)
	}
	return within
}
