package guard_test

import (
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// watching is a guard beside one of a lower ID.
func watching(c *guard.Config) {
	c.ID = "b"
	c.Peers = []guard.Peer{{ID: "a", Accounts: map[string]string{"corp": "otherbot"}, JIDs: []string{"other@corp.example"}}}
	c.MaxRemovals = policy.MaxRemovals{Count: 20, Share: 100}
}

// peerIn has the other guard come in, with what it needs to act.
func (h *house) peerIn() {
	h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["other@corp.example"] = policy.Owner })
	h.irc.Join(channel, onIRC("otherbot", "otherbot"))
	h.irc.Give(channel, "otherbot", "o", bridge.By{Nick: "ChanServ", Server: true})
	h.xmpp.Join(muc, onXMPP("other", "other@corp.example"))
	h.wait(time.Second)
	h.irc.Lines()
	h.xmpp.Lines()
}

// Whom the guard that acts invited, the one that watches leaves to it: by an account that
// stands in the list, by the door they came through, as a member, and also those who were
// there before it. It does not relay them, since it does not know them; and once it acts itself
// they go.
func TestGuestsOfAPeer(t *testing.T) {
	live(t, watching, func(h *house) {
		h.peerIn()
		peer := bridge.By{Nick: "otherbot", Facts: onIRC("otherbot", "otherbot")}
		h.irc.Mode(channel, "+I R:dora", peer)
		h.irc.Join(channel, onIRC("dora_", "dora"))
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
		h.irc.Join(channel, onIRC("eric", "")) // invited by nick alone: the door is +i
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["dora@corp.example"] = policy.Member })
		h.xmpp.Join(muc, onXMPP("dora", "dora@corp.example"))
		h.wait(15 * time.Minute)
		h.same("lines", h.irc.Lines())
		h.same("steps", h.xmpp.Lines())
		h.has("audit", h.acts(guard.Query{Who: "dora@corp.example"}), "left to a, who let them in")
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "eric"}}, time.Now()); !r.Refused {
			t.Error("somebody whom this guard does not know is relayed")
		}
		h.same("alarms", h.takeAlarms())

		h.stop() // who was there before it
		h.start()
		h.ready()
		h.wait(15 * time.Minute)
		h.same("who is there after a restart", h.irc.Nicks(channel), "bob", "dora_", "eric", "otherbot")
		h.same("who is in the MUC after a restart", h.xmpp.Nicks(muc), "bob", "dora", "other")

		h.irc.Part(channel, "otherbot", false)
		h.xmpp.Part(muc, "other", false)
		h.wait(time.Minute)
		h.same("who is there when it acts", h.irc.Nicks(channel), "bob")
		h.same("who is in the MUC when it acts", h.xmpp.Nicks(muc), "bob")
	})
}

// Who lost what the peer gave them, and is still there ten seconds later, is removed by
// the guard that watches; so is who came through an open door, and who is kept out by a rule.
func TestWhoIsNoGuestOfAPeer(t *testing.T) {
	open := func(c *guard.Config) {
		watching(c)
		c.Policy.People[0].IRC["corp"] = policy.IRCIdentity{Hosts: []string{"alice!*@*"}}
		c.Policy.Rules[0].Who.AtLeast = policy.Host
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{
			ID: "no-plain", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join}, If: policy.If{TLS: policy.No}, Effect: policy.Kick, Reason: "TLS is required here",
		})
	}
	live(t, open, func(h *house) {
		h.peerIn()
		peer := bridge.By{Nick: "otherbot", Facts: onIRC("otherbot", "otherbot")}
		h.irc.Mode(channel, "+I R:dora", peer)
		h.irc.Mode(channel, "+I R:plain", peer)
		plain := onIRC("plain", "plain")
		plain.TLS = policy.IsNot("WHOX", time.Time{})
		h.irc.Join(channel, onIRC("dora_", "dora"))
		h.irc.Join(channel, onIRC("eve", "eve"))
		h.irc.Join(channel, plain)
		h.wait(20 * time.Second)
		h.same("who is there", h.irc.Nicks(channel), "dora_", "otherbot")
		h.irc.Mode(channel, "-I R:dora", peer)
		h.wait(5 * time.Second)
		h.same("who is there at once", h.irc.Nicks(channel), "dora_", "otherbot")
		h.wait(10 * time.Second)
		h.same("who is there later", h.irc.Nicks(channel), "otherbot")
	})
}
