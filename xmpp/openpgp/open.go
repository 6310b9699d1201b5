package openpgp

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha1" // the MDC of RFC 4880 §5.14 is SHA-1
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/xmpp/e2ee"
)

// Limits of what is opened.
const (
	maxArmor     = 64 << 10 // text of <x/>, before base64
	maxSessions  = 64       // session key packets: one for each recipient
	maxTries     = 8        // of those, for us: each costs a private-key operation
	maxWildcards = 4        // of those, with a hidden recipient: each is tried with each key
)

// Open decrypts the <x xmlns='jabber:x:encrypted'/> of in, which came from p. The
// whole plaintext is read and its integrity checked before anything inside is
// looked at; then the signature, if there is one; then whether it is a replay.
// What is not signed is sealed at best, whatever is pinned (XEP-0027 §4). Errors:
//
//	e2ee.ErrTooLarge     the armor or what it inflates to
//	e2ee.ErrMalformed    not OpenPGP, altered, cut short, or not UTF-8
//	e2ee.ErrWrongKey     encrypted to a key that is not the bot's
//	e2ee.ErrNoKey        signed by a key that counts and is not in the keyring yet
//	e2ee.ErrKeyChanged   signed by another key than the pinned ones
//	e2ee.ErrSignature    signed by a pinned key, but the signature does not hold
//	e2ee.ErrReplay       seen under another stanza id, or too old to know
//	e2ee.ErrNested       an OTR message is inside (mcabber with both switched on)
//
// The same message under the same stanza id is Redelivered, not an error.
func (s *Scheme) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (out e2ee.Opened, err error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Opened{}, err
	}
	now := s.codec.now()
	err = s.codec.Decrypt(p,
		func(dst []byte) ([]byte, error) {
			text, err := encryptedText(in)
			if err != nil {
				return nil, err
			}
			return decodeArmor(dst, text)
		},
		func(m *Message) error {
			body, err := CleanText(m.Data)
			if err != nil {
				return err
			}
			if err := m.CheckDates(s.replay.Horizon(now), now); err != nil {
				return err
			}
			out = e2ee.NewOpened(body, m.Rung, m.Signer)
			out.Signed = m.Signed()
			out.Silent = body == ""
			out.Redelivered, out.Seen, err = m.Mark(s.replay, p.Bare, in.ID, now)
			return err
		})
	if err != nil {
		return e2ee.Opened{}, fmt.Errorf("openpgp: open from %s: %w", p.Bare, err)
	}
	return out, nil
}

// encryptedText returns the text of the only <x xmlns='jabber:x:encrypted'/>.
func encryptedText(in e2ee.Incoming) (string, error) {
	text, n := "", 0
	for _, c := range in.Children {
		if c.Local == "x" && c.Space == NSEncrypted {
			text, n = c.Text, n+1
			if len(c.Children) > 0 {
				return "", fmt.Errorf("%w: elements inside of <x/>", e2ee.ErrMalformed)
			}
		}
	}
	switch {
	case n != 1:
		return "", fmt.Errorf("%w: %d encrypted parts", e2ee.ErrMalformed, n)
	case len(text) > maxArmor:
		return "", fmt.Errorf("%w: %d KiB of armor", e2ee.ErrTooLarge, len(text)>>10)
	}
	return text, nil
}

// decrypt returns the packets inside of an encrypted message, checked for
// integrity, and the session key. Where the session key opens but the data does
// not, the error is the same as for a session key that does not open, so that
// nobody learns from it about RSA padding.
func decrypt(b *buffers, own *Secret) (plain, session []byte, err error) {
	data := b.armor
	var keys []*packet.EncryptedKey
	damaged := false // a session key packet for us that cannot be read
	for sessions, wild := 0, 0; ; {
		var p pkt
		if p, data, err = nextPacket(data); err != nil {
			return nil, nil, err
		}
		switch p.tag {
		case tagMarker, tagPadding, tagPassphrase:
			continue
		case tagSessionKey:
			if sessions++; sessions > maxSessions {
				return nil, nil, fmt.Errorf("%w: more than %d recipients", e2ee.ErrTooLarge, maxSessions)
			}
			if hidden, ours := forUs(p.body, own); !ours || hidden && wild >= maxWildcards {
				continue
			} else if hidden {
				wild++
			}
			got, _ := packet.Read(bytes.NewReader(p.raw))
			if k, ok := got.(*packet.EncryptedKey); ok {
				if keys = append(keys, k); len(keys) > maxTries {
					return nil, nil, fmt.Errorf("%w: more than %d session keys for us", e2ee.ErrTooLarge, maxTries)
				}
			} else {
				damaged = true
			}
		case tagProtected, tagAEAD:
			switch {
			case len(data) > 0:
				return nil, nil, fmt.Errorf("%w: something follows the encrypted data", e2ee.ErrMalformed)
			case len(keys) == 0 && damaged:
				return nil, nil, errDamaged
			case len(keys) == 0:
				return nil, nil, e2ee.ErrWrongKey
			}
			return decryptData(b, p, keys, own)
		default:
			return nil, nil, fmt.Errorf("%w: packet %d outside of the encryption", e2ee.ErrMalformed, p.tag)
		}
	}
}

// errDamaged is all that is said of a message to our key that does not open.
var errDamaged = fmt.Errorf("%w: encrypted to our key, but altered or damaged", e2ee.ErrMalformed)

// forUs reports whether a session key packet is for one of our keys, or for a
// hidden recipient who may be us.
func forUs(body []byte, own *Secret) (hidden, ours bool) {
	switch {
	case len(body) > 9 && body[0] == 3:
		id := binary.BigEndian.Uint64(body[1:])
		return id == 0, id == 0 || own.opens(id)
	case len(body) > 3 && body[0] == 6: // the version that goes with SEIPD version 2
		return body[1] == 0, true
	}
	return false, false
}

func (s *Secret) opens(id uint64) bool {
	for _, k := range s.decrypt {
		if k.KeyId == id {
			return true
		}
	}
	return false
}

func decryptData(b *buffers, p pkt, keys []*packet.EncryptedKey, own *Secret) (plain, session []byte, err error) {
	tried := false
	for _, ek := range keys {
		for _, k := range own.decrypt {
			if ek.KeyId != 0 && ek.KeyId != k.KeyId || ek.Algo != k.PubKeyAlgo {
				continue
			}
			tried = tried || ek.KeyId != 0
			if ek.Decrypt(k, nil) != nil {
				continue
			}
			if plain, ok := b.decryptWith(p, ek); ok {
				return plain, ek.Key, nil
			}
		}
	}
	if !tried { // hidden recipients only, none of them us
		return nil, nil, e2ee.ErrWrongKey
	}
	return nil, nil, errDamaged
}

// decryptWith decrypts the data packet and checks its integrity. AES with an MDC,
// which is all that clients send, is done here; GnuPG 2.3's OCB mode, SEIPD
// version 2 and old ciphers by the library.
func (b *buffers) decryptWith(p pkt, ek *packet.EncryptedKey) ([]byte, bool) {
	if p.tag == tagProtected && len(p.body) > 0 && p.body[0] == 1 && ek.Version == 3 {
		switch ek.CipherFunc {
		case packet.CipherAES128, packet.CipherAES192, packet.CipherAES256:
			if len(ek.Key) != ek.CipherFunc.KeySize() {
				return nil, false
			}
			return b.decryptMDC(p.body[1:], ek.Key)
		}
	}
	got, err := packet.Read(bytes.NewReader(p.raw))
	if err != nil {
		return nil, false
	}
	var r io.ReadCloser
	switch e := got.(type) {
	case *packet.SymmetricallyEncrypted:
		if !e.IntegrityProtected {
			return nil, false
		}
		r, err = e.Decrypt(ek.CipherFunc, ek.Key)
	case *packet.AEADEncrypted:
		r, err = e.Decrypt(ek.CipherFunc, ek.Key)
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(r)
	if err != nil || r.Close() != nil {
		return nil, false
	}
	return plain, true
}

// decryptMDC decrypts data into b.plain and checks the hash at its end.
func (b *buffers) decryptMDC(data, key []byte) ([]byte, bool) {
	const trailer = 2 + sha1.Size
	if len(data) < prefixLen+trailer {
		return nil, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	b.plain = append(b.plain[:0], data...)
	data = b.plain
	cfbDecrypt(block, data)
	end := len(data) - sha1.Size
	sum := sha1.Sum(data[:end])
	ok := subtle.ConstantTimeCompare(sum[:], data[end:]) &
		subtle.ConstantTimeByteEq(data[end-2], 0xc0|tagMDC) &
		subtle.ConstantTimeByteEq(data[end-1], sha1.Size)
	if ok != 1 {
		return nil, false
	}
	return data[prefixLen : end-2], true
}

// CleanText makes the canonical text of a body: UTF-8, LF between lines. An OTR
// message inside is e2ee.ErrNested.
func CleanText(data []byte) (string, error) {
	if !utf8.Valid(data) {
		return "", fmt.Errorf("%w: text is not UTF-8", e2ee.ErrMalformed)
	}
	text := string(data)
	if strings.IndexByte(text, '\r') >= 0 {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	}
	for _, otr := range []string{"?OTR:", "?OTR,", "?OTR|", "?OTRv", "?OTR?", "?OTR Error:"} {
		if strings.HasPrefix(text, otr) {
			return "", fmt.Errorf("%w: OTR and OpenPGP are both on in the client", e2ee.ErrNested)
		}
	}
	return text, nil
}
