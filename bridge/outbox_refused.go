package bridge

import (
	"context"
	"errors"
	"slices"
)

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
		if r.Kind == RowOwn && (r.fleeting || !held.Soon) {
			o.giveUp(r, FateDropped, "")
			return
		}
		o.blocked(r, blockHeld, clip(held.Reason, 160), kicks)
	case ctx.Err() != nil:
		o.putBack([]*Row{r})
	default:
		o.c.log.Warn("line refused", "leg", o.room.Leg, "room", o.room.Name, "id", r.ID, "n", r.refusals+1, "err", err)
		o.mu.Lock()
		var e end
		if o.unwireLocked(r) {
			e = o.refusedLocked(r, reasonOf(err))
		}
		o.mu.Unlock()
		if e.row != nil {
			o.finish(e)
		}
	}
}

// refusedLocked puts a row that was refused back in its place, to be tried again
// after a while, or ends it: so the queue goes on. r is not on the wire.
//
// A destination that refused the line before too, as a moderated channel does,
// gets one try a line; and a line is not tried again once a later one is there,
// because it would come out of order, and be refused again as likely as not.
func (o *outbox) refusedLocked(r *Row, reason string) end {
	r.refusals++
	switch {
	case r.Kind == RowOwn:
		return end{row: r, fate: FateDropped}
	case o.retired:
		return end{row: r, fate: FateBounced, reason: reasonRemoved}
	case r.refusals >= refusalsMax, o.refusing, r.pos < o.passed:
		o.refusing = true
		return end{row: r, fate: FateDead, reason: reason}
	}
	o.queue.putBack(r)
	o.drain = true
	o.block, o.reason = blockRefused, reason
	o.retry = o.c.now().Add(refusedWait << (r.refusals - 1))
	return end{}
}

// unwireLocked takes r off the wire again: nothing of it was sent. It reports false
// if it is not there any more: the leg ended meanwhile, and r is in the queue, or has
// ended.
func (o *outbox) unwireLocked(r *Row) bool {
	i := slices.Index(o.wire, r)
	if i < 0 {
		r.doubt = false
		return false
	}
	o.wire = slices.Delete(o.wire, i, i+1)
	return true
}

// putBack takes rows, of which nothing was sent, back from the wire.
func (o *outbox) putBack(rows []*Row) {
	var ends []end
	o.mu.Lock()
	for _, r := range slices.Backward(rows) {
		if e := o.putBackLocked(r); e.row != nil {
			ends = append(ends, e)
		}
	}
	o.mu.Unlock()
	o.finishAll(ends)
}

// putBackLocked puts r back in its place, or ends it if its room was removed.
func (o *outbox) putBackLocked(r *Row) end {
	switch {
	case !o.unwireLocked(r):
		return end{}
	case o.retired && r.Kind == RowOwn:
		return end{row: r, fate: FateDropped}
	case o.retired:
		return end{row: r, fate: FateBounced, reason: reasonRemoved}
	case r.Kind == RowOwn:
		o.own++
	}
	o.queue.putBack(r)
	return end{}
}

// blocked puts r back and waits for an event, unless one came meanwhile.
func (o *outbox) blocked(r *Row, kind blockKind, reason string, kicks uint64) {
	o.mu.Lock()
	e := o.putBackLocked(r)
	o.blockLocked(kind, reason, kicks)
	o.mu.Unlock()
	if e.row != nil {
		o.finish(e)
	}
}

// blockLocked makes the outbox wait, unless an event has come since kicks.
func (o *outbox) blockLocked(kind blockKind, reason string, kicks uint64) {
	if o.kicks == kicks {
		o.block, o.reason, o.retry = kind, reason, o.c.now().Add(retryBlocked)
	}
}

// giveUp ends r without having sent it.
func (o *outbox) giveUp(r *Row, fate Fate, reason string) {
	o.mu.Lock()
	there := o.unwireLocked(r)
	o.mu.Unlock()
	if !there {
		return
	}
	if r.Kind == RowOwn {
		fate = FateDropped
	}
	o.finish(end{row: r, fate: fate, reason: reason})
}
