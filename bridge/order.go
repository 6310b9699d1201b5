package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// Guard carries out what admins order by !guard in their own encrypted chat.
type Guard interface {
	// Order carries out an order that may be given, and returns what to answer.
	Order(ctx context.Context, o Order) string
}

// Order is what somebody orders in their own encrypted chat: by !trust about keys, by
// !guard about guarded rooms, by !migrate about bridges on their way off IRC.
type Order struct {
	Verb   string // of trustOrders, guardOrders or migrateOrders
	Args   []string
	Person string // who gave it: their config name
	JID    string // and bare JID
}

// order is one row of a table of orders.
type order struct {
	verb, usage string
	admin       bool // only an admin may give it; else whoever is verified, about what is their own
	sealed      bool // the answer is a secret of the person's own, and sealed to them: whoever asks, nobody else reads it
}

// guardOrders lists what can be ordered by !guard: what the verbs of drawbridge guard
// do, in the same words.
func guardOrders() []order {
	return []order{
		{verb: "status", usage: "!guard status", admin: true},
		{verb: "explain", usage: "!guard explain WHO ROOM [ACTION]", admin: true},
		{verb: "enable", usage: "!guard enable ROOM: ends its dry run", admin: true},
		{verb: "disable", usage: "!guard disable ROOM", admin: true},
		{verb: "ban", usage: "!guard ban WHO [--for 2h] [--room ROOM] [--reason WORDS]", admin: true},
		{verb: "forgive", usage: "!guard forgive WHO", admin: true},
		{verb: "lockdown", usage: "!guard lockdown ROOM [--for 10m | --off]", admin: true},
		{verb: "drop-owner", usage: "!guard drop-owner ROOM JID", admin: true},
		{verb: "destroy", usage: "!guard destroy ROOM [--venue ROOM] [--bridged] [--reason WORDS]: ends its Jabber room", admin: true},
		{verb: "rotate-key", usage: "!guard rotate-key ROOM", admin: true},
		{verb: "key", usage: "!guard key ROOM: the key of a channel that you may join", sealed: true},
		{verb: "links", usage: "!guard links", admin: true},
		{verb: "link", usage: "!guard link PERSON NETWORK/ACCOUNT: agrees", admin: true},
		{verb: "unlink", usage: "!guard unlink NETWORK/ACCOUNT", admin: true},
		{verb: "audit", usage: "!guard audit [--who WHO] [--room ROOM] [--since 2h]", admin: true},
		{verb: "simulate", usage: "!guard simulate FILE [--who WHO] [--room ROOM] [--since 2h]: the audit by the rules of a file beside the configuration", admin: true},
	}
}

// migrateOrders lists what can be ordered by !migrate: what the verbs of drawbridge
// migrate do, in the same words.
func migrateOrders() []order {
	return []order{
		{verb: "status", usage: "!migrate status", admin: true},
		{verb: "plan", usage: "!migrate plan [BRIDGE]: what each phase will do", admin: true},
		{verb: "report", usage: "!migrate report [BRIDGE]: who moved, and who is left", admin: true},
		{verb: "advance", usage: "!migrate advance BRIDGE [PHASE]", admin: true},
		{verb: "back", usage: "!migrate back BRIDGE", admin: true},
		{verb: "hold", usage: "!migrate hold BRIDGE [--off]: dates do not count", admin: true},
	}
}

const (
	// orderTime bounds an order: it waits for the disk.
	orderTime = 15 * time.Second
	// orderAge is how old an order may be. A server can hold one back, until what it
	// asks for was decided otherwise.
	orderAge = 15 * time.Minute

	noPlace  = "That is a matter of each person's own encrypted chat with me."
	noOrders = "Nothing can be ordered here."
)

// isOrder reports whether q is !trust, !guard or !migrate with words behind it.
func (q *question) isOrder() bool {
	words := strings.Fields(q.msg.Text.s)
	return len(words) > 1 && slices.Contains([]string{"!trust", "!guard", "!migrate"}, strings.ToLower(words[0]))
}

// answerGuard says what can be ordered about guarded rooms.
func (c *Core) answerGuard(q *question) string {
	switch {
	case !q.private():
		return noPlace
	case c.guard == nil:
		return noOrders
	}
	return c.usage(q, "!guard", guardOrders())
}

// answerMigrate says what can be ordered about bridges on their way.
func (c *Core) answerMigrate(q *question) string {
	switch {
	case !q.private():
		return noPlace
	case c.migrate == nil:
		return noOrders
	}
	return c.usage(q, "!migrate", migrateOrders())
}

// order carries out an order, if it is one and may be given. Who gives one must
// have proven who they are, in this message, in their own chat.
func (c *Core) order(ctx context.Context, q *question) string {
	words := strings.Fields(q.msg.Text.s)
	switch about := strings.ToLower(words[0]); {
	case !q.private():
		return noPlace
	case about == "!guard" && c.guard != nil:
		return c.carry(ctx, q, guardOrders(), words, c.guard.Order)
	case about == "!migrate" && c.migrate != nil:
		return c.carry(ctx, q, migrateOrders(), words, c.migrate.Order)
	case about == "!trust" && c.trust != nil:
		return c.carry(ctx, q, trustOrders(), words, c.trust.Order)
	}
	return noOrders
}

// carry has what words order carried out, if it is in the table and may be given.
func (c *Core) carry(ctx context.Context, q *question, orders []order, words []string, out func(context.Context, Order) string) string {
	i := slices.IndexFunc(orders, func(o order) bool { return strings.EqualFold(o.verb, words[1]) })
	if i < 0 {
		return c.usage(q, words[0], orders)
	}
	if why := c.mayOrder(q, orders[i]); why != "" {
		c.log.Warn("order refused", "leg", q.member.room.Leg, "from", q.msg.From.Person, "rule", words[0]+" "+orders[i].verb, "err", why)
		return why
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	return out(ctx, Order{Verb: orders[i].verb, Args: words[2:], Person: q.msg.From.Person, JID: q.msg.From.JID})
}

// usage lists the orders that the author of q may give.
func (c *Core) usage(q *question, about string, orders []order) string {
	var usage []string
	for _, o := range orders {
		if !o.admin || c.isAdmin(q.msg.From.Person) {
			usage = append(usage, o.usage)
		}
	}
	if len(usage) == 0 {
		return "Only an admin can order that."
	}
	return about + ", or: " + strings.Join(usage, "; ") + "."
}

// mayOrder returns why a question may not order, or "".
func (c *Core) mayOrder(q *question, o order) string {
	need := policy.Verified
	switch {
	case o.sealed:
		need = policy.Sealed
	case o.admin:
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
	if q.stale(c.now()) {
		return "Not done: your message was long on its way, or your clock is slow. Write it again."
	}
	return ""
}

// orderHint says what to do where a message proves too little.
func orderHint(have policy.Rung, o order) string {
	switch {
	case o.admin:
		return "Write from a session by a verified key, or use drawbridge " + strings.TrimPrefix(strings.Fields(o.usage)[0], "!") + " on the machine."
	case have == policy.Sealed:
		return "Write from a device whose key is verified and that signs, or ask an admin."
	}
	return "Write from a device whose key is verified, or ask an admin."
}

func (c *Core) isAdmin(person string) bool {
	return slices.Contains(c.table.Load().cfg.Admins, person)
}
