//go:build e2e

package e2e

import (
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

const mixedConfig = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
  dora: {jids: [dora@localhost], otr: ["${dora}"]}
  emma: {jids: [emma@localhost], otr: ["${emma}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob, dora, emma]}
    schemes: [ox, openpgp, otr]
    announce: off
log: {level: debug, format: json}
`

// TestEveryEncryptionInOneBridge: alice with profanity's OX, bob with mcabber's
// XEP-0027, dora with mcabber's OTR, emma, who never comes, and a channel are one
// room: every line reaches all others once and in order. No word of it, nor of what
// was refused, is on the wire, in the log or on the disk.
func TestEveryEncryptionInOneBridge(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.oxPerson(prosody, "alice", lab.Key{Algo: "rsa2048"})
	bob := h.person(prosody, "bob", lab.Key{})
	doraKey := h.otrUser(prosody, "dora", "jabber")
	h.otrUser(prosody, "emma", "xmpp")
	h.config(mixedConfig)
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	h.joins(carl, 0)
	ox := h.profanity(prosody, alice)
	ox.TalkOX(alice.gpg, alice.fpr, botJID, h.botKey)
	gpg := h.mcabber(prosody, bob)
	dora := h.Mcabber(prosody, lab.McabberUser{Name: "dora", OTR: doraKey})
	h.reads("dora", heard(dora), "Encrypted bridge") // the bot has the session first
	// A note on her first presence, which came before her key, may stay.
	ready := regexp.MustCompile(`bot/alice +up +ox +\S+ +verified`)
	h.until("alice's key", func() bool { return ready.MatchString(h.ok("status")) })

	const lines = 10
	canaries := []string{}
	says := map[string]func(string){
		"alice": ox.Type,
		"bob":   func(s string) { gpg.Say(botJID, s) },
		"carl":  func(s string) { carl.Say(channel, s) },
		"dora":  func(s string) { dora.Say(botJID, s) },
	}
	hears := map[string]func() []string{"alice": heard(ox), "bob": heard(gpg), "carl": onIRC(carl, channel), "dora": heard(dora)}
	said := map[string][]string{}
	for range lines {
		for who, say := range says {
			c := "canary" + rand.Text()
			canaries = append(canaries, c)
			said[who] = append(said[who], "from-"+who+" "+c)
			say("from-" + who + " " + c)
		}
	}
	for who, lines := range hears {
		for from, want := range said {
			if who != from {
				h.inOrder(who, lines, "from-"+from+" ", want)
			}
		}
		for _, l := range lines() {
			if strings.Contains(l, "from-"+who+" ") {
				t.Errorf("%s got an own line back: %q", who, l)
			}
		}
	}

	// What is refused: clear text inside and beside of sessions.
	refused := h.XMPPUser(prosody, "dora", "clear")
	clear := "canary" + rand.Text()
	canaries = append(canaries, clear)
	refused.Chat(botJID, "<body>"+clear+" \t  \t\t\t\t \t \t \t    \t\t  \t </body>")
	refused.Chat(botJID, "<body>"+clear+"</body><openpgp xmlns='urn:xmpp:openpgp:0'>bm90aGluZw==</openpgp>")
	refused.Chat(botJID, "<body>?OTR:AAID"+clear+".</body>")
	last := "canary" + rand.Text()
	canaries = append(canaries, last)
	carl.Say(channel, last)
	for _, who := range []string{"alice", "bob", "dora"} {
		h.reads(who, hears[who], last)
	}

	// Each by their own scheme, and no body but a fallback.
	for _, st := range prosody.Stanzas() {
		if h.byClear(st) {
			continue
		}
		body, ok := lab.Child(st.XML, "body")
		if !ok || !strings.HasPrefix(st.XML, "<message") {
			continue
		}
		if !slices.Contains(oxFallbacks, body) && !slices.Contains(fallbacks, body) && !strings.HasPrefix(body, "?OTR") {
			t.Errorf("a body passed the server: %s", st.XML)
		}
		who, _, _ := strings.Cut(st.JID, "@")
		for name, mark := range map[string]string{"alice": "<openpgp ", "bob": "jabber:x:encrypted", "dora": "?OTR"} {
			if who == name && !strings.Contains(st.XML, mark) {
				t.Errorf("not the scheme of %s's client: %s", name, st.XML)
			}
		}
	}
	h.foundNowhere(bot, prosody, canaries, h.byClear)
}

// byClear reports whether a stanza is on its way between the client "clear" and the
// bot, and so may hold what that client said.
func (h *house) byClear(st lab.Stanza) bool {
	return strings.HasSuffix(st.JID, "/clear") || strings.Contains(st.XML, "/clear'") || strings.Contains(st.XML, `/clear"`)
}
