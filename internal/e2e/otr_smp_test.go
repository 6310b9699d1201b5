//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// TestOTRSecretAskedByEitherSide: the wrong and the right secret, asked by profanity
// and mcabber, and the wrong one answered to the bot: the wrong one verifies nobody, the right one does, once
// it is met. (TestOTRQuestion has profanity answer.)
func TestOTRSecretAskedByEitherSide(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	aliceKey, bobKey := h.otrUser(prosody, "alice", "xmpp"), h.otrUser(prosody, "bob", "jabber")
	h.file("secret-a", "underbridge\n")
	h.file("secret-b", "troll toll\n")
	h.config(strings.NewReplacer(
		`otr: ["${alice}"]`, `otr_secret_file: secret-a`, `otr: ["${bob}"]`, `otr_secret_file: secret-b`, "require: verified", "require: sealed",
	).Replace(otrConfig))
	h.start()
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	mcab := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	prof.Type("/msg " + botJID)
	h.otrStands("alice", "waiting")
	h.otrStands("bob", "waiting")

	prof.Expect("[OTR]")

	// Asked by the bot, answered wrong.
	h.ok("otr", "verify", "alice", "--question", "where do we meet?")
	prof.Expect("where do we meet?")
	prof.Type("/otr answer overbridge")
	prof.Expect("failed to authenticate you")
	h.askedFor("alice", 1)
	// Asked by them, wrong.
	mcab.Do("otr smpq " + botJID + " nothing")
	h.askedFor("bob", 1)
	h.otrStands("alice", "waiting")
	h.otrStands("bob", "waiting")
	// Asked by them, right.
	prof.Type("/otr secret underbridge")
	h.otrStands("alice", "trusted", "verified", "smp")
	mcab.Do("otr smpq " + botJID + " troll toll")
	h.otrStands("bob", "trusted", "verified", "smp")
}

// askedFor waits until so many runs of SMP with somebody have ended.
func (h *house) askedFor(name string, n int) {
	h.t.Helper()
	h.until("the end of the questions to "+name, func() bool {
		return h.logged("SMP ended", "to="+name+" ") >= n
	})
}
