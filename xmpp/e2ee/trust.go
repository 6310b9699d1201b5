package e2ee

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// KeyKind is a kind of key that people have. One OpenPGP key serves both XEP-0027
// and OX, so what is known of it holds for both.
type KeyKind string

// The kinds of keys.
const (
	KeyOpenPGP KeyKind = "openpgp" // fingerprints of primary keys, version 4
	KeyOTR     KeyKind = "otr"     // fingerprints of DSA keys, OTRv2 and OTRv3 alike
)

// KeyKinds lists them all.
func KeyKinds() []KeyKind { return []KeyKind{KeyOpenPGP, KeyOTR} }

// KindOf returns the kind of keys a scheme uses, "" for an unknown scheme.
func KindOf(scheme string) KeyKind {
	switch scheme {
	case "openpgp", "ox":
		return KeyOpenPGP
	case "otr":
		return KeyOTR
	}
	return ""
}

// How says by what a key came to stand as it does.
type How string

// The ways. All but HowTOFU and HowSeen make a key verified.
const (
	HowConfig    How = "config"    // listed at the person
	HowAuthority How = "authority" // certified by keyring.authority
	HowAdmin     How = "admin"     // an admin accepted it, or revoked it
	HowSMP       How = "smp"       // the shared secret was known
	HowSession   How = "session"   // `!trust add` from a verified session of the same person
	HowTOFU      How = "tofu"      // the first one seen, where the bridge says tofu
	HowSeen      How = "seen"      // it was seen; nobody has decided
)

// KeyState is what was decided about a key.
type KeyState uint8

// The states of a key.
const (
	KeyUnknown KeyState = iota // never seen, and nothing was said of it
	KeyWaiting                 // seen; until somebody decides it is used only where nothing better is known and the floor is sealed
	KeyKept                    // first seen and kept (TOFU): signed
	KeyTrusted                 // verified
	KeyRevoked                 // never used, whatever the config says, until an admin accepts it
)

var keyStateNames = [...]string{"unknown", "waiting", "kept", "trusted", "revoked"}

// String returns the state's name as users see it.
func (s KeyState) String() string {
	if int(s) < len(keyStateNames) {
		return keyStateNames[s]
	}
	return "invalid"
}

// ParseKeyState returns the state with the given name.
func ParseKeyState(name string) (KeyState, bool) {
	i := slices.Index(keyStateNames[:], name)
	return KeyState(max(i, 0)), i >= 0
}

// Key is one key of a person and what is known of it.
type Key struct {
	Person      string // config name
	Kind        KeyKind
	Fingerprint string // 40 upper-case hex digits
	State       KeyState
	How         How
	Who         string    // who decided: an admin's name, a JID; "" where nobody did
	First       time.Time // when it was first seen or named; zero if never
	Since       time.Time // since when it stands as it does
	// Rung is what a conversation by this key reaches, out as well as in. Clear: it
	// must not be used.
	Rung policy.Rung
}

// Trust tells schemes which keys of a person count, and is told by them which
// keys are met. It does no I/O, is cheap, and is safe for concurrent use. What it
// says can change at any time: a scheme asks for each message, so that a
// revocation stops an established session at once in both directions.
//
// What is blocked is one conversation, that with the key in question: others of
// the same person, by keys that are trusted, go on.
type Trust interface {
	// Keys returns the keys of the person that may be sealed to without having met
	// them in a conversation, best rung first: pinned, certified, accepted, and kept
	// where the bridge trusts on first use. For schemes without a handshake.
	Keys(p Peer, kind KeyKind) []Key
	// Meet is called when the peer has proven that they have a key: after a
	// handshake, with a signature, or when their own account publishes it. It notes
	// and announces a key that is new, keeps it where the bridge trusts on first use
	// and nothing better is known, and returns what Rung does. Not for each message.
	Meet(p Peer, kind KeyKind, fpr string) (policy.Rung, error)
	// Rung returns what a message proves that was made by this key, and what it
	// reaches when sealed to it: verified; signed for a key first seen and kept;
	// sealed for a key met first, while nothing better is known of the person.
	// Otherwise ErrKeyRevoked, ErrKeyChanged (others are trusted or were met before,
	// this one is not), or ErrNoKey (never met, no other known).
	Rung(p Peer, kind KeyKind, fpr string) (policy.Rung, error)
	// Hint is called with a key that the peer's client seems to use, and has not
	// proven now: a presence signature can be replayed. Where others count, and this
	// one does not, it is announced; nothing is kept because of it.
	Hint(p Peer, kind KeyKind, fpr string)
	// Pinned reports whether the person has a key of the kind that is in the config,
	// certified, or was accepted: see Pinner. Revoked ones of the config count, so
	// that a revocation opens no way to a lesser scheme.
	Pinned(person *policy.Person, kind KeyKind) bool
}

// SMPOutcome is how a run of OTR's socialist millionaires' protocol ended.
type SMPOutcome uint8

// The outcomes.
const (
	SMPFailed    SMPOutcome = iota // the secrets differ, or it broke off after one of our messages was made of the secret
	SMPMatched                     // the peer knows the secret
	SMPAbandoned                   // it ended before any message made of the secret was sent
)

// SMP holds the limits of SMP and learns its results. At most three runs of a
// person may fail in a day, over all of their keys and devices; then nobody's is
// begun or answered for them until an admin clears it. A person's secret is used
// up by the run that succeeds.
type SMP interface {
	// BeginSMP allows one run with the peer, whose session is by the key fpr, and
	// returns the person's secret. It is called before anything made of the secret
	// leaves, whoever asks. end must be called once, with the outcome; a run without
	// an end counts as failed, also when the process dies. Errors: ErrNoSecret,
	// ErrSecretUsed, ErrSMPBlocked, ErrSMPBusy (the runs under way could use up
	// today's failures), ErrKeyRevoked.
	BeginSMP(p Peer, fpr string) (secret []byte, end func(SMPOutcome), err error)
}

// SMPAsker is an optional interface of a Scheme: it can ask a peer the question
// about the shared secret.
type SMPAsker interface {
	Scheme
	// AskSMP begins a run with the peer, by SMP.BeginSMP, in an established session,
	// and returns what must be sent to them now. question is shown to them; "" asks
	// without one. Errors are those of BeginSMP, and ErrHandshake without a session.
	AskSMP(p Peer, question string) (Payload, error)
}

// Identity is an optional interface of a Scheme that has a key of the bot's own,
// which people compare with what their client shows.
type Identity interface {
	// OwnKey returns the fingerprint of the account's own key, in upper-case hex.
	OwnKey() (kind KeyKind, fpr string)
}

// Errors of SMP.
var (
	ErrNoSecret   = errors.New("e2ee: no shared secret is configured for this person")
	ErrSecretUsed = errors.New("e2ee: the shared secret was used already; a new one is needed")
	ErrSMPBlocked = errors.New("e2ee: too many failed tries with the shared secret; an admin must clear it")
	ErrSMPBusy    = errors.New("e2ee: another try with the shared secret is under way")
)

// Pins is Trust by the config alone: what is listed at the person is verified, and
// nothing is remembered. It is what schemes use that are given no other.
type Pins struct{}

var _ Trust = Pins{}

// ConfigPins returns the fingerprints of one kind that the config lists.
func ConfigPins(person *policy.Person, kind KeyKind) []string {
	switch {
	case person == nil:
		return nil
	case kind == KeyOpenPGP:
		return person.OpenPGP
	case kind == KeyOTR:
		return person.OTR
	}
	return nil
}

// Keys implements Trust.
func (Pins) Keys(p Peer, kind KeyKind) []Key {
	var out []Key
	for _, fpr := range ConfigPins(p.Person, kind) {
		out = append(out, Key{
			Person: p.Person.Name, Kind: kind, Fingerprint: fpr,
			State: KeyTrusted, How: HowConfig, Rung: policy.Verified,
		})
	}
	return out
}

// Meet implements Trust.
func (t Pins) Meet(p Peer, kind KeyKind, fpr string) (policy.Rung, error) {
	return t.Rung(p, kind, fpr)
}

// Hint implements Trust.
func (Pins) Hint(Peer, KeyKind, string) {}

// Rung implements Trust. A key of a person who has none listed is sealed.
func (Pins) Rung(p Peer, kind KeyKind, fpr string) (policy.Rung, error) {
	switch pins := ConfigPins(p.Person, kind); {
	case slices.Contains(pins, fpr):
		return policy.Verified, nil
	case len(pins) > 0:
		return policy.Clear, ErrKeyChanged
	default:
		return policy.Sealed, nil
	}
}

// Pinned implements Trust.
func (Pins) Pinned(person *policy.Person, kind KeyKind) bool {
	return len(ConfigPins(person, kind)) > 0
}

// ParseFingerprint returns the form that is kept of a fingerprint as people write
// it: with spaces or colons, in either case, after 0x. ok is false if it has not 40
// hex digits.
func ParseFingerprint(s string) (fpr string, ok bool) {
	s = strings.NewReplacer(" ", "", ":", "", "\u00a0", "").Replace(s)
	s = strings.ToUpper(strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X"))
	if len(s) != 40 || strings.Trim(s, "0123456789ABCDEF") != "" {
		return "", false
	}
	return s, true
}

// TrustKeeper keeps what a Trust knows beyond the life of the process. A store
// implements it.
type TrustKeeper interface {
	// TrustKeys returns every key that was kept.
	TrustKeys(ctx context.Context) ([]Key, error)
	// KeepKeys keeps keys, each in the place of what was kept of it; one that is
	// KeyUnknown is forgotten. Rung is not kept. All are on the disk when it returns
	// nil, or none.
	KeepKeys(ctx context.Context, keys []Key) error
	// SMPTries returns what was kept by KeepTries, by person.
	SMPTries(ctx context.Context) (map[string]SMPTries, error)
	// KeepTries keeps t for a person; it is on the disk when it returns nil.
	KeepTries(ctx context.Context, person string, t SMPTries) error
}

// SMPTries is what is remembered of a person's runs of SMP.
type SMPTries struct {
	Failed  []time.Time `json:"failed,omitempty"` // runs that failed or have not ended, in the last day
	Blocked time.Time   `json:"blocked,omitzero"` // since when no more are allowed; zero if they are
	Used    []byte      `json:"used,omitempty"`   // hash of the secret that was used up
}
