//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// destroyed is a room for members that is in no bridge, and two admins.
const destroyed = `
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, otr: {start: presence}}
store: {path: store}
people:
  alice: {jids: [alice@localhost], otr: ["${alice}"], groups: [staff]}
  carol: {jids: [carol@localhost], otr: ["${carol}"], groups: [staff]}
bridges:
  dev:
    xmpp: {account: bot, rooms: [{room: lobby@rooms.localhost, require: clear}], people: [alice, carol]}
    require: {in: sealed, out: sealed}
    schemes: [otr]
    announce: off
rooms:
  office: {xmpp: {account: bot, room: dev@rooms.localhost}, default: deny, dry_run: false}
rules:
  - {id: staff-in, do: [join, speak], who: {groups: [staff]}, effect: allow}
admin: {people: [alice, carol], socket: "${socket}"}
`

// Scenario: another owner loses a Jabber room, and then it is destroyed, by two admins'
// word, each in their own encrypted chat; one alone, also twice, does not do it. Everybody
// there is told where to go.
func TestRoomIsDestroyedByTwo(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		s.AddUser("mallory")
		mallory := h.owner(s, "mallory", devRoomJID)
		alice, carol := h.scriptedOTR(s, "alice", 0), h.scriptedOTR(s, "carol", 0)
		h.config(destroyed)
		h.start()
		h.guardShows("status", "dev@rooms.localhost: held", "mallory@localhost is owner too", "drop-owner needs two admins")
		alice.login(s)
		carol.login(s)
		alice.sealed()
		carol.sealed()
		byTwo := func(order, done string) {
			t.Helper()
			for range 2 {
				h.answered(alice.heard, func() { alice.say(order) }, "another admin gives the same order")
			}
			h.guardShows("status", "dev@rooms.localhost: held")
			h.answered(carol.heard, func() { carol.say(order) }, done)
		}
		byTwo("!guard drop-owner office mallory@localhost", "mallory@localhost is not owner of office any more")
		h.guardHides("status", "mallory@localhost is owner too")
		mallory.Send("<iq type='get' id='owns' to='" + devRoomJID + "'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>")
		if st := mallory.Expect(func(st string) bool { return lab.Attr(st, "id") == "owns" }, "an answer"); lab.Attr(st, "type") != "error" {
			t.Errorf("mallory is answered as an owner is: %s", st)
		}

		inRoom := h.XMPPUser(s, "carol", "muc")
		comesTo(t, "carol", func() string { return seat(inRoom, "carol") }, "in")
		byTwo("!guard destroy office --venue new@rooms.localhost --reason moving", "the Jabber room of office is gone")
		st := inRoom.Expect(func(st string) bool { return strings.HasPrefix(st, "<presence") && strings.Contains(st, "<destroy") }, "the end of the room")
		if !strings.Contains(st, "new@rooms.localhost") || !strings.Contains(st, "moving") || strings.Contains(st, "<password") {
			t.Errorf("carol was told: %s", st)
		}
		h.guardShows("audit", "drop-owner mallory@localhost (done)", "destroy new@rooms.localhost (done)", "waits for a second admin")
	})
}
