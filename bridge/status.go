package bridge

import "time"

// Status is a snapshot of the core, for `drawbridge status` and the metrics. It
// holds no message text.
type Status struct {
	Now     time.Time      `json:"now"`
	Started time.Time      `json:"started"`
	Legs    []LegState     `json:"legs"`
	Bridges []BridgeStatus `json:"bridges"`
	// Strays counts messages of rooms in no bridge.
	Strays uint64 `json:"strays"`
}

// LegState is a leg's own snapshot and its intake.
type LegState struct {
	LegStatus
	Intake IntakeStatus `json:"intake"`
	// Connects counts the LegUp events since the start.
	Connects uint64 `json:"connects"`
}

// IntakeStatus is how full a leg's intake is (limits: 4096 messages, 8 MiB).
type IntakeStatus struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	// Stalled is since when the leg's reader waits for room, zero when it does not.
	Stalled time.Time `json:"stalled,omitzero"`
}

// BridgeStatus is a snapshot of one bridge.
type BridgeStatus struct {
	Name   string        `json:"name"`
	In     string        `json:"in"`  // floor of incoming messages
	Out    string        `json:"out"` // floor of outgoing messages
	Rooms  []QueueStatus `json:"rooms"`
	Ledger Ledger        `json:"ledger"`
	// Warnings are for people: "this bridge also speaks in clear in …".
	Warnings []string `json:"warnings,omitempty"`
}

// QueueStatus is a room of a bridge and the outbox toward it. An outbox shared
// by several bridges shows in each.
type QueueStatus struct {
	Room    Room          `json:"room"`
	State   State         `json:"state"`
	Detail  string        `json:"detail,omitempty"`
	Proven  bool          `json:"proven"`
	Scheme  string        `json:"scheme,omitempty"`
	In      string        `json:"in,omitempty"`
	Out     string        `json:"out,omitempty"`
	Clear   bool          `json:"clear"`   // lines leave without end-to-end encryption
	Waiting int           `json:"waiting"` // rows queued or on the wire
	OnWire  int           `json:"on_wire"` // of these, unproven on the wire
	Held    string        `json:"held,omitempty"`
	Oldest  time.Duration `json:"oldest_ns"` // age of the oldest row waiting
	Missed  int           `json:"missed,omitempty"`
	// Paused is until when an operator of the room paused the bridge there.
	Paused time.Time `json:"paused,omitzero"`
}
