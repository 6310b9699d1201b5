//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// Two bots that join the same channel to the same room, which nobody should do:
// each line passes, and none goes round.
func TestTwoBotsBetweenTheSameRooms(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName, "bridge2", "dora")
	const plain = houseConfig + `
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost}]}
    require: clear
    announce: off
`
	h.config(plain)
	second := *h
	second.dir = filepath.Join(h.Dir, "bot2")
	second.vars = map[string]string{"irc": h.vars["irc"], "xmpp": h.vars["xmpp"], "ca": h.vars["ca"], "socket": filepath.Join(second.dir, "admin.sock")}
	h.must(os.MkdirAll(filepath.Join(second.dir, "keys"), 0o700))
	second.ok("keys", "generate", "--jid", "bridge2@localhost", "--out", filepath.Join(second.dir, "bot.asc"))
	second.file("password", lab.Password+"\n")
	second.config(strings.NewReplacer("nick: bridge", "nick: bridge2", "jid: bridge@", "jid: bridge2@").Replace(plain))

	carl := h.IRCUser(ircd, "carl", channel)
	dora := &occupant{h.XMPPUser(prosody, "dora", "")}
	dora.JoinRoom(devRoom, "dora")
	h.start()
	second.start()
	h.statusShows(", ready")
	second.statusShows(", ready")

	inRoom := func(word string) int {
		n := 0
		for _, st := range dora.Stanzas() {
			if body, ok := lab.Child(st, "body"); ok && strings.Contains(body, word) {
				n++
			}
		}
		return n
	}
	inChannel := func(word string) int {
		n := 0
		for _, s := range carl.Heard(channel) {
			if strings.Contains(s.Text, word) {
				n++
			}
		}
		return n
	}
	lines := numbered("round-and-round", 10)
	for _, l := range lines {
		carl.Say(channel, l)
		dora.say("room " + l)
	}
	carl.Say(channel, "channel-fence")
	dora.say("room-fence")
	for _, l := range append(lines, "channel-fence") {
		h.Await(wait, l+" reaches the room", func() bool { return inRoom(l) >= 1 })
	}
	h.Await(wait, "the room's lines reach the channel", func() bool { return inChannel("room-fence") >= 1 })
	// Had a line gone round, it would have been behind these in every queue: one
	// more line there and back settles it.
	carl.Say(channel, "last-1")
	h.Await(wait, "last-1", func() bool { return inRoom("last-1") >= 1 })
	dora.say("last-2")
	h.Await(wait, "last-2", func() bool { return inChannel("last-2") >= 1 })
	for _, l := range lines {
		// dora sees her own line, and at most one copy of each bot of carl's.
		if n := inRoom(l); n > 1+2 {
			t.Errorf("the room saw %q %d times", l, n)
		}
		if n := inChannel("room " + l); n > 2 {
			t.Errorf("the channel saw %q %d times", l, n)
		}
		if n := inChannel(l) - inChannel("room "+l); n > 0 {
			t.Errorf("%d copies of %q came back to the channel", n, l)
		}
	}
}
