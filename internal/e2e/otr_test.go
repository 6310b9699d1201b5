//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
	"drawbridge/xmpp/otr"
)

const otrConfig = botConfig + `people:
  alice: {jids: [alice@localhost], otr: ["${alice}"]}
  bob: {jids: [bob@localhost], otr: ["${bob}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob]}
    require: verified
    schemes: [otr]
    announce: off
`

// otrUser makes somebody with an account and an OTR key, in the file that their
// client keeps it in; ${name} becomes the fingerprint.
func (h *house) otrUser(s *lab.XMPPServer, name, protocol string) (keyFile []byte) {
	h.t.Helper()
	s.AddUser(name)
	s.Befriend(botName, name)
	return h.otrKeyFile(name+"@"+lab.Domain, protocol, name)
}

// otrKeyFile makes a key and the file that a client keeps it in; ${name} becomes
// the fingerprint.
func (h *house) otrKeyFile(account, protocol, name string) []byte {
	h.t.Helper()
	key, err := otr.NewKey()
	h.must(err)
	h.vars[name] = key.Fingerprint()
	return otr.FormatKeys([]otr.AccountKey{{Name: account, Protocol: protocol, Key: key}})
}

// otrOnly looks at what the server saw: no secret in clear, and no body of a chat
// that is not OTR's. It returns how many data messages passed by version 2 and 3.
func (h *house) otrOnly(s *lab.XMPPServer, secrets ...string) (two, three int) {
	h.t.Helper()
	for _, st := range s.Stanzas() {
		body, ok := lab.Child(st.XML, "body")
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(body, "?OTR:AAID"):
			two++
		case strings.HasPrefix(body, "?OTR:AAMD"):
			three++
		}
		if !strings.HasPrefix(body, "?OTR") {
			h.t.Errorf("a body passed the server: %s", st.XML)
		}
		for _, secret := range secrets {
			if strings.Contains(st.XML, secret) || strings.Contains(st.XML, lab.Escape(secret)) {
				h.t.Errorf("%q passed the server in clear: %s", secret, st.XML)
			}
		}
	}
	if two+three == 0 {
		h.t.Error("the server saw no data message: is the test looking at the right thing?")
	}
	return two, three
}

// TestOTRWithProfanityAndMcabber: the clients come online, the bot asks, the lock
// closes by itself, and what is said passes in OTR only.
func TestOTRWithProfanityAndMcabber(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	aliceKey, bobKey := h.otrUser(prosody, "alice", "xmpp"), h.otrUser(prosody, "bob", "jabber")
	h.config(otrConfig)
	h.ok("check")
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	carl.Expect(":bridge!")

	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	mcab := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	alice, bob, onIRC := heard(prof), heard(mcab), onIRC(carl, channel)

	// What was said before the sessions stood waited for them.
	carl.Say(channel, "grüß euch: “alle” — 日本語 🦊")
	h.reads("alice", alice, "carl", "grüß euch: “alle” — 日本語 🦊")
	h.reads("bob", bob, "carl", "grüß euch: “alle” — 日本語 🦊")
	prof.Type("/msg " + botJID)
	prof.Type(`alice says: <b> & " &amp; ünïcödé`)
	h.reads("carl", onIRC, "alice", `<b> & " &amp; ünïcödé`)
	h.reads("bob", bob, "alice", `<b> & " &amp; ünïcödé`)
	mcab.Say(botJID, `bob says: <b> & "`)
	h.reads("carl", onIRC, "bob", `<b> & "`)
	h.reads("alice", alice, "bob", `<b> & "`)
	long := strings.Repeat("three thousand bytes ", 150)
	mcab.Say(botJID, long)
	h.reads("alice", alice, "bob", strings.TrimSpace(long))

	// The bot is killed in mid-talk: the first line is asked for again.
	carl.Say(channel, "before the kill")
	h.reads("alice", alice, "before the kill")
	n := len(carl.Lines())
	bot.Kill()
	h.start()
	h.joins(carl, n)
	carl.Say(channel, "after the kill")
	h.reads("alice", alice, "after the kill")
	h.reads("bob", bob, "after the kill")
	mcab.Say(botJID, "bob again")
	h.reads("carl", onIRC, "bob again")
	h.otrOnly(prosody, "grüß euch", "ünïcödé", "three thousand", "before the kill", "after the kill", "bob again")
}

// TestOTRQuestion: a key that nobody pinned is verified by the shared secret, asked
// by either side, and by the right one only.
func TestOTRQuestion(t *testing.T) {
	t.Parallel()
	h, _, prosody := newServed(t)
	key := h.otrUser(prosody, "alice", "xmpp")
	h.file("secret", "underbridge\n")
	h.config(strings.NewReplacer(
		`otr: ["${alice}"]`, `otr_secret_file: secret`, "  bob: {jids: [bob@localhost], otr: [\"${bob}\"]}\n", "",
		"people: [alice, bob]", "people: [alice]", "require: verified", "require: sealed",
	).Replace(otrConfig))
	h.start()
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: key})
	prof.Type("/msg " + botJID)
	h.otrStands("alice", "waiting")
	prof.Expect("[OTR]") // the bot has the session first

	// The wrong secret, asked by alice; then the right one, asked by the bot.
	prof.Type("/otr secret overbridge")
	prof.Expect("uthentication failed")
	h.otrStands("alice", "waiting")
	h.ok("otr", "verify", "alice", "--question", "where do we meet?")
	prof.Expect("where do we meet?")
	prof.Type("/otr answer underbridge")
	h.otrStands("alice", "trusted", "verified", "smp")
}

// otrStands waits until the list of keys shows somebody's OTR key so.
func (h *house) otrStands(name string, words ...string) {
	h.t.Helper()
	var out string
	if !lab.Poll(wait, func() bool {
		out, _, _ = h.try("trust", "list", name)
		for line := range strings.Lines(out) {
			if hasAll(append(words, h.vars[name]))(line) {
				return true
			}
		}
		return false
	}) {
		h.t.Fatalf("the key of %s never stood as %q:\n%s", name, words, out)
	}
}
