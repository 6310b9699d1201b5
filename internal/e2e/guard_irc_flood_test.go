//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// floods are a hall with a rule for each way to flood, a lane for what has a mild answer,
// a gate for clones, and a rush that many joins shut. The spans are long, so that only
// the numbers count.
const floods = `
rooms:
  hall:
    irc: {network: corp, channel: "#hall"}
    default: allow
    dry_run: false
    flood: {lines: {count: 6, per: 1h}, repeats: {count: 3, per: 1h}, caps: {count: 2, per: 1h}, highlights: 3, cycles: {count: 3, per: 1h}, nicks: {count: 3, per: 1h}, calm: 1h}
  lane: {irc: {network: corp, channel: "#dev2"}, default: allow, dry_run: false, flood: {lines: {count: 4, per: 1h}, calm: 1h}}
  alley: {irc: {network: corp, channel: "#alley"}, default: allow, dry_run: false, flood: {repeats: {count: 3, per: 1h}, calm: 4s}}
  gate: {irc: {network: corp, channel: "#gate"}, default: allow, dry_run: false, flood: {clones: 3}}
  rush: {irc: {network: corp, channel: "#rush"}, default: allow, dry_run: false, joins: {count: 4, per: 1h, for: 4s}}
rules:
  - {id: lines, rooms: [hall], do: speak, if: {flood: lines}, effect: kick, reason: "Too many lines"}
  - {id: repeats, rooms: [hall], do: speak, if: {flood: repeats}, effect: kick, reason: "Too often the same"}
  - {id: caps, rooms: [hall], do: speak, if: {flood: caps}, effect: kick, reason: "Too loud"}
  - {id: highlights, rooms: [hall], do: speak, if: {flood: highlights}, effect: kick, reason: "Too many names"}
  - {id: cycles, rooms: [hall], do: join, if: {flood: cycles}, effect: kick, reason: "Too much coming and going"}
  - {id: nicks, rooms: [hall], do: [join, speak], if: {flood: nicks}, effect: kick, reason: "Too many nicks"}
  - {id: mild, rooms: [lane, alley], do: speak, if: {flood: [lines, repeats]}, effect: quarantine}
  - {id: clones, rooms: [gate], do: join, if: {flood: clones}, effect: kick, reason: "Too many of you"}
safety: {max_removals: {count: 20, share: 100%}}
`

// Scenario: people flood in each of seven ways, and are removed for that, as a third
// client sees. Who does the same once less is not touched. A mild rule silences until
// they are calm; who floods through a bridge is not heard any more, and others are. A
// rush of joins shuts the door, which opens again by itself.
func TestGuardFloods(t *testing.T) {
	t.Parallel()
	h, ircd := newIRCHouse(t, withServices)
	h.config(onIRCAlone + floods)
	h.start()
	for _, channel := range []string{"#hall", "#dev2", "#alley", "#gate", "#rush"} {
		h.held("corp/" + channel)
	}
	nicks := []string{"carl", "bob", "ann", "eve", "tom", "sam", "una"}
	users := h.IRCUsers(ircd, nicks...)
	crowd := append(h.IRCCrowd(ircd, "x", 6), h.IRCCrowd(ircd, "r", 5)...)
	carl, bob, ann, eve, tom, sam, una := users[0], users[1], users[2], users[3], users[4], users[5], users[6]
	floods, rush := crowd[:6], crowd[6:]
	logIn(carl, "carlacct")
	logIn(bob, "bobacct")
	for _, u := range []*lab.IRCUser{carl, ann, eve} {
		u.Join("#hall")
	}

	t.Log("somebody does each of it once less than is too much")
	for _, line := range []string{"PART #hall", "JOIN #hall", "NICK anne", "NICK ann"} {
		ann.Send(line)
	}
	for _, line := range []string{"good morning", "good morning", "DO NOT SHOUT", "carl and eve: listen", "that is all"} {
		ann.Say("#hall", line)
	}
	carl.Expect("that is all")

	t.Log("and others as much as is too much")
	acts := []struct {
		why   string
		lines []string
	}{
		{"Too many lines", numbered("line", 6)},
		{"Too often the same", slices.Repeat([]string{"buy this"}, 3)},
		{"Too loud", []string{"THIS IS LOUD", "THIS IS LOUDER"}},
		{"Too many names", []string{"carl, ann, eve: hello"}},
		{"Too much coming and going", nil},
		{"Too many nicks", nil},
	}
	for i, act := range acts {
		u := floods[i]
		u.Join("#hall")
		for _, line := range act.lines {
			u.Say("#hall", line)
		}
		switch i {
		case 4:
			for range 2 {
				u.Send("PART #hall")
				u.Send("JOIN #hall")
			}
		case 5:
			for n := range 3 {
				u.Nick = fmt.Sprint("y", n)
				u.Send("NICK " + u.Nick)
			}
		}
		carl.Expect(" KICK #hall " + u.Nick + " :" + act.why)
		h.never(u, " KICK #hall ann ")
	}
	floods[0].Send("JOIN #hall") // it is not calm yet
	if !lab.Poll(wait, func() bool { return kicks(carl, "#hall", "x0") == 2 }) {
		t.Errorf("who comes back at once is kicked %d times", kicks(carl, "#hall", "x0"))
	}
	ann.Send("TOPIC #hall") // she is still there: nothing had her removed
	ann.Expect(" 331 ann #hall ")
	for _, u := range []*lab.IRCUser{ann, carl, eve} {
		h.never(carl, " KICK #hall "+u.Nick+" ")
	}
	h.guardSays([]string{"audit", "--who", "x3"}, "highlights")

	t.Log("a mild rule: silent, until calm")
	for _, u := range []*lab.IRCUser{tom, eve} {
		u.Join("#dev2")
	}
	for n := range 4 {
		tom.Say("#dev2", fmt.Sprint("tom says ", n))
	}
	eve.Expect(" MODE #dev2 +b :m:*!tom@127.0.0.1")
	h.answer(tom, "PRIVMSG #dev2 :tom says more", " 404 tom #dev2 ")
	tom.Expect("NOTICE tom :You cannot be heard in #dev2")

	eve.Join("#alley")
	una.Join("#alley")
	for range 3 {
		una.Say("#alley", "hear me")
	}
	eve.Expect(" MODE #alley +b :m:*!una@127.0.0.1")
	eve.Expect(" MODE #alley -b :m:*!una@127.0.0.1")
	una.Say("#alley", "una is calm")
	eve.Expect("una is calm")

	t.Log("through a bridge: it is the one who spoke, and not the bot")
	sam.Join("#dev")
	una.Join("#dev")
	for n := range 6 {
		sam.Say("#dev", fmt.Sprint("sam says ", n))
	}
	h.answer(sam, "PING sam", " PONG ")
	una.Say("#dev", "una says a word")
	eve.Expect("una says a word")
	if got := strings.Count(strings.Join(eve.Lines(), "\n"), "sam says"); got != 3 {
		t.Errorf("%d lines of sam came through the bridge, want 3", got)
	}
	h.never(eve, "m:*!bridge@")
	h.never(eve, " KICK #dev2 ")

	t.Log("clones: the fourth of a host, not counting those who are known")
	for _, u := range append([]*lab.IRCUser{carl, bob}, rush[:3]...) {
		u.Join("#gate")
	}
	rush[3].Send("JOIN #gate")
	carl.Expect(" KICK #gate r3 :Too many of you")
	for _, u := range append([]*lab.IRCUser{carl, bob}, rush[:3]...) {
		h.never(carl, " KICK #gate "+u.Nick+" ")
	}

	t.Log("a rush shuts the door, and it opens again by itself")
	carl.Join("#rush")
	for _, u := range rush[:3] {
		u.Send("JOIN #rush")
	}
	carl.Expect(":bridge!bridge@127.0.0.1 MODE #rush :+i")
	carl.Expect(":bridge!bridge@127.0.0.1 MODE #rush :-i")
	h.guardSays([]string{"audit", "--room", "rush"}, "guard: lockdown ends")
	h.doorSays(rush[4], "#rush", "in")
	h.never(carl, " KICK #rush ")
	h.never(eve, "MODE #dev2 -b") // of who is not calm yet
}
