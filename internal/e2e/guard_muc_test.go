//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// officeRoom is a bot in two rooms, of which it guards one whose affiliations it keeps.
const officeRoom = `
accounts:
  bot:
    jid: bridge@localhost/bridge
    server: "${xmpp}"
    ca_file: "${ca}"
    password_file: password
store: {path: store}
people:
  alice: {jids: [alice@localhost], groups: [staff]}
  carol: {jids: [carol@localhost], groups: [staff, ops]}
bridges:
  dev:
    xmpp:
      account: bot
      rooms: [{room: dev@rooms.localhost, require: clear}, {room: lobby@rooms.localhost, require: clear}]
    announce: off
rooms:
  office:
    xmpp: {account: bot, room: dev@rooms.localhost}
    default: deny
    lock: {affiliations: true}
`

const guardedRoom = officeRoom + `rules:
  - {id: staff-in, rooms: [office], do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: ops-op, rooms: [office], do: [op], who: {groups: [ops]}, effect: allow}
safety: {max_removals: {count: 20, share: 100%}} # of three people, one may go in a minute else
`

// onBothServers runs a test against Prosody and ejabberd, where the bot has an account,
// and alice, carol and mallory.
func onBothServers(t *testing.T, test func(t *testing.T, h *house, s *lab.XMPPServer)) {
	onServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		s.AddUser("alice", "carol", "mallory")
		test(t, h, s)
	})
}

// onServers runs a test against Prosody and ejabberd, where only the bot has an account.
func onServers(t *testing.T, test func(t *testing.T, h *house, s *lab.XMPPServer)) {
	onServersWith(t, lab.Prosody{}, test)
}

// onServersWith is onServers with a Prosody as asked for.
func onServersWith(t *testing.T, prosody lab.Prosody, test func(t *testing.T, h *house, s *lab.XMPPServer)) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			var s *lab.XMPPServer
			if name == "prosody" {
				s = h.Prosody(prosody)
			} else {
				s = h.Ejabberd(lab.Ejabberd{})
			}
			s.AddUser(botName)
			h.vars["xmpp"] = localhost(s.Addr)
			test(t, h, s)
		})
	}
}

// seat is what the room answers to somebody who wants in: "in", or an error's condition.
func seat(u *lab.XMPPUser, nick string) string {
	seen := len(u.Stanzas())
	u.Send("<presence to='" + devRoom + "/" + nick + "'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	n := 0
	st := u.Expect(func(st string) bool {
		n++
		typ := lab.Attr(st, "type")
		return n > seen && strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/"+nick &&
			(typ == "error" || typ == "" && strings.Contains(st, "110"))
	}, "an answer to the join")
	for _, condition := range []string{"registration-required", "forbidden", "conflict"} {
		if strings.Contains(st, "<"+condition) {
			return condition
		}
	}
	return "in"
}

// knock asks a room for membership by its form (XEP-0045 §7.10), and returns the refusal:
// neither server passes it on to an owner. A form of a request for voice from outside
// (§7.13) is not answered by Prosody.
func knock(u *lab.XMPPUser) string {
	u.Send("<iq type='set' id='knock' to='" + devRoomJID + "'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>" +
		"<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_roomnick'><value>knocker</value></field></x></query></iq>")
	st := u.Expect(func(st string) bool { return lab.Attr(st, "id") == "knock" }, "an answer to the knock")
	_, st, _ = strings.Cut(st, "<error")
	_, st, _ = strings.Cut(st, "><")
	condition, _, _ := strings.Cut(st, " ")
	return condition
}

// out waits until the room has put somebody out, with that status.
func out(u *lab.XMPPUser, nick, status string) {
	u.Expect(func(st string) bool {
		return strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "unavailable" && lab.Attr(st, "from") == devRoom+"/"+nick && strings.Contains(st, status)
	}, "to be put out by "+status)
}

// Scenario: a Jabber room that is open becomes one of members, by the guard of the whole
// program: first it says what it would do, then it writes the list, reads it back, and
// shuts the door; staff who are there stay, a stranger goes, though they took the nick of
// somebody protected. Who is banned cannot come back until forgiven, and what a co-owner
// changes is set back.
func TestGuardedMUC(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		h.config(strings.Replace(guardedRoom, "safety: {", "safety: {protected: [carol], ", 1))
		h.start()
		h.guardShows("status", "office", "dry run")
		alice, carol, mallory := h.XMPPUser(s, "alice", ""), h.XMPPUser(s, "carol", ""), h.XMPPUser(s, "mallory", "")
		for _, u := range []*lab.XMPPUser{alice, mallory} {
			u.Presence("")
		}
		alice.JoinRoom(devRoom, "alice")
		mallory.JoinRoom(devRoom, "carol")
		h.guardShows("audit", "mallory", "dry run")
		h.ok("guard", "enable", "office")
		mallory.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "unavailable" && lab.Attr(st, "from") == devRoom+"/carol"
		}, "to be put out")
		// The stranger is thrown out each time, until the list was read back and the door is shut.
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "registration-required" }) {
			t.Error("the door stays open")
		}
		if got := knock(mallory); got != "registration-required" && got != "service-unavailable" {
			t.Errorf("mallory asks for membership and is answered %s", got)
		}
		if got := seat(carol, "carol"); got != "in" {
			t.Errorf("carol is answered %q", got)
		}
		carol.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/carol" && strings.Contains(st, "moderator")
		}, "to be moderator, as the rules say")

		for _, st := range alice.Stanzas() {
			if lab.Attr(st, "type") == "unavailable" && lab.Attr(st, "from") == devRoom+"/alice" {
				t.Errorf("alice was put out as the door was shut: %s", st)
			}
		}
		h.ok("guard", "ban", "alice", "--room", "office", "--for", "1h")
		out(alice, "alice", "301")
		if got := seat(alice, "alice"); got == "in" {
			t.Error("alice is banned and in")
		}
		h.ok("guard", "forgive", "alice")
		if !lab.Poll(wait, func() bool { return seat(alice, "alice") == "in" }) {
			t.Errorf("forgiven, alice cannot come in")
		}

		// carol is admin, and lets a stranger in; the guard takes that back.
		carol.Send("<iq type='set' id='let' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='mallory@localhost' affiliation='member'/></query></iq>")
		carol.Expect(func(st string) bool { return lab.Attr(st, "id") == "let" }, "the answer")
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "registration-required" }) {
			t.Error("mallory stays a member")
		}
		for _, u := range []*lab.XMPPUser{alice, carol} {
			if strings.Contains(strings.Join(u.Stanzas(), "\n"), "knocker") {
				t.Error("a request for membership was passed on: the guard could answer it")
			}
		}
	})
}

// Scenario: another owner takes the room from the bot: that is told, and nothing is
// done there until the bot is owner again.
func TestGuardedMUCTakenAway(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		h.config(strings.Replace(guardedRoom, "    default: deny", "    default: deny\n    dry_run: false", 1))
		carol, mallory := h.XMPPUser(s, "carol", ""), h.XMPPUser(s, "mallory", "")
		carol.Presence("")
		carol.JoinRoom(devRoom, "carol")
		n := 0
		set := func(query string) {
			n++
			id := fmt.Sprint("set-", n)
			carol.Send("<iq type='set' id='" + id + "' to='" + devRoom + "'>" + query + "</iq>")
			carol.Expect(func(st string) bool { return lab.Attr(st, "id") == id && lab.Attr(st, "type") == "result" }, "the answer")
		}
		set("<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>")
		bot := func(is string) {
			set("<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='" + botJID + "' affiliation='" + is + "'/></query>")
		}
		bot("owner")
		h.start()
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "registration-required" }) {
			t.Error("the door stays open")
		}
		bot("member")
		h.guardShows("status", "NOT HELD", "an owner has to restore it")
		bot("owner")
		h.guardHides("status", "NOT HELD")
		set("<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='mallory@localhost' affiliation='member'/></query>")
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "registration-required" }) {
			t.Error("mallory stays a member")
		}
	})
}

// guardHides waits until a verb of the guard shows a part no more.
func (h *house) guardHides(verb, part string) {
	h.t.Helper()
	var shown string
	if !lab.Poll(wait, func() bool {
		var code int
		shown, _, code = h.try("guard", verb)
		return code == 0 && !strings.Contains(shown, part)
	}) {
		h.t.Fatalf("guard %s shows %q for ever:\n%s", verb, part, shown)
	}
}

// guardShows waits until a verb of the guard shows all the parts.
func (h *house) guardShows(verb string, parts ...string) {
	h.t.Helper()
	var shown string
	if !lab.Poll(wait, func() bool {
		var code int
		shown, _, code = h.try("guard", verb)
		return code == 0 && hasAll(parts)(shown)
	}) {
		h.t.Fatalf("guard %s never showed %q:\n%s", verb, parts, shown)
	}
}
