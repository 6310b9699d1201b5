package ox

import (
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// Namespaces.
const (
	NS   = "urn:xmpp:openpgp:0"    // XEP-0373
	NSIM = "urn:xmpp:openpgp:im:0" // XEP-0374 §2.1
)

// Name is the scheme's name in the config.
const Name = "ox"

// fallback is what clients show that cannot decrypt. It never says more.
const fallback = "This message is encrypted with OpenPGP (XEP-0373)."

// Config is what an account's scheme is made of.
type Config struct {
	Account string // config name of the account, for logs
	// Codec has the account's key and those of people.
	Codec *openpgp.Codec
	// Keyring takes the keys that people publish and that count already; nil: none.
	Keyring *openpgp.Keyring
}

// Deps are what a Scheme takes from outside. Zero fields have defaults.
type Deps struct {
	Now    func() time.Time // time.Now
	Log    *slog.Logger     // silent
	Replay e2ee.Replay      // e2ee.NewReplayCache(0, 0)
	Rand   io.Reader        // crypto/rand: of the padding alone
}

// Scheme is OX for one account. It is safe for concurrent use.
type Scheme struct {
	account string
	codec   *openpgp.Codec
	keyring *openpgp.Keyring
	now     func() time.Time
	log     *slog.Logger
	replay  e2ee.Replay
	rand    io.Reader

	mu    sync.Mutex        // guards peers
	peers map[string]*known // by bare JID
}

var (
	_ e2ee.Scheme    = (*Scheme)(nil)
	_ e2ee.Pinner    = (*Scheme)(nil)
	_ e2ee.Unordered = (*Scheme)(nil)
	_ e2ee.Carrier   = (*Scheme)(nil)
	_ e2ee.Announcer = (*Scheme)(nil)
	_ e2ee.Identity  = (*Scheme)(nil)
)

// New returns the scheme of an account. Codec must be set.
func New(cfg Config, deps Deps) *Scheme {
	if cfg.Codec == nil {
		panic("ox: New without keys")
	}
	s := &Scheme{
		account: cfg.Account, codec: cfg.Codec, keyring: cfg.Keyring,
		now: deps.Now, log: deps.Log, replay: deps.Replay, rand: deps.Rand, peers: make(map[string]*known),
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
	if s.rand == nil {
		s.rand = rand.Reader
	}
	return s
}

// Name returns "ox".
func (s *Scheme) Name() string { return Name }

// Unordered implements e2ee.Unordered: each message has a session key of its own.
func (s *Scheme) Unordered() {}

// Pinned reports whether a key is pinned or accepted for the peer's person. The
// keys are those of XEP-0027.
func (s *Scheme) Pinned(p e2ee.Peer) bool { return s.codec.Trust().Pinned(p.Person, e2ee.KeyOpenPGP) }

// OwnKey implements e2ee.Identity.
func (s *Scheme) OwnKey() (kind e2ee.KeyKind, fpr string) {
	return e2ee.KeyOpenPGP, s.codec.Secret().Fingerprint()
}

// Claims reports whether in carries an <openpgp/> of XEP-0373.
func (s *Scheme) Claims(in e2ee.Incoming) bool {
	for _, c := range in.Children {
		if c.Local == "openpgp" && c.Space == NS {
			return true
		}
	}
	return false
}

// Reach returns the rung of the person's best key that can be sealed to now:
// verified for a pinned one. Errors are e2ee.ErrNoKey where there is none, else an
// *openpgp.KeyError.
func (s *Scheme) Reach(p e2ee.Peer) (policy.Rung, error) { return s.codec.Reach(p) }
