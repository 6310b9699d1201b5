package guard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// tickets are the proofs that were asked for. None is told of before it is on disk, and
// none is used before its end is.
type tickets struct {
	mu   sync.Mutex // guards book
	book *proof.Book
}

var errNoVerify = errors.New("nobody here can check a signed text")

func (k *tickets) load(g *Guard, kept []Ticket, now time.Time) {
	kept = slices.DeleteFunc(slices.Clone(kept), func(t Ticket) bool { return t.Kind != proof.Invite }) // package link has its own
	k.mu.Lock()
	over := k.book.Load(kept, now)
	k.mu.Unlock()
	g.forgetTickets(over)
}

func (k *tickets) sweep(g *Guard, now time.Time) {
	k.mu.Lock()
	over := k.book.Sweep(now)
	k.mu.Unlock()
	g.forgetTickets(over)
}

// has reports whether a person has a ticket that is open, or ended lately.
func (k *tickets) has(person string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.book.Has(func(t *Ticket) bool { return t.Person == person && t.Step == proof.StepProve })
}

// forgetTickets drops the rows of tickets that ended.
func (g *Guard) forgetTickets(ids []string) {
	for _, id := range ids {
		g.scribe.drop("ticket "+id, id)
	}
}

// endTickets ends the tickets that fit, and returns how many.
func (g *Guard) endTickets(fits func(*Ticket) bool) int {
	g.tickets.mu.Lock()
	ids := g.tickets.book.End(fits, g.now())
	g.tickets.mu.Unlock()
	g.forgetTickets(ids)
	return len(ids)
}

// askProof opens a ticket and returns it with its code, once it is on disk. Errors are
// for refusal.
func (g *Guard) askProof(ctx context.Context, t Ticket) (Ticket, string, error) {
	return g.openProof(ctx, t, g.tickets.book.Ask)
}

// nextProof opens the second step of a ticket that was taken.
func (g *Guard) nextProof(ctx context.Context, t Ticket) (Ticket, string, error) {
	return g.openProof(ctx, t, g.tickets.book.Next)
}

func (g *Guard) openProof(ctx context.Context, t Ticket, open func(Ticket, time.Time) (Ticket, string, error)) (Ticket, string, error) {
	g.tickets.mu.Lock()
	t, code, err := open(t, g.now())
	g.tickets.mu.Unlock()
	if err != nil {
		return Ticket{}, "", err
	}
	if err := g.scribe.keepNow(ctx, "ticket "+t.ID, func(ctx context.Context, s Store) error { return s.PutTicket(ctx, t) }); err != nil {
		g.endTickets(func(o *Ticket) bool { return o.ID == t.ID && o.Hash == t.Hash })
		return Ticket{}, "", err
	}
	g.tickets.mu.Lock()
	holds := g.tickets.book.Holds(&t)
	g.tickets.mu.Unlock()
	if !holds { // it ended before it was written: it must not be open after a restart
		g.forgetTickets([]string{t.ID})
		return Ticket{}, "", errNotNow("it ended while it was written down. Ask again")
	}
	return t, code, nil
}

// findProof returns the open ticket of a code, among those that fit. It stays open.
// by is who answers, for the bounds. Errors are for refusal.
func (g *Guard) findProof(by, code string, fits func(*Ticket) bool) (Ticket, error) {
	g.tickets.mu.Lock()
	defer g.tickets.mu.Unlock()
	return g.tickets.book.Find(by, code, fits, g.now())
}

// wrongProof counts an answer that is wrong, whatever its code.
func (g *Guard) wrongProof(by string) {
	g.tickets.mu.Lock()
	defer g.tickets.mu.Unlock()
	g.tickets.book.Wrong(by, g.now())
}

func (g *Guard) tired(by string) bool {
	g.tickets.mu.Lock()
	defer g.tickets.mu.Unlock()
	return g.tickets.book.Tired(by, g.now())
}

// takeProof ends a ticket, for the one who may use it: nil once that is on disk, so that
// no crash lets it be used again. Errors are for refusal.
func (g *Guard) takeProof(ctx context.Context, t *Ticket) error {
	g.tickets.mu.Lock()
	mine := g.tickets.book.Take(t, g.now())
	g.tickets.mu.Unlock()
	if !mine {
		return proof.ErrUsed
	}
	id := t.ID
	return g.scribe.keepNow(ctx, "ticket "+id, func(ctx context.Context, s Store) error { return s.Drop(ctx, id) })
}

// refusal tells people why a proof does not count.
func refusal(err error) string {
	for _, x := range []struct {
		err  error
		text string
	}{
		{proof.ErrUnknown, "that is no code that I gave you"},
		{proof.ErrLate, "its time is over. Ask again"},
		{proof.ErrUsed, "it was used already, and is good once. Ask again"},
		{proof.ErrMany, "you have asked for too much at once. Answer what is open, or wait ten minutes"},
		{proof.ErrOften, "too many tries. Wait ten minutes"},
		{ErrNotKept, "I cannot write it down now, and so it must not count. Tell an admin, and ask again later"},
	} {
		if errors.Is(err, x.err) {
			return "Not done: " + x.text + "."
		}
	}
	return "Not done: " + err.Error() + "."
}

// Claims implements bridge.Proofs. A clear-signed text is an answer only from who was
// asked for one lately; others may want to show one to everybody.
func (g *Guard) Claims(person, text string) bool {
	if proof.IsSigned(text) {
		return g.tickets.has(person)
	}
	if len(text) < len("invite ") || len(text) > 512 || !strings.EqualFold(text[:len("invite ")], "invite ") {
		return false
	}
	words := strings.Fields(text)
	switch {
	case len(words) == 2 && proof.IsCode(words[1]):
		return true
	case len(words) != 2 && len(words) != 3:
		return false
	}
	t := g.table.Load()
	leg, channel, _ := strings.Cut(words[1], "/")
	return t.place(words[1]) != nil || t.legs[leg] != nil && len(words) == 3 && strings.ContainsAny(channel[:min(1, len(channel))], "#&+!")
}

// Prove implements bridge.Proofs.
func (g *Guard) Prove(ctx context.Context, c *bridge.Claim) string {
	if proof.IsSigned(c.Text) {
		return g.proveSigned(ctx, c)
	}
	words := strings.Fields(c.Text)
	if len(words) == 0 {
		return ""
	}
	kind := strings.ToLower(strings.TrimPrefix(words[0], "!"))
	if len(words) == 2 && proof.IsCode(words[1]) {
		return g.proveHere(ctx, c, kind, words[1])
	}
	return g.askInvite(ctx, c, words[1:])
}

// askedOf reports whether a ticket was asked of the person of a claim, in that chat.
func askedOf(t *Ticket, c *bridge.Claim) bool {
	return t.Step == proof.StepProve && t.Person == c.Person && t.JID == c.JID && t.Leg == c.Leg
}

func byPerson(c *bridge.Claim) string { return "person " + c.Person }

// proveHere takes a code that came in a message which proves by itself who wrote it.
func (g *Guard) proveHere(ctx context.Context, c *bridge.Claim, kind, code string) string {
	switch {
	case c.Stale:
		return "Not done: your message was long on its way, or your clock is slow. Write it again."
	case c.Rung < policy.Verified:
		return "Not done: your message came " + c.Rung.String() + ", and this takes verified. " + g.howToProve(c.Person)
	}
	t, err := g.findProof(byPerson(c), code, func(t *Ticket) bool { return t.Kind == kind && askedOf(t, c) })
	if err != nil {
		return refusal(err)
	}
	t.Proof = c.Key
	return g.provenInvite(ctx, &t)
}

// proveSigned takes an answer that is clear-signed. What stands around the signed text
// counts for nothing.
func (g *Guard) proveSigned(ctx context.Context, c *bridge.Claim) string {
	by := byPerson(c)
	if g.tired(by) {
		return refusal(proof.ErrOften)
	}
	s, err := g.verify(c)
	if err != nil {
		g.wrongProof(by)
		return "Not done: your signed text does not count: " + err.Error() + "."
	}
	if s.Rung < policy.Verified {
		return "Not done: it is signed by " + s.Fingerprint + ", which is not verified as yours. Ask an admin to accept that key."
	}
	code := proof.CodeIn(s.Text)
	if code == "" {
		return "Not done: the signed text holds no nonce. Sign the whole sentence that I sent you, and nothing else."
	}
	t, err := g.findProof(by, code, func(t *Ticket) bool { return askedOf(t, c) })
	if err != nil {
		return refusal(err)
	}
	switch {
	case !proof.Says(&t, code, s.Text):
		g.wrongProof(by)
		return "Not done: what you signed is not the sentence that I sent you, whole and nothing else."
	case s.At.Before(t.Made.Truncate(time.Second)) || s.At.After(t.Until):
		g.wrongProof(by)
		return "Not done: it is signed at " + s.At.UTC().Format(time.DateTime) + " UTC, which is not within the time of its nonce. Is your clock right?"
	}
	t.Proof = s.Fingerprint
	return g.provenInvite(ctx, &t)
}

// howToProve tells a person how to.
func (g *Guard) howToProve(person string) string {
	if p := g.table.Load().people[person]; p != nil && len(p.OpenPGP) > 0 {
		return "Write from a session by a verified key, or send the sentence signed by your key (gpg --clearsign)."
	}
	return "Write from a session by a verified key."
}
