//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"unicode/utf8"

	"drawbridge/internal/lab"
)

const houseConfig = botConfig + `    openpgp: {key_file: bot.asc}
keyring: {paths: [keys/]}
`

const twoPeople = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob]}
    announce: off
`

// Scenario 1 of the main job: a channel and two people with the clients they
// really use are one room, and the server of the two never sees a word of it.
func TestChannelAndTwoPeopleWithGPG(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{Algo: "rsa2048"})
	bob := h.person(prosody, "bob", lab.Key{})
	h.config(twoPeople)
	h.ok("check")

	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	prof := h.profanity(prosody, alice)
	prof.Talk(botJID, h.botKey)
	mcab := h.mcabber(prosody, bob)
	everybody := map[string]func() []string{"carl": onIRC(carl, channel), "alice": heard(prof), "bob": heard(mcab)}

	// IRC to both, UTF-8 and all.
	carl.Say(channel, "grüß euch: “alle” — 日本語 🦊")
	h.reads("alice", everybody["alice"], "carl", "grüß euch: “alle” — 日本語 🦊")
	h.reads("bob", everybody["bob"], "carl", "grüß euch: “alle” — 日本語 🦊")

	// What alice sees of it: ~ is profanity's sign of an encrypted line.
	carl.Say(channel, "as alice sees it")
	prof.Expect("~ " + botJID + "/bridge: <carl@irc> as alice sees it")

	// Each of the two to IRC and to the other.
	prof.Type("alice sagt: schöne <Grüße> & 日本語")
	h.reads("carl", everybody["carl"], "alice", "schöne <Grüße> & 日本語")
	h.reads("bob", everybody["bob"], "alice", "schöne <Grüße> & 日本語")
	mcab.Say(botJID, "bob meint: на здоровье")
	h.reads("carl", everybody["carl"], "bob", "на здоровье")
	h.reads("alice", everybody["alice"], "bob", "на здоровье")

	// An action is one on the other side.
	carl.Say(channel, "\x01ACTION winkt\x01")
	h.reads("alice", everybody["alice"], "carl", "winkt")
	prof.Type("/me nickt")
	h.reads("carl", everybody["carl"], "alice", "nickt")

	h.longLine(prof, carl, mcab)

	// A hundred lines at once, both ways, in order, once each.
	fromIRC, fromBob := numbered("irc-line", 100), numbered("bob-line", 100)
	for i := range fromIRC {
		carl.Say(channel, fromIRC[i])
		mcab.Say(botJID, fromBob[i])
	}
	h.inOrder("alice", everybody["alice"], "irc-line", fromIRC)
	h.inOrder("bob", everybody["bob"], "irc-line", fromIRC)
	h.inOrder("carl", everybody["carl"], "bob-line", fromBob)
	h.inOrder("alice", everybody["alice"], "bob-line", fromBob)

	// Nobody hears an own line again.
	for who, own := range map[string]string{"carl": "irc-line", "bob": "bob-line", "alice": "schöne <Grüße>"} {
		for _, l := range everybody[who]() {
			if strings.Contains(l, own) {
				t.Errorf("%s got an own line back: %q", who, l)
			}
		}
	}
	h.sealedOnly(prosody, "grüß euch", "schöne <Grüße>", "на здоровье", "winkt", "nickt", "lang-anfang", "irc-line", "bob-line")
	if strings.Contains(h.log(), "line 0") {
		t.Error("the bot logged what was said")
	}
}

// longLine sends more than an IRC line holds: it arrives whole, cut into lines
// that each say who speaks and none of which breaks a character.
func (h *house) longLine(prof *lab.Profanity, carl *lab.IRCUser, mcab *lab.Mcabber) {
	h.t.Helper()
	words := strings.TrimSpace(strings.Repeat("größenwahnsinnige 日本語 ", 60))
	long := "lang-anfang " + words + " lang-ende"
	prof.Type(long)
	h.reads("bob", heard(mcab), "alice", long)
	h.reads("carl", onIRC(carl, channel), "lang-ende")
	var joined []string
	for _, l := range onIRC(carl, channel)() {
		if !strings.Contains(l, "größ") && !strings.Contains(l, "日本") && !strings.Contains(l, "lang-") || strings.Contains(l, "schöne") {
			continue
		}
		if !strings.HasPrefix(l, "<alice@") {
			h.t.Errorf("a continuation line does not say who speaks: %q", l)
		}
		if !utf8.ValidString(l) {
			h.t.Errorf("a character was cut: %q", l)
		}
		_, text, _ := strings.Cut(l, "> ")
		joined = append(joined, text)
	}
	if got := strings.Join(strings.Fields(strings.Join(joined, " ")), " "); got != long {
		h.t.Errorf("the long line arrived as %q", got)
	}
	for _, raw := range carl.Lines() {
		if len(raw) > 510 {
			h.t.Errorf("a line of %d bytes reached IRC: %q", len(raw), raw)
		}
	}
}
