// Package e2ee says what an encryption scheme of the XMPP leg is, and chooses
// one for a peer, never below the floor. Schemes do no I/O: what they read and
// write are elements, which the leg receives and sends.
package e2ee

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/element"
)

// Plain is text that only a Seal may look into. bridge.Text is one.
type Plain interface{ Reveal() string }

// Peer is the other end of an encrypted conversation.
type Peer struct {
	Account  string // the bot's account, by its config name
	Self     string // the bot's bare JID
	Bare     string // the peer's bare JID
	Resource string // the peer's resource; "" when unknown or for any
	Person   *policy.Person
	// Floor is what the text in hand must reach: a scheme that has several ways to the
	// peer takes one that does. Zero where there is none.
	Floor policy.Rung
}

// Incoming is a message stanza as a scheme sees it.
type Incoming struct {
	Body     string             // character data of <body/>, "" if none
	Children []*element.Element // all children of <message/>
	ID       string             // stanza id: a known one is a redelivery, not a replay
	Stamp    time.Time          // XEP-0203 stamp, else the time of arrival
	Delayed  bool
}

// Payload is what a scheme made of a text: the children of <message/> that
// carry it, and what to say beside it.
type Payload struct {
	Children []*element.Element
	Body     string // fallback body, a constant of the scheme; never content
	EME      string // namespace for <encryption/> (XEP-0380)
	Store    bool   // whether archives may keep it: <store/> or <no-store/> (XEP-0334)
	NoCopy   bool   // <no-copy/> and <private/>: of no use to other resources
	// Resource is the peer's only resource that can read it, "" for any.
	Resource string
	// Rung is that of the keys the text was sealed to: since Choose one may have been
	// revoked. Clear where there is no text.
	Rung policy.Rung
}

// Opened is what came out of a message. A Rung of clear is a text that came in
// clear beside something for the scheme (OTR's whitespace tag); Reply and Changes
// count also where Open returned an error.
type Opened struct {
	body        string
	Rung        policy.Rung // what the message proves
	Fingerprint string      // of the signing key, "" if none
	// Signed is when it was signed, by its author's clock; zero where nobody can know.
	Signed time.Time
	// Reply is what must go back to the peer at once (handshakes).
	Reply []Payload
	// Changes are what it changed in the session, in their order (Session only).
	Changes []Change
	// Silent is set when there is nothing to relay (handshake, chat state).
	Silent bool
	// Redelivered is set when the same message came before under the same stanza
	// id. It is acknowledged and never relayed: the core had the first one, and the
	// server could choose this id at any time after the core has forgotten it.
	Redelivered bool
	// Inside are the elements that stood beside the body inside of the encryption:
	// receipts, chat states. They are checked like it, and nil for most schemes.
	Inside []*element.Element
	// Seen is what Replay.Mark returned: whoever keeps the message keeps it with it.
	Seen []byte
}

// NewOpened returns an Opened around a decrypted body.
func NewOpened(body string, rung policy.Rung, fingerprint string) Opened {
	return Opened{body: body, Rung: rung, Fingerprint: fingerprint}
}

// Reveal returns the decrypted body. The leg calls it once, to make a
// bridge.Text of it.
func (o Opened) Reveal() string { return o.body }

// String returns "redacted".
func (Opened) String() string { return "redacted" }

// GoString returns "redacted".
func (Opened) GoString() string { return "redacted" }

// LogValue returns "redacted".
func (Opened) LogValue() slog.Value { return slog.StringValue("redacted") }

// What a caller of Seal, Open or Reach branches on.
var (
	ErrNoKey      = errors.New("e2ee: no key of this person")
	ErrKeyExpired = errors.New("e2ee: key expired")
	ErrKeyRevoked = errors.New("e2ee: key revoked")
	ErrKeyWeak    = errors.New("e2ee: key too weak")
	ErrKeyChanged = errors.New("e2ee: key is not the pinned one")
	ErrHandshake  = errors.New("e2ee: handshake under way")
	ErrFloor      = errors.New("e2ee: no scheme reaches the floor")
	ErrWrongKey   = errors.New("e2ee: encrypted to another key")
	ErrReplay     = errors.New("e2ee: replayed")
	ErrTooLarge   = errors.New("e2ee: too large")
	ErrMalformed  = errors.New("e2ee: malformed")
	ErrSignature  = errors.New("e2ee: bad signature")
	ErrNested     = errors.New("e2ee: message of another scheme inside")
)

// Scheme is one way of encrypting messages. Its methods are safe for concurrent
// use; calls about one peer come in the order of the wire, unless it is Unordered.
type Scheme interface {
	// Name is the scheme's name in the config: "openpgp", "ox", "otr".
	Name() string
	// Claims reports whether in is a message of this scheme.
	Claims(in Incoming) bool
	// Reach returns the highest outgoing rung this scheme has for p right now,
	// or why it has none (ErrNoKey, ErrKeyExpired, …; ErrHandshake of a Session that
	// has to agree on keys first). It is cheap.
	Reach(p Peer) (policy.Rung, error)
	// Seal encrypts text for p. With ErrHandshake, the payload is what to send to
	// the peer first, if it has a body or children: see Session.
	Seal(ctx context.Context, p Peer, text Plain) (Payload, error)
	// Open decrypts in, which came from p. It returns only whole, checked
	// plaintext; in.Body is never part of it.
	Open(ctx context.Context, p Peer, in Incoming) (Opened, error)
}

// Unordered is a Scheme whose messages do not depend on one another: those of one
// peer may be sealed and opened in any order, and several at once.
type Unordered interface {
	Scheme
	// Unordered does nothing; it tells.
	Unordered()
}

// Unkept is a Scheme whose messages no archive keeps (they carry no-store, XEP-0334):
// that one is not found in an archive tells nothing.
type Unkept interface {
	Scheme
	// Unkept does nothing; it tells.
	Unkept()
}

// PresenceSigner is a Scheme that signs presences (XEP-0027 §2).
type PresenceSigner interface {
	// SignPresence returns the element for an available presence whose <status>
	// has exactly this character data, unescaped; "" for none.
	SignPresence(status string) (*element.Element, error)
	// VerifyPresence checks a peer's signature. It is a hint of capability only:
	// keys are never learnt from it.
	VerifyPresence(p Peer, status string, x *element.Element) error
}
