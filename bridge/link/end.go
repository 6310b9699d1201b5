package link

import (
	"context"
	"fmt"
	"slices"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/proof"
)

// This file ends links: first in the book, so that nothing is done by them any more, then
// on disk, and only then anybody is told that it is done.

// End ends the link of an account, or what waits for an admin. Errors: ErrNothing;
// ErrComesBack, with the link.
func (b *Book) End(network, name, by, why string) (guard.Link, error) {
	return b.endTold(network, name, by, why, func(*guard.Link) bool { return true })
}

// endTold is endIf, and the person hears of it.
func (b *Book) endTold(network, name, by, why string, fits func(*guard.Link) bool) (guard.Link, error) {
	l, err := b.endIf(network, name, by, why, fits)
	if l.ID != "" {
		b.tell(l.Person, fmt.Sprintf("The IRC account %s on %s does not act as you any more: %s.", l.Account, l.Network, why))
	}
	return l, err
}

// endIf ends the link of an account that fits.
func (b *Book) endIf(network, name, by, why string, fits func(*guard.Link) bool) (guard.Link, error) {
	b.mu.Lock()
	e := b.links[accountOf(network, name)]
	if e == nil || !fits(&e.Link) {
		b.mu.Unlock()
		return guard.Link{}, fmt.Errorf("%w: %s/%s is linked to nobody", ErrNothing, network, name)
	}
	l := e.Link
	b.endLocked(e, by, why)
	b.mu.Unlock()
	b.changed()
	if b.save(context.Background()) != nil {
		return l, ErrComesBack
	}
	return l, nil
}

// endLocked ends a link, with a line in the audit. The caller saves.
func (b *Book) endLocked(e *entry, by, why string) {
	delete(b.links, accountOf(e.Network, e.Account))
	b.publishLocked()
	b.unsavedLocked(e.ID)
	b.note(unlinked(&e.Link, by, why))
}

func unlinked(l *guard.Link, by, why string) *guard.Act {
	return &guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "unlink", Actor: by, Result: why}
}

// EndOf ends all links and open proofs of a person who leaves, and returns the accounts,
// as "corp/alice", and how many proofs were open. What is said about that, in the audit
// and to people, is the caller's; Changed is not called.
func (b *Book) EndOf(person string) (accounts []string, open int) {
	return b.endOf(person, func(*guard.Link) bool { return true })
}

// EndProven is EndOf for a person of whom some keys count no more: of their links, those
// end that were proven by one of these, and those of which that is not known.
func (b *Book) EndProven(person string, keys []string) (accounts []string, open int) {
	return b.endOf(person, func(l *guard.Link) bool { return l.Key == "" || slices.Contains(keys, l.Key) })
}

func (b *Book) endOf(person string, fits func(*guard.Link) bool) (accounts []string, open int) {
	b.mu.Lock()
	b.leaves++
	for key, e := range b.links {
		if e.Person == person && fits(&e.Link) {
			accounts = append(accounts, e.Network+"/"+e.Account)
			b.unsavedLocked(e.ID)
			delete(b.links, key)
		}
	}
	b.publishLocked()
	tickets := b.asked.End(func(t *proof.Ticket) bool { return t.Person == person }, b.now())
	b.unsavedLocked(tickets...)
	b.mu.Unlock()
	_ = b.save(context.Background()) // Run tries again, and tells
	slices.Sort(accounts)
	return accounts, len(tickets)
}
