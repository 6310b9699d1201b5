package link

import (
	"context"
	"fmt"
	"slices"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/proof"
)

// This file ends links.

// End ends the link of an account, or what waits for an admin. Errors: ErrNothing.
func (b *Book) End(network, name, by, why string) (guard.Link, error) {
	return b.endTold(network, name, by, why, func(*guard.Link) bool { return true })
}

// endTold is endIf, and the person hears of it.
func (b *Book) endTold(network, name, by, why string, fits func(*guard.Link) bool) (guard.Link, error) {
	l, err := b.endIf(network, name, by, why, fits)
	if err == nil {
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
	b.endLocked(e, by, why)
	b.mu.Unlock()
	b.changed()
	return e.Link, nil
}

// endLocked ends a link, with a line in the audit.
func (b *Book) endLocked(e *entry, by, why string) {
	delete(b.links, accountOf(e.Network, e.Account))
	b.publishLocked()
	b.drop(e.ID)
	b.note(unlinked(&e.Link, by, why))
}

func unlinked(l *guard.Link, by, why string) *guard.Act {
	return &guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "unlink", Actor: by, Result: why}
}

// EndOf ends all links and open proofs of a person who leaves, and returns the accounts,
// as "corp/alice", and how many proofs were open. What is said about that, in the audit
// and to people, is the caller's; Changed is not called.
func (b *Book) EndOf(person string) (accounts []string, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaves++
	var ids []string
	for key, e := range b.links {
		if e.Person == person {
			accounts = append(accounts, e.Network+"/"+e.Account)
			ids = append(ids, e.ID)
			delete(b.links, key)
		}
	}
	b.publishLocked()
	slices.Sort(accounts)
	tickets := b.asked.End(func(t *proof.Ticket) bool { return t.Person == person }, b.now())
	b.drop(append(ids, tickets...)...)
	return accounts, len(tickets)
}

// drop forgets what was kept.
func (b *Book) drop(ids ...string) {
	if len(ids) == 0 || b.d.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := b.d.Store.Drop(ctx, ids...); err != nil {
		b.log.Error("a link that ended comes back with the next start", "err", err)
	}
}
