package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/internal/config"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
	"drawbridge/xmpp/otr"
	"drawbridge/xmpp/ox"
	"drawbridge/xmpp/trust"
)

// keyPoll is how often the key folders are looked at.
const keyPoll = 10 * time.Second

// keys are the keyring of people and the scheme, with the bot's own key, of each
// account. The map is never changed; another keys takes its place.
type keys struct {
	ring     *openpgp.Keyring
	accounts map[string]*openpgp.Scheme
	ox       map[string]*ox.Scheme  // of the same accounts
	otr      map[string]*otr.Scheme // of the accounts that speak it
	// formats is how people's OTR clients write, as configured; one for all reloads.
	formats *atomic.Pointer[map[string]otr.Format]
	// nextFormats and starts are what commit changes them to, and when the schemes that
	// stay ask for a session.
	nextFormats map[string]otr.Format
	starts      map[string]otr.Start
	// replay is one for all accounts: what was said to one of them must not pass as
	// said to another, which may have the same key.
	replay e2ee.Replay
	book   *trust.Book                // nil: the keys of the config alone count
	next   map[string]*openpgp.Secret // of accounts that are in both, until become
	paths  []string
}

// openKeys reads the keys that c names. With prev, what did not change is not
// opened again, the schemes of accounts that stay are those of prev, and prev
// does not change before commit. The error is a config.Errors.
func openKeys(c *config.Config, prev *keys, old *config.Config, log *slog.Logger) (*keys, error) {
	return openKeysWith(c, prev, old, e2ee.NewReplayCache(0, 0), nil, log)
}

// openKeysWith is openKeys with a memory of replays and what is known of keys, which
// prev's go before.
func openKeysWith(c *config.Config, prev *keys, old *config.Config, replay e2ee.Replay, book *trust.Book, log *slog.Logger) (*keys, error) {
	var errs config.Errors
	ring, err := openpgp.NewKeyring(c.Keyring.Paths)
	for _, e := range split(err) {
		errs = append(errs, keyError(c, "keyring.paths", e))
	}
	k := &keys{ring: ring, accounts: map[string]*openpgp.Scheme{}, ox: map[string]*ox.Scheme{}, next: map[string]*openpgp.Secret{}, paths: c.Keyring.Paths, replay: replay, book: book}
	if prev != nil {
		k.ring, k.replay, k.book = prev.ring, prev.replay, prev.book
	}
	var jobs []*opening
	var wg sync.WaitGroup
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if a.OpenPGP == nil {
			continue
		}
		var have *openpgp.Scheme
		if prev != nil {
			have = prev.accounts[a.Name]
		}
		if o := oldAccount(old, a.Name); have != nil && o != nil && reflect.DeepEqual(o.OpenPGP, a.OpenPGP) {
			k.accounts[a.Name] = have
			continue
		}
		o := &opening{account: a, scheme: have}
		jobs = append(jobs, o)
		wg.Go(o.open) // a passphrase takes a core 0.1 s or more
	}
	wg.Wait()
	for _, o := range jobs {
		switch {
		case o.err != nil:
			errs = append(errs, keyError(c, "accounts."+o.account.Name+".openpgp.key", o.err))
		case o.scheme == nil:
			k.accounts[o.account.Name] = newOpenPGP(o.account, o.secret, k, log)
		default:
			k.accounts[o.account.Name] = o.scheme
			k.next[o.account.Name] = o.secret
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	for name, pgp := range k.accounts {
		if prev != nil && prev.accounts[name] == pgp {
			k.ox[name] = prev.ox[name]
			continue
		}
		k.ox[name] = newOX(name, pgp, k.ring, k.replay, log)
	}
	return k, nil
}

func oldAccount(c *config.Config, name string) *config.Account {
	if c == nil {
		return nil
	}
	return c.Account(name)
}

// opening is the bot's own key of an account being unlocked.
type opening struct {
	account *config.Account
	scheme  *openpgp.Scheme // the account's so far, or nil
	secret  *openpgp.Secret
	err     error
}

func (o *opening) open() {
	key := &o.account.OpenPGP.Key
	o.secret, o.err = openpgp.ParseSecret([]byte(key.Expose()), []byte(o.account.OpenPGP.Passphrase.Expose()), time.Now())
	var ke *openpgp.KeyError
	if errors.As(o.err, &ke) && ke.File == "" {
		ke.File = key.File
	}
}

// commit swaps the new keys in, and returns the accounts whose own key changed.
func (k *keys) commit() (changed []string, err error) {
	for name, s := range k.next {
		if k.accounts[name].Secret().Fingerprint() != s.Fingerprint() {
			changed = append(changed, "the bot's own key of account "+name+" is now "+s.Fingerprint())
		}
		k.accounts[name].SetSecret(s)
	}
	k.next = nil
	k.commitOTR()
	slices.Sort(changed)
	return changed, k.ring.Load(k.paths)
}

// check returns what is wrong with the pinned keys of the people of bridges:
// not in the keyring, expired, revoked, weak, the bot's own. What is to come by itself
// is apart: keys that OX fetches from their owners' accounts.
func (k *keys) check(c *config.Config) (out, awaited config.Errors) {
	for _, p := range bridgedPeople(c) {
		for _, err := range k.ring.Check([]*policy.Person{k.withKeys(c, p)}, time.Now()) {
			if e := keyError(c, personKey(p, err), err); errors.Is(err, e2ee.ErrNoKey) && speaksOX(c, p.Name) {
				e.What += " yet: OX takes it from its owner's account"
				awaited = append(awaited, e)
			} else {
				out = append(out, e)
			}
		}
		for i, fpr := range p.OpenPGP {
			if name := k.accountOf(fpr); name != "" {
				out = append(out, c.Errorf(fmt.Sprintf("people.%s.openpgp[%d]", p.Name, i), "list the person's own key",
					"%s is the bot's own key, of account %s: it is not used for anybody", fpr, name))
			}
		}
	}
	return out, awaited
}

// speaksOX reports whether a bridge lists OX for a person.
func speaksOX(c *config.Config, person string) bool {
	return slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool {
		return b.XMPP != nil && slices.Contains(b.XMPP.People, person) && slices.Contains(b.Schemes, ox.Name)
	})
}

// accountOf returns the account whose own OpenPGP key this is, or "".
func (k *keys) accountOf(fpr string) string {
	for name, s := range k.accounts {
		if s.Secret().Fingerprint() == fpr {
			return name
		}
	}
	return ""
}

// withKeys is p as if all their OpenPGP keys that count were listed: the listed, the
// certified, the accepted, and those kept on an account that trusts on first use.
func (k *keys) withKeys(c *config.Config, p *policy.Person) *policy.Person {
	if k.book == nil {
		return p
	}
	out := *p
	out.OpenPGP = slices.Clone(p.OpenPGP)
	for _, b := range c.Bridges {
		if b.XMPP == nil || !slices.Contains(b.XMPP.People, p.Name) {
			continue
		}
		for _, key := range k.book.Keys(e2ee.Peer{Account: b.XMPP.Account, Person: p}, e2ee.KeyOpenPGP) {
			if !slices.Contains(out.OpenPGP, key.Fingerprint) {
				out.OpenPGP = append(out.OpenPGP, key.Fingerprint)
			}
		}
	}
	return &out
}

// bridgedPeople are the persons who are in a bridge, in the order of the file.
func bridgedPeople(c *config.Config) []*policy.Person {
	var out []*policy.Person
	for i := range c.People {
		name := c.People[i].Name
		if slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool { return b.XMPP != nil && slices.Contains(b.XMPP.People, name) }) {
			out = append(out, c.People[i].Policy())
		}
	}
	return out
}

// personKey is the key path of the fingerprint that err is about.
func personKey(p *policy.Person, err error) string {
	var ke *openpgp.KeyError
	if errors.As(err, &ke) {
		if i := slices.Index(p.OpenPGP, ke.Fingerprint); i >= 0 {
			return fmt.Sprintf("people.%s.openpgp[%d]", p.Name, i)
		}
	}
	return "people." + p.Name + ".openpgp"
}

// keyError gives err its place in the file and says what to do.
func keyError(c *config.Config, path string, err error) config.Error {
	what, fix, _ := strings.Cut(strings.TrimPrefix(err.Error(), "openpgp: "), "; hint: ")
	if errors.Is(err, e2ee.ErrNoKey) {
		what = strings.Replace(what, strings.TrimPrefix(e2ee.ErrNoKey.Error(), "e2ee: "), "not in the keyring", 1)
	}
	return c.Errorf(path, fix, "%s", what)
}

// split takes a joined error apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// report lists the bots' own keys, and those of bridged people that count.
func (k *keys) report(c *config.Config) []keyReport {
	now := time.Now()
	var out []keyReport
	for i := range c.Accounts {
		s := k.accounts[c.Accounts[i].Name]
		if s == nil {
			continue
		}
		r := keyReport{Account: c.Accounts[i].Name, Fingerprint: s.Secret().Fingerprint()}
		r.Expires, r.Use = soonest(s.Secret().Expiries(now), r.Fingerprint)
		out = append(out, r)
	}
	for _, p := range bridgedPeople(c) {
		p = k.withKeys(c, p)
		one := []*policy.Person{p}
		problems := k.ring.Check(one, now)
		expiries := k.ring.Expiries(one, now)
		for _, fpr := range p.OpenPGP {
			r := keyReport{Person: p.Name, Fingerprint: fpr}
			r.Expires, r.Use = soonest(expiries, fpr)
			for _, err := range problems {
				var ke *openpgp.KeyError
				if errors.As(err, &ke) && ke.Fingerprint == fpr {
					r.Problem = keyError(c, "", err).What
				}
			}
			out = append(out, r)
		}
	}
	return out
}

func soonest(list []openpgp.Expiry, fpr string) (at time.Time, use string) {
	for _, e := range list {
		if e.Fingerprint == fpr && (at.IsZero() || e.At.Before(at)) {
			at, use = e.At, e.Use
		}
	}
	return at, use
}

// watchKeys reads the keys anew when their files change, and warns of those that
// expire, until ctx ends.
func (b *bot) watchKeys(ctx context.Context) {
	tick := time.NewTicker(keyPoll)
	defer tick.Stop()
	warned := b.loadWarned(ctx, time.Now())
	b.warnExpiry(ctx, warned)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.pollKeys()
		b.recheckGuard()
		b.warnExpiry(ctx, warned)
	}
}

// pollKeys loads the keyring again if a file of it changed. A bad file is told
// once, and the keys read before stay.
func (b *bot) pollKeys() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.keys.ring.Changed() {
		return
	}
	if err := b.keys.ring.Reload(); err != nil {
		b.log.Error("keys not read, the old ones stay", "err", err)
		return
	}
	b.keys.tellDamaged(b.log)
	b.log.Info("keys read anew", "n", b.keys.ring.Len())
	b.keysChanged()
}

// keysChanged tells the legs. b.mu is held.
func (b *bot) keysChanged() {
	for _, l := range b.legs {
		if l.keysChanged != nil {
			l.keysChanged()
		}
	}
}

// keysEnd returns when the first of the bot's own keys and the first of the
// people's keys expires, zero for never.
func (b *bot) keysEnd() (own, people time.Time) {
	for _, k := range b.keyReports() {
		first := &people
		if k.Account != "" {
			first = &own
		}
		if !k.Expires.IsZero() && (first.IsZero() || k.Expires.Before(*first)) {
			*first = k.Expires
		}
	}
	return own, people
}

func (b *bot) keyReports() []keyReport {
	b.mu.Lock()
	cfg, k := b.cfg, b.keys
	b.mu.Unlock()
	return k.report(cfg)
}
