package link

import (
	"context"
	"maps"
	"slices"
	"time"

	"drawbridge/bridge/guard"
)

// This file has the disk follow the book. What the book says counts at once, in this
// process; whatever could not be written is tried again until it is.

// Times of what could not be written.
const (
	saveFirst = time.Second // until it is tried again; doubled up to saveSlow
	saveSlow  = time.Minute
)

// unsavedLocked notes links and tickets of which the disk may not hold what the book
// does.
func (b *Book) unsavedLocked(ids ...string) {
	for _, id := range ids {
		b.marks++
		b.unsaved[id] = b.marks
	}
}

// save writes what is unsaved, and returns ErrNotKept where the store fails: Run tries
// again then. b.mu is not held.
func (b *Book) save(ctx context.Context) error {
	b.disk.Lock()
	defer b.disk.Unlock()
	return b.saveDisk(ctx)
}

// saveDisk is save with b.disk held. Who lost something comes first.
func (b *Book) saveDisk(ctx context.Context) error {
	b.mu.Lock()
	marked := maps.Clone(b.unsaved)
	var puts []guard.Link
	drops := maps.Clone(marked)
	for _, e := range b.links {
		if _, ok := marked[e.ID]; ok {
			puts = append(puts, e.Link)
			delete(drops, e.ID)
		}
	}
	b.mu.Unlock()
	if len(marked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	err := b.write(ctx, marked, slices.Sorted(maps.Keys(drops)), puts)
	if err != nil {
		b.log.Error("links are not written down: with the next start they would be as before", "n", len(marked), "err", err)
		select {
		case b.failed <- struct{}{}:
		default:
		}
		return ErrNotKept
	}
	select {
	case <-b.failed: // all is written, what failed before too
	default:
	}
	return nil
}

func (b *Book) write(ctx context.Context, marked map[string]uint64, drops []string, puts []guard.Link) error {
	if b.d.Store == nil {
		b.saved(marked, slices.Collect(maps.Keys(marked))...)
		return nil
	}
	if len(drops) > 0 {
		if err := b.d.Store.Drop(ctx, drops...); err != nil {
			return err
		}
		b.saved(marked, drops...)
	}
	for _, l := range puts {
		if err := b.d.Store.PutLink(ctx, l); err != nil {
			return err
		}
		b.saved(marked, l.ID)
	}
	return nil
}

// saved takes marks away, but of what changed while it was written.
func (b *Book) saved(marked map[string]uint64, ids ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if b.unsaved[id] == marked[id] {
			delete(b.unsaved, id)
		}
	}
}

// tryAgain writes what could not be written, for Run, and returns when to do it again:
// 0, if all is written. before is how long it waited last, 0 at first.
func (b *Book) tryAgain(ctx context.Context, before time.Duration) time.Duration {
	if before == 0 {
		if b.d.TellAdmins != nil {
			b.d.TellAdmins("Links between accounts of IRC and people cannot be written down: the store fails. What ended has ended, but a restart would bring it back. I go on trying.")
		}
		return saveFirst
	}
	if b.save(ctx) != nil {
		return min(2*before, saveSlow)
	}
	b.log.Info("links are written down again")
	return 0
}
