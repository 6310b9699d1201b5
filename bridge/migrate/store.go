package migrate

import (
	"context"
	"time"
)

// Store keeps what a migration must know in its next process. internal/store implements
// it, Memory does for tests. All methods are safe for concurrent use, and what they were
// given is on disk when they return nil.
type Store interface {
	// Load returns all that is kept but the talks.
	Load(ctx context.Context) (Kept, error)
	PutState(ctx context.Context, s State) error
	// PutCounts adds or replaces days and speakers, and forgets the speakers of the second
	// list, together.
	PutCounts(ctx context.Context, days []Day, speakers []Speaker, gone []SpeakerID) error
	PutRefusal(ctx context.Context, r Refusal) error
	// PutTalk adds or replaces what is kept of one conversation by its ID, Talk returns
	// it: ok is false where there is none.
	PutTalk(ctx context.Context, t Talk) error
	Talk(ctx context.Context, id string) (t Talk, ok bool, err error)
	// Talks returns all of them, by ID.
	Talks(ctx context.Context) ([]Talk, error)
	// DropTalk and DropRefusal forget; unknown ones are ignored.
	DropTalk(ctx context.Context, id string) error
	DropRefusal(ctx context.Context, id RefusalID) error
	// Forget drops days, speakers and talks from before a time. Links, refusals and
	// states stay.
	Forget(ctx context.Context, before time.Time) error
}

// Kept is what a migration begins with.
type Kept struct {
	States   []State
	Days     []Day
	Speakers []Speaker
	Refusals []Refusal
}

// Bounds of what is kept.
const (
	// MaxSpeakers of one bridge are known; who spoke longest ago goes first.
	MaxSpeakers = 5000
	// KeepDays is how long days, speakers and talks are kept.
	KeepDays = 400
)

// Day is what one bridge saw on one day, by UTC. It names nobody.
type Day struct {
	Bridge string `json:"bridge"`
	Date   string `json:"date"` // 2006-01-02
	// Lines counts what was said by leg and rung, as "corp/clear".
	Lines map[string]int `json:"lines,omitempty"`
	// Encrypted and All are sums of Lines.
	Encrypted int `json:"encrypted,omitempty"`
	All       int `json:"all,omitempty"`
	// Phase and figures as they were last on that day.
	Phase    Phase `json:"phase"`
	Speakers int   `json:"speakers"`
	Linked   int   `json:"linked"`
	Verified int   `json:"verified"`
}

// SpeakerID is who somebody is in the counts of a bridge: an account of a network, a nick
// where they have none, or a person on Jabber.
type SpeakerID struct {
	Bridge string `json:"bridge"`
	Leg    string `json:"leg"`
	Kind   string `json:"kind"` // "account", "nick", "person", "jid"
	Name   string `json:"name"` // of a nick or account in lower case
}

// Speaker is somebody who spoke, and how often: no text.
type Speaker struct {
	SpeakerID
	Shown string    `json:"shown,omitempty"` // the nick, as last written
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Lines int       `json:"lines"`
	Clear int       `json:"clear"` // of the lines
}

// RefusalID names somebody on a leg.
type RefusalID struct {
	Leg  string `json:"leg"`
	Name string `json:"name"` // nick, account, person or JID, in lower case
}

// Refusal is somebody who does not want to be counted (!move stop).
type Refusal struct {
	RefusalID
	At time.Time `json:"at"`
}

// Talk is how far somebody's guided conversation is: Data is its owner's, and holds no
// words of others.
type Talk struct {
	ID   string    `json:"id"` // whose it is, as "corp/alice"
	Step string    `json:"step,omitempty"`
	At   time.Time `json:"at"`
	Data []byte    `json:"data,omitempty"`
}
