package bridge

import (
	"fmt"
	"time"
)

// paceLocked introduces a long tail of late lines to a channel by one line, and
// spaces them, so that they do not bury the people there.
func (o *outbox) paceLocked(first *Row, now time.Time) (digest *Row, wait time.Duration) {
	b := o.c.table.Load().byName[first.Bridge]
	if b == nil || first.Kind == RowOwn || o.c.closing.Load() || o.block != blockNone || !o.up {
		return nil, 0
	}
	late := func(r *Row) bool { return r.Kind != RowOwn && now.Sub(r.Queued) > b.cfg.Late.After }
	if !late(first) {
		o.pacing = false
		return nil, 0
	}
	if o.pacing {
		if wait = o.lastAt.Add(paceLate).Sub(now); wait > 0 {
			return nil, wait
		}
		o.lastAt = now
		return nil, 0
	}
	n, last := o.queue.late(now.Add(-b.cfg.Late.After))
	if n <= b.cfg.Late.Digest {
		return nil, 0
	}
	o.pacing, o.lastAt = true, now
	loc := o.c.table.Load().loc
	text := fmt.Sprintf("%d lines said between %s and %s waited to get here; they follow.", n,
		first.Queued.In(loc).Format("2 Jan 15:04"), last.In(loc).Format("2 Jan 15:04"))
	return o.c.ownRow(b, o.room, text), 0
}

// expireLocked ends the rows that waited too long, and says when the next will. One
// in doubt waits twice as long: it may have arrived, and is to be asked for first.
func (o *outbox) expireLocked(now time.Time) (ends []end, wait time.Duration) {
	t := o.c.table.Load()
	offline := o.room.Kind == Chat && o.block == blockNotReady && o.leg.upFor(now) >= offlineGrace
	lines := o.queue.len() - o.own
	// over tells whether a line has waited too long, and if not for how long it may.
	over := func(r *Row) (fate Fate, left time.Duration) {
		keep, fate := defaultHold, FateBounced
		b := t.byName[r.Bridge]
		if b != nil {
			keep = b.cfg.WhenBlocked.Hold
		}
		crowded := false
		if b != nil && offline {
			keep, fate, crowded = b.cfg.Offline.Keep, FateMissed, lines > b.cfg.Offline.Lines
		}
		if r.doubt {
			keep, crowded = 2*keep, false
		}
		if left = keep - now.Sub(r.Queued); left <= 0 || crowded {
			return fate, 0
		}
		return 0, left
	}
	if o.own > 0 {
		wait = o.expireOwnLocked(now, &ends)
	}
	due := func(sure bool) (yes bool) {
		r := o.queue.oldest(o.room, sure)
		if r == nil {
			return false
		}
		fate, left := over(r)
		wait = soonest(wait, left)
		return fate != 0
	}
	if due(true) || due(false) {
		o.queue.removeIf(o.room, func(r *Row) bool {
			if r.Kind == RowOwn || lines == 0 {
				return false
			}
			fate, _ := over(r)
			if fate == 0 {
				if !r.doubt {
					lines = 0 // those behind it are younger
				}
				return false
			}
			lines--
			reason := o.reason
			switch {
			case fate == FateMissed:
				o.missed++
				o.missedB = r.Bridge
			case r.doubt:
				reason = reasonUnasked
			}
			ends = append(ends, end{row: r, fate: fate, reason: reason})
			return true
		})
		due(true)
		due(false)
	}
	if o.room.Kind == Chat && o.block == blockNotReady && !offline && o.queue.len() > 0 {
		wait = soonest(wait, offlineGrace)
	}
	return ends, wait
}

// expireOwnLocked ends own words that waited too long: they have their own time.
func (o *outbox) expireOwnLocked(now time.Time, ends *[]end) (wait time.Duration) {
	for _, r := range o.queue.removeHead(func(r *Row) bool { return r.Kind == RowOwn && now.Sub(r.Queued) >= ownKeep }) {
		o.own--
		*ends = append(*ends, end{row: r, fate: FateDropped})
	}
	for _, r := range o.queue.head() {
		if r.Kind == RowOwn {
			wait = soonest(wait, ownKeep-now.Sub(r.Queued))
		}
	}
	return wait
}
