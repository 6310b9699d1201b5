package bridge

import (
	"context"
	"errors"
	"time"
	"unicode"
)

// Reasons of bounces, for people.
const (
	reasonRemoved  = "it is no longer in this bridge"
	reasonFloor    = "the bridge now asks for more encryption"
	reasonLowered  = "the bridge asked for more encryption when this was said, and that cannot be had"
	reasonStopped  = "the bridge is stopping"
	reasonUnread   = "it could not be read there, however often it was sent"
	reasonDoubt    = "it could not be confirmed, however often it was sent"
	reasonUnasked  = "it may have arrived, and nobody could be asked"
	reasonInternal = "internal error"
	reasonNotReady = "not reachable"
	reasonWithheld = "it may not be said there any more"
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
		o.fill(ctx)
		o.settle(ctx)
		wait, ends := o.next()
		o.finishAll(ends)
		if len(o.batch) == 0 {
			if len(ends) > 0 {
				continue
			}
			return soonest(wait, o.agedOut())
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
	mute := leg.mute(o.room)
	o.asks.Store(leg.asks != nil && !mute)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.single.step(mute) {
		window, limit = 1, 1
		if (o.queue.len() > 0 || o.missed > 0) && o.single.wait() {
			window = 0
			o.c.confirmer.hurry()
		}
	}
	if now.Before(o.paused) {
		if len(o.wire) < window && !o.unsure {
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
	for len(o.batch) < limit && !o.unsure {
		if o.drain && len(o.wire) > 0 || len(o.wire) >= window {
			break
		}
		r, pace := o.headLocked(now)
		if r != nil && r.refusals > 0 && r.pos < o.passed {
			o.refusing = true
			ends = append(ends, end{row: r, fate: FateDead, reason: o.reason})
			continue
		}
		if r == nil {
			wait = soonest(wait, pace)
			break
		}
		o.single.took(now)
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
	o.queue.removeHead(func(r *Row) bool {
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
	if len(o.queue.head()) == 0 {
		o.pacing = false
		return nil, 0
	}
	if o.room.Kind == Channel {
		if digest, wait := o.paceLocked(o.queue.head()[0], now); digest != nil || wait > 0 {
			return digest, wait
		}
	}
	r := o.queue.pop()
	if r.Kind == RowOwn {
		o.own--
	}
	return r, 0
}

// send renders the batch and hands it to the leg. Membership and floors are
// looked up now: they may have changed while it waited. It reports whether the
// leg took something, and refused nothing.
func (o *outbox) send(ctx context.Context) bool {
	t := o.c.table.Load()
	if err := o.markTried(ctx, t); err != nil {
		o.putBack(o.batch)
		return false
	}
	rows := o.batch[:0]
	for _, r := range o.batch {
		out, reason := o.render(t, r, r.Tried)
		if reason == "" {
			reason = o.withheld(r)
		}
		if reason != "" {
			o.giveUp(r, FateBounced, reason)
			continue
		}
		o.outs = append(o.outs, out)
		rows = append(rows, r)
	}
	o.batch = rows
	if len(rows) == 0 {
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
	o.untry(ctx)
	return false
}

// withheld asks the gate once more whether a row may leave: much can have happened
// while it waited. "": it may. Of its speaker no more is known than the person. A gate
// that panics lets nothing through.
func (o *outbox) withheld(r *Row) (why string) {
	if o.c.gate == nil || r.Kind >= RowOwn {
		return ""
	}
	why = reasonInternal
	defer o.c.contain("gate")
	ruling := o.c.gate.Out(Sender{Person: r.Person}, r.From, r.To, Line{}, r.Rung, o.c.now())
	if !ruling.Refused {
		return ""
	}
	if ruling.Reason != "" {
		return clip(ruling.Reason, 160)
	}
	return reasonWithheld
}

// render makes the line that r is as of now, or says why it cannot leave.
func (o *outbox) render(t *table, r *Row, now time.Time) (out Outgoing, refused string) {
	to, from := t.lookup(r)
	switch {
	case to == nil, r.Kind != RowOwn && from == nil:
		return out, reasonRemoved
	case r.Kind < RowOwn && r.Rung < from.floor.In:
		return out, reasonFloor
	}
	waited := now.Sub(r.Queued)
	if r.Delayed {
		waited = now.Sub(r.Said)
	}
	refused = reasonInternal
	func() {
		defer o.c.contain("render")
		out = render(r, to, from, o.c.clearMark(r, to), r.Kind < RowOwn && waited > to.bridge.cfg.Late.After, t.loc, now)
		to.bridge.recent.add(out, r, o.c.now())
		refused = ""
	}()
	return out, refused
}

// markTried tells the journal that the batch, and what will follow it at once if
// the leg goes on taking it, is about to be on the wire.
func (o *outbox) markTried(ctx context.Context, t *table) error {
	now := o.c.now()
	var rows []*Row
	var todo []Try
	add := func(r *Row) {
		if !r.Tried.IsZero() && now.Sub(r.Tried) < triedFresh {
			return
		}
		rows = append(rows, r)
		if r.Seq != 0 {
			todo = append(todo, Try{Seq: r.Seq, At: now, Bridge: r.Bridge, Again: r.again})
		}
	}
	for _, r := range o.batch {
		add(r)
	}
	if len(todo) > 0 && o.ready.Load() {
		o.mu.Lock()
		for _, r := range o.queue.head() {
			if b := t.byName[r.Bridge]; b == nil || r.Kind == RowOwn || len(todo) >= o.ahead(b) {
				break
			}
			add(r)
		}
		o.mu.Unlock()
	}
	if len(todo) > 0 {
		err := retryJournal(ctx, o.c.log, "tried", func() error { return o.c.journal.Tried(ctx, todo) })
		if err != nil {
			return err
		}
	}
	for _, r := range rows {
		r.Tried, r.again = now, NoDoubt
	}
	return nil
}

// untryTime bounds the note about what was not sent after all.
const untryTime = 2 * time.Second

// untry tells the journal that the rows waiting, but for those in doubt, have not
// been on the wire: nobody needs to ask for them after a crash. If that fails,
// somebody will.
func (o *outbox) untry(ctx context.Context) {
	var rows []*Row
	var todo []Try
	o.mu.Lock()
	for _, r := range o.queue.head() {
		if !r.doubt && !r.Tried.IsZero() {
			r.Tried = time.Time{}
			if r.Seq != 0 {
				rows, todo = append(rows, r), append(todo, Try{Seq: r.Seq, Bridge: r.Bridge})
			}
		}
	}
	o.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), untryTime)
	defer cancel()
	if err := o.c.journal.Tried(ctx, todo); err != nil {
		o.c.log.Debug("lines stay noted as tried", "leg", o.room.Leg, "room", o.room.Name, "n", len(rows), "err", err)
	}
}

// fill reads rows that are in the journal alone, before they are needed. One that
// cannot be read any more has ended: the journal counts it as dead.
func (o *outbox) fill(ctx context.Context) {
	o.mu.Lock()
	seqs := o.queue.wanted()
	o.mu.Unlock()
	if len(seqs) == 0 {
		return
	}
	var rows []*Row
	err := retryJournal(ctx, o.c.log, "rows", func() (err error) {
		rows, err = o.c.journal.Rows(ctx, seqs)
		return err
	})
	if err != nil {
		return
	}
	o.mu.Lock()
	gone := o.queue.fill(seqs, rows, o.room, func(r *Row) {
		o.placeLocked(r)
		o.unsure = o.unsure || r.doubt
	})
	o.mu.Unlock()
	for _, r := range gone {
		o.release(r.size)
		r.ledger.ended(Done{Fate: FateDead})
	}
}
