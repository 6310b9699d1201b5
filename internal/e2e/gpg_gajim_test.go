//go:build e2e

package e2e

import (
	"testing"

	"drawbridge/internal/lab"
)

// TestGPGWithGajim: Gajim's PGP plugin holds the bot's signed presence against the key
// that its user assigned, and sends nothing if they differ or the key has no trust.
func TestGPGWithGajim(t *testing.T) {
	t.Parallel()
	if !lab.HasGajim("pgp") {
		t.Skip("no Gajim 1.7 with its PGP plugin; on Debian 12: apt-get install --no-install-recommends gajim gajim-pgp")
	}
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{})
	h.person(prosody, "bob", lab.Key{})
	alice.gpg.Run("", "--quick-lsign-key", h.botKey)
	h.config(twoPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	gajim := h.Gajim(prosody, lab.GajimUser{Name: "alice", GPG: alice.gpg, Key: alice.fpr, To: botJID, ToKey: h.botKey})
	h.statusShows("alice", "up", "openpgp")
	carl.Say(channel, "grüß euch: <b> & 日本語")
	h.reads("alice", heard(gajim), "carl", "grüß euch: <b> & 日本語")
	gajim.Say(botJID, "alice sagt: schöne <Grüße> & 日本語")
	h.reads("carl", onIRC(carl, channel), "alice", "schöne <Grüße> & 日本語")
	want := numbered("irc-line", 20)
	for _, l := range want {
		carl.Say(channel, l)
	}
	h.inOrder("alice", heard(gajim), "irc-line", want)
	h.sealedOnly(prosody, "grüß euch", "schöne <Grüße>", "irc-line")
}
