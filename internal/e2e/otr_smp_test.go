//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// TestOTRSecretAskedByEitherSide: the wrong and the right secret, asked by profanity and
// mcabber, and asked by the bot and answered by them: the wrong one verifies nobody, the
// right one does, once it is met. (TestOTRQuestion has profanity answer right.)
func TestOTRSecretAskedByEitherSide(t *testing.T) {
	t.Parallel()
	h, _, prosody := newServed(t)
	aliceKey, bobKey, emmaKey := h.otrUser(prosody, "alice", "xmpp"), h.otrUser(prosody, "bob", "jabber"), h.otrUser(prosody, "emma", "jabber")
	h.file("secret-a", "underbridge\n")
	h.file("secret-b", "troll toll\n")
	h.file("secret-e", "goat hoof\n")
	h.config(strings.NewReplacer(
		`otr: ["${alice}"]`, `otr_secret_file: secret-a`, `otr: ["${bob}"]}`, "otr_secret_file: secret-b}\n  emma: {jids: [emma@localhost], otr_secret_file: secret-e}",
		"[alice, bob]", "[alice, bob, emma]", "require: verified", "require: sealed",
	).Replace(otrConfig))
	h.start()
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	bob := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	emma := h.Mcabber(prosody, lab.McabberUser{Name: "emma", OTR: emmaKey})
	prof.Type("/msg " + botJID)
	for _, name := range []string{"alice", "bob", "emma"} {
		h.otrStands(name, "waiting")
	}
	prof.Expect("[OTR]") // the bot has the session first
	h.reads("bob", heard(bob), "Encrypted bridge")
	h.reads("emma", heard(emma), "Encrypted bridge")

	// Asked by the bot, answered wrong.
	h.ok("otr", "verify", "alice", "--question", "where do we meet?")
	prof.Expect("where do we meet?")
	prof.Type("/otr answer overbridge")
	prof.Expect("failed to authenticate you")
	h.askedFor("alice", 1)
	h.ok("otr", "verify", "emma", "--question", "what do you pay with?")
	emma.Shows(botName, "what do you pay with?")
	emma.Do("otr smpr " + botJID + " nothing")
	h.askedFor("emma", 1)
	// Asked by them, wrong.
	bob.Do("otr smpq " + botJID + " nothing")
	h.askedFor("bob", 1)
	for _, name := range []string{"alice", "bob", "emma"} {
		h.otrStands(name, "waiting")
	}
	// Asked by them, right.
	prof.Type("/otr secret underbridge")
	h.otrStands("alice", "trusted", "verified", "smp")
	bob.Do("otr smpq " + botJID + " troll toll")
	h.otrStands("bob", "trusted", "verified", "smp")
	// Asked by the bot, answered right.
	h.ok("otr", "verify", "emma", "--question", "and what do you pay with?")
	emma.Shows(botName, "and what do you pay with?")
	emma.Do("otr smpr " + botJID + " goat hoof")
	h.otrStands("emma", "trusted", "verified", "smp")
}

// askedFor waits until so many runs of SMP with somebody have ended.
func (h *house) askedFor(name string, n int) {
	h.t.Helper()
	h.until("the end of the questions to "+name, func() bool {
		return h.logged("SMP ended", "to="+name+" ") >= n
	})
}
