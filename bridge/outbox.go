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
	// OutboxRows is how many lines may wait for one destination. Further ones are
	// refused, and go back to their sender's side as bounced.
	OutboxRows  = 50_000
	OutboxBytes = 32 << 20 // of their text
	// outboxOwn is how many of the bot's own words may wait for one destination;
	// further ones are dropped.
	outboxOwn = 64
	// doubtsMax is how often a line may be on the wire while its link ends, before
	// it is taken for what ends it, and goes back.
	doubtsMax = 10
)

// Times of an outbox.
const (
	retryBlocked = 30 * time.Second       // a blocked destination is tried again, should its event get lost
	offlineGrace = 30 * time.Second       // after a leg came up, before its people count as offline
	paceLate     = 500 * time.Millisecond // between late lines after a digest
	ownKeep      = time.Hour              // own words wait this long
)

// blockKind says why an outbox waits.
type blockKind uint8

const (
	blockNone     blockKind = iota
	blockNotReady           // link down, not joined, person offline
	blockHeld               // no usable key
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
	// ready is a hint: the last attempt to send succeeded.
	ready atomic.Bool
	batch []*Row     // being sent; of the goroutine alone
	outs  []Outgoing // the same, rendered

	mu      sync.Mutex // guards all below
	leg     *legState
	queue   rowQueue
	own     int    // own words in queue
	wire    []*Row // sent, unproven, in order
	pos     uint64
	drain   bool // a row is in doubt: wait for the outcome of all others first
	busy    bool // the goroutine is sending
	block   blockKind
	reason  string
	retry   time.Time
	kicks   uint64 // events that may unblock
	up      bool   // RoomUp since the last RoomDown
	greeted bool
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
	return &outbox{c: c, room: room, wake: make(chan struct{}, 1)}
}

// reserve counts a line of n bytes that is about to be queued. It returns how many
// lines wait now, and whether this one may.
func (o *outbox) reserve(n int) (lines int64, ok bool) {
	bytes := o.bytes.Add(int64(n))
	lines = o.size.Add(1)
	return lines, lines == 1 || lines <= OutboxRows && bytes <= OutboxBytes
}

// release takes back what reserve counted.
func (o *outbox) release(n int) {
	o.bytes.Add(-int64(n))
	o.size.Add(-1)
}

// end is a row's end, to be told after the lock is gone.
type end struct {
	row    *Row
	fate   Fate
	reason string // for bounces
	netID  string
}

// enqueue adds rows that are in the journal.
func (o *outbox) enqueue(r *Row) {
	o.mu.Lock()
	if o.retired {
		o.mu.Unlock()
		o.finish(end{r, FateBounced, reasonRemoved, ""})
		return
	}
	o.pos++
	r.pos = o.pos
	o.queue.push(r)
	o.mu.Unlock()
	poke(o.wake)
}

// say adds own words, unless too many wait.
func (o *outbox) say(r *Row) {
	o.mu.Lock()
	if o.own >= outboxOwn || o.retired {
		o.mu.Unlock()
		o.finish(end{r, FateDropped, "", ""})
		return
	}
	o.own++
	o.pos++
	r.pos = o.pos
	o.queue.push(r)
	o.mu.Unlock()
	poke(o.wake)
}

// finish tells the ledger, the journal and, for a bounce, the sender's side.
func (o *outbox) finish(e end) {
	r := e.row
	if r.Kind == RowOwn {
		if e.fate != FateRelayed {
			r.ledger.count(func(l *Ledger) *uint64 { return &l.Dropped })
		}
		return
	}
	o.release(r.Text.Len())
	r.ledger.ended(e.fate)
	if e.fate == FateBounced {
		o.c.bounces.add(r.Bridge, r.From, r.To, e.reason, 1)
	}
	if r.Seq != 0 {
		o.c.confirmer.add(Done{Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, To: r.To, Fate: e.fate, NetID: e.netID})
	}
}

func (o *outbox) finishAll(ends []end) {
	for _, e := range ends {
		o.finish(e)
	}
}

// prove takes the outcome of a row on the wire. It never blocks.
func (o *outbox) prove(p Proof) {
	o.mu.Lock()
	i := slices.IndexFunc(o.wire, func(r *Row) bool { return r.ID == p.ID })
	if i < 0 {
		o.mu.Unlock()
		return
	}
	r := o.wire[i]
	o.wire = slices.Delete(o.wire, i, i+1)
	e := end{row: r, netID: p.NetID}
	switch p.Outcome {
	case Delivered:
		e.fate = FateRelayed
	case Failed:
		e.fate, e.reason = FateBounced, reasonOf(p.Err)
		if r.Kind == RowOwn {
			e.fate = FateDropped
		}
	default:
		e = o.doubtLocked(r)
	}
	if len(o.wire) == 0 {
		o.drain = false
	}
	look := o.queue.len() > 0
	o.mu.Unlock()
	if e.row != nil {
		o.finish(e)
	}
	if look {
		poke(o.wake)
	}
	poke(o.c.settled)
}

// doubtLocked puts a row that may have arrived back in its place, to be sent
// again under the same id, or ends it as its bridge says.
func (o *outbox) doubtLocked(r *Row) end {
	var skip bool
	if b := o.c.table.Load().byName[r.Bridge]; b != nil {
		skip = b.cfg.OnDoubt == Skip
	}
	switch {
	case o.retired && r.Kind != RowOwn:
		return end{r, FateBounced, reasonRemoved, ""}
	case r.Kind == RowOwn && (skip || o.retired):
		return end{r, FateDropped, "", ""}
	case skip:
		return end{r, FateSkipped, "", ""}
	}
	if r.doubts++; r.doubts >= doubtsMax {
		if r.Kind == RowOwn {
			return end{r, FateDropped, "", ""}
		}
		return end{r, FateBounced, reasonDoubt, ""}
	}
	if r.Kind == RowOwn {
		o.own++
	} else {
		r.ledger.count(func(l *Ledger) *uint64 { return &l.Resent })
	}
	o.queue.putBack(r)
	o.drain = true
	return end{}
}

// linkLost puts what the leg left unproven in doubt: it has ended.
func (o *outbox) linkLost() {
	o.mu.Lock()
	wire := o.wire
	o.wire, o.drain = nil, false
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

// kick ends a block: something happened that may let rows through.
func (o *outbox) kick() {
	o.mu.Lock()
	o.kicks++
	o.block, o.reason = blockNone, ""
	o.mu.Unlock()
	poke(o.wake)
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
	o.mu.Unlock()
	return o.purge(func(*Row) bool { return true }, reasonRemoved)
}

// purge bounces the waiting rows that match and returns how many lines it was.
func (o *outbox) purge(match func(*Row) bool, reason string) (n int) {
	o.mu.Lock()
	rows := o.queue.removeIf(match)
	for _, r := range rows {
		if r.Kind == RowOwn {
			o.own--
		}
	}
	o.mu.Unlock()
	for _, r := range rows {
		if r.Kind == RowOwn {
			o.finish(end{r, FateDropped, "", ""})
			continue
		}
		n++
		o.finish(end{r, FateBounced, reason, ""})
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
