package openpgp

import (
	"errors"
	"testing"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// books is a Trust that a test fills in.
type books struct {
	e2ee.Pins
	keys  []e2ee.Key
	meets map[string]policy.Rung // what a key that comes is worth; ErrKeyChanged without an entry
	met   []string
	hints []string
}

func (b *books) Keys(e2ee.Peer, e2ee.KeyKind) []e2ee.Key      { return b.keys }
func (b *books) Pinned(*policy.Person, e2ee.KeyKind) bool     { return len(b.keys) > 0 }
func (b *books) Hint(_ e2ee.Peer, _ e2ee.KeyKind, fpr string) { b.hints = append(b.hints, fpr) }
func (b *books) Meet(p e2ee.Peer, k e2ee.KeyKind, fpr string) (policy.Rung, error) {
	b.met = append(b.met, fpr)
	return b.Rung(p, k, fpr)
}

func (b *books) Rung(_ e2ee.Peer, _ e2ee.KeyKind, fpr string) (policy.Rung, error) {
	for _, k := range b.keys {
		if k.Fingerprint == fpr {
			return k.Rung, nil
		}
	}
	if rung, ok := b.meets[fpr]; ok {
		return rung, nil
	}
	return policy.Clear, e2ee.ErrKeyChanged
}

// TestTrustDecides: the keys that count are those that Trust names, not those of
// the config, in both directions and from one message to the next.
func TestTrustDecides(t *testing.T) {
	bot, alice, phone, eve := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "phone"), ourKey(t, "eve")
	keys, _ := ring(t, alice.Public, phone.Public, eve.Public)
	b := &books{meets: map[string]policy.Rung{}}
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{Trust: b})
	botKeys, _ := ring(t, bot.Public)
	p, toBot := person("alice", false), person("bot", false, bot.Fingerprint)
	from := func(k ours) (e2ee.Opened, error) {
		s.replay = e2ee.NewReplayCache(0, 0)
		return open(s, p, sealed(t, New(Config{Secret: k.secret, Keyring: botKeys}, Deps{}), toBot, "hello"), "1")
	}
	if _, err := s.Reach(p); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("nothing counts, yet %v", err)
	}
	key := func(k ours, rung policy.Rung) e2ee.Key { return e2ee.Key{Fingerprint: k.Fingerprint, Rung: rung} }
	b.keys = []e2ee.Key{key(alice, policy.Verified), key(phone, policy.Verified), key(eve, policy.Signed)}
	if rung, err := s.Reach(p); rung != policy.Verified || err != nil {
		t.Errorf("Reach = %v, %v", rung, err)
	}
	msg := sealed(t, s, p, "x")
	for _, tt := range []struct {
		name string
		key  ours
		can  bool
	}{{"her laptop", alice, true}, {"her phone", phone, true}, {"a key less is known of", eve, false}} {
		if _, err := decryptedBy(t, tt.key.secret, msg); (err == nil) != tt.can {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if got, err := from(phone); err != nil || got.Rung != policy.Verified || got.Fingerprint != phone.Fingerprint {
		t.Errorf("signed by her phone: %v, %v", got.Rung, err)
	}
	if got, err := from(eve); err != nil || got.Rung != policy.Signed {
		t.Errorf("signed by a kept key: %v, %v", got.Rung, err)
	}

	b.keys = []e2ee.Key{key(alice, policy.Verified)} // the others are revoked
	if _, err := decryptedBy(t, phone.secret, sealed(t, s, p, "x")); err == nil {
		t.Error("sealed to a key that counts no more")
	}
	if _, err := from(phone); !errors.Is(err, e2ee.ErrKeyChanged) || len(b.met) != 1 || b.met[0] != phone.Fingerprint {
		t.Errorf("signed by a key that counts no more: %v; met %v", err, b.met)
	}
	b.meets[eve.Fingerprint] = policy.Signed // kept just now
	if got, err := from(eve); err != nil || got.Rung != policy.Signed {
		t.Errorf("signed by a first key: %v, %v", got.Rung, err)
	}
}

// TestPresenceByAnotherKey: it is told, and changes nothing.
func TestPresenceByAnotherKey(t *testing.T) {
	bot, alice, phone, lost := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "phone"), ourKey(t, "lost")
	keys, _ := ring(t, alice.Public, phone.Public)
	b := &books{keys: []e2ee.Key{{Fingerprint: alice.Fingerprint, Rung: policy.Verified}}}
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{Trust: b})
	p := person("alice", false)
	verify := func(by ours, status string) error {
		x, err := New(Config{Secret: by.secret, Keyring: keys}, Deps{}).SignPresence("here")
		if err != nil {
			t.Fatal(err)
		}
		return s.VerifyPresence(p, status, x)
	}
	if err := verify(alice, "here"); err != nil {
		t.Errorf("by the key that counts: %v", err)
	}
	if err := verify(phone, "here"); !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("by another key: %v", err)
	}
	if err := verify(phone, "gone"); !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("by another key, over something else: %v", err) // and not told
	}
	if err := verify(lost, "here"); !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("by a key nobody has: %v", err)
	}
	if len(b.hints) != 2 || b.hints[0] != phone.Fingerprint || b.hints[1] != lost.Fingerprint || len(b.met) != 0 {
		t.Errorf("hints %v, met %v", b.hints, b.met)
	}
}

// TestSignedByARevokedKey: where nothing else is known of a person a signature proves
// nothing, and does no harm; by a key that an admin revoked it is refused.
func TestSignedByARevokedKey(t *testing.T) {
	bot, alice := ourKey(t, "bot"), ourKey(t, "alice")
	keys, _ := ring(t, alice.Public)
	botKeys, _ := ring(t, bot.Public)
	b := &revoking{}
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{Trust: b})
	p, toBot := person("alice", false), person("bot", false, bot.Fingerprint)
	msg := sealed(t, New(Config{Secret: alice.secret, Keyring: botKeys}, Deps{}), toBot, "hello")
	if got, err := open(s, p, msg, "1"); err != nil || got.Rung != policy.Sealed {
		t.Errorf("by a key of which nothing is known: %v, %v", got.Rung, err)
	}
	b.revoked = alice.Fingerprint
	s.replay = e2ee.NewReplayCache(0, 0)
	if got, err := open(s, p, msg, "2"); !errors.Is(err, e2ee.ErrKeyRevoked) {
		t.Errorf("by a revoked key: %v, %v", got.Rung, err)
	}
}

// revoking is a Trust that knows of one key, which was accepted once, that it is revoked.
type revoking struct {
	e2ee.Pins
	revoked string
}

func (r *revoking) Rung(_ e2ee.Peer, _ e2ee.KeyKind, fpr string) (policy.Rung, error) {
	if fpr == r.revoked {
		return policy.Clear, e2ee.ErrKeyRevoked
	}
	return policy.Clear, e2ee.ErrNoKey
}

func (r *revoking) Meet(p e2ee.Peer, k e2ee.KeyKind, fpr string) (policy.Rung, error) {
	return r.Rung(p, k, fpr)
}

// TestSignedByAListedKeyNobodyBrought: it is not another key than expected, but one
// that is missing.
func TestSignedByAListedKeyNobodyBrought(t *testing.T) {
	bot, alice := ourKey(t, "bot"), ourKey(t, "alice")
	keys, _ := ring(t, bot.Public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	msg := sealed(t, New(Config{Secret: alice.secret, Keyring: keys}, Deps{}), person("bot", false, bot.Fingerprint), "hello")
	if _, err := open(s, person("alice", false, alice.Fingerprint), msg, "1"); !errors.Is(err, e2ee.ErrNoKey) || errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("%v", err)
	}
}
