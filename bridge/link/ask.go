package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	if err != nil {
		return asked, err
	}
	question := b.question(ctx, &t) // also for nobody: how long an answer takes must not tell
	if t.Person != nobody {
		b.note(&guard.Act{Who: network + "/" + name, Person: t.Person, Acts: "link", Actor: network + "/" + name, Result: "asked for"})
		b.tell(t.Person, question)
	}
	return asked, nil
}

// open opens a ticket, if its account may ask, and completes it.
func (b *Book) open(ctx context.Context, t *proof.Ticket) (Asked, error) {
	b.disk.Lock()
	defer b.disk.Unlock()
	code, err := b.openInBook(t)
	if err != nil {
		return Asked{}, err
	}
	if b.d.Store != nil { // also for nobody: how long an answer takes must not tell either
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		if err := b.d.Store.PutTicket(ctx, *t); err != nil {
			b.log.Warn("a code ends with this process", "err", err)
		}
	}
	b.mu.Lock()
	ended := !b.asked.Holds(t)
	if ended { // meanwhile
		b.unsavedLocked(t.ID)
	}
	b.mu.Unlock()
	if ended {
		_ = b.saveDisk(ctx) // Run tries again
	}
	return Asked{code, t.Until}, nil
}

// openInBook is open, but for the disk.
func (b *Book) openInBook(t *proof.Ticket) (code string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.Mode == Off {
		return "", ErrOff
	}
	if t.Account == "" {
		return "", ErrNoAccount
	}
	owner := b.ownerLocked(t.Network, t.Account)
	if e := b.links[accountOf(t.Network, t.Account)]; e != nil {
		owner = e.Person
	}
	if owner != "" {
		return "", fmt.Errorf("%w: %s is an account of %s", ErrLinked, t.Account, owner)
	}
	opened, code, err := b.asked.Ask(*t, b.now())
	if err == nil {
		*t = opened
	}
	return code, err
}

// question is what a person is asked. The sentence to sign is the same in each language,
// and the command around it is no text: nobody who translates can get its quotes wrong.
func (b *Book) question(ctx context.Context, t *proof.Ticket) string {
	return b.say(ctx, t.Network, t.Account, "link_question", "account", t.Account, "network", t.Network, "nick", t.Nick,
		"command", "echo "+quoted(proof.Sentence(t, "CODE"))+" | gpg --clearsign", "until", t.Until.UTC().Format(time.TimeOnly))
}

// quoted is a text as one word for a shell, whatever names stand in it: people paste it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// findLocked finds a person by what somebody typed: their name, or a bare JID. Case does
// not count, unless it tells two of them apart.
func (b *Book) findLocked(whom string) *policy.Person {
	if p := b.personLocked(whom); p != nil {
		return p
	}
	for _, p := range b.cfg.People {
		if strings.EqualFold(p.Name, whom) || slices.ContainsFunc(p.JIDs, func(j string) bool { return strings.EqualFold(j, whom) }) {
			return p
		}
	}
	return nil
}

// personLocked is the person of that very name, or nil.
func (b *Book) personLocked(name string) *policy.Person {
	if i := slices.IndexFunc(b.cfg.People, func(p *policy.Person) bool { return p.Name == name }); i >= 0 {
		return b.cfg.People[i]
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
