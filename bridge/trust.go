package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// Trust knows people's keys. The core asks it for !trust, and hands it the orders
// that people give in their own encrypted chat.
type Trust interface {
	// Keys describes what is known of a person's keys, for people, one key each.
	Keys(person string) []string
	// Order carries out an order that may be given, and returns what to answer.
	Order(ctx context.Context, o Order) string
}

// Order is an order about keys.
type Order struct {
	Verb   string // of trustOrders
	Args   []string
	Person string // who gave it: their config name
	JID    string // and bare JID
}

// trustOrder is one row of the table of orders.
type trustOrder struct {
	verb, usage string
	admin       bool // only an admin may give it; else whoever is verified, about their own keys
}

// trustOrders lists what can be ordered by !trust. Who gives one must have proven who
// they are, in this message, in their own chat: see mayOrder.
func trustOrders() []trustOrder {
	return []trustOrder{
		{verb: "add", usage: "!trust add FINGERPRINT: a key of another device of yours"},
		{verb: "list", usage: "!trust list [PERSON]", admin: true},
		{verb: "accept", usage: "!trust accept PERSON FINGERPRINT", admin: true},
		{verb: "revoke", usage: "!trust revoke PERSON FINGERPRINT", admin: true},
	}
}

const (
	// orderTime bounds an order: it waits for the disk.
	orderTime = 15 * time.Second
	// orderAge is how old an order may be. A server can hold one back, until what it
	// asks for was decided otherwise.
	orderAge = 15 * time.Minute
)

// answerTrust tells a configured person, in their own chat, what protects each
// room's lines; anybody else hears only which rooms are encrypted.
func (c *Core) answerTrust(q *question) string {
	rooms := c.roomStatuses()
	var parts []string
	list := c.others(q)
	if q.private() {
		list = append([]*member{q.member}, list...)
	}
	for _, m := range list {
		r := rooms[m.room]
		switch {
		case !m.floor.Encrypted():
			parts = append(parts, m.display()+": not end-to-end encrypted")
		case !q.private():
			parts = append(parts, m.display()+": encrypted")
		default:
			parts = append(parts, m.room.Name+": "+c.trustOf(m, r))
		}
	}
	text := strings.Join(parts, "; ") + "."
	if !q.private() {
		return text
	}
	if own := c.ownKeys(q.member.room.Leg); own != "" {
		text += " My own keys, to compare with what your client shows: " + own + "."
	}
	return text
}

// trustOf says which scheme a person's lines use, how far it protects them each
// way, and by which keys.
func (c *Core) trustOf(m *member, r RoomStatus) string {
	text := "no usable key now"
	if r.Scheme != "" {
		text = fmt.Sprintf("%s, to them %s, from them %s", r.Scheme, orNone(r.Out), orNone(r.In))
	}
	if c.trust == nil {
		return text
	}
	return strings.Join(append([]string{text}, c.trust.Keys(m.room.Name)...), ", ")
}

// ownKeys names the bot's own keys on a leg.
func (c *Core) ownKeys(leg string) string {
	var parts []string
	for _, l := range *c.legs.Load() {
		if l.name != leg {
			continue
		}
		for _, k := range l.status().Keys {
			parts = append(parts, keyWord(k.Kind)+" "+grouped(k.Fingerprint))
		}
	}
	return strings.Join(parts, ", ")
}

func keyWord(kind string) string {
	if kind == "otr" {
		return "OTR"
	}
	return "OpenPGP"
}

// grouped writes a fingerprint in groups of eight digits.
func grouped(fpr string) string {
	var parts []string
	for part := range slices.Chunk([]byte(fpr), 8) {
		parts = append(parts, string(part))
	}
	return strings.Join(parts, " ")
}

// isOrder reports whether q is !trust with words behind it.
func (q *question) isOrder() bool {
	words := strings.Fields(q.msg.Text.s)
	return len(words) > 1 && strings.EqualFold(words[0], "!trust")
}

// order carries out an order, if it is one and may be given.
func (c *Core) order(ctx context.Context, q *question) string {
	words := strings.Fields(q.msg.Text.s)
	verb, args := words[1], words[2:]
	orders := trustOrders()
	i := slices.IndexFunc(orders, func(o trustOrder) bool { return strings.EqualFold(o.verb, verb) })
	switch {
	case !q.private():
		return "Keys are a matter of each person's own encrypted chat with me."
	case c.trust == nil:
		return "Nothing can be ordered here."
	case i < 0:
		var usage []string
		for _, o := range orders {
			if !o.admin || c.isAdmin(q.msg.From.Person) {
				usage = append(usage, o.usage)
			}
		}
		return "!trust, or: " + strings.Join(usage, "; ") + "."
	}
	if why := c.mayOrder(q, orders[i]); why != "" {
		c.log.Warn("order refused", "leg", q.member.room.Leg, "from", q.msg.From.Person, "rule", "trust "+orders[i].verb, "err", why)
		return why
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	return c.trust.Order(ctx, Order{Verb: orders[i].verb, Args: args, Person: q.msg.From.Person, JID: q.msg.From.JID})
}

// mayOrder returns why a question may not order, or "".
func (c *Core) mayOrder(q *question, o trustOrder) string {
	need := policy.Verified
	if o.admin {
		cfg := c.table.Load().cfg
		if !c.isAdmin(q.msg.From.Person) {
			return "Only an admin can order that."
		}
		if cfg.AdminRung > policy.Clear {
			need = cfg.AdminRung
		}
	}
	if q.msg.Rung < need || !q.member.floor.Encrypted() {
		return fmt.Sprintf("Not done: your message came %s, and this takes %s. %s", q.msg.Rung, need, orderHint(q.msg.Rung, o))
	}
	if signed := q.msg.Signed; q.msg.Delayed || !signed.IsZero() && c.now().Sub(signed) > orderAge {
		return "Not done: your message was long on its way, or your clock is slow. Write it again."
	}
	return ""
}

// orderHint says what to do where a message proves too little.
func orderHint(have policy.Rung, o trustOrder) string {
	switch {
	case o.admin:
		return "Write from a session by a verified key, or use drawbridge trust on the machine."
	case have == policy.Sealed:
		return "Write from a device whose key is verified and that signs, or ask an admin."
	}
	return "Write from a device whose key is verified, or ask an admin."
}

func (c *Core) isAdmin(person string) bool {
	return slices.Contains(c.table.Load().cfg.Admins, person)
}
