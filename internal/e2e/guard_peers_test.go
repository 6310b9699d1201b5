//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// sharedRoom is a room that two guards hold; ${peer} is what the other one is called and
// known by.
const sharedRoom = `
accounts:
  bot: {jid: "${jid}/bridge", server: "${xmpp}", ca_file: "${ca}", password_file: password}
store: {path: store}
people:
  alice: {jids: [alice@localhost], groups: [staff]}
  carol: {jids: [carol@localhost], groups: [staff]}
rooms:
  office:
    xmpp: {account: bot, room: dev@rooms.localhost}
    default: deny
    lock: {affiliations: true}
    dry_run: false
rules:
  - {id: staff-in, do: [join, speak], who: {groups: [staff]}, effect: allow}
safety:
  id: "${id}"
  peers: {"${peer}": {jids: ["${peerjid}"]}}
  max_removals: {count: 20, share: 100%}
`

// twin is a second bot of the house, with a folder of its own.
func (h *house) twin(vars map[string]string) *house {
	h.t.Helper()
	second := *h
	second.dir = filepath.Join(h.Dir, "bot2")
	h.must(os.MkdirAll(filepath.Join(second.dir, "keys"), 0o700))
	second.vars = map[string]string{"socket": filepath.Join(second.dir, "admin.sock")}
	for _, name := range []string{"ca", "irc", "xmpp"} {
		second.vars[name] = h.vars[name]
	}
	for name, v := range vars {
		second.vars[name] = v
	}
	second.file("password", lab.Password+"\n")
	return &second
}

// Scenario: two Drawbridges hold one MUC. The one with the lower id acts and makes the
// other one owner; that one watches, takes over when the first is gone, and hands back when it
// returns. Neither touches the other, and a ban ordered at one that watches ends by it, too.
func TestTwoGuardsOfAMUC(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		s.AddUser("bridge2")
		h.vars["jid"], h.vars["id"], h.vars["peer"], h.vars["peerjid"] = botJID, "a", "b", "bridge2@localhost"
		b := h.twin(map[string]string{"jid": "bridge2@localhost", "id": "b", "peer": "a", "peerjid": botJID})
		h.config(sharedRoom)
		b.config(sharedRoom)
		first := h.start()
		h.guardShows("status", "dev@rooms.localhost: held")
		second := b.start()
		b.guardShows("status", "dev@rooms.localhost: held", "guard a acts here and this one watches")
		alice, carol, mallory := h.XMPPUser(s, "alice", ""), h.XMPPUser(s, "carol", ""), h.XMPPUser(s, "mallory", "")
		comesTo(t, "alice", func() string { return seat(alice, "alice") }, "in")

		t.Log("the first acts alone")
		comesTo(t, "the door", func() string { return seat(mallory, "mallory") }, "registration-required")

		t.Log("a ban that is ordered at the second")
		comesTo(t, "carol", func() string { return seat(carol, "carol") }, "in")
		b.ok("guard", "ban", "carol")
		comesTo(t, "carol in", func() bool { return seat(carol, "carol") == "in" }, false)
		b.ok("guard", "forgive", "carol")
		comesTo(t, "carol", func() string { return seat(carol, "carol") }, "in")

		t.Log("the first is gone: the second lets in who comes new")
		h.stop(first)
		b.guardHides("status", "this one watches")
		b.config(strings.Replace(sharedRoom, "carol: {", "mallory: {jids: [mallory@localhost], groups: [staff]}\n  carol: {", 1))
		b.ok("reload")
		comesTo(t, "mallory", func() string { return seat(mallory, "mallory") }, "in")

		t.Log("it returns, acts again, and takes back what its own rules do not give")
		first = h.start()
		b.guardShows("status", "guard a acts here and this one watches")
		comesTo(t, "the door", func() string { return seat(mallory, "mallory") }, "registration-required")

		for _, x := range []*house{h, b} {
			if log := x.log(); strings.Contains(log, "again and again") || strings.Contains(log, "lost its rights") || strings.Contains(log, "is owner too") {
				t.Errorf("the two quarrel:\n%s", log)
			}
		}
		for _, st := range alice.Stanzas() {
			from := lab.Attr(st, "from")
			if strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "unavailable" && strings.HasPrefix(from, devRoom+"/bridge") && strings.Contains(st, "status code") &&
				(strings.Contains(st, "307") || strings.Contains(st, "301") || strings.Contains(st, "321")) {
				t.Errorf("a guard was removed: %s", st)
			}
		}
		h.stop(second)
		h.stop(first)
	})
}

// sharedChannel is a channel that two guards hold.
const sharedChannel = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: "${nick}", sasl: {mechanism: plain, account: "${nick}acct", password_file: services}}
store: {path: store}
people:
  alice: {irc: {corp: {accounts: [aliceacct]}}, groups: [staff]}
rooms:
  office:
    irc: {network: corp, channel: "#dev"}
    default: deny
    lock: {modes: +nts}
    dry_run: false
rules:
  - {id: staff-in, do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: staff-op, do: [op], who: {groups: [staff]}, effect: allow}
safety:
  id: "${id}"
  peers: {"${peer}": {irc: {corp: {account: "${peernick}acct"}}}}
`

// Scenario: two Drawbridges hold one channel. The one that is there gives the other one
// the way in and op; the one with the lower id sets back what others change, the other
// does while it is away.
func TestTwoGuardsOfAChannel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	h.vars["irc"] = localhost(ircd.TLSAddr)
	for _, account := range []string{"bridgeacct", "bridge2acct", "aliceacct"} {
		ircd.Register(account, "sesame")
	}
	h.vars["xmpp"] = ""
	h.vars["nick"], h.vars["id"], h.vars["peer"], h.vars["peernick"] = "bridge", "a", "b", "bridge2"
	b := h.twin(map[string]string{"nick": "bridge2", "id": "b", "peer": "a", "peernick": "bridge"})
	for _, x := range []*house{h, b} {
		x.file("services", "sesame\n")
		x.config(sharedChannel)
	}
	alice := h.identified(ircd, "alice", "aliceacct")
	alice.Join(channel)
	first := h.start()
	alice.Expect(":bridge!bridge@127.0.0.1 JOIN :#dev")
	alice.Send("MODE #dev +o bridge")
	h.guardShows("status", "corp/#dev: held")

	since := 0
	seen := func(part string) {
		t.Helper()
		comesTo(t, part, func() bool {
			for _, l := range alice.Lines()[since:] {
				if strings.HasPrefix(l, strings.Fields(part)[0]) && strings.Contains(l, strings.Join(strings.Fields(part)[1:], " ")) {
					return true
				}
			}
			return false
		}, true)
	}
	b.start()
	seen(":bridge! MODE #dev +o :bridge2")
	b.guardShows("status", "corp/#dev: held", "guard a acts here and this one watches")
	setBack := func(by string) {
		t.Helper()
		since = len(alice.Lines())
		alice.Send("MODE #dev -s")
		seen(":" + by + "! MODE #dev :+s")
	}
	setBack("bridge")
	h.stop(first)
	b.guardHides("status", "this one watches")
	setBack("bridge2")
	since = len(alice.Lines())
	h.start()
	seen(":bridge2! MODE #dev +o :bridge")
	b.guardShows("status", "guard a acts here and this one watches")
	setBack("bridge")
	for _, l := range alice.Lines() {
		if strings.Contains(l, " KICK #dev bridge") || strings.Contains(l, " MODE #dev -o :bridge") {
			t.Errorf("a guard was removed: %s", l)
		}
	}
	for _, x := range []*house{h, b} {
		if strings.Contains(x.log(), "again and again") {
			t.Errorf("the two quarrel:\n%s", x.log())
		}
	}
}
