//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// leftRoom is a bridge whose channel and Jabber room are both left, and close next.
const leftRoom = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password}
people:
  carol: {jids: [carol@localhost], groups: [staff]}
store: {path: store}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost, require: clear}]}
    require: clear
    announce: off
rooms:
  office: {irc: {network: corp, channel: "#dev"}, xmpp: {account: bot, room: dev@rooms.localhost}, default: allow, dry_run: false}
rules:
  - {id: staff-op, rooms: [office], do: [op], who: {groups: [staff]}, effect: allow}
safety: {max_removals: {count: 20, share: 100%}} # of three people, one may go in a minute else
migration:
  dev: {phase: farewell, to: "xmpp:new@rooms.localhost?join", closes: [dev@rooms.localhost]}
`

// A Jabber room that is left with its channel is locked with its subject, on both
// servers; it is not destroyed, stays persistent, and opens again by one step back.
func TestRoomThatIsLeftIsLocked(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		ircd := h.InspIRCd(lab.InspIRCd{Fast: true})
		h.vars["irc"] = localhost(ircd.TLSAddr)
		h.config(leftRoom)
		h.start()
		carl := h.IRCUser(ircd, "carl")
		h.statusShows(", ready")
		carl.Join(channel)
		// The bot was first, and so is op and owner.
		h.guardShows("status", "corp/#dev: held", "bot/dev@rooms.localhost: held")
		alice, mallory := &occupant{h.XMPPUser(s, "alice", "")}, h.XMPPUser(s, "mallory", "")
		if !lab.Poll(wait, func() bool { return seat(alice.XMPPUser, "alice") == "in" }) {
			t.Fatal("alice cannot come in")
		}
		alice.Expect(func(st string) bool {
			return strings.Contains(st, "<subject>This team has moved to xmpp:new@rooms.localhost?join")
		}, "the subject")
		h.ok("migrate", "advance", "dev")
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "registration-required" }) {
			t.Error("a stranger comes into a room that is closed")
		}
		carol := h.XMPPUser(s, "carol", "") // is admin there
		if got := seat(carol, "carol"); got != "in" {
			t.Fatalf("carol comes in: %s", got)
		}
		carol.Expect(func(st string) bool {
			return strings.Contains(st, "<subject>This team has moved to xmpp:new@rooms.localhost?join")
		}, "the subject of the closed room")
		carol.Send("<iq type='get' id='left' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
		info := carol.Expect(func(st string) bool { return lab.Attr(st, "id") == "left" }, "what the room is")
		if !strings.Contains(info, "muc_persistent") || !strings.Contains(info, "muc_membersonly") {
			t.Errorf("the closed room is %s", info)
		}
		carl.Expect(" MODE #dev :+i")
		h.ok("migrate", "back", "dev")
		if !lab.Poll(wait, func() bool { return seat(mallory, "mallory") == "in" }) {
			t.Error("the room stays closed")
		}
		carl.Expect(" MODE #dev :-i")
		if !lab.Poll(wait, func() bool { return seat(alice.XMPPUser, "alice") == "in" }) {
			t.Error("alice stays out")
		}
		carl.Send("TOPIC #dev")
		carl.Expect(" 332 carl #dev :This team has moved to xmpp:new@rooms.localhost?join")
		alice.say("heard again")
		h.reads("carl", onIRC(carl, channel), "alice", "heard again")
		h.balanced()
	})
}
