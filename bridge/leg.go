package bridge

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Leg is one network: an IRC connection or an XMPP account. A leg reconnects
// by itself; it reports what happens through its Sink and never calls the core
// in any other way.
type Leg interface {
	// Name is the leg's name in the config.
	Name() string
	// Run connects and serves until ctx ends, then says goodbye and returns
	// with none of its goroutines left. A second call is an error.
	Run(ctx context.Context, sink Sink) error
	// Send returns once m is on the wire, with nil; the proof comes later
	// through Sink.Prove under m.ID. Calls for one room come from one goroutine,
	// in order; calls for different rooms may run at once. Each Send that returned
	// nil is followed by exactly one Prove; what is unproven when the link ends is
	// in Doubt, and is reported so before the room is up again, unless the next link
	// goes on with the same session: then LegUp alone follows LegDown, and the proofs
	// come as if nothing had happened. Errors: ErrNotReady,
	// *HoldError, or anything else for a refusal that trying again cannot mend.
	// One whose message may get there and not be read (a session of the reader's that
	// is gone) proves Acked; of that id one Delivered or one Unread may follow within
	// UnprovenFor, after which it counts as delivered. An Unread may also come before
	// the proof, and does not replace it.
	// A room the leg does not have (a reload tells the core first) is not ready.
	// After an error nothing of m was sent.
	Send(ctx context.Context, m Outgoing) error
	// Window is how many messages to room may wait for their proof at once.
	Window(room Room) int
	// Status returns a snapshot for `drawbridge status` and the metrics.
	Status() LegStatus
}

// BatchLeg is a Leg that can put several messages to one room on the wire in one
// write, which saves the server and us most of the cost of a line.
type BatchLeg interface {
	Leg
	// SendAll is Send for each of ms, which are all to one room, in their order. It
	// returns how many it sent. If that is not all, err says why the next one was
	// not; nil with at least one sent means that it is to be called again.
	SendAll(ctx context.Context, ms []Outgoing) (n int, err error)
}

// Answer is what a network says of a message in doubt.
type Answer uint8

// The answers.
const (
	Unanswered Answer = iota // nobody can be asked, or what is kept does not reach back that far
	Present                  // the network has it
	Absent                   // the network would have it, and has not
)

// AskLeg is a Leg that can ask its network what became of messages in doubt: an
// archive, the history of a channel.
type AskLeg interface {
	Leg
	// Ask tells of each of ms, all to one room and in their order, whether the network
	// has it. The core calls it from the room's goroutine, after the room came up and
	// before anything else is sent there. Each of ms has the ID and text it was sent
	// with, perhaps by an earlier process. The answers are as many as ms. ErrNotReady:
	// the room went down; it will be asked again. context.DeadlineExceeded: no answer
	// came in time; it will be asked again, a few times. Another error: nobody can be
	// asked.
	Ask(ctx context.Context, ms []Outgoing) ([]Answer, error)
	// Asks reports whether Ask could tell of a message that is sent to room now, should
	// its link or this process end before the proof. Where it could not, the core has
	// one message at a time on the way there. It is called before each Send.
	Asks(room Room) bool
}

// Sink is what a leg hands messages, events and proofs to.
type Sink interface {
	// Take hands a message over, in the order of the wire. It blocks while the
	// intake is full (back-pressure), and fails only when ctx ends.
	Take(ctx context.Context, m Message) error
	// Notify reports an event, in order with the messages of Take.
	Notify(ctx context.Context, e Event) error
	// Prove reports what became of a message sent. It never blocks, and may be
	// called before Send has returned. Unknown and repeated ids are ignored.
	Prove(p Proof)
}

// Outcome is what became of a message that was sent.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota + 1 // proven, as far as this network can
	Failed                       // refused by the far side: Err says why
	Doubt                        // the link ended before a proof came
	// Acked: the network has it, and whoever it goes to may still turn out not to
	// be able to read it. The window is free; Delivered or Unread may follow.
	Acked
	// Unread: it got there, or came back, and was not read: it is to be sent again,
	// under the same id. It follows Acked, or comes before the proof of the Send.
	Unread
)

// Proof tells what became of one Outgoing.
type Proof struct {
	Room    Room
	ID      string // Outgoing.ID
	Outcome Outcome
	Err     error  // for Failed
	NetID   string // the network's own id of the message (msgid, stanza-id), if any
}

// ErrNotReady is returned by Send while the room cannot take anything: link
// down, not joined, person offline. A RoomUp event tells when it can.
var ErrNotReady = errors.New("bridge: room is not ready")

// HoldError is returned by Send when this one destination is blocked: no usable
// key, a changed fingerprint, a handshake under way. The message waits in its
// outbox, within the bridge's when_blocked bounds; others are not delayed.
type HoldError struct {
	Reason string // for people, without text or secrets
	Err    error  // what a caller branches on, may be nil
	// Soon is set while a handshake or an answer is under way: the bot's own words
	// wait, too.
	Soon bool
}

func (e *HoldError) Error() string { return "bridge: held: " + e.Reason }

// Unwrap returns the cause.
func (e *HoldError) Unwrap() error { return e.Err }

// EventKind tells what an Event is.
type EventKind uint8

// The kinds of events.
const (
	LegUp      EventKind = iota + 1
	LegDown              // Detail: why
	RoomUp               // Room can take messages: joined, or the person is online
	RoomDown             // Room cannot: Detail says why. Not told for each room when the link ends: LegDown says that
	RoomKeys             // keys of the person of Room changed: held messages are tried again
	Joined               // Who joined Room
	Parted               // Who left Room; Detail: reason
	Quit                 // Who left the network (IRC), Room is each channel
	Renamed              // Who.Nick is now Detail
	KeyProblem           // a contact cannot decrypt us, or a key expires: Detail for the operator
	Gap                  // what was said in Room from Since to Time did not reach us, or may not have
)

// Event is something that happened on a leg besides messages.
type Event struct {
	Kind   EventKind
	Leg    string
	Room   Room // zero for events of the whole leg
	Who    Sender
	Detail string // for people; foreign text in it is sanitised by the leg
	Time   time.Time
	// Since is the start of a Gap: when the last byte came before it, or what is
	// known of that.
	Since time.Time
	// Resumed tells of a LegUp that the session of before goes on: rooms that were up
	// are, without a RoomUp.
	Resumed bool
}

// State is how a leg or room is doing.
type State uint8

// The states of legs and rooms.
const (
	StateDown    State = iota // not connected, will be tried again
	StateOpening              // connecting or joining
	StateUp                   // ready
	StateRefused              // refused for good until somebody acts: Detail says what to do
)

var stateNames = [...]string{"down", "opening", "up", "refused"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "?"
}

// MarshalText returns the state's name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown name is StateDown.
func (s *State) UnmarshalText(name []byte) error {
	*s = State(max(0, slices.Index(stateNames[:], string(name))))
	return nil
}

// LegStatus is a snapshot of a leg.
type LegStatus struct {
	Name   string       `json:"name"`
	Proto  string       `json:"proto"` // "irc" or "xmpp"
	State  State        `json:"state"`
	Since  time.Time    `json:"since"`
	Detail string       `json:"detail,omitempty"` // why it is not up, and what to do
	Self   string       `json:"self,omitempty"`   // own nick!user@host or full JID
	Rooms  []RoomStatus `json:"rooms"`
	Notes  []string     `json:"notes,omitempty"` // key expiry, missing subscriptions, intake stalled …
	Keys   []OwnKey     `json:"keys,omitempty"`  // the bot's own, for people to compare
}

// OwnKey is a key of the bot's own.
type OwnKey struct {
	Kind        string `json:"kind"`        // "openpgp" or "otr"
	Fingerprint string `json:"fingerprint"` // upper-case hex
}

// RoomStatus is a snapshot of one room of a leg.
type RoomStatus struct {
	Room   Room   `json:"room"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Proven is set once the room has shown us our own message (echo or
	// reflection) since it was joined: readiness rests on it.
	Proven bool `json:"proven"`
	// For a Chat: the scheme in use and its rungs, "" and 0 when none is usable.
	Scheme  string   `json:"scheme,omitempty"`
	In      string   `json:"in,omitempty"`
	Out     string   `json:"out,omitempty"`
	Members []string `json:"-"` // nicks or names present, for !who
	// Accounts are the services accounts of those of a Channel who are known to be
	// logged in, by nick.
	Accounts map[string]string `json:"-"`
}
