package bridge

import (
	"slices"
	"sync/atomic"
	"time"
)

// Bounds of what is kept although the network has it, for one destination. Past
// them the oldest counts as delivered: a reader that never shows to have read
// anything holds up nothing.
const (
	// UnprovenFor is how long it is kept.
	UnprovenFor   = 15 * time.Minute
	unprovenRows  = 256
	unprovenBytes = 256 << 10 // of text
)

// unproven are the rows that were Acked, the oldest first. They are off the wire, and
// on the disk until they end; after a restart they count as delivered.
type unproven struct {
	rows  []*Row
	bytes int
	n     atomic.Int64 // of rows, for who does not hold the lock
}

// add takes r in as the youngest.
func (u *unproven) add(r *Row) {
	u.rows = append(u.rows, r)
	u.bytes += r.size
	u.n.Store(int64(len(u.rows)))
}

// take takes out the i-th row.
func (u *unproven) take(i int) *Row {
	r := u.rows[i]
	u.rows = slices.Delete(u.rows, i, i+1)
	u.bytes -= r.size
	u.n.Store(int64(len(u.rows)))
	return r
}

// takeAll takes out all rows: they count as delivered.
func (u *unproven) takeAll() (ends []end) {
	for len(u.rows) > 0 {
		ends = append(ends, end{row: u.take(0), fate: FateRelayed})
	}
	return ends
}

// done says of r that it came to f.
func (r *Row) done(f Fate) Done {
	return Done{Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, To: r.To, Fate: f, Unproven: !r.acked.IsZero()}
}

// noteLocked tells ledger and journal of something that is no end. It does so at
// once, so that it comes before what becomes of r next.
func (o *outbox) noteLocked(r *Row, f Fate) {
	if r.Kind == RowOwn {
		return
	}
	done := r.done(f)
	r.ledger.ended(done)
	if r.Seq != 0 {
		o.c.confirmer.add(done, o)
	}
}

// ackedLocked keeps r, which the network has, until it is known to be read.
func (o *outbox) ackedLocked(r *Row) (ends []end) {
	o.deliveredLocked(r)
	if o.retired {
		return []end{{row: r, fate: FateRelayed}}
	}
	o.noteLocked(r, FateAcked)
	r.acked = o.c.now()
	u := &o.unproven
	u.add(r)
	for len(u.rows) > unprovenRows || u.bytes > unprovenBytes && len(u.rows) > 1 {
		ends = append(ends, end{row: u.take(0), fate: FateRelayed})
	}
	return ends
}

// showedLocked takes what became of a row that was acked.
func (o *outbox) showedLocked(p Proof) (ends []end) {
	u := &o.unproven
	i := slices.IndexFunc(u.rows, func(r *Row) bool { return r.ID == p.ID })
	switch {
	case i < 0:
	case p.Outcome == Delivered:
		ends = []end{{row: u.take(i), fate: FateRelayed, netID: p.NetID}}
	case p.Outcome == Unread:
		if e := o.unreadLocked(u.take(i)); e.row != nil {
			ends = []end{e}
		}
	}
	return ends
}

// unreadLocked puts a row that got there and was not read back in its place, to be
// sent again; or ends it, if that has happened too often, or it can go nowhere.
func (o *outbox) unreadLocked(r *Row) end {
	o.noteLocked(r, FateUnread)
	r.acked, r.Tried = time.Time{}, time.Time{}
	switch r.doubts++; {
	case r.Kind == RowOwn && (o.retired || r.doubts >= doubtsMax):
		return end{row: r, fate: FateDropped}
	case o.retired:
		return end{row: r, fate: FateBounced, reason: reasonRemoved}
	case r.doubts >= doubtsMax:
		return end{row: r, fate: FateDead, reason: reasonUnread}
	}
	if r.Kind == RowOwn {
		o.own++
	}
	o.queue.putBack(r)
	o.drain = true
	return end{}
}

// agedOut ends the rows that were unproven for long enough, and says when the next
// will be; 0 if there is none.
func (o *outbox) agedOut() time.Duration {
	o.mu.Lock()
	now := o.c.now()
	var ends []end
	for len(o.unproven.rows) > 0 && now.Sub(o.unproven.rows[0].acked) >= UnprovenFor {
		ends = append(ends, end{row: o.unproven.take(0), fate: FateRelayed})
	}
	wait := time.Duration(0)
	if len(o.unproven.rows) > 0 {
		wait = o.unproven.rows[0].acked.Add(UnprovenFor).Sub(now)
	}
	o.mu.Unlock()
	o.finishAll(ends)
	return wait
}
