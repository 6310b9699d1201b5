//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// Scenario: op is taken from the bot in every way, and it gets it back from services,
// which keep its locks meanwhile: the server itself refuses who goes against them.
func TestGuardRegainsOp(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	carl := h.member(ircd, "carl")
	h.found(carl, "#finance")
	carl.Send("TOPIC #finance :numbers")
	h.config(onIRCAlone + `
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: allow, dry_run: false, lock: {modes: +nts, topic: true}}
rules:
  - {id: ops, rooms: [finance], do: op, who: {people: [carl]}, effect: allow}
`)
	h.start()

	t.Log("the bot comes without op, and asks for it")
	carl.Expect(" MODE #finance +o :bridge")
	h.held("corp/#finance")

	t.Log("its locks are the services' own")
	h.asksUntil(carl, "PRIVMSG ChanServ :INFO #finance", "TOPICLOCK", "End of Info") // which was asked for last
	h.answer(carl, "MODE #finance -n", " 742 ")
	h.answer(carl, "TOPIC #finance :other numbers", " 744 ")

	t.Log("an op takes it")
	regained := func(why string, after int) {
		t.Helper()
		if !lab.Poll(wait, func() bool {
			for _, l := range carl.Lines()[after:] {
				if strings.HasPrefix(l, ":ChanServ!") && strings.Contains(l, " MODE #finance ") && strings.Contains(l, "+o") && strings.HasSuffix(l, ":bridge") {
					return true
				}
			}
			return false
		}) {
			out, _, _ := h.try("guard", "status")
			t.Fatalf("%s: op never came back:\n%s\n%s", why, strings.Join(carl.Lines()[after:], "\n"), out)
		}
		h.held("corp/#finance")
	}
	n := len(carl.Lines())
	carl.Send("MODE #finance -o bridge")
	regained("deopped", n)

	t.Log("it is kicked and banned")
	n = len(carl.Lines())
	carl.Send("MODE #finance +b *!bridge@*")
	carl.Send("KICK #finance bridge :out")
	regained("kicked and banned", n)

	t.Log("its right to op is taken, too: RECOVER")
	carl.Send("PRIVMSG ChanServ :FLAGS #finance bridgeacct -oO")
	carl.Expect("-o")
	n = len(carl.Lines())
	carl.Send("MODE #finance -o bridge")
	regained("without the right to op", n)
	carl.Expect(":ChanServ!ChanServ@services.test MODE #finance +im-o+o carl :bridge") // as RECOVER does
	h.guardSays([]string{"audit"}, "ask ChanServ: RECOVER")
	h.asksUntil(carl, "MODE #finance", " 324 carl #finance :+nst", " 324 ") // it shut and silenced the channel
	carl.Expect(":bridge!bridge@127.0.0.1 MODE #finance +o :carl")
}

// Scenario: an op whom nobody may demote undoes what the guard keeps, again and again.
// After the third time in a minute the guard stops, says so, and does not undo it again.
func TestGuardEndsAWar(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{Fast: true}) })
	h.config(onIRCAlone + `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false, lock: {modes: +nts}}
`)
	mallory := h.IRCUser(ircd, "mallory", "#lobby")
	h.start()
	mallory.Expect(":bridge!bridge@127.0.0.1 JOIN :#lobby")
	mallory.Send("MODE #lobby +o bridge")
	h.held("corp/#lobby")
	mallory.Expect(":bridge!bridge@127.0.0.1 MODE #lobby :+s")
	set := func() int {
		return strings.Count(strings.Join(mallory.Lines(), "\n"), ":bridge!bridge@127.0.0.1 MODE #lobby :+s")
	}
	for round := range 2 {
		mallory.Send("MODE #lobby -s")
		if !lab.Poll(wait, func() bool { return set() == round+2 }) {
			t.Fatalf("round %d: it is set back %d times", round, set())
		}
	}
	mallory.Send("MODE #lobby -s")
	h.guardSays([]string{"status"}, "mallory sets")
	mallory.Send("MODE #lobby -s+m")
	h.guardSays([]string{"audit", "--who", "mallory"}, "mode war")
	if got := set(); got != 3 {
		t.Errorf("it was set back %d times", got)
	}
	t.Log("of other things it goes on to take care")
	mallory.Send("MODE #lobby -n")
	mallory.Expect(":bridge!bridge@127.0.0.1 MODE #lobby :+n")
}

// Scenario: two servers split. On the far side a stranger is made op, bans are set, one of
// them of everybody, and one of the guard's is lifted; all come back at once. Nobody who
// returns is a flood; once the merge has settled, the op that a server set is taken, and the
// ban that fits everybody. Others, which somebody may have meant, stay, and so does its own.
func TestGuardAfterANetsplit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b, link := h.LinkedInspIRCd(lab.InspIRCd{Fast: true, Services: true})
	h.vars["irc"], h.vars["people"], h.vars["login"] = localhost(a.TLSAddr), "", ""
	a.Register("carlacct", sesame)
	h.config(onIRCAlone + `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false, joins: {count: 8, per: 1m}}
rules:
  - {id: ops, rooms: [lobby], do: op, who: {people: [carl]}, effect: allow}
safety: {two_person: []}
`)
	link.Join()
	h.start()
	h.held("corp/#lobby")
	carl := h.IRCUser(b, "carl")
	logIn(carl, "carlacct")
	carl.Join("#lobby")
	carl.Expect("MODE #lobby +o :carl")
	members := append(h.IRCCrowd(b, "m", 6), carl)
	for _, u := range members[:3] { // the limit is of those who come, not of those who come back
		u.Join("#lobby")
	}
	h.ok("guard", "ban", "*!*zed@*", "--room", "lobby")
	h.asksUntil(carl, "MODE #lobby +b", "*!*zed@*", " 368 ")
	link.Split()
	h.guardSays([]string{"status"}, "1 there")
	for _, u := range members[3:6] {
		u.Join("#lobby")
	}
	carl.Send("MODE #lobby +obbb-b m0 *!*@10.0.0.1 *!*@* *!*@10.0.0.2 *!*zed@*")
	h.sees(members[0], 0, ":carl!", "MODE #lobby ", "*!*zed@*")
	link.Join()
	h.sees(members[0], 0, ":bridge!bridge@127.0.0.1 MODE #lobby ", "-o", "m0")
	h.sees(members[0], 0, ":bridge!bridge@127.0.0.1 MODE #lobby ", "-b", "*!*@*")
	h.held("corp/#lobby")
	for mask, stays := range map[string]bool{"*!*@10.0.0.1 ": true, "*!*@10.0.0.2 ": true, " *!*@* ": false, "*!*zed@* ": true} {
		got := h.answers(carl, "MODE #lobby +b", " 368 ")
		if strings.Contains(got, mask) != stays {
			t.Errorf("after the merge the ban of %s stands: %v\n%s", mask, !stays, got)
		}
	}
	if out := h.ok("guard", "status"); strings.Contains(out, "shut") {
		t.Errorf("who came back was a flood:\n%s", out)
	}
	h.never(carl, "MODE #lobby -o :carl")
	h.never(carl, " KICK ")
}
