//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// leftChannel is a bridge whose channel ChanServ keeps. Its Jabber side is out of reach:
// what happens to the channel does not wait for it.
const leftChannel = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "127.0.0.1:1", ca_file: "${ca}", password_file: password}
store: {path: store}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost, require: clear}]}
    require: clear
    announce: off
rooms:
  dev: {irc: {network: corp, channel: "#dev"}, default: allow, dry_run: false, lock: {modes: +nt}}
  moved: {irc: {network: corp, channel: "#dev-moved"}, default: allow, dry_run: false}
migration:
  dev: {to: "xmpp:dev@rooms.localhost?join", forward: "#dev-moved", language: [deutsch, english]}
`

// Scenario: a channel that services keep is left. ChanServ itself tells who comes in where
// to go, in place of its own entry message, which comes back with the step back; who wants
// into the closed channel is sent on by the server; the bot, killed meanwhile, comes back
// in; and all is undone by steps back.
func TestChannelThatServicesKeepIsLeft(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	carl := h.member(ircd, "carl")
	h.found(carl, "#dev")
	h.found(carl, "#dev-moved")
	carl.Send("PRIVMSG ChanServ :SET #dev ENTRYMSG Mind the \x02gap\x02")
	carl.Expect("The entry message for")
	carl.Send("TOPIC #dev :what it always was")
	h.config(leftChannel)
	bot := h.start()
	h.held("corp/#dev")
	h.held("corp/#dev-moved")
	advance := func(phase string) {
		t.Helper()
		if !lab.Poll(wait, func() bool { _, _, code := h.try("migrate", "advance", "dev", phase); return code == 0 }) {
			_, why, _ := h.try("migrate", "advance", "dev", phase)
			t.Fatalf("%s: %s", phase, why)
		}
	}
	// greeting is what ChanServ says to who comes in.
	late := h.IRCUser(ircd, "late")
	greeting := func(want string) {
		t.Helper()
		got := ""
		if !lab.Poll(wait, func() bool {
			from := len(late.Lines())
			late.Send("JOIN #dev")
			late.Send("PRIVMSG ChanServ :INFO #nowhere") // answered after the greeting
			ok := lab.Poll(wait, func() bool { return strings.Contains(strings.Join(late.Lines()[from:], "\n"), "nowhere") })
			late.Send("PART #dev")
			got = strings.Join(late.Lines()[from:], "\n")
			return ok && strings.Contains(got, want)
		}) {
			t.Fatalf("who comes in does not hear %q, but\n%s", want, got)
		}
	}
	greeting("NOTICE late :[#dev] Mind the \x02gap\x02")

	t.Log("read-only: ChanServ points to the new place")
	advance("encrypted-first")
	if plan := h.ok("migrate", "plan"); !hasAll([]string{"PRIVMSG ChanServ :SET #dev ENTRYMSG Willkommen. Hier gilt: ", "MODE #dev +iLl #dev-moved 1"})(plan) {
		t.Errorf("the plan\n%s", plan)
	}
	advance("irc-readonly")
	greeting("NOTICE late :[#dev] Willkommen. Hier gilt: im IRC-Kanal kann niemand mehr schreiben")
	fay := h.IRCUser(ircd, "fay", "#dev")
	fay.Expect("NOTICE fay :[#dev] Willkommen.")

	t.Log("farewell, and at once a step back and forth: the topic is as it should be each time")
	advance("farewell")
	h.never(fay, ":bridge!bridge@127.0.0.1 NOTICE fay ") // it is said once, by ChanServ
	carl.Expect(" TOPIC #dev :Dieses Team ist umgezogen nach xmpp:dev@rooms.localhost?join")
	h.ok("migrate", "back", "dev")
	h.asksUntil(carl, "TOPIC #dev", " 332 carl #dev :what it always was", " 333 ")
	advance("farewell")
	h.asksUntil(carl, "TOPIC #dev", " 332 carl #dev :Dieses Team ist umgezogen", " 333 ")

	t.Log("closed: the server sends people on")
	advance("closed")
	carl.Expect(" MODE #dev +iLl #dev-moved ")
	eve := h.IRCUser(ircd, "eve")
	if got := h.answer(eve, "JOIN #dev", " 366 eve #dev-moved ", " 366 eve #dev ", " 473 eve "); !strings.Contains(got, "#dev-moved") {
		t.Errorf("the door of the closed channel answers %s", got)
	}

	t.Log("killed, the bot comes back into its closed channel, and opens it again")
	bot.Kill()
	carl.Expect(" QUIT ")
	h.start()
	h.held("corp/#dev")
	h.ok("migrate", "back", "dev")
	h.ok("migrate", "back", "dev")
	h.ok("migrate", "back", "dev")
	h.held("corp/#dev")
	greeting("NOTICE late :[#dev] Mind the \x02gap\x02")
	h.asksUntil(carl, "TOPIC #dev", " 332 carl #dev :what it always was", " 333 ")
	h.asksUntil(carl, "MODE #dev", " 324 carl #dev :+nt", " 329 ")
	h.guardSays([]string{"audit"}, "SET #dev ENTRYMSG ")
}
