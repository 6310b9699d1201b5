//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// Strangers whose nicks begin with x have to go from #lobby.
const lobby = `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false}
rules:
  - {id: no-x, rooms: [lobby], do: join, who: {hosts: ["x*!*@*"]}, effect: kick, reason: "Not here"}
`

// Scenario: a hundred come at once, and the bot is an ordinary client that the server
// slows down to a line a second. All are removed, and nobody else.
func TestGuardCrowd(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{}) })
	h.config(onIRCAlone + lobby)
	h.start()
	h.held("corp/#lobby")
	innocent := h.IRCUser(ircd, "carl", "#lobby")
	users := h.IRCCrowd(ircd, "x", 100)
	start := time.Now()
	for _, u := range users {
		u.Send("JOIN #lobby")
	}
	gone := func() (n int) {
		for _, u := range users {
			n += min(kicks(innocent, "#lobby", u.Nick), 1)
		}
		return n
	}
	if !lab.Poll(wait, func() bool { return gone() == len(users) }) {
		t.Errorf("%d of %d are gone", gone(), len(users))
	}
	t.Logf("%d of %d are gone after %s", gone(), len(users), time.Since(start))
	if t.Failed() {
		t.Log(strings.Join(innocent.Lines(), "\n"), h.ok("guard", "audit"), h.ok("guard", "status"))
	}
	h.IRCUser(ircd, "dora", "#lobby")
	for _, l := range innocent.Lines() {
		if strings.Contains(l, " KICK ") && !strings.Contains(l, " KICK #lobby x") {
			t.Errorf("an innocent was kicked: %s", l)
		}
	}
	if names := h.answer(innocent, "NAMES #lobby", " 353 "); len(strings.Fields(names[strings.LastIndexByte(names, ':'):])) != 3 {
		t.Errorf("who is left: %s", names)
	}
}

// Scenario: all sit behind one host. A mask that would meet somebody protected, or too
// many, is refused; one that a rule writes is of the one who came. Who takes the nick of
// a protected person has none of their rights, and the person keeps them.
func TestGuardSparesInnocents(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	h.config(onIRCAlone + `
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false}
  crowd: {irc: {network: corp, channel: "#crowd"}, default: allow, dry_run: false}
  vip: {irc: {network: corp, channel: "#vip"}, default: quarantine, dry_run: false}
rules:
  - {id: no-x, rooms: [lobby, vip], do: join, who: {hosts: ["x*!*@*"]}, effect: ban, reason: "Not here"}
  - {id: ops, rooms: [vip], do: [op, speak, join], who: {people: [carl]}, effect: allow}
safety: {protected: [carl], two_person: []}
`)
	h.start()
	for _, room := range []string{"lobby", "crowd", "vip"} {
		h.held("corp/#" + room)
	}
	carl, x := h.member(ircd, "carl"), h.IRCUser(ircd, "xeno")
	carl.Join("#lobby")
	carl.Join("#vip")
	carl.Expect(" MODE #vip +o :carl")

	t.Log("masks that meet too much are refused")
	many := h.IRCCrowd(ircd, "n", 4)
	for _, u := range many {
		u.Join("#crowd")
	}
	h.guardSays([]string{"explain", "n3", "crowd"}, "-> ALLOW")
	h.guardSays([]string{"explain", "carl", "lobby"}, "carlacct")
	for _, ban := range []struct{ mask, room, why string }{
		{"*!*@127.0.0.1", "crowd", "fits bridge, who must not be removed"},
		{"c*!*@*", "lobby", "fits carl, who must not be removed"},
		{"n*!*@*", "crowd", "fits 4"},
	} {
		if _, errOut, code := h.try("guard", "ban", ban.mask, "--room", ban.room); code == 0 || !strings.Contains(errOut, ban.why) {
			t.Errorf("ban of %s in %s: exit %d, %s", ban.mask, ban.room, code, errOut)
		}
	}

	t.Log("a rule's ban is of the one who came")
	x.Send("JOIN #lobby")
	x.Expect(" KICK #lobby xeno :Not here")
	h.asksUntil(carl, "MODE #lobby +b", " 367 carl #lobby *!xeno@127.0.0.1 ", " 368 ")
	if got := h.door(x, "#lobby"); got != "474" {
		t.Errorf("who is banned is answered %s", got)
	}
	h.IRCUser(ircd, "dora", "#lobby")

	t.Log("a protected person's nick is taken")
	carl.Send("NICK xavier") // a nick that the rule is about
	carl.Expect(" NICK :xavier")
	carl.Nick = "xavier"
	h.guardSays([]string{"explain", "xavier", "vip"}, "carl")
	eve := h.IRCUser(ircd, "carl")
	eve.Join("#vip")
	h.guardSays([]string{"explain", "carl", "vip"}, "-> QUARANTINE")
	h.answer(eve, "PRIVMSG #vip :I am carl", " 404 ")
	if got := h.answer(carl, "WHO #vip", " 352 xavier #vip xeno ", " 315 "); strings.Contains(got, " 352 ") {
		t.Error(got)
	}
	h.never(carl, " KICK #vip xavier ")
	h.never(carl, " KICK #lobby xavier ")
	h.never(carl, "MODE #vip -o :xavier")
	for _, l := range carl.Lines() {
		if strings.Contains(l, "MODE #vip +") && strings.HasSuffix(l, ":carl") && !strings.Contains(l, "+o") {
			t.Errorf("the stranger was given something: %s", l)
		}
	}
	if ops := slices.DeleteFunc(carl.Lines(), func(l string) bool { return !strings.Contains(l, "MODE #vip +o :carl") }); len(ops) != 1 {
		t.Errorf("op was given to that nick %d times", len(ops))
	}
}
