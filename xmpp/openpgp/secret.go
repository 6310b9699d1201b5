package openpgp

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Secret is the bot's own secret key, unlocked. It does not change and is safe
// for concurrent use. It prints as its fingerprint.
type Secret struct {
	own     *view
	fpr     string
	decrypt []*packet.PrivateKey // all that can decrypt, expired and revoked ones too
}

// ParseSecret reads the one secret key in data (`gpg --export-secret-keys` or
// `--export-secret-subkeys`, armored or not) as of now, and unlocks it; an empty
// passphrase means none. Errors are *KeyError: ErrNotKey, ErrNotSecret,
// ErrManySecrets, ErrPassphrase, ErrNeedPassphrase, ErrNoSigningKey,
// ErrNoEncryptionKey, e2ee.ErrKeyExpired, e2ee.ErrKeyRevoked, e2ee.ErrKeyWeak.
// Taking the passphrase to the key costs some 0.2 s.
func ParseSecret(data, passphrase []byte, now time.Time) (*Secret, error) {
	keys, err := parseKeys(data)
	if err != nil {
		return nil, &KeyError{Err: err}
	}
	var own *pgp.Entity
	for _, e := range keys {
		switch {
		case e.PrivateKey == nil:
		case own != nil:
			return nil, &KeyError{Err: ErrManySecrets}
		default:
			own = e
		}
	}
	if own == nil {
		return nil, &KeyError{Fingerprint: fingerprint(keys[0].PrimaryKey), Err: ErrNotSecret}
	}
	s := &Secret{own: &view{entity: own, cfg: strictConfig()}, fpr: fingerprint(own.PrimaryKey)}
	if err := s.unlock(passphrase); err != nil {
		return nil, &KeyError{Fingerprint: s.fpr, Err: err}
	}
	if err := s.check(now); err != nil {
		return nil, &KeyError{Fingerprint: s.fpr, Err: err}
	}
	return s, nil
}

func (s *Secret) unlock(passphrase []byte) error {
	if locked(s.own.entity) {
		if len(passphrase) == 0 {
			return ErrNeedPassphrase
		}
		if err := s.own.entity.DecryptPrivateKeys(passphrase); err != nil {
			return ErrPassphrase
		}
	}
	// Keys with old algorithms may still open old mail; nothing is sealed to them.
	for _, k := range s.own.entity.DecryptionKeys(0, time.Time{}, weakConfig()) {
		if p := k.PrivateKey; p != nil && !p.Dummy() && !p.Encrypted {
			s.decrypt = append(s.decrypt, p)
		}
	}
	return nil
}

func locked(e *pgp.Entity) bool {
	if e.PrivateKey != nil && !e.PrivateKey.Dummy() && e.PrivateKey.Encrypted {
		return true
	}
	for _, s := range e.Subkeys {
		if s.PrivateKey != nil && !s.PrivateKey.Dummy() && s.PrivateKey.Encrypted {
			return true
		}
	}
	return false
}

// check makes sure that the key can do what a bot's key is for.
func (s *Secret) check(now time.Time) error {
	if _, err := newCert(s.own.entity).strictRecipient(now); err != nil {
		return err
	}
	if len(s.decrypt) == 0 {
		return ErrNoEncryptionKey
	}
	_, err := s.signingKey(now)
	return err
}

func (c *cert) strictRecipient(now time.Time) (*recipient, error) {
	r, _, err := c.recipient(now, false)
	return r, err
}

// signingKey returns the key to sign with at now.
func (s *Secret) signingKey(now time.Time) (*packet.PrivateKey, error) {
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	if _, err := s.own.entity.VerifyPrimaryKey(now, s.own.cfg); err != nil {
		return nil, classify(err)
	}
	key, ok := s.own.entity.SigningKey(now, s.own.cfg)
	if !ok {
		return nil, ErrNoSigningKey
	}
	if key.PrivateKey == nil || key.PrivateKey.Dummy() {
		return nil, ErrNoSigningKey
	}
	return key.PrivateKey, nil
}

// Fingerprint returns the fingerprint of the primary key, 40 upper-case hex
// digits: what people pin, and what a wrong-key notice names.
func (s *Secret) Fingerprint() string { return s.fpr }

// String returns the fingerprint.
func (s *Secret) String() string { return "openpgp key " + s.fpr }

// GoString returns the fingerprint.
func (s *Secret) GoString() string { return s.String() }

// Format prints the fingerprint whatever the verb.
func (s *Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns the fingerprint.
func (s *Secret) LogValue() slog.Value { return slog.StringValue(s.fpr) }
