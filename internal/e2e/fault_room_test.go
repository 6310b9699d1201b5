//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// The bot is kicked from the channel, kicked from the room, and the room is
// destroyed and made anew, while everybody talks. What was said without it stays
// with those who were there; everything else arrives.
func TestFaultThrownOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tr := newTriangle(h, h.InspIRCd(lab.InspIRCd{Fast: true, History: true}), h.Prosody(lab.Prosody{Archive: true, Remade: true}), 200*time.Millisecond)
	r := rule{noHistory: true, notForUs: true}
	for range soak() {
		tr.load.goesOn(5)
		n := len(tr.dave.Lines())
		tr.carl.Send("KICK " + channel + " " + botName + " :for a while")
		h.joins(tr.dave, n)
		tr.load.goesOn(5)
		tr.judge("kicked from the channel", r)

		tr.dora.Send("<iq type='set' id='kick' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='bridge' role='none'/></query></iq>")
		h.statusShows("kicked from the room")
		tr.load.goesOn(5)
		h.ok("reload")
		h.statusShows(", ready")
		tr.load.goesOn(5)
		tr.judge("kicked from the room", r)

		tr.fromRoom.now(nil) // there is no room to speak in
		tr.dora.Send("<iq type='set' id='destroy' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy><reason>moving</reason></destroy></query></iq>")
		h.statusShows("the room was destroyed")
		tr.load.goesOn(5)
		tr.dora.JoinRoom(devRoom, "dora")
		tr.fromRoom.now(tr.dora.say)
		h.ok("reload")
		h.statusShows(", ready")
		tr.load.goesOn(5)
		tr.judge("room destroyed", r)
	}
}

// The room's server gives the bot another nick than it asked for (status 210):
// the one it has registered there. It knows its own lines by that.
func TestFaultRenamedByTheServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName, "dora")
	h.config(roomConfig)
	dora := &occupant{h.XMPPUser(prosody, "dora", "")}
	dora.JoinRoom(devRoom, "dora")
	result := func(u *lab.XMPPUser, id, iq string) {
		t.Helper()
		u.Send("<iq type='set' id='" + id + "' to='" + devRoom + "'>" + iq + "</iq>")
		st := u.Expect(func(st string) bool { return strings.HasPrefix(st, "<iq") && lab.Attr(st, "id") == id }, id)
		if lab.Attr(st, "type") != "result" {
			t.Fatalf("%s: %s", id, st)
		}
	}
	result(dora.XMPPUser, "member", "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='"+botJID+"' affiliation='member'/></query>")
	before := h.XMPPUser(prosody, botName, "before")
	result(before, "nick", "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>"+
		"<field var='muc#register_roomnick'><value>robot</value></field></x></query>")
	before.Close()
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	h.statusShows(", ready")
	var robot []string
	said := func() []string {
		robot = robot[:0]
		for _, st := range dora.Stanzas() {
			if body, ok := lab.Child(st, "body"); ok && strings.HasPrefix(st, "<message") && lab.Attr(st, "from") == devRoom+"/robot" {
				robot = append(robot, body)
			}
		}
		return robot
	}
	fromIRC, fromRoom := numbered("irc-line", 20), numbered("room-line", 20)
	for i := range fromIRC {
		carl.Say(channel, fromIRC[i])
		dora.say(fromRoom[i])
	}
	h.inOrder("dora", said, "irc-line", fromIRC)
	h.inOrder("carl", onIRC(carl, channel), "room-line", fromRoom)
	h.balanced()
	if slices.ContainsFunc(onIRC(carl, channel)(), hasAll([]string{"irc-line"})) {
		t.Error("the bot took its own lines for somebody's")
	}
	if !slices.ContainsFunc(dora.Stanzas(), func(st string) bool {
		return strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/robot"
	}) {
		t.Error("the server did not rename the bot")
	}
}

const roomConfig = houseConfig + `
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost}]}
    require: clear
    announce: off
`

// A room of sixty people, all of whom talk and all of whom hear the channel; some
// go and come again meanwhile.
func TestFaultBigRoom(t *testing.T) {
	t.Parallel()
	const people, lines = 60, 5
	h, ircd, prosody := newServed(t)
	h.config(roomConfig)
	carl := h.IRCUser(ircd, "carl", channel)
	crowd := make([]*occupant, people)
	for i := range crowd {
		name := fmt.Sprintf("guest%d", i)
		prosody.AddUser(name)
		crowd[i] = &occupant{h.XMPPUser(prosody, name, "")}
		crowd[i].JoinRoom(devRoom, name)
	}
	h.start()
	h.joins(carl, 0)
	h.statusShows(", ready")
	l := &load{h: h}
	carlSays := l.speaks("carl", time.Hour, func(text string) { carl.Say(channel, text) })
	var names []string
	for i, o := range crowd {
		name := fmt.Sprintf("guest%d", i)
		names = append(names, name)
		l.speaks(name, time.Hour, o.say)
	}
	l.reads("carl", heardOf(carl.Lines, channelText), names...)
	stays := crowd[people/2:]
	for i, o := range stays {
		l.reads(fmt.Sprintf("guest%d", people/2+i), heardOf(o.Stanzas, roomText), "carl")
	}
	for n := range lines {
		for _, s := range l.speakers {
			s.line()
		}
		for range 4 {
			carlSays.line()
		}
		name := fmt.Sprintf("guest%d", n) // they have to be in to speak
		crowd[n].Send("<presence type='unavailable' to='" + devRoom + "/" + name + "'/>")
		crowd[n].JoinRoom(devRoom, name)
	}
	for pair, v := range l.settle() {
		if !v.good() {
			t.Errorf("%s → %s: %s", pair[0], pair[1], v)
		}
	}
	led := h.balanced()
	t.Logf("%d people: %s", people, led)
	if want := uint64(lines*people + lines*5); led.Received != want || led.Relayed != want {
		t.Errorf("want %d lines received and relayed: %s", want, led)
	}
}
