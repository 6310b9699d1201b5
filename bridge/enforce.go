package bridge

import (
	"context"
	"errors"
	"time"

	"drawbridge/policy"
)

// Enforcer is a Leg that can hold the doors of rooms: it tells a Watcher who is
// there and what is known of them, reads a room's whole state, and changes it.
type Enforcer interface {
	Leg
	// Watch says which rooms are guarded, and who hears of them. It is called before
	// Run, and again at each reload. The Sights of a room begin with SightReady, once
	// it is joined and all who are there are known.
	Watch(w Watcher, rooms []Room)
	// Observe reads the state of a guarded room from the server, anew: modes, lists,
	// topic and who is there, or configuration, affiliations and occupants.
	// ErrNotReady: the room is not joined.
	Observe(ctx context.Context, room Room) (Observed, error)
	// Apply carries out changes, in order, ahead of all talk and at the pace the server
	// allows. For a channel it returns once they are on the wire, and what the server
	// refuses comes as SightRefused; for a MUC it returns when the service answered.
	// ErrNotReady: the room is not joined; what was sent before is not said.
	Apply(ctx context.Context, room Room, c Changes) error
	// Lookup finds out what is missing of somebody in a guarded room; the answer comes
	// as SightChanged, also where nothing more could be learnt. It does not block.
	Lookup(room Room, nick string, missing policy.Missing)
	// Whisper sends a few words of the bot's own to one who is in a guarded room or
	// at its door: what to do next. It never carries what others said. It does not
	// block; words beyond 64 that wait are counted and left out.
	Whisper(room Room, nick, words string)
}

// KeyHolder is an Enforcer whose rooms can have a key that a guard changes.
type KeyHolder interface {
	// UseKeys says by which keys the bot itself may come into a room, the likeliest
	// first. It does not block.
	UseKeys(room Room, keys ...string)
}

// Changes are what Apply carries out: Lines of a channel, or Step and Invite of a MUC.
type Changes struct {
	Lines []policy.Command
	Step  *policy.MUCStep
	// Invite are bare JIDs that are asked into a MUC, after Step (XEP-0045 §7.8.2). In a
	// members-only room that makes them members, for good: a Step takes it back.
	Invite []string
	// Destroy ends a MUC for good, after all else (XEP-0045 §10.9); nil: not. Everybody
	// who is there is told Venue and Reason.
	Destroy *Destroy
}

// Destroy is the end of a MUC.
type Destroy struct {
	Venue  string // bare JID of the MUC to go to; "": none
	Reason string
}

// Observed is the state of a guarded room: of a channel or of a MUC.
type Observed struct {
	Channel     policy.ChannelSeen
	ChannelCaps policy.ChannelCaps
	MUC         policy.MUCSeen
	MUCCaps     policy.MUCCaps
	// Holds says that the bot has what it needs: op, or ownership.
	Holds bool
	// ServicesDown says that accounts cannot be told now.
	ServicesDown bool
}

// SightKind tells what a Sight is.
type SightKind uint8

// The kinds of sights.
const (
	// SightReady: the room is joined, and a SightHere for everybody in it came before.
	SightReady    SightKind = iota + 1
	SightLost               // the bot is not in the room (any more), or the link ended: Text says why, What is the numeric that keeps it out
	SightHere               // Facts.Nick was there when the bot came
	SightCame               // Facts.Nick joined
	SightChanged            // more, or other, is known of Facts.Nick; Old is its former nick, if that changed
	SightWent               // Facts.Nick left; Split: in a netsplit; By: who removed it; of a MUC, What says how: see Went
	SightSaid               // Facts.Nick spoke: Said
	SightRights             // Facts.Nick has Rights now; By gave or took
	SightMode               // By set What ("+s", "-k key", "+b mask"); in a MUC "topic", "config", or "affiliation" of one not there: Facts.JID has Is
	SightMerged             // a netsplit healed: Room is zero, all rooms of the leg are to be looked at
	SightServices           // services came or went: Down; Room is zero
	SightRefused            // the server refused a change: What is the command, Text the reason
	SightInvited            // Facts.Nick knocks or asks to be let in (KNOCK, a form of XEP-0045 §7.6, §8.6)
	SightSessions           // the bot's encrypted sessions with Facts.JID reach something else; Room is zero
)

// How somebody went from a MUC, in Sight.What; "": by their own will, or their link ended.
const (
	WentKicked      = "kick"         // status 307
	WentBanned      = "ban"          // 301
	WentAffiliation = "affiliation"  // 321: it was taken away, and the room is members-only
	WentMembersOnly = "members-only" // 322: the room became so
	WentError       = "error"        // 332, 333: the service's trouble
)

// Sight is one thing that happened in a guarded room. Nothing in it is message text.
type Sight struct {
	Kind  SightKind
	Leg   string
	Room  Room
	Facts policy.Facts // of whom it speaks
	Old   string
	Self  bool // it is about the bot itself
	By    By
	What  string
	Text  string // for people, sanitised
	Split bool
	Down  bool
	Later bool // of SightRefused: the server says that it may be done in a moment
	// Rights are letters of PREFIX ("o", "ov") of a channel; of a MUC use Is and Role.
	Rights string
	Is     policy.Affiliation
	Role   policy.Role
	Said   policy.Said
	Topic  *string // of SightMode "topic": what it is now; nil: not told
	// Caps is what the channel's network can, with SightReady, and with SightLost where
	// services could let the bot in.
	Caps *policy.ChannelCaps
	Time time.Time
}

// Finder is an Enforcer of a network on which people can be looked up wherever they
// are.
type Finder interface {
	Enforcer
	// Find asks the server, anew, who has a nick now: Facts hold the nick as the server
	// writes it, user, host and account. Errors: ErrNobody, ErrNotReady, or of ctx.
	Find(ctx context.Context, nick string) (policy.Facts, error)
}

// SessionTeller is an Enforcer whose account has encrypted sessions with people.
type SessionTeller interface {
	Enforcer
	// Sessions says how far what a bare JID has shown reaches now, at best: verified or
	// signed in a session by such a key, sealed in one by a key that nobody knows; signed
	// where a client of theirs shows that it has their key; clear, and known, where there
	// is nothing, also of who is no contact. It is unknown while the account is not
	// connected, and for a short time after they came. What changes, is a SightSessions.
	// It does not block, and may be called from See.
	Sessions(jid string) (rung policy.Rung, known policy.Known)
}

// ErrNobody is returned by Finder.Find where nobody has the nick.
var ErrNobody = errors.New("bridge: nobody has that nick")

// By is who changed something.
type By struct {
	Nick   string // or the server's name
	Server bool   // a server did, as after a netsplit, or services
	Facts  policy.Facts
}

// Watcher hears what happens in guarded rooms. See is called from the leg's reader,
// in the order of the wire: it returns at once, never calls the leg but for Sessions,
// and keeps nothing of s but copies.
type Watcher interface {
	See(s *Sight)
}

// Gate judges messages on their way through the core: the guard's rules of
// speaking and relaying. It does not block and is safe for concurrent use.
type Gate interface {
	// In judges a message that was taken in, before it is stored.
	In(m *Message, now time.Time) Ruling
	// Out judges its way to one room: when it is taken in, and again when it is sent.
	// Then only the person is known (from.Nick is ""), and what is refused must be
	// certain without the rest: it was judged by that before. line is zero then; else a
	// gate may count it, and its number is the same for all rooms that it goes to.
	Out(from Sender, source, to Room, line Line, rung policy.Rung, now time.Time) Ruling
}

// Line is what a Gate may know of a message's words: to measure them with a Gauge.
type Line struct {
	N    uint64 // its number since the start; 0: none
	Text Text
}

// Ruling is what a Gate says.
type Ruling struct {
	Refused bool
	Rule    string // its ID
	Reason  string // for the speaker: what to do next; "" is not told
}
