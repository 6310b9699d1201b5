//go:build e2e

package e2e

import (
	"testing"

	"drawbridge/internal/lab"
)

// Who is offline misses nothing: the lines wait, and come in order.
func TestLinesWaitForWhoIsOffline(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice, bob := h.person(prosody, "alice", lab.Key{}), h.person(prosody, "bob", lab.Key{})
	h.config(twoPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	a := h.scripted(prosody, alice)
	waiting := numbered("waiting-line", 15)
	for _, l := range waiting {
		carl.Say(channel, l)
	}
	h.inOrder("alice", heard(a), "waiting-line", waiting)
	h.statusShows("bot/bob", "15")

	mcab := h.mcabber(prosody, bob)
	h.inOrder("bob", heard(mcab), "waiting-line", waiting)
	mcab.Say(botJID, "bob has read it all")
	h.reads("carl", onIRC(carl, channel), "bob has read it all")
	h.sealedOnly(prosody, "waiting-line", "bob has read")
}
