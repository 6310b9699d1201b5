//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/internal/lab"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/stream"
)

// sink is a core that takes everything in and remembers it.
type sink struct{ bridgetest.Sink }

func (s *sink) message(text string) bool {
	return slices.ContainsFunc(s.Messages(), func(m bridge.Message) bool { return m.Text.Reveal() == text })
}

func (s *sink) event(kind bridge.EventKind, room, detail string) bool {
	return slices.ContainsFunc(s.Events(), func(e bridge.Event) bool {
		return e.Kind == kind && e.Room.Name == room && strings.Contains(e.Detail, detail)
	})
}

func (s *sink) proof(id string, o bridge.Outcome) bool { return s.Proof(id).Outcome == o }

// delivered returns the ids of what was proven, in that order.
func (s *sink) delivered() []string {
	var ids []string
	for _, p := range s.Proofs() {
		if p.Outcome == bridge.Delivered {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// await waits for what another process has to bring about.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !lab.Poll(3*time.Minute, cond) {
		t.Fatalf("waited in vain for %s", what)
	}
}

const devRoom = "dev@" + lab.Rooms

// house is a leg that runs against a real server.
type house struct {
	*lab.Lab
	server   *lab.XMPPServer
	ejabberd bool
	leg      *xmpp.Leg
	sink     *sink
	cursors  bridge.Cursors
	conf     xmpp.Config
	watched  func() // is called before Run
}

func onBoth(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	onBothWith(t, lab.Prosody{}, test)
}

func onBothWith(t *testing.T, prosody lab.Prosody, test func(t *testing.T, h *house)) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			h := &house{Lab: l, sink: &sink{}}
			if name == "prosody" {
				h.server = l.Prosody(prosody)
			} else {
				h.server, h.ejabberd = l.Ejabberd(lab.Ejabberd{}), true
			}
			h.prepare()
			test(t, h)
		})
	}
}

func newHouse(l *lab.Lab, server *lab.XMPPServer) *house {
	h := &house{Lab: l, sink: &sink{}, server: server}
	h.prepare()
	return h
}

func (h *house) prepare() {
	h.server.AddUser("alice", "mallory", "bot")
	h.conf = xmpp.Config{
		Name: "bot", JID: "bot@" + lab.Domain, Password: lab.Password, Server: h.server.Addr,
		TLS:    stream.TLS{CAFile: h.CA.File},
		People: []policy.Person{{Name: "alice", JIDs: []string{"alice@" + lab.Domain}}},
		Rooms:  []xmpp.RoomConfig{{JID: devRoom}}, Status: "here & <there>",
	}
}

// run starts the leg; it is stopped at the end of the test.
func (h *house) run(t *testing.T, schemes ...e2ee.Scheme) {
	t.Helper()
	h.runWith(t, h.sink, schemes...)
}

// runWith starts the leg with a core of the test's own. stop stops it; the end of
// the test does, too.
func (h *house) runWith(t *testing.T, core bridge.Sink, schemes ...e2ee.Scheme) (stop func()) {
	t.Helper()
	var err error
	h.leg, err = xmpp.New(h.conf, xmpp.Deps{Schemes: schemes, Cursors: h.cursors, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if h.watched != nil {
		h.watched()
	}
	leg := h.leg
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- leg.Run(ctx, core) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	await(t, "the stream", func() bool { return leg.Status().State == bridge.StateUp })
	return stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (h *house) room(name string) bridge.RoomStatus {
	for _, r := range h.leg.Status().Rooms {
		if r.Room.Name == name {
			return r
		}
	}
	return bridge.RoomStatus{}
}

func (h *house) out(kind bridge.RoomKind, name, id, text string) bridge.Outgoing {
	m := bridge.Outgoing{ID: id, To: bridge.Room{Leg: "bot", Kind: kind, Name: name}, Text: bridge.NewText(text)}
	m.Clear, _ = bridge.NewClearRoom(m.To, policy.Floor{})
	return m
}

// friend logs alice in, agreed with the bot.
func (h *house) friend(t *testing.T) *lab.XMPPUser {
	t.Helper()
	alice := h.XMPPUser(h.server, "alice", "psi")
	alice.Presence("")
	alice.Expect(func(st string) bool {
		return strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "subscribe"
	}, "the bot's subscription request")
	alice.Send("<presence type='subscribed' to='bot@localhost'/><presence type='subscribe' to='bot@localhost'/>")
	alice.Expect(func(st string) bool {
		return strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "" && strings.HasPrefix(lab.Attr(st, "from"), "bot@localhost/") &&
			strings.Contains(st, "here &amp; &lt;there")
	}, "the bot's presence")
	await(t, "alice online", func() bool { return h.sink.event(bridge.RoomUp, "alice", "") })
	return alice
}

func TestChatAndRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.run(t)
		await(t, "the room, proven before anybody speaks", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)

		alice.Send("<message type='chat' to='bot@localhost' id='q1'><body>hello bot</body><request xmlns='urn:xmpp:receipts'/></message>")
		await(t, "alice's line", func() bool { return h.sink.message("hello bot") })
		alice.Expect(func(st string) bool {
			return strings.Contains(st, "urn:xmpp:receipts") && strings.Contains(st, "received") && strings.Contains(st, "q1")
		}, "the receipt")
		if err := h.leg.Send(context.Background(), h.out(bridge.Chat, "alice", "m1", "hello alice & <you>")); err != nil {
			t.Fatal(err)
		}
		alice.Expect(func(st string) bool { return strings.Contains(st, "hello alice &amp; &lt;you") }, "the bot's line")
		await(t, "the proof", func() bool { return h.sink.proof("m1", bridge.Delivered) })

		alice.JoinRoom(devRoom, "alice")
		await(t, "alice in the room", func() bool { return h.sink.event(bridge.Joined, devRoom, "") })
		alice.Send("<message type='groupchat' to='" + devRoom + "' id='g1'><body>hello room</body></message>")
		await(t, "alice's line in the room", func() bool { return h.sink.message("hello room") })
		for i := range 30 {
			if err := h.leg.Send(context.Background(), h.out(bridge.MUC, devRoom, fmt.Sprint("r", i), fmt.Sprint("line ", i))); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the reflections", func() bool { return h.sink.proof("r29", bridge.Delivered) && h.sink.proof("r0", bridge.Delivered) })
		alice.Expect(func(st string) bool { return strings.Contains(st, "line 29") }, "the last line")
		if r := h.room(devRoom); !r.Proven || len(r.Members) != 2 {
			t.Errorf("room status: %+v", r)
		}
		if h.sink.message("line 0") {
			t.Error("our own line came back as a message")
		}
		// A private message in the room is nobody's.
		alice.Send("<message type='chat' to='" + devRoom + "/bot'><body>private</body></message>")
		alice.Chat("bot@localhost", "<body>after</body>")
		await(t, "the line after", func() bool { return h.sink.message("after") })
		if h.sink.message("private") {
			t.Error("a private message of the room was relayed")
		}
	})
}

func TestServerKilled(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.run(t)
		await(t, "the room", func() bool { return h.room(devRoom).State == bridge.StateUp })
		h.friend(t)
		h.sink.Forget()
		if h.ejabberd {
			h.server.Stop() // a kill so soon makes it forget the accounts
		} else {
			h.server.Kill()
		}
		await(t, "the end", func() bool { return h.sink.event(bridge.LegDown, "", "") })
		if st := h.room(devRoom); st.State != bridge.StateDown || st.Detail != "not connected" {
			t.Errorf("the room while down: %+v", st)
		}
		h.server.Restart()
		began := time.Now()
		await(t, "the room again", func() bool { return h.room(devRoom).State == bridge.StateUp })
		t.Logf("back in the room %v after the repair", time.Since(began))
		// The server has no session to resume.
		if !h.sink.event(bridge.RoomDown, devRoom, "") || !h.sink.event(bridge.RoomDown, "alice", "") {
			t.Error("rooms were not reported down")
		}
		alice := h.XMPPUser(h.server, "alice", "psi")
		alice.Presence("")
		await(t, "alice again", func() bool { return h.sink.event(bridge.RoomUp, "alice", "") })
	})
}
