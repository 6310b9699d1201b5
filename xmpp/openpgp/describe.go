package openpgp

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/xmpp/e2ee"
)

// Info describes a key for people: `drawbridge keys list` and `show`.
type Info struct {
	Fingerprint string
	UserIDs     []string // as the owner wrote them: not proven, and to be sanitised
	Algorithm   string   // "ed25519", "rsa3072" …
	Created     time.Time
	Expires     time.Time // zero if never
	Secret      bool      // the secret part is there
	Subkeys     []SubkeyInfo
	// Weak is set if only people with allow_weak_key may use it.
	Weak bool
	// Unusable says why nobody can be written to with it now: nil,
	// e2ee.ErrKeyExpired, e2ee.ErrKeyRevoked, ErrNoEncryptionKey, ErrNotValid.
	Unusable error
}

// SubkeyInfo describes a subkey.
type SubkeyInfo struct {
	Fingerprint string
	Algorithm   string
	Use         string // "encryption", "signing", "authentication", or joined by "+"
	Created     time.Time
	Expires     time.Time // zero if never
	Revoked     bool
}

// Describe describes the keys of a file's content, at now.
func Describe(data []byte, now time.Time) ([]Info, error) {
	keys, err := parseKeys(data)
	if err != nil {
		return nil, &KeyError{Err: err}
	}
	var out []Info
	for _, e := range keys {
		out = append(out, newCert(e).info(now))
	}
	return out, nil
}

// List describes the keys of the keyring, in the order they were read.
func (k *Keyring) List(now time.Time) []Info {
	s := k.snap.Load()
	var out []Info
	for _, fpr := range s.order {
		out = append(out, s.certs[fpr].info(now))
	}
	return out
}

// Info describes the bot's own key.
func (s *Secret) Info(now time.Time) Info {
	s.own.mu.Lock()
	c := newCert(s.own.entity)
	info := c.info(now)
	s.own.mu.Unlock()
	return info
}

func (c *cert) info(now time.Time) Info {
	_, weak, err := c.recipient(now, true)
	v := c.view(true) // it sees more
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.entity
	i := Info{
		Fingerprint: c.fpr, Algorithm: algorithm(e.PrimaryKey), Created: e.PrimaryKey.CreationTime,
		Secret: e.PrivateKey != nil || c.strict.entity.PrivateKey != nil, Weak: weak, Unusable: err,
	}
	if self, err := e.PrimarySelfSignature(now, v.cfg); err == nil {
		i.Expires = orZero(expiry(e.PrimaryKey, self))
	}
	for name := range e.Identities {
		i.UserIDs = append(i.UserIDs, name)
	}
	slices.Sort(i.UserIDs)
	for n := range e.Subkeys {
		i.Subkeys = append(i.Subkeys, subkeyInfo(v, &e.Subkeys[n], now))
	}
	return i
}

func subkeyInfo(v *view, s *pgp.Subkey, now time.Time) SubkeyInfo {
	i := SubkeyInfo{
		Fingerprint: fingerprint(s.PublicKey), Algorithm: algorithm(s.PublicKey), Created: s.PublicKey.CreationTime,
	}
	sig, err := s.LatestValidBindingSignature(now, v.cfg)
	if err != nil {
		return i
	}
	i.Expires, i.Revoked = orZero(expiry(s.PublicKey, sig)), s.Revoked(sig, now)
	var use []string
	for _, u := range []struct {
		set  bool
		name string
	}{
		{sig.FlagEncryptCommunications || sig.FlagEncryptStorage, "encryption"},
		{sig.FlagSign, "signing"},
		{sig.FlagAuthenticate, "authentication"},
	} {
		if u.set {
			use = append(use, u.name)
		}
	}
	i.Use = strings.Join(use, "+")
	return i
}

func orZero(t time.Time) time.Time {
	if t.Equal(farFuture) {
		return time.Time{}
	}
	return t
}

// algorithm names a key's algorithm and size as GnuPG does.
func algorithm(k *packet.PublicKey) string {
	names := map[packet.PublicKeyAlgorithm]string{
		packet.PubKeyAlgoRSA: "rsa", packet.PubKeyAlgoRSAEncryptOnly: "rsa", packet.PubKeyAlgoRSASignOnly: "rsa",
		packet.PubKeyAlgoElGamal: "elg", packet.PubKeyAlgoDSA: "dsa",
	}
	if name := names[k.PubKeyAlgo]; name != "" {
		bits, _ := k.BitLength()
		return fmt.Sprintf("%s%d", name, bits)
	}
	curve, err := k.Curve()
	switch {
	case err != nil:
		return fmt.Sprintf("algorithm %d", k.PubKeyAlgo)
	case k.PubKeyAlgo == packet.PubKeyAlgoEdDSA && curve == packet.Curve25519:
		return "ed25519"
	case k.PubKeyAlgo == packet.PubKeyAlgoECDH && curve == packet.Curve25519:
		return "cv25519"
	}
	if name, ok := strings.CutPrefix(string(curve), "BrainpoolP"); ok {
		return "brainpoolP" + name + "r1"
	}
	if name, ok := strings.CutPrefix(string(curve), "P"); ok {
		return "nistp" + name
	}
	return strings.ToLower(string(curve))
}

// Import writes the public keys of data into folder, one armored file named by
// its fingerprint each, and describes them. A file that is there is merged with:
// a renewed key keeps its old signatures. Secret parts are left out.
func Import(folder string, data []byte, now time.Time) ([]Info, error) {
	keys, err := parseKeys(data)
	if err != nil {
		return nil, &KeyError{Err: err}
	}
	var out []Info
	for _, e := range keys {
		fpr := fingerprint(e.PrimaryKey)
		path := filepath.Join(folder, fpr+".asc")
		if old, err := readFile(path); err == nil {
			have, err := parseKeys(old)
			if err != nil {
				return out, &KeyError{File: path, Err: err}
			}
			for _, h := range have {
				if fingerprint(h.PrimaryKey) == fpr {
					merge(e, h)
				}
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return out, err
		}
		text, err := armorPublic(e)
		if err != nil {
			return out, &KeyError{Fingerprint: fpr, Err: err}
		}
		if err := writeFile(path, text); err != nil {
			return out, err
		}
		info := newCert(e).info(now)
		info.Secret = false // it stayed behind
		out = append(out, info)
	}
	return out, nil
}

// writeFile replaces path at once, so that no reader sees half of it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".import-*")
	if err != nil {
		return unreadable(filepath.Dir(path), err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync() // half a file after a power cut would keep all keys from being read
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("openpgp: write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("openpgp: write %s: %w", path, err)
	}
	return nil
}

// Export returns the public key with this fingerprint, armored, as people import
// it. The error is a *KeyError with e2ee.ErrNoKey.
func (k *Keyring) Export(fpr string) ([]byte, error) {
	c := k.snap.Load().certs[strings.ToUpper(strings.ReplaceAll(fpr, " ", ""))]
	if c == nil {
		return nil, &KeyError{Fingerprint: fpr, Err: e2ee.ErrNoKey}
	}
	c.strict.mu.Lock()
	defer c.strict.mu.Unlock()
	return armorPublic(c.strict.entity)
}

// Public returns the bot's public key, armored: what contacts import.
func (s *Secret) Public() ([]byte, error) {
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	return armorPublic(s.own.entity)
}

func armorPublic(e *pgp.Entity) ([]byte, error) {
	return armored(pgp.PublicKeyType, func(b *bytes.Buffer) error { return e.Serialize(b) })
}

// armored returns a whole armored block, checksum included.
func armored(kind string, put func(*bytes.Buffer) error) ([]byte, error) {
	var raw, out bytes.Buffer
	if err := put(&raw); err != nil {
		return nil, err
	}
	w, err := armor.EncodeWithChecksumOption(&out, kind, nil, true)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw.Bytes()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
