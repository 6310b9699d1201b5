package bridge

import (
	"slices"
	"time"
)

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
	// Held are messages among them whose destinations are full.
	Held int `json:"held,omitempty"`
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
	Room    Room   `json:"room"`
	State   State  `json:"state"`
	Detail  string `json:"detail,omitempty"`
	Proven  bool   `json:"proven"`
	Scheme  string `json:"scheme,omitempty"`
	In      string `json:"in,omitempty"`
	Out     string `json:"out,omitempty"`
	Clear   bool   `json:"clear"`   // lines leave without end-to-end encryption
	Waiting int    `json:"waiting"` // rows queued or on the wire
	OnWire  int    `json:"on_wire"` // of these, unproven on the wire
	// Unproven are those that the network has, and that may still come back.
	Unproven int           `json:"unproven,omitempty"`
	Held     string        `json:"held,omitempty"`
	Oldest   time.Duration `json:"oldest_ns"` // age of the oldest row waiting
	Missed   int           `json:"missed,omitempty"`
	// Paused is until when an operator of the room paused the bridge there.
	Paused time.Time `json:"paused,omitzero"`
	// Full is since when no more is taken in for it, zero when there is room.
	Full time.Time `json:"full,omitzero"`
}

// Status returns a snapshot. It may be called at any time.
func (c *Core) Status() Status {
	now := c.now()
	t := c.table.Load()
	s := Status{Now: now, Started: c.started, Strays: c.strays.Load()}
	rooms := map[Room]RoomStatus{}
	for _, l := range *c.legs.Load() {
		ls := LegState{LegStatus: l.status(), Intake: l.in.status(), Connects: l.connects()}
		if !ls.Intake.Stalled.IsZero() {
			why := "the journal"
			if ls.Intake.Held > 0 {
				why = "room in a full queue"
			}
			ls.Notes = append(slices.Clip(ls.Notes), "intake full: waiting for "+why+", nothing is read from this network")
		}
		for _, r := range ls.Rooms {
			rooms[r.Room] = r
		}
		s.Legs = append(s.Legs, ls)
	}
	for _, b := range t.bridges {
		bs := BridgeStatus{
			Name: b.cfg.Name, In: b.cfg.Floor.In.String(), Out: b.cfg.Floor.Out.String(),
			Ledger: b.ledger.snapshot(),
		}
		if w := b.clearWarning(); w != "" {
			bs.Warnings = append(bs.Warnings, w)
		}
		for _, m := range b.members {
			q := m.out.status(now)
			r := rooms[m.room]
			q.State, q.Detail, q.Proven = r.State, r.Detail, r.Proven
			q.Scheme, q.In, q.Out = r.Scheme, r.In, r.Out
			q.Clear = !m.floor.Encrypted()
			bs.Rooms = append(bs.Rooms, q)
		}
		s.Bridges = append(s.Bridges, bs)
	}
	return s
}

// status describes the outbox's part of a QueueStatus.
func (o *outbox) status(now time.Time) QueueStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := QueueStatus{
		Room: o.room, Waiting: o.queue.len() - o.own, OnWire: 0, Missed: o.missed, Unproven: len(o.unproven.rows),
	}
	oldest := now
	for _, r := range o.wire {
		if r.Kind != RowOwn {
			q.OnWire++
			q.Waiting++
			oldest = earlier(oldest, r.Queued)
		}
	}
	if r := o.queue.oldest(o.room, false); r != nil {
		oldest = earlier(oldest, r.Queued)
	}
	if at := o.full.Load(); at != nil {
		q.Full = *at
	}
	q.Oldest = now.Sub(oldest)
	if q.Waiting > 0 {
		q.Held = o.reason
	}
	if now.Before(o.paused) {
		q.Paused = o.paused
		q.Held = "paused by an operator"
	}
	return q
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
