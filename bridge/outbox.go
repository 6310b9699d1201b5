package bridge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of an outbox.
const (
	// OutboxRows is how many lines may wait for one destination, unless the Config says
	// otherwise. Further ones are not taken in: they wait in the intake of their leg.
	OutboxRows  = 50_000
	OutboxBytes = 32 << 20 // of their text
	// outboxOwn is how many of the bot's own words may wait for one destination;
	// further ones are dropped.
	outboxOwn = 64
	// doubtsMax is how often a line may be on the wire while its link ends, before
	// it is taken for what ends it, and goes back.
	doubtsMax = 10
	// refusalsMax is how often a line is refused before it is parked.
	refusalsMax = 5
)

// Times of an outbox.
const (
	retryBlocked = 30 * time.Second       // a blocked destination is tried again, should its event get lost
	offlineGrace = 30 * time.Second       // after a leg came up, before its people count as offline
	paceLate     = 500 * time.Millisecond // between late lines after a digest
	ownKeep      = time.Hour              // own words wait this long
	refusedWait  = 500 * time.Millisecond // after a line was refused, twice as long each time
)

// blockKind says why an outbox waits.
type blockKind uint8

const (
	blockNone     blockKind = iota
	blockNotReady           // link down, not joined, person offline
	blockHeld               // no usable key
	blockRefused            // it refused the first line
)

// outbox is the queue of rows on their way to one room. Its goroutine (run)
// alone sends; the dispatcher adds, and the leg proves.
type outbox struct {
	c    *Core
	room Room
	wake chan struct{} // capacity 1: look again
	// size counts the lines waiting, from the dispatcher's decision to their end.
	size  atomic.Int64
	bytes atomic.Int64 // of their text
	// full is set when no line more may wait, until there is some room again.
	full atomic.Pointer[time.Time]
	// ready is a hint: the last attempt to send succeeded.
	ready  atomic.Bool
	single single
	alone  sync.Mutex // held by run: a room that comes back may find the last one's still at it
	batch  []*Row     // being sent; of the goroutine alone
	outs   []Outgoing // the same, rendered

	mu       sync.Mutex // guards all below
	leg      *legState
	queue    rowQueue
	own      int    // own words in queue
	wire     []*Row // sent, without a proof, in order
	unproven unproven
	pos      uint64
	drain    bool   // a row came back: wait for the outcome of all others first
	unsure   bool   // rows in the queue are in doubt
	unheard  int    // times in a row that the network did not answer about them in time
	busy     bool   // the goroutine is sending or asking
	passed   uint64 // the highest pos that was delivered
	refusing bool   // the last line that ended was refused
	block    blockKind
	reason   string
	retry    time.Time
	kicks    uint64 // events that may unblock
	up       bool   // RoomUp since the last RoomDown
	greeted  bool
	// announced names the bridges that said here what they announce.
	announced map[string]bool
	missed    int
	missedB   string // the bridge they were missed in
	paused    time.Time
	pacing    bool
	lastAt    time.Time // of the last late line, while pacing
	retired   bool      // the room is in no bridge any more
}

func newOutbox(c *Core, room Room) *outbox {
	return &outbox{c: c, room: room, pos: 1 << 40, wake: make(chan struct{}, 1), queue: rowQueue{spill: c.journal.Durable()}}
}

// reserve counts a line of n bytes that is about to be queued, and returns how many
// lines wait now.
func (o *outbox) reserve(n int) (lines int64) {
	o.bytes.Add(int64(n))
	return o.size.Add(1)
}

// release takes back what reserve counted. A full outbox takes lines again once
// a fiftieth of it is free.
func (o *outbox) release(n int) {
	o.relax(o.bytes.Add(-int64(n)), o.size.Add(-1))
}

// relax ends being full, if so much waiting is not.
func (o *outbox) relax(bytes, lines int64) {
	if o.full.Load() != nil && lines <= o.c.maxRows()*49/50 && bytes <= OutboxBytes*49/50 && o.full.Swap(nil) != nil {
		o.c.log.Info("destination takes lines again", "leg", o.room.Leg, "room", o.room.Name, "n", lines)
		o.c.freed.Store(true)
		poke(o.c.wake)
	}
}

// hasRoom reports whether a line of n bytes may be queued.
func (o *outbox) hasRoom(n int, now time.Time) bool {
	if o.full.Load() != nil {
		return false
	}
	lines := o.size.Load()
	if lines == 0 || lines < o.c.maxRows() && o.bytes.Load()+int64(n) <= OutboxBytes {
		return true
	}
	o.full.Store(&now)
	// Had the last line left meanwhile, nobody would tell of the room.
	return o.size.Load() == 0 && o.full.Swap(nil) != nil
}

// end is a row's end, to be told after the lock is gone.
type end struct {
	row    *Row
	fate   Fate
	reason string // of a bounce, or why it is dead
	netID  string
	found  bool // it was in doubt, and is there
}

// enqueue adds rows that are in the journal.
func (o *outbox) enqueue(r *Row) {
	o.mu.Lock()
	if o.retired {
		o.mu.Unlock()
		o.finish(end{row: r, fate: FateBounced, reason: reasonRemoved})
		return
	}
	o.placeLocked(r)
	r.size = r.Text.Len()
	o.unsure = o.unsure || r.doubt
	o.queue.push(r)
	o.mu.Unlock()
	poke(o.wake)
}

// posGap is left between the places of two rows, for those that are requeued.
const posGap = 1 << 20

// placeLocked gives r a place behind all others.
func (o *outbox) placeLocked(r *Row) {
	o.pos += posGap
	r.pos = o.pos
}

// requeue is enqueue for a row that waited before: it comes before those that are
// younger.
func (o *outbox) requeue(r *Row) {
	o.mu.Lock()
	head := o.queue.head()
	for i, w := range head {
		if w.Seq > r.Seq && !o.retired {
			r.pos, r.size = w.pos-posGap/2, r.Text.Len()
			if i > 0 {
				r.pos = head[i-1].pos + 1
			}
			o.queue.putBack(r)
			o.mu.Unlock()
			poke(o.wake)
			return
		}
	}
	o.mu.Unlock()
	o.enqueue(r)
}

// say adds own words, unless too many wait.
func (o *outbox) say(r *Row) {
	o.mu.Lock()
	if o.own >= outboxOwn || o.retired {
		o.mu.Unlock()
		o.finish(end{row: r, fate: FateDropped})
		return
	}
	o.own++
	o.placeLocked(r)
	r.size = r.Text.Len()
	o.queue.push(r)
	o.mu.Unlock()
	poke(o.wake)
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

// isSettled reports whether waiting longer would not move anything by itself:
// nothing is left, or what is left is blocked. The bot's own words count with
// own only: a slow network is not waited for because of an announcement.
func (o *outbox) isSettled(now time.Time, own bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := func(r *Row) bool { return own || r.Kind != RowOwn }
	if o.busy || slices.ContainsFunc(o.wire, counts) {
		return false
	}
	left := o.queue.len()
	if !own {
		left -= o.own
	}
	return left <= 0 || o.block != blockNone || now.Before(o.paused)
}

// run sends until ctx ends.
func (o *outbox) run(ctx context.Context) {
	o.alone.Lock()
	defer o.alone.Unlock()
	defer o.untry(ctx)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var due <-chan time.Time
		if wait := o.pump(ctx); wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-due:
		}
	}
}
