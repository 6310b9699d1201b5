//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"

	"drawbridge/internal/lab"
)

// Scenario: the bot is killed in the middle of what it does in a Jabber room: as the list
// of members is written and the door is not shut yet, and as a ban is on disk and the room
// knows nothing of it. The next process does the rest, and no staff is put out.
func TestGuardedMUCKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		proxy := h.Proxy(s.Addr)
		h.vars["xmpp"] = localhost(proxy.Addr)
		carol := h.owner(s, "carol", devRoomJID)
		alice, mallory := h.XMPPUser(s, "alice", ""), h.XMPPUser(s, "mallory", "")
		for nick, u := range map[string]*lab.XMPPUser{"alice": alice, "mallory": mallory} {
			u.Presence("")
			u.JoinRoom(devRoomJID, nick)
		}
		h.config(guardedRoom)
		bot := h.start()
		h.guardShows("status", "office: dry run", "to change: ")

		t.Log("the list is written, and the door is open")
		written := make(chan struct{})
		var once sync.Once
		carol.Each(func(st string) { // on the wire: what the bot is answered from now on is lost
			if strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/alice" && strings.Contains(st, "member") {
				once.Do(func() { proxy.Deafen(); close(written) })
			}
		})
		h.ok("guard", "enable", "office")
		h.Await(wait, "the list", func() bool {
			select {
			case <-written:
				return true
			default:
				return false
			}
		})
		bot.Kill()
		proxy.Restore()
		t.Logf("killed; the room's members-only is %s", carol.configured(devRoomJID, "membersonly"))
		bot = h.start()
		out(mallory, "mallory", "")
		comesTo(t, "the door", func() string { return seat(mallory, "mallory") }, "registration-required")
		h.guardShows("status", "office: armed", "dev@rooms.localhost: held")
		for _, st := range alice.Stanzas() {
			if lab.Attr(st, "type") == "unavailable" && lab.Attr(st, "from") == devRoom+"/alice" {
				t.Errorf("alice was put out: %s", st)
			}
		}

		t.Log("a ban is kept, and not carried out")
		proxy.BlackHole()
		h.ok("guard", "ban", "alice", "--for", "1h")
		bot.Kill()
		if got := carol.holders(devRoomJID, "outcast"); len(got) > 0 {
			t.Errorf("the ban was carried out through a link that is dead: %q", got)
		}
		proxy.Restore()
		bot = h.start()
		out(alice, "alice", "301")
		comesTo(t, "the outcasts", func() string { return strings.Join(carol.holders(devRoomJID, "outcast"), " ") }, "alice@localhost")

		t.Log("it is forgiven, and that is not carried out")
		h.guardShows("status", "dev@rooms.localhost: held", "1 ban in force")
		proxy.BlackHole()
		h.ok("guard", "forgive", "alice")
		bot.Kill()
		proxy.Restore()
		h.start()
		comesTo(t, "alice", func() string { return seat(alice, "alice") }, "in")
		h.guardHides("status", "in force")
		comesTo(t, "the members", func() string { return strings.Join(carol.holders(devRoomJID, "member"), " ") }, "alice@localhost")
	})
}
