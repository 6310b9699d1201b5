//go:build e2e

package e2e

import (
	"syscall"
	"testing"

	"drawbridge/internal/lab"
)

// What waits outlives the bot: it is killed, and stopped in order, while lines
// wait for a server that is away and for somebody who is offline. They come in
// their order, once each, and the counters go on. Each time all rooms are told that
// lines of IRC may be missing.
func TestWhatWaitsOutlivesTheBot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	toXMPP := h.Proxy(prosody.Addr)
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(toXMPP.Addr)
	prosody.AddUser(botName)
	alice, bob := h.person(prosody, "alice", lab.Key{}), h.person(prosody, "bob", lab.Key{})
	h.config(twoPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	h.joins(carl, 0)
	h.statusShows(", ready")
	a := h.scripted(prosody, alice)
	carl.Say(channel, "at first")
	h.reads("alice", heard(a), "at first")

	toXMPP.Cut()
	h.legShows("bot", "down")
	waiting := numbered("said-to-the-dead", 30)
	for i, end := range []func(){
		func() { bot.Kill() },
		func() { h.must(bot.Signal(syscall.SIGTERM)); <-bot.Done() },
		func() { bot.Kill() },
	} {
		for _, l := range waiting[10*i : 10*i+10] {
			carl.Say(channel, l)
		}
		h.statusShows("bot/alice", "corp/#dev", map[int]string{0: " 10 ", 1: " 21 ", 2: " 32 "}[i])
		n := len(carl.Lines())
		end()
		bot = h.start()
		h.joins(carl, n)
	}
	toXMPP.Restore()
	h.inOrder("alice", heard(a), "said-to-the-dead", waiting)
	h.statusShows("bot/bob", " 34 ")
	if out := h.ok("store", "queue"); !hasAll([]string{"bot/bob"})(out) || hasAll([]string{"bot/alice"})(out) {
		t.Errorf("the queue before bob comes:\n%s", out)
	}
	b := h.scripted(prosody, bob)
	h.inOrder("bob", heard(b), "said-to-the-dead", waiting)
	a.say("and back")
	h.reads("carl", onIRC(carl, channel), "and back")
	h.statusShows("received 35 = 35 accepted", "queued 73 = 73 relayed + 0 waiting")
	h.stop(bot)
	if out := h.ok("store", "check"); !hasAll([]string{"the file is sound", "nothing waits"})(out) {
		t.Errorf("the store at the end:\n%s", out)
	}
	h.sealedOnly(prosody, "said-to-the-dead", "at first", "and back")
}
