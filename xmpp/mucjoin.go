package xmpp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

const (
	joinTimeout  = 30 * time.Second
	refusedRetry = 10 * time.Minute // a refusal that an admin may lift
	maxSuffixes  = 5
)

// joinAll joins the rooms of a new stream, all but those that threw us out.
func (l *Leg) joinAll(s *session) {
	l.mu.Lock()
	var rooms []*muc
	for _, name := range slices.Sorted(maps.Keys(l.rooms)) {
		if m := l.rooms[name]; !m.thrownOut() {
			rooms = append(rooms, m)
		}
	}
	s.joins = rooms
	l.mu.Unlock()
	s.joinSome(joinBurst)
}

// A stream joins joinBurst rooms at once, and then one every joinEvery: a hundred
// rooms in half a second, a thousand in five.
const (
	joinBurst = 10
	joinEvery = 5 * time.Millisecond
)

// joinSome joins up to n of the rooms that wait for it, and reports whether there
// are more.
func (s *session) joinSome(n int) (more bool) {
	s.leg.mu.Lock()
	n = min(n, len(s.joins))
	now := s.joins[:n]
	s.joins = s.joins[n:]
	more = len(s.joins) > 0
	s.leg.mu.Unlock()
	for _, m := range now {
		if s.leg.room(m.room.Name) == m { // a reload may have taken it away
			s.join(m)
		}
	}
	return more
}

// join asks for a room's features and enters it, without its history. In a room
// we are in, it asks for the nick that is configured.
func (s *session) join(m *muc) {
	l := s.leg
	l.mu.Lock()
	conf, nick := m.conf, m.nick
	in := m.state == bridge.StateUp
	if in {
		nick = conf.Nick
	} else {
		m.state, m.detail = bridge.StateOpening, "joining"
		m.deadline, m.retry = time.Now().Add(joinTimeout), time.Time{}
		m.occupants, m.settled, m.from = map[string]*occupant{}, false, time.Time{}
		m.sent, m.lines, m.overlaps, m.created = false, 0, false, false
		m.hadLines = m.recent.n > 0
	}
	since, known := l.places[conf.JID]
	known = known && !in
	l.mu.Unlock()
	if !in {
		s.askFeatures(m, func() {
			if known { // how it is read is known only now
				s.askIn(m, nick, false, since)
			}
		})
	}
	if !known {
		s.askIn(m, nick, in, place{})
	}
}

// askFeatures asks what a room can do; then is called in any case.
func (s *session) askFeatures(m *muc, then func()) {
	s.ask("get", m.room.Name, element.New(nsInfo, "query"), time.Minute, func(reply *element.Element, err error) {
		if err == nil {
			s.roomFeatures(m, reply)
		}
		then()
	})
}

// askIn asks for a seat in a room, or for another nick if we are in. Its history
// is asked for where it was read before and has no archive.
func (s *session) askIn(m *muc, nick string, in bool, since place) {
	l := s.leg
	l.mu.Lock()
	conf := m.conf
	m.sent = true
	m.since, m.history = since, !since.at.IsZero() && !m.mam
	if m.history {
		m.since.id = "" // it is of no use
	}
	if m.since.id == "" && m.history {
		since.at = m.recent.since(since.at)
	}
	history := element.New(nsMUC, "history", "maxstanzas", "0")
	if m.history {
		history = element.New(nsMUC, "history", "since", since.at.UTC().Format(placeFormat))
	}
	l.mu.Unlock()
	// A room sees a presence of our own JID, not that of a contact: it may be
	// unsigned where the key cannot sign.
	p, _ := s.available(conf.JID + "/" + nick)
	if !in {
		x := element.New(nsMUC, "x").Add(history)
		if conf.Password != "" {
			x.Add(element.New(nsMUC, "password").SetText(conf.Password))
		}
		p.Add(x)
	}
	s.out.own(p)
}

func (s *session) roomFeatures(m *muc, reply *element.Element) {
	stable, keeps, mam, marks := false, false, false, false
	if q := reply.Child(nsInfo, "query"); q != nil {
		for _, f := range q.Children {
			stable = stable || f.Local == "feature" && f.Get("var") == nsSID
			mam = mam || f.Local == "feature" && f.Get("var") == nsMAM
			keeps = keeps || f.Local == "feature" && f.Get("var") == nsStableID
			marks = marks || f.Local == "feature" && f.Get("var") == nsOccupant
		}
	}
	s.leg.mu.Lock()
	defer s.leg.mu.Unlock()
	m.known = true
	m.stableIDs, m.keepsIDs, m.mam, m.marksIDs = stable, keeps, mam, marks
}

// leave goes out of a room that is no longer configured.
func (s *session) leave(m *muc) {
	s.leg.mu.Lock()
	in, to := m.state == bridge.StateUp || m.state == bridge.StateOpening, m.conf.JID+"/"+m.nick
	s.leg.lostSight(m, "left: no longer configured")
	m.reset()
	s.leg.mu.Unlock()
	s.leg.look()
	if in {
		s.out.own(element.New(nsClient, "presence", "type", "unavailable", "to", to))
	}
	s.proofs.leave(m.conf.JID, time.Time{})
	s.leg.notify(bridge.Event{Kind: bridge.RoomDown, Room: m.room, Detail: "left: no longer configured"})
}

// fail ends a join that may work later; Leg.mu is held.
func (m *muc) fail(why string, now time.Time) {
	m.attempts = min(m.attempts+1, 10)
	m.state, m.detail, m.reading = bridge.StateDown, why, false
	m.retry = now.Add(jitter(min(slowFirst<<(m.attempts-1), slowLast)))
	m.nick, m.suffixes = m.conf.Nick, 0
}

// refuse ends a join that waits for somebody to act; after a long while it is
// tried again anyway, unless retry is false. Leg.mu is held.
func (m *muc) refuse(why string, retry bool, now time.Time) {
	m.state, m.detail, m.retry, m.reading = bridge.StateRefused, why, time.Time{}, false
	if retry {
		m.retry = now.Add(jitter(refusedRetry))
	}
	m.nick, m.suffixes = m.conf.Nick, 0
}

// lost takes us for outside of a room we were in, and joins it again soon.
func (s *session) lost(m *muc, why string) {
	l := s.leg
	l.mu.Lock()
	was, now := m.state == bridge.StateUp, time.Now()
	if was {
		m.fail(why, now)
		m.proven, m.left = false, now
		l.lostSight(m, why)
	}
	l.mu.Unlock()
	l.look()
	s.report(m, was, why)
}

// report tells of a room we are out of.
func (s *session) report(m *muc, was bool, why string) {
	if !was {
		return
	}
	s.leg.log.Warn("out of the room", "leg", s.leg.name, "room", m.room.Name, "err", why)
	s.leg.notify(bridge.Event{Kind: bridge.RoomDown, Room: m.room, Detail: why})
	s.proofs.leave(m.conf.JID, time.Time{})
}

// mucUser is what <x xmlns='…muc#user'/> says.
type mucUser struct {
	codes               []string
	is, role, jid, nick string
	reason              string
	actor, actorJID     string // who did it, as far as the room tells
	id                  string // XEP-0421
	destroyed           bool
	venue               string // of a destroyed room
}

func readMUCUser(e *element.Element) mucUser {
	var u mucUser
	u.id = keptName(e.Child(nsOccupant, "occupant-id").Get("id"))
	x := e.Child(nsMUCUser, "x")
	if x == nil {
		return u
	}
	for _, c := range x.Children {
		switch c.Local {
		case "status":
			if len(u.codes) < 16 {
				u.codes = append(u.codes, c.Get("code"))
			}
		case "item":
			u.role, u.nick = keptWord(c.Get("role"), roleNames), keptName(c.Get("nick"))
			u.is = keptWord(c.Get("affiliation"), affiliationNames)
			u.jid, _ = splitJID(keptName(c.Get("jid")))
			if by := c.Child(nsMUCUser, "actor"); by != nil {
				u.actor = keptName(by.Get("nick"))
				u.actorJID, _ = splitJID(keptName(by.Get("jid")))
			}
			if r := c.Child(nsMUCUser, "reason"); r != nil {
				u.reason = r.Text
			}
		case "destroy":
			u.destroyed, u.venue = true, c.Get("jid")
			if r := c.Child(nsMUCUser, "reason"); r != nil {
				u.reason = r.Text
			}
		}
	}
	u.reason = printable(u.reason, 200)
	return u
}

// The words of XEP-0045 §5.1 and §5.2.
var (
	roleNames        = []string{"moderator", "participant", "visitor", "none"}
	affiliationNames = []string{"owner", "admin", "member", "none", "outcast"}
)

// keptWord is s, if it is one of the words, without the stanza it stood in; else "".
func keptWord(s string, words []string) string {
	if i := slices.Index(words, s); i >= 0 {
		return words[i]
	}
	return ""
}

// keptName is a nick or JID without the stanza it stood in; none that RFC 7622
// does not let be so long.
func keptName(s string) string {
	if len(s) > 3*1023+2 {
		return ""
	}
	return strings.Clone(s)
}

func (u mucUser) has(code string) bool { return slices.Contains(u.codes, code) }

// roomPresence handles a presence of a room or one of its occupants.
func (s *session) roomPresence(m *muc, e *element.Element, typ, nick string) {
	l := s.leg
	l.mu.Lock()
	m.heard = time.Now()
	self := nick != "" && nick == m.nick && m.state == bridge.StateUp
	l.mu.Unlock()
	switch typ {
	case "error":
		s.joinRefused(m, errorOf(e))
	case "":
		if nick == "" && strings.HasPrefix(e.Child(nsCaps, "c").Get("node"), "http://www.process-one.net/en/ejabberd") {
			l.mu.Lock()
			m.ejabberd = true
			l.mu.Unlock()
		}
		if u := readMUCUser(e); self || u.has("110") {
			s.selfPresence(m, nick, u)
		} else if nick != "" {
			s.occupantHere(m, nick, u)
		}
	case "unavailable":
		if u := readMUCUser(e); s.leaving.Load() {
			return
		} else if self || u.has("110") {
			s.selfGone(m, u)
		} else if nick != "" {
			s.occupantGone(m, nick, u)
		}
	}
}

// selfPresence is the room's word that we are in (status 110), possibly under
// another nick than we asked for (210).
func (s *session) selfPresence(m *muc, nick string, u mucUser) {
	l := s.leg
	l.mu.Lock()
	if m.state != bridge.StateUp && (m.state != bridge.StateOpening || !m.sent) {
		// Not asked for: a session of an earlier process brings what that one asked for.
		l.mu.Unlock()
		return
	}
	m.nick = nick
	u.jid = s.bare
	l.present(m, nick, u)
	if m.state == bridge.StateUp || m.reading {
		l.mu.Unlock()
		l.look()
		return
	}
	if u.has("201") && !m.created {
		m.created = true
		l.mu.Unlock()
		s.unlock(m)
		return
	}
	// A room that our join has made anew has nothing to tell, nor has one whose
	// history is over.
	if from := m.since; !from.at.IsZero() && !m.created && (m.mam || !m.settled) {
		m.reading, m.detail = true, "reading what was said meanwhile"
		m.deadline = time.Now().Add(pageTimeout)
		mam := m.mam
		l.show(m)
		l.mu.Unlock()
		l.look()
		if mam {
			s.catchUpFrom(m.room.Name, m, from, false)
		}
		return
	}
	l.show(m)
	l.mu.Unlock()
	l.look()
	s.proofs.leave(m.room.Name, time.Time{})
	s.enter(m)
}

// enter makes a room ready that we are in.
func (s *session) enter(m *muc) {
	l := s.leg
	l.mu.Lock()
	if m.state != bridge.StateOpening {
		l.mu.Unlock()
		return // out again
	}
	// A room that was out of reach for us, or whose history is cut off or gone.
	missed := m.since.at.IsZero() && !m.left.IsZero() || m.cutOff() || m.created && !m.since.at.IsZero()
	until, short := m.from, m.cutOff()
	m.state, m.detail, m.attempts, m.deadline = bridge.StateUp, "", 0, time.Time{}
	m.reading, m.history, m.since = false, false, place{}
	if m.from.IsZero() {
		m.from = time.Now()
	}
	nick, role, known, created := m.nick, "", m.known, m.created
	if o := m.occupants[nick]; o != nil {
		role = o.role
	}
	switch {
	case role == "visitor":
		m.detail = "joined without voice: make the bot a member, or give it voice"
	case nick != m.conf.Nick:
		m.detail = "joined as " + printable(nick, 60) + ": the nick " + m.conf.Nick + " is taken"
	case m.created:
		m.detail = "this room did not exist and was created"
	}
	l.mu.Unlock()
	l.log.Info("joined", "leg", l.name, "room", m.room.Name)
	if missed {
		l.gap(m, until)
	}
	if short {
		l.begin(shortName, time.Now())
	}
	l.mu.Lock()
	m.left = time.Time{}
	l.mu.Unlock()
	if created && !known { // it did not exist when we asked
		s.askFeatures(m, func() {})
	}
	l.begin(m.room.Name, time.Now())
	s.entered(m.room.Name)
	l.notify(bridge.Event{Kind: bridge.RoomUp, Room: m.room, Who: bridge.Sender{Nick: nick}})
	s.probe(m)
}

// unlock takes a room that our join created as it comes (XEP-0045 §10.1.2); it
// is closed to others until then.
func (s *session) unlock(m *muc) {
	s.leg.log.Warn("the room did not exist and was created", "leg", s.leg.name, "room", m.room.Name)
	form := element.New(nsMUCOwner, "query").Add(element.New(nsForm, "x", "type", "submit"))
	s.ask("set", m.conf.JID, form, joinTimeout, func(_ *element.Element, err error) {
		s.leg.mu.Lock()
		nick := m.nick
		s.leg.mu.Unlock()
		if err != nil {
			s.leg.log.Warn("the new room could not be configured", "leg", s.leg.name, "room", m.room.Name, "err", err)
		}
		s.selfPresence(m, nick, mucUser{role: "moderator", is: "owner"})
	})
}

// selfGone is the room's word that we are out, or have another nick (303).
func (s *session) selfGone(m *muc, u mucUser) {
	l := s.leg
	if u.has("303") && u.nick != "" {
		l.mu.Lock()
		l.renamed(m, m.nick, u.nick, true)
		m.nick = u.nick
		if m.nick == m.conf.Nick {
			m.detail = ""
		}
		l.mu.Unlock()
		l.look()
		return
	}
	because := func(what string) string {
		if u.reason == "" {
			return what
		}
		return what + ": " + u.reason
	}
	l.mu.Lock()
	was, now := m.state == bridge.StateUp, time.Now()
	switch {
	case m.state == bridge.StateRefused:
	case u.has("332"):
		m.fail("the room's service shut down", now)
	case u.has("333"):
		m.fail("put out by a technical error", now)
	case u.has("301"):
		m.refuse(because("banned from the room; ask its admins, then reload"), false, now)
	case u.has("307"):
		m.refuse(because("kicked from the room; ask its moderators, then reload"), false, now)
	case u.has("321"):
		m.refuse(because("the bot's affiliation was taken away; make it a member again, then reload"), false, now)
	case u.has("322"):
		m.refuse(because("the room is members-only now; make the bot a member, then reload"), false, now)
	case u.destroyed && u.venue != "":
		m.refuse(because("the room was destroyed; its new place is "+printable(u.venue, 100)), false, now)
	case u.destroyed:
		m.refuse(because("the room was destroyed"), false, now)
	default:
		m.fail(because("put out of the room"), now)
	}
	why := m.detail
	m.proven = false
	if was {
		m.left = now
	}
	if m.thrownOut() { // what is said there from now on is not for us
		delete(l.places, m.room.Name)
		delete(l.trails, m.room.Name)
	}
	l.lostSight(m, why)
	m.occupants = map[string]*occupant{}
	l.mu.Unlock()
	l.look()
	s.report(m, was, why)
}

// joinRefused handles an error presence: a join that is refused, or a nick that
// is taken.
func (s *session) joinRefused(m *muc, why *stanzaError) {
	l := s.leg
	l.mu.Lock()
	now := time.Now()
	if m.state != bridge.StateOpening {
		l.mu.Unlock()
		return // of a change of nick or status: we are in as before
	}
	again := false
	switch why.Condition {
	case "conflict":
		if again = m.suffixes < maxSuffixes; again {
			m.suffixes++
			m.nick = m.conf.Nick + "_"
			if m.suffixes > 1 {
				m.nick = fmt.Sprintf("%s_%d", m.conf.Nick, m.suffixes)
			}
		} else {
			m.refuse("the nick "+m.conf.Nick+" and its variants are taken; set another nick", true, now)
		}
	case "not-authorized":
		m.refuse("the room wants a password, or another one; set password_file of the room", true, now)
	case "registration-required":
		m.refuse("the room is members-only; make the bot a member", true, now)
	case "forbidden":
		m.refuse("the bot is banned from the room; ask its admins", true, now)
	case "item-not-found":
		m.refuse("there is no such room, or it is locked; create it, or check its name", true, now)
	case "not-allowed":
		m.refuse("there is no such room, and the bot may not create rooms; create it", true, now)
	case "not-acceptable":
		m.refuse("the room wants a registered nick; set nick to the bot's own", true, now)
	case "jid-malformed":
		m.refuse("the room does not accept this nick; set another one", true, now)
	case "service-unavailable":
		m.fail("the room is full, or there is no such service", now)
	case "remote-server-not-found", "remote-server-timeout":
		m.fail("the room's server cannot be reached", now)
	case "gone":
		m.refuse("the room has moved or is gone for good", true, now)
	default:
		m.fail("the room refuses the join: "+why.Condition, now)
	}
	detail := m.detail
	l.mu.Unlock()
	if again {
		s.join(m)
		return
	}
	s.proofs.leave(m.conf.JID, time.Time{})
	l.log.Warn("join refused", "leg", l.name, "room", m.room.Name, "err", detail)
	l.notify(bridge.Event{Kind: bridge.RoomDown, Room: m.room, Detail: detail})
}

// occupantHere takes an occupant's presence.
func (s *session) occupantHere(m *muc, nick string, u mucUser) {
	l := s.leg
	l.mu.Lock()
	fresh := l.present(m, nick, u)
	up := m.state == bridge.StateUp && m.occupants[nick] != nil
	who := l.occupantSender(m, nick)
	l.mu.Unlock()
	l.look()
	if fresh && up {
		l.notify(bridge.Event{Kind: bridge.Joined, Room: m.room, Who: who})
	}
}

// occupantGone takes an occupant's leave, or their change of nick (303).
func (s *session) occupantGone(m *muc, nick string, u mucUser) {
	l := s.leg
	l.mu.Lock()
	o := m.occupants[nick]
	who := l.occupantSender(m, nick)
	renamed := u.has("303") && u.nick != "" && o != nil
	if renamed {
		l.renamed(m, nick, u.nick, false)
	} else {
		l.went(m, nick, u)
	}
	up := m.state == bridge.StateUp
	free := up && nick == m.conf.Nick && m.nick != m.conf.Nick
	l.mu.Unlock()
	l.look()
	if free {
		s.join(m) // our own nick is free again
	}
	switch {
	case o == nil || !up:
	case renamed:
		l.notify(bridge.Event{Kind: bridge.Renamed, Room: m.room, Who: who, Detail: printable(u.nick, 100)})
	default:
		l.notify(bridge.Event{Kind: bridge.Parted, Room: m.room, Who: who, Detail: u.reason})
	}
}
