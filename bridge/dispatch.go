package bridge

import (
	"context"
	"time"
)

const (
	batchPerLeg = 128         // messages taken from one leg at a time
	tickEvery   = time.Second // of what the dispatcher does by the clock
)

// intent is a message on its way through the dispatcher.
type intent struct {
	entry  Entry
	msg    *Message
	leg    *legState
	routes []*member // one for each bridge that holds the room
	what   verdict
	copies []copied
	answer string // to a command carried out already
	claim  bool   // it is for Proofs
	ruling Ruling // of the gate, where it refused the message or a copy of it
	gap    bool   // the bot's own words about what was missed
}

// copied is one copy of a message.
type copied struct {
	to  *member
	row *Row
}

// dispatcher is the state of the dispatcher's goroutine, which alone touches it.
type dispatcher struct {
	c       *Core
	items   []item
	from    []*legState // of each item, nil when it is held
	held    held
	intents []intent
	batch   []*Entry
	counts  []Count // of the entries of the batch
	riders  []ended // committed with the batch
	done    []Done  // the same
	told    map[toldKey]time.Time
	joins   map[Room]*digest
	// problems is when the admins were last told of a key problem of a room.
	problems map[Room]time.Time
	lines    uint64 // that were copied, or refused by the gate on the way
}

// dispatch takes what the legs hand over until ctx ends and their intakes, then
// closed, are empty.
func (c *Core) dispatch(ctx context.Context) {
	d := &dispatcher{c: c, told: map[toldKey]time.Time{}, joins: map[Room]*digest{}, problems: map[Room]time.Time{}}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		for c.freed.Swap(false) && d.regather() || d.gather() {
			if !d.handle(ctx) {
				return
			}
		}
		c.confirmer.idle()
		if ctx.Err() != nil {
			// What is held goes into the journal now, whatever the bounds.
			if d.held.force = true; d.regather() {
				d.handle(ctx)
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-tick.C:
			d.tick(c.now())
		}
	}
}

// gather takes a batch from all legs in turn.
func (d *dispatcher) gather() bool {
	clear(d.items)
	d.items, d.from = d.items[:0], d.from[:0]
	for _, l := range *d.c.legs.Load() {
		d.items = l.in.take(d.items, batchPerLeg)
		for len(d.from) < len(d.items) {
			d.from = append(d.from, l)
		}
	}
	return len(d.items) > 0
}

// handle decides a batch, commits it to the journal, and only then acts on it.
// It reports false when the core stopped before the journal took it.
func (d *dispatcher) handle(ctx context.Context) bool {
	now := d.c.now()
	t := d.c.table.Load()
	d.riders = d.c.confirmer.ride()
	clear(d.intents)
	d.intents, d.batch = d.intents[:0], d.batch[:0]
	for i := range d.items {
		it := &d.items[i]
		if it.ev != nil && it.ev.Kind != Gap {
			d.event(t, d.from[i], it.ev, now)
			continue
		}
		d.intents = append(d.intents, intent{msg: &it.msg, leg: d.from[i]})
		in := &d.intents[len(d.intents)-1]
		decided := false
		if it.ev != nil {
			it.msg.Room = it.ev.Room // of a gap
			decided = d.gap(t, in, it.ev, now)
		} else {
			decided = d.decide(t, in, now)
		}
		if !decided {
			d.hold(i)
			d.intents = d.intents[:len(d.intents)-1]
			continue
		}
		in.entry.Cursor = d.held.cursor(in.leg, in.msg)
	}
	d.counts = d.counts[:0]
	for i := range d.intents {
		in := &d.intents[i]
		in.entry.Seen, in.entry.Counts = in.msg.Seen, d.count(in)
		d.batch = append(d.batch, &in.entry)
	}
	if !d.ingest(ctx) {
		return false
	}
	for i := range d.intents {
		d.act(t, &d.intents[i], now)
	}
	d.free()
	return true
}

// count is what a message adds to the ledgers of its bridges, in their order.
func (d *dispatcher) count(in *intent) []Count {
	at := len(d.counts)
	for _, r := range in.routes {
		c := Count{Bridge: r.bridge.cfg.Name, Gap: in.gap, what: in.what}
		for _, cp := range in.copies {
			if cp.to.bridge == r.bridge {
				c.Copies++
			}
		}
		d.counts = append(d.counts, c)
	}
	return d.counts[at:len(d.counts):len(d.counts)]
}

// ingest commits the batch, however long that takes; for DrainTime at most once
// ctx has ended. It reports whether the journal has it.
func (d *dispatcher) ingest(ctx context.Context) bool {
	if len(d.batch) == 0 {
		d.rode(false)
		return true
	}
	put := func(ctx context.Context) error {
		return retryJournal(ctx, d.c.log, "ingest", func() error {
			d.done = dones(d.done, d.riders)
			err := d.c.journal.Ingest(ctx, d.batch, d.done)
			d.rode(err == nil)
			return err
		})
	}
	if put(ctx) == nil {
		return true
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
	defer cancel()
	return put(last) == nil
}

// rode says what became of the riders. Should the journal fail, they go by
// themselves: ending a row may still be possible.
func (d *dispatcher) rode(good bool) {
	d.c.confirmer.rode(d.riders, good)
	d.riders = nil
}

// free gives the room of the batch back to the intakes.
func (d *dispatcher) free() {
	for i := 0; i < len(d.items); {
		leg, n, cost := d.from[i], 0, int64(0)
		for ; i < len(d.items) && d.from[i] == leg; i++ {
			n++
			cost += d.items[i].cost()
		}
		if leg != nil {
			leg.in.free(n, cost)
		}
	}
}

// copy makes one row for each room that hears the message: every other room of
// its bridges, once, but for the chat of the person who said it.
func (d *dispatcher) copy(in *intent, now time.Time) {
	m := in.msg
	if m.Text.Len() == 0 {
		return
	}
	said := m.Time
	if said.IsZero() || said.After(now) {
		said = now
	}
	d.lines++
	n := 0
	for _, r := range in.routes {
		n += len(r.to)
	}
	in.copies = make([]copied, 0, n)
	rows := make([]Row, 0, n)
	for _, from := range in.routes {
		name := from.bridge.names.show(m.From)
		for _, to := range from.to {
			if m.From.Person != "" && to.room.Kind == Chat && to.room.Name == m.From.Person || heard(in, to.room) {
				continue
			}
			if !d.passes(in, to, now) {
				continue
			}
			rows = append(rows, Row{
				ID: d.c.ids.next(), Bridge: from.bridge.cfg.Name, From: m.Room, To: to.room,
				Kind: rowKind(m.Kind), Person: m.From.Person, Name: name, Text: m.Text, Rung: m.Rung, Floor: to.floor,
				Said: said, Queued: now, Delayed: m.Delayed, ledger: from.bridge.ledger,
			})
			r := &rows[len(rows)-1]
			if size := to.out.reserve(m.Text.Len()); size <= int64(to.out.ahead(from.bridge)) && to.out.ready.Load() {
				r.Tried = now // little waits there: it goes to the wire soon
			}
			in.entry.Rows = append(in.entry.Rows, r)
			in.copies = append(in.copies, copied{to, r})
		}
	}
}

// passes asks the gate whether a message may go to a room.
func (d *dispatcher) passes(in *intent, to *member, now time.Time) bool {
	if d.c.gate == nil {
		return true
	}
	m := in.msg
	r := d.c.gate.Out(m.From, m.Room, to.room, Line{d.lines, m.Text}, m.Rung, now)
	if r.Refused {
		in.ruling = r
		d.c.log.Debug("withheld", "leg", m.Room.Leg, "room", m.Room.Name, "to", to.room.String(), "id", m.ID, "rule", r.Rule)
	}
	return !r.Refused
}

// heard reports whether another bridge of the message's room reaches room too.
func heard(in *intent, room Room) bool {
	if len(in.routes) == 1 {
		return false
	}
	for _, cp := range in.copies {
		if cp.to.room == room {
			return true
		}
	}
	return false
}

func rowKind(k MessageKind) RowKind {
	switch k {
	case Action:
		return RowAction
	case Notice:
		return RowNotice
	default:
		return RowSay
	}
}

// act carries out what was decided: the journal has the message.
func (d *dispatcher) act(t *table, in *intent, now time.Time) {
	defer func() {
		if v := recover(); v != nil {
			d.c.panicked("act", v)
			in.leg.taken(in.msg, false)
		}
	}()
	m := in.msg
	for i, r := range in.routes {
		r.bridge.ledger.add(in.entry.Counts[i], in.entry.Again)
	}
	if in.entry.Again {
		for _, cp := range in.copies {
			cp.to.out.release(m.Text.Len())
		}
		in.leg.taken(m, in.what.good())
		return
	}
	if in.what == accepted {
		d.enqueue(in)
		d.tellCensus(in, now)
		in.leg.taken(m, true)
		if in.ruling.Refused {
			d.tellWithheld(in, now)
		}
		return
	}
	if in.what == stray {
		d.c.strays.Add(1)
	}
	switch in.what {
	case command:
		// What was asked long ago needs no answer now; who gave an order then has to
		// hear that it is not carried out.
		if q := (question{msg: m.withoutTaken(), member: in.routes[0], answer: in.answer, claim: in.claim}); !m.Delayed || q.private() && (q.claim || q.isOrder()) {
			d.c.ask(q)
		}
	case refused, unreadable:
		d.c.log.Debug("refused", "leg", m.Room.Leg, "room", m.Room.Name, "id", m.ID, "rule", in.what.String(), "scheme", m.Scheme, "err", m.Problem)
		d.tellRefused(t, in, now)
	case withheld:
		d.c.log.Debug("refused", "leg", m.Room.Leg, "room", m.Room.Name, "id", m.ID, "rule", in.ruling.Rule)
		d.tellWithheld(in, now)
	case looped:
		d.c.log.Debug("relayed line not relayed again", "leg", m.Room.Leg, "room", m.Room.Name, "from", clip(m.From.Nick, 64))
		if m.Mark == "" {
			d.tellLooped(in, now)
		}
	}
	in.leg.taken(m, in.what.good())
}

// enqueue hands the rows of a message to their outboxes.
func (d *dispatcher) enqueue(in *intent) {
	for _, cp := range in.copies {
		cp.to.out.enqueue(cp.row)
	}
}

func (m *Message) withoutTaken() Message {
	cp := *m
	cp.Taken = nil
	return cp
}
