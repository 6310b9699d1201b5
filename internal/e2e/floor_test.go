//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

const onePerson = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    announce: off
`

// Scenario 6, first half: what a contact of a sealed bridge says in clear never
// reaches IRC; it is refused, and explained in an encrypted line, once.
func TestClearTextIsRefusedAndExplained(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName, "stranger")
	alice := h.person(prosody, "alice", lab.Key{})
	h.config(onePerson)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	prof := h.profanity(prosody, alice)
	// A greeting, sealed, shows her at once that encryption works.
	h.reads("alice", heard(prof), "")
	greeted := len(prof.Heard(botJID))

	prof.Type("/msg " + botJID + " oops-in-clear")
	prof.Expect("oops-in-clear")
	lab.Poll(wait, func() bool { return len(prof.Heard(botJID)) > greeted })
	said := prof.Heard(botJID)[greeted:]
	if len(said) == 0 || !strings.Contains(strings.ToLower(said[0]), "encrypt") || !strings.Contains(strings.Join(said, "\n"), "/pgp start") {
		t.Fatalf("alice was not told how to encrypt with profanity: %q", said)
	}
	prof.Type("oops-again-in-clear")
	// The fence: what comes after it on the same way shows that the others were
	// looked at.
	prof.Type("/pgp setkey " + botJID + " " + h.botKey[24:])
	prof.Type("/pgp start")
	prof.Expect("[PGP send")
	prof.Type("now-sealed")
	h.reads("carl", onIRC(carl, channel), "alice", "now-sealed")
	for _, l := range carl.Lines() {
		if strings.Contains(l, "oops") {
			t.Errorf("clear text reached IRC: %q", l)
		}
	}
	if n := len(prof.Heard(botJID)); n != greeted+len(said) {
		t.Errorf("alice was told more than once an hour: %q", prof.Heard(botJID)[greeted:])
	}

	// A stranger is not answered and not relayed, whatever he sends.
	s := h.XMPPUser(prosody, "stranger", "")
	s.Chat(botJID, "<body>oops from a stranger</body>")
	s.Chat(botJID, "<body>!help</body>")
	carl.Say(channel, "fence for alice")
	h.reads("alice", heard(prof), "fence for alice")
	for _, st := range s.Stanzas() {
		if strings.HasPrefix(st, "<message") {
			t.Errorf("the stranger was answered: %s", st)
		}
	}
	if strings.Contains(strings.Join(carl.Lines(), "\n"), "stranger") {
		t.Error("a stranger reached IRC")
	}
	h.fromBotSealed(prosody)
}

// fromBotSealed fails for each message of the bot to a person that has a body
// and nothing encrypted.
func (h *house) fromBotSealed(s *lab.XMPPServer) {
	h.t.Helper()
	n := 0
	for _, st := range s.Stanzas() {
		if !st.In || !strings.HasPrefix(st.JID, botJID) || !strings.HasPrefix(st.XML, "<message") {
			continue
		}
		n++
		if _, body := lab.Child(st.XML, "body"); body && !strings.Contains(st.XML, "jabber:x:encrypted") {
			h.t.Errorf("the bot spoke in clear: %s", st.XML)
		}
	}
	if n == 0 {
		h.t.Error("the bot said nothing at all")
	}
}

// Scenario 6, second half: a contact whose subkey has expired is held, the others
// are served; when the key is renewed and read anew, all that waited arrives.
func TestExpiredSubkeyHoldsOnlyItsOwner(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{})
	bob := h.person(prosody, "bob", lab.Key{Subkey: "10d", Created: time.Now().Add(-20 * 24 * time.Hour)})
	h.config(twoPeople)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	a, b := h.scripted(prosody, alice), h.scripted(prosody, bob)

	held := numbered("held-line", 10)
	for _, l := range held {
		carl.Say(channel, l)
	}
	h.inOrder("alice", heard(a), "held-line", held)
	if got := b.Heard(botJID); len(got) > 0 {
		t.Fatalf("bob, whose key has expired, was sent %q", got)
	}
	out := h.statusShows("expired")
	if !strings.Contains(out, "bob") {
		t.Errorf("status does not name bob:\n%s", out)
	}

	bob.gpg.RenewSubkeys(bob.fpr, "1y")
	h.publish(bob)
	h.ok("reload")
	h.inOrder("bob", heard(b), "held-line", held)
	carl.Say(channel, "after the renewal")
	h.reads("bob", heard(b), "after the renewal")
	h.reads("alice", heard(a), "after the renewal")
	h.sealedOnly(prosody, "held-line", "after the renewal")
}
