//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// guarded holds #finance for two people with accounts; one of them also has a bridge.
const guarded = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"], irc: {corp: {accounts: [carlacct]}}}
  bob: {irc: {corp: {accounts: [bobacct]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    announce: off
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: deny}
rules:
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [alice, bob]}, effect: allow, reason: "Ask alice"}
safety: {protected: [alice]}
`

// guardSays waits until an order to the guard is answered so.
func (h *house) guardSays(args []string, want string) {
	h.t.Helper()
	out, errOut := "", ""
	if !lab.Poll(wait, func() bool {
		out, errOut, _ = h.try(append([]string{"guard"}, args...)...)
		return strings.Contains(out, want)
	}) {
		h.t.Fatalf("guard %s never says %q, but\n%s%s", strings.Join(args, " "), want, out, errOut)
	}
}

// A new room begins in dry run; enabled, the guard removes who has no right, and
// lets in who has. That outlives a kill of the bot. Who is taken out of the
// configuration is shown out.
func TestGuardIsArmed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	h.person(prosody, "alice", lab.Key{})
	ircd.Register("bridgeacct", "sesame")
	h.file("services", "sesame\n")
	ircd.Register("carlacct", "sesame")
	ircd.Register("bobacct", "sesame")
	members := h.members(ircd, "carl", "bob")
	carl, bob := members[0], members[1]
	carl.Join("#finance")
	h.config(guarded)
	bot := h.start()
	carl.Expect(":bridge!bridge@127.0.0.1 JOIN :#finance")
	carl.Send("MODE #finance +o bridge")
	h.guardSays([]string{"status"}, "corp/#finance: held, ")

	t.Log("dry run: what would be done stands in the audit, and is not done")
	eve := h.IRCUser(ircd, "eve", "#finance")
	h.guardSays([]string{"audit", "--who", "eve"}, "join -> deny")
	if out := h.ok("guard", "audit", "--who", "eve"); !strings.Contains(out, "(dry run)") {
		t.Errorf("audit\n%s", out)
	}
	if out := h.ok("guard", "explain", "eve", "finance"); !strings.Contains(out, "-> DENY") || !strings.Contains(out, "needs alice or bob") {
		t.Errorf("explained as\n%s", out)
	}
	if strings.Contains(strings.Join(eve.Lines(), "\n"), " KICK ") {
		t.Error("eve was kicked in a dry run")
	}

	t.Log("armed")
	h.ok("guard", "enable", "corp/#finance")
	eve.Expect(" KICK #finance eve ")
	bob.Join("#finance")
	h.guardSays([]string{"status"}, "finance: armed")
	h.guardSays([]string{"audit", "--who", "eve"}, "(sent")
	if out := h.ok("guard", "simulate", "drawbridge.yaml"); !strings.Contains(out, " 0 decided otherwise") {
		t.Errorf("the same rules decide otherwise:\n%s", out)
	}

	t.Log("a kill changes nothing")
	bot.Kill()
	h.start()
	h.guardSays([]string{"status"}, "finance: armed")
	h.guardSays([]string{"status"}, "corp/#finance: NOT HELD: the bot has no op")
	carl.Send("MODE #finance +o bridge")
	h.guardSays([]string{"status"}, "corp/#finance: held, ")

	t.Log("bob is taken out of the configuration")
	h.config(strings.NewReplacer("  bob: {irc: {corp: {accounts: [bobacct]}}}\n", "", "people: [alice, bob]", "people: [alice]").Replace(guarded))
	h.ok("reload")
	bob.Expect(" KICK #finance bob ")
	h.guardSays([]string{"audit", "--who", "bob"}, "off-boarding bob (taken out of the configuration)")
	if strings.Contains(strings.Join(carl.Lines(), "\n"), " KICK #finance carl ") {
		t.Error("carl, who is protected, was kicked")
	}
	h.guardSays([]string{"status"}, "corp/#finance: held, ")
}
