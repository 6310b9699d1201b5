package link

import (
	"context"
	"fmt"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// This file takes what people prove.

// Claims reports whether a text of a person's own chat is an answer to what was asked:
// the clear-signed sentence.
func (b *Book) Claims(person, text string) bool {
	if !proof.IsSigned(text) || proof.CodeIn(text) == "" || !strings.Contains(strings.Join(strings.Fields(text), " "), "the IRC account ") {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked.Has(func(t *proof.Ticket) bool { return t.Person == person })
}

// Confirm takes what a person wrote in their own encrypted chat to answer: the code, by
// a message that proves them, or the clear-signed sentence by one that is encrypted. It
// returns the link; Waits is set where an admin has to agree. Errors: ErrStale, ErrProof,
// ErrGone, ErrLinked, ErrNotKept, and those of proof.Book and Deps.Verify.
func (b *Book) Confirm(ctx context.Context, c *bridge.Claim) (guard.Link, error) {
	if c.Stale {
		return guard.Link{}, ErrStale
	}
	b.mu.Lock()
	leaves := b.leaves
	b.mu.Unlock()
	code, key, signed := strings.Join(strings.Fields(c.Text)[1:], ""), c.Key, guard.Signed{}
	switch {
	case proof.IsSigned(c.Text):
		if b.d.Verify == nil || c.Rung < policy.Sealed {
			return guard.Link{}, &weak{"link_weak", "rung", c.Rung.String()}
		}
		var err error
		if signed, err = b.d.Verify(c); err != nil {
			return guard.Link{}, err
		}
		if signed.Rung < policy.Signed {
			return guard.Link{}, &weak{"link_strange_key", "key", signed.Fingerprint}
		}
		code, key = proof.CodeIn(signed.Text), signed.Fingerprint
	case c.Rung < policy.Signed:
		return guard.Link{}, &weak{"link_weak", "rung", c.Rung.String()}
	}
	t, err := b.take(ctx, c.Person, code, &signed)
	if err != nil {
		return guard.Link{}, err
	}
	mark, err := b.mark(ctx, &t)
	if err != nil {
		return guard.Link{}, err
	}
	now := b.now()
	l := guard.Link{Person: t.Person, Network: t.Network, Account: t.Account, Nick: t.Nick, Made: now, Used: now, Mark: mark, Key: key}
	b.mu.Lock()
	p := b.personLocked(t.Person)
	if p == nil || !b.mayLocked(p) { // the config changed
		b.mu.Unlock()
		return guard.Link{}, ErrNothing
	}
	if b.inGroupLocked(p) {
		l.Waits = now.Add(WaitsFor)
	}
	b.mu.Unlock()
	if err := b.put(ctx, &l, leaves); err != nil {
		return guard.Link{}, err
	}
	if l.Waits.IsZero() {
		b.made(ctx, &l, t.Person)
		return l, nil
	}
	b.note(waits(&l))
	if b.d.TellAdmins != nil {
		b.d.TellAdmins(fmt.Sprintf("%s has proven%s that the IRC account %s on %s is theirs. %s", l.Person, byKey(&l), l.Account, l.Network, howToAgree(&l)))
	}
	return l, nil
}

func waits(l *guard.Link) *guard.Act {
	return &guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "link", Actor: l.Person, Result: "proven" + byKey(l) + ", waits for an admin"}
}

// howToAgree tells admins what they can do about a link that waits.
func howToAgree(l *guard.Link) string {
	return fmt.Sprintf("To agree: !guard link %s %s/%s; to refuse: !guard unlink %s/%s", l.Person, l.Network, l.Account, l.Network, l.Account)
}

// take finds the ticket of a code and ends it, so that no crash lets it be used again.
func (b *Book) take(ctx context.Context, person, code string, signed *guard.Signed) (proof.Ticket, error) {
	t, err := b.takeInBook(person, code, signed)
	if err == nil {
		err = b.save(ctx)
	}
	return t, err
}

// takeInBook is take, but for the disk. What is signed must be the whole sentence, and
// have been signed while it was open.
func (b *Book) takeInBook(person, code string, signed *guard.Signed) (proof.Ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	t, err := b.asked.Find("person "+person, code, func(t *proof.Ticket) bool { return t.Person == person }, now)
	if err != nil {
		return t, err
	}
	if signed.Fingerprint != "" {
		switch {
		case !proof.Says(&t, code, signed.Text):
			b.asked.Wrong("person "+person, now)
			return t, &weak{key: "link_other_words"}
		case signed.At.Before(t.Made.Truncate(time.Second)) || signed.At.After(t.Until):
			b.asked.Wrong("person "+person, now)
			return t, &weak{key: "link_other_time"}
		}
	}
	if !b.asked.Take(&t, now) {
		return t, proof.ErrUsed
	}
	b.unsavedLocked(t.ID)
	return t, nil
}

// mark asks services which account it is; "" where they do not say.
func (b *Book) mark(ctx context.Context, t *proof.Ticket) (string, error) {
	if b.d.Account == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	seen, err := b.d.Account(ctx, t.Network, t.Account)
	switch {
	case err != nil:
		return "", nil // services are away: asked again later
	case seen.Known == policy.No:
		return "", ErrGone
	}
	return seen.Mark, nil
}
