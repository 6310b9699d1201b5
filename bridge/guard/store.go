package guard

import (
	"context"
	"iter"
	"time"

	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// Store keeps what a guard must know in its next process. internal/store
// implements it, Memory does for tests and `store: {memory: true}`. All methods are
// safe for concurrent use, and what they were given is on disk when they return nil.
type Store interface {
	// Load returns all that is kept but the audit.
	Load(ctx context.Context) (Kept, error)
	// PutRoom, PutBan, PutTimer, PutTicket and PutLink add or replace by name or ID.
	// PutRoom leaves who was admitted as it is.
	PutRoom(ctx context.Context, r RoomState) error
	PutBan(ctx context.Context, b policy.BanRecord) error
	PutTimer(ctx context.Context, t Timer) error
	PutTicket(ctx context.Context, t Ticket) error
	PutLink(ctx context.Context, l Link) error
	// Admit adds subjects that were let into a room, by Key, or notes anew when they
	// were last there. Of each room MaxAdmitted stay; those longest away go first.
	Admit(ctx context.Context, room string, seen map[string]time.Time) error
	// Drop forgets bans, timers, tickets and links; unknown IDs are ignored.
	Drop(ctx context.Context, ids ...string) error
	// Append adds acts to the audit, numbers them and chains them by their hashes.
	Append(ctx context.Context, acts []*Act) error
	// Acts returns the acts that fit, oldest first, with the chain of all checked:
	// where it is broken ErrChain comes by itself, with the number of the act that does
	// not follow, and what follows comes after it.
	Acts(ctx context.Context, q Query) iter.Seq2[Act, error]
}

// Kept is what a guard begins with.
type Kept struct {
	Rooms   []RoomState
	Bans    []policy.BanRecord
	Timers  []Timer
	Tickets []Ticket
	Links   []Link
}

// RoomState is what is kept of one guarded room.
type RoomState struct {
	Room  string `json:"room"` // its name below rooms:
	Armed bool   `json:"armed,omitempty"`
	// Shut: in lockdown until then; zero: open.
	Shut time.Time `json:"shut,omitzero"`
	// ShutBefore are the channels that were invite-only before that, and stay so after it.
	ShutBefore []string `json:"shut_before,omitempty"`
	// Before is how its places were before a migration changed them, by place.
	Before map[string]Before `json:"before,omitempty"`
	// Key is the channel's, since KeySince, and NextKey the one that is about to be set,
	// where the guard changes them.
	Key      string    `json:"key,omitempty"`
	NextKey  string    `json:"next_key,omitempty"`
	KeySince time.Time `json:"key_since,omitzero"`
	// KeyDue: another was asked for. KeyUntold: who may join has not been told Key.
	KeyDue    bool `json:"key_due,omitempty"`
	KeyUntold bool `json:"key_untold,omitempty"`
	// Admitted are the subjects that were let in, by Key, with when they were last
	// there. Load fills it, Admit changes it.
	Admitted map[string]time.Time `json:"-"`
}

// MaxAdmitted is how many subjects are kept as admitted to one room.
const MaxAdmitted = 10_000

// Timer is something that ends by itself: a guest's stay, a membership or +I entry
// given by an invitation, a projection of a ban, or an entry that
// silences somebody or lets them in (those have no time of their own).
type Timer struct {
	ID   string    `json:"id"`
	Kind string    `json:"kind"` // "guest", "member", "invex", "ban", "mute", "left", "door"
	Room string    `json:"room,omitempty"`
	Who  string    `json:"who,omitempty"` // what the kind needs: mask, bare JID, ban ID
	Due  time.Time `json:"due"`
	// Of "member" and "invex": where, for whom, and the rule that let them in.
	Place  string `json:"place,omitempty"`
	Person string `json:"person,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Key is the fingerprint of the key that they proved it by; "" in rows from before
	// that was kept.
	Key string `json:"key,omitempty"`
}

// Ticket is a proof that was asked for: a nonce, or a code.
type Ticket = proof.Ticket

// Link joins an IRC account to a person (package link).
type Link struct {
	ID      string    `json:"id"`
	Person  string    `json:"person"`
	Network string    `json:"network"`
	Account string    `json:"account"`
	Made    time.Time `json:"made"`
	Used    time.Time `json:"used,omitzero"`
	By      string    `json:"by,omitempty"` // the admin who agreed, if one had to
	// Waits: the person has proven it, and an admin has to agree until then; zero: it
	// holds.
	Waits time.Time `json:"waits,omitzero"`
	// Mark tells the account from a later one of the same name (bridge.AccountSeen).
	Mark string `json:"mark,omitempty"`
	Nick string `json:"nick,omitempty"` // that asked
	// Key is the fingerprint of the key by which the person has proven it; "" in rows
	// from before that was kept.
	Key string `json:"key,omitempty"`
}
