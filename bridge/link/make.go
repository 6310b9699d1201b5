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
	e := b.links[accountOf(network, name)]
	if e == nil || e.Person != person || e.Waits.IsZero() {
		b.mu.Unlock()
		return guard.Link{}, fmt.Errorf("%w: %s has not proven that %s/%s is theirs, or that was agreed to", ErrNothing, person, network, name)
	}
	if by == person {
		b.mu.Unlock()
		return guard.Link{}, ErrSelf
	}
	l, leaves := e.Link, b.leaves
	b.mu.Unlock()
	l.Waits, l.By, l.Made, l.Used = time.Time{}, by, b.now(), b.now()
	if err := b.put(ctx, &l, leaves); err != nil {
		return guard.Link{}, err
	}
	b.made(&l, by)
	b.tell(l.Person, fmt.Sprintf("An admin agreed: what the IRC account %s on %s does counts as yours from now on. !link off %s/%s ends that.", l.Account, l.Network, l.Network, l.Account))
	return l, nil
}

// put keeps a link, first on disk. One that the account has by now is not replaced.
// leaves is what Book.leaves was as it was judged: of who left since, nothing is kept.
func (b *Book) put(ctx context.Context, l *guard.Link, leaves uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leaves != leaves || b.endedLocked(l) != "" {
		return ErrNothing
	}
	if l.ID == "" {
		b.serial++
		l.ID = fmt.Sprintf("l%x.%d", b.now().UnixNano(), b.serial)
	}
	key := accountOf(l.Network, l.Account)
	if e := b.links[key]; e != nil && e.ID != l.ID {
		return ErrLinked
	}
	if b.d.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		if err := b.d.Store.PutLink(ctx, *l); err != nil {
			b.log.Error("a link cannot be kept", "err", err)
			return ErrNotKept
		}
	}
	b.links[key] = &entry{Link: *l, kept: l.Used, checked: b.now(), last: &atomic.Int64{}}
	b.publishLocked()
	return nil
}

// made tells of a link that holds from now on.
func (b *Book) made(l *guard.Link, by string) {
	b.note(&guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "link", Actor: by, Result: "done", Undo: "guard unlink " + l.Network + "/" + l.Account})
	b.changed()
	if b.d.TellNick != nil && l.Nick != "" {
		b.d.TellNick(l.Network, l.Nick, "The account "+l.Account+" and "+l.Person+" on Jabber are one person now. !link off ends that.")
	}
}
