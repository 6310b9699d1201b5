package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
)

// Reasons of bounces, for people.
const (
	reasonRemoved  = "it is no longer in this bridge"
	reasonFloor    = "the bridge now asks for more encryption"
	reasonLowered  = "the bridge asked for more encryption when this was said, and that cannot be had"
	reasonFull     = "too many lines wait for it"
	reasonStopped  = "the bridge is stopping"
	reasonDoubt    = "it could not be confirmed, however often it was sent"
	reasonInternal = "internal error"
	reasonNotReady = "not reachable"
)

// reasonOf makes a reason for people of an error of a leg, which holds no text.
func reasonOf(err error) string {
	if err == nil {
		return "refused"
	}
	return clip(err.Error(), 160)
}

// clip keeps the printable part of s, at most limit bytes.
func clip(s string, limit int) string {
	out := make([]rune, 0, min(len(s), limit))
	n := 0
	for _, r := range s {
		if !unicode.IsPrint(r) {
			continue
		}
		if n += len(string(r)); n > limit {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

// sendBatch is how many lines a leg is given at once: enough to save most of what
// a write costs, and few enough that encrypting them keeps the first one waiting
// for a millisecond at most.
const sendBatch = 8

// pump sends what can be sent, and returns when to look again by itself; 0 is
// not before the next event.
func (o *outbox) pump(ctx context.Context) time.Duration {
	defer poke(o.c.settled)
	for ctx.Err() == nil {
		wait, ends := o.next()
		o.finishAll(ends)
		if len(o.batch) == 0 {
			return wait
		}
		passed := o.send(ctx)
		o.mu.Lock()
		if o.busy = false; passed {
			o.block, o.reason = blockNone, ""
		}
		o.mu.Unlock()
	}
	return 0
}

// next takes the rows to send next into batch, or says how long to wait for one.
// What ended by waiting too long comes back in ends.
func (o *outbox) next() (wait time.Duration, ends []end) {
	clear(o.batch)
	clear(o.outs) // text
	o.batch, o.outs = o.batch[:0], o.outs[:0]
	o.mu.Lock()
	leg := o.leg
	o.mu.Unlock()
	if leg == nil {
		return 0, nil
	}
	window, limit := max(1, leg.window(o.room)), leg.batch()
	now := o.c.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.paused) {
		if len(o.wire) < window {
			o.takeLocked(o.ownLocked())
		}
		if len(o.batch) == 0 {
			wait = o.paused.Sub(now)
		}
		return wait, nil
	}
	if o.block != blockNone {
		ends, wait = o.expireLocked(now)
		if now.Before(o.retry) {
			return soonest(wait, o.retry.Sub(now)), ends
		}
		limit = 1 // to see whether it is over
	}
	for len(o.batch) < limit {
		if o.drain && len(o.wire) > 0 || len(o.wire) >= window {
			break
		}
		r, pace := o.headLocked(now)
		if r == nil {
			wait = soonest(wait, pace)
			break
		}
		o.takeLocked(r)
	}
	return wait, ends
}

// takeLocked puts r, if there is one, on the wire and into the batch.
func (o *outbox) takeLocked(r *Row) {
	if r != nil {
		o.wire = append(o.wire, r)
		o.batch = append(o.batch, r)
		o.busy = true
	}
}

// ownLocked takes the first of the bot's own words: a pause does not hold them.
// It is nil when the leg could not take them.
func (o *outbox) ownLocked() *Row {
	if o.own == 0 || o.block != blockNone || o.drain {
		return nil
	}
	var first *Row
	o.queue.removeIf(func(r *Row) bool {
		if first != nil || r.Kind != RowOwn {
			return false
		}
		first = r
		return true
	})
	if first != nil {
		o.own--
	}
	return first
}

// soonest returns the shorter of two waits, where 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// headLocked takes the first row, or makes a line that has to come before it.
func (o *outbox) headLocked(now time.Time) (*Row, time.Duration) {
	if o.missed > 0 && o.up {
		r := o.c.ownRow(o.c.table.Load().byName[o.missedB], o.room, missedText(o.missed))
		o.missed = 0
		if r != nil {
			return r, 0
		}
	}
	if o.queue.len() == 0 {
		o.pacing = false
		return nil, 0
	}
	if o.room.Kind == Channel {
		if digest, wait := o.paceLocked(o.queue.first(), now); digest != nil || wait > 0 {
			return digest, wait
		}
	}
	r := o.queue.pop()
	if r.Kind == RowOwn {
		o.own--
	}
	return r, 0
}

// paceLocked introduces a long tail of late lines to a channel by one line, and
// spaces them, so that they do not bury the people there.
func (o *outbox) paceLocked(first *Row, now time.Time) (digest *Row, wait time.Duration) {
	b := o.c.table.Load().byName[first.Bridge]
	if b == nil || first.Kind == RowOwn || o.c.closing.Load() || o.block != blockNone {
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
	n, last := 0, first
	for _, r := range o.queue.all() {
		if late(r) {
			n++
			last = r
		}
	}
	if n <= b.cfg.Late.Digest {
		return nil, 0
	}
	o.pacing, o.lastAt = true, now
	loc := o.c.table.Load().loc
	text := fmt.Sprintf("%d lines said between %s and %s waited to get here; they follow.", n,
		first.Said.In(loc).Format("2 Jan 15:04"), last.Said.In(loc).Format("2 Jan 15:04"))
	return o.c.ownRow(b, o.room, text), 0
}

// expireLocked ends the rows that waited too long, and says when the next will.
func (o *outbox) expireLocked(now time.Time) (ends []end, wait time.Duration) {
	t := o.c.table.Load()
	offline := o.room.Kind == Chat && o.block == blockNotReady && o.leg.upFor(now) >= offlineGrace
	reason := o.reason
	lines := o.queue.len() - o.own
	var own []*Row // set aside: they have their own time
	for o.queue.len() > 0 {
		r := o.queue.pop()
		age := now.Sub(r.Queued)
		if r.Kind == RowOwn {
			if age < ownKeep {
				own = append(own, r)
				continue
			}
			o.own--
			ends = append(ends, end{r, FateDropped, "", ""})
			continue
		}
		keep, limit, fate := defaultHold, OutboxRows, FateBounced
		if b := t.byName[r.Bridge]; b != nil {
			keep = b.cfg.WhenBlocked.Hold
			if offline {
				keep, limit, fate = b.cfg.Offline.Keep, b.cfg.Offline.Lines, FateMissed
			}
		}
		if age < keep && lines <= limit {
			o.queue.putBack(r)
			wait = keep - age
			break
		}
		lines--
		if fate == FateMissed {
			o.missed++
			o.missedB = r.Bridge
		}
		ends = append(ends, end{r, fate, reason, ""})
	}
	for _, r := range slices.Backward(own) {
		o.queue.putBack(r)
		wait = soonest(wait, ownKeep-now.Sub(r.Queued))
	}
	if o.room.Kind == Chat && o.block == blockNotReady && !offline && o.queue.len() > 0 {
		wait = soonest(wait, offlineGrace)
	}
	return ends, wait
}

// send renders the batch and hands it to the leg. Membership and floors are
// looked up now: they may have changed while it waited. It reports whether the
// leg took something, and refused nothing.
func (o *outbox) send(ctx context.Context) bool {
	t := o.c.table.Load()
	now := o.c.now()
	rows := o.batch[:0]
	for _, r := range o.batch {
		if reason := o.render(t, r, now); reason != "" {
			o.giveUp(r, FateBounced, reason)
			continue
		}
		rows = append(rows, r)
	}
	o.batch = rows
	if len(rows) == 0 {
		return false
	}
	if err := o.markTried(ctx, rows); err != nil {
		o.putBack(rows)
		return false
	}
	o.mu.Lock()
	leg, kicks := o.leg, o.kicks
	o.mu.Unlock()
	n, err := leg.send(ctx, o.outs)
	if err == nil {
		o.ready.Store(true)
		o.putBack(rows[n:])
		return true
	}
	o.putBack(rows[n+1:])
	r, out := rows[n], &o.outs[n]
	var held *HoldError
	if to, _ := t.lookup(r); errors.As(err, &held) && (out.Floor > to.floor.Out || r.Floor.Encrypted() && !to.floor.Encrypted()) {
		o.giveUp(r, FateBounced, reasonLowered) // it must not hold up what may leave
		return false
	}
	o.failed(ctx, r, kicks, err)
	return false
}

// render adds r to outs, or says why it cannot leave.
func (o *outbox) render(t *table, r *Row, now time.Time) (refused string) {
	to, from := t.lookup(r)
	switch {
	case to == nil, r.Kind != RowOwn && from == nil:
		return reasonRemoved
	case r.Kind != RowOwn && r.Rung < from.floor.In:
		return reasonFloor
	}
	waited := now.Sub(r.Queued)
	if r.Delayed {
		waited = now.Sub(r.Said)
	}
	refused = reasonInternal
	func() {
		defer o.c.contain("render")
		out := render(r, to, from, r.Kind != RowOwn && waited > to.bridge.cfg.Late.After, t.loc, now)
		to.bridge.recent.add(out, r, now)
		o.outs, refused = append(o.outs, out), ""
	}()
	return refused
}

// failed deals with an error of Send: nothing of r was sent.
func (o *outbox) failed(ctx context.Context, r *Row, kicks uint64, err error) {
	o.ready.Store(false)
	var held *HoldError
	switch {
	case errors.Is(err, ErrNotReady):
		if r.fleeting {
			o.giveUp(r, FateDropped, "")
			return
		}
		o.blocked(r, blockNotReady, reasonNotReady, kicks)
	case errors.As(err, &held):
		if r.Kind == RowOwn {
			o.giveUp(r, FateDropped, "")
			return
		}
		o.blocked(r, blockHeld, clip(held.Reason, 160), kicks)
	case ctx.Err() != nil:
		o.putBack([]*Row{r})
	default:
		o.c.log.Warn("line refused", "leg", o.room.Leg, "room", o.room.Name, "id", r.ID, "err", err)
		o.giveUp(r, FateBounced, reasonOf(err))
	}
}

// markTried tells the journal that rows, and what will follow them at once, are
// about to be on the wire.
func (o *outbox) markTried(ctx context.Context, rows []*Row) error {
	var todo []*Row
	add := func(r *Row) {
		if !r.Tried && r.Seq != 0 {
			todo = append(todo, r)
		}
	}
	for _, r := range rows {
		add(r)
	}
	if len(todo) == 0 {
		return nil
	}
	t := o.c.table.Load()
	o.mu.Lock()
	for _, r := range o.queue.all() {
		if b := t.byName[r.Bridge]; b == nil || len(todo) >= b.ahead() {
			break
		}
		add(r)
	}
	o.mu.Unlock()
	seqs := make([]uint64, len(todo))
	for i, r := range todo {
		seqs[i] = r.Seq
	}
	err := retryJournal(ctx, o.c.log, "tried", func() error { return o.c.journal.Tried(ctx, seqs) })
	if err != nil {
		return err
	}
	for _, r := range todo {
		r.Tried = true
	}
	return nil
}

// unwire takes r off the wire again: nothing of it was sent.
func (o *outbox) unwireLocked(r *Row) {
	if i := slices.Index(o.wire, r); i >= 0 {
		o.wire = slices.Delete(o.wire, i, i+1)
	}
}

// putBack takes rows, of which nothing was sent, back from the wire.
func (o *outbox) putBack(rows []*Row) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range slices.Backward(rows) {
		o.putBackLocked(r)
	}
}

func (o *outbox) putBackLocked(r *Row) {
	o.unwireLocked(r)
	if r.Kind == RowOwn {
		o.own++
	}
	o.queue.putBack(r)
}

// blocked puts r back and waits for an event, unless one came meanwhile.
func (o *outbox) blocked(r *Row, kind blockKind, reason string, kicks uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.putBackLocked(r)
	if o.kicks == kicks {
		o.block, o.reason, o.retry = kind, reason, o.c.now().Add(retryBlocked)
	}
}

// giveUp ends r without having sent it.
func (o *outbox) giveUp(r *Row, fate Fate, reason string) {
	o.mu.Lock()
	o.unwireLocked(r)
	o.mu.Unlock()
	if r.Kind == RowOwn {
		fate = FateDropped
	}
	o.finish(end{r, fate, reason, ""})
}
