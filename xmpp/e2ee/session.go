package e2ee

import (
	"errors"
	"time"
)

// ErrClear is the error of a text in clear that came inside of an established
// session: it is refused whatever the floor is.
var ErrClear = errors.New("e2ee: in clear inside of an encrypted session")

// ErrOffline is the error of a message that was kept somewhere on its way and
// cannot be opened any more: its sender is to be asked for it again.
var ErrOffline = errors.New("e2ee: it was kept on its way, and its session is over")

// Session is a Scheme whose peers agree on keys by messages of its own before any
// text may pass. Its state belongs to one resource of a peer, so what it makes
// goes to the resource that Payload.Resource names, and to no other.
//
// What Seal, Open, Quit and SMPAsker make for a peer must reach the wire in the order
// in which it was made: the leg lets nothing else be made for the peer until it has
// written it. That is also why they return at once. What Arrive and Due return asks for
// a session or begins one: nothing of it is sealed, and it may be overtaken.
//
// While there is no session, Seal returns ErrHandshake and, where one is to be
// asked for now, the message that asks: the text waits, and a Change of kind
// Established says when to try again.
type Session interface {
	Scheme
	// Established reports whether the peer's resource has a session, so that
	// a message in clear from it is refused (Claim).
	Established(p Peer) bool
	// Arrive says that a resource of the peer came online, or that its client became
	// known: "pidgin", "" if it is not. It returns what to send to it. talk is set
	// where this scheme is the one to write to the peer with.
	Arrive(p Peer, client string, talk bool) []Payload
	// Leave says that a resource is gone; "" for all of the peer's.
	Leave(p Peer)
	// Quit ends all that there is with the peer's bare JID, for a person who is no
	// contact any more, and returns what tells their resources.
	Quit(p Peer) []Payload
	// Due returns what time has made due: queries, keys to be renewed. The leg calls it
	// about once a second.
	Due(now time.Time) []Letter
}

// Letter is a payload that a Session wants to go to a peer.
type Letter struct {
	To      Peer
	Payload Payload
}

// Change is something that a message changed besides saying something.
type Change uint8

// The changes.
const (
	// Established: a session stands, and what waits for it may leave.
	Established Change = iota + 1
	// Proven: the resource reads the current session, so what was sealed in it
	// before has arrived.
	Proven
	// Lost: what was sealed for the resource since the last proof could not be read
	// there, and is to be sealed and sent again.
	Lost
	// Ended: the peer ended the session; the text waits for the next one.
	Ended
)

var changeNames = [...]string{"none", "established", "proven", "lost", "ended"}

// String returns the change's name, for logs.
func (c Change) String() string {
	if int(c) < len(changeNames) {
		return changeNames[c]
	}
	return "invalid"
}

// clearInside returns the Session that in, which no scheme claims, breaks out of:
// text in clear from a resource with an established session.
func clearInside(schemes []Scheme, p Peer, in Incoming) Session {
	if in.Body == "" || in.Delayed {
		return nil
	}
	for _, s := range schemes {
		if t, ok := s.(Session); ok && t.Established(p) {
			return t
		}
	}
	return nil
}
