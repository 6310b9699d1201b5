package openpgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Codec makes and reads OpenPGP messages with the keys of one account and of the
// people it talks to. XEP-0027 and OX share it: what differs is what is inside and
// how it is written into a stanza. It is safe for concurrent use.
type Codec struct {
	account string
	keyring *Keyring
	trust   e2ee.Trust
	now     func() time.Time
	log     *slog.Logger
	own     atomic.Pointer[ownKey]
	buffers sync.Pool
	met     meetings
}

// newCodec returns the codec of an account. Secret and Keyring must be set.
func newCodec(cfg Config, deps Deps) *Codec {
	if cfg.Secret == nil || cfg.Keyring == nil {
		panic("openpgp: New without a secret key or a keyring")
	}
	c := &Codec{account: cfg.Account, keyring: cfg.Keyring, trust: deps.Trust, now: deps.Now, log: deps.Log}
	if c.trust == nil {
		c.trust = e2ee.Pins{}
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.buffers.New = func() any { return new(buffers) }
	c.SetSecret(cfg.Secret)
	return c
}

// SetSecret swaps the account's own key; what is under way keeps the old one.
func (c *Codec) SetSecret(secret *Secret) {
	c.own.Store(&ownKey{secret: secret, presence: make(map[string]string)})
}

// Secret returns the account's own key.
func (c *Codec) Secret() *Secret { return c.own.Load().secret }

// Trust returns what tells which keys of people count.
func (c *Codec) Trust() e2ee.Trust { return c.trust }

// Has reports whether the keyring holds the key with this fingerprint.
func (c *Codec) Has(fpr string) bool { return c.keyring.snap.Load().certs[fpr] != nil }

// Reach returns the rung of the keys that a message to p would be sealed to now.
// Errors are e2ee.ErrNoKey where nobody has named a key, else a *KeyError.
func (c *Codec) Reach(p e2ee.Peer) (policy.Rung, error) {
	_, rung, err := c.recipients(p, c.now(), false)
	return rung, err
}

// recipients returns what to seal to: of the person's keys that count, best first,
// the first that can be used now; with all, every one of the same rung that can. It
// logs the use of a weak one once for each time the keyring was read.
func (c *Codec) recipients(p e2ee.Peer, now time.Time, all bool) (to []*recipient, rung policy.Rung, err error) {
	if p.Person == nil {
		return nil, policy.Clear, e2ee.ErrNoKey
	}
	snap := c.keyring.snap.Load()
	for _, k := range c.trust.Keys(p, e2ee.KeyOpenPGP) {
		if len(to) > 0 && k.Rung < rung {
			break
		}
		r, weak, why := snap.recipient(k.Fingerprint, p.Person.AllowWeakKey, now)
		if why != nil {
			if err == nil {
				err = &KeyError{Person: p.Person.Name, Fingerprint: k.Fingerprint, Err: why}
			}
			continue
		}
		if weak {
			snap.certs[k.Fingerprint].warnOnce.Do(func() {
				c.log.Warn("weak key in use", "leg", c.account, "to", p.Bare, "fpr", k.Fingerprint)
			})
		}
		to, rung = append(to, r), k.Rung
		if !all || len(to) == maxRecipients {
			break
		}
	}
	switch {
	case len(to) > 0:
		return to, rung, nil
	case err == nil:
		err = c.noKey(p)
	}
	return nil, policy.Clear, err
}

// noKey is the error where none of the person's keys counts.
func (c *Codec) noKey(p e2ee.Peer) error {
	for _, fpr := range p.Person.OpenPGP {
		if _, err := c.trust.Rung(p, e2ee.KeyOpenPGP, fpr); errors.Is(err, e2ee.ErrKeyRevoked) {
			return &KeyError{Person: p.Person.Name, Fingerprint: fpr, Err: err}
		}
	}
	return e2ee.ErrNoKey
}

// maxRecipients bounds the keys of one person that a message is sealed to.
const maxRecipients = 8

// Encrypt makes a binary OpenPGP message, signed by the account's key unless
// unsigned, to all keys of the person that count equally (one for each device it
// may be), and hands it to use, which may not keep it. plain is written by put, into
// space that is wiped. It returns the rung of those keys.
func (c *Codec) Encrypt(p e2ee.Peer, unsigned bool, put func(dst []byte) []byte, use func(msg []byte)) (rung policy.Rung, err error) {
	defer recoverTo(&err, "seal to", p)
	now := c.now()
	to, rung, err := c.recipients(p, now, true)
	if err != nil {
		return policy.Clear, err
	}
	b := c.buffers.Get().(*buffers)
	defer func() { b.wipe(); c.buffers.Put(b) }()
	b.plain = put(b.plain[:0])
	if len(b.plain) > maxPlain {
		return policy.Clear, fmt.Errorf("openpgp: seal to %s: %w", p.Bare, e2ee.ErrTooLarge)
	}
	if err := c.inner(b, to, unsigned, now); err != nil {
		return policy.Clear, err
	}
	if err := encrypt(b, to); err != nil {
		return policy.Clear, fmt.Errorf("openpgp: seal to %s: %w", p.Bare, err)
	}
	use(b.out.Bytes())
	return rung, nil
}

// Message is what was inside of an OpenPGP message. It is valid only while the
// function runs that was given it.
type Message struct {
	// Data is the literal data: whole, its integrity checked, in nobody else's hands.
	Data []byte
	// Rung is what the message proves: sealed without a signature, or with one that
	// nothing is known to check against.
	Rung policy.Rung
	// Signer is the fingerprint of the primary key of a signer who counts, or "".
	Signer string

	session []byte
	date    time.Time // of the literal data, zero if it has none
	signed  time.Time // of the signature, zero without one
}

// Decrypt reads the binary OpenPGP message that fill writes into the space it is
// given, and hands what is inside to use: the whole plaintext is read and its
// integrity checked before anything inside is looked at; then the signature, if
// there is one. Errors are those of Scheme.Open, and what fill and use return.
func (c *Codec) Decrypt(p e2ee.Peer, fill func(dst []byte) ([]byte, error), use func(m *Message) error) (err error) {
	defer recoverTo(&err, "open from", p)
	b := c.buffers.Get().(*buffers)
	defer func() { b.wipe(); c.buffers.Put(b) }()
	if b.armor, err = fill(b.armor[:0]); err != nil {
		return err
	}
	own := c.own.Load()
	plain, session, err := decrypt(b, own.secret)
	defer clear(session)
	if err != nil {
		return err
	}
	in, err := readInner(b, plain, true)
	if err != nil {
		return err
	}
	m := &Message{Data: in.data, session: session, date: in.date}
	if m.Rung, m.Signer, err = c.signature(p, own.secret, in); err != nil {
		return err
	}
	if in.sig != nil && m.Signer != "" {
		m.signed = in.sig.CreationTime
	}
	return use(m)
}

// Signed returns when the message was signed, by its signer's clock; the zero time
// if nobody who counts has signed it.
func (m *Message) Signed() time.Time { return m.signed }

// CheckDates refuses a message made before horizon, from which on replays are
// remembered, or by a clock far ahead of ours.
func (m *Message) CheckDates(horizon, now time.Time) error {
	if err := CheckDate("signature", m.signed, horizon, now); err != nil {
		return err
	}
	return CheckDate("literal data", m.date, horizon, now)
}

// Mark enters the message in r, by its session key, and returns what came of it: a
// message that was there before is redelivered, if it came by the same stanza, else
// the error is e2ee.ErrReplay.
func (m *Message) Mark(r e2ee.Replay, bare, id string, now time.Time) (redelivered bool, seen []byte, err error) {
	verdict, seen := r.Mark(m.session, bare, id, now)
	switch verdict {
	case e2ee.Replayed:
		return false, nil, e2ee.ErrReplay
	case e2ee.Redelivery:
		return true, seen, nil
	}
	return false, seen, nil
}

// signature checks the signature inside, if any, and returns the rung that the
// message proves, and the fingerprint of the key that signed.
func (c *Codec) signature(p e2ee.Peer, own *Secret, m inner) (policy.Rung, string, error) {
	if m.sig == nil || p.Person == nil {
		return policy.Sealed, "", nil
	}
	rung, fpr, err := c.verify(p, m.sig, m.data, true)
	switch {
	case errors.Is(err, e2ee.ErrKeyRevoked):
		return 0, "", err
	case err != nil && !c.trust.Pinned(p.Person, e2ee.KeyOpenPGP) && len(c.trust.Keys(p, e2ee.KeyOpenPGP)) == 0:
		return policy.Sealed, "", nil // nothing to check it against proves nothing
	case err != nil:
		return 0, "", err
	case rung <= policy.Sealed:
		return policy.Sealed, "", nil
	case len(m.sig.IntendedRecipients) > 0 && !intended(m.sig, own):
		return 0, "", fmt.Errorf("%w: made for somebody else", e2ee.ErrSignature)
	}
	return rung, fpr, nil
}

// verify checks that sig is a signature over data by a key of the person, and
// returns what that key is worth, and its fingerprint. With meet, a key of the
// keyring that nobody has named is told to Trust, which may keep it; without, that
// there is one is only hinted at.
func (c *Codec) verify(p e2ee.Peer, sig *packet.Signature, data []byte, meet bool) (policy.Rung, string, error) {
	snap, id := c.keyring.snap.Load(), *sig.IssuerKeyId
	weak := p.Person.AllowWeakKey
	for _, k := range c.trust.Keys(p, e2ee.KeyOpenPGP) {
		cert := snap.certs[k.Fingerprint]
		if cert == nil {
			if issuer(sig) == k.Fingerprint { // it counts, and was not brought or fetched yet
				return 0, "", &KeyError{Person: p.Person.Name, Fingerprint: k.Fingerprint, Err: e2ee.ErrNoKey}
			}
			continue
		}
		if v := cert.view(weak); v.holds(id) {
			return k.Rung, k.Fingerprint, v.verifyData(sig, data, c.now())
		}
	}
	changed := fmt.Errorf("%w: signed by key id %016X", e2ee.ErrKeyChanged, id)
	cert := snap.holder(id)
	if cert == nil {
		if fpr := issuer(sig); fpr != "" && !meet {
			c.trust.Hint(p, e2ee.KeyOpenPGP, fpr)
		}
		return 0, "", changed
	}
	if err := cert.view(weak).verifyData(sig, data, c.now()); err != nil {
		return 0, "", changed
	}
	rung, err := c.trust.Rung(p, e2ee.KeyOpenPGP, cert.fpr)
	switch {
	case err == nil:
	case !meet:
		c.trust.Hint(p, e2ee.KeyOpenPGP, cert.fpr)
	case c.met.first(p.Person.Name, cert.fpr):
		rung, err = c.trust.Meet(p, e2ee.KeyOpenPGP, cert.fpr)
	}
	if err != nil {
		return 0, "", fmt.Errorf("%w: signed by %s", err, cert.fpr)
	}
	return rung, cert.fpr, nil
}

// issuer returns the fingerprint of the key that sig says it is by, "" if it names
// only a key id. Nobody has checked it.
func issuer(sig *packet.Signature) string {
	if sig.IssuerKeyVersion != 4 {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
}

// meetings remembers of whom Trust was told which key, so that it is not told with
// each message. When there are too many it begins anew.
type meetings struct {
	mu   sync.Mutex // guards seen
	seen map[[2]string]bool
}

const maxMeetings = 1024

func (m *meetings) first(person, fpr string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := [2]string{person, fpr}
	if m.seen[k] {
		return false
	}
	if m.seen == nil || len(m.seen) >= maxMeetings {
		m.seen = make(map[[2]string]bool)
	}
	m.seen[k] = true
	return true
}

func intended(sig *packet.Signature, own *Secret) bool {
	for _, r := range sig.IntendedRecipients {
		if bytes.Equal(r.Fingerprint, own.own.entity.PrimaryKey.Fingerprint) {
			return true
		}
	}
	return false
}

// CheckDate refuses what is older than horizon, or dated by a clock far ahead of
// ours. A zero date says nothing. what names it in the error.
func CheckDate(what string, t, horizon, now time.Time) error {
	switch {
	case t.IsZero() || t.Unix() == 0:
		return nil
	case t.Before(horizon):
		return fmt.Errorf("%w: %s of %s is older than what is remembered", e2ee.ErrReplay, what, t.UTC().Format(time.RFC3339))
	case t.After(now.Add(MaxSkew)):
		return fmt.Errorf("%w: %s of %s: check the sender's clock", e2ee.ErrMalformed, what, t.UTC().Format(time.RFC3339))
	}
	return nil
}

// MaxSkew is how far a client's clock may be ahead of ours.
const MaxSkew = 24 * time.Hour
