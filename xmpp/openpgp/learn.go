package openpgp

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 people have such keys, and their numbers are looked at
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/xmpp/e2ee"
)

// Limits of a key that comes from outside.
const (
	maxLearned    = 256 << 10 // of the key as it comes
	maxSignatures = 64        // looked at, of each kind in each place
	maxBits       = 16 << 10  // of its modulus: a check must not take a core for hours
	maxOrder      = 512       // of DSA's q
)

// ErrOtherKey is returned by Learn where the key that came is not the one wanted.
var ErrOtherKey = errors.New("is not the key that was asked for")

// Learn takes what data, a key as a server or its owner publishes it, says of the
// key fpr beyond what is known: renewals, new subkeys, revocations. Only signatures
// that the key itself has made, or a key of the keyring, are taken. It reports
// whether the keyring is another one now. What was learnt is kept in the folder of
// KeepLearned, if there is one. The caller decides that fpr counts: a key is known
// by its fingerprint, so Learn may also bring the key itself where only its
// fingerprint was pinned.
func (k *Keyring) Learn(data []byte, fpr string, now time.Time) (changed bool, err error) {
	if len(data) > maxLearned {
		return false, &KeyError{Fingerprint: fpr, Err: fmt.Errorf("%w: %d KiB", e2ee.ErrTooLarge, len(data)>>10)}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	snap := k.snap.Load()
	e, err := snap.wanted(data, fpr)
	if err != nil {
		return false, err
	}
	if err := snap.purify(e, now); err != nil {
		return false, &KeyError{Fingerprint: fpr, Err: err}
	}
	next, more, err := snap.with(e)
	if err != nil || !more {
		return false, err
	}
	if err := k.keep(e); err != nil {
		return false, err
	}
	k.snap.Store(next)
	return true, nil
}

// KeepLearned makes the keyring keep what it learns in folder, one file a key, and
// read what was learnt there before. The folder is made if need be. Without it, what
// was learnt is lost with the process: a revocation, too.
func (k *Keyring) KeepLearned(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return unreadable(folder, err)
	}
	k.mu.Lock()
	k.learned = folder
	k.mu.Unlock()
	return k.Reload()
}

// keep remembers a learned key; k.mu is held.
func (k *Keyring) keep(e *pgp.Entity) error {
	fpr := fingerprint(e.PrimaryKey)
	if k.learned == "" {
		if have := k.memory[fpr]; have != nil {
			old, err := parseKeys(have)
			if err != nil {
				return &KeyError{Fingerprint: fpr, Err: err}
			}
			merge(e, old[0])
		}
		var b bytes.Buffer
		if err := e.Serialize(&b); err != nil {
			return &KeyError{Fingerprint: fpr, Err: err}
		}
		if k.memory == nil {
			k.memory = make(map[string][]byte)
		}
		k.memory[fpr] = b.Bytes()
		return nil
	}
	text, err := armorPublic(e)
	if err != nil {
		return &KeyError{Fingerprint: fpr, Err: err}
	}
	if _, err := Import(k.learned, text, time.Now()); err != nil {
		return err
	}
	k.seen, err = files(k.all(k.paths))
	return err
}

// all are the paths that are read for paths; k.mu is held.
func (k *Keyring) all(paths []string) []string {
	if k.learned == "" {
		return paths
	}
	return append(slices.Clone(paths), k.learned)
}

// with returns a snapshot that has e, too, and whether that is more than before.
func (s *snapshot) with(e *pgp.Entity) (*snapshot, bool, error) {
	fpr := fingerprint(e.PrimaryKey)
	next := &snapshot{certs: maps.Clone(s.certs), order: s.order, damaged: s.damaged}
	old := s.certs[fpr]
	if old == nil {
		next.certs[fpr] = newCert(e)
		next.order = append(slices.Clone(s.order), fpr)
		return next, true, nil
	}
	copied, before, err := old.copy()
	if err != nil {
		return nil, false, err
	}
	merge(copied, e)
	var after bytes.Buffer
	if err := copied.Serialize(&after); err != nil {
		return nil, false, &KeyError{Fingerprint: fpr, Err: err}
	}
	next.certs[fpr] = newCert(copied)
	return next, after.Len() != before, nil
}

// copy returns the key anew, and the size of its packets.
func (c *cert) copy() (*pgp.Entity, int, error) {
	var b bytes.Buffer
	c.strict.mu.Lock()
	err := c.strict.entity.Serialize(&b)
	c.strict.mu.Unlock()
	n := b.Len()
	var e *pgp.Entity
	if err == nil {
		e, err = pgp.ReadEntity(packet.NewReader(&b))
	}
	if err != nil {
		return nil, 0, &KeyError{Fingerprint: c.fpr, Err: err}
	}
	return e, n, nil
}

// wanted finds the key fpr in data.
func (s *snapshot) wanted(data []byte, fpr string) (*pgp.Entity, error) {
	bin, err := binaryKeys(data)
	if err != nil {
		return nil, &KeyError{Fingerprint: fpr, Err: err}
	}
	if c := s.certs[fpr]; c != nil {
		bin = c.lendUserID(bin)
	}
	keys, err := parseKeys(bin)
	if err != nil {
		return nil, &KeyError{Fingerprint: fpr, Err: err}
	}
	for _, e := range keys {
		if fingerprint(e.PrimaryKey) == fpr && e.PrivateKey == nil {
			return e, nil
		}
	}
	return nil, &KeyError{Fingerprint: fpr, Err: ErrOtherKey}
}

// binaryKeys returns the public keys of data, armored or not, as packets.
func binaryKeys(data []byte) ([]byte, error) {
	if !bytes.Contains(data, []byte("-----BEGIN PGP ")) {
		return data, nil
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil || block.Type != pgp.PublicKeyType {
		return nil, ErrNotKey
	}
	out, err := io.ReadAll(io.LimitReader(block.Body, maxLearned))
	if err != nil {
		return nil, ErrNotKey
	}
	return out, nil
}

// Packet tags of keys.
const (
	tagPublicKey    = 6
	tagUserID       = 13
	tagPublicSubkey = 14
)

// lendUserID puts the user ids that are known into a key that came without any, as
// keys.openpgp.org hands them out: the library reads no such key.
func (c *cert) lendUserID(data []byte) []byte {
	at := -1 // where the subkeys begin
	for rest := data; len(rest) > 0; {
		p, after, err := nextPacket(rest)
		switch {
		case err != nil, p.tag == tagUserID, p.tag == tagPublicKey && len(rest) != len(data):
			return data
		case p.tag == tagPublicSubkey && at < 0:
			at = len(data) - len(rest)
		}
		rest = after
	}
	if at < 0 {
		at = len(data)
	}
	var own bytes.Buffer
	c.strict.mu.Lock()
	for _, id := range c.strict.entity.Identities {
		if id.UserId.Serialize(&own) != nil {
			continue
		}
		for _, sig := range id.SelfCertifications {
			_ = sig.Packet.Serialize(&own)
		}
	}
	c.strict.mu.Unlock()
	return bytes.Join([][]byte{data[:at], own.Bytes(), data[at:]}, nil)
}

// purify takes everything out of a key that nobody has signed who may: it came from
// outside, where anybody may have added to it.
func (s *snapshot) purify(e *pgp.Entity, now time.Time) error {
	pk := e.PrimaryKey
	if huge(pk) {
		return fmt.Errorf("%w: a number of the key has more bits than any in use", e2ee.ErrTooLarge)
	}
	e.Revocations = good(e.Revocations, func(sig *packet.Signature) bool { return pk.VerifyRevocationSignature(sig) == nil })
	e.DirectSignatures = good(e.DirectSignatures, func(sig *packet.Signature) bool { return pk.VerifyDirectKeySignature(sig) == nil })
	for name, id := range e.Identities {
		by := func(key *packet.PublicKey) func(*packet.Signature) bool {
			return func(sig *packet.Signature) bool { return key.VerifyUserIdSignature(name, pk, sig) == nil }
		}
		id.SelfCertifications = good(id.SelfCertifications, by(pk))
		id.Revocations = good(id.Revocations, func(sig *packet.Signature) bool { return s.certified(name, pk, sig) || by(pk)(sig) })
		id.OtherCertifications = good(id.OtherCertifications, func(sig *packet.Signature) bool { return s.certified(name, pk, sig) })
		if len(id.SelfCertifications) == 0 && len(id.Revocations) == 0 {
			delete(e.Identities, name)
		}
	}
	kept := e.Subkeys[:0]
	for i := range e.Subkeys {
		sub := e.Subkeys[i]
		if huge(sub.PublicKey) {
			continue
		}
		sub.Bindings = good(sub.Bindings, func(sig *packet.Signature) bool { return pk.VerifyKeySignature(sub.PublicKey, sig) == nil })
		sub.Revocations = good(sub.Revocations, func(sig *packet.Signature) bool { return pk.VerifySubkeyRevocationSignature(sig, sub.PublicKey) == nil })
		if len(sub.Bindings) > 0 && len(kept) < maxSignatures {
			kept = append(kept, sub)
		}
	}
	e.Subkeys = kept
	if len(e.Identities) == 0 && len(e.DirectSignatures) == 0 {
		return ErrNotValid
	}
	return nil
}

// huge reports whether numbers of a key are larger than those of any key in use.
func huge(k *packet.PublicKey) bool {
	if d, ok := k.PublicKey.(*dsa.PublicKey); ok && (d.Q.BitLen() > maxOrder || d.G.BitLen() > maxBits || d.Y.BitLen() > maxBits) {
		return true
	}
	bits, err := k.BitLength()
	return err == nil && int(bits) > maxBits
}

// certified reports whether a key of the keyring has made sig over a user id.
func (s *snapshot) certified(name string, pk *packet.PublicKey, sig *packet.Signature) bool {
	if sig.IssuerKeyId == nil {
		return false
	}
	c := s.holder(*sig.IssuerKeyId)
	return c != nil && c.strict.entity.PrimaryKey.KeyId == *sig.IssuerKeyId &&
		c.strict.entity.PrimaryKey.VerifyUserIdSignature(name, pk, sig) == nil
}

// good keeps the signatures that hold, of the first maxSignatures.
func good(list []*packet.VerifiableSignature, holds func(*packet.Signature) bool) []*packet.VerifiableSignature {
	var out []*packet.VerifiableSignature
	for i, sig := range list {
		if i < maxSignatures && holds(sig.Packet) {
			out = append(out, sig)
		}
	}
	return out
}

// Addresses returns the addresses in the user ids of a key of the keyring, three at
// most: where its owner may publish it.
func (k *Keyring) Addresses(fpr string) []string {
	c := k.snap.Load().certs[fpr]
	if c == nil {
		return nil
	}
	c.strict.mu.Lock()
	defer c.strict.mu.Unlock()
	var out []string
	for name := range c.strict.entity.Identities {
		if a := addressOf(name); a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 3)]
}

// HasUserID reports whether the key has exactly this user id, signed by itself and not
// revoked.
func (s *Secret) HasUserID(uid string) bool {
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	for name, id := range s.own.entity.Identities {
		if name == uid {
			if _, err := id.Verify(time.Now(), s.own.cfg); err == nil {
				return true
			}
		}
	}
	return false
}

// Announced returns the public key as its owner publishes it: binary, without what
// others have signed; and when it last changed.
func (s *Secret) Announced() (data []byte, changed time.Time, err error) {
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	var b bytes.Buffer
	if err := s.own.entity.Serialize(&b); err != nil {
		return nil, time.Time{}, err
	}
	e, err := pgp.ReadEntity(packet.NewReader(&b))
	if err != nil {
		return nil, time.Time{}, err
	}
	changed = e.PrimaryKey.CreationTime
	note := func(list []*packet.VerifiableSignature) {
		for _, sig := range list {
			if sig.Packet.CreationTime.After(changed) {
				changed = sig.Packet.CreationTime
			}
		}
	}
	note(e.DirectSignatures)
	for _, id := range e.Identities {
		id.OtherCertifications = nil
		note(id.SelfCertifications)
		note(id.Revocations)
	}
	for _, sub := range e.Subkeys {
		note(sub.Bindings)
		note(sub.Revocations)
	}
	var out bytes.Buffer
	if err := e.Serialize(&out); err != nil {
		return nil, time.Time{}, err
	}
	return out.Bytes(), changed, nil
}
