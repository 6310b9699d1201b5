package bridge

import (
	"slices"
	"time"

	"drawbridge/policy"
)

// Spoken is that somebody spoke, in one bridge: who, where, when and how far protected.
// It has no text.
type Spoken struct {
	Bridge string
	Room   Room
	From   Sender
	Rung   policy.Rung
	At     time.Time
}

// Census counts what is relayed. Count is called once for each message and bridge, from
// the dispatcher, after the journal has the message: it returns at once and keeps
// nothing of s but copies.
type Census interface {
	Count(s *Spoken)
}

// count tells the census of a message that was taken in.
func (d *dispatcher) tellCensus(in *intent, now time.Time) {
	if d.c.census == nil {
		return
	}
	for _, r := range in.routes {
		d.c.census.Count(&Spoken{Bridge: r.bridge.cfg.Name, Room: in.msg.Room, From: in.msg.From, Rung: in.msg.Rung, At: now})
	}
}

// SetMarks has lines that came in clear from a channel shown with a mark on the Jabber
// side of these bridges, by name: before the text, where nobody can take it away. It may
// be called at any time.
func (c *Core) SetMarks(marks map[string]string) {
	c.marks.Store(&marks)
}

// clearMark is the mark of a row, or "".
func (c *Core) clearMark(r *Row, to *member) string {
	marks := c.marks.Load()
	if marks == nil || r.From.Kind != Channel || r.Rung > policy.Clear || to.room.Kind == Channel {
		return ""
	}
	if mark := (*marks)[r.Bridge]; mark != "" {
		return mark + " "
	}
	return ""
}

// Announce says text of the bot's own in those rooms of a bridge that are of one of the
// kinds: sealed where the floor asks for it, and dropped where that cannot be. It returns
// in how many. It may be called at any time.
func (c *Core) Announce(name, text string, kinds ...RoomKind) (told int) {
	b := c.table.Load().byName[name]
	if b == nil {
		return 0
	}
	for _, m := range b.members {
		if slices.Contains(kinds, m.room.Kind) {
			c.say(m, text)
			told++
		}
	}
	return told
}
