//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

const otrPeer = botConfig + "    otr: {start: peer}\n"

// TestOTRStartedByTheContact: the bot never asks. profanity asks by command, one
// mcabber by the whitespace tag of its first line, which is refused, another holds
// its first line back until the lock has closed, and a client that cuts its
// messages asks by a query. All hear all, in UTF-8, and 3 kB of it.
func TestOTRStartedByTheContact(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	aliceKey, bobKey, emmaKey := h.otrUser(prosody, "alice", "xmpp"), h.otrUser(prosody, "bob", "jabber"), h.otrUser(prosody, "emma", "jabber")
	dora := h.scriptedOTR(prosody, "dora", 200)
	h.config(otrPeer + `
people:
  alice: {jids: [alice@localhost], otr: ["${alice}"]}
  bob: {jids: [bob@localhost], otr: ["${bob}"]}
  dora: {jids: [dora@localhost], otr: ["${dora}"]}
  emma: {jids: [emma@localhost], otr: ["${emma}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob, dora, emma]}
    require: verified
    schemes: [otr]
    announce: off
`)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	bob := h.Mcabber(prosody, lab.McabberUser{Name: "bob", OTR: bobKey})
	emma := h.Mcabber(prosody, lab.McabberUser{Name: "emma", OTR: emmaKey})
	dora.login(prosody)
	onIRC := onIRC(carl, channel)

	dora.send("?OTRv2?")
	prof.Type("/msg " + botJID)
	prof.Type("/otr start")
	prof.Expect("[OTR]")
	bob.Sees(botJID)
	bob.Do("otrpolicy " + botJID + " opportunistic")
	bob.Say(botJID, "bob's first line, in clear")
	emma.Sees(botJID)
	emma.Do("otrpolicy " + botJID + " always")
	emma.Say(botJID, "emma's first line, held back")
	h.reads("carl", onIRC, "emma", "emma's first line, held back")
	dora.sealed()
	h.statusShows("alice", "bob", "dora", "emma")

	everybody := map[string]func() []string{"alice": heard(prof), "bob": heard(bob), "dora": dora.heard, "emma": heard(emma), "carl": onIRC}
	carl.Say(channel, "grüß euch: “alle” — 日本語 🦊")
	for _, who := range []string{"alice", "bob", "dora", "emma"} {
		h.reads(who, everybody[who], "carl", "grüß euch: “alle” — 日本語 🦊")
	}
	long := func(who string) string {
		return who + " sagt " + strings.TrimSpace(strings.Repeat("größenwahnsinnig 日本語 <&> ", 90)) // 3 kB
	}
	prof.Type(long("alice"))
	bob.Say(botJID, long("bob"))
	dora.say(long("dora"))
	emma.Say(botJID, long("emma"))
	for _, from := range []string{"alice", "bob", "dora", "emma"} {
		for who, lines := range everybody {
			if who != from && who != "carl" { // a channel gets it in parts
				h.reads(who, lines, long(from))
			}
		}
	}
	pieces := 0
	for _, st := range prosody.Stanzas() {
		body, _ := lab.Child(st.XML, "body")
		if strings.HasPrefix(body, "?OTR,") {
			pieces++
		}
		for _, word := range []string{"held back", "grüß euch", "größenwahn"} {
			if strings.Contains(st.XML, word) {
				t.Errorf("%q passed the server in clear: %s", word, st.XML)
			}
		}
	}
	if pieces < 20 {
		t.Errorf("dora's client sent %d pieces", pieces)
	}
	for _, lines := range everybody {
		for _, l := range lines() {
			if strings.Contains(l, "bob's first line") {
				t.Errorf("a line in clear was relayed: %q", l)
			}
		}
	}
}

// TestOTRWithTwoClientsOfOnePerson: profanity and mcabber on one account, each with
// a key of its own: the one that spoke last gets the talk, and it alone.
func TestOTRWithTwoClientsOfOnePerson(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	profKey := h.otrUser(prosody, "alice", "xmpp")
	mcabKey := h.otrKeyFile("alice@"+lab.Domain, "jabber", "pocket")
	h.config(strings.NewReplacer(
		`otr: ["${alice}"]`, `otr: ["${alice}", "${pocket}"]`, "  bob: {jids: [bob@localhost], otr: [\"${bob}\"]}\n", "",
		"people: [alice, bob]", "people: [alice]").Replace(otrConfig))
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: profKey})
	mcab := h.Mcabber(prosody, lab.McabberUser{Name: "alice", OTR: mcabKey})
	desk, pocket, onIRC := heard(prof), heard(mcab), onIRC(carl, channel)
	prof.Type("/msg " + botJID)
	prof.Expect("[OTR]")

	for i, line := range numbered("turn", 6) {
		speaks, is, silent := func() { prof.Type("desk says " + line) }, desk, pocket
		if i%2 == 1 {
			speaks, is, silent = func() { mcab.Say(botJID, "pocket says "+line) }, pocket, desk
		}
		if i == 1 {
			h.sessionsOf("alice", 2)
			mcab.Shows(botName, "channel established") // the bot has the session first
		}
		speaks()
		h.reads("carl", onIRC, "alice", line)
		carl.Say(channel, "answer to "+line)
		h.reads("the client that spoke last", is, "answer to "+line)
		for _, l := range silent() {
			if strings.Contains(l, "answer to "+line) {
				t.Errorf("the other client got it too: %q", l)
			}
		}
	}
	h.otrOnly(prosody, "says turn", "answer to")
}

// sessionsOf waits until the bot has begun so many sessions with somebody.
func (h *house) sessionsOf(name string, n int) {
	h.t.Helper()
	h.until("the sessions of "+name, func() bool { return h.logged("session", name+"@"+lab.Domain) >= n })
}

// logged returns how many lines of the bot's log have a message and a word.
func (h *house) logged(message, word string) (n int) {
	for line := range strings.Lines(h.log()) {
		if (strings.Contains(line, "msg="+message+" ") || strings.Contains(line, `msg="`+message+`" `) || strings.Contains(line, `"msg":"`+message+`",`)) && strings.Contains(line, word) {
			n++
		}
	}
	return n
}
