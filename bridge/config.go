package bridge

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"drawbridge/policy"
)

// Config is what the core runs: values, no files. The zero value of each field
// is a documented default.
type Config struct {
	// Legs are the networks and accounts. Reload tells them apart by name and
	// identity: the same name with another Leg means stop the old, start the new.
	Legs    []Leg
	Bridges []BridgeConfig
	People  []policy.Person
	// Admins are the config names of people who are told of key problems, and may
	// give orders in their own encrypted chat, where a message proves AdminRung.
	Admins []string
	// AdminRung is what a message of an admin must prove to be an order; nothing
	// below sealed ever is. Clear, the zero value, is verified.
	AdminRung policy.Rung
	// QueueRows is how many lines may wait for one destination; 0 is OutboxRows.
	QueueRows int
	// Location is the zone of the times in late marks and digests; nil is local time.
	Location *time.Location
}

// BridgeConfig is one bridge: a named set of rooms joined together.
type BridgeConfig struct {
	Name  string
	Rooms []RoomConfig
	// Floor holds for every XMPP room that has none of its own. IRC channels are
	// clear.
	Floor policy.Floor
	// Schemes allowed to people, in order of preference.
	Schemes []string

	WhenBlocked BlockedConfig
	Offline     OfflineConfig
	Late        LateConfig
	OnDoubt     DoubtMode

	// ShowIRC and ShowXMPP are the who-said-it templates of the lines sent to IRC
	// and to XMPP rooms; "" is DefaultTemplate. See CheckTemplate.
	ShowIRC, ShowXMPP string
	Joins             JoinsMode
	// Announce is said once in each channel and MUC of the bridge when it is first
	// joined; "" is off.
	Announce string
}

// RoomConfig is one room of a bridge.
type RoomConfig struct {
	Room Room
	// Floor is the room's own floor, nil for the bridge's. A MUC of a bridge above
	// clear must have one that is clear; a channel has none.
	Floor *policy.Floor
}

// BlockedConfig says how long a line waits for a destination that cannot be
// reached or has no usable key, before it goes back to the sender's side as a
// notice (count and reason, never text).
type BlockedConfig struct {
	Hold time.Duration // 0 is 24 h
}

// OfflineConfig says what is kept for a person who is offline. Older and
// earlier lines are let go, and told as "n lines missed" when they are back.
type OfflineConfig struct {
	Keep  time.Duration // 0 is 24 h
	Lines int           // 0 is 200
}

// LateConfig says how lines that waited are shown.
type LateConfig struct {
	After  time.Duration // older ones carry their time; 0 is 5 min
	Digest int           // more waiting for a channel are introduced by a line and paced; 0 is 20
}

// DoubtMode says what to do with a line that may or may not have arrived.
type DoubtMode uint8

// The modes for lines in doubt.
const (
	Resend DoubtMode = iota // send it again under the same id: never lost
	Skip                    // let it go: never twice
)

// JoinsMode says whether joins and parts are told to the other rooms.
type JoinsMode uint8

// The modes of telling joins and parts.
const (
	JoinsOff    JoinsMode = iota
	JoinsDigest           // one line a minute, netsplits folded
)

// Deps are what the core needs from outside.
type Deps struct {
	Log     *slog.Logger // nil is silence
	Journal Journal      // nil is a new Memory journal
	Gate    Gate         // nil: everything may be relayed
	Trust   Trust        // nil: nothing is known of keys, and nothing can be ordered
	Guard   Guard        // nil: no room is guarded, and nothing can be ordered
	Proofs  Proofs       // nil: nothing can be proven
	Migrate Guard        // carries out !migrate; nil: nothing of that can be ordered
	Census  Census       // nil: nothing is counted
	// Asides are who answers what people on IRC say to the bot alone, by command
	// ("!link"); that of "" answers what is none. Who is not here is not answered.
	Asides map[string]AsideDesk
	Now    func() time.Time // nil is time.Now
	Rand   io.Reader        // seeds the wire ids; nil is crypto/rand
}

// ErrConfig is wrapped by every error that New and Reload return about a Config.
var ErrConfig = errors.New("bridge: config")

// Diff tells what a Reload changed. Names are sorted.
type Diff struct {
	LegsStarted    []string `json:"legs_started,omitempty"`
	LegsStopped    []string `json:"legs_stopped,omitempty"`
	BridgesAdded   []string `json:"bridges_added,omitempty"`
	BridgesRemoved []string `json:"bridges_removed,omitempty"`
	BridgesChanged []string `json:"bridges_changed,omitempty"` // settings other than rooms
	RoomsAdded     []string `json:"rooms_added,omitempty"`     // "bridge: leg/room"
	RoomsRemoved   []string `json:"rooms_removed,omitempty"`
	PeopleAdded    []string `json:"people_added,omitempty"`
	PeopleRemoved  []string `json:"people_removed,omitempty"`
	PeopleChanged  []string `json:"people_changed,omitempty"`
	// Bounced counts the lines that waited for removed rooms and went back.
	Bounced int `json:"bounced,omitempty"`
}
