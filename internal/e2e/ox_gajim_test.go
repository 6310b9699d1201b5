//go:build e2e

package e2e

import (
	"testing"

	"drawbridge/internal/lab"
)

// TestOXWithGajim: Gajim takes the bot's key from its account, refuses what is not
// signed by it, or not for its user, and deletes keys without the right user id. It has
// nothing to refuse.
func TestOXWithGajim(t *testing.T) {
	t.Parallel()
	if !lab.HasGajim("openpgp") {
		t.Skip("no Gajim 1.7 with its OpenPGP plugin; on Debian 12: apt-get install --no-install-recommends gajim gajim-openpgp")
	}
	h, ircd, prosody := newServed(t)
	alice := h.oxPerson(prosody, "alice", lab.Key{})
	h.config(oxPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	gajim := h.Gajim(prosody, lab.GajimUser{Name: "alice", GPG: alice.gpg, To: botJID})
	h.hasKeys()
	h.statusShows("alice", "up", "ox")
	carl.Say(channel, "grüß euch: <b> & 日本語")
	h.reads("alice", heard(gajim), "carl", "grüß euch: <b> & 日本語")
	gajim.Say(botJID, "alice sagt: schöne <Grüße> & 日本語")
	h.reads("carl", onIRC(carl, channel), "alice", "schöne <Grüße> & 日本語")
	want := numbered("irc-line", 20)
	for _, l := range want {
		carl.Say(channel, l)
	}
	h.inOrder("alice", heard(gajim), "irc-line", want)
	h.oxOnly(prosody, "grüß euch", "schöne <Grüße>", "irc-line")
}
