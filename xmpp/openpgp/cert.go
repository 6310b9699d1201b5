package openpgp

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/xmpp/e2ee"
)

// strictConfig is for everybody: the library's v2 defaults, which refuse DSA,
// ElGamal, RSA below 2048 bits, secp256k1, and SHA-1 over messages.
func strictConfig() *packet.Config { return &packet.Config{} }

// weakConfig is for people with allow_weak_key: keys of the 2000s and SHA-1, but
// neither MD5 nor RIPEMD-160 over messages.
func weakConfig() *packet.Config {
	return &packet.Config{
		MinRSABits:                  1023,
		RejectPublicKeyAlgorithms:   map[packet.PublicKeyAlgorithm]bool{},
		RejectHashAlgorithms:        map[crypto.Hash]bool{crypto.MD5: true},
		RejectMessageHashAlgorithms: map[crypto.Hash]bool{crypto.MD5: true, crypto.RIPEMD160: true},
		RejectCurves:                map[packet.Curve]bool{},
	}
}

// cert is one public key of a keyring. It never changes once it is in a
// snapshot; what it remembers are answers of the library.
type cert struct {
	fpr    string // of the primary key, upper-case hex
	strict *view

	weakOnce sync.Once
	weakView *view // nil if the key does not parse again
	warnOnce sync.Once
}

func newCert(e *pgp.Entity) *cert {
	return &cert{fpr: fingerprint(e.PrimaryKey), strict: &view{entity: e, cfg: strictConfig()}}
}

// weak returns the key as allow_weak_key sees it: a copy, because the library
// keeps the results of checks, which depend on the config, in the key.
func (c *cert) weak() *view {
	c.weakOnce.Do(func() {
		var b bytes.Buffer
		c.strict.mu.Lock()
		err := c.strict.entity.Serialize(&b)
		c.strict.mu.Unlock()
		if err != nil {
			return
		}
		if e, err := pgp.ReadEntity(packet.NewReader(&b)); err == nil {
			c.weakView = &view{entity: e, cfg: weakConfig()}
		}
	})
	return c.weakView
}

// recipient returns what to seal to, at now, and whether it needed allow_weak_key.
func (c *cert) recipient(now time.Time, allowWeak bool) (r *recipient, weak bool, err error) {
	if r, err = c.strict.recipient(now); err == nil {
		return r, false, nil
	}
	if w := c.weak(); w != nil {
		r, werr := w.recipient(now)
		switch {
		case werr == nil && allowWeak:
			return r, true, nil
		case werr == nil:
			return nil, true, e2ee.ErrKeyWeak
		case allowWeak:
			return nil, false, werr
		}
	}
	return nil, false, err
}

// view returns the key as one may see it who allows weak keys or not.
func (c *cert) view(allowWeak bool) *view {
	if allowWeak {
		if w := c.weak(); w != nil {
			return w
		}
	}
	return c.strict
}

// view is a key under a config of what is acceptable.
type view struct {
	cfg *packet.Config

	mu     sync.Mutex // guards entity, in which the library keeps results
	entity *pgp.Entity

	chosen atomic.Pointer[choice]
}

// choice is the answer for one second: OpenPGP's time has no finer grain.
type choice struct {
	second int64
	to     *recipient
	err    error
}

// recipient is a subkey to seal to.
type recipient struct {
	primary []byte // fingerprint of the primary key
	key     *packet.PublicKey
	cipher  packet.CipherFunction
}

// recipient returns the newest valid encryption subkey at now.
func (v *view) recipient(now time.Time) (*recipient, error) {
	sec := now.Unix()
	if c := v.chosen.Load(); c != nil && c.second == sec {
		return c.to, c.err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c := &choice{second: sec}
	if key, err := v.entity.EncryptionKeyWithError(now, v.cfg); err != nil {
		c.err = classify(err)
	} else {
		c.to = &recipient{primary: v.entity.PrimaryKey.Fingerprint, key: key.PublicKey, cipher: packet.CipherAES128}
		if key.PrimarySelfSignature != nil {
			c.to.cipher = preferredCipher(key.PrimarySelfSignature.PreferredSymmetric)
		}
	}
	v.chosen.Store(c)
	return c.to, c.err
}

// preferredCipher takes the strongest AES the key's owner says they read;
// AES-128 is what everybody reads.
func preferredCipher(prefs []byte) packet.CipherFunction {
	for _, c := range []packet.CipherFunction{packet.CipherAES256, packet.CipherAES192} {
		if bytes.IndexByte(prefs, byte(c)) >= 0 {
			return c
		}
	}
	return packet.CipherAES128
}

// holds reports whether the key or one of its subkeys has this key id.
func (v *view) holds(id uint64) bool {
	if v.entity.PrimaryKey.KeyId == id {
		return true
	}
	for i := range v.entity.Subkeys {
		if v.entity.Subkeys[i].PublicKey.KeyId == id {
			return true
		}
	}
	return false
}

// verify checks sig, whose hash of the data is h, made by a key of this entity.
// Nothing but a valid signing key, not revoked now and valid when the signature
// was made as well as now, will do: who has an expired key can date back. Errors are
// e2ee.ErrSignature with why.
func (v *view) verify(h hash.Hash, sig *packet.Signature, now time.Time) error {
	v.mu.Lock()
	key, ok := v.entity.SigningKeyById(sig.CreationTime, *sig.IssuerKeyId, v.cfg)
	revoked, still := v.entity.Revoked(now), ok
	if ok && sig.CreationTime.Before(now) {
		_, still = v.entity.SigningKeyById(now, *sig.IssuerKeyId, v.cfg)
	}
	v.mu.Unlock()
	switch {
	case revoked:
		return fmt.Errorf("%w: %w", e2ee.ErrSignature, e2ee.ErrKeyRevoked)
	case ok && !still:
		return fmt.Errorf("%w: %w", e2ee.ErrSignature, e2ee.ErrKeyExpired)
	case !ok:
		return fmt.Errorf("%w: key could not sign when it was made", e2ee.ErrSignature)
	case sig.Version != 4 && sig.Version != 6:
		return fmt.Errorf("%w: version %d", e2ee.ErrSignature, sig.Version)
	case v.cfg.RejectMessageHashAlgorithm(sig.Hash):
		return fmt.Errorf("%w: %w: digest %s", e2ee.ErrSignature, e2ee.ErrKeyWeak, sig.Hash)
	case sig.CreationTime.Before(key.PublicKey.CreationTime):
		return fmt.Errorf("%w: older than its key", e2ee.ErrSignature)
	case sig.SigLifetimeSecs != nil && *sig.SigLifetimeSecs != 0 && sig.SigExpired(now):
		return fmt.Errorf("%w: expired", e2ee.ErrSignature)
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return fmt.Errorf("%w: unknown critical notation", e2ee.ErrSignature)
		}
	}
	if err := key.PublicKey.VerifySignature(h, sig); err != nil {
		return fmt.Errorf("%w: does not fit the text", e2ee.ErrSignature)
	}
	return nil
}

// encryptsUntil returns when the last subkey one can seal to now expires, and its
// fingerprint; the zero time if one does not expire.
func (v *view) encryptsUntil(now time.Time) (time.Time, string) {
	return v.until(now, func(s *packet.Signature, algo packet.PublicKeyAlgorithm) bool {
		return s.FlagsValid && (s.FlagEncryptCommunications || s.FlagEncryptStorage) && algo.CanEncrypt()
	})
}

func (v *view) signsUntil(now time.Time) (time.Time, string) {
	return v.until(now, func(s *packet.Signature, algo packet.PublicKeyAlgorithm) bool {
		return s.FlagsValid && s.FlagSign && algo.CanSign()
	})
}

func (v *view) until(now time.Time, can func(*packet.Signature, packet.PublicKeyAlgorithm) bool) (time.Time, string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.entity
	self, err := e.VerifyPrimaryKey(now, v.cfg)
	if err != nil {
		self, _ = e.PrimarySelfSignature(time.Time{}, v.cfg)
	}
	primary, best, fpr, found := farFuture, time.Time{}, "", false
	if self != nil {
		primary = expiry(e.PrimaryKey, self)
		if can(self, e.PrimaryKey.PubKeyAlgo) {
			best, fpr, found = primary, fingerprint(e.PrimaryKey), true
		}
	}
	for i := range e.Subkeys {
		s := &e.Subkeys[i]
		sig, err := s.LatestValidBindingSignature(now, v.cfg)
		if err != nil || s.Revoked(sig, now) || !can(sig, s.PublicKey.PubKeyAlgo) {
			continue
		}
		if t := expiry(s.PublicKey, sig); !found || t.After(best) {
			best, fpr, found = t, fingerprint(s.PublicKey), true
		}
	}
	if !found {
		return time.Time{}, ""
	}
	if primary.Before(best) {
		best, fpr = primary, fingerprint(e.PrimaryKey)
	}
	if best.Equal(farFuture) {
		return time.Time{}, ""
	}
	return best, fpr
}

var farFuture = time.Unix(math.MaxInt32*8, 0)

// expiry returns when a key expires by its self-signature, farFuture if never.
func expiry(key *packet.PublicKey, self *packet.Signature) time.Time {
	t := farFuture
	if s := self.KeyLifetimeSecs; s != nil && *s != 0 {
		t = key.CreationTime.Add(time.Duration(*s) * time.Second)
	}
	if s := self.SigLifetimeSecs; s != nil && *s != 0 {
		if x := self.CreationTime.Add(time.Duration(*s) * time.Second); x.Before(t) {
			t = x
		}
	}
	return t
}

func fingerprint(k *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}
