//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

const devRoom = "dev@" + lab.Rooms

// Scenario 2: on other servers, a channel, a room and one person with GPG are in
// the same bridge. The room hears everything in clear, as its entry says; to
// the person nothing goes but sealed.
func TestChannelRoomAndOnePersonWithGPG(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, ejabberd := h.NgIRCd(lab.NgIRCd{Fast: true}), h.Ejabberd(lab.Ejabberd{Trace: true})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(ejabberd.Addr)
	ejabberd.AddUser(botName, "dora")
	bob := h.person(ejabberd, "bob", lab.Key{})
	h.config(houseConfig + `
people:
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp:
      account: bot
      people: [bob]
      rooms: [{room: dev@rooms.localhost, require: clear}]
    announce: off
`)
	carl := h.IRCUser(ircd, "carl", channel)
	dora := &occupant{h.XMPPUser(ejabberd, "dora", "")}
	dora.JoinRoom(devRoom, "dora")
	h.start()
	carl.Expect(":bridge!")
	dora.Expect(func(st string) bool {
		return strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/bridge"
	}, "the bot in the room")
	mcab := h.mcabber(ejabberd, bob)
	h.statusShows(", ready")

	carl.Say(channel, "from irc: grüße")
	h.reads("dora", dora.lines, "carl", "from irc: grüße")
	h.reads("bob", heard(mcab), "carl", "from irc: grüße")
	dora.say("from the room: grüße")
	h.reads("carl", onIRC(carl, channel), "dora", "from the room: grüße")
	h.reads("bob", heard(mcab), "dora", "from the room: grüße")
	mcab.Say(botJID, "from bob: grüße")
	h.reads("carl", onIRC(carl, channel), "bob", "from bob: grüße")
	h.reads("dora", dora.lines, "bob", "from bob: grüße")

	fromIRC, fromRoom := numbered("irc-line", 30), numbered("room-line", 30)
	for i := range fromIRC {
		carl.Say(channel, fromIRC[i])
		dora.say(fromRoom[i])
	}
	h.inOrder("dora", dora.lines, "irc-line", fromIRC)
	h.inOrder("bob", heard(mcab), "irc-line", fromIRC)
	h.inOrder("carl", onIRC(carl, channel), "room-line", fromRoom)
	h.inOrder("bob", heard(mcab), "room-line", fromRoom)

	// The person's copies were sealed: in clear the words went to the room only.
	for _, st := range ejabberd.Stanzas() {
		if strings.Contains(st.XML, "irc-line") && !strings.Contains(st.XML, devRoom) {
			t.Errorf("in clear outside the room: %s", st.XML)
		}
	}
	if l := dora.lines(); slices.ContainsFunc(l, func(s string) bool { return strings.Contains(s, "room-line") }) {
		t.Error("the room heard its own lines again")
	}
}

// occupant is somebody in devRoom.
type occupant struct{ *lab.XMPPUser }

func (o *occupant) say(text string) {
	o.Send("<message type='groupchat' to='" + devRoom + "' id='" + lab.Escape(text) + "'><body>" + lab.Escape(text) + "</body></message>")
}

// lines returns what the bot said in the room.
func (o *occupant) lines() []string {
	var out []string
	for _, st := range o.Stanzas() {
		if strings.HasPrefix(st, "<message") && lab.Attr(st, "from") == devRoom+"/bridge" {
			if body, ok := lab.Child(st, "body"); ok {
				out = append(out, body)
			}
		}
	}
	return out
}
