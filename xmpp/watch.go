package xmpp

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// eyes are what a guard sees of the leg's rooms. Its fields are guarded by Leg.mu,
// but for on.
//
// What happens is put into queue while the room's state changes, and shown right
// after, without Leg.mu, by whoever is at it: so the order is that of the changes,
// and a guard that calls the leg while it sees something blocks nobody.
type eyes struct {
	on      atomic.Bool // somebody watches
	to      bridge.Watcher
	rooms   map[string]bool // guarded MUCs, by bare JID
	gauge   *bridge.Gauge
	queue   []bridge.Sight
	showing bool
}

// Watch says which MUCs are guarded. What is in one that is joined already, is shown
// at once, though not from here.
func (l *Leg) Watch(w bridge.Watcher, rooms []bridge.Room) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.eyes
	e.to, e.rooms = w, map[string]bool{}
	if e.gauge == nil {
		e.gauge = bridge.NewGauge()
	}
	e.on.Store(w != nil)
	for _, r := range rooms {
		if w != nil && r.Leg == l.name && r.Kind == bridge.MUC {
			e.rooms[r.Name] = true
		}
	}
	for name, m := range l.rooms {
		m.shown = m.shown && e.rooms[name] // no word of those that are left alone
	}
	l.showAgain()
	l.lookSoon()
}

// sight queues a sight of a room; l.mu is held.
func (l *Leg) sight(m *muc, s bridge.Sight) {
	s.Leg, s.Room, s.Time = l.name, m.room, time.Now()
	l.eyes.queue = append(l.eyes.queue, s)
}

// look shows what is queued.
func (l *Leg) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.eyes
	if e.showing {
		return // who is at it shows ours, too
	}
	e.showing = true
	for len(e.queue) > 0 {
		batch, to := e.queue, e.to
		e.queue = nil
		l.mu.Unlock()
		for i := range batch {
			l.see(to, &batch[i])
		}
		l.mu.Lock()
	}
	e.showing = false
}

// see survives a panic of the guard.
func (l *Leg) see(to bridge.Watcher, s *bridge.Sight) {
	defer func() {
		if v := recover(); v != nil {
			l.panicked("sight", v)
		}
	}()
	if to != nil {
		to.See(s)
	}
}

// lookSoon has a worker show what is queued: whoever calls us may hold what See needs.
func (l *Leg) lookSoon() { l.work.submit(&lane{}, l.look) }

// inside reports whether we are in the room, though we may still be reading what was
// said meanwhile. Leg.mu is held.
func (m *muc) inside() bool {
	return m.state == bridge.StateUp || m.state == bridge.StateOpening && m.reading
}

// show shows who is in a guarded room; l.mu is held.
func (l *Leg) show(m *muc) {
	if !l.eyes.rooms[m.room.Name] || m.shown {
		return
	}
	m.shown = true
	for _, nick := range slices.Sorted(maps.Keys(m.occupants)) {
		l.sight(m, l.sightOf(m, bridge.SightHere, nick, m.occupants[nick]))
	}
	l.sight(m, bridge.Sight{Kind: bridge.SightReady})
}

// showAgain shows the guarded rooms that we are in and that were not shown; l.mu is
// held.
func (l *Leg) showAgain() {
	if l.sess == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.rooms)) {
		if m := l.rooms[name]; m.inside() {
			l.show(m)
		}
	}
}

// lostSight says that a guarded room is out of sight; l.mu is held.
func (l *Leg) lostSight(m *muc, why string) {
	if m.shown {
		m.shown = false
		l.sight(m, bridge.Sight{Kind: bridge.SightLost, Text: printable(why, 200)})
	}
}

// lostSights says it of all rooms: the stream has ended. l.mu is held.
func (l *Leg) lostSights(why string) {
	for _, name := range slices.Sorted(maps.Keys(l.rooms)) {
		l.lostSight(l.rooms[name], why)
	}
}

// sightOf is a sight of an occupant; l.mu is held.
func (l *Leg) sightOf(m *muc, kind bridge.SightKind, nick string, o *occupant) bridge.Sight {
	return sightWith(m, kind, l.factsOf(m, nick, o), o)
}

// sightWith is a sight of an occupant, nil is none, of whom that is known.
func sightWith(m *muc, kind bridge.SightKind, f policy.Facts, o *occupant) bridge.Sight {
	s := bridge.Sight{Kind: kind, Facts: f, Self: f.Self}
	if o == nil {
		return s
	}
	s.Is, s.Role = policy.Affiliation(o.is), policy.Role(o.role)
	return s
}

// factsOf is what is known of an occupant; nil is somebody we do not see. How far the
// sessions with them reach is for the guard to ask, of all accounts. An occupant whose JID
// is hidden now, but was not before, is known by the room's id of them (XEP-0421). l.mu
// is held.
func (l *Leg) factsOf(m *muc, nick string, o *occupant) policy.Facts {
	f := policy.NewOccupantFacts(l.name, nick)
	if !m.marksIDs { // it tells none, or lets everybody make one up
		f.Occupant.Known = policy.Never
	}
	if o == nil {
		return f
	}
	f.Since, f.Self = o.since, nick == m.nick
	if o.is != "" {
		f.Affiliation = policy.Is(o.is, "presence", o.since)
	}
	if o.role != "" {
		f.Role = policy.Is(o.role, "presence", o.since)
	}
	if m.marksIDs && o.id != "" {
		f.Occupant = policy.Is(o.id, "presence", o.since)
	}
	switch {
	case o.jid != "":
		f.JID = policy.Is(o.jid, "presence", o.since)
	case f.Occupant.Known == policy.Yes && m.marks[o.id] != "":
		f.JID = policy.Is(m.marks[o.id], "occupant-id", o.since)
	}
	return f
}

// byOf is who did what a presence tells, as far as the room says. l.mu is held.
func (l *Leg) byOf(m *muc, u mucUser) (by bridge.By) {
	if u.actor == "" && u.actorJID == "" {
		return by
	}
	by.Nick = u.actor
	if o := m.occupants[u.actor]; o != nil {
		by.Facts = l.factsOf(m, u.actor, o)
	} else {
		by.Facts = l.factsOf(m, u.actor, nil)
	}
	if u.actorJID != "" {
		by.Facts.JID = policy.Is(u.actorJID, "presence", time.Now())
		by.Facts.Self = u.actorJID == l.conf.Load().bare
	}
	by.Nick = cmp.Or(by.Nick, u.actorJID)
	return by
}

// present takes the presence of somebody who is in a room, ourselves included, and
// reports whether they are new there. l.mu is held.
func (l *Leg) present(m *muc, nick string, u mucUser) (fresh bool) {
	o := m.occupants[nick]
	if fresh = o == nil; fresh {
		o = &occupant{since: time.Now()}
		if len(m.occupants) < maxOccupants || nick == m.nick {
			m.occupants[nick] = o
		}
	}
	before := *o
	o.jid, o.role, o.is, o.id = u.jid, u.role, u.is, cmp.Or(u.id, o.id)
	if m.marksIDs && l.eyes.rooms[m.room.Name] {
		m.mark(o)
	}
	switch {
	case !m.shown:
	case fresh:
		l.sight(m, l.sightOf(m, bridge.SightCame, nick, o))
	default:
		if before.jid != o.jid {
			l.sight(m, l.sightOf(m, bridge.SightChanged, nick, o))
		}
		if before.role != o.role || before.is != o.is {
			s := l.sightOf(m, bridge.SightRights, nick, o)
			s.By, s.Text = l.byOf(m, u), u.reason
			l.sight(m, s)
		}
	}
	return fresh
}

// renamed moves an occupant to another nick; l.mu is held.
func (l *Leg) renamed(m *muc, from, to string, self bool) {
	o := m.occupants[from]
	delete(m.occupants, from)
	if o == nil {
		return
	}
	m.occupants[to] = o
	if m.shown {
		s := l.sightOf(m, bridge.SightChanged, to, o)
		s.Old, s.Self = from, self
		s.Facts.Self = self
		l.sight(m, s)
	}
}

// goings are the status codes of somebody who has to go (XEP-0045 §15.6.2).
var goings = []struct{ code, what string }{
	{"301", bridge.WentBanned},
	{"307", bridge.WentKicked},
	{"321", bridge.WentAffiliation},
	{"322", bridge.WentMembersOnly},
	{"332", bridge.WentError},
	{"333", bridge.WentError},
}

// went takes an occupant out; l.mu is held.
func (l *Leg) went(m *muc, nick string, u mucUser) {
	o := m.occupants[nick]
	delete(m.occupants, nick)
	if !m.shown {
		return
	}
	if o == nil { // one of those beyond maxOccupants
		o = &occupant{jid: u.jid, id: u.id}
	}
	o.is, o.role = cmp.Or(u.is, o.is), string(policy.NoRole)
	s := l.sightOf(m, bridge.SightWent, nick, o)
	s.By, s.Text = l.byOf(m, u), u.reason
	for _, g := range goings {
		if u.has(g.code) {
			s.What = g.what
			break
		}
	}
	l.sight(m, s)
}

// spoke measures a line of a guarded room, and returns what is known of its speaker;
// nil where nobody asks. l.mu is held.
func (l *Leg) spoke(m *muc, e *element.Element, nick string, live, own, archived bool) *policy.Facts {
	body := e.Child(nsClient, "body")
	if !l.eyes.rooms[m.room.Name] || own || nick == "" || body == nil || body.Text == "" {
		return nil
	}
	o := m.occupants[nick]
	if !live {
		o = m.speaker(e, archived)
	}
	f := l.factsOf(m, nick, o)
	if live && m.shown {
		s := sightWith(m, bridge.SightSaid, f, o)
		s.Said = l.eyes.gauge.Measure(body.Text, func(word string) string {
			if m.occupants[word] == nil {
				return ""
			}
			return word
		})
		l.sight(m, s)
	}
	return &f
}

// speaker returns who said a delayed line, nil if that cannot be known: it may have been
// somebody else who had the nick then. Rooms that mark occupants mark their lines, too,
// and let nobody else do so. Else the archive of ejabberd shows its moderators the real
// JID, in the place of what the line itself says of that (XEP-0313 §5.1.2); that of
// Prosody 0.12 lets pass what anybody made up, and the history of a room shows nothing.
func (m *muc) speaker(e *element.Element, archived bool) *occupant {
	if m.marksIDs {
		if id := e.Child(nsOccupant, "occupant-id").Get("id"); m.marks[id] != "" {
			return m.speaking(&occupant{jid: m.marks[id], id: id})
		}
		return nil
	}
	us, xs := m.occupants[m.nick], 0
	for _, c := range e.Children {
		if c.Is(nsMUCUser, "x") {
			xs++
		}
	}
	if u := readMUCUser(e); archived && m.ejabberd && xs == 1 && u.jid != "" && us != nil && us.role == string(policy.Moderator) {
		return m.speaking(&occupant{jid: u.jid})
	}
	return nil
}

// speaking adds to who said a delayed line what they are in the room now, if they are
// there still.
func (m *muc) speaking(o *occupant) *occupant {
	for _, now := range m.occupants {
		if now.jid == o.jid {
			o.is, o.role = now.is, now.role
		}
	}
	return o
}

// mark remembers whose an occupant id is, for lines said while we are away.
func (m *muc) mark(o *occupant) {
	if o.id == "" || o.jid == "" {
		return
	}
	if m.marks == nil || len(m.marks) >= maxOccupants {
		m.marks = map[string]string{}
	}
	m.marks[o.id] = o.jid
}

// topic says that somebody set the subject; l.mu is held.
func (l *Leg) topic(m *muc, nick string) {
	if !m.shown {
		return
	}
	s := bridge.Sight{Kind: bridge.SightMode, What: "topic", Topic: m.subject, By: bridge.By{Nick: strings.Clone(nick), Server: nick == ""}}
	if nick != "" {
		s.By.Facts = l.factsOf(m, s.By.Nick, m.occupants[nick])
	}
	l.sight(m, s)
}

// chatFacts are those of what a person said to us alone: the JID that the server
// vouches for, and what the message proves; nil where nobody watches.
func (l *Leg) chatFacts(c *contact, bare string, o e2ee.Opened) *policy.Facts {
	if !l.eyes.on.Load() {
		return nil
	}
	now := time.Now()
	f := policy.NewXMPPFacts(l.name, c.room.Name)
	f.JID, f.Key = policy.Is(bare, "stream", now), policy.IsNot("message", now)
	f.Rung, f.RungKnown = o.Rung, policy.Yes
	if o.Rung == policy.Verified && o.Fingerprint != "" {
		f.Key = policy.Is(strings.ToUpper(o.Fingerprint), "message", now)
	}
	return &f
}
