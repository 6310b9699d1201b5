package guard

import (
	"context"
	"iter"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Orders is what admins ask of a guard, and what Guard answers. All methods are safe
// for concurrent use. by is the admin, for the audit. An unknown room is ErrNoRoom.
type Orders interface {
	Status() Status
	// Explain says what would be decided now on somebody in a room, and why: of who is
	// there, by nick; else of a person of the config, or of a source nick!user@host.
	// Nobody of that name: ErrNobody.
	Explain(who, room string, do policy.Do) (string, error)
	// Simulate replays the acts that fit against another policy.
	Simulate(ctx context.Context, q Query, other policy.Spec) (Simulation, error)
	// Enable ends the dry run of a room, Disable begins it again.
	Enable(ctx context.Context, room, by string) error
	Disable(ctx context.Context, room, by string) error
	// Ban bans somebody everywhere, and removes them. Errors: ErrNobody, ErrRefused,
	// ErrSecond (of masks), ErrNotKept.
	Ban(ctx context.Context, o BanOrder) (policy.BanRecord, error)
	// Forgive ends the bans of somebody, or the ban of that ID, and takes them back on
	// every network. It returns how many it was; none is ErrNobody.
	Forgive(ctx context.Context, who, by string) (int, error)
	// Lockdown shuts a room for that long, 0 for as long as the config says; less than
	// 0 opens it. It returns until when it is shut.
	Lockdown(ctx context.Context, room string, last time.Duration, by string) (time.Time, error)
	// DropOwner takes ownership of a MUC from a bare JID, and Destroy ends a MUC for good.
	// Both need two admins (ErrSecond), and are ErrRefused in a dry run, where the bot is
	// not owner, and where the room does not do it.
	DropOwner(ctx context.Context, room, jid, by string) error
	Destroy(ctx context.Context, o DestroyOrder) error
	// RotateKey has the channel of a room get another key now. ErrRefused: it is none
	// whose key the guard changes.
	RotateKey(ctx context.Context, room, by string) error
	// Key says the key of a room's channel to a person who may join: ErrRefused else.
	Key(person, room string) (string, error)
	// Audit returns the acts that fit, as Store.Acts does.
	Audit(ctx context.Context, q Query) iter.Seq2[Act, error]
}

// Status is a snapshot of all guarded rooms.
type Status struct {
	Now   time.Time    `json:"now"`
	Rooms []RoomStatus `json:"rooms"`
	Bans  int          `json:"bans"` // in force
	// Acts waits to be written to the audit; Lost, of acts and changes, had to be let go
	// of, because the store failed for too long.
	Acts int    `json:"acts_waiting,omitempty"`
	Lost uint64 `json:"acts_lost,omitempty"`
}

// RoomStatus is one guarded room.
type RoomStatus struct {
	Name   string        `json:"name"`
	Armed  bool          `json:"armed"` // false: dry run
	Shut   time.Time     `json:"shut,omitzero"`
	Places []PlaceStatus `json:"places"`
	// Did counts the acts since the start, by effect; of a dry run, what would have
	// been done.
	Did map[string]uint64 `json:"did,omitempty"`
	// Lockdowns and Repairs count, since the start, how often the room was shut, and how
	// often what others changed was set back.
	Lockdowns uint64 `json:"lockdowns,omitempty"`
	Repairs   uint64 `json:"repairs,omitempty"`
	// Alarms are what the admins were told and is still so.
	Alarms []string `json:"alarms,omitempty"`
}

// PlaceStatus is the channel or MUC of a room.
type PlaceStatus struct {
	Room bridge.Room `json:"room"`
	// Ready: the bot is there and has seen all who are.
	Ready bool `json:"ready"`
	// Holds: it has op, or is owner; known since Looked.
	Holds  bool      `json:"holds"`
	Looked time.Time `json:"looked,omitzero"`
	// ServicesDown: accounts cannot be told now, and nobody is removed for lack of one.
	ServicesDown bool `json:"services_down,omitempty"`
	Present      int  `json:"present"`
	Quarantined  int  `json:"quarantined"`
	// Never are facts that this network tells of nobody who is there.
	Never policy.Missing `json:"never,omitempty"`
	Acts  string         `json:"acts,omitempty"` // the peer that acts here while this guard watches
	// Cannot lists what this network does not let a guard keep by its own locks.
	Cannot []string `json:"cannot,omitempty"`
	// Plan are the changes that a dry run would make, or that wait.
	Plan []string `json:"plan,omitempty"`
}

// BanOrder asks to ban somebody from guarded rooms, on every network.
type BanOrder struct {
	// Who is a person of the config, somebody who is in one of the rooms, by nick, an
	// account ("account:corp/eve"), a JID, or a mask nick!user@host.
	Who    string
	Room   string        // "": all
	For    time.Duration // 0: until forgiven
	Reason string        // told to the person
	By     string        // the admin
}

// Difference is an act on which another policy would decide otherwise.
type Difference struct {
	Act Act
	Now policy.Decision
	Why string // as Explain writes it
}

// Simulation is the outcome of a replay of the audit against another policy.
type Simulation struct {
	Read        int // acts that were decisions on somebody
	Differences []Difference
}
