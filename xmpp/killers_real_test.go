//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/e2ee"
)

// The session-killers known of mellium's session, each against real servers: the
// stream that was opened first has to be the one that still works at the end.

// panics is a scheme that panics wherever it is asked about a message.
type panics struct{}

func (panics) Name() string { return "panics" }

func (panics) Claims(in e2ee.Incoming) bool {
	for _, c := range in.Children {
		switch c.Space {
		case "test:claims":
			panic("claims")
		case "test:open":
			return true
		}
	}
	return false
}

func (panics) Reach(e2ee.Peer) (policy.Rung, error) { return policy.Verified, nil }

func (panics) Seal(context.Context, e2ee.Peer, e2ee.Plain) (e2ee.Payload, error) { panic("seal") }

func (panics) Open(context.Context, e2ee.Peer, e2ee.Incoming) (e2ee.Opened, error) { panic("open") }

// alive checks that the first stream still carries lines both ways.
func (h *house) alive(t *testing.T, alice *lab.XMPPUser, after string) {
	t.Helper()
	alice.Chat("bot@localhost", "<body>after "+after+"</body>")
	await(t, "a line after "+after, func() bool { return h.sink.message("after " + after) })
	if err := h.leg.Send(context.Background(), h.out(bridge.Chat, "alice", "id-"+after, "answer after "+after)); err != nil {
		t.Fatal(err)
	}
	alice.Expect(func(st string) bool { return strings.Contains(st, "answer after "+after) }, "the answer after "+after)
	await(t, "the proof after "+after, func() bool { return h.sink.proof("id-"+after, bridge.Delivered) })
	if n := h.leg.Counts()["streams"]; n != 1 {
		t.Fatalf("after %s: %d streams were opened", after, n)
	}
}

func TestSessionKillers(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.conf.Rooms = append(h.conf.Rooms, xmpp.RoomConfig{JID: "never@nowhere.invalid"})
		h.run(t, panics{})
		await(t, "the room", func() bool { return h.room(devRoom).State == bridge.StateUp })
		alice := h.friend(t)

		alice.Chat("bot@localhost", "<x xmlns='test:claims'/>")
		alice.Chat("bot@localhost", "<x xmlns='test:open'/>")
		out := h.out(bridge.Chat, "alice", "sealed", "x")
		out.Floor, out.Schemes = policy.Sealed, []string{"panics"}
		if err := h.leg.Send(context.Background(), out); err == nil {
			t.Error("a scheme that panics sealed")
		}
		h.alive(t, alice, "panics")
		if n := h.leg.Counts()["panics"]; n != 3 {
			t.Errorf("%d panics counted, not 3", n)
		}

		alice.Send("<message to='bot@localhost'><x xmlns='http://jabber.org/protocol/muc#user'><invite from='@@@'><reason/></invite><status code='x'/><item jid='///'/></x></message>" +
			"<message to='bot@localhost'><x xmlns='jabber:x:conference' jid='@'/></message>" +
			"<message to='bot@localhost' type='chat'><received xmlns='urn:xmpp:receipts'/><delay xmlns='urn:xmpp:delay' stamp='x'/></message>" +
			"<message to='bot@localhost' type='chat'><sent xmlns='urn:xmpp:carbons:2'/><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></received></message>" +
			"<presence to='bot@localhost'><c xmlns='http://jabber.org/protocol/caps'/><x xmlns='jabber:x:signed'>rubbish</x></presence>" +
			"<iq to='bot@localhost/drawbridge' type='set' id='k1'><query xmlns='jabber:iq:roster'><item jid='@'/></query></iq>" +
			"<iq to='bot@localhost/drawbridge' type='result' id='k2'><a xmlns='b'/></iq>" +
			"<iq to='bot@localhost/drawbridge' type='error' id='k3'/>")
		h.alive(t, alice, "malformed children")

		began := time.Now()
		alice.Send("<iq to='bot@localhost/drawbridge' type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>" +
			"<iq to='bot@localhost/drawbridge' type='get' id='p2'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>" +
			"<iq to='bot@localhost/drawbridge' type='get' id='p3'><nothing xmlns='a:b'/></iq>")
		for _, id := range []string{"p1", "p2", "p3"} {
			alice.Expect(func(st string) bool { return strings.HasPrefix(st, "<iq") && lab.Attr(st, "id") == id }, "the answer to "+id)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("answers took %v", d)
		}
		h.alive(t, alice, "questions")

		if strings.HasSuffix(t.Name(), "/prosody") { // ejabberd's shaper takes minutes for it
			// An answer repeats the id of its question, a receipt twice: "XML stanza is too
			// big", and again when the server delivers the question again.
			// Each quote is six bytes on its way on. The blanks make the server look: expat
			// since 2.5.0-1+deb12u2 puts off a long tag until as much again has come.
			alice.Send("<message to='bot@localhost' type='chat' id='" + strings.Repeat(`"`, 30_000) + "'><body>long id</body><request xmlns='urn:xmpp:receipts'/></message>" + strings.Repeat(" ", 60_000))
			h.alive(t, alice, "long ids")
		}

		// Contexts that end at once: 800 sends of 4 goroutines.
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 200 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					err := h.leg.Send(ctx, h.out(bridge.Chat, "alice", fmt.Sprintf("x%d-%d", g, i), "y"))
					cancel()
					if err != nil {
						t.Errorf("send %d-%d: %v", g, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for g := range 4 {
			for _, i := range []int{0, 100, 199} {
				await(t, "the proofs", func() bool { return h.sink.proof(fmt.Sprintf("x%d-%d", g, i), bridge.Delivered) })
			}
		}
		h.alive(t, alice, "cancelled contexts")

		// A question that nobody answers: a room of a domain that is not there.
		if r := h.room("never@nowhere.invalid"); r.State == bridge.StateUp {
			t.Errorf("a room of nowhere: %+v", r)
		}
		h.alive(t, alice, "unanswered questions")
	})
}

// TestBlackHole: a link that swallows everything is found dead, the leg comes
// back, and what was sent into the hole arrives.
func TestBlackHole(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		h.conf.PingAfter, h.conf.PingTimeout = 2*time.Second, 2*time.Second
		h.run(t)
		await(t, "the room", func() bool { return h.room(devRoom).State == bridge.StateUp })
		h.sink.Forget()
		proxy.BlackHole()
		if err := h.leg.Send(context.Background(), h.out(bridge.MUC, devRoom, "lost", "into the hole")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		await(t, "the end", func() bool { return h.sink.event(bridge.LegDown, "", "does not answer") })
		t.Logf("found dead after %v", time.Since(began))
		proxy.Restore()
		await(t, "the room again", func() bool { return h.room(devRoom).State == bridge.StateUp })
		await(t, "the line", func() bool { return h.sink.proof("lost", bridge.Delivered) })
		if h.leg.Counts()["resumed"] != 1 {
			t.Errorf("not resumed: %v", h.leg.Counts())
		}
	})
}

// configure submits a room's configuration as its owner.
func configure(alice *lab.XMPPUser, id string, fields ...string) {
	form := "<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
	for i := 0; i < len(fields); i += 2 {
		form += "<field var='muc#roomconfig_" + fields[i] + "'><value>" + fields[i+1] + "</value></field>"
	}
	alice.Send("<iq type='set' id='" + id + "' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>" + form + "</x></query></iq>")
	alice.Expect(func(st string) bool { return lab.Attr(st, "id") == id && lab.Attr(st, "type") == "result" }, "the configuration")
}

// TestRoomRefusals has an owner lock the bot out in all the ways there are, and
// let it in again.
func TestRoomRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		alice := h.XMPPUser(h.server, "alice", "psi")
		alice.Presence("")
		alice.JoinRoom(devRoom, "bot") // the bot's nick
		configure(alice, "c1", "passwordprotectedroom", "1", "roomsecret", "sesame", "moderatedroom", "0")
		h.run(t)
		refused := func(says string) {
			t.Helper()
			await(t, "refused: "+says, func() bool {
				r := h.room(devRoom)
				return r.State == bridge.StateRefused && strings.Contains(r.Detail, says)
			})
		}
		reload := func() {
			t.Helper()
			if err := h.leg.Reconfigure(h.conf); err != nil {
				t.Fatal(err)
			}
		}
		up := func(says string) {
			t.Helper()
			await(t, "in the room: "+says, func() bool {
				r := h.room(devRoom)
				return r.State == bridge.StateUp && strings.Contains(r.Detail, says)
			})
		}
		refused("password")
		h.conf.Rooms[0].Password = "sesame"
		reload()
		up("joined as bot_: the nick bot is taken")

		alice.Send("<iq type='set' id='k1' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='bot_' role='none'><reason>rest</reason></item></query></iq>")
		refused("kicked from the room")
		alice.Send("<presence to='" + devRoom + "/alice'/>") // frees the nick
		alice.Expect(func(st string) bool { return lab.Attr(st, "from") == devRoom+"/alice" }, "the new nick")
		reload()
		up("")
		if m := h.room(devRoom).Members; len(m) != 2 || m[0] != "alice" || m[1] != "bot" {
			t.Errorf("members: %q", m)
		}

		configure(alice, "c2", "membersonly", "1", "passwordprotectedroom", "0", "moderatedroom", "0")
		if h.room(devRoom).State == bridge.StateUp { // Prosody puts non-members out at once, ejabberd too
			await(t, "the end of the membership", func() bool { return h.room(devRoom).State != bridge.StateUp })
		}
		refused("members-only")
		alice.Send("<iq type='set' id='m1' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='bot@localhost' affiliation='member'/></query></iq>")
		alice.Expect(func(st string) bool { return lab.Attr(st, "id") == "m1" }, "the membership")
		reload()
		up("")

		// In a members-only room Prosody calls the banned "not a member", too.
		configure(alice, "c3", "membersonly", "0", "moderatedroom", "0")
		alice.Send("<iq type='set' id='b1' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='bot@localhost' affiliation='outcast'><reason>spam</reason></item></query></iq>")
		refused("banned from the room")
		reload()
		refused("banned from the room")
		if n := h.leg.Counts()["streams"]; n != 1 {
			t.Errorf("%d streams were opened", n)
		}
	})
}
