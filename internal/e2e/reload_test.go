//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// A reload adds and removes people and channels and drops no connection; a bad
// file changes nothing.
func TestReloadKeepsConnections(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice, bob := h.person(prosody, "alice", lab.Key{}), h.person(prosody, "bob", lab.Key{})
	h.config(onePerson)
	carl := h.IRCUser(ircd, "carl", channel, "#ops")
	h.start()
	h.joins(carl, 0)
	a, b := h.scripted(prosody, alice), h.scripted(prosody, bob)
	carl.Say(channel, "before")
	h.reads("alice", heard(a), "before")
	joined := len(carl.Lines())

	t.Log("bob and #ops are added")
	h.config(strings.Replace(twoPeople, `channel: "#dev"}`, `channel: "#dev"}, {network: corp, channel: "#ops"}`, 1))
	out := h.ok("reload")
	for _, want := range []string{"bob", "#ops"} {
		if !strings.Contains(out, want) {
			t.Errorf("reload does not tell of %s:\n%s", want, out)
		}
	}
	carl.Expect(" JOIN :#ops")
	if !lab.Poll(wait, func() bool { return strings.Contains(strings.Join(carl.Lines()[joined:], "\n"), "JOIN :#ops") }) {
		t.Fatal("the bot did not join #ops")
	}
	carl.Say(channel, "for both")
	h.reads("alice", heard(a), "for both")
	h.reads("bob", heard(b), "for both")
	b.say("bob is here")
	h.reads("carl", onIRC(carl, "#ops"), "bob is here")

	t.Log("a bad file is refused whole")
	h.config(strings.Replace(onePerson, "people: [alice]", "people: [alcie]", 1))
	if out, errOut, code := h.try("reload"); code == 0 || !strings.Contains(out+errOut, "alcie") || !strings.Contains(out+errOut, "drawbridge.yaml:") {
		t.Errorf("reload of a bad file: exit %d\n%s%s", code, out, errOut)
	}
	b.say("bob is still here")
	h.reads("carl", onIRC(carl, channel), "bob is still here")

	t.Log("bob and #ops are removed")
	h.config(onePerson)
	h.ok("reload")
	carl.Say(channel, "for alice alone")
	h.reads("alice", heard(a), "for alice alone")
	if slices.ContainsFunc(b.Heard(botJID), hasAll([]string{"for alice alone"})) {
		t.Error("bob, who was removed, still hears the channel")
	}
	b.say("bob from outside")
	a.say("alice from inside")
	h.reads("carl", onIRC(carl, channel), "alice from inside")
	for _, l := range carl.Lines()[joined:] {
		if strings.Contains(l, "bob from outside") {
			t.Errorf("bob, who was removed, is still relayed: %q", l)
		}
		if strings.HasPrefix(l, ":bridge!") && (strings.Contains(l, " QUIT ") || strings.Contains(l, " JOIN :#dev")) {
			t.Errorf("the reload dropped a connection: %q", l)
		}
	}
	if n := strings.Count(h.log(), "msg=connected leg=bot"); n != 1 {
		t.Errorf("the XMPP leg connected %d times", n)
	}
	h.sealedOnly(prosody, "before", "for both", "bob is here", "bob is still here", "for alice alone", "bob from outside", "alice from inside")
}
