//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// pidginUser makes somebody with an account and an OTR key for Pidgin; ${name}
// becomes the fingerprint.
func (h *house) pidginUser(s *lab.XMPPServer, name string) (keyFile []byte) {
	h.t.Helper()
	s.AddUser(name)
	s.Befriend(botName, name)
	return h.otrKeyFile(lab.PidginAccount(name), lab.PidginProtocol, name)
}

// TestOTRWithPidgin: Pidgin means HTML, mcabber does not; both read what was
// written, and Pidgin lets no word out before the lock has closed.
func TestOTRWithPidgin(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	aliceKey, bobKey := h.pidginUser(prosody, "alice"), h.otrUser(prosody, "bob", "jabber")
	h.config(strings.Replace(otrConfig, "password_file: password", "password_file: password\n    otr: {start: peer}", 1))
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	pidgin := h.Pidgin(prosody, lab.PidginUser{Name: "alice", OTR: aliceKey})
	mcab := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	mcab.Sees(botJID)
	mcab.Do("otr start " + botJID)
	alice, bob, onIRC := heard(pidgin), heard(mcab), onIRC(carl, channel)

	// Her first line waits for the session that it asks for.
	pidgin.Say(botJID, `first: <b> & " &amp; ünïcödé 🦊`)
	h.reads("carl", onIRC, "alice", `first: <b> & " &amp; ünïcödé 🦊`)
	h.reads("bob", bob, "alice", `first: <b> & " &amp; ünïcödé 🦊`)
	for _, text := range []string{`back: <b>bold?</b> & " &amp; < > 日本語`, "https://example.org/?a=1&b=2 <i>"} {
		carl.Say(channel, text)
		h.reads("alice", alice, "carl", text)
		h.reads("bob", bob, "carl", text)
	}
	long := strings.TrimSpace(strings.Repeat("three thousand <bytes> & ", 120))
	mcab.Say(botJID, long)
	h.reads("alice", alice, "bob", long)
	pidgin.Say(botJID, long+" from alice")
	h.reads("bob", bob, "alice", long+" from alice")
	if two, three := h.otrOnly(prosody, "first:", "back:", "three thousand"); two > 0 || three == 0 {
		t.Errorf("%d messages by version 2, %d by version 3: both clients have version 3", two, three)
	}
}
