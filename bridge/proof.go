package bridge

import (
	"context"
	"strings"
	"time"

	"drawbridge/policy"
)

// Proofs takes what people ask and prove in their own encrypted chat: to be invited,
// to have an IRC account act as them.
type Proofs interface {
	// Claims reports whether a message of a person's own chat is for Prove, though it
	// begins with no command: "invite corp/#finance nick", an answer that is
	// clear-signed. It is called for every such message, from the dispatcher, and must
	// not block.
	Claims(person, text string) bool
	// Prove carries out what may be, and returns what to answer.
	Prove(ctx context.Context, c *Claim) string
}

// Claim is one message of a person's own encrypted chat to Proofs.
type Claim struct {
	// Text is what was written. It may hold a nonce, and is logged nowhere.
	Text   string
	Person string // config name of who wrote it
	JID    string // and bare JID
	Leg    string // the account it was written to,
	Bot    string // and its bare JID
	// Rung is what the message itself proves. Stale: it was long on its way, and proves
	// nothing now.
	Rung  policy.Rung
	Stale bool
	// Key is the fingerprint of the key by which it does, as Message.Key.
	Key string
}

// proofCommands are those that go to Proofs, with what stands behind them. Each has a
// row of chatCommands, too.
var proofCommands = []string{"!invite", "!link", "!move"}

// isClaim reports whether text is for Proofs.
func (c *Core) isClaim(m *Message) bool {
	if c.proofs == nil || m.Room.Kind != Chat || m.From.Person == "" || m.Kind != Say {
		return false
	}
	word, _, _ := strings.Cut(m.Text.s, " ")
	for _, cmd := range proofCommands {
		if strings.EqualFold(word, cmd) {
			return true
		}
	}
	return c.proofs.Claims(m.From.Person, m.Text.s)
}

// answerLink says how accounts of IRC and people are joined, where all can read it.
func (c *Core) answerLink(q *question) string {
	switch {
	case c.asides["!link"] == nil:
		return noOrders
	case q.member.room.Kind == Channel:
		return "Write that to me alone, not here: !link NAME"
	}
	return noPlace
}

// answerMove says where people are helped to move, where all can read it.
func (c *Core) answerMove(q *question) string {
	if c.serves("!move", q.member.room) {
		return "Write that to me alone, not here: !move"
	}
	return noPlace
}

// answerProof says what cannot be done in a room that all can read.
func (c *Core) answerProof(q *question) string {
	if !q.private() {
		return noPlace
	}
	return noOrders // else it was a claim
}

// prove hands a claim over.
func (c *Core) prove(ctx context.Context, q *question) string {
	if !q.member.floor.Encrypted() {
		return "Not done: this chat need not be encrypted, and so proves nobody."
	}
	bot := ""
	for _, l := range *c.legs.Load() {
		if l.name == q.msg.Room.Leg {
			bot, _, _ = strings.Cut(l.status().Self, "/")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	return c.proofs.Prove(ctx, &Claim{
		Text: q.msg.Text.s, Person: q.msg.From.Person, JID: q.msg.From.JID, Leg: q.msg.Room.Leg, Bot: bot, Rung: q.msg.Rung, Key: q.msg.Key, Stale: q.stale(c.now()),
	})
}

// stale reports whether a message was long on its way: a server can hold one back,
// until what it asks for was decided otherwise.
func (q *question) stale(now time.Time) bool {
	signed := q.msg.Signed
	return q.msg.Delayed || !signed.IsZero() && now.Sub(signed) > orderAge
}
