//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// provisioned has a bridge whose room is made by the bot, and one whose room is
// somebody's.
const provisioned = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password}
store: {path: store}
people:
  alice: {jids: [alice@localhost], irc: {corp: {accounts: [aliceacct]}}}
  carol: {jids: [carol@localhost], irc: {corp: {accounts: [carolacct]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost}]}
    require: clear
    announce: off
  ops:
    irc: [{network: corp, channel: "#ops"}]
    xmpp: {account: bot, rooms: [{room: ops@rooms.localhost}]}
    require: clear
    announce: off
`

// owns reports whether a room shows u its configuration.
func owns(u *lab.XMPPUser, room, id string) bool {
	u.Send("<iq type='get' id='" + id + "' to='" + room + "'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>")
	st := u.Expect(func(st string) bool { return lab.Attr(st, "id") == id && strings.HasPrefix(st, "<iq") }, "an answer about the configuration")
	return lab.Attr(st, "type") == "result" && strings.Contains(st, "muc#roomconfig_membersonly")
}

// Scenario: a channel that ChanServ keeps becomes a room of its members. First it is
// only said what would be done; then it is done, who is no member goes, members are
// invited, and a second run finds nothing to do. An owner stays one.
func TestProvision(t *testing.T) {
	t.Parallel()
	onServersWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house, s *lab.XMPPServer) {
		s.AddUser("alice", "carol", "mallory")
		ircd := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
		h.vars["irc"] = localhost(ircd.TLSAddr)
		for _, account := range []string{"bridgeacct", "aliceacct", "carolacct", "eveacct"} {
			ircd.Register(account, "sesame")
		}
		h.file("services", "sesame\n")
		h.config(provisioned)
		founder := h.IRCUser(ircd, "alice")
		founder.Send("PRIVMSG NickServ :IDENTIFY aliceacct sesame")
		founder.Expect(" 900 ")
		for _, ch := range []string{"#dev", "#ops"} {
			founder.Join(ch)
			founder.Send("PRIVMSG ChanServ :REGISTER " + ch)
			founder.Expect(ch + "\x02 is now registered")
		}
		founder.Send("TOPIC #dev :\x02Release\x02 on <Friday> & more")
		for _, flags := range []string{"carolacct +V", "eveacct +o", "*!*@10.0.0.7 +V"} {
			founder.Send("PRIVMSG ChanServ :FLAGS #dev " + flags)
			founder.Expect("Flags \x02+")
		}

		carol := h.XMPPUser(s, "carol", "")
		carol.Presence("")
		carol.JoinRoom("ops@rooms.localhost", "carol")
		set := func(id, query string) {
			carol.Send("<iq type='set' id='" + id + "' to='ops@rooms.localhost'>" + query + "</iq>")
			carol.Expect(func(st string) bool { return lab.Attr(st, "id") == id && lab.Attr(st, "type") == "result" }, "the answer")
		}
		set("make", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>")

		h.start()
		h.statusShows("corp/#dev", "corp/#ops")
		h.legShows("corp", "up")
		h.legShows("bot", "up")
		alice, mallory := h.XMPPUser(s, "alice", ""), h.XMPPUser(s, "mallory", "")
		alice.Presence("")
		mallory.Presence("")
		if !lab.Poll(wait, func() bool { _, _, code := h.try("migrate", "provision", "dev"); return code == 0 }) {
			_, why, _ := h.try("migrate", "provision", "dev")
			t.Fatalf("no look at the rooms: %s", why)
		}
		mallory.JoinRoom(devRoom, "mallory")

		t.Log("ChanServ shows its list to whom it lets")
		if !lab.Poll(wait, func() bool {
			return strings.Contains(h.ok("migrate", "provision", "dev"), "ChanServ does not show its list to the bot")
		}) {
			t.Errorf("a list that is not shown is not told:\n%s", h.ok("migrate", "provision", "dev"))
		}
		founder.Send("PRIVMSG ChanServ :FLAGS #dev bridgeacct +A")
		founder.Expect("on \x02bridgeacct\x02")

		t.Log("a look changes nothing")
		look := ""
		if !lab.Poll(wait, func() bool {
			look = h.ok("migrate", "provision", "dev")
			return hasAll([]string{
				"dev: corp/#dev becomes bot/dev@rooms.localhost", "admin: alice@localhost (alice: founder, aliceacct (+", "member: carol@localhost (carol: voice, carolacct (+V))",
				"configuration: members-only", "configuration: real addresses for everybody", "configuration: no archive on the server", `subject: "Release on <Friday> & more"`, "puts out, as no members:", "  mallory",
				"eveacct (+o) is nobody's account", "*!*@10.0.0.7 (+V) is a mask", "Nothing was done: --yes does it.",
			})(look)
		}) {
			t.Fatalf("a look says\n%s", look)
		}
		if got := seat(mallory, "mallory"); got != "in" {
			t.Errorf("after a look mallory is answered %q", got)
		}
		if owns(alice, devRoom, "peek") {
			t.Error("alice owns the room")
		}

		t.Log("done\n" + look)
		if out := h.ok("migrate", "provision", "dev", "--yes"); !hasAll([]string{"done:", "put out, as no members:", "invited:", "  alice@localhost", "  carol@localhost"})(out) {
			t.Fatalf("done is\n%s", out)
		}
		h.guardSays([]string{"audit"}, "provision dev from corp/#dev: ") // no room is guarded here
		for _, u := range []*lab.XMPPUser{alice, carol} {
			u.Expect(func(st string) bool {
				return strings.HasPrefix(st, "<message") && lab.Attr(st, "from") == devRoom && strings.Contains(st, "<invite")
			}, "an invitation")
		}
		if got := seat(mallory, "mallory"); got != "registration-required" {
			t.Errorf("mallory, who is no member, is answered %q", got)
		}
		if got := seat(alice, "alice"); got != "in" {
			t.Errorf("alice is answered %q", got)
		}
		alice.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/alice" && strings.Contains(st, `affiliation="admin"`) ||
				strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/alice" && strings.Contains(st, "affiliation='admin'")
		}, "to be admin")
		alice.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<message") && strings.Contains(st, "<subject>Release on &lt;Friday&gt; &amp; more</subject>") ||
				strings.HasPrefix(st, "<message") && strings.Contains(st, "<subject>Release on &lt;Friday> &amp; more</subject>")
		}, "the subject")

		t.Log("again there is nothing to do")
		again := h.ok("migrate", "provision", "dev", "--yes")
		if !strings.Contains(again, "\nnothing to do") || strings.Contains(again, "invited") {
			t.Errorf("again\n%s", again)
		}

		t.Log("a room of somebody else: the bot says that it is not owner; once it is, its owner stays one")
		if !lab.Poll(wait, func() bool {
			_, errOut, _ := h.try("migrate", "provision", "ops", "--yes")
			return strings.Contains(errOut, "the bot is not owner of the room: bot/ops@rooms.localhost; hint: an owner of the room makes the bot's JID owner")
		}) {
			_, errOut, code := h.try("migrate", "provision", "ops", "--yes")
			t.Errorf("exit %d: %s", code, errOut)
		}
		set("own", "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='"+botJID+"' affiliation='owner'/></query>")
		if !lab.Poll(wait, func() bool { _, _, code := h.try("migrate", "provision", "ops", "--yes"); return code == 0 }) {
			_, errOut, _ := h.try("migrate", "provision", "ops", "--yes")
			t.Fatalf("the bot is owner, and %s", errOut)
		}
		if !owns(carol, "ops@rooms.localhost", "still") {
			t.Error("carol was owner, and is none any more")
		}
		if out := h.ok("migrate", "provision", "ops"); !strings.Contains(out, "\nnothing to do") {
			t.Errorf("a look after it\n%s", out)
		}
	})
}
