package bridge

import (
	"fmt"
	"time"
)

// held are messages that wait in the dispatcher for room in an outbox: unacknowledged,
// in order, and still counted in the intake of their leg, whose reader stops once
// that is full. Other rooms of the leg, and its events, are not held.
type held struct {
	items []item
	from  []*legState
	rooms map[Room]int
	// cursors are those of the items, and "" for each of their legs: other messages
	// must not move them on.
	cursors map[heldCursor]bool
	// force is set at the end, when they go into the journal whatever the bounds.
	force bool
}

type heldCursor struct {
	leg  *legState
	name string
}

// cursor is where the leg of m goes on once m is in the journal: none while the
// cursor stands before something held.
func (h *held) cursor(leg *legState, m *Message) Cursor {
	if h.cursors[heldCursor{leg, m.Cursor.Name}] || m.Cursor.Whole && h.cursors[heldCursor{leg, ""}] {
		return Cursor{}
	}
	return m.Cursor
}

// maxRows is how many lines may wait for one destination.
func (c *Core) maxRows() int64 {
	if n := c.table.Load().cfg.QueueRows; n > 0 {
		return int64(n)
	}
	return OutboxRows
}

// hasRoom reports whether every outbox that hears in's message takes it. The first
// that does not is told of.
func (d *dispatcher) hasRoom(in *intent, now time.Time) bool {
	ok := true
	for _, from := range in.routes {
		for _, to := range from.to {
			if to.out.hasRoom(in.msg.Text.Len(), now) {
				continue
			}
			d.tellFull(to, now)
			ok = d.held.force
		}
	}
	return ok
}

// hold keeps item i of the batch for later, behind those that are held already.
func (d *dispatcher) hold(i int) {
	h := &d.held
	if h.rooms == nil {
		h.rooms, h.cursors = map[Room]int{}, map[heldCursor]bool{}
	}
	h.items, h.from = append(h.items, d.items[i]), append(h.from, d.from[i])
	h.rooms[d.items[i].msg.Room]++
	h.cursors[heldCursor{d.from[i], d.items[i].msg.Cursor.Name}], h.cursors[heldCursor{d.from[i], ""}] = true, true
	d.from[i].in.hold(1)
	d.from[i] = nil
}

// regather makes a batch of what is held, and reports whether there is anything.
func (d *dispatcher) regather() bool {
	h := &d.held
	d.items, d.from = append(d.items[:0], h.items...), append(d.from[:0], h.from...)
	clear(h.items)
	clear(h.rooms)
	clear(h.cursors)
	h.items, h.from = h.items[:0], h.from[:0]
	for _, l := range d.from {
		l.in.hold(-1)
	}
	return len(d.items) > 0
}

// tellFull tells the operator that an outbox is full: in the log, and the admins,
// once an hour.
func (d *dispatcher) tellFull(to *member, now time.Time) {
	if !d.tell(toldKey{to.room, full}, now) {
		return
	}
	n := to.out.size.Load()
	d.c.log.Error("destination full: what is said to it is no longer taken in", "leg", to.room.Leg, "room", to.room.Name, "n", n)
	d.c.TellAdmins(fmt.Sprintf("%d lines wait for %s: no more are taken in for it until some have left. See drawbridge status.", n, to.display()))
}
