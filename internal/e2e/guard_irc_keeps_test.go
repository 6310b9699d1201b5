//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// kept are a lobby whose ops, modes, topic and bans are kept, a staff room, one of guests
// for an hour, and one that asks for what only operators of the server may set.
const kept = `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false, lock: {modes: +nts, topic: true}}
  staff: {irc: {network: corp, channel: "#staff"}, default: deny, dry_run: false}
  guests: {irc: {network: corp, channel: "#guests"}, default: deny, dry_run: false}
  opers: {irc: {network: corp, channel: "#opers"}, default: allow, dry_run: false, lock: {modes: +ntO}}
rules:
  - {id: ops, rooms: [lobby], do: op, who: {hosts: ["fred!*@*"]}, effect: allow}
  - {id: staff, rooms: [staff], do: [join, speak], who: {hosts: ["m*!*@*", "fred!*@*"]}, effect: allow}
  - {id: hosts, rooms: [guests], do: [join, speak], who: {hosts: ["m*!*@*", "fred!*@*"]}, effect: allow}
  - {id: a-while, rooms: [guests], do: join, who: {anonymous: true}, except: [{hosts: ["m*!*@*", "fred!*@*"]}], effect: quarantine, for: 1h}
safety: {two_person: []}
`

// onIRCds runs a scenario on both IRC servers.
func onIRCds(t *testing.T, run func(t *testing.T, h *house, ircd *lab.IRCServer)) {
	for name, start := range map[string]func(h *house) *lab.IRCServer{
		"inspircd": withServices,
		"ngircd":   func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{Fast: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, ircd := newIRCHouse(t, start)
			run(t, h, ircd)
		})
	}
}

// Scenario: somebody with op undoes all that is kept of a channel, and it comes back, op
// aside. A mistake in the rules would remove ten at once: nobody goes, the door is shut,
// and it opens once that is mended. A guest is told, is not heard, and goes when their
// time is over, which outlives a kill.
func TestGuardKeepsChannels(t *testing.T) {
	t.Parallel()
	onIRCds(t, func(t *testing.T, h *house, ircd *lab.IRCServer) {
		jump := h.withClock()
		users := h.IRCUsers(ircd, "fred", "zed", "yan", "gina")
		fred, zed, yan, gina := users[0], users[1], users[2], users[3]
		channels := []string{"#lobby", "#staff", "#guests"}
		for _, ch := range channels {
			fred.Join(ch)
		}
		fred.Send("TOPIC #lobby :numbers")
		h.config(onIRCAlone + kept)
		bot := h.start()
		op := func(u *lab.IRCUser, after int) {
			t.Helper()
			for _, ch := range channels {
				h.sees(u, after, ":bridge!", " JOIN ", ch)
				u.Send("MODE " + ch + " +o bridge")
				h.held("corp/" + ch)
			}
		}
		op(fred, 0)

		t.Log("bans: one for an hour, and one that stays")
		h.ok("guard", "ban", "*!*yan@*", "--room", "lobby", "--for", "1h")
		h.ok("guard", "ban", "*!*zed@*", "--room", "lobby")
		h.doorSays(yan, "#lobby", "474")
		h.doorSays(zed, "#lobby", "474")

		t.Log("all that is kept is undone by an op who has none by the rules")
		n := len(fred.Lines())
		fred.Send("NICK mallory\r\nTOPIC #lobby :rubbish\r\nMODE #lobby -sb *!*zed@*")
		fred.Nick = "mallory"
		h.sees(fred, n, ":bridge!", " MODE #lobby ", "-o", "mallory")
		h.sees(fred, n, ":bridge!", " MODE #lobby ", "+", "s")
		h.sees(fred, n, ":bridge!", " MODE #lobby ", "b", "*!*zed@*")
		h.sees(fred, n, ":bridge!", " TOPIC #lobby :numbers")
		h.doorSays(zed, "#lobby", "474")

		if ircd.Services != nil {
			t.Log("what only operators set is refused, and told; ngIRCd does not say where")
			h.guardSays([]string{"status"}, "corp/#opers refused MODE #opers +O")
		}

		t.Log("a mistake would remove ten at once")
		crowd := h.IRCCrowd(ircd, "m", 10)
		for _, u := range crowd {
			u.Join("#staff")
		}
		h.guardSays([]string{"status"}, "corp/#staff: held, 12 there")
		h.config(onIRCAlone + strings.Replace(kept, `rooms: [staff], do: [join, speak], who: {hosts: ["m*!*@*", "fred!*@*"]}`, `rooms: [staff], do: [join, speak], who: {hosts: ["mallory!*@*"]}`, 1))
		h.ok("reload")
		h.sees(fred, n, ":bridge!", " MODE #staff ", "+i")
		h.guardSays([]string{"status"}, "staff: armed, shut until ")
		h.guardSays([]string{"status"}, "more would be removed at once than may be")
		h.guardSays([]string{"audit", "--room", "staff"}, "(over the budget)")
		h.config(onIRCAlone + kept)
		h.ok("reload")
		h.ok("guard", "lockdown", "staff", "--off")
		h.sees(fred, n, ":bridge!", " MODE #staff ", "-i")
		h.never(fred, " KICK #staff ")

		t.Log("a guest is told, and not heard")
		gina.Join("#guests")
		gina.Expect("NOTICE gina :You cannot be heard in #guests")
		h.answer(gina, "PRIVMSG #guests :hear me", " 404 gina #guests ")
		h.never(fred, " KICK #guests ")

		t.Log("killed; her time, and a ban, end while nobody runs")
		n = len(fred.Lines())
		fred.Send("NICK fred") // who gets op by a rule
		fred.Nick = "fred"
		h.sees(fred, n, ":bridge!", " MODE #lobby +o", "fred")
		n = len(fred.Lines())
		bot.Kill()
		jump(90 * time.Minute)
		h.start()
		op(fred, n)
		h.sees(fred, n, ":bridge!", " KICK #guests gina ", "your time as a guest is over")
		h.sees(fred, n, ":bridge!", " MODE #lobby ", "-b", "*!*yan@*")
		h.doorSays(yan, "#lobby", "in")
		h.doorSays(zed, "#lobby", "474")
		h.never(fred, " KICK #staff ")
		h.never(fred, " KICK #guests fred ")
	})
}
