package bridge

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"drawbridge/policy"
)

// ErrStoppedCore is returned by Reload of a core whose Run has ended.
var ErrStoppedCore = errors.New("bridge: the core has stopped")

// change is what a Reload asks Run to do.
type change struct {
	table   *table
	legs    []*legState
	start   []*legState
	stop    []*legState
	close   []*outbox
	applied chan struct{}
}

// Reload changes to cfg, whole or not at all. Legs and rooms that are in both
// configs are not disturbed; what waited for a removed room goes back to the
// sender's side, with the reason. It returns when the removed legs have said
// goodbye and the new ones have started.
func (c *Core) Reload(cfg Config) (Diff, error) {
	c.reload.Lock()
	defer c.reload.Unlock()
	c.mu.Lock()
	state := c.state
	if state == stateStopped {
		c.mu.Unlock()
		return Diff{}, ErrStoppedCore
	}
	for room, o := range c.outboxes {
		if o.forgettable() {
			delete(c.outboxes, room)
		}
	}
	t, err := c.newTable(cfg)
	old := c.table.Load()
	c.mu.Unlock()
	if err != nil {
		return Diff{}, err
	}
	diff := diffConfig(old.cfg, cfg)
	ch := c.planChange(t, cfg)
	for room, o := range t.outboxes {
		if before := old.outboxes[room]; before == nil {
			o.setLeg(nil) // until apply gives it one
		}
	}
	c.legs.Store(&ch.legs)
	c.table.Store(t)
	for room, o := range old.outboxes {
		if t.outboxes[room] == nil {
			ch.close = append(ch.close, o)
			diff.Bounced += o.retire()
			continue
		}
		diff.Bounced += o.purge(func(r *Row) bool {
			to, from := t.lookup(r)
			return to == nil || r.Kind != RowOwn && from == nil
		}, reasonRemoved)
	}
	for _, o := range t.outboxes {
		o.relax(o.bytes.Load(), o.size.Load()) // more may be allowed now
	}
	if state == stateNew {
		c.attach(t, ch.legs)
		return diff, nil
	}
	select {
	case c.changes <- ch:
		<-ch.applied
	case <-c.stopped:
		return Diff{}, ErrStoppedCore
	}
	c.log.Info("reloaded", "n", len(t.bridges))
	return diff, nil
}

// planChange tells which legs start and which stop.
func (c *Core) planChange(t *table, cfg Config) *change {
	ch := &change{table: t, applied: make(chan struct{})}
	now := *c.legs.Load()
	for _, leg := range cfg.Legs {
		i := slices.IndexFunc(now, func(l *legState) bool { return l.leg == leg })
		if i >= 0 {
			ch.legs = append(ch.legs, now[i])
			continue
		}
		l := newLegState(c, leg)
		ch.legs = append(ch.legs, l)
		ch.start = append(ch.start, l)
	}
	for _, l := range now {
		if !slices.Contains(ch.legs, l) {
			ch.stop = append(ch.stop, l)
		}
	}
	return ch
}

// diffConfig tells two configs apart.
func diffConfig(old, cfg Config) Diff {
	var d Diff
	for _, l := range cfg.Legs {
		if !slices.ContainsFunc(old.Legs, func(o Leg) bool { return o == l }) {
			d.LegsStarted = append(d.LegsStarted, l.Name())
		}
	}
	for _, l := range old.Legs {
		if !slices.ContainsFunc(cfg.Legs, func(o Leg) bool { return o == l }) {
			d.LegsStopped = append(d.LegsStopped, l.Name())
		}
	}
	diffNamed(old.Bridges, cfg.Bridges, func(b BridgeConfig) string { return b.Name },
		&d.BridgesAdded, &d.BridgesRemoved, func(a, b BridgeConfig) {
			if settingsChanged(a, b) {
				d.BridgesChanged = append(d.BridgesChanged, a.Name)
			}
		})
	for _, b := range cfg.Bridges {
		d.RoomsAdded = append(d.RoomsAdded, missingRooms(b, old.Bridges)...)
	}
	for _, b := range old.Bridges {
		d.RoomsRemoved = append(d.RoomsRemoved, missingRooms(b, cfg.Bridges)...)
	}
	diffNamed(old.People, cfg.People, func(p policy.Person) string { return p.Name },
		&d.PeopleAdded, &d.PeopleRemoved, func(a, b policy.Person) {
			if !reflect.DeepEqual(a, b) {
				d.PeopleChanged = append(d.PeopleChanged, a.Name)
			}
		})
	for _, s := range [...][]string{
		d.LegsStarted, d.LegsStopped, d.BridgesAdded, d.BridgesRemoved, d.BridgesChanged,
		d.RoomsAdded, d.RoomsRemoved, d.PeopleAdded, d.PeopleRemoved, d.PeopleChanged,
	} {
		slices.Sort(s)
	}
	return d
}

func diffNamed[T any](old, cur []T, name func(T) string, added, removed *[]string, both func(a, b T)) {
	before := map[string]T{}
	for _, v := range old {
		before[name(v)] = v
	}
	for _, v := range cur {
		if was, ok := before[name(v)]; ok {
			both(was, v)
			delete(before, name(v))
			continue
		}
		*added = append(*added, name(v))
	}
	for n := range before {
		*removed = append(*removed, n)
	}
}

// settingsChanged compares two bridges of one name, but for the set of rooms.
func settingsChanged(a, b BridgeConfig) bool {
	floors := map[Room]*policy.Floor{}
	for _, r := range a.Rooms {
		floors[r.Room] = r.Floor
	}
	for _, r := range b.Rooms {
		if f, ok := floors[r.Room]; ok && !reflect.DeepEqual(f, r.Floor) {
			return true
		}
	}
	a, b = a.filled(), b.filled()
	a.Rooms, b.Rooms = nil, nil
	return !reflect.DeepEqual(a, b)
}

// missingRooms names the rooms of b that its namesake in others has not.
func missingRooms(b BridgeConfig, others []BridgeConfig) (names []string) {
	var other BridgeConfig
	for _, o := range others {
		if o.Name == b.Name {
			other = o
		}
	}
	for _, r := range b.Rooms {
		if !slices.ContainsFunc(other.Rooms, func(o RoomConfig) bool { return o.Room == r.Room }) {
			names = append(names, fmt.Sprintf("%s: %s", b.Name, r.Room))
		}
	}
	return names
}
