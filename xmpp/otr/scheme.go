package otr

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr/engine"
)

// Name is the scheme's name in the config.
const Name = "otr"

// EME is the namespace by which XEP-0380 names OTR.
const EME = "urn:xmpp:otr:0"

// Start says when the bot asks a contact for a session.
type Start uint8

// The ways to start.
const (
	StartPresence     Start = iota // when a resource of theirs comes online
	StartFirstMessage              // when something is to be said to them
	StartPeer                      // never: the contact does, and what is to be said waits
)

// ParseStart reads otr.start of the config: "presence" or "", "first-message",
// "peer".
func ParseStart(s string) (Start, error) {
	switch s {
	case "", "presence":
		return StartPresence, nil
	case "first-message":
		return StartFirstMessage, nil
	case "peer":
		return StartPeer, nil
	}
	return StartPresence, fmt.Errorf("otr: %q is no way to start: presence, first-message or peer", s)
}

// Config is what an account's scheme is made of.
type Config struct {
	Account string // config name of the account, for logs
	Key     *Key   // the account's own key
	Start   Start
	// Rekey is how old a session becomes before its keys are agreed on anew;
	// default 24 h. Within a session they go on with every change of direction.
	Rekey time.Duration
	// Format overrides how a person's client writes; nil for none.
	Format func(person *policy.Person) Format
}

// Deps are what a Scheme takes from outside. Zero fields have defaults.
type Deps struct {
	Now   func() time.Time // time.Now
	Log   *slog.Logger     // silent
	Trust e2ee.Trust       // e2ee.Pins: the config alone
	SMP   e2ee.SMP         // nobody has a secret
}

// Limits and times of a Scheme.
const (
	maxText        = 64 << 10 // bytes of a body, in and out
	maxResources   = 16       // conversations with one bare JID
	maxTalks       = 4096     // in all
	defaultRekey   = 24 * time.Hour
	handshakeFor   = time.Minute      // one that takes longer is forgotten
	oldFor         = time.Minute      // the keys before the current ones are kept
	askAgain       = 30 * time.Second // between two queries without an answer; doubles
	askAgainMax    = 15 * time.Minute
	repeatEvery    = time.Minute // "please repeat", to one resource
	heartbeatAfter = time.Minute // without a message of ours
	smpFor         = 10 * time.Minute
	idleFor        = time.Hour      // an offline resource without a session is forgotten
	keepFor        = 24 * time.Hour // and one with a session
)

// Scheme is OTR for one account. It is safe for concurrent use.
type Scheme struct {
	account string
	key     *Key
	start   atomic.Uint32 // a Start
	rekey   time.Duration
	format  func(*policy.Person) Format
	now     func() time.Time
	log     *slog.Logger
	trust   e2ee.Trust
	smp     e2ee.SMP

	mu    sync.Mutex // guards both, and is never held with a talk's
	talks map[string]map[string]*talk
	count int
}

var (
	_ e2ee.Session  = (*Scheme)(nil)
	_ e2ee.Pinner   = (*Scheme)(nil)
	_ e2ee.SMPAsker = (*Scheme)(nil)
	_ e2ee.Identity = (*Scheme)(nil)
	_ e2ee.Unkept   = (*Scheme)(nil)
)

// Unkept says that no archive keeps its messages, which nobody could read later.
func (s *Scheme) Unkept() {}

// New returns the scheme of an account. Key must be set.
func New(cfg Config, deps Deps) *Scheme {
	if cfg.Key == nil {
		panic("otr: New without a key")
	}
	s := &Scheme{
		account: cfg.Account, key: cfg.Key, rekey: cfg.Rekey, format: cfg.Format,
		now: deps.Now, log: deps.Log, trust: deps.Trust, smp: deps.SMP,
		talks: map[string]map[string]*talk{},
	}
	s.SetStart(cfg.Start)
	if s.rekey <= 0 {
		s.rekey = defaultRekey
	}
	if s.format == nil {
		s.format = func(*policy.Person) Format { return FormatAuto }
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.trust == nil {
		s.trust = e2ee.Pins{}
	}
	if s.smp == nil {
		s.smp = noSMP{}
	}
	return s
}

// SetStart changes when the bot asks for a session, from now on.
func (s *Scheme) SetStart(start Start) { s.start.Store(uint32(start)) }

// starts returns when it does.
func (s *Scheme) starts() Start { return Start(s.start.Load()) }

// Name returns "otr".
func (s *Scheme) Name() string { return Name }

// OwnKey implements e2ee.Identity.
func (s *Scheme) OwnKey() (kind e2ee.KeyKind, fpr string) { return e2ee.KeyOTR, s.key.Fingerprint() }

// Pinned implements e2ee.Pinner.
func (s *Scheme) Pinned(p e2ee.Peer) bool { return s.trust.Pinned(p.Person, e2ee.KeyOTR) }

// Claims reports whether in is an OTR message, or carries a whitespace tag.
func (s *Scheme) Claims(in e2ee.Incoming) bool { return parse(in.Body).form != formPlain }

// Reach returns what the session reaches that Seal would use; ErrHandshake while
// there is none. Other errors are Trust's: the key must not be used.
func (s *Scheme) Reach(p e2ee.Peer) (policy.Rung, error) {
	_, rung, err := s.pick(p)
	return rung, err
}

// Established implements e2ee.Session.
func (s *Scheme) Established(p e2ee.Peer) bool {
	t := s.find(p)
	if t == nil {
		return false
	}
	defer t.mu.Unlock()
	return t.conv.Established() && !t.stale
}

// pick returns the talk that text for the peer goes to: of those with a session by
// a key that may be used the one that spoke last, but none below the floor of the text
// where another reaches it. It is not locked.
func (s *Scheme) pick(p e2ee.Peer) (best *talk, rung policy.Rung, err error) {
	err = e2ee.ErrHandshake
	var last turn
	for _, t := range s.of(p.Bare) {
		t.mu.Lock()
		live, at, fpr := t.live(), t.turn(), t.fpr
		t.mu.Unlock()
		if !live {
			continue
		}
		r, e := s.trust.Rung(t.asPeer(p), e2ee.KeyOTR, fpr)
		low := r < p.Floor
		switch {
		case e == nil && (err != nil || !low && rung < p.Floor || low == (rung < p.Floor) && at.after(last)):
			best, rung, err, last = t, r, nil, at
		case e != nil && errors.Is(err, e2ee.ErrHandshake):
			err = e
		}
	}
	return best, rung, err
}

// of returns the talks with a bare JID.
func (s *Scheme) of(bare string) []*talk {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*talk, 0, len(s.talks[bare]))
	for _, t := range s.talks[bare] {
		out = append(out, t)
	}
	return out
}

// find returns the talk with the peer's resource, locked, or nil.
func (s *Scheme) find(p e2ee.Peer) *talk {
	s.mu.Lock()
	t := s.talks[p.Bare][p.Resource]
	s.mu.Unlock()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	if t.dead {
		t.mu.Unlock()
		return nil
	}
	t.peer = p
	return t
}

// open returns the talk with the peer's resource, locked; a new one if there is
// none. Where there are too many the longest silent one without a session goes.
func (s *Scheme) open(p e2ee.Peer) (*talk, error) {
	if p.Resource == "" {
		return nil, fmt.Errorf("%w: OTR from a bare JID", e2ee.ErrMalformed)
	}
	for {
		if t := s.find(p); t != nil {
			return t, nil
		}
		if !s.makeRoom(p.Bare) {
			return nil, fmt.Errorf("%w: OTR conversations", e2ee.ErrTooLarge)
		}
		s.mu.Lock()
		of := s.talks[p.Bare]
		if of == nil {
			of = map[string]*talk{}
			s.talks[p.Bare] = of
		}
		if of[p.Resource] == nil && len(of) < maxResources && s.count < maxTalks {
			of[p.Resource] = &talk{peer: p, resource: p.Resource, conv: engine.New(s.key), since: s.now(), bucket: handshakeBurst, filled: s.now()}
			s.count++
		}
		s.mu.Unlock()
	}
}

// makeRoom reports whether one more talk with bare may be kept, after forgetting
// an idle one if need be.
func (s *Scheme) makeRoom(bare string) bool {
	s.mu.Lock()
	full, all := len(s.talks[bare]) >= maxResources, s.count >= maxTalks
	s.mu.Unlock()
	if !full && !all {
		return true
	}
	candidates := s.of(bare)
	if !full {
		candidates = s.all()
	}
	var oldest *talk
	var at time.Time
	for _, t := range candidates {
		t.mu.Lock()
		idle, last := !t.dead && !t.conv.Established(), t.touched()
		t.mu.Unlock()
		if idle && (oldest == nil || last.Before(at)) {
			oldest, at = t, last
		}
	}
	if oldest == nil {
		return false
	}
	s.forget(oldest)
	return true
}

func (s *Scheme) all() []*talk {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*talk, 0, s.count)
	for _, of := range s.talks {
		for _, t := range of {
			out = append(out, t)
		}
	}
	return out
}

// forget drops a talk, which must not be locked.
func (s *Scheme) forget(t *talk) {
	t.mu.Lock()
	t.dead = true
	t.endSMP(e2ee.SMPFailed)
	bare, resource := t.peer.Bare, t.resource
	t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.talks[bare]; of[resource] == t {
		delete(of, resource)
		s.count--
		if len(of) == 0 {
			delete(s.talks, bare)
		}
	}
}

// Len returns how many conversations are kept.
func (s *Scheme) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
