package bridge

import "time"

// This file is what an outbox hears of its room and leg: up, down, paused, gone.

// kick ends a block: something happened that may let rows through.
func (o *outbox) kick() {
	o.mu.Lock()
	o.kicks++
	o.block, o.reason = blockNone, ""
	o.mu.Unlock()
	poke(o.wake)
}

// legDown notes that the room cannot be reached. It is the same session once the
// leg is back.
func (o *outbox) legDown() {
	o.mu.Lock()
	o.up = false
	o.mu.Unlock()
}

// legResumed notes that the room is as it was before legDown.
func (o *outbox) legResumed() {
	o.mu.Lock()
	o.up = o.greeted
	o.mu.Unlock()
}

// setUp notes whether the room can take messages. It reports whether a new
// session began: one not greeted yet.
func (o *outbox) setUp(up bool) (fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = up
	if !up {
		o.greeted = false
		return false
	}
	fresh, o.greeted = !o.greeted, true
	return fresh
}

// firstTime reports whether the bridge has not announced itself here yet, and
// notes that it has.
func (o *outbox) firstTime(bridge string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.announced[bridge] {
		return false
	}
	if o.announced == nil {
		o.announced = map[string]bool{}
	}
	o.announced[bridge] = true
	return true
}

// pause keeps rows back until t; the zero time resumes.
func (o *outbox) pause(t time.Time) {
	o.mu.Lock()
	o.paused = t
	o.mu.Unlock()
	poke(o.wake)
}

func (o *outbox) pausedUntil(now time.Time) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused, now.Before(o.paused)
}

// setLeg gives the outbox a leg, and takes it back from retirement.
func (o *outbox) setLeg(l *legState) {
	o.mu.Lock()
	o.retired = false
	if o.leg != l {
		o.leg, o.up, o.greeted = l, false, false
		o.kicks++
		o.block = blockNone
	}
	o.mu.Unlock()
	poke(o.wake)
}

// forgettable reports whether nothing can come for the outbox any more.
func (o *outbox) forgettable() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.retired && len(o.wire) == 0
}

// retire ends an outbox whose room is in no bridge any more. Rows on the wire
// end by their proofs. It returns how many lines went back.
func (o *outbox) retire() int {
	o.mu.Lock()
	o.retired = true
	ends := o.unproven.takeAll()
	o.mu.Unlock()
	o.finishAll(ends)
	return o.purge(func(*Row) bool { return true }, reasonRemoved)
}

// purge bounces the waiting rows that match and returns how many lines it was.
func (o *outbox) purge(match func(*Row) bool, reason string) (n int) {
	o.mu.Lock()
	rows := o.queue.removeIf(o.room, match)
	for _, r := range rows {
		if r.Kind == RowOwn {
			o.own--
		}
	}
	o.mu.Unlock()
	for _, r := range rows {
		if r.Kind == RowOwn {
			o.finish(end{row: r, fate: FateDropped})
			continue
		}
		n++
		o.finish(end{row: r, fate: FateBounced, reason: reason})
	}
	poke(o.c.settled)
	return n
}
