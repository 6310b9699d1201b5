package bridge

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The bounds of asking.
const (
	askBatch = 64          // rows asked for at once
	askTime  = time.Minute // for the answer
	askTries = 5           // without an answer in time, until nobody can be asked
)

// doubtLocked puts a row that may have arrived back in its place, until it is
// known whether it has; or ends it, if it can go nowhere.
func (o *outbox) doubtLocked(r *Row) end {
	if r.doubts++; o.retired || r.doubts >= doubtsMax {
		switch {
		case r.Kind == RowOwn:
			return end{row: r, fate: FateDropped}
		case o.retired:
			return end{row: r, fate: FateBounced, reason: reasonRemoved}
		}
		return end{row: r, fate: FateDead, reason: reasonDoubt}
	}
	if r.Kind == RowOwn {
		o.own++
	}
	r.doubt, r.unread = true, false
	o.queue.putBack(r)
	o.drain, o.unsure = true, true
	return end{}
}

// linkLost puts what the leg left unproven in doubt: it has ended.
func (o *outbox) linkLost() {
	o.mu.Lock()
	wire := o.wire
	o.wire = nil
	var ends []end
	for _, r := range slices.Backward(wire) {
		if e := o.doubtLocked(r); e.row != nil {
			ends = append(ends, e)
		}
	}
	o.drain = false
	o.mu.Unlock()
	slices.Reverse(ends)
	o.finishAll(ends)
	poke(o.wake)
	poke(o.c.settled)
}

// settle finds out what became of the rows in doubt, in their order, before
// anything else is sent: where the network can be asked, it is. While some are left
// (unsure), the queue stands.
func (o *outbox) settle(ctx context.Context) {
	for ctx.Err() == nil {
		rows, leg, kicks := o.inDoubt()
		if len(rows) == 0 {
			return
		}
		answers, err := o.ask(ctx, leg, rows)
		o.mu.Lock()
		o.busy = false
		switch {
		case ctx.Err() != nil:
			o.mu.Unlock()
			return
		case errors.Is(err, ErrNotReady):
			o.blockLocked(blockNotReady, reasonNotReady, kicks)
			o.mu.Unlock()
			return
		case errors.Is(err, context.DeadlineExceeded) && o.unheard < askTries-1:
			o.unheard++
			o.blockLocked(blockNotReady, reasonNotReady, kicks)
			o.mu.Unlock()
			return
		case err != nil:
			o.c.log.Warn("nobody can be asked about lines in doubt", "leg", o.room.Leg, "room", o.room.Name, "n", len(rows), "err", err)
		}
		o.unheard = 0
		ends := o.settledLocked(rows, answers)
		o.mu.Unlock()
		o.finishAll(ends)
	}
}

// inDoubt returns the first rows in doubt, if it is time to ask for them.
func (o *outbox) inDoubt() (rows []*Row, leg *legState, kicks uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.unsure || o.leg == nil || len(o.wire) > 0 {
		return nil, nil, 0
	}
	for _, r := range o.queue.head() {
		if r.doubt && len(rows) < askBatch {
			rows = append(rows, r)
		}
	}
	switch {
	case len(rows) == 0:
		o.unsure = false
	case o.leg.asks == nil:
	case !o.up && o.block == blockNone:
		o.blockLocked(blockNotReady, reasonNotReady, o.kicks)
		return nil, nil, 0
	case !o.up, o.block != blockNone && o.c.now().Before(o.retry):
		return nil, nil, 0
	}
	o.busy = len(rows) > 0
	return rows, o.leg, o.kicks
}

// ask asks the network about rows. What it says nothing of is unanswered.
func (o *outbox) ask(ctx context.Context, leg *legState, rows []*Row) ([]Answer, error) {
	answers := make([]Answer, len(rows))
	if leg.asks == nil {
		return answers, nil
	}
	t := o.c.table.Load()
	var outs []Outgoing
	var at []int // of each in rows
	for i, r := range rows {
		if out, refused := o.render(t, r, r.Tried); refused == "" {
			out.Tried = r.Tried
			outs, at = append(outs, out), append(at, i)
		}
	}
	if len(outs) == 0 {
		return answers, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	said, err := leg.ask(ctx, outs)
	if err != nil {
		return answers, err
	}
	for i, a := range said[:min(len(said), len(at))] {
		answers[at[i]] = a
	}
	return answers, nil
}

// settledLocked does what the answers say, with the rows that are still there.
func (o *outbox) settledLocked(rows []*Row, answers []Answer) (ends []end) {
	t := o.c.table.Load()
	o.queue.removeHead(func(r *Row) bool {
		i := slices.Index(rows, r)
		if i < 0 {
			return false
		}
		b := t.byName[r.Bridge]
		skip := b != nil && b.cfg.OnDoubt == Skip
		e := end{row: r}
		switch {
		case answers[i] == Present:
			e.fate, e.found = FateRelayed, true
			o.deliveredLocked(r)
		case answers[i] == Unanswered && skip:
			e.fate = FateSkipped
		default:
			r.again = NotKnown
			if answers[i] == Absent {
				r.again = NotThere
			}
			if r.Kind != RowOwn {
				r.ledger.again(r.again)
			}
			r.doubt, r.Tried = false, time.Time{}
			return false
		}
		if r.Kind == RowOwn {
			o.own--
		}
		ends = append(ends, e)
		return true
	})
	return ends
}
