package xmpp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Status returns a snapshot.
func (l *Leg) Status() bridge.LegStatus {
	conf := l.conf.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	st := bridge.LegStatus{Name: l.name, Proto: "xmpp", State: l.state, Since: l.since, Detail: l.detail, Self: conf.bare}
	if l.sess != nil {
		st.Self = l.sess.full
		if !l.sess.st().SM() && len(conf.People) > 0 {
			st.Notes = append(st.Notes, "the server has no stream management (XEP-0198): messages are proven by pings")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.notes)) {
		st.Notes = append(st.Notes, l.notes[name])
	}
	for _, s := range l.deps.Schemes {
		if own, ok := s.(e2ee.Identity); ok {
			kind, fpr := own.OwnKey()
			k := bridge.OwnKey{Kind: string(kind), Fingerprint: fpr}
			if fpr != "" && !slices.Contains(st.Keys, k) { // two schemes may share one
				st.Keys = append(st.Keys, k)
			}
		}
	}
	if l.pace.gap > 0 {
		st.Notes = append(st.Notes, l.pace.String())
	}
	if n := l.counts.note(); n != "" {
		st.Notes = append(st.Notes, n)
	}
	for _, name := range slices.Sorted(maps.Keys(l.people)) {
		c := l.people[name]
		st.Rooms = append(st.Rooms, l.chatStatus(c))
		if l.sess != nil && l.rosterKnown {
			if n := c.subscriptionNote(); n != "" {
				st.Notes = append(st.Notes, n)
			}
			if n := c.signNote(); n != "" {
				st.Notes = append(st.Notes, n)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.rooms)) {
		m := l.rooms[name]
		rs := bridge.RoomStatus{
			Room: m.room, State: m.state, Detail: m.detail, Proven: m.proven,
			Members: slices.Sorted(maps.Keys(m.occupants)),
		}
		if l.sess == nil && !m.thrownOut() { // the session may be resumed, and the room with it
			rs = bridge.RoomStatus{Room: m.room, Detail: "not connected"}
		}
		st.Rooms = append(st.Rooms, rs)
	}
	return st
}

// chatStatus is the state of one contact; l.mu is held.
func (l *Leg) chatStatus(c *contact) bridge.RoomStatus {
	rs := bridge.RoomStatus{Room: c.room}
	p := e2ee.Peer{Account: l.name, Self: l.conf.Load().bare, Person: c.person}
	p.Bare, _ = splitJID(c.person.JIDs[0])
	switch {
	case l.sess == nil:
		rs.Detail = "not connected"
	case len(c.resources) == 0:
		rs.Detail = "offline"
		if n := c.subscriptionNote(); n != "" && l.rosterKnown {
			rs.Detail = n
		}
	default:
		rs.State, rs.Proven = bridge.StateUp, true
		rs.Members = []string{c.room.Name}
		for _, r := range c.resources {
			p.Bare = r.bare
		}
	}
	order := l.orderOf(l.conf.Load(), c.room.Name)
	scheme, rung, err := e2ee.Choose(l.deps.Schemes, order, policy.Sealed, p)
	if err != nil {
		if len(order) > 0 {
			rs.Detail = strings.TrimPrefix(fmt.Sprintf("%s; no usable key: %s", rs.Detail, reason(err)), "; ")
		}
		return rs
	}
	if rung == policy.Clear {
		rs.Detail = strings.TrimPrefix(rs.Detail+"; no "+scheme.Name()+" session yet", "; ")
		return rs
	}
	rs.Scheme, rs.Out = scheme.Name(), rung.String()
	if c.inScheme != "" {
		rs.In = c.inRung.String()
	}
	return rs
}
