package bridge

import "slices"

// This file is how rows end: by a proof, or without one.

// end is a row's end, to be told after the lock is gone.
type end struct {
	row    *Row
	fate   Fate
	reason string // of a bounce, or why it is dead
	netID  string
	found  bool // it was in doubt, and is there
}

// finish tells the ledger, the journal and, for a bounce, the sender's side.
func (o *outbox) finish(e end) {
	r := e.row
	if r.Kind == RowOwn {
		if e.fate != FateRelayed {
			r.ledger.dropped()
		}
		return
	}
	if e.fate == FateDead && !o.c.journal.Durable() {
		e.fate = FateBounced
	}
	done := r.done(e.fate)
	done.NetID, done.Found = e.netID, e.found
	o.release(r.size)
	r.ledger.ended(done)
	switch e.fate {
	case FateBounced:
		o.c.bounces.add(r, e.reason, false)
	case FateDead:
		done.Reason = e.reason
		o.c.log.Error("line parked", "leg", r.To.Leg, "room", r.To.Name, "id", r.ID, "n", r.Seq, "err", e.reason)
		o.c.bounces.add(r, e.reason, true)
	}
	if r.Seq != 0 {
		o.c.confirmer.add(done, o)
	}
}

func (o *outbox) finishAll(ends []end) {
	for _, e := range ends {
		o.finish(e)
	}
}

// prove takes the outcome of a row on the wire, or of one that was acked. It never
// blocks.
func (o *outbox) prove(p Proof) {
	o.mu.Lock()
	var ends []end
	first := len(o.unproven.rows) == 0
	if i := slices.IndexFunc(o.wire, func(r *Row) bool { return r.ID == p.ID }); i >= 0 {
		ends = o.provedLocked(i, p)
	} else {
		ends = o.showedLocked(p)
	}
	if len(o.wire) == 0 {
		o.drain = false
	}
	look := o.queue.len() > 0 || first && len(o.unproven.rows) > 0 // its time runs
	o.mu.Unlock()
	o.finishAll(ends)
	if look {
		poke(o.wake)
	}
	poke(o.c.settled)
}

// provedLocked takes the outcome of the i-th row on the wire.
func (o *outbox) provedLocked(i int, p Proof) []end {
	r := o.wire[i]
	if p.Outcome == Unread {
		r.unread, o.drain = true, true // its proof is still to come
		return nil
	}
	unread := r.unread
	r.unread = false
	o.wire = slices.Delete(o.wire, i, i+1)
	e := end{row: r, netID: p.NetID}
	switch p.Outcome {
	case Acked:
		if unread {
			e = o.unreadLocked(r)
			break
		}
		return o.ackedLocked(r)
	case Delivered:
		e.fate = FateRelayed
		o.deliveredLocked(r)
	case Failed:
		e = o.refusedLocked(r, reasonOf(p.Err))
	default:
		e = o.doubtLocked(r)
	}
	if e.row == nil {
		return nil
	}
	return []end{e}
}

// deliveredLocked notes that r has arrived.
func (o *outbox) deliveredLocked(r *Row) {
	if r.Kind != RowOwn {
		o.passed, o.refusing = max(o.passed, r.pos), false
	}
}
