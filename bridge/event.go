package bridge

import "time"

// event acts on an event of a leg.
func (d *dispatcher) event(t *table, l *legState, e *Event, now time.Time) {
	defer d.c.contain("event")
	switch e.Kind {
	case LegUp:
		l.setUp(now)
		for room, o := range t.outboxes {
			if room.Leg == l.name {
				if e.Resumed {
					o.legResumed()
				}
				o.kick()
			}
		}
		d.c.log.Info("leg up", "leg", l.name)
	case LegDown:
		l.setUp(time.Time{})
		for room, o := range t.outboxes {
			if room.Leg == l.name {
				o.legDown()
			}
		}
		d.c.log.Warn("leg down", "leg", l.name, "err", clip(e.Detail, 200))
	case RoomUp, RoomKeys, RoomDown:
		d.roomEvent(t, e, now)
	case Joined, Parted, Quit, Renamed:
		d.noteJoin(t, e, now)
	case KeyProblem:
		d.keyProblem(e, now)
	}
}

func (d *dispatcher) roomEvent(t *table, e *Event, now time.Time) {
	o := t.outboxes[e.Room]
	if o == nil {
		return
	}
	switch e.Kind {
	case RoomUp:
		if o.setUp(true) {
			d.c.welcome(t, o)
		}
		o.kick()
	case RoomKeys:
		o.kick()
	default:
		o.setUp(false)
	}
}

// tick does what is due by the clock.
func (d *dispatcher) tick(now time.Time) {
	defer d.c.contain("tick")
	d.c.bounces.flush(d.c, false)
	d.flushJoins(d.c.table.Load(), now)
	for k, at := range d.told {
		if now.Sub(at) >= tellEvery {
			delete(d.told, k)
		}
	}
}
