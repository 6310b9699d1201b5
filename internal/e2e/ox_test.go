//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

const oxPeople = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    require: verified
    schemes: [ox]
    announce: off
`

// A person with profanity's OX: every line is signed both ways, so the bridge can
// require it. profanity has the bot's key from the bot's account alone.
func TestOXWithProfanity(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"prosody", "ejabberd"} {
		t.Run(server, func(t *testing.T) {
			h := newHouse(t)
			ircd, x := h.InspIRCd(lab.InspIRCd{Fast: true}), h.xmppServer(server)
			h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(x.Addr)
			x.AddUser(botName)
			alice := h.oxPerson(x, "alice", lab.Key{})
			h.config(oxPeople)

			carl := h.IRCUser(ircd, "carl", channel)
			h.start()
			carl.Expect(":bridge!")
			prof := h.profanity(x, alice)
			prof.TalkOX(alice.gpg, alice.fpr, botJID, h.botKey)
			h.hasKeys()
			onIRC, onProf := onIRC(carl, channel), heard(prof)

			prof.Type("alice sagt: schöne <Grüße> & 日本語")
			h.reads("carl", onIRC, "alice", "schöne <Grüße> & 日本語")
			carl.Say(channel, "grüß euch: “alle” — 日本語 🦊 <b>")
			h.reads("alice", onProf, "carl", "grüß euch: “alle” — 日本語 🦊 <b>")
			carl.Say(channel, "as alice sees it")
			bot := map[string]string{"prosody": botJID, "ejabberd": botName}[server] // as the roster names it
			prof.Expect("% " + bot + "/bridge: <carl@irc> as alice sees it")

			long := "lang-anfang " + strings.TrimSpace(strings.Repeat("größenwahnsinnige 日本語 ", 100)) + " lang-ende" // 3 kB
			prof.Type(long)
			h.reads("carl", onIRC, "lang-ende")
			want := numbered("irc-line", 20)
			for _, l := range want {
				carl.Say(channel, l)
			}
			h.inOrder("alice", onProf, "irc-line", want)

			h.statusShows("alice", "ox")
			h.oxOnly(x, "schöne <Grüße>", "grüß euch", "as alice sees it", "lang-anfang", "irc-line")
		})
	}
}

// xmppServer starts a server that keeps what it sees.
func (h *house) xmppServer(name string) *lab.XMPPServer {
	h.t.Helper()
	if name == "ejabberd" {
		return h.Ejabberd(lab.Ejabberd{Trace: true})
	}
	return h.Prosody(lab.Prosody{})
}

// oxPerson makes somebody whose key the bot has only the fingerprint of, and who
// does not have the bot's; ${name} becomes the fingerprint.
func (h *house) oxPerson(s *lab.XMPPServer, name string, key lab.Key) *person {
	h.t.Helper()
	s.AddUser(name)
	s.Befriend(botName, name)
	p := &person{name: name, gpg: h.GPG(name)}
	key.UID = "xmpp:" + name + "@" + lab.Domain
	p.fpr = p.gpg.NewKey(key)
	h.vars[name] = p.fpr
	return p
}

// hasKeys waits until the bot has a key for each pinned fingerprint.
func (h *house) hasKeys() {
	h.t.Helper()
	var out string
	if !lab.Poll(wait, func() bool {
		var code int
		out, _, code = h.try("status")
		return code == 0 && !strings.Contains(out, "not in the keyring")
	}) {
		h.t.Fatalf("keys are missing:\n%s", out)
	}
}

// oxFallbacks are the bodies beside OX, of profanity, the bot and Gajim.
var oxFallbacks = []string{
	"This message is encrypted (XEP-0373: OpenPGP for XMPP).",
	"This message is encrypted with OpenPGP (XEP-0373).",
	"This message is *encrypted* with OpenPGP",
}

// oxOnly looks at what the server saw: every message with a body was one of OX, its
// body a fallback, and no secret passed in clear.
func (h *house) oxOnly(s *lab.XMPPServer, secrets ...string) {
	h.t.Helper()
	sealed := 0
	for _, st := range s.Stanzas() {
		if body, ok := lab.Child(st.XML, "body"); ok && strings.HasPrefix(st.XML, "<message") {
			if !strings.Contains(st.XML, "<openpgp xmlns='urn:xmpp:openpgp:0'>") && !strings.Contains(st.XML, `<openpgp xmlns="urn:xmpp:openpgp:0">`) || !slices.Contains(oxFallbacks, body) {
				h.t.Errorf("a body passed the server: %s", st.XML)
			}
			sealed++
		}
		for _, secret := range secrets {
			if strings.Contains(st.XML, secret) || strings.Contains(st.XML, lab.Escape(secret)) {
				h.t.Errorf("%q passed the server in clear: %s", secret, st.XML)
			}
		}
	}
	if sealed < 2 {
		h.t.Errorf("%d encrypted messages passed the server", sealed)
	}
}

const mixedPeople = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob]}
    schemes: [ox, openpgp]
    announce: off
`

// One bridge with a person of OX and one of XEP-0027, who has no OX: each gets what
// their client reads, and hears the other.
func TestOXAndXEP0027InOneBridge(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.oxPerson(prosody, "alice", lab.Key{Algo: "rsa2048"})
	bob := h.person(prosody, "bob", lab.Key{})
	h.config(mixedPeople)

	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	prof := h.profanity(prosody, alice)
	prof.TalkOX(alice.gpg, alice.fpr, botJID, h.botKey)
	h.hasKeys()
	mcab := h.mcabber(prosody, bob)

	carl.Say(channel, "grüß euch beide")
	h.reads("bob", heard(mcab), "carl", "grüß euch beide")
	h.reads("alice", heard(prof), "carl", "grüß euch beide")
	prof.Type("alice sagt: <OX> & ü")
	h.reads("bob", heard(mcab), "alice", "sagt: <OX> & ü")
	h.reads("carl", onIRC(carl, channel), "alice", "sagt: <OX> & ü")
	mcab.Say(botJID, "bob meint: на здоровье")
	h.reads("alice", heard(prof), "bob", "на здоровье")

	// Each by their own scheme.
	for _, st := range prosody.Stanzas() {
		body, ok := lab.Child(st.XML, "body")
		if !ok || !strings.HasPrefix(st.XML, "<message") || strings.HasPrefix(st.JID, botJID) {
			continue
		}
		ox := strings.HasPrefix(st.JID, "alice@")
		if strings.Contains(st.XML, "urn:xmpp:openpgp:0") != ox || strings.Contains(st.XML, "jabber:x:encrypted") == ox {
			t.Errorf("not the scheme of its client: %s", st.XML)
		}
		if !slices.Contains(oxFallbacks, body) && !slices.Contains(fallbacks, body) {
			t.Errorf("a body passed the server: %s", st.XML)
		}
	}
}
