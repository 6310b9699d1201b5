package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
	"drawbridge/xmpp/trust"
)

// companyKey is keyring.authority, as the configuration in use has it, and beside it
// the bot's own keys. It is made before keys are read, and set once they are.
type companyKey struct {
	key atomic.Pointer[openpgp.Authority]
	own atomic.Pointer[map[ownedBy]bool]
}

// ownedBy names a key of the bot's.
type ownedBy struct {
	kind e2ee.KeyKind
	fpr  string
}

func (k *companyKey) set(from *keys, c *config.Config) {
	own := map[ownedBy]bool{}
	note := func(i e2ee.Identity) {
		kind, fpr := i.OwnKey()
		own[ownedBy{kind, fpr}] = true
	}
	for _, s := range from.accounts {
		note(s)
	}
	for _, s := range from.otr {
		note(s)
	}
	k.own.Store(&own)
	k.key.Store(from.ring.Authority(c.Keyring.Authority))
}

// isOwn reports whether a key is one of the bot's.
func (k *companyKey) isOwn(kind e2ee.KeyKind, fpr string) bool {
	own := k.own.Load()
	return own != nil && (*own)[ownedBy{kind, fpr}]
}

// Certified implements trust.Certifier.
func (k *companyKey) Certified(p *policy.Person, now time.Time) []string {
	return k.key.Load().Certified(p, now)
}

// problem says why the company's key certifies nobody; nil if it does, or there is none.
func (k *companyKey) problem(c *config.Config, now time.Time) error {
	if k == nil || c.Keyring.Authority == "" {
		return nil
	}
	if a := k.key.Load(); a != nil {
		return a.Problem(now)
	}
	return nil
}

// hooks are what a book tells a bot, which is made after it.
type hooks struct {
	bot *bot // set before the book runs
}

// openBook opens what is known of people's keys. st may be nil.
func openBook(c *config.Config, st *store.Store, company *companyKey, h *hooks, log *slog.Logger) (*trust.Book, error) {
	deps := trust.Deps{Certifier: company, Own: company.isOwn, Log: log, Tell: h.tell, Changed: h.changed}
	if st != nil {
		deps.Keeper = st
	}
	return trust.New(context.Background(), trustConfig(c), deps)
}

// tell tells the admins and the person.
func (h *hooks) tell(n trust.Notice) {
	b := h.bot
	b.mu.Lock()
	c := b.cfg
	b.mu.Unlock()
	if text := n.ForAdmins(); text != "" {
		b.core.TellAdmins(text)
	}
	text := n.ForPerson()
	if text == "" || slices.Contains(c.Admin.People, n.Key.Person) { // who has heard more already
		return
	}
	for _, br := range c.Bridges {
		if br.XMPP != nil && br.Require.Encrypted() && slices.Contains(br.XMPP.People, n.Key.Person) && (n.Account == "" || n.Account == br.XMPP.Account) {
			b.core.TellPerson(br.XMPP.Account, n.Key.Person, text)
			return
		}
	}
}

// changed tells the legs.
func (h *hooks) changed(person string) {
	b := h.bot
	b.mu.Lock()
	legs := b.legs
	b.mu.Unlock()
	for _, l := range legs {
		if l.trustChanged != nil {
			l.trustChanged(person)
		}
	}
}

// desk answers what people ask and order by !trust.
type desk struct{ book *trust.Book }

var _ bridge.Trust = desk{}

// Keys implements bridge.Trust.
func (d desk) Keys(person string) []string {
	var out []string
	now := time.Now()
	for _, k := range d.book.List(person) {
		out = append(out, fmt.Sprintf("%s …%s %s %s", trust.KindName(k.Kind), tail(k.Fingerprint), standing(k), age(now, k)))
	}
	return out
}

// tail is the part of a fingerprint that people look at first.
func tail(fpr string) string {
	if len(fpr) <= 8 {
		return fpr
	}
	return fpr[len(fpr)-8:]
}

// standing says in few words how a key stands, and by whom.
func standing(k e2ee.Key) string {
	who := ""
	if k.Who != "" {
		who = " " + k.Who
	}
	switch k.State {
	case e2ee.KeyTrusted:
		return "verified (" + string(k.How) + who + ")"
	case e2ee.KeyKept:
		return "seen first and kept"
	case e2ee.KeyRevoked:
		return "revoked (" + string(k.How) + who + ")"
	default:
		return "not accepted"
	}
}

func age(now time.Time, k e2ee.Key) string {
	since := k.Since
	if since.IsZero() {
		since = k.First
	}
	if since.IsZero() {
		return "since ever"
	}
	return "for " + span(now.Sub(since))
}

// Order implements bridge.Trust.
func (d desk) Order(ctx context.Context, o bridge.Order) string {
	dec := trust.Decision{Person: o.Person, How: e2ee.HowSession, Who: o.JID}
	args := o.Args
	if o.Verb != "add" {
		dec.How, dec.Who = e2ee.HowAdmin, o.Person
	}
	switch {
	case o.Verb == "list":
		return d.list(args)
	case o.Verb == "add":
	case len(args) == 0:
		return "Whose key? !trust " + o.Verb + " PERSON FINGERPRINT"
	default:
		dec.Person, args = args[0], args[1:]
	}
	if len(args) > 1 { // the kind, where it is not known
		if kind := e2ee.KeyKind(strings.ToLower(args[0])); slices.Contains(e2ee.KeyKinds(), kind) {
			dec.Kind, args = kind, args[1:]
		}
	}
	dec.Fingerprint = strings.Join(args, "")
	do := d.book.Accept
	if o.Verb == "revoke" {
		do = d.book.Revoke
	}
	k, err := do(ctx, dec)
	if err != nil {
		return "Not done: " + trustProblem(err)
	}
	return fmt.Sprintf("Done: %s key %s of %s is %s.", trust.KindName(k.Kind), trust.Spaced(k.Fingerprint), k.Person, decided(k))
}

func decided(k e2ee.Key) string {
	if k.State == e2ee.KeyRevoked {
		return "revoked"
	}
	return "accepted"
}

// trustProblem says for people why a decision was refused.
func trustProblem(err error) string {
	if errors.Is(err, trust.ErrUnseen) {
		return "this key was never seen: put openpgp or otr before the fingerprint."
	}
	return strings.TrimPrefix(err.Error(), "trust: ") + "."
}

func (d desk) list(persons []string) string {
	keys := d.book.List(persons...)
	if len(keys) == 0 {
		return "No keys."
	}
	var parts []string
	now := time.Now()
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s: %s %s %s %s", k.Person, trust.KindName(k.Kind), trust.Spaced(k.Fingerprint), standing(k), age(now, k)))
	}
	return strings.Join(parts, "\n")
}
