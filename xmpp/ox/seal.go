package ox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// maxPad is the longest padding, in characters. Its length hides that of the text,
// and of a receipt that it is one.
const maxPad = 200

// Seal encrypts text to the person's keys, all that count equally (XEP-0374 §2.3),
// signed by the account's key. Errors are those of Reach, e2ee.ErrTooLarge, and an
// *openpgp.KeyError about the bot's own key if it can no longer sign.
func (s *Scheme) Seal(ctx context.Context, p e2ee.Peer, text e2ee.Plain) (e2ee.Payload, error) {
	return s.SealWith(ctx, p, text)
}

// SealWith implements e2ee.Carrier.
func (s *Scheme) SealWith(ctx context.Context, p e2ee.Peer, text e2ee.Plain, beside ...*element.Element) (e2ee.Payload, error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Payload{}, err
	}
	if p.Bare == "" {
		return e2ee.Payload{}, errors.New("ox: seal: to nobody")
	}
	pad, err := s.padding()
	if err != nil {
		return e2ee.Payload{}, fmt.Errorf("ox: seal to %s: %w", p.Bare, err)
	}
	sc := &signcrypt{to: []string{p.Bare}, time: s.now(), pad: pad}
	out := e2ee.Payload{EME: NS, Store: text != nil}
	if text != nil {
		sc.payload = append(sc.payload, element.New(nsClient, "body").SetText(text.Reveal()))
		out.Body = fallback
	}
	sc.payload = append(sc.payload, beside...)
	var encoded string
	out.Rung, err = s.codec.Encrypt(p, false, sc.appendTo,
		func(msg []byte) { encoded = base64.StdEncoding.EncodeToString(msg) })
	if err != nil {
		return e2ee.Payload{}, err
	}
	out.Children = []*element.Element{element.New(NS, "openpgp").SetText(encoded)}
	return out, nil
}

// padding returns a random number of random characters.
func (s *Scheme) padding() (string, error) {
	var b [1 + maxPad*3/4]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("no random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[1:])[:int(b[0])*(maxPad+1)/256], nil
}
