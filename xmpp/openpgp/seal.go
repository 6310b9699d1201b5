package openpgp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" // the MDC of RFC 4880 §5.14 is SHA-1
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// maxPlain bounds a text, sealed or opened, in bytes. It is what IRC and clients
// can show many times over, and keeps the armor below maxArmor.
const maxPlain = 40 << 10

// buffers are the work space of one Seal or Open. Plain text in them is wiped
// before they go back to the pool.
type buffers struct {
	inner []byte       // packets inside of the encryption
	plain []byte       // decrypted data
	out   bytes.Buffer // packets outside
	armor []byte

	// Decompressors: every message of GnuPG is compressed, and a new one costs
	// 40 KiB. nil until they are needed.
	zlib, flate io.ReadCloser
}

func (b *buffers) wipe() {
	clear(b.inner)
	clear(b.plain)
	b.inner, b.plain, b.armor = b.inner[:0], b.plain[:0], b.armor[:0]
	b.out.Reset()
}

// Seal encrypts text to the newest valid encryption subkeys of the person's best
// keys, one for each device it may be, and to nobody else, with a signature by the
// bot's key inside unless the config says otherwise. Errors are those of Reach, e2ee.ErrTooLarge, and a
// *KeyError about the bot's own key if it can no longer sign.
func (s *Scheme) Seal(ctx context.Context, p e2ee.Peer, text e2ee.Plain) (out e2ee.Payload, err error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Payload{}, err
	}
	var armor string
	rung, err := s.codec.Encrypt(p, s.unsigned,
		func(dst []byte) []byte { return append(dst, text.Reveal()...) },
		func(msg []byte) { armor = string(appendArmor(make([]byte, 0, len(msg)*3/2), msg)) })
	if err != nil {
		return e2ee.Payload{}, err
	}
	return e2ee.Payload{
		Children: []*element.Element{element.New(NSEncrypted, "x").SetText(armor)},
		Body:     fallback,
		EME:      NSEncrypted,
		Store:    true,
		Rung:     rung,
	}, nil
}

// inner writes the packets to encrypt, around b.plain, into b.inner, after room for
// the prefix of the encryption: [one-pass signature] literal [signature].
func (c *Codec) inner(b *buffers, to []*recipient, unsigned bool, now time.Time) error {
	var signer *packet.PrivateKey
	b.inner = append(b.inner[:0], make([]byte, prefixLen)...)
	if !unsigned {
		var err error
		if signer, err = c.own.Load().signingKey(now); err != nil {
			return err
		}
		ops := packet.OnePassSignature{
			Version: 3, SigType: packet.SigTypeBinary, Hash: hashFor(signer),
			PubKeyAlgo: signer.PubKeyAlgo, KeyId: signer.KeyId, IsLast: true,
		}
		if err := ops.Serialize(&b.out); err != nil {
			return err
		}
		b.inner = append(b.inner, b.out.Bytes()...)
		b.out.Reset()
	}
	b.inner = appendHeader(b.inner, tagLiteral, 6+len(b.plain))
	b.inner = append(b.inner, 'b', 0) // binary, without a file name
	b.inner = binary.BigEndian.AppendUint32(b.inner, uint32(now.Unix()))
	b.inner = append(b.inner, b.plain...)
	if signer == nil {
		return nil
	}
	sig := newSignature(signer, now)
	for _, r := range to {
		sig.IntendedRecipients = append(sig.IntendedRecipients, &packet.Recipient{KeyVersion: 4, Fingerprint: r.primary})
	}
	if err := sign(&b.out, sig, signer, b.plain); err != nil {
		return err
	}
	b.inner = append(b.inner, b.out.Bytes()...)
	b.out.Reset()
	return nil
}

// prefixLen is what stands before the packets inside of an encryption: a block of
// random bytes, its last two repeated (RFC 4880 §5.13).
const prefixLen = aes.BlockSize + 2

// commonCipher returns what all of them read.
func commonCipher(to []*recipient) packet.CipherFunction {
	for _, r := range to[1:] {
		if r.cipher != to[0].cipher {
			return packet.CipherAES128
		}
	}
	return to[0].cipher
}

// encrypt writes the session key packets and the integrity-protected data packet
// (version 1, which GnuPG 2.2 reads) for b.inner to b.out. It is the library's
// work by hand, without its dozens of small writes.
func encrypt(b *buffers, to []*recipient) error {
	var session [32]byte
	algo := commonCipher(to)
	key := session[:algo.KeySize()]
	defer clear(session[:])
	_, _ = rand.Read(key) // never fails (Go 1.24)
	for _, r := range to {
		if err := packet.SerializeEncryptedKeyAEADwithHiddenOption(&b.out, r.key, algo, false, key, false, nil); err != nil {
			return err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	_, _ = rand.Read(b.inner[:aes.BlockSize])
	copy(b.inner[aes.BlockSize:prefixLen], b.inner[aes.BlockSize-2:aes.BlockSize])
	b.inner = append(b.inner, 0xc0|tagMDC, sha1.Size)
	sum := sha1.Sum(b.inner)
	b.inner = append(b.inner, sum[:]...)
	cfbEncrypt(block, b.inner)
	var head [8]byte
	b.out.Write(appendHeader(head[:0], tagProtected, 1+len(b.inner)))
	b.out.WriteByte(1)
	b.out.Write(b.inner)
	return nil
}

// cfbEncrypt encrypts buf in place in OpenPGP's cipher feedback mode without
// resynchronisation, which is CFB with an IV of zeros.
func cfbEncrypt(block cipher.Block, buf []byte) {
	var mask [aes.BlockSize]byte
	last := mask[:]
	for len(buf) > 0 {
		block.Encrypt(mask[:], last)
		n := subtle.XORBytes(buf, buf, mask[:])
		last, buf = buf[:n], buf[n:]
	}
}

// cfbDecrypt is the reverse of cfbEncrypt.
func cfbDecrypt(block cipher.Block, buf []byte) {
	var mask, last, next [aes.BlockSize]byte
	for len(buf) > 0 {
		block.Encrypt(mask[:], last[:])
		copy(next[:], buf)
		n := subtle.XORBytes(buf, buf, mask[:])
		last, buf = next, buf[n:]
	}
}

// newSignature returns the frame of a signature over binary data.
func newSignature(key *packet.PrivateKey, now time.Time) *packet.Signature {
	return &packet.Signature{
		Version: key.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PubKeyAlgo,
		Hash: hashFor(key), CreationTime: now, IssuerKeyId: &key.KeyId,
		IssuerKeyVersion: uint8(key.Version), IssuerFingerprint: key.Fingerprint,
	}
}

// sign signs data and writes the signature packet to w.
func sign(w *bytes.Buffer, sig *packet.Signature, key *packet.PrivateKey, data []byte) error {
	h, err := sig.PrepareSign(nil)
	if err != nil {
		return err
	}
	_, _ = h.Write(data)
	if err := sig.Sign(h, key, nil); err != nil {
		return err
	}
	return sig.Serialize(w)
}

// hashFor returns the digest to sign with: SHA-256, but never one shorter than an
// elliptic curve asks for.
func hashFor(key *packet.PrivateKey) crypto.Hash {
	if key.PubKeyAlgo == packet.PubKeyAlgoECDSA {
		switch curve, _ := key.Curve(); curve {
		case packet.CurveNistP384, packet.CurveBrainpoolP384:
			return crypto.SHA384
		case packet.CurveNistP521, packet.CurveBrainpoolP512:
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}

// signerChoice is the key to sign with in one second.
type signerChoice struct {
	second int64
	key    *packet.PrivateKey
	err    error
}

// signingKey returns the key to sign with at now. The error is a *KeyError.
func (o *ownKey) signingKey(now time.Time) (*packet.PrivateKey, error) {
	if c := o.signer.Load(); c != nil && c.second == now.Unix() {
		return c.key, c.err
	}
	c := &signerChoice{second: now.Unix()}
	var err error
	if c.key, err = o.secret.signingKey(now); err != nil {
		c.err = &KeyError{Fingerprint: o.secret.fpr, Err: fmt.Errorf("the bot's own key: %w", err)}
	}
	o.signer.Store(c)
	return c.key, c.err
}

// recoverTo turns a panic of the OpenPGP library into an error. Its words are not
// kept: they might quote what was said.
func recoverTo(err *error, act string, p e2ee.Peer) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("openpgp: %s %s: %w: the OpenPGP library panicked (%T)", act, p.Bare, e2ee.ErrMalformed, r)
	}
}
