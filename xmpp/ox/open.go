package ox

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// maxText bounds the text of <openpgp/>, before base64.
const maxText = 64 << 10

// Open decrypts the <openpgp/> of in, which came from p, and checks all that
// XEP-0373 §3.2 asks for: a signature by a key of the person that counts, our JID
// among the recipients that were signed, and a time that fits; then whether it is a
// replay. The key is known by its fingerprint, so its user ids are not looked at. A
// message without a body (a chat state, a receipt) is Silent. Errors:
//
//	e2ee.ErrTooLarge     what is there, or what it inflates to
//	e2ee.ErrMalformed    not OpenPGP, altered, cut short, or no <signcrypt/>
//	e2ee.ErrWrongKey     encrypted to a key that is not the bot's
//	e2ee.ErrNoKey        signed by a key that counts and is not in the keyring yet
//	e2ee.ErrKeyChanged   signed by another key than those that count
//	e2ee.ErrKeyRevoked   signed by one that was revoked
//	e2ee.ErrSignature    not signed, the signature does not hold, or made for somebody else
//	e2ee.ErrReplay       seen under another stanza id, or not of this time
//	e2ee.ErrNested       an OTR message is inside
//
// The same message under the same stanza id is Redelivered, not an error.
func (s *Scheme) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (out e2ee.Opened, err error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Opened{}, err
	}
	err = s.codec.Decrypt(p,
		func(dst []byte) ([]byte, error) { return decode(dst, in) },
		func(m *openpgp.Message) error {
			out, err = s.content(m, p, in)
			return err
		})
	if err != nil {
		return e2ee.Opened{}, fmt.Errorf("ox: open from %s: %w", p.Bare, err)
	}
	s.met(p)
	return out, nil
}

// decode returns the OpenPGP message of the only <openpgp/>.
func decode(dst []byte, in e2ee.Incoming) ([]byte, error) {
	text, n := "", 0
	for _, c := range in.Children {
		if c.Local == "openpgp" && c.Space == NS {
			if n++; len(c.Children) > 0 {
				return nil, fmt.Errorf("%w: elements inside of <openpgp/>", e2ee.ErrMalformed)
			}
			text = c.Text
		}
	}
	switch {
	case n != 1:
		return nil, fmt.Errorf("%w: %d encrypted parts", e2ee.ErrMalformed, n)
	case len(text) > maxText:
		return nil, fmt.Errorf("%w: %d KiB of base64", e2ee.ErrTooLarge, len(text)>>10)
	}
	return decodeBase64(dst, text)
}

// decodeBase64 reads base64 with white space anywhere (RFC 4648 §4).
func decodeBase64(dst []byte, text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, text)
	dst, err := base64.StdEncoding.AppendDecode(dst, []byte(text))
	if err != nil || len(dst) == 0 {
		return nil, fmt.Errorf("%w: not base64", e2ee.ErrMalformed)
	}
	return dst, nil
}

// content checks what was inside of a message and makes an Opened of it.
func (s *Scheme) content(m *openpgp.Message, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	if m.Rung < policy.Signed || m.Signer == "" {
		return e2ee.Opened{}, fmt.Errorf("%w: not signed by a key that counts", e2ee.ErrSignature)
	}
	sc, err := parseSignCrypt(m.Data)
	if err != nil {
		return e2ee.Opened{}, err
	}
	if !sc.isFor(p.Self) {
		return e2ee.Opened{}, fmt.Errorf("%w: made for somebody else", e2ee.ErrSignature)
	}
	now := s.now()
	if err := s.checkTime(m, sc.time, in, now); err != nil {
		return e2ee.Opened{}, err
	}
	body, said := sc.body()
	if body, err = openpgp.CleanText([]byte(body)); err != nil {
		return e2ee.Opened{}, err
	}
	out := e2ee.NewOpened(body, m.Rung, m.Signer)
	out.Signed = sc.time
	out.Silent = !said || body == ""
	for _, c := range sc.payload {
		if c.Local != "body" {
			out.Inside = append(out.Inside, c)
		}
	}
	out.Redelivered, out.Seen, err = m.Mark(s.replay, p.Bare, in.ID, now)
	return out, err
}

// checkTime refuses a message whose <time/> does not fit: older than replays are
// remembered; a day older than it came, or than its server says it came; or a day
// ahead of us. So who holds a message back cannot have it pass as one of today.
func (s *Scheme) checkTime(m *openpgp.Message, t time.Time, in e2ee.Incoming, now time.Time) error {
	horizon := s.replay.Horizon(now)
	if err := m.CheckDates(horizon, now); err != nil {
		return err
	}
	came := in.Stamp
	if came.IsZero() || came.After(now) {
		came = now
	}
	if c := came.Add(-openpgp.MaxSkew); c.After(horizon) {
		horizon = c
	}
	return openpgp.CheckDate("<time/>", t, horizon, now)
}
