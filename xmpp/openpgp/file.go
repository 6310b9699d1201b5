package openpgp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/xmpp/e2ee"
)

// Reader names a key that a file is encrypted to.
type Reader struct {
	Person      string // for errors, "" if it is nobody's
	Fingerprint string // of the primary key
	AllowWeak   bool
}

// EncryptFile returns a writer that encrypts what it is given to all the keys, and
// writes a binary OpenPGP message, as GnuPG 2.2 reads it, to w: it holds no more
// than a few KiB. name is the file's inside. Close ends the message, and leaves w
// open. Where a key cannot be used (not in the keyring, expired, revoked, without a
// subkey for encryption, weak) nothing is written: the error joins a *KeyError for
// each.
func (k *Keyring) EncryptFile(w io.Writer, to []Reader, name string, now time.Time) (io.WriteCloser, error) {
	s := k.snap.Load()
	var keys []*recipient
	var errs []error
	for _, r := range to {
		key, _, err := s.recipient(r.Fingerprint, r.AllowWeak, now)
		if err != nil {
			errs = append(errs, &KeyError{Person: r.Person, Fingerprint: r.Fingerprint, Err: err})
			continue
		}
		keys = append(keys, key)
	}
	if len(to) == 0 {
		errs = append(errs, fmt.Errorf("openpgp: encrypt to nobody: %w", e2ee.ErrNoKey))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	algo := commonCipher(keys)
	session := make([]byte, algo.KeySize())
	defer clear(session)
	_, _ = rand.Read(session) // never fails (Go 1.24)
	cfg := &packet.Config{DefaultCipher: algo, MinRSABits: 1023}
	for _, r := range keys {
		if err := packet.SerializeEncryptedKey(w, r.key, algo, session, cfg); err != nil {
			return nil, fmt.Errorf("openpgp: encrypt: %w", err)
		}
	}
	body, err := packet.SerializeSymmetricallyEncrypted(w, algo, false, packet.CipherSuite{}, session, cfg)
	if err != nil {
		return nil, fmt.Errorf("openpgp: encrypt: %w", err)
	}
	packed, err := packet.SerializeCompressed(body, packet.CompressionZLIB, nil)
	if err != nil {
		return nil, fmt.Errorf("openpgp: encrypt: %w", err)
	}
	inside, err := packet.SerializeLiteral(packed, true, name, uint32(now.Unix()))
	if err != nil {
		return nil, fmt.Errorf("openpgp: encrypt: %w", err)
	}
	return inside, nil
}
