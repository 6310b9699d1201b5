package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

// maxOccupants bounds what is remembered of one room.
const maxOccupants = 10000

// muc is one room of this account (XEP-0045). Its fields are guarded by Leg.mu.
type muc struct {
	conf RoomConfig
	room bridge.Room

	state  bridge.State
	detail string
	proven bool

	nick      string // ours, as the room has it, or as we ask for it
	occupants map[string]*occupant
	sent      bool // the join was sent: a presence of ours before it is no answer
	settled   bool // the history is over: what comes now is live
	stableIDs bool // the room announces XEP-0359: its stanza-ids can be trusted
	keepsIDs  bool // the room reflects our ids as they are (XEP-0045 §18.1.1)
	mam       bool // the room has an archive that we may read (XEP-0313)
	ejabberd  bool // the room is served by one
	marksIDs  bool // the room gives occupants ids, and lets nobody make their own (XEP-0421)
	shown     bool // the guard was shown the room: SightReady, and not SightLost since
	reading   bool // we are in, and read what was said meanwhile
	history   bool // by its history, since it has no archive
	since     place
	recent    *recent
	mine      *recent           // ids of our own lines that the room has shown us
	from      time.Time         // since when we have seen all that was said
	left      time.Time         // since when we have not; zero: we are in, or never were
	lines     int               // of the history
	overlaps  bool              // it holds lines that we had
	hadLines  bool              // we have lines to know again
	known     bool              // its features are
	subject   *string           // nil: not told yet; longer ones than maxSubject are cut
	marks     map[string]string // real bare JIDs by XEP-0421 id, while the room is guarded
	created   bool              // the room is new and waits for its configuration

	deadline time.Time // of the join under way
	retry    time.Time // of the next attempt; zero: none
	attempts int
	suffixes int // nick conflicts in this attempt
	heard    time.Time
	asked    bool // a self-ping is under way
}

// occupant is somebody in a room.
type occupant struct {
	jid   string // real bare JID, "" where the room hides it
	role  string
	is    string    // affiliation
	id    string    // XEP-0421; it counts where the room announces that, see muc.marksIDs
	since time.Time // when we saw them first
}

func newMUC(leg string, c RoomConfig) *muc {
	return &muc{
		conf: c, room: bridge.Room{Leg: leg, Kind: bridge.MUC, Name: c.JID},
		nick: c.Nick, occupants: map[string]*occupant{}, detail: "not joined yet", recent: &recent{}, mine: &recent{},
	}
}

// reset forgets what only a stream tells, and reports whether we were in. That we
// were thrown out stays known: a new stream is no way back in.
func (m *muc) reset() bool {
	in, out, why := m.state == bridge.StateUp, m.thrownOut(), m.detail
	heard, mine, left, marks := m.recent, m.mine, m.left, m.marks
	*m = *newMUC(m.room.Leg, m.conf)
	m.recent, m.mine, m.left, m.marks = heard, mine, left, marks
	m.detail = "not connected"
	if out {
		m.state, m.detail = bridge.StateRefused, why
	}
	return in
}

// thrownOut reports whether the room stays closed to us until somebody acts.
func (m *muc) thrownOut() bool { return m.state == bridge.StateRefused && m.retry.IsZero() }

// setRooms makes rooms of those of conf, and keeps those that stay. It returns
// those that went, and those to join. l.mu is held.
func (l *Leg) setRooms(conf *setup) (gone, come []*muc) {
	old := l.rooms
	l.rooms = make(map[string]*muc, len(conf.Rooms))
	for _, rc := range conf.Rooms {
		bare, _ := splitJID(rc.JID)
		m := old[bare]
		delete(old, bare)
		switch {
		case m == nil:
			m = newMUC(l.name, rc)
			come = append(come, m)
		case m.conf != rc:
			if m.state != bridge.StateUp || m.conf.Password != rc.Password && m.conf.Nick == rc.Nick {
				m.suffixes, m.attempts = 0, 0
				if m.state != bridge.StateUp {
					m.nick = rc.Nick
					come = append(come, m)
				}
			} else if m.nick != rc.Nick {
				come = append(come, m) // a presence to the new nick
			}
			m.conf = rc
		}
		l.rooms[bare] = m
	}
	for _, m := range old {
		gone = append(gone, m)
	}
	return gone, come
}

// room returns the configured room with a bare JID, or nil.
func (l *Leg) room(bare string) *muc {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[bare]
}

// groupchat handles a message of a room: a reflection of ours, the subject, or
// what somebody said.
func (s *session) groupchat(m *muc, e *element.Element, nick string, ticket uint64) bool {
	l := s.leg
	body := e.Child(nsClient, "body")
	now := time.Now()
	stamp, delayed := delayOf(e, now)

	l.mu.Lock()
	if m.state != bridge.StateUp && !m.reading {
		// ejabberd leaves the seat of a session that was lost to the next one of the
		// same address, before it asks for it; and what the session of an earlier
		// process brings may come before what that process was still reading. All of it
		// is read once we are in; but a room that we made tells its subject only now.
		if m.created && body == nil && e.Child(nsClient, "subject") != nil {
			m.subject = keptSubject(e)
		}
		l.mu.Unlock()
		l.counts.add(countHistory)
		return false
	}
	m.heard = now
	own := nick != "" && nick == m.nick
	settled := m.settled || m.reading
	had := false
	if !own && body != nil {
		k := lineKey(nick, e.Get("id"), body.Text)
		had = delayed && m.reading && m.since.id == "" && m.recent.has(k)
		m.recent.add(k)
	}
	if delayed && m.history && m.reading && body != nil {
		m.lines++
		m.overlaps = m.overlaps || had || m.mine.has(mineKey(markOf(e)))
		if m.from.IsZero() || stamp.Before(m.from) {
			m.from = stamp
		}
	}
	if id := markOf(e); id != "" { // under whatever nick we said it
		m.mine.add(mineKey(id))
	}
	subject := e.Child(nsClient, "subject") != nil && body == nil
	// Behind the history all lines are said now, whatever they say of that themselves.
	live := !delayed || m.settled && !m.reading && !s.fromArchive
	if subject {
		m.subject = keptSubject(e)
	}
	if subject && m.settled && live {
		l.topic(m, nick)
	}
	if subject || !delayed && nick != "" {
		m.settled = true // XEP-0045 §7.1: the subject ends the history
	}
	ids := m.stableIDs
	caughtUp := m.history && m.reading && m.settled
	from := bridge.Sender{Nick: nick}
	if !delayed { // who had the nick then is not who has it now
		from = l.occupantSender(m, nick)
	}
	facts := l.spoke(m, e, nick, live, own, s.fromArchive)
	l.mu.Unlock()
	l.look()
	if caughtUp {
		s.proofs.leave(m.conf.JID, time.Time{})
		s.enter(m)
	}

	switch {
	case nick == "": // the room itself: notices of the service, in its own words
		s.roomWord(m, e)
		return false
	case own:
		s.reflection(m, e, ids)
		return false
	case delayed && !settled:
		l.counts.add(countHistory)
		return false
	case body == nil || body.Text == "":
		return false
	case had:
		return false
	}
	msg := bridge.Message{Room: m.room, From: from, Facts: facts, Time: stamp, Delayed: delayed}
	if ids {
		msg.ID = keptID(stanzaID(e, m.conf.JID))
	}
	msg.Mark = keptID(markOf(e))
	if foreignEncryption(e, body.Text) {
		msg.Kind, msg.Problem = bridge.Unreadable, errUnknownScheme
		l.counts.add(countUnreadable)
	} else {
		msg.Kind, msg.Text = said(strings.Clone(body.Text))
	}
	msg.Taken = func(bool) { s.tickets.done(ticket) }
	s.cursor(&msg, m.conf.JID, msg.ID, ticket)
	l.pipe.push(&item{msg: msg, size: 300 + len(body.Text)})
	return true
}

// maxSubject is how much of a room's subject is kept, in bytes.
const maxSubject = 8 << 10

// keptSubject is the subject that a message sets.
func keptSubject(e *element.Element) *string {
	text := e.Child(nsClient, "subject").Text
	if len(text) > maxSubject {
		text = strings.ToValidUTF8(text[:maxSubject], "")
	}
	text = strings.Clone(text)
	return &text
}

// stanzaID returns the id that a room gave a message (XEP-0359).
func stanzaID(e *element.Element, by string) string {
	for _, c := range e.Children {
		if c.Local == "stanza-id" && c.Space == nsSID && c.Get("by") == by {
			return c.Get("id")
		}
	}
	return ""
}

// occupantSender is an occupant as who speaks. Only a real JID that the room
// shows makes a person of a nick. l.mu is held.
func (l *Leg) occupantSender(m *muc, nick string) bridge.Sender {
	from := bridge.Sender{Nick: nick}
	if o := m.occupants[nick]; o != nil {
		from.JID = o.jid
		from.Op = o.role == "moderator"
		if c := l.byJID[o.jid]; c != nil && o.jid != "" {
			from.Person = c.room.Name
		}
	}
	return from
}

// reflection takes a message of our own occupant: the proof that the room has it.
// By origin-id (XEP-0359); a room that rewrites messages keeps at least the id.
func (s *session) reflection(m *muc, e *element.Element, ids bool) {
	netID := ""
	if ids {
		netID = stanzaID(e, m.conf.JID)
	}
	origin, id := e.Child(nsSID, "origin-id").Get("id"), e.Get("id")
	ours := id != "" && id == s.probeID(m)
	for _, id := range []string{origin, ownID(id)} {
		ours = ours || id != "" && s.proofs.reflected(m.conf.JID, id, netID)
	}
	if !ours {
		s.leg.counts.add(countOwn)
		return
	}
	s.leg.mu.Lock()
	m.proven = true
	s.leg.mu.Unlock()
}

// probe sends a message without a body, which clients do not show: its
// reflection proves, before anybody speaks, that the room passes ours on.
func (s *session) probe(m *muc) {
	s.out.own(element.New(nsClient, "message", "to", m.conf.JID, "type", "groupchat", "id", s.probeID(m)).Add(
		element.New(nsHints, "no-store")))
}

func (s *session) probeID(m *muc) string { return s.idPrefix + "probe-" + m.conf.JID }

// sendRoom sends the messages that come before one that cannot be sent.
func (s *session) sendRoom(ctx context.Context, ms []bridge.Outgoing) (int, error) {
	l, to := s.leg, ms[0].To
	l.mu.Lock()
	r := l.rooms[to.Name]
	up, keeps := r != nil && r.state == bridge.StateUp, r != nil && r.keepsIDs
	l.mu.Unlock()
	if !up { // or not a room of ours yet: a reload tells the core first
		return 0, bridge.ErrNotReady
	}
	msgs := make([]*element.Element, 0, len(ms))
	var err error
	for i := range ms {
		var msg *element.Element
		if msg, err = s.roomMessage(&ms[i], keeps); err != nil {
			break
		}
		msgs = append(msgs, msg)
	}
	ms = ms[:len(msgs)]
	if len(ms) == 0 {
		return 0, err
	}
	now := time.Now()
	if !s.proofs.muc(ms, now) {
		return 0, bridge.ErrNotReady
	}
	if _, werr := s.st().Send(msgs...); werr != nil {
		// What waits no more has its proof: the end of the stream puts it in doubt.
		if waited := s.proofs.forget(ms); len(waited) > 0 && !s.unsent(waited, werr) {
			return 0, bridge.ErrNotReady
		}
		return len(ms), err
	}
	s.lastSent.Store(now.UnixNano())
	return len(ms), err
}

// markID begins the id of a line that a Drawbridge put into a room.
const markID = "drawbridge:"

// ownID is the Outgoing.ID of a message id that we made.
func ownID(id string) string { return strings.TrimPrefix(id, markID) }

// markOf returns the id in the mark that a Drawbridge gave a line, which no other
// relays again; "" if it has none.
func markOf(e *element.Element) string {
	if id, ok := strings.CutPrefix(e.Get("id"), markID); ok {
		return id
	}
	return e.Child(nsMark, "relayed").Get("id")
}

// roomMessage makes the stanza of a line. A room copies each of its elements for
// every occupant, which is most of what a line costs the server: where the room
// keeps our ids, the id alone proves the line and marks it; elsewhere an origin-id
// (XEP-0359) and an element of ours do.
func (s *session) roomMessage(m *bridge.Outgoing, keepsIDs bool) (*element.Element, error) {
	body, err := clearBody(*m)
	if err != nil {
		return nil, err
	}
	id := m.ID
	if keepsIDs {
		id = markID + id
	}
	msg := element.New(nsClient, "message", "to", m.To.Name, "type", "groupchat", "id", id).Add(body)
	if !keepsIDs {
		msg.Add(element.New(nsSID, "origin-id", "id", m.ID), element.New(nsMark, "relayed", "id", m.ID))
	}
	s.stamp(msg, m)
	return msg, s.fits(msg)
}

// roomBounce handles an error to a message of ours in a room.
func (s *session) roomBounce(m *muc, id string, why *stanzaError) {
	if s.asideBounce(m, id, why) {
		return
	}
	id = ownID(id)
	switch {
	case why.Condition == "not-acceptable" || why.Condition == "item-not-found" || why.Condition == "gone":
		// We are not in the room any more, whatever we believe: nothing of what
		// waits has arrived, and it can be sent again after the rejoin.
		s.lost(m, "the room does not know us any more ("+why.Condition+")")
	case why.Type == "wait" || why.Condition == "resource-constraint" || why.Condition == "policy-violation":
		s.leg.mu.Lock()
		s.leg.pace.halve(time.Now())
		s.leg.mu.Unlock()
		s.proofs.settle(m.conf.JID, id, bridge.Proof{Outcome: bridge.Doubt})
	case why.Condition == "forbidden":
		s.proofs.settle(m.conf.JID, id, bridge.Proof{
			Outcome: bridge.Failed,
			Err:     fmt.Errorf("%w: no voice in this room; make the bot a member or give it voice", why),
		})
	default:
		s.proofs.settle(m.conf.JID, id, bridge.Proof{Outcome: bridge.Failed, Err: why})
	}
}

// tendRooms looks after joins, retries, self-pings and missing reflections.
func (l *Leg) tendRooms(s *session, now time.Time) {
	conf := l.conf.Load()
	var join, ping []*muc
	var check, out []string
	l.mu.Lock()
	for _, m := range l.rooms {
		switch {
		case m.state == bridge.StateOpening && now.After(m.deadline):
			m.fail("no answer to the join; is the service up?", now)
			l.lostSight(m, m.detail)
			out = append(out, m.conf.JID)
		case m.state != bridge.StateUp && m.state != bridge.StateOpening && !m.retry.IsZero() && now.After(m.retry):
			join = append(join, m)
		case m.state == bridge.StateUp && !m.asked && now.Sub(m.heard) > conf.SelfPing:
			m.asked = true
			ping = append(ping, m)
		}
		if m.state == bridge.StateUp {
			check = append(check, m.conf.JID)
		}
	}
	l.mu.Unlock()
	l.look()
	for _, room := range out {
		s.proofs.leave(room, time.Time{})
	}
	for _, m := range join {
		s.join(m)
	}
	for _, m := range ping {
		s.selfPing(m)
	}
	for _, room := range check {
		// A reflection that does not come although the link lives: ask whether we
		// are still in the room, and let the core decide what to do.
		if s.proofs.leave(room, now.Add(-reflectionMax)) > 0 {
			if m := l.room(room); m != nil {
				s.selfPing(m)
			}
		}
	}
}

// reflectionMax is how long a room may take to show us our own message.
const reflectionMax = 30 * time.Second

// selfPing asks whether we are still in a room (XEP-0410).
func (s *session) selfPing(m *muc) {
	l := s.leg
	l.mu.Lock()
	to := m.conf.JID + "/" + m.nick
	l.mu.Unlock()
	s.ask("get", to, element.New(nsPing, "ping"), 30*time.Second, func(_ *element.Element, err error) {
		l.mu.Lock()
		m.asked = false
		m.heard = time.Now()
		l.mu.Unlock()
		var se *stanzaError
		if err == nil {
			return
		}
		if errors.As(err, &se) && !slices.Contains(notJoined, se.Condition) {
			return // we are in; the answering client just refuses pings
		}
		s.lost(m, "no longer in the room (self-ping: "+err.Error()+")")
	})
}

// notJoined are the answers to a self-ping that mean we are out (XEP-0410 §3.2,
// and item-not-found as Prosody and ejabberd use it).
var notJoined = []string{"not-acceptable", "item-not-found", "not-allowed", "remote-server-not-found", "remote-server-timeout", "gone"}
