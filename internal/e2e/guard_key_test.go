//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// keyed holds #finance by a key that alice is told in her encrypted chat.
const keyed = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"], irc: {corp: {accounts: [alice]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    announce: off
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: allow, lock: {modes: +nt, rotate_key: 24h}}
`

var theKey = regexp.MustCompile(`The key of #finance on corp is ([a-z2-7]{20}): /join #finance ([a-z2-7]{20})`)

// A channel's key is told to who may join, in their own encrypted chat; another one
// replaces it in one step, on servers that do that differently; and the bot finds its
// way back in after a kill.
func TestGuardRotatesTheKey(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(h *house) *lab.IRCServer{
		"inspircd": func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{Fast: true}) },
		"ngircd":   func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{Fast: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ircd, prosody := start(h), h.Prosody(lab.Prosody{})
			h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
			prosody.AddUser(botName)
			alice := h.mcabber(prosody, h.person(prosody, "alice", lab.Key{}))
			carl := h.IRCUser(ircd, "carl", "#finance")
			h.config(keyed)
			bot := h.start()
			h.joins(carl, 0)
			carl.Send("MODE #finance +o bridge")
			h.guardSays([]string{"status"}, "corp/#finance: held, ")
			alice.Say(botJID, "here I am")

			// key waits until alice is told a key other than old.
			key := func(old string) (found string) {
				if !lab.Poll(wait, func() bool {
					for _, line := range heard(alice)() {
						if m := theKey.FindStringSubmatch(line); m != nil && m[1] == m[2] && m[1] != old {
							found = m[1]
						}
					}
					return found != ""
				}) {
					h.t.Fatalf("alice is told no key but %q:\n%s", old, strings.Join(heard(alice)(), "\n"))
				}
				return found
			}
			h.ok("guard", "enable", "finance")
			first := key("")
			eve := h.IRCUser(ircd, "eve")
			eve.Send("JOIN #finance")
			eve.Expect(" 475 ")
			eve.Send("JOIN #finance " + first)
			eve.Expect(" JOIN :#finance")

			h.ok("guard", "rotate-key", "finance")
			second := key(first)
			dora := h.IRCUser(ircd, "dora")
			dora.Send("JOIN #finance " + first)
			dora.Expect(" 475 ")
			dora.Send("JOIN #finance " + second)
			dora.Expect(" JOIN :#finance")

			bot.Kill()
			h.start()
			h.guardSays([]string{"status"}, "corp/#finance: NOT HELD: the bot has no op")
			carl.Send("MODE #finance +o bridge")
			h.guardSays([]string{"status"}, "corp/#finance: held, ")
			for _, shown := range []string{h.ok("guard", "audit"), h.ok("guard", "status"), h.log()} {
				if strings.Contains(shown, first) || strings.Contains(shown, second) {
					t.Errorf("a key is shown:\n%s", shown)
				}
			}
		})
	}
}

// A bot without bridges guards.
func TestGuardAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd := h.NgIRCd(lab.NgIRCd{Fast: true})
	h.vars["irc"] = localhost(ircd.TLSAddr)
	carl := h.IRCUserTLS(ircd, "carl", nil, "#lobby")
	h.config(`
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge}
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false}
rules:
  - {id: tls-only, rooms: [lobby], do: join, if: {tls: false}, effect: kick, reason: "use port 6697"}
`)
	if out := h.ok("check"); !strings.Contains(out, "1 guarded room") || strings.Contains(out, "encryption") {
		t.Errorf("check says\n%s", out)
	}
	bot := h.start()
	h.joins(carl, 0)
	carl.Send("MODE #lobby +o bridge")
	h.guardSays([]string{"status"}, "corp/#lobby: held, ")
	carl.Expect(" MODE #lobby +z")
	eve := h.IRCUser(ircd, "eve")
	eve.Send("JOIN #lobby")
	eve.Expect("(+z)") // the channel keeps her out by itself
	h.stop(bot)
}
