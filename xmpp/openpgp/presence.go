package openpgp

import (
	"bytes"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// presenceCache is how many statuses' signatures are kept.
const presenceCache = 16

// maxSignature bounds the armor of a presence signature.
const maxSignature = 8 << 10

// SignPresence returns <x xmlns='jabber:x:signed'/> for an available presence
// whose <status/> has exactly this character data, unescaped and untrimmed ("" for
// none): a detached signature of type 0x00 (XEP-0027 §2). One status is signed
// once. Every available presence needs it: Psi stops encrypting at the first
// without. The error is a *KeyError about the bot's own key.
func (s *Scheme) SignPresence(status string) (x *element.Element, err error) {
	defer recoverTo(&err, "sign presence of", e2ee.Peer{Bare: s.codec.account})
	own := s.codec.own.Load()
	now := s.codec.now()
	key, err := own.signingKey(now) // also when it is in the cache: it may have expired
	if err != nil {
		return nil, err
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	if text := own.presence[status]; text != "" {
		return element.New(NSSigned, "x").SetText(text), nil
	}
	var b bytes.Buffer
	if err := sign(&b, newSignature(key, now), key, []byte(status)); err != nil {
		return nil, fmt.Errorf("openpgp: sign presence: %w", err)
	}
	text := string(appendArmor(nil, b.Bytes()))
	if len(own.presence) >= presenceCache {
		clear(own.presence)
	}
	own.presence[status] = text
	return element.New(NSSigned, "x").SetText(text), nil
}

// VerifyPresence checks the signature of a presence from p, of type 0x00 or 0x01
// (Dino), over the character data of its <status/>. It tells only that a client
// has the person's key: the signature can be replayed, no key is learnt from it,
// and nothing becomes less protected by it. Errors: e2ee.ErrNoKey (nothing
// pinned), e2ee.ErrKeyChanged (not by a pinned key), e2ee.ErrSignature,
// e2ee.ErrMalformed, e2ee.ErrTooLarge.
func (s *Scheme) VerifyPresence(p e2ee.Peer, status string, x *element.Element) (err error) {
	defer recoverTo(&err, "verify presence of", p)
	if err := s.verifyPresence(p, status, x); err != nil {
		return fmt.Errorf("openpgp: presence of %s: %w", p.Bare, err)
	}
	return nil
}

func (s *Scheme) verifyPresence(p e2ee.Peer, status string, x *element.Element) error {
	switch {
	case p.Person == nil || !s.Pinned(p) && len(s.codec.trust.Keys(p, e2ee.KeyOpenPGP)) == 0:
		return e2ee.ErrNoKey
	case !x.Is(NSSigned, "x"):
		return fmt.Errorf("%w: not signed", e2ee.ErrSignature)
	case len(x.Text) > maxSignature:
		return e2ee.ErrTooLarge
	}
	data, err := decodeArmor(nil, x.Text)
	if err != nil {
		return err
	}
	sig, rest, err := readSignature(data)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: more than one signature", e2ee.ErrMalformed)
	}
	_, _, err = s.codec.verify(p, sig, []byte(status), false)
	return err
}

// readSignature reads one signature packet off data.
func readSignature(data []byte) (*packet.Signature, []byte, error) {
	p, rest, err := nextPacket(data)
	if err != nil {
		return nil, nil, err
	}
	if p.tag != tagSignature {
		return nil, nil, fmt.Errorf("%w: not a signature", e2ee.ErrMalformed)
	}
	sig, err := parseSignature(p)
	return sig, rest, err
}

func parseSignature(p pkt) (*packet.Signature, error) {
	got, err := packet.Read(bytes.NewReader(p.raw))
	if err != nil {
		return nil, fmt.Errorf("%w: signature packet cannot be read", e2ee.ErrSignature)
	}
	sig, ok := got.(*packet.Signature)
	if !ok || sig.IssuerKeyId == nil {
		return nil, fmt.Errorf("%w: names no key", e2ee.ErrSignature)
	}
	return sig, nil
}

// verifyData checks that sig is a signature over data by this key.
func (v *view) verifyData(sig *packet.Signature, data []byte, now time.Time) error {
	if sig.SigType != packet.SigTypeBinary && sig.SigType != packet.SigTypeText {
		return fmt.Errorf("%w: of type %#02x", e2ee.ErrSignature, uint8(sig.SigType))
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return fmt.Errorf("%w: unknown digest", e2ee.ErrSignature)
	}
	if sig.SigType == packet.SigTypeText {
		_, _ = pgp.NewCanonicalTextHash(h).Write(data)
	} else {
		_, _ = h.Write(data)
	}
	return v.verify(h, sig, now)
}
