package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// nobody stands in tickets for a person who cannot be asked: their code fits nowhere,
// and who asked cannot tell.
const nobody = "\x00"

// Asked is what an account is shown that asks to be linked.
type Asked struct {
	Code  string
	Until time.Time
}

// Ask begins a link: the account, which the network vouches for, is to be shown the
// code, and the person, named by their name in the config or a bare JID, is told that
// it wants to act as them. Whether there is such a person does not show. Errors: ErrOff,
// ErrNoAccount, ErrLinked, and those of proof.Book.
func (b *Book) Ask(ctx context.Context, network, name, nick, whom string) (Asked, error) {
	t := proof.Ticket{Kind: proof.Link, By: "account " + network + "/" + policy.FoldAccount(name), Person: nobody, Network: network, Nick: nick, Account: name}
	b.mu.Lock()
	if p := b.findLocked(whom); p != nil && b.mayLocked(p) {
		t.Person = p.Name
		if len(p.JIDs) > 0 {
			t.JID = p.JIDs[0]
		}
	}
	b.mu.Unlock()
	if ok := false; t.Person != nobody { // without the lock: who is asked has one, too
		if t.Leg, t.Bot, ok = b.chat(t.Person); !ok {
			t.Person, t.JID = nobody, ""
		}
	}
	asked, err := b.open(ctx, &t)
	if err == nil && t.Person != nobody {
		b.note(&guard.Act{Who: network + "/" + name, Person: t.Person, Acts: "link", Actor: network + "/" + name, Result: "asked for"})
		b.tell(t.Person, b.question(&t))
	}
	return asked, err
}

// open opens a ticket, if its account may ask, and completes it.
func (b *Book) open(ctx context.Context, t *proof.Ticket) (Asked, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.Mode == Off {
		return Asked{}, ErrOff
	}
	if t.Account == "" {
		return Asked{}, ErrNoAccount
	}
	owner := b.ownerLocked(t.Network, t.Account)
	if e := b.links[accountOf(t.Network, t.Account)]; e != nil {
		owner = e.Person
	}
	if owner != "" {
		return Asked{}, fmt.Errorf("%w: %s is an account of %s", ErrLinked, t.Account, owner)
	}
	opened, code, err := b.asked.Ask(*t, b.now())
	if err != nil {
		return Asked{}, err
	}
	*t = opened
	if t.Person != nobody && b.d.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		if err := b.d.Store.PutTicket(ctx, *t); err != nil {
			b.log.Warn("a code ends with this process", "err", err)
		}
	}
	return Asked{code, t.Until}, nil
}

// question is what a person is asked.
func (b *Book) question(t *proof.Ticket) string {
	return fmt.Sprintf("IRC account %s on %s wants to act as you (nick %s). If that is you, send me the code that it was shown: !link CODE. "+
		"If your client does not sign what it sends, clear-sign this sentence with your key, the code in its place, and send me all of the block: echo '%s' | gpg --clearsign. "+
		"If it is not you, do nothing. It ends at %s UTC by itself.",
		t.Account, t.Network, t.Nick, proof.Sentence(t, "CODE"), t.Until.UTC().Format(time.TimeOnly))
}

// findLocked finds a person by name or bare JID.
func (b *Book) findLocked(whom string) *policy.Person {
	for _, p := range b.cfg.People {
		if strings.EqualFold(p.Name, whom) || slices.ContainsFunc(p.JIDs, func(j string) bool { return strings.EqualFold(j, whom) }) {
			return p
		}
	}
	return nil
}

// mayLocked reports whether anything may be linked to a person.
func (b *Book) mayLocked(p *policy.Person) bool {
	return !p.Gone && (b.cfg.Mode == Open || b.cfg.Mode == Staff && b.inGroupLocked(p))
}

// inGroupLocked reports whether a person is in any group: an admin has to agree then.
func (b *Book) inGroupLocked(p *policy.Person) bool {
	if len(p.Groups) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Certified, func(addr string) bool {
		_, domain, _ := strings.Cut(addr, "@")
		return slices.ContainsFunc(b.cfg.Groups, func(g policy.Group) bool { return g.Domain != "" && strings.EqualFold(g.Domain, domain) })
	})
}

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
	code, signed := strings.Join(strings.Fields(c.Text)[1:], ""), guard.Signed{}
	switch {
	case proof.IsSigned(c.Text):
		if b.d.Verify == nil || c.Rung < policy.Sealed {
			return guard.Link{}, ErrProof
		}
		var err error
		if signed, err = b.d.Verify(c); err != nil {
			return guard.Link{}, err
		}
		if signed.Rung < policy.Signed {
			return guard.Link{}, fmt.Errorf("%w: it is signed by %s, which is not known as yours", ErrProof, signed.Fingerprint)
		}
		code = proof.CodeIn(signed.Text)
	case c.Rung < policy.Signed:
		return guard.Link{}, fmt.Errorf("%w: it came %s", ErrProof, c.Rung)
	}
	t, err := b.take(c.Person, code, &signed)
	if err != nil {
		return guard.Link{}, err
	}
	mark, err := b.mark(ctx, &t)
	if err != nil {
		return guard.Link{}, err
	}
	now := b.now()
	l := guard.Link{Person: t.Person, Network: t.Network, Account: t.Account, Nick: t.Nick, Made: now, Used: now, Mark: mark, Key: signed.Fingerprint}
	b.mu.Lock()
	p := b.findLocked(t.Person)
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
		b.made(&l, t.Person)
		return l, nil
	}
	b.note(&guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "link", Actor: l.Person, Result: "proven, waits for an admin"})
	if b.d.TellAdmins != nil {
		b.d.TellAdmins(fmt.Sprintf("%s has proven that the IRC account %s on %s is theirs. To agree: !guard link %s %s/%s; to refuse: !guard unlink %s/%s",
			l.Person, l.Account, l.Network, l.Person, l.Network, l.Account, l.Network, l.Account))
	}
	return l, nil
}

// take finds the ticket of a code and ends it. What is signed must be the whole
// sentence, and have been signed while it was open.
func (b *Book) take(person, code string, signed *guard.Signed) (proof.Ticket, error) {
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
			return t, fmt.Errorf("%w: what is signed is not the sentence, and nothing but the sentence", ErrProof)
		case signed.At.Before(t.Made.Truncate(time.Second)) || signed.At.After(t.Until):
			b.asked.Wrong("person "+person, now)
			return t, fmt.Errorf("%w: it was signed at another time than between the question and its end", ErrProof)
		}
	}
	if !b.asked.Take(&t, now) {
		return t, proof.ErrUsed
	}
	b.drop(t.ID)
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

// Problem says for people what is wrong.
func Problem(err error) string {
	for _, x := range []struct {
		err  error
		text string
	}{
		{proof.ErrUnknown, "I know no such code of yours"},
		{proof.ErrLate, "the time of this code is over: ask for another on IRC"},
		{proof.ErrUsed, "this code was used already"},
		{proof.ErrMany, "too many codes are open: wait ten minutes"},
		{proof.ErrOften, "too often in a short time: wait ten minutes"},
	} {
		if errors.Is(err, x.err) {
			return x.text
		}
	}
	return strings.TrimPrefix(err.Error(), "link: ")
}
