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
}

// Scheme is XEP-0027 for one account. It is safe for concurrent use.
type Scheme struct {
	account  string
	keyring  *Keyring
	unsigned bool
	now      func() time.Time
	log      *slog.Logger
	replay   e2ee.Replay
	own      atomic.Pointer[ownKey]
	buffers  sync.Pool
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
)

// New returns the scheme of an account. Secret and Keyring must be set.
func New(cfg Config, deps Deps) *Scheme {
	if cfg.Secret == nil || cfg.Keyring == nil {
		panic("openpgp: New without a secret key or a keyring")
	}
	s := &Scheme{
		account: cfg.Account, keyring: cfg.Keyring, unsigned: cfg.Unsigned,
		now: deps.Now, log: deps.Log, replay: deps.Replay,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.replay == nil {
		s.replay = e2ee.NewReplayCache(0, 0)
	}
	s.buffers.New = func() any { return new(buffers) }
	s.SetSecret(cfg.Secret)
	return s
}

// Unordered implements e2ee.Unordered: each message has a session key of its own.
func (s *Scheme) Unordered() {}

// SetSecret swaps the account's own key; what is under way keeps the old one.
// The account should send its presence again: it is signed anew.
func (s *Scheme) SetSecret(secret *Secret) {
	s.own.Store(&ownKey{secret: secret, presence: make(map[string]string)})
}

// Secret returns the account's own key.
func (s *Scheme) Secret() *Secret { return s.own.Load().secret }

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

// Pinned reports whether a key is pinned for the peer's person.
func (s *Scheme) Pinned(p e2ee.Peer) bool { return e2ee.Pinned(Name, p.Person) }

// Reach returns verified if a pinned key of the person can be sealed to now.
// Errors are e2ee.ErrNoKey where nothing is pinned, else a *KeyError.
func (s *Scheme) Reach(p e2ee.Peer) (policy.Rung, error) {
	if _, err := s.recipient(p, s.now()); err != nil {
		return policy.Clear, err
	}
	return policy.Verified, nil
}

// recipient returns the key to seal to, and logs the use of a weak one once for
// each time the keyring was read.
func (s *Scheme) recipient(p e2ee.Peer, now time.Time) (*recipient, error) {
	r, c, weak, err := s.keyring.snap.Load().recipient(p.Person, now)
	if err == nil && weak {
		c.warnOnce.Do(func() {
			s.log.Warn("weak key in use", "leg", s.account, "to", p.Bare, "fpr", c.fpr)
		})
	}
	return r, err
}
