//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// twoRooms is an armed room, and one in dry run.
const twoRooms = `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false}
  trial: {irc: {network: corp, channel: "#trial"}, default: allow}
rules:
  - {id: no-x, rooms: [lobby, trial], do: join, who: {hosts: ["x*!*@*"]}, effect: kick, reason: "Not here"}
safety: {protected: [carl]}
`

// Scenario: the bot is killed while it shuts a channel for a time, bans somebody for a
// time, and tries another room's rules. The next process goes on with all of that: the
// door stays shut until its time, the ban ends when it should, and what was tried is
// still only tried.
func TestGuardKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	members := h.members(ircd, "carl", "bob")
	carl, bob := members[0], members[1]
	h.found(carl, "#lobby")
	carl.Join("#trial")
	h.config(onIRCAlone + twoRooms)
	bot := h.start()
	h.held("corp/#lobby")
	carl.Expect(":bridge!bridge@127.0.0.1 JOIN :#trial")
	carl.Send("MODE #trial +o bridge")
	h.held("corp/#trial")

	t.Log("shut by order, and opened by order")
	bob.Join("#lobby")
	h.ok("guard", "lockdown", "lobby")
	others := h.IRCUsers(ircd, "eve", "xeno")
	eve, x := others[0], others[1]
	h.doorSays(eve, "#lobby", "473")
	h.ok("guard", "lockdown", "lobby", "--off")
	h.doorSays(eve, "#lobby", "in")
	eve.Send("PART #lobby")

	t.Log("shut and banned for a time, and killed")
	h.ok("guard", "ban", "bob", "--for", "2s")
	bob.Expect(" KICK #lobby bob ")
	h.asksUntil(carl, "MODE #lobby +b", " 367 carl #lobby R:bobacct ", " 368 ")
	h.ok("guard", "lockdown", "lobby", "--for", "1h")
	h.doorSays(eve, "#lobby", "473")
	x.Join("#trial")
	h.guardSays([]string{"audit", "--who", "xeno"}, "(dry run)")
	killed := len(carl.Lines())
	bot.Kill()
	h.start()
	h.guardSays([]string{"status"}, "lobby: armed, shut until ")
	h.guardSays([]string{"status"}, "trial: dry run")

	t.Log("the door stays shut: also where an op opened it by hand, once the bot holds it again")
	h.held("corp/#lobby")
	if got := h.door(eve, "#lobby"); got != "473" {
		t.Errorf("the door answers %s", got)
	}
	for _, l := range carl.Lines()[killed:] {
		if strings.Contains(l, " MODE #lobby :-i") {
			t.Errorf("the door was opened: %s", l)
		}
	}
	carl.Send("MODE #lobby -i")
	carl.Expect(" MODE #lobby :-i")
	h.doorSays(eve, "#lobby", "473")

	t.Log("it opens by order, and by itself")
	h.ok("guard", "lockdown", "lobby", "--for", "1s")
	h.guardHides("status", "shut until")
	h.doorSays(eve, "#lobby", "in")
	h.doorSays(bob, "#lobby", "in")
	h.asksUntil(carl, "MODE #lobby +b", " 368 ", " 367 ")
	h.guardSays([]string{"audit"}, "ban ends")
	h.never(x, " KICK ")
	h.never(carl, " KICK #lobby carl ")
	h.held("corp/#lobby")
	if out := h.ok("guard", "audit"); strings.Contains(out, "altered") {
		t.Errorf("the audit\n%s", out)
	}
}

// Scenario: services go away and come back. Who is logged in stays who they are; of who
// comes meanwhile nothing is known, so nobody is removed, and nobody is heard. A minute
// after the return they are judged.
func TestGuardWithoutServices(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	jump := h.withClock()
	carl := h.member(ircd, "carl")
	h.found(carl, "#hall")
	// Members come by a certificate, too: no list can name them, and the door stays open.
	h.vars["people"] = "\n  dan: {irc: {corp: {certfps: [\"" + h.CA.Issue("dan").SHA256() + "\"]}}}"
	h.config(onIRCAlone + `
rooms:
  hall: {irc: {network: corp, channel: "#hall"}, default: deny, dry_run: false}
rules:
  - {id: members, rooms: [hall], do: [join, speak], who: {people: [carl, bob]}, effect: allow}
  - {id: certs, rooms: [hall], do: [join, speak], who: {people: [dan], at_least: cert}, effect: allow}
`)
	h.start()
	h.held("corp/#hall")
	ircd.SaveServices()
	ircd.StopServices()
	h.guardSays([]string{"status"}, "services are down")
	h.IRCUser(ircd, "eve", "#hall")
	h.guardSays([]string{"explain", "eve", "hall"}, "-> QUARANTINE")
	ircd.StartServices()
	h.asksUntil(carl, "ISON NickServ", ":NickServ", " 303 ")
	h.guardSays([]string{"explain", "eve", "hall"}, "-> QUARANTINE")
	h.never(carl, " KICK ")
	jump(2 * time.Minute)
	h.ok("reload") // which wakes the leg
	if !lab.Poll(2*wait, func() bool { return kicks(carl, "#hall", "eve") > 0 }) {
		t.Errorf("eve is never judged:\n%s", h.ok("guard", "explain", "eve", "hall"))
	}
	h.never(carl, " KICK #hall carl ")
}

// Scenario: a network without accounts. TLS is asked for and told, doors are shut by
// +z, and masks ban.
func TestGuardOnNgIRCd(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{Fast: true}) })
	h.config(onIRCAlone + `
rooms:
  wire: {irc: {network: corp, channel: "#wire"}, default: allow}
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false, lock: {modes: +nt, topic: true}}
rules:
  - {id: tls-only, rooms: [wire], do: join, if: {tls: false}, effect: kick, reason: "TLS is required here"}
  - {id: no-x, rooms: [lobby], do: join, who: {hosts: ["x*!*@*"]}, effect: ban, reason: "Not here"}
safety: {two_person: []}
`)
	h.start()
	h.held("corp/#lobby")
	eve, tess := h.IRCUser(ircd, "eve", "#wire"), h.IRCUserTLS(ircd, "tess", nil, "#wire")

	t.Log("TLS is looked up, and the door is +z")
	h.guardSays([]string{"audit", "--who", "eve"}, "(dry run)")
	h.ok("guard", "enable", "wire")
	eve.Expect(" KICK #wire eve :TLS is required here")
	h.asksUntil(tess, "MODE #wire", "z", " 324 ")
	h.never(tess, " KICK #wire tess ")

	t.Log("a ban: the mask, then the kick; it cannot come back until forgiven")
	x, ann := h.IRCUser(ircd, "xeno"), h.IRCUser(ircd, "ann", "#lobby")
	x.Send("JOIN #lobby")
	x.Expect(" KICK #lobby xeno :Not here")
	h.doorSays(x, "#lobby", "474")
	x.Send("NICK zeno")
	x.Expect(" NICK :zeno")
	x.Nick = "zeno"
	h.ok("guard", "forgive", "*!~xeno@127.0.0.1")
	h.doorSays(x, "#lobby", "in")
	h.never(ann, " KICK #lobby ann ")
}
