//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// openRooms are a hall whose strangers are not heard, a lobby where a crowd shuts the
// door, and a room with guests for a second.
const openRooms = `
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password}
store: {path: store}
people:
  alice: {jids: [alice@localhost], groups: [staff]}
  carol: {jids: [carol@localhost], groups: [staff, ops]}
bridges:
  dev:
    xmpp:
      account: bot
      rooms: [{room: dev@rooms.localhost, require: clear}, {room: away@rooms.localhost, require: clear}]
    announce: off
rooms:
  hall: {xmpp: {account: bot, room: dev@rooms.localhost}, default: quarantine, dry_run: false}
  lobby: {xmpp: {account: bot, room: lobby@rooms.localhost}, default: allow, joins: {count: 3, per: 1h, for: 1h}, dry_run: false}
  guests: {xmpp: {account: bot, room: guests@rooms.localhost}, default: deny, dry_run: false}
rules:
  - {id: staff-in, rooms: [hall, guests], do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: a-while, rooms: [guests], do: join, who: {anonymous: true}, effect: quarantine, for: 1s}
safety: {max_removals: {count: 20, share: 100%}}
`

// role is what somebody was told last of their own role in a room.
func role(u *lab.XMPPUser, room, nick string) string {
	out := ""
	for _, st := range u.Stanzas() {
		if strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == room+"/"+nick {
			_, item, _ := strings.Cut(st, "<item ")
			item, _, _ = strings.Cut(item, ">")
			if out = lab.Attr("<item "+strings.TrimSuffix(item, "/")+">", "role"); out == "" {
				out = lab.Attr(st, "type")
			}
		}
	}
	return out
}

// Scenario: strangers may be in a room and are not heard, neither there nor where it is
// bridged to, and are told what to do; once they are known they are. Guests go when
// their time is over. A crowd shuts the lobby: who comes then is not heard until it opens.
func TestQuietInMUCs(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		h.config(openRooms)
		bot := h.start()
		h.guardShows("status", "dev@rooms.localhost: held", "lobby@rooms.localhost: held", "guests@rooms.localhost: held")
		alice, mallory := h.XMPPUser(s, "alice", ""), h.XMPPUser(s, "mallory", "")
		for _, u := range []*lab.XMPPUser{alice, mallory} {
			u.Presence("")
		}

		t.Log("quarantine")
		alice.JoinRoom(devRoom, "alice")
		alice.JoinRoom("away@rooms.localhost", "alice")
		mallory.JoinRoom(devRoom, "mallory")
		comesTo(t, "alice's role", func() string { return role(alice, devRoom, "alice") }, "participant")
		comesTo(t, "mallory's role", func() string { return role(mallory, devRoom, "mallory") }, "visitor")
		mallory.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<message") && lab.Attr(st, "from") == devRoom+"/bridge" && strings.Contains(st, "You cannot be heard in "+devRoom)
		}, "to be told what to do")
		say := func(u *lab.XMPPUser, text string) {
			u.Send("<message type='groupchat' to='" + devRoom + "'><body>" + text + "</body></message>")
		}
		heard := func(room, text string) bool {
			for _, st := range alice.Stanzas() {
				if body, _ := lab.Child(st, "body"); strings.HasPrefix(lab.Attr(st, "from"), room) && strings.Contains(body, text) {
					return true
				}
			}
			return false
		}
		comesTo(t, "the room moderated", func() bool {
			say(mallory, "nobody hears me")
			for _, st := range mallory.Stanzas() {
				if strings.HasPrefix(st, "<message") && lab.Attr(st, "type") == "error" {
					return true
				}
			}
			return false
		}, true)
		say(alice, "the fence")
		comesTo(t, "alice's own line elsewhere", func() bool { return heard("away@rooms.localhost", "the fence") }, true)
		if heard("away@rooms.localhost", "nobody hears me") {
			t.Error("a stranger's line was relayed")
		}

		t.Log("a request for voice, and who becomes known")
		mallory.Send("<message to='" + devRoom + "'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role' type='list-single'><value>participant</value></field></x></message>")
		comesTo(t, "mallory told again", func() bool {
			return strings.Count(strings.Join(mallory.Stanzas(), "\n"), "You cannot be heard in "+devRoom) == 2
		}, true)
		h.config(strings.Replace(openRooms, "alice: {", "mallory: {jids: [mallory@localhost], groups: [staff]}\n  alice: {", 1))
		h.ok("reload")
		comesTo(t, "mallory's role", func() string { return role(mallory, devRoom, "mallory") }, "participant")
		say(mallory, "now I am heard")
		comesTo(t, "mallory's line elsewhere", func() bool { return heard("away@rooms.localhost", "now I am heard") }, true)
		h.config(openRooms)
		h.ok("reload")
		comesTo(t, "mallory's role", func() string { return role(mallory, devRoom, "mallory") }, "visitor")

		t.Log("a guest")
		mallory.Send("<presence to='guests@rooms.localhost/mallory'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
		comesTo(t, "mallory is out", func() string { return role(mallory, "guests@rooms.localhost", "mallory") }, "none")

		t.Log("a crowd")
		crowd := []string{"gast1", "gast2", "gast3", "gast4"}
		s.AddUser(crowd...)
		users := map[string]*lab.XMPPUser{}
		for _, name := range crowd[:3] {
			users[name] = h.XMPPUser(s, name, "")
			users[name].JoinRoom("lobby@rooms.localhost", name)
		}
		h.guardShows("status", "lobby: armed, shut until", "many joined at once")
		bot.Kill() // which opens nothing
		h.start()
		h.guardShows("status", "lobby: armed, shut until", "lobby@rooms.localhost: held")
		owner := h.XMPPUser(s, "carol", "")
		comesTo(t, "a newcomer's role", func() string {
			owner.Send("<presence to='lobby@rooms.localhost/carol' type='unavailable'/>")
			owner.JoinRoom("lobby@rooms.localhost", "carol")
			return role(owner, "lobby@rooms.localhost", "carol")
		}, "visitor")
		h.ok("guard", "lockdown", "lobby", "--off")
		comesTo(t, "a newcomer's role", func() string { return role(owner, "lobby@rooms.localhost", "carol") }, "participant")
	})
}
