package openpgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Generated is a new key, armored.
type Generated struct {
	Fingerprint string
	Secret      []byte // protected by the passphrase, if one was given
	Public      []byte
}

// DefaultLifetime is how long a generated key lasts if nothing else is said.
const DefaultLifetime = 2 * 365 * 24 * time.Hour

// NoExpiry is a lifetime without end.
const NoExpiry = time.Duration(-1)

// Generate makes a key for the bot: version 4, EdDSA (Ed25519) to sign and ECDH
// (Curve25519) to encrypt, as GnuPG 2.2 reads them; no AEAD, no newer algorithms.
// Its user id is "xmpp:JID", which OX looks for (XEP-0373 §4), and with a name
// "NAME <xmpp:JID>" too. lifetime 0 is DefaultLifetime, and NoExpiry none. An
// empty passphrase leaves the secret key unprotected.
func Generate(name, jid string, passphrase []byte, lifetime time.Duration, now time.Time) (*Generated, error) {
	if jid == "" || strings.ContainsAny(jid+name, "()<>\x00\r\n") {
		return nil, errors.New("openpgp: generate: a JID is needed, and neither name nor JID may hold any of ()<>")
	}
	cfg := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519,
		DefaultHash: crypto.SHA256, DefaultCipher: packet.CipherAES256,
		DefaultCompressionAlgo: packet.CompressionZLIB,
		Time:                   func() time.Time { return now },
		S2KConfig:              &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, Hash: crypto.SHA256, S2KCount: 65011712},
	}
	switch {
	case lifetime == 0:
		lifetime = DefaultLifetime
		fallthrough
	case lifetime > 0:
		cfg.KeyLifetimeSecs = uint32(lifetime / time.Second)
	}
	e, err := pgp.NewEntity("xmpp:"+jid, "", "", cfg)
	if err != nil {
		return nil, fmt.Errorf("openpgp: generate: %w", err)
	}
	if name != "" {
		if err := e.AddUserId(name, "", "xmpp:"+jid, cfg); err != nil {
			return nil, fmt.Errorf("openpgp: generate: %w", err)
		}
	}
	g := &Generated{Fingerprint: fingerprint(e.PrimaryKey)}
	if g.Public, err = armorPublic(e); err != nil {
		return nil, fmt.Errorf("openpgp: generate: %w", err)
	}
	if len(passphrase) > 0 {
		if err := e.EncryptPrivateKeys(passphrase, cfg); err != nil {
			return nil, fmt.Errorf("openpgp: generate: %w", err)
		}
	}
	g.Secret, err = armored(pgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) })
	if err != nil {
		return nil, fmt.Errorf("openpgp: generate: %w", err)
	}
	return g, nil
}
