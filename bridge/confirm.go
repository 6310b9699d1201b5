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

// confirmer gathers the ends of rows from all outboxes and commits them
// together. What waits in it is bounded by the rows of the outboxes: while the
// store stalls, nothing new is taken in either.
type confirmer struct {
	journal Journal
	log     *slog.Logger
	wake    chan struct{} // capacity 1: something waits
	done    []Done        // of commit alone

	mu   sync.Mutex // guards wait
	wait []ended
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
	f.wait = append(f.wait, ended{d, of})
	f.mu.Unlock()
	poke(f.wake)
}

// run commits until ctx ends, then once more what is left, for at most a second.
func (f *confirmer) run(ctx context.Context) {
	var batch []ended
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			f.commit(last, f.swap(batch))
			return
		}
		batch = f.commit(ctx, f.swap(batch))
	}
}

func (f *confirmer) swap(spare []ended) []ended {
	f.mu.Lock()
	defer f.mu.Unlock()
	batch := f.wait
	f.wait = spare[:0]
	return batch
}

// commit returns batch for the next use, or nil with the rows put back if ctx
// ended first.
func (f *confirmer) commit(ctx context.Context, batch []ended) []ended {
	if len(batch) == 0 {
		return batch
	}
	f.done = f.done[:0]
	for i := range batch {
		f.done = append(f.done, batch[i].Done)
	}
	err := retryJournal(ctx, f.log, "confirm", func() error { return f.journal.Confirm(ctx, f.done) })
	clear(f.done)
	if err != nil {
		f.mu.Lock()
		f.wait = append(batch, f.wait...)
		f.mu.Unlock()
		return nil
	}
	for i := range batch {
		if of := batch[i].of; of != nil {
			of.single.ended(of.wake)
		}
	}
	clear(batch)
	return batch
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
