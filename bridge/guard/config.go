package guard

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Config is what a guard holds: values, no files. The zero value of each field is a
// documented default.
type Config struct {
	// Policy says who may do what; its Rooms are those below, by the same names.
	Policy policy.Spec
	Rooms  []Room
	// Legs are those that can hold rooms. A leg of a room that is not here, or is no
	// Enforcer, is an error of New and Reload.
	Legs []bridge.Enforcer

	MaxRemovals policy.MaxRemovals
	// TwoPerson lists what needs the word of two admins: OrderBanMask and its like.
	// Nil is all of them; an empty list is none.
	TwoPerson []string

	// ID names this guard among its Peers: of those that are in a room, the one with
	// the lowest ID acts, and the others watch. "" is the lowest.
	ID    string
	Peers []Peer
}

// Room is one guarded room: a channel, a MUC, or both together.
type Room struct {
	Name    string
	Channel bridge.Room // zero: none
	MUC     bridge.Room // zero: none

	Modes string // channel modes that the guard keeps, as "+ntsR-i"
	Topic bool   // it keeps the topic, too
	// RotateKey is how long the channel keeps a key; zero: the guard leaves keys alone.
	RotateKey    time.Duration
	Affiliations bool // of the MUC: who is not named holds none
	// FollowOps takes over bans that a known person with the right to hold op sets on
	// one known person. Others are left alone.
	FollowOps bool
	// Bridged is the bridge that has the MUC; "": none.
	Bridged string
	// DryRun is the state of a room of which the store knows nothing: the guard only
	// says what it would do.
	DryRun bool
	Floods policy.FloodLimits
	// Joins is how many in what time shut the room, and JoinsFor for how long (default
	// 10 min); zero: any number may come.
	Joins    policy.Limit
	JoinsFor time.Duration
}

// Peer is another guard that holds the same rooms. What it does is never undone.
type Peer struct {
	ID       string
	Accounts map[string]string // its services account, by network
	JIDs     []string          // bare
}

// What can need the word of two admins.
const (
	OrderBanMask   = "ban-mask"   // a ban of a mask, not of a person or account
	OrderDropOwner = "drop-owner" // another owner of a MUC goes
	OrderDestroy   = "destroy"    // a MUC is destroyed
)

// Deps are what a guard needs from outside.
type Deps struct {
	Log   *slog.Logger     // nil is silence
	Store Store            // nil is a new Memory
	Now   func() time.Time // nil is time.Now
	// Alarm tells the admins something they have to know now, once for each matter and
	// ten minutes; nil: the log alone. It must not block.
	Alarm func(text string)
	// Tell says something to a person in their own encrypted chat, and reports whether
	// they have one; nil: nobody has. It must not block. It is Core.TellPrivately.
	Tell func(person, text string) bool
	// Purge sends the rows back that wait to be sent and match, with the reason, and
	// returns how many; nil: none wait. It is Core.Purge.
	Purge func(match func(*bridge.Row) bool, reason string) int
	// Verify checks the clear-signed text of a claim; nil: nobody clear-signs.
	Verify func(c *bridge.Claim) (Signed, error)
	Rand   io.Reader // of nonces and codes; nil is crypto/rand
}

// Signed is a text that was clear-signed, and whose signature holds.
type Signed struct {
	Text        string    // what was signed, and nothing else
	At          time.Time // when, by the signer's clock
	Fingerprint string    // of the key
	Rung        policy.Rung
}

// Errors that callers branch on. Those of New and Reload wrap ErrConfig.
var (
	ErrConfig  = errors.New("guard: config")
	ErrRunning = errors.New("guard: a guard runs once")
	ErrNoRoom  = errors.New("guard: no such room is guarded")
	ErrNobody  = errors.New("guard: nobody is known by that name")
	// ErrSecond: the order needs the word of a second admin, who gives the same order
	// within ten minutes.
	ErrSecond = errors.New("guard: needs a second admin, who gives the same order within 10 minutes")
	// ErrRefused: it would do what no order may, as to remove a protected person.
	ErrRefused = errors.New("guard: refused")
	// ErrNotKept: the order is carried out, but the store failed: it ends with this
	// process, unless the store is back before.
	ErrNotKept = errors.New("guard: done, but not kept: the store fails")
)
