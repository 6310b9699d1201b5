//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// scriptedPair makes dora and emma, with scripted clients, the people of otrConfig.
func (h *house) scriptedPair(s *lab.XMPPServer) (dora, emma *scriptedOTR, config string) {
	h.t.Helper()
	dora, emma = h.scriptedOTR(s, "dora", 0), h.scriptedOTR(s, "emma", 0)
	return dora, emma, strings.NewReplacer("alice", "dora", "bob", "emma").Replace(otrConfig)
}

// TestOTRReload: otr.start changes live, and who is taken out is told that the session
// is over, so that their client says nothing more in it; who comes back gets a new one.
func TestOTRReload(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	dora, emma, config := h.scriptedPair(prosody)
	reload := func(old, text string) {
		h.config(strings.Replace(config, old, text, 1))
		h.ok("reload")
	}
	h.config(strings.Replace(config, "password_file: password", "password_file: password\n    otr: {start: peer}", 1))
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	dora.login(prosody)
	emma.login(prosody)
	emma.send("?OTRv2?")
	emma.sealed()
	h.statusShows("no otr session yet")
	carl.Say(channel, "waits for dora")
	h.reads("emma", emma.heard, "waits for dora")
	for _, st := range prosody.Stanzas() {
		if body, _ := lab.Child(st.XML, "body"); strings.HasPrefix(body, "?OTRv") && strings.HasPrefix(st.JID, "dora@") {
			t.Errorf("dora was asked though she is to begin: %s", st.XML)
		}
	}
	reload("", "")
	dora.sealed()
	h.reads("dora", dora.heard, "waits for dora")

	// Taken out.
	reload("[dora, emma]", "[emma]")
	h.until("the end of dora's session", func() bool { return !dora.inSession() })
	if !emma.inSession() {
		t.Error("emma's session ended, too")
	}
	carl.Say(channel, "not for dora")
	h.reads("emma", emma.heard, "not for dora")
	// And back.
	reload("", "")
	dora.sealed()
	carl.Say(channel, "for dora again")
	h.reads("dora", dora.heard, "for dora again")
	for _, l := range dora.heard() {
		if strings.Contains(l, "not for dora") {
			t.Error("dora heard what was said while she was out")
		}
	}
	h.otrOnly(prosody, "waits for dora", "not for dora", "for dora again")
}

// TestOTRBounced: dora's client shows no presence, so nothing tells that it is gone but
// what its server gives back: that goes out again, in order, once she is there.
func TestOTRBounced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	// ejabberd keeps nothing that asks not to be kept; Prosody would for who is offline.
	ircd, ejabberd := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Ejabberd(lab.Ejabberd{Trace: true})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(ejabberd.Addr)
	ejabberd.AddUser(botName)
	dora, _, config := h.scriptedPair(ejabberd)
	h.config(config)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	h.statusShows(", ready")
	dora.connect(ejabberd)
	dora.send("?OTRv2?")
	dora.sealed()
	carl.Say(channel, "hello")
	h.reads("dora", dora.heard, "hello")

	dora.Close()
	lines := numbered("bounced", 30)
	for _, l := range lines {
		carl.Say(channel, l)
	}
	h.until("a bounce", func() bool {
		return slices.ContainsFunc(ejabberd.Stanzas(), func(st lab.Stanza) bool {
			return !st.In && strings.HasPrefix(st.XML, "<message") && lab.Attr(st.XML, "type") == "error" && strings.HasPrefix(lab.Attr(st.XML, "to"), botJID)
		}) && h.logged("lines were not read and are sent again", "to=dora") > 0
	})
	dora.login(ejabberd)
	h.inOrder("dora", dora.heard, "bounced", lines)
	dora.say("all there")
	h.reads("carl", onIRC(carl, channel), "all there")
	h.otrOnly(ejabberd, "bounced 0")
}
