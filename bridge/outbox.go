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
	asks   atomic.Bool // somebody could be asked what became of a row
	alone  sync.Mutex  // held by run: a room that comes back may find the last one's still at it
	batch  []*Row      // being sent; of the goroutine alone
	outs   []Outgoing  // the same, rendered

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
// lines are to leave now.
func (o *outbox) reserve(n int) (lines int64) {
	o.bytes.Add(int64(n))
	return o.size.Add(1) - o.unproven.n.Load()
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
