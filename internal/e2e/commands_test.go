//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// Commands are answered where they were asked: on IRC with names only, to a
// person encrypted and with rungs and fingerprints.
func TestChatCommands(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{})
	h.config(strings.Replace(onePerson, "announce: off", `announce: "joined to Jabber"`, 1))
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.reads("carl", onIRC(carl, channel), "joined to Jabber")
	a := h.scripted(prosody, alice)
	h.reads("alice", heard(a), "") // greeted: the bot knows that she is there

	carl.Say(channel, "!help")
	h.reads("carl", onIRC(carl, channel), "!who", "!status")
	carl.Say(channel, "!who")
	h.reads("carl", onIRC(carl, channel), "alice")
	a.say("!who")
	h.reads("alice", heard(a), "carl")
	a.say("!trust")
	h.reads("alice", heard(a), alice.fpr[len(alice.fpr)-4:])
	carl.Say(channel, "!trust")
	carl.Say(channel, "fence")
	h.reads("alice", heard(a), "fence")
	for _, l := range onIRC(carl, channel)() {
		if strings.Contains(strings.ReplaceAll(l, " ", ""), alice.fpr) || strings.Contains(l, "@"+lab.Domain) {
			t.Errorf("told to everybody on IRC: %q", l)
		}
	}

	// The channel's operator pauses the bridge: nothing passes until it resumes.
	carl.Say(channel, "!bridge pause 1h")
	h.reads("carl", onIRC(carl, channel), "pause")
	carl.Say(channel, "not for Jabber")
	carl.Say(channel, "!bridge resume")
	h.reads("carl", onIRC(carl, channel), "resume")
	carl.Say(channel, "for Jabber again")
	h.reads("alice", heard(a), "for Jabber again")
	for _, l := range a.Heard(botJID) {
		if strings.Contains(l, "not for Jabber") {
			t.Error("a paused bridge passed a line on")
		}
	}
	h.fromBotSealed(prosody)
}
