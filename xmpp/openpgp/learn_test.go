package openpgp

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// entity returns the secret key of ours, to make other versions of it.
func (o ours) entity(t testing.TB) *pgp.Entity {
	t.Helper()
	keys, err := parseKeys(o.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func public(t testing.TB, e *pgp.Entity) []byte {
	t.Helper()
	text, err := armorPublic(e)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withoutUserIDs is a key as keys.openpgp.org hands it out.
func withoutUserIDs(t testing.TB, e *pgp.Entity) []byte {
	t.Helper()
	var all, out bytes.Buffer
	if err := e.Serialize(&all); err != nil {
		t.Fatal(err)
	}
	skip := false
	for rest := all.Bytes(); len(rest) > 0; {
		p, after, err := nextPacket(rest)
		if err != nil {
			t.Fatal(err)
		}
		skip = p.tag == tagUserID || skip && p.tag == tagSignature
		if !skip {
			out.Write(p.raw)
		}
		rest = after
	}
	return out.Bytes()
}

// TestLearnRevocation: a key that was revoked stops at once in both directions, by
// whatever the revocation comes, and stays so when everything is read anew.
func TestLearnRevocation(t *testing.T) {
	for name, form := range map[string]func(testing.TB, *pgp.Entity) []byte{"whole": public, "without user ids": withoutUserIDs} {
		t.Run(name, func(t *testing.T) {
			a, b := ourKey(t, "alice"), ourKey(t, "bot")
			keys, dir := ring(t, a.Public)
			learned := filepath.Join(t.TempDir(), "keys")
			if err := keys.KeepLearned(learned); err != nil {
				t.Fatal(err)
			}
			bot := New(Config{Secret: b.secret, Keyring: keys}, Deps{})
			botRing, _ := ring(t, b.Public)
			alice := New(Config{Secret: a.secret, Keyring: botRing}, Deps{})
			p, toBot := person("alice", false, a.Fingerprint), person("bot", false, b.Fingerprint)
			msg := sealed(t, alice, toBot, "before")
			if _, err := open(bot, p, sealed(t, alice, toBot, "valid"), "1"); err != nil {
				t.Fatal(err)
			}

			e := a.entity(t)
			if err := e.Revoke(packet.KeyCompromised, "stolen", nil); err != nil {
				t.Fatal(err)
			}
			changed, err := keys.Learn(form(t, e), a.Fingerprint, time.Now())
			if err != nil || !changed {
				t.Fatalf("Learn = %v, %v", changed, err)
			}
			check := func(when string) {
				t.Helper()
				if _, err := bot.Reach(p); !errors.Is(err, e2ee.ErrKeyRevoked) {
					t.Errorf("%s: Reach: %v", when, err)
				}
				if _, err := open(bot, p, msg, when); !errors.Is(err, e2ee.ErrKeyRevoked) {
					t.Errorf("%s: Open: %v", when, err)
				}
			}
			check("learnt")
			if keys.Changed() {
				t.Error("what was learnt looks like news of the files")
			}
			if changed, err = keys.Learn(form(t, e), a.Fingerprint, time.Now()); changed || err != nil {
				t.Errorf("a second time: %v, %v", changed, err)
			}
			if err := keys.Reload(); err != nil {
				t.Fatal(err)
			}
			check("read anew")
			// Another process.
			again, err := NewKeyring([]string{dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := again.KeepLearned(learned); err != nil {
				t.Fatal(err)
			}
			bot = New(Config{Secret: b.secret, Keyring: again}, Deps{})
			check("another process")
		})
	}
}

// TestLearnedFileDamaged: what was learnt of one key cannot be read any more. It may
// have been a revocation, so that key is not used; all others are, also new ones.
func TestLearnedFileDamaged(t *testing.T) {
	a, b, c := ourKey(t, "a"), ourKey(t, "b"), ourKey(t, "bot")
	keys, dir := ring(t, a.Public)
	learned := filepath.Join(t.TempDir(), "keys")
	if err := keys.KeepLearned(learned); err != nil {
		t.Fatal(err)
	}
	e := a.entity(t)
	if err := e.Revoke(packet.KeyCompromised, "stolen", nil); err != nil {
		t.Fatal(err)
	}
	if changed, err := keys.Learn(public(t, e), a.Fingerprint, time.Now()); !changed || err != nil {
		t.Fatal(changed, err)
	}
	file := filepath.Join(learned, a.Fingerprint+".asc")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, whole[:len(whole)/2])
	write(t, filepath.Join(dir, "b.asc"), b.Public)

	again, err := NewKeyring([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*Keyring{"running": keys, "started": again} {
		if k == again {
			err = k.KeepLearned(learned)
		} else {
			err = k.Reload()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := New(Config{Secret: c.secret, Keyring: k}, Deps{})
		if _, err := s.Reach(person("a", false, a.Fingerprint)); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("%s: the key whose revocation is damaged: %v", name, err)
		}
		if _, err := s.Reach(person("b", false, b.Fingerprint)); err != nil {
			t.Errorf("%s: a key that has nothing to do with it: %v", name, err)
		}
		if d := k.Damaged(); len(d) != 1 || !strings.Contains(d[0].Error(), file) {
			t.Errorf("%s: damaged: %v", name, d)
		}
		if changed, err := k.Learn(a.Public, a.Fingerprint, time.Now()); changed || err == nil {
			t.Errorf("%s: the key without its revocation was taken: %v, %v", name, changed, err)
		}
		if d := k.Damaged(); len(d) != 1 {
			t.Errorf("%s: damaged, after Learn: %v", name, d)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := keys.Reload(); err != nil || len(keys.Damaged()) > 0 || keys.Len() != 2 {
		t.Errorf("without the file: %v, %v, %d keys", err, keys.Damaged(), keys.Len())
	}
}

// TestLearnInMemory: without a folder what was learnt lasts as long as the keyring.
func TestLearnInMemory(t *testing.T) {
	a := ourKey(t, "alice")
	keys, _ := ring(t, a.Public)
	e := a.entity(t)
	if err := e.Revoke(packet.KeyRetired, "", nil); err != nil {
		t.Fatal(err)
	}
	if changed, err := keys.Learn(public(t, e), a.Fingerprint, time.Now()); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	errs := keys.Check([]*policy.Person{person("alice", false, a.Fingerprint).Person}, time.Now())
	if len(errs) != 1 || !errors.Is(errs[0], e2ee.ErrKeyRevoked) {
		t.Errorf("after a reload: %v", errs)
	}
}

// TestLearnRenewal: a new subkey is sealed to from then on.
func TestLearnRenewal(t *testing.T) {
	a := ourKey(t, "alice")
	keys, _ := ring(t, a.Public)
	e := a.entity(t)
	cfg := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().Add(-time.Second) }}
	if err := e.AddEncryptionSubkey(cfg); err != nil {
		t.Fatal(err)
	}
	changed, err := keys.Learn(public(t, e), a.Fingerprint, time.Now())
	if !changed || err != nil {
		t.Fatal(changed, err)
	}
	r, _, err := keys.snap.Load().recipient(a.Fingerprint, false, time.Now())
	if err != nil || !bytes.Equal(r.key.Fingerprint, e.Subkeys[1].PublicKey.Fingerprint) {
		t.Errorf("sealed to another subkey: %v", err)
	}
}

// TestLearnByFingerprint: of a key that was pinned without its file.
func TestLearnByFingerprint(t *testing.T) {
	a := ourKey(t, "alice")
	keys, _ := ring(t, ourKey(t, "bot").Public)
	changed, err := keys.Learn(a.Public, a.Fingerprint, time.Now())
	if !changed || err != nil || keys.Len() != 2 {
		t.Errorf("Learn = %v, %v; %d keys", changed, err, keys.Len())
	}
}

// TestLearnRefuses what is not said by the key itself.
func TestLearnRefuses(t *testing.T) {
	a, m := ourKey(t, "alice"), ourKey(t, "mallory")
	stranger := func() *pgp.Entity { // mallory's certification on alice's key
		e := a.entity(t)
		if err := e.SignIdentity("xmpp:alice@example.org", m.entity(t), nil); err != nil {
			t.Fatal(err)
		}
		return e
	}
	foreign := a.entity(t) // mallory's subkey under alice's primary key
	foreign.Subkeys = append(foreign.Subkeys, m.entity(t).Subkeys...)
	revoked := m.entity(t)
	if err := revoked.Revoke(packet.KeyCompromised, "", nil); err != nil {
		t.Fatal(err)
	}
	forged := a.entity(t) // mallory's revocation of her own key
	forged.Revocations = revoked.Revocations
	for _, tt := range []struct {
		name string
		data []byte
		err  error
	}{
		{"another key", m.Public, ErrOtherKey},
		{"rubbish", []byte("rubbish"), ErrNotKey},
		{"nothing", nil, ErrNotKey},
		{"too much", make([]byte, maxLearned+1), e2ee.ErrTooLarge},
		{"a secret key", a.Secret, ErrNotKey},
		{"a stranger's certification", public(t, stranger()), nil},
		{"a stranger's subkey", public(t, foreign), nil},
		{"a stranger's revocation", public(t, forged), nil},
		{"nothing new", a.Public, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, _ := ring(t, a.Public)
			changed, err := keys.Learn(tt.data, a.Fingerprint, time.Now())
			if changed || !errors.Is(err, tt.err) {
				t.Errorf("Learn = %v, %v; want %v", changed, err, tt.err)
			}
			if errs := keys.Check([]*policy.Person{person("alice", false, a.Fingerprint).Person}, time.Now()); errs != nil {
				t.Errorf("the key is of no use any more: %v", errs)
			}
		})
	}
	// A certification by a key of the keyring counts.
	keys, _ := ring(t, a.Public, m.Public)
	if changed, err := keys.Learn(public(t, stranger()), a.Fingerprint, time.Now()); !changed || err != nil {
		t.Errorf("by a key of the keyring: %v, %v", changed, err)
	}
	if files, _ := os.ReadDir(t.TempDir()); len(files) > 0 {
		t.Error("something was written")
	}
}

// FuzzLearn hands altered keys to Learn: whatever comes, the key that was there can
// still be sealed to, unless its owner has said otherwise.
func FuzzLearn(f *testing.F) {
	a := ourKey(f, "alice")
	e := a.entity(f)
	f.Add(a.Public)
	var raw bytes.Buffer
	if err := e.Serialize(&raw); err != nil {
		f.Fatal(err)
	}
	f.Add(raw.Bytes())
	f.Add(withoutUserIDs(f, e))
	keys, _ := ring(f, a.Public)
	snap := keys.snap.Load()
	f.Fuzz(func(t *testing.T, in []byte) {
		keys.snap.Store(snap)
		keys.memory = nil
		_, _ = keys.Learn(in, a.Fingerprint, time.Now())
		if _, _, err := keys.snap.Load().recipient(a.Fingerprint, false, time.Now()); err != nil {
			t.Fatalf("an altered copy of a key ended it: %v", err)
		}
	})
}
