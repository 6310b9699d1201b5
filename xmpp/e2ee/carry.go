package e2ee

import (
	"context"

	"drawbridge/xmpp/element"
)

// Carrier is an optional interface of a Scheme that encrypts elements of a stanza
// beside the text, which others could only send in clear: receipts (XEP-0184) and
// requests for them.
type Carrier interface {
	Scheme
	// SealWith is Seal with elements that stand beside the text. A nil text is none:
	// then the payload has no meaning for a client that cannot decrypt it, and no
	// fallback body. Elements are the program's own, never a peer's.
	SealWith(ctx context.Context, p Peer, text Plain, beside ...*element.Element) (Payload, error)
}

// Item is an item of a PEP node (XEP-0163).
type Item struct {
	Node    string
	ID      string
	Payload *element.Element
}

// Announcer is an optional interface of a Scheme whose keys people publish on PEP.
// It asks and publishes nothing itself: the leg does, and hands it what came.
type Announcer interface {
	Scheme
	// Features are what our disco#info lists for it, the notifications that it wants
	// among them.
	Features() []string
	// Announce returns what the account with the bare JID self publishes now, open to
	// everybody, one after the other. The error says why nothing can be.
	Announce(self string) ([]Item, error)
	// Node is the node that lists a contact's keys: it is asked for when the contact
	// is met, and again when the contact's account says that it changed.
	Node() string
	// Take is told the newest item of a node of p's own account; nil if there is none,
	// or none may be seen, and err why. It returns the nodes to ask for next, which
	// are few, and whether more can be sealed or opened now than before.
	Take(p Peer, node string, item *element.Element, err error) (next []string, changed bool)
	// Ability is what is known of the peer's clients so far.
	Ability(p Peer) Ability
}

// Ability is whether a peer's clients read a scheme, as far as they have told.
// Nothing is less protected by it: Choose only prefers, of schemes that all reach the
// floor, one that will be read.
type Ability uint8

// The abilities.
const (
	Unasked Ability = iota // no answer of the peer's account was taken yet
	Unable                 // nothing says so
	Able                   // a key that counts is announced, or signed a message
)
