package bridge

import (
	"slices"
	"time"

	"drawbridge/policy"
)

// verdict is what becomes of a message taken in.
type verdict uint8

const (
	accepted   verdict = iota
	stray              // its room is in no bridge
	refused            // below the floor, or not who the chat belongs to
	unreadable         // could not be opened
	command            // for the bot
	looped             // relayed before
	paused             // said while the room is paused
	withheld           // a guard does not let it through: counted as refused
	again              // came before
	full               // not decided: an outbox has no room
)

// counters tells where each verdict is counted; accepted counts its copies too.
var counters = [...]func(*Ledger) *uint64{
	refused:    func(l *Ledger) *uint64 { return &l.Refused },
	withheld:   func(l *Ledger) *uint64 { return &l.Refused },
	unreadable: func(l *Ledger) *uint64 { return &l.Unreadable },
	command:    func(l *Ledger) *uint64 { return &l.Commands },
	looped:     func(l *Ledger) *uint64 { return &l.Looped },
	paused:     func(l *Ledger) *uint64 { return &l.Paused },
	again:      func(l *Ledger) *uint64 { return &l.Again },
}

// decide finds out what becomes of a message, and makes its rows. It reports
// false when the message has to wait for room in an outbox.
func (d *dispatcher) decide(t *table, in *intent, now time.Time) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			d.c.panicked("decide", v)
			for _, cp := range in.copies {
				cp.to.out.release(in.msg.Text.Len())
			}
			in.what, in.copies, in.entry.Rows, ok = refused, nil, nil, true
		}
	}()
	m := in.msg
	if d.held.rooms[m.Room] > 0 {
		return false // behind one that waits
	}
	t.identify(m)
	in.entry = Entry{Room: m.Room, ID: m.ID, At: now}
	in.routes = t.routes[m.Room]
	if in.what = d.verdict(t, in, now); in.what != accepted {
		return true
	}
	if !d.hasRoom(in, now) {
		return false
	}
	if d.copy(in, now); in.ruling.Refused && len(in.copies) == 0 {
		in.what = withheld
	}
	return true
}

// verdict judges a message by its room, its sender and what it proves.
func (d *dispatcher) verdict(t *table, in *intent, now time.Time) verdict {
	m := in.msg
	if len(in.routes) == 0 {
		return stray
	}
	first := in.routes[0]
	switch {
	case m.Mark != "" && m.Room.Kind != Chat:
		return looped
	case m.Room.Kind == Chat && m.From.Person != m.Room.Name:
		return refused
	case m.Kind == Unreadable:
		return unreadable
	case m.Rung < floorIn(in.routes), !first.takes(m.Scheme):
		return refused
	case m.Redelivered:
		return again
	}
	if d.c.gate != nil {
		if in.ruling = d.c.gate.In(m, now); in.ruling.Refused {
			return withheld
		}
	}
	var cmd *chatCommand
	if m.Kind == Say {
		cmd = findCommand(m.Text.s)
	}
	in.claim = d.c.isClaim(m)
	if _, ok := first.out.pausedUntil(now); ok && !in.claim && (cmd == nil || !cmd.ends) {
		return paused
	}
	if in.claim {
		return command
	}
	if cmd != nil {
		if cmd.ends && !m.Delayed {
			// At once: the next line must not slip out before a pause.
			in.answer = cmd.run(d.c, &question{msg: *m, member: first})
		}
		return command
	}
	if m.From.Person == "" {
		for _, r := range in.routes {
			if r.bridge.recent.repeats(m.Text.s, now) {
				return looped
			}
		}
	}
	return accepted
}

// takes reports whether a message of scheme is heard by m's bridge. Above clear
// that is only one that the bridge lists.
func (m *member) takes(scheme string) bool {
	return scheme == "" || !m.floor.Encrypted() || slices.Contains(m.bridge.cfg.Schemes, scheme)
}

// floorIn returns the highest incoming floor of a room's bridges.
func floorIn(routes []*member) policy.Rung {
	in := policy.Clear
	for _, r := range routes {
		in = max(in, r.floor.In)
	}
	return in
}

// String names a verdict for the log.
func (v verdict) String() string {
	return [...]string{"accepted", "stray", "floor", "unreadable", "command", "loop", "paused", "withheld", "again", "full"}[v]
}

// good reports whether the sender may be told that the message arrived.
func (v verdict) good() bool { return v == accepted || v == command || v == again }
