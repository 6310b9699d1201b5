package openpgp

import (
	"errors"
	"fmt"
	"strings"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"

	"drawbridge/xmpp/e2ee"
)

// What a KeyError can be, beside e2ee.ErrNoKey (fingerprint not in the keyring),
// e2ee.ErrKeyExpired, e2ee.ErrKeyRevoked and e2ee.ErrKeyWeak.
var (
	ErrUnreadable      = errors.New("cannot be read")
	ErrNotKey          = errors.New("holds no OpenPGP key")
	ErrNotSecret       = errors.New("holds a public key where the secret key is needed")
	ErrManySecrets     = errors.New("holds more than one secret key")
	ErrPassphrase      = errors.New("wrong passphrase")
	ErrNeedPassphrase  = errors.New("secret key is protected and no passphrase is set")
	ErrNoSigningKey    = errors.New("no secret key that can sign: the primary key is not in the file and there is no signing subkey")
	ErrNoEncryptionKey = errors.New("no subkey for encryption")
	ErrNotValid        = errors.New("no valid self-signature")
)

// KeyError says what is wrong with one key or key file. Its text ends with what
// to do about it; it never holds secrets.
type KeyError struct {
	Person      string // config name, "" if it is nobody's
	Fingerprint string // of the primary key, "" if unknown
	File        string // "" if it is not about a file
	Err         error
}

// Error returns whose key, what is wrong, and a hint.
func (e *KeyError) Error() string {
	var b strings.Builder
	b.WriteString("openpgp: ")
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Fingerprint != "" {
		b.WriteString("key " + e.Fingerprint)
		if e.Person != "" {
			b.WriteString(" of " + e.Person)
		}
		b.WriteString(": ")
	} else if e.Person != "" {
		b.WriteString(e.Person + ": ")
	}
	b.WriteString(strings.TrimPrefix(e.Err.Error(), "e2ee: "))
	if h := e.Hint(); h != "" {
		b.WriteString("; hint: " + h)
	}
	return b.String()
}

// Unwrap returns what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// hints says what to do about an error, first match first.
var hints = []struct {
	err  error
	hint string
}{
	{ErrNotSecret, "export it with `gpg --export-secret-keys FINGERPRINT`"},
	{ErrPassphrase, "check passphrase_file"},
	{ErrNeedPassphrase, "set passphrase_file"},
	{ErrNoSigningKey, "add a signing subkey (`gpg --quick-add-key FINGERPRINT ed25519 sign`) and export again"},
	{ErrManySecrets, "export only the bot's key"},
	{ErrNoEncryptionKey, "the owner adds one: `gpg --quick-add-key FINGERPRINT cv25519 encr`, and sends the key again"},
	{e2ee.ErrKeyExpired, "the owner extends it: `gpg --quick-set-expire FINGERPRINT 1y` and, naming the subkey, `gpg --quick-set-expire FINGERPRINT 1y SUBKEY`; then import the key again"},
	{e2ee.ErrKeyRevoked, "get the person's new key and pin its fingerprint"},
	{e2ee.ErrKeyWeak, "a newer key is better; else `allow_weak_key: true` for this person"},
	{e2ee.ErrNoKey, "`drawbridge keys import FILE`"},
	{ErrUnreadable, "check that the path exists and that the bot's user may read it"},
}

// Hint says what to do, or "".
func (e *KeyError) Hint() string {
	for _, h := range hints {
		if errors.Is(e.Err, h.err) {
			return strings.ReplaceAll(h.hint, "FINGERPRINT", or(e.Fingerprint, "FINGERPRINT"))
		}
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// classify turns what the library says about a key into one of our sentinels.
func classify(err error) error {
	var sel pgperrors.ErrEncryptionKeySelection
	var selp *pgperrors.ErrEncryptionKeySelection
	if errors.As(err, &selp) {
		sel, err = *selp, nil
	} else if errors.As(err, &sel) {
		err = nil
	}
	if err == nil {
		if err = sel.PrimaryKeyErr; err == nil {
			if err = sel.EncSelectionErr; err == nil || sel.EncSelectionKeyId == nil {
				return ErrNoEncryptionKey
			}
		}
	}
	var weak pgperrors.WeakAlgorithmError
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return e2ee.ErrKeyExpired
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return e2ee.ErrKeyRevoked
	case errors.As(err, &weak):
		return e2ee.ErrKeyWeak
	}
	return fmt.Errorf("%w: %s", ErrNotValid, err)
}
