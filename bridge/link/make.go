package link

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"drawbridge/bridge/guard"
)

// This file makes links.

// Accept has an admin agree to what a person has proven. Errors: ErrNothing, ErrSelf,
// ErrNotKept.
func (b *Book) Accept(ctx context.Context, person, network, name, by string) (guard.Link, error) {
	b.mu.Lock()
	e, now := b.links[accountOf(network, name)], b.now()
	if e == nil || e.Person != person || e.Waits.IsZero() || !now.Before(e.Waits) {
		b.mu.Unlock()
		return guard.Link{}, fmt.Errorf("%w: %s has not proven that %s/%s is theirs, or that was agreed to", ErrNothing, person, network, name)
	}
	if by == person {
		b.mu.Unlock()
		return guard.Link{}, ErrSelf
	}
	l, leaves := e.Link, b.leaves
	b.mu.Unlock()
	l.Waits, l.By, l.Made, l.Used = time.Time{}, by, now, now
	if err := b.put(ctx, &l, leaves); err != nil {
		return guard.Link{}, err
	}
	b.made(ctx, &l, by)
	b.tell(l.Person, b.say(ctx, l.Network, l.Account, "link_agreed", "account", l.Account, "network", l.Network))
	return l, nil
}

// put keeps a link, first on disk: a new one, which has no ID yet, or what was agreed to
// by an admin in the place of what waited for that. leaves is what Book.leaves was as it
// was judged. Errors: ErrLinked, ErrNothing, ErrNotKept.
func (b *Book) put(ctx context.Context, l *guard.Link, leaves uint64) error {
	b.disk.Lock()
	defer b.disk.Unlock()
	b.mu.Lock()
	fresh := l.ID == ""
	if fresh {
		b.serial++
		l.ID = fmt.Sprintf("l%x.%d", b.now().UnixNano(), b.serial)
	}
	err := b.fitsLocked(l, fresh, leaves)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if b.d.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		if err = b.d.Store.PutLink(ctx, *l); err != nil {
			b.log.Error("a link cannot be kept", "err", err)
			err = ErrNotKept
		}
	}
	b.mu.Lock()
	if err == nil {
		err = b.fitsLocked(l, fresh, leaves) // it may have ended meanwhile
	}
	if err == nil {
		b.links[accountOf(l.Network, l.Account)] = &entry{Link: *l, kept: l.Used, checked: b.now(), last: &atomic.Int64{}}
		b.publishLocked()
	} else {
		b.unsavedLocked(l.ID) // the disk may hold it
	}
	b.mu.Unlock()
	if err != nil {
		_ = b.saveDisk(ctx) // Run tries again
	}
	return err
}

// fitsLocked says why a link cannot be made now. The account must have none, or just
// what the admin agreed to; and of who left since it was judged, nothing is kept.
func (b *Book) fitsLocked(l *guard.Link, fresh bool, leaves uint64) error {
	e := b.links[accountOf(l.Network, l.Account)]
	switch {
	case b.leaves != leaves || b.endedLocked(l) != "" || l.Waits.IsZero() && l.By == "" && b.inGroupLocked(b.personLocked(l.Person)):
		return ErrNothing
	case fresh && e != nil:
		return ErrLinked
	case !fresh && (e == nil || e.ID != l.ID || e.Waits.IsZero()):
		return fmt.Errorf("%w: what was proven for %s/%s has ended meanwhile", ErrNothing, l.Network, l.Account)
	}
	return nil
}

// made tells of a link that holds from now on.
func (b *Book) made(ctx context.Context, l *guard.Link, by string) {
	b.note(&guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "link", Actor: by, Result: "done" + byKey(l), Undo: "guard unlink " + l.Network + "/" + l.Account})
	b.changed()
	if b.d.TellNick != nil && l.Nick != "" {
		b.d.TellNick(l.Network, l.Nick, b.say(ctx, l.Network, l.Account, "link_made", "account", l.Account, "person", l.Person))
	}
}
