package xmpp

import (
	"cmp"
	"strconv"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

// maxAsides bounds the whispers that wait to be written.
const maxAsides = 64

// Lookup answers at once with what is known: a room shows all that we may see of
// somebody in their presence, and there is nobody to ask for more.
func (l *Leg) Lookup(room bridge.Room, nick string, _ policy.Missing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.rooms[room.Name]
	if m == nil || !m.shown || m.occupants[nick] == nil {
		return // out of sight, and told so
	}
	l.sight(m, l.sightOf(m, bridge.SightChanged, nick, m.occupants[nick]))
	l.lookSoon()
}

// Whisper writes words of the bot's own to one occupant (XEP-0045 §7.5), in clear: in
// a MUC, whose floor is clear or which is not bridged at all, they say nothing but what
// the guard says of that room's door. Only who is in the room can be reached.
func (l *Leg) Whisper(room bridge.Room, nick, words string) {
	s, m, err := l.inRoom(room)
	if err != nil {
		return
	}
	l.mu.Lock()
	there := m.occupants[nick] != nil && nick != m.nick
	l.mu.Unlock()
	if !there {
		return
	}
	msg := element.New(nsClient, "message", "to", m.room.Name+"/"+nick, "type", "chat", "id", s.asideID("whisper")).Add(
		ownBody(words), element.New(nsMUCUser, "x"), element.New(nsHints, "no-store"))
	if !s.out.aside(msg) {
		l.counts.add(countWhispers)
	}
}

// aside queues a whisper; false if too many wait.
func (q *outQueue) aside(e *element.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.asides >= maxAsides {
		return false
	}
	q.asides++
	q.list = append(q.list, e)
	q.some.Signal()
	return true
}

// asideID is the id of a message to a room that is neither talk nor awaited. It tells
// its kind to later sessions, too.
func (s *session) asideID(kind string) string {
	return kind + "-" + s.idPrefix + strconv.FormatUint(s.asides.Add(1), 36)
}

// asideBounce takes an error to a whisper, an invitation or a subject. That somebody has gone is
// no sign that we have, and no trouble.
func (s *session) asideBounce(m *muc, id string, why *stanzaError) bool {
	kind, _, _ := strings.Cut(id, "-")
	if kind != "whisper" && kind != "invite" && kind != "subject" {
		return false
	}
	l := s.leg
	l.mu.Lock()
	if m.shown && (kind != "whisper" || why.Condition != "item-not-found") {
		l.sight(m, bridge.Sight{Kind: bridge.SightRefused, What: kind, Text: why.Condition})
	}
	l.mu.Unlock()
	l.look()
	return true
}

// roomWord takes what a room itself says to its owners: that its configuration or
// somebody's affiliation changed, or that somebody wants to be let in or to speak. It
// reports whether it was such a word.
func (s *session) roomWord(m *muc, e *element.Element) bool {
	l := s.leg
	if e.Child(nsDelay, "delay") != nil {
		return false
	}
	l.mu.Lock()
	sight, ok := l.wordOf(m, e)
	if ok && m.shown {
		l.sight(m, sight)
	}
	l.mu.Unlock()
	l.look()
	return ok
}

// configCodes are those of a room whose configuration changed (XEP-0045 §10.2.1).
var configCodes = []string{"104", "170", "171", "172", "173"}

// wordOf reads it; l.mu is held.
func (l *Leg) wordOf(m *muc, e *element.Element) (s bridge.Sight, ok bool) {
	if x := e.Child(nsForm, "x"); x != nil {
		f, err := form.Parse(x)
		if err != nil {
			return s, false
		}
		return l.requestOf(m, f)
	}
	u := readMUCUser(e)
	for _, code := range configCodes {
		if u.has(code) {
			return bridge.Sight{Kind: bridge.SightMode, What: "config"}, true
		}
	}
	if u.jid == "" || u.is == "" {
		return s, false
	}
	s = bridge.Sight{Kind: bridge.SightMode, What: "affiliation", Is: policy.Affiliation(u.is), Text: u.reason, By: l.byOf(m, u)}
	s.Facts = l.factsOf(m, u.nick, nil)
	s.Facts.JID = policy.Is(u.jid, "the room", s.Facts.Since)
	return s, true
}

// requestOf reads a request for voice (XEP-0045 §8.6) or for membership (§9.9).
func (l *Leg) requestOf(m *muc, f *form.Form) (s bridge.Sight, ok bool) {
	what, by := "", ""
	switch f.Kind {
	case "http://jabber.org/protocol/muc#request":
		what, by = "voice", "muc#roomnick"
	case "http://jabber.org/protocol/muc#register":
		what, by = "member", "muc#register_roomnick"
	default:
		return s, false
	}
	nick := keptName(f.Field(by).Value())
	jid, _ := splitJID(keptName(f.Field("muc#jid").Value()))
	o := m.occupants[nick]
	if what == "member" || o == nil || jid != "" && o.jid != "" && o.jid != jid {
		o = &occupant{} // that nick is wished for, or of somebody else
	}
	o = &occupant{jid: cmp.Or(jid, o.jid), role: o.role, is: o.is, id: o.id, since: o.since}
	s = l.sightOf(m, bridge.SightInvited, nick, o)
	s.What, s.Self, s.Facts.Self = what, false, false
	return s, true
}
