//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
	"drawbridge/xmpp/otr"
)

// TestChangedKeyIsBlockedAndAccepted: alice comes with another OTR key than the one
// listed. Her conversation waits, bob's goes on, the admin is told, sealed, and
// accepts; then what waited leaves, and a restart forgets nothing of it.
func TestChangedKeyIsBlockedAndAccepted(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	aliceKey, bobKey := h.otrUser(prosody, "alice", "xmpp"), h.otrUser(prosody, "bob", "jabber")
	came := h.vars["alice"]
	listed, err := otr.NewKey()
	h.must(err)
	h.vars["alice"] = listed.Fingerprint()
	h.config(otrConfig + "admin: {people: [bob], socket: \"${socket}\"}\n")
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	carl.Expect(":bridge!")

	mcab := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	bob, onIRC := heard(mcab), onIRC(carl, channel)
	h.reads("bob", bob, "Encrypted bridge")
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	alice := heard(prof)

	// Blocked: she alone, and told of.
	h.reads("bob, who is the admin,", bob, "alice came with a key that is not accepted", "Came: OTR key "+came[:8])
	carl.Say(channel, "who is there?")
	h.reads("bob", bob, "carl", "who is there?")
	mcab.Say(botJID, "bob is")
	h.reads("carl", onIRC, "bob is")
	prof.Type("/msg " + botJID)
	prof.Type("alice is, too")
	h.until("the key that came, in the list", func() bool {
		return strings.Contains(h.ok("trust", "list", "alice"), came+"  waiting")
	})
	h.until("the state of waiting", func() bool {
		return strings.Contains(h.ok("status"), "held: ") && strings.Contains(h.ok("status"), "alice: OTR key "+came)
	})
	for _, line := range carl.Lines() {
		if strings.Contains(line, "alice is, too") {
			t.Errorf("a line by a key that does not count was relayed: %s", line)
		}
	}
	for _, line := range alice() {
		if strings.Contains(line, "who is there?") {
			t.Error("a line was sealed to a key that does not count")
		}
	}

	// Accepted, by the admin's encrypted chat.
	mcab.Say(botJID, "!trust accept alice "+came)
	h.reads("bob", bob, "Done: OTR key "+came[:8])
	h.reads("alice", alice, "who is there?")
	prof.Type("alice is back")
	h.reads("carl", onIRC, "alice is back")
	n := len(carl.Lines())
	bot.Kill()
	h.start()
	h.joins(carl, n)
	carl.Say(channel, "and after a restart?")
	h.reads("alice", alice, "and after a restart?")

	// Revoked, by the verb: at once.
	h.ok("trust", "revoke", "alice", came)
	carl.Say(channel, "not for her")
	h.reads("bob", bob, "not for her")
	h.until("the state of waiting again", func() bool { return strings.Contains(h.ok("status"), "held: ") })
	for _, line := range alice() {
		if strings.Contains(line, "not for her") {
			t.Error("a line was sealed to a revoked key")
		}
	}
	h.otrOnly(prosody, "who is there?", "alice is, too", "!trust", "not for her")
}

// until waits for a condition.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	if !lab.Poll(wait, ok) {
		h.t.Fatalf("never came %s; status:\n%s", what, h.ok("status"))
	}
}
