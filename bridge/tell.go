package bridge

import (
	"slices"
	"time"
)

// TellAdmins says text to each of Config.Admins, once each, in their chat of an
// encrypted bridge: sealed, or dropped where that cannot be. It returns how many
// of them have such a chat. It may be called at any time.
func (c *Core) TellAdmins(text string) int {
	t := c.table.Load()
	told := 0
	for _, admin := range t.cfg.Admins {
		if c.TellPrivately(admin, text) {
			told++
		}
	}
	return told
}

// TellPerson says text to a person in their chat on a leg: sealed, or dropped where
// that cannot be. It reports whether there is such a chat. It may be called at any
// time.
func (c *Core) TellPerson(leg, person, text string) bool {
	routes := c.table.Load().routes[Room{Leg: leg, Kind: Chat, Name: person}]
	if len(routes) == 0 {
		return false
	}
	c.say(routes[0], text)
	return true
}

// TellPrivately says text to a person in their chat of an encrypted bridge: sealed, or
// dropped where that cannot be. It reports whether they have such a chat. It may be
// called at any time.
func (c *Core) TellPrivately(person, text string) bool {
	m := c.table.Load().encryptedChat(person)
	if m != nil {
		c.say(m, text)
	}
	return m != nil
}

// encryptedChat returns the person's chat of the first bridge above clear, or nil.
func (t *table) encryptedChat(person string) *member {
	for _, b := range t.bridges {
		if !b.cfg.Floor.Encrypted() {
			continue
		}
		i := slices.IndexFunc(b.members, func(m *member) bool { return m.room.Kind == Chat && m.room.Name == person && m.floor.Encrypted() })
		if i >= 0 {
			return b.members[i]
		}
	}
	return nil
}

// keyProblem tells the operator that a contact cannot read us: in the log each
// time, and to the admins once an hour for each room.
func (d *dispatcher) keyProblem(e *Event, now time.Time) {
	detail := clip(e.Detail, 200)
	d.c.log.Warn("key problem", "leg", e.Room.Leg, "room", e.Room.Name, "err", detail)
	if last, ok := d.problems[e.Room]; ok && now.Sub(last) < tellEvery {
		return
	}
	d.problems[e.Room] = now
	d.c.TellAdmins("Key problem with " + e.Room.Name + ": " + detail)
}
