package proof

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
	"time"
)

// Kinds of tickets.
const (
	Invite = "invite" // to be let into a room
	Link   = "link"   // to have an IRC account act as a person
)

// Life is how long a ticket is open.
const Life = 10 * time.Minute

// Steps of a ticket.
const (
	StepProve = 0 // the person has to prove themselves, on Jabber
	StepNick  = 1 // the nick has to send its code, on IRC
)

// Ticket is a proof that was asked for: a nonce, or a code. It is kept on disk until
// it is answered or its time is over.
type Ticket struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Step int    `json:"step,omitempty"`
	// By is who asked, for the bounds: "person alice", "account corp/alice".
	By     string `json:"by,omitempty"`
	Person string `json:"person,omitempty"` // whose proof is asked for
	// Leg, JID and Bot are the chat in which it is asked: the account's name in the
	// config, the person's bare JID, and the bot's.
	Leg string `json:"leg,omitempty"`
	JID string `json:"jid,omitempty"`
	Bot string `json:"bot,omitempty"`
	// Room is the guarded room, and Target what of it: a channel, or a MUC's bare JID.
	Room   string `json:"room,omitempty"`
	Target string `json:"target,omitempty"`
	// Network, Nick, Account, UserHost are whom it is for on IRC, as far as known.
	Network  string `json:"network,omitempty"`
	Nick     string `json:"nick,omitempty"`
	Account  string `json:"account,omitempty"`
	UserHost string `json:"user_host,omitempty"`
	// Proof is by what the person has proven themselves: a key's fingerprint.
	Proof string `json:"proof,omitempty"`
	// Hash is the SHA-256 of the nonce or code; it is itself nowhere kept.
	Hash  [sha256.Size]byte `json:"hash"`
	Made  time.Time         `json:"made,omitzero"`
	Until time.Time         `json:"until"`
}

// same reports whether two tickets are for the same thing: the younger takes the
// place of the older.
func (t *Ticket) same(o *Ticket) bool {
	return t.Kind == o.Kind && t.Step == o.Step && t.By == o.By && t.Person == o.Person && t.Room == o.Room && t.Target == o.Target &&
		t.Network == o.Network && strings.EqualFold(t.Nick, o.Nick) && strings.EqualFold(t.Account, o.Account)
}

// Open reports whether the ticket can be answered at that time. One from the future,
// by a clock that was set back, cannot.
func (t *Ticket) Open(now time.Time) bool {
	return now.Before(t.Until) && !now.Before(t.Made.Truncate(time.Second))
}

// has reports whether code is the ticket's, in a time that does not tell how much of
// it is.
func (t *Ticket) has(hash [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(t.Hash[:], hash[:]) == 1
}

// codeBytes is how much chance is in a code: 100 bits.
const codeBytes = 13

var codeLetters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newCode makes a code: five groups of four letters and digits.
func newCode(random io.Reader) (string, error) {
	var b [codeBytes]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("proof: %w", err)
	}
	s := codeLetters.EncodeToString(b[:])
	return strings.Join([]string{s[:4], s[4:8], s[8:12], s[12:16], s[16:20]}, "-"), nil
}

// IsCode reports whether a word looks like a code.
func IsCode(word string) bool {
	if len(word) != 24 {
		return false
	}
	for i, c := range []byte(strings.ToLower(word)) {
		if dash := i%5 == 4; dash != (c == '-') || !dash && strings.IndexByte("abcdefghijklmnopqrstuvwxyz234567", c) < 0 {
			return false
		}
	}
	return true
}

// hashOf is what is kept of a code. Case does not count: people type.
func hashOf(code string) [sha256.Size]byte { return sha256.Sum256([]byte(strings.ToLower(code))) }
