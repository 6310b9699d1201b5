//go:build e2e

package e2e

import (
	"testing"

	"drawbridge/internal/lab"
)

// Scenario 5: each leg's link is cut, each server dies, the bot itself dies; it
// comes back by itself, joins again, and what was said on the living side in
// the meantime arrives, once and in order.
func TestEachLegDiesAndComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	// Only the bot's own links go through the proxies.
	toIRC, toXMPP := h.Proxy(ircd.TLSAddr), h.Proxy(prosody.Addr)
	h.vars["irc"], h.vars["xmpp"] = localhost(toIRC.Addr), localhost(toXMPP.Addr)
	prosody.AddUser(botName)
	alice := h.person(prosody, "alice", lab.Key{})
	h.config(onePerson)
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	h.joins(carl, 0)
	prof := h.scripted(prosody, alice)
	both := func(mark string) {
		t.Helper()
		carl.Say(channel, mark+" from carl")
		h.reads("alice", heard(prof), mark+" from carl")
		prof.say(mark + " from alice")
		h.reads("carl", onIRC(carl, channel), mark+" from alice")
	}
	both("at first")

	t.Log("the link to IRC is cut")
	n := len(carl.Lines())
	toIRC.Cut()
	h.legShows("corp", "down")
	waiting := numbered("irc-was-away", 5)
	for _, l := range waiting {
		prof.say(l)
	}
	toIRC.Restore()
	h.joins(carl, n)
	h.inOrder("carl", onIRC(carl, channel), "irc-was-away", waiting)
	both("after IRC")

	t.Log("the link to XMPP is cut")
	toXMPP.Cut()
	h.legShows("bot", "down")
	waiting = numbered("xmpp-was-away", 5)
	for _, l := range waiting {
		carl.Say(channel, l)
	}
	toXMPP.Restore()
	h.inOrder("alice", heard(prof), "xmpp-was-away", waiting)
	both("after XMPP")

	t.Log("the XMPP server is killed")
	prosody.Kill()
	carl.Say(channel, "said while Prosody was dead")
	prosody.Restart()
	prof = h.scripted(prosody, alice)
	h.reads("alice", heard(prof), "said while Prosody was dead")
	both("after Prosody")

	t.Log("the IRC server is killed")
	ircd.Kill()
	prof.say("said while InspIRCd was dead")
	toIRC.Cut() // so that carl is back before the bot
	ircd.Restart()
	carl = h.IRCUser(ircd, "carl", channel)
	toIRC.Restore()
	h.reads("carl", onIRC(carl, channel), "said while InspIRCd was dead")
	both("after InspIRCd")

	t.Log("the bot is killed")
	n = len(carl.Lines())
	bot.Kill()
	bot = h.start()
	h.joins(carl, n)
	h.statusShows(", ready")
	both("after the bot")
	h.stop(bot)
	h.sealedOnly(prosody, "from carl", "from alice", "was-away", "said while")
}
