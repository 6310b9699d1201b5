package bridge

import (
	"context"
	"time"

	"drawbridge/policy"
)

// Journal keeps what the core has taken in and not yet delivered. Ingest comes
// from the dispatcher, Confirm from one other goroutine, Tried from the
// outboxes: all at once, so an implementation may commit them together.
//
// The suite bridgetest.Journal holds every implementation to this contract.
type Journal interface {
	// Ingest commits a batch: for each entry its key, so that it is known when the
	// network delivers it again, and its rows, whose Seq it sets, ascending in the
	// order given. An entry whose key is known already, from the batch or before,
	// gets Again set and its rows are not kept. With the batch it ends the rows of done,
	// as Confirm does: all of both, or nothing. After an error nothing is kept and the
	// same batch may come again, with others that ended or with none.
	Ingest(ctx context.Context, batch []*Entry, done []Done) error
	// Tried records that rows are about to be written to the wire, or were not after
	// all. A row that was ingested with Tried set needs no such call.
	Tried(ctx context.Context, tries []Try) error
	// Confirm ends rows: body and row are gone when it returns nil, but for those of
	// FateDead, FateAcked and FateUnread. Unknown ones are ignored. After an error the
	// call may come again.
	Confirm(ctx context.Context, done []Done) error
	// Load calls yield for every row kept, in the order of Seq, with Tried as
	// recorded, before the first Ingest of a run. Rows of FateAcked are not among them:
	// they are counted as relayed, and gone.
	Load(ctx context.Context, yield func(*Row) error) error
	// Rows returns those of seqs, which ascend, that wait and can be read, in order.
	// It counts the others that it still has as dead. A journal that is not durable
	// needs no such call.
	Rows(ctx context.Context, seqs []uint64) ([]*Row, error)
	// Ledgers returns what bridges counted, by their names; what waits is not in it,
	// and what is unproven counts as relayed.
	Ledgers(ctx context.Context) (map[string]Ledger, error)
	// Durable reports whether rows outlive the process. What a journal that is not
	// durable still holds at shutdown goes back to the sender's side.
	Durable() bool
}

// Entry is one message taken in.
type Entry struct {
	Room Room
	ID   string // Message.ID; "" has no key and is never known
	At   time.Time
	Rows []*Row
	// Seen and Cursor are those of the Message; a journal that is not durable does
	// without them.
	Seen   []byte
	Cursor Cursor
	// Counts are what the message adds to the ledgers, unless it is known.
	Counts []Count
	// Again is set by Ingest when the message was known already.
	Again bool
}

// Cursor says where a leg goes on after a restart: by name (a room, a session)
// the last id, or whatever the leg makes of Value. The zero Cursor is none.
type Cursor struct {
	Name, Value string
	// Whole is set where Value tells of all that the leg has handed over, not of the
	// messages of this name alone: it is not kept while the core holds one of them.
	Whole bool
}

// Cursors keeps the cursors of legs over restarts. A Journal that is durable
// implements it, too.
type Cursors interface {
	// Cursors returns those of one leg, by name.
	Cursors(ctx context.Context, leg string) (map[string]string, error)
	// SetCursor keeps one that belongs to no message; "" forgets it.
	SetCursor(ctx context.Context, leg string, c Cursor) error
}

// RowKind tells what a Row carries.
type RowKind uint8

// The kinds of rows.
const (
	RowSay    RowKind = iota + 1
	RowAction         // /me
	RowNotice         // relayed IRC NOTICE
	RowOwn            // the bot's own words; not part of the ledger's balance, and in no journal
	RowGap            // the bot's words about what it has missed: kept and counted like a line
)

// Row is one message for one destination. What is said stays apart from who
// said it: the line is rendered when it is sent.
type Row struct {
	Seq    uint64 // set by Journal.Ingest
	ID     string // wire id, the same whenever the row is sent
	Bridge string
	From   Room // where it was said; zero for the bot's own words
	To     Room
	Kind   RowKind
	Person string // config name of the proven sender, else ""
	Name   string // the sender's name as shown, sanitised
	Text   Text
	Rung   policy.Rung // what the message proved when it came
	// Floor is that of the destination when the row was made: it never leaves below
	// it, even if a reload has lowered the floor since.
	Floor  policy.Floor
	Said   time.Time
	Queued time.Time
	// Delayed marks one that was late already when it came.
	Delayed bool
	// Tried is when it was noted that the row is about to be on the wire; zero if it
	// has never been, or is known not to have arrived. The line is rendered as of then,
	// so that it can be asked for by what it was.
	Tried time.Time

	ledger   *ledger
	size     int     // of the text, in bytes
	pos      uint64  // place in the outbox
	doubt    bool    // it may have arrived: to be asked for before it is sent again
	again    Settled // why it is sent again, until that is noted
	doubts   int     // times it was in doubt, or was not read
	refusals int     // times it was refused
	fleeting bool    // own words worth nothing later: dropped unless sent at once
	unread   bool    // on the wire, and known not to be read: it goes back once it is off
	acked    time.Time
}

// Settled says why a row that was in doubt is sent again.
type Settled uint8

// The reasons.
const (
	NoDoubt  Settled = iota
	NotThere         // the network was asked, and has not got it
	NotKnown         // nobody could be asked: it may come twice
)

// Try says that a row is about to be written to the wire.
type Try struct {
	Seq    uint64
	At     time.Time // zero: nothing of it was written after all
	Bridge string    // whose ledger counts Again
	Again  Settled
}

// Fate is how a row ended.
type Fate uint8

// The fates of rows.
const (
	FateRelayed Fate = iota + 1 // proven
	FateBounced                 // refused, or waited too long: the sender's side was told
	FateMissed                  // let go because the person was offline too long
	FateSkipped                 // in doubt, and the bridge does not resend
	FateDropped                 // own words that could not be said
	FateDead                    // refused for good: a durable journal keeps it for an admin, and yields it no more
	FateAcked                   // no end: the network has it, and it may still come back
	FateUnread                  // no end: it waits again, since it was not read
)

// Done says that a row has ended, and how.
type Done struct {
	Seq    uint64
	ID     string
	Bridge string // whose ledger counts it
	To     Room
	Fate   Fate
	NetID  string // the network's own id of a relayed message, if any
	// Found is set on a relayed one that was in doubt, and that the network had.
	Found bool
	// Unproven is set on one that was FateAcked before, and not FateUnread since.
	Unproven bool
	// Reason is why it is dead: for people, without text or secrets.
	Reason string
}
