package openpgp

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Namespaces of XEP-0027.
const (
	NSEncrypted = "jabber:x:encrypted"
	NSSigned    = "jabber:x:signed"
)

// Name is the scheme's name in the config.
const Name = "openpgp"

// fallback is what clients show that cannot decrypt. It never says more.
const fallback = "This message is encrypted (XEP-0027)."

// Config is what an account's scheme is made of.
type Config struct {
	Account string   // config name of the account, for errors and logs
	Secret  *Secret  // the account's own key
	Keyring *Keyring // the people's keys, shared by accounts
	// Unsigned leaves the signature inside of messages out. It is on by default:
	// every client shows signed messages, and it proves who wrote them.
	Unsigned bool
}

// Deps are what a Scheme takes from outside. Zero fields have defaults.
type Deps struct {
	Now    func() time.Time // time.Now
	Log    *slog.Logger     // silent
	Replay e2ee.Replay      // e2ee.NewReplayCache(0, 0)
	Trust  e2ee.Trust       // e2ee.Pins
}

// Scheme is XEP-0027 for one account. It is safe for concurrent use.
type Scheme struct {
	codec    *Codec
	unsigned bool
	replay   e2ee.Replay
}

// ownKey is the bot's key and what was signed with it.
type ownKey struct {
	secret *Secret
	signer atomic.Pointer[signerChoice]

	mu       sync.Mutex        // guards presence
	presence map[string]string // armor by status
}

var (
	_ e2ee.Scheme         = (*Scheme)(nil)
	_ e2ee.PresenceSigner = (*Scheme)(nil)
	_ e2ee.Pinner         = (*Scheme)(nil)
	_ e2ee.Unordered      = (*Scheme)(nil)
	_ e2ee.Identity       = (*Scheme)(nil)
)

// New returns the scheme of an account. Secret and Keyring must be set.
func New(cfg Config, deps Deps) *Scheme {
	s := &Scheme{codec: newCodec(cfg, deps), unsigned: cfg.Unsigned, replay: deps.Replay}
	if s.replay == nil {
		s.replay = e2ee.NewReplayCache(0, 0)
	}
	return s
}

// Codec returns what the scheme makes and reads its messages with, for a scheme
// that uses the same keys.
func (s *Scheme) Codec() *Codec { return s.codec }

// Unordered implements e2ee.Unordered: each message has a session key of its own.
func (s *Scheme) Unordered() {}

// SetSecret swaps the account's own key; what is under way keeps the old one.
// The account should send its presence again: it is signed anew.
func (s *Scheme) SetSecret(secret *Secret) { s.codec.SetSecret(secret) }

// Secret returns the account's own key.
func (s *Scheme) Secret() *Secret { return s.codec.Secret() }

// Name returns "openpgp".
func (s *Scheme) Name() string { return Name }

// Claims reports whether in carries an XEP-0027 message.
func (s *Scheme) Claims(in e2ee.Incoming) bool {
	for _, c := range in.Children {
		if c.Local == "x" && c.Space == NSEncrypted {
			return true
		}
	}
	return false
}

// Pinned reports whether a key is pinned or accepted for the peer's person.
func (s *Scheme) Pinned(p e2ee.Peer) bool { return s.codec.trust.Pinned(p.Person, e2ee.KeyOpenPGP) }

// OwnKey implements e2ee.Identity.
func (s *Scheme) OwnKey() (kind e2ee.KeyKind, fpr string) {
	return e2ee.KeyOpenPGP, s.Secret().Fingerprint()
}

// Reach returns the rung of the person's best key that can be sealed to now:
// verified for a pinned one. Errors are e2ee.ErrNoKey where there is none, else a
// *KeyError.
func (s *Scheme) Reach(p e2ee.Peer) (policy.Rung, error) { return s.codec.Reach(p) }
