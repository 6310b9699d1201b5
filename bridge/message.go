package bridge

import (
	"slices"
	"time"

	"drawbridge/policy"
)

// RoomKind tells the three kinds of places to speak apart.
type RoomKind uint8

// The kinds of rooms.
const (
	Channel RoomKind = iota + 1 // an IRC channel
	MUC                         // an XMPP multi-user chat (XEP-0045)
	Chat                        // a one-to-one XMPP chat with a configured person
)

var roomKindNames = [...]string{"?", "channel", "muc", "chat"}

// String returns "channel", "muc" or "chat".
func (k RoomKind) String() string {
	if int(k) < len(roomKindNames) {
		return roomKindNames[k]
	}
	return "?"
}

// MarshalText returns the kind's name, for JSON.
func (k RoomKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown name is no kind.
func (k *RoomKind) UnmarshalText(name []byte) error {
	*k = RoomKind(max(0, slices.Index(roomKindNames[:], string(name))))
	return nil
}

// Room is one place to speak. It is comparable and serves as a map key.
type Room struct {
	Leg  string   `json:"leg"` // the network's or account's name in the config
	Kind RoomKind `json:"kind"`
	// Name is canonical for its leg: a channel folded by the network's
	// casemapping, a room's bare JID, or the config name of a person.
	Name string `json:"name"`
}

// String returns "leg/name".
func (r Room) String() string { return r.Leg + "/" + r.Name }

// Sender is who said or did something.
type Sender struct {
	Nick    string // as shown: IRC or MUC nick, or a person's name
	Person  string // config name of the person this sender is proven to be, else ""
	Account string // IRC services account, "" if none or unknown
	JID     string // bare JID where it is known, else ""
	Op      bool   // channel operator or room moderator right now
	// Client names the sender's software, from XEP-0115 caps, for help texts:
	// "psi", "gajim", "dino", "profanity", "mcabber", "pidgin", else "".
	Client string
}

// MessageKind tells what a Message is.
type MessageKind uint8

// The kinds of messages.
const (
	Say        MessageKind = iota
	Action                 // /me
	Notice                 // IRC NOTICE: relayed, never answered
	Unreadable             // encrypted, but it could not be opened: Text is empty, Problem says why
)

// Message is one message taken in by a leg, decrypted and decoded.
type Message struct {
	// ID is unique in Room and the same when the network delivers the message
	// again (msgid, stanza-id, origin-id); "" where the network has none.
	ID   string
	Room Room
	From Sender
	Kind MessageKind
	Text Text
	// Facts are what a leg knew of the speaker when the message came; nil where the
	// room is not guarded (Enforcer.Watch), or, in a Chat, where nobody watches.
	Facts *policy.Facts
	// Rung is what this message itself proves (incoming rung).
	Rung policy.Rung
	// Key is the fingerprint of the key that signed it, or of its session: upper-case hex;
	// "" below signed, where that proves nobody.
	Key    string
	Scheme string // name of the scheme that opened it, "" for clear
	// Mark is not empty when another bridge program, or this one, put the line into
	// Room and says so on the wire: the IRC client tag +drawbridge/id, the XMPP
	// element <relayed xmlns='urn:drawbridge:0' id='…'/>, a RELAYMSG tag. Such a
	// line is never relayed again. Legs write Outgoing.ID there (not in a Chat).
	Mark string
	// Time is when it was said; Delayed marks history and offline messages.
	Time    time.Time
	Delayed bool
	// Signed is when it was signed, by its author's clock; zero where nobody can know.
	Signed time.Time
	// Redelivered is set when the leg has opened this very message before, under
	// the same id: the core had it then and does not relay it again, whether or not
	// it remembers the id. The server chooses when and under which id it repeats a
	// ciphertext, so the core's memory of ids decides nothing here.
	Redelivered bool
	// Seen is what the leg's memory of replays gave out with the message. It is
	// kept in the journal together with it, for that memory in a later process.
	Seen []byte
	// Cursor is where the leg goes on, once the message is in the journal.
	Cursor  Cursor
	Problem error // why an Unreadable message could not be opened; never text
	// Taken, when not nil, is called once, from the dispatcher, when the message
	// was refused (false) or is in the journal (true). Only then may the leg
	// acknowledge it to the server (XEP-0198), and only after true to the sender
	// (XEP-0184). It is not called at all when the core stops first. It must not
	// block.
	Taken func(ok bool)
}

// Outgoing is one message on its way to one room.
type Outgoing struct {
	// ID is the wire id. It stays the same when the message is sent again.
	ID string
	To Room
	// Floor is the lowest outgoing rung; nothing may leave below it.
	Floor policy.Rung
	// Clear is set only where the floor is clear in both directions; without it
	// no encoder writes a clear body.
	Clear ClearRoom
	// Schemes are the schemes allowed, in order of preference.
	Schemes []string
	// Text is finished: it starts with Prefix. To a Channel only its first line
	// does, and the leg repeats Prefix on each further line it makes, at an LF or
	// where it has to split; to a MUC or a Chat every line does already.
	Text Text
	// Prefix is the part of Text that says who said it, such as "<alice@jabber> ",
	// and "" for the bot's own words. It is no message text.
	Prefix string
	// Said is when the original was said; Late marks one that waited long.
	Said time.Time
	Late bool
	// Tried is set where it is asked about (AskLeg): it was not on its way before.
	Tried time.Time
	// Notice marks the bot's own words (help, refusals, announcements), and a NOTICE
	// relayed to a channel: IRC sends both as NOTICE, which no bot answers.
	Notice bool
}

// Since is from when on a message that is asked about may have been on its way.
func (m *Outgoing) Since() time.Time {
	if m.Tried.IsZero() {
		return m.Said
	}
	return m.Tried
}

// ClearRoom is the licence to write a clear body to one room. Its zero value
// licenses nothing.
type ClearRoom struct {
	room Room
	ok   bool
}

// NewClearRoom returns the licence for room, if its floor lets clear text pass
// in both directions.
func NewClearRoom(room Room, floor policy.Floor) (ClearRoom, bool) {
	if floor.Encrypted() {
		return ClearRoom{}, false
	}
	return ClearRoom{room: room, ok: true}, true
}

// Licenses reports whether a clear body may be written to room.
func (c ClearRoom) Licenses(room Room) bool { return c.ok && c.room == room }
