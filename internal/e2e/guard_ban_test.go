//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// bothSides is one room on both networks, bridged with two people beside it.
const bothSides = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, otr: {start: presence}}
store: {path: store}
people:
  alice: {jids: [alice@localhost], otr: ["${alice}"], irc: {corp: {accounts: [aliceacct]}}, groups: [staff, ops]}
  carol: {jids: [carol@localhost], otr: ["${carol}"], irc: {corp: {accounts: [carolacct]}}, groups: [staff]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost, require: clear}], people: [alice, carol]}
    require: {in: sealed, out: sealed}
    schemes: [otr]
    announce: off
rooms:
  office:
    irc: {network: corp, channel: "#dev"}
    xmpp: {account: bot, room: dev@rooms.localhost}
    default: deny
    follow: ops
    dry_run: false
rules:
  - {id: staff-in, do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: ops-op, do: [op], who: {groups: [ops]}, effect: allow}
safety: {max_removals: {count: 20, share: 100%}}
admin: {people: [alice], socket: "${socket}"}
`

// office is such a room with all who are in it.
type office struct {
	*house
	ircd         *lab.IRCServer
	s            *lab.XMPPServer
	alice, carol *scriptedOTR // their encrypted chats
	onIRC        *lab.IRCUser // carol's account
	op           *lab.IRCUser // alice's
	inMUC        *lab.XMPPUser
	bot          *lab.Proc
	fences       int
}

// identified logs somebody in to an account.
func (h *house) identified(s *lab.IRCServer, nick, account string) *lab.IRCUser {
	u := h.IRCUser(s, nick)
	u.Send("PRIVMSG NickServ :IDENTIFY " + account + " sesame")
	u.Expect(" 900 ")
	return u
}

func newOffice(t *testing.T, h *house, s *lab.XMPPServer) *office {
	t.Helper()
	o := &office{house: h, s: s, ircd: h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})}
	h.vars["irc"] = localhost(o.ircd.TLSAddr)
	h.file("services", "sesame\n")
	for _, account := range []string{"bridgeacct", "aliceacct", "carolacct"} {
		o.ircd.Register(account, "sesame")
	}
	o.alice, o.carol = h.scriptedOTR(s, "alice", 0), h.scriptedOTR(s, "carol", 0)
	members := h.members(o.ircd, "alice", "carol")
	o.op, o.onIRC = members[0], members[1]
	o.op.Join(channel)
	h.config(bothSides)
	o.bot = h.start()
	o.op.Expect(":bridge!bridge@127.0.0.1 JOIN :#dev")
	o.op.Send("MODE #dev +o bridge")
	h.guardShows("status", "corp/#dev: held", "dev@rooms.localhost: held")
	o.onIRC.Join(channel)
	o.alice.login(s)
	o.carol.login(s)
	o.alice.sealed()
	o.carol.sealed()
	o.inMUC = h.XMPPUser(s, "carol", "muc")
	o.enters()
	return o
}

// enters waits until carol may go into the room on both networks.
func (o *office) enters() {
	o.t.Helper()
	comesTo(o.t, "carol in the MUC", func() string { return seat(o.inMUC, "carol") }, "in")
	n := len(o.onIRC.Lines())
	comesTo(o.t, "carol in the channel", func() bool {
		o.onIRC.Send("JOIN " + channel)
		_, in := o.onIRC.Find(time.Second, func(l string) bool { return strings.Contains(l, " 366 carol #dev ") })
		return in && !strings.Contains(strings.Join(o.onIRC.Lines()[n:], "\n"), " KICK #dev carol ")
	}, true)
}

// anew has both begin new sessions, with a bot that knows nothing of the old ones.
func (o *office) anew() {
	o.t.Helper()
	for _, c := range []*scriptedOTR{o.alice, o.carol} {
		c.Close()
		c.login(o.s)
	}
	o.alice.sealed()
	o.carol.sealed()
}

// shutOut waits until the room is closed to carol on both networks, and what she says
// to the bot alone is not relayed either.
func (o *office) shutOut() {
	o.t.Helper()
	if got := seat(o.inMUC, "carol"); got == "in" { // Prosody: registration-required, as to any stranger
		o.t.Error("carol is banned and in the MUC")
	}
	n := len(o.onIRC.Lines())
	comesTo(o.t, "carol refused by the channel", func() bool {
		o.onIRC.Send("JOIN " + channel)
		lines := strings.Join(o.onIRC.Lines()[n:], "\n")
		return strings.Contains(lines, " 474 carol #dev ") || strings.Contains(lines, " 473 carol #dev ")
	}, true)
	o.carol.say("a banned line")
	o.reads("carol", o.carol.heard, "banned")
	o.fences++
	fence := fmt.Sprint("alice is here ", o.fences)
	o.alice.say(fence)
	o.op.Expect(fence)
	for _, l := range o.op.Lines() {
		if strings.Contains(l, "a banned line") {
			o.t.Errorf("carol, who is banned, is heard on IRC: %s", l)
		}
	}
}

// speaks waits until carol is heard from her chat in the channel.
func (o *office) speaks(text string) {
	o.t.Helper()
	comesTo(o.t, "carol heard on IRC", func() bool {
		o.carol.say(text)
		_, heard := o.op.Find(time.Second, func(l string) bool { return strings.Contains(l, text) })
		return heard
	}, true)
}

// Scenario: a ban of a person holds on IRC, in the MUC and for what she says to the bot
// alone; it outlives a kill, and its end is caught up that fell into the time when nobody ran.
// An operator's ban on IRC is one everywhere, a mask is not.
func TestBanOfAPerson(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		o := newOffice(t, h, s)
		o.speaks("carol is well")

		t.Log("by a verb")
		h.ok("guard", "ban", "carol", "--for", "1h", "--reason", "you are banned, ask alice")
		o.onIRC.Expect(" KICK #dev carol ")
		out(o.inMUC, "carol", "301")
		o.shutOut()

		t.Log("over a kill")
		o.bot.Kill()
		o.bot = h.start()
		h.guardShows("status", "corp/#dev: NOT HELD", "dev@rooms.localhost: held", "1 ban in force")
		o.op.Send("MODE #dev +o bridge")
		h.guardShows("status", "corp/#dev: held")
		o.anew()
		o.shutOut()
		h.ok("guard", "forgive", "carol")
		o.enters()
		o.speaks("carol is forgiven")

		t.Log("by an encrypted chat, until it ends by itself")
		o.alice.say("!guard ban carol --for 1s")
		o.reads("alice", o.alice.heard, "carol is banned from every guarded room until")
		h.guardShows("audit", "alice: ban carol (done)", "ban ends")
		o.enters()
		o.speaks("carol has served her time")

		t.Log("it ends while nobody runs")
		n := len(o.op.Lines())
		h.ok("guard", "ban", "carol", "--for", "6s")
		until := time.Now().Add(6 * time.Second)
		comesTo(t, "carol out of the MUC", func() bool { return seat(o.inMUC, "carol") == "in" }, false)
		o.bot.Kill()
		h.Await(wait, "the end of the ban", func() bool { return time.Now().After(until) })
		started := len(o.op.Lines())
		o.bot = h.start()
		h.joins(o.op, started)
		o.op.Send("MODE #dev +o bridge")
		o.enters()
		h.guardShows("audit", "ban ends")
		comesTo(t, "the ban taken back", func() bool { return strings.Contains(strings.Join(o.op.Lines()[n:], "\n"), " -b :R:carolacct") }, true)

		t.Log("a mask needs the word of two")
		const mask = "*!*@198.51.100.*"
		for range 2 {
			if _, errOut, code := h.try("guard", "ban", mask); code == 0 || !strings.Contains(errOut, "another admin") {
				t.Errorf("one admin's ban of a mask: exit %d, %s", code, errOut)
			}
		}
		h.asksUntil(o.op, "MODE #dev +b", " 368 ", mask)
		o.alice.say("!guard ban " + mask)
		h.asksUntil(o.op, "MODE #dev +b", mask, " 368 ")
		h.guardShows("audit", "waits for a second admin", "alice: ban "+mask+" (done)")
		h.ok("guard", "forgive", mask)

		t.Log("an operator bans a person, and a mask")
		o.op.Send("MODE #dev +b *!*@192.0.2.*")
		o.op.Send("MODE #dev +b R:carolacct")
		h.guardShows("audit", "alice: ban carol (followed)")
		if got := strings.Count(h.ok("guard", "audit", "--who", "alice"), "(followed)"); got != 1 {
			t.Errorf("%d bans were followed, want one", got)
		}
		o.shutOut()
		o.op.Send("MODE #dev -b R:carolacct")
		o.enters()
	})
}
