package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Trust knows people's keys. The core asks it for !trust, and hands it the orders
// that people give in their own encrypted chat.
type Trust interface {
	// Keys describes what is known of a person's keys, for people, one key each.
	Keys(person string) []string
	// Order carries out an order that may be given, and returns what to answer.
	Order(ctx context.Context, o Order) string
}

// trustOrders lists what can be ordered by !trust.
func trustOrders() []order {
	return []order{
		{verb: "add", usage: "!trust add FINGERPRINT: a key of another device of yours"},
		{verb: "list", usage: "!trust list [PERSON]", admin: true},
		{verb: "accept", usage: "!trust accept PERSON FINGERPRINT", admin: true},
		{verb: "revoke", usage: "!trust revoke PERSON FINGERPRINT", admin: true},
	}
}

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
	if own := c.OwnKeys(q.member.room.Leg); own != "" {
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

// OwnKeys names the bot's own keys on a leg, for people to compare. It may be called at
// any time.
func (c *Core) OwnKeys(leg string) string {
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
