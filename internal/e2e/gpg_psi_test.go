//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// TestGPGWithPsi: Psi as it comes does not encrypt by itself. The bot's first message
// closes the lock of the chat, and no word goes in clear. Its wire form is its own: other
// fallback, no EME, to the full JID.
func TestGPGWithPsi(t *testing.T) {
	t.Parallel()
	if !lab.HasPsi() {
		t.Skip("no Psi; on Debian 12: apt-get install --no-install-recommends psi xdotool")
	}
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{})
	bob := h.person(prosody, "bob", lab.Key{})
	h.config(twoPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	psi := h.Psi(prosody, lab.PsiUser{Name: "alice", GPG: alice.gpg, Key: alice.fpr, To: botJID, ToKey: h.botKey})
	mcab := h.mcabber(prosody, bob)
	h.reads("alice", heard(psi), "Please answer encrypted")
	psi.Say(botJID, "alice sagt: schöne <Grüße> & 日本語")
	h.reads("carl", onIRC(carl, channel), "alice", "schöne <Grüße> & 日本語")
	h.reads("bob", heard(mcab), "alice", "schöne <Grüße> & 日本語")
	// An invitation to a room goes in clear, and leaves the lock as it is.
	h.XMPPUser(prosody, botName, "other").Send("<message to='alice@localhost'><x xmlns='jabber:x:conference' jid='dev@conference.localhost'/></message>")
	h.Await(wait, "the invitation passes the server", func() bool {
		return slices.ContainsFunc(prosody.Stanzas(), func(st lab.Stanza) bool { return strings.Contains(st.XML, "jabber:x:conference") })
	})
	carl.Say(channel, "grüß euch: <b> & | \\ 日本語")
	h.reads("alice", heard(psi), "carl", "grüß euch: <b> & | \\ 日本語")
	for _, l := range numbered("psi-line", 3) {
		psi.Say(botJID, l)
	}
	want := numbered("irc-line", 20)
	for _, l := range want {
		carl.Say(channel, l)
	}
	h.inOrder("alice", heard(psi), "irc-line", want)
	h.inOrder("carl", onIRC(carl, channel), "psi-line", numbered("psi-line", 3))
	h.sealedOnly(prosody, "schöne <Grüße>", "grüß euch", "irc-line", "psi-line")
}
