package bridge

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Backoff of a journal that fails.
const (
	journalRetryMin = 100 * time.Millisecond
	journalRetryMax = 5 * time.Second
)

// How ends go to the journal: with the next batch that is taken in, since that costs
// no commit of its own; by themselves when so many wait, or for so long. What has
// ended and is not in the journal would be in doubt after a crash.
const (
	endsMost = 8
	endsRest = 100 * time.Millisecond
	ridersAt = 256 // most with one batch
)

// confirmer gathers the ends of rows from all outboxes and commits them
// together. What waits in it is bounded by the rows of the outboxes: while the
// store stalls, nothing new is taken in either. Nothing waits for company where the
// journal costs nothing, where an outbox waits for the commit, or where nobody could
// be asked about what is in doubt.
type confirmer struct {
	journal Journal
	log     *slog.Logger
	wake    chan struct{} // capacity 1: look again
	done    []Done        // of commit alone

	mu     sync.Mutex // guards all below
	wait   []ended
	spare  []ended   // for wait
	since  time.Time // the first of wait came
	due    bool      // what waits is to go now
	armed  bool      // run looks by itself when since is long ago
	taking bool      // the dispatcher takes something in, or is about to
	out    bool      // ends are being committed: the next ones must not overtake them
}

// ended is a Done, and whose row it was.
type ended struct {
	Done
	of *outbox // nil: nobody waits for the commit
}

func newConfirmer(j Journal, log *slog.Logger) *confirmer {
	return &confirmer{journal: j, log: log, wake: make(chan struct{}, 1)}
}

// add never blocks. It tells of, if there is one, when d is in the journal.
func (f *confirmer) add(d Done, of *outbox) {
	if of != nil {
		of.single.ending.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wait) == 0 {
		f.since = time.Now()
	}
	f.wait = append(f.wait, ended{d, of})
	if len(f.wait) >= endsMost || !f.journal.Durable() || of != nil && (!of.asks.Load() || of.single.waiting.Load()) {
		f.due = true
	}
	f.lookLocked()
}

// lookLocked wakes run if there is something to do for it.
func (f *confirmer) lookLocked() {
	if !f.out && (f.due && !f.taking || !f.armed && len(f.wait) > 0) {
		f.armed = true
		poke(f.wake)
	}
}

// hurry commits what waits: an outbox waits for it.
func (f *confirmer) hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = f.due || len(f.wait) > 0
	f.lookLocked()
}

// run commits until ctx ends, then once more what is left, for at most a second.
func (f *confirmer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var rested <-chan time.Time
		if rest := f.rest(); rest > 0 {
			timer.Reset(rest)
			rested = timer.C
		}
		select {
		case <-f.wake:
		case <-rested:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			f.commit(last, f.take(true))
			return
		}
		f.commit(ctx, f.take(false))
	}
}

// rest is how long what waits may go on to; 0: nothing waits.
func (f *confirmer) rest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed = len(f.wait) > 0 && !f.out; !f.armed {
		return 0
	}
	return max(endsRest-time.Since(f.since), time.Millisecond)
}

// take returns what is to be committed now, for commit.
func (f *confirmer) take(all bool) []ended {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out || len(f.wait) == 0 || !all && !(f.due && !f.taking) && time.Since(f.since) < endsRest {
		return nil
	}
	return f.takeLocked(len(f.wait))
}

func (f *confirmer) takeLocked(n int) []ended {
	batch := f.wait
	f.wait = append(f.spare[:0], batch[n:]...)
	f.spare, f.due, f.out = nil, len(f.wait) > 0, true
	return batch[:n]
}

func (f *confirmer) commit(ctx context.Context, batch []ended) {
	if len(batch) == 0 {
		return
	}
	f.done = dones(f.done, batch)
	err := retryJournal(ctx, f.log, "confirm", func() error { return f.journal.Confirm(ctx, f.done) })
	f.settled(batch, err == nil)
}

func dones(buf []Done, batch []ended) []Done {
	clear(buf)
	buf = buf[:0]
	for i := range batch {
		buf = append(buf, batch[i].Done)
	}
	return buf
}

// settled ends take: batch is in the journal, or goes back.
func (f *confirmer) settled(batch []ended, good bool) {
	if good {
		for i := range batch {
			if of := batch[i].of; of != nil {
				of.single.ended(of.wake)
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out = false
	if good {
		clear(batch)
		f.spare = batch
	} else {
		f.wait = append(batch, f.wait...)
		f.due = true
	}
	f.lookLocked()
}

// ride takes ends to be committed with what the dispatcher takes in; rode has to
// follow, and then done.
func (f *confirmer) ride() []ended {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taking = true
	if f.out || len(f.wait) == 0 {
		return nil
	}
	batch := f.takeLocked(min(len(f.wait), ridersAt))
	for i := range batch {
		if of := batch[i].of; of != nil {
			of.single.riding.Add(1)
		}
	}
	return batch
}

// rode ends ride: batch is in the journal, or it is not and goes by itself.
func (f *confirmer) rode(batch []ended, good bool) {
	if len(batch) == 0 {
		return
	}
	for i := range batch {
		if of := batch[i].of; of != nil {
			of.single.riding.Add(-1)
		}
	}
	f.settled(batch, good)
}

// idle notes that the dispatcher takes nothing in.
func (f *confirmer) idle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taking = false
	f.lookLocked()
}

// retryJournal calls op until it succeeds or ctx ends. It logs the first
// failure and the recovery.
func retryJournal(ctx context.Context, log *slog.Logger, what string, op func() error) error {
	wait := journalRetryMin
	for failed := 0; ; failed++ {
		err := op()
		if err == nil {
			if failed > 0 {
				log.Info("journal works again", "op", what, "n", failed)
			}
			return nil
		}
		if failed == 0 {
			log.Error("journal fails, trying again", "op", what, "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, journalRetryMax)
	}
}

// poke wakes the reader of a channel of capacity 1.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
