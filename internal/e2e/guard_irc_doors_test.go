//go:build e2e

package e2e

import (
	"testing"
)

// The rooms of TestGuardCompilesDoors: one of members, one of the logged in, one where
// only they speak, one for TLS, one where nobody is heard before an account is known,
// and one of people with a certificate.
const doors = `
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: deny, dry_run: false, lock: {modes: +nt, topic: true}}
  known: {irc: {network: corp, channel: "#known"}, default: allow, dry_run: false}
  talk: {irc: {network: corp, channel: "#talk"}, default: allow, dry_run: false}
  wire: {irc: {network: corp, channel: "#wire"}, default: allow}
  lobby: {irc: {network: corp, channel: "#lobby"}, default: quarantine, dry_run: false}
  keys: {irc: {network: corp, channel: "#keys"}, default: deny, dry_run: false}
rules:
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [carl, bob]}, effect: allow}
  - {id: ops, rooms: [finance], do: op, who: {people: [carl]}, effect: allow}
  - {id: logged-in, rooms: [known], do: join, if: {account: false}, effect: deny}
  - {id: who-speaks, rooms: [talk], do: speak, if: {account: false}, effect: quarantine}
  - {id: tls-only, rooms: [wire], do: join, if: {tls: false}, effect: kick, reason: "TLS is required here"}
  - {id: heard, rooms: [lobby], do: [join, speak], who: {people: [carl, bob]}, effect: allow}
  - {id: certs, rooms: [keys], do: [join, speak], who: {people: [dan], at_least: cert}, effect: allow}
`

// Scenario: each door that the guard compiles its rules into is one of the server's own,
// and the guard follows who logs in and out.
func TestGuardCompilesDoors(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	cert := h.CA.Issue("dan")
	h.vars["people"] = "\n  dan: {irc: {corp: {certfps: [\"" + cert.SHA256() + "\"]}}}"
	h.config(onIRCAlone + doors)
	h.start()
	for _, room := range []string{"finance", "known", "talk", "wire", "lobby", "keys"} {
		h.held("corp/#" + room)
	}
	eve, members := h.IRCUser(ircd, "eve"), h.members(ircd, "carl", "bob")
	carl, bob := members[0], members[1]

	t.Log("members: +i, and +I for their accounts")
	h.doorSays(eve, "#finance", "473")
	if got := h.door(carl, "#finance"); got != "in" {
		t.Errorf("carl is answered %s", got)
	}
	for _, account := range []string{"carlacct", "bobacct", "bridgeacct"} {
		h.asksUntil(carl, "MODE #finance +I", " 346 carl #finance R:"+account+" ", " 347 ")
	}
	h.asksUntil(carl, "MODE #finance", "+int", " 324 ")

	t.Log("+e for their accounts: a mask that somebody bans is none of theirs")
	h.asksUntil(carl, "MODE #finance +e", " 348 carl #finance R:bobacct ", " 349 ")
	carl.Expect(" MODE #finance +o :carl")
	carl.Send("MODE #finance +b *!*@127.0.0.1")
	h.doorSays(bob, "#finance", "in")
	bob.Say("#finance", "the mask is not of me")
	carl.Expect("the mask is not of me")
	h.never(carl, " KICK #finance ")
	carl.Send("MODE #finance -b *!*@127.0.0.1")
	bob.Send("PART #finance")
	bob.Expect(" PART ")

	t.Log("a member outside who knocks is let in; a stranger is not")
	bob.Send("KNOCK #finance :it is me")
	bob.Expect(" INVITE bob :#finance")
	eve.Send("KNOCK #finance :me too")
	h.guardSays([]string{"audit", "--who", "eve"}, "not let in")
	h.never(eve, " INVITE eve ")

	t.Log("the logged in: +R")
	h.doorSays(eve, "#known", "477")
	bob.Join("#known")

	t.Log("who speaks: +M")
	eve.Join("#talk")
	bob.Join("#talk")
	h.asksUntil(bob, "MODE #talk", "M", " 324 ")
	h.answer(eve, "PRIVMSG #talk :buy this", " 477 eve #talk ")
	bob.Say("#talk", "a word of bob")
	eve.Expect("PRIVMSG #talk :a word of bob")
	h.never(bob, "buy this")

	t.Log("TLS: who is there without goes, then +z")
	eve.Join("#wire")
	h.guardSays([]string{"audit", "--who", "eve", "--room", "wire"}, "(dry run)")
	h.ok("guard", "enable", "wire")
	eve.Expect(" KICK #wire eve :TLS is required here")
	h.doorSays(eve, "#wire", "489")
	h.IRCUserTLS(ircd, "tess", nil, "#wire")

	t.Log("voice comes with the account, and goes with it")
	dora := h.IRCUser(ircd, "dora", "#lobby")
	h.asksUntil(dora, "MODE #lobby", "m", " 324 ")
	h.answer(dora, "PRIVMSG #lobby :hear me", " 404 ")
	logIn(dora, "bobacct")
	dora.Expect(" MODE #lobby +v :dora")
	dora.Send("PRIVMSG NickServ :LOGOUT")
	dora.Expect(" MODE #lobby -v :dora")

	t.Log("a certificate is looked up before anybody is judged by it")
	dan := h.IRCUserTLS(ircd, "dan", cert, "#keys")
	h.guardSays([]string{"explain", "dan", "keys"}, "-> ALLOW")
	eve.Send("JOIN #keys")
	eve.Expect(" KICK #keys eve ")
	h.never(dan, " KICK #keys dan ")
	h.guardSays([]string{"explain", "dan", "keys"}, "dan")
}
