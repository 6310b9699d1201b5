package trust

import (
	"context"
	"errors"
	"fmt"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Why a decision is refused.
var (
	ErrNoPerson    = errors.New("trust: no such person")
	ErrFingerprint = errors.New("trust: a fingerprint has 40 hex digits")
	ErrUnseen      = errors.New("trust: this key was never seen; say which kind it is: openpgp or otr")
	ErrRevoked     = errors.New("trust: an admin revoked this key; only an admin can take that back")
	ErrOther       = errors.New("trust: this is the key of somebody else")
	ErrOwn         = errors.New("trust: this is the bot's own key")
	ErrSame        = errors.New("trust: it stands so already")
)

// Decision is what somebody decides about a key.
type Decision struct {
	Person      string
	Kind        e2ee.KeyKind // "": the kind under which it is known
	Fingerprint string       // as people write it
	How         e2ee.How     // HowAdmin, HowSession or HowSMP
	Who         string       // an admin's name, the JID of a session
}

// Accept makes a key verified. It is kept when Accept returns nil, and counts from
// then on. An admin may accept what an admin revoked; nobody else may. Errors:
// ErrNoPerson, ErrFingerprint, ErrUnseen, ErrRevoked, ErrOther, ErrOwn, ErrSame, or
// those of the keeper.
func (b *Book) Accept(ctx context.Context, d Decision) (e2ee.Key, error) {
	return b.decide(ctx, d, e2ee.KeyTrusted)
}

// Revoke ends the use of a key, in both directions and at once, whatever else
// speaks for it: it counts no more even if keeping that fails, which is an error.
func (b *Book) Revoke(ctx context.Context, d Decision) (e2ee.Key, error) {
	return b.decide(ctx, d, e2ee.KeyRevoked)
}

func (b *Book) decide(ctx context.Context, d Decision, to e2ee.KeyState) (e2ee.Key, error) {
	fpr, ok := e2ee.ParseFingerprint(d.Fingerprint)
	if !ok {
		return e2ee.Key{}, ErrFingerprint
	}
	b.deciding.Lock()
	defer b.deciding.Unlock()
	k, err := b.decided(d, fpr, to)
	if err != nil {
		return e2ee.Key{}, err
	}
	if to == e2ee.KeyRevoked {
		b.enter(k)
	}
	if err := b.keep(ctx, k); err != nil {
		return e2ee.Key{}, fmt.Errorf("trust: %s of %s: %w", to, d.Person, err)
	}
	if to != e2ee.KeyRevoked {
		b.enter(k)
	}
	b.log.Info("key "+to.String(), "from", d.Who, "to", k.Person, "scheme", string(k.Kind), "fpr", fpr, "rule", string(k.How))
	if d.How != e2ee.HowSMP { // whose end is told
		b.mu.Lock()
		defer b.mu.Unlock()
		b.push(Notice{What: whatOf(to), Key: k, Who: k.Who})
	}
	return k, nil
}

// decided returns the record that a decision makes of a key, if it may.
func (b *Book) decided(d Decision, fpr string, to e2ee.KeyState) (e2ee.Key, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	person := b.people[d.Person]
	if person == nil {
		return e2ee.Key{}, fmt.Errorf("%w: %s", ErrNoPerson, d.Person)
	}
	kind := d.Kind
	if kind == "" {
		if kind = b.kindOf(person, fpr); kind == "" {
			return e2ee.Key{}, ErrUnseen
		}
	}
	if to == e2ee.KeyTrusted {
		if b.own(kind, fpr) {
			return e2ee.Key{}, ErrOwn
		}
		if other := b.owner(kind, fpr); other != "" && other != d.Person {
			return e2ee.Key{}, fmt.Errorf("%w: %s", ErrOther, other)
		}
	}
	now := b.now()
	k := e2ee.Key{Person: d.Person, Kind: kind, Fingerprint: fpr, First: now}
	if rec := b.find(d.Person, kind, fpr); rec != nil {
		k = *rec
	}
	switch {
	case k.State == e2ee.KeyRevoked && to == e2ee.KeyTrusted && d.How != e2ee.HowAdmin:
		return e2ee.Key{}, ErrRevoked
	case k.State == to && (to == e2ee.KeyRevoked || d.How != e2ee.HowAdmin || k.How == e2ee.HowAdmin):
		return e2ee.Key{}, ErrSame
	}
	k.State, k.How, k.Who, k.Since, k.Rung = to, d.How, d.Who, now, policy.Clear
	return k, nil
}

// enter puts a decided record in its place.
func (b *Book) enter(k e2ee.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rec := b.find(k.Person, k.Kind, k.Fingerprint); rec != nil {
		*rec = k
	} else {
		b.keys[k.Person] = append(b.keys[k.Person], &k)
	}
	delete(b.told, idOf(&k))
	b.dirty[idOf(&k)] = true // if a commit under way has an older one
	b.changed[k.Person] = true
	b.poke()
}

// kindOf returns the kind under which a key of the person is known, or "".
func (b *Book) kindOf(person *policy.Person, fpr string) e2ee.KeyKind {
	for _, kind := range e2ee.KeyKinds() {
		for _, k := range b.all(person, kind, "") {
			if k.Fingerprint == fpr && k.State != e2ee.KeyUnknown {
				return kind
			}
		}
	}
	return ""
}

// owner returns who a key counts for already, on some account, or "".
func (b *Book) owner(kind e2ee.KeyKind, fpr string) string {
	for name, p := range b.people {
		for _, k := range b.all(p, kind, b.tofuAccount(name)) {
			if k.Fingerprint == fpr && k.Rung > policy.Clear {
				return name
			}
		}
	}
	return ""
}
