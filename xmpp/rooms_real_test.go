//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
)

// own makes alice the owner of the room, before the bot comes.
func own(h *house) *lab.XMPPUser {
	alice := h.XMPPUser(h.server, "alice", "psi")
	alice.Presence("")
	alice.JoinRoom(devRoom, "alice")
	configure(alice, "own", "moderatedroom", "0", "persistentroom", "1")
	return alice
}

// TestPutOutUnderLoad: the bot is kicked, or the room is destroyed, while lines are
// on their way. It does not come back by itself; once it may, every line has arrived
// once, in order, what was said meanwhile is not relayed, and the gap is told.
func TestPutOutUnderLoad(t *testing.T) {
	kick := func(alice *lab.XMPPUser) {
		alice.Send("<iq type='set' id='out' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='bot' role='none'/></query></iq>")
	}
	destroy := func(alice *lab.XMPPUser) {
		alice.Send("<iq type='set' id='out' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>")
	}
	for _, tt := range []struct {
		name, says string
		out        func(*lab.XMPPUser)
		again      bool // the room has to be made again
	}{
		{"kicked", "kicked from the room", kick, false},
		{"destroyed", "the room was destroyed", destroy, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
				const n = 60
				alice := own(h)
				j := newJournal()
				h.sink = &j.sink
				h.runWith(t, j)
				j.leg = h.leg
				await(t, "the room", func() bool { return h.room(devRoom).Proven })
				ctx, cancel := context.WithCancel(context.Background())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer cancel()
				wg.Go(func() { j.run(ctx, t) })
				base := time.Now()
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint("line ", i))
					m := h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), want[i])
					m.Said = base.Add(time.Duration(i) * time.Microsecond)
					j.say(m)
					if i == n/2 {
						tt.out(alice)
					}
				}
				await(t, "out of the room", func() bool {
					r := h.room(devRoom)
					return r.State == bridge.StateRefused && strings.Contains(r.Detail, tt.says)
				})
				if err := h.leg.Send(ctx, h.out(bridge.MUC, devRoom, "x", "x")); err != bridge.ErrNotReady {
					t.Errorf("Send while out: %v", err)
				}
				if tt.again && !h.ejabberd { // Prosody lets nobody make it again for a month
					if err := h.leg.Reconfigure(h.conf); err != nil {
						t.Fatal(err)
					}
					await(t, "word that the room is gone", func() bool {
						r := h.room(devRoom)
						return r.State == bridge.StateRefused && strings.Contains(r.Detail, "gone")
					})
					lab.Poll(30*time.Second, func() bool { return len(heardBy(alice, devRoom+"/bot"))+j.waiting() == n })
					told := heardBy(alice, devRoom+"/bot")
					compare(t, "bot to room", told, want[:len(told)])
					if len(told)+j.waiting() != n {
						t.Errorf("%d lines were told and %d wait, of %d", len(told), j.waiting(), n)
					}
					return
				}
				if tt.again {
					alice.Expect(func(st string) bool { return lab.Attr(st, "id") == "out" && lab.Attr(st, "type") == "result" }, "the end of the room")
					alice.JoinRoom(devRoom, "alice")
					configure(alice, "again", "moderatedroom", "0")
				}
				alice.Send("<message type='groupchat' to='" + devRoom + "' id='missed-line-identifier'><body>missed</body></message>")
				alice.Expect(func(st string) bool { return strings.Contains(st, "missed-line-identifier") }, "alice's line")
				if h.room(devRoom).State != bridge.StateRefused {
					t.Error("the bot came back by itself")
				}
				if err := h.leg.Reconfigure(h.conf); err != nil {
					t.Fatal(err)
				}
				lab.Poll(30*time.Second, func() bool { return j.waiting() == 0 && len(heardBy(alice, devRoom+"/bot")) >= n })
				compare(t, "bot to room", heardBy(alice, devRoom+"/bot"), want)
				await(t, "word of the gap", func() bool { return h.sink.event(bridge.Gap, devRoom, "") })
				for _, e := range h.sink.Events() {
					if e.Kind == bridge.Gap && (e.Since.Before(base) || e.Time.Before(e.Since)) {
						t.Errorf("the gap: %v to %v", e.Since, e.Time)
					}
				}
				alice.Send("<message type='groupchat' to='" + devRoom + "' id='last-line-identifier'><body>last</body></message>")
				room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
				await(t, "a line after it", func() bool { return slices.Contains(j.got(room), "last") })
				compare(t, "alice to room", j.got(room), []string{"last"})
			})
		})
	}
}

// TestRenamedByTheServer: who joins under one nick and is given another: by the
// room (210, Prosody), or by the server's stringprep (both). Lines are proven by
// reflections of that nick, and none of ours comes back.
func TestRenamedByTheServer(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		alice := own(h)
		nick := "fit"
		h.conf.Rooms[0].Nick = "\ufb01t" // the ligature fi
		if !h.ejabberd {
			nick = "robot"
			alice.Send("<iq type='set' id='nick' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='bot@localhost' affiliation='member' nick='robot'/></query></iq>")
			alice.Expect(func(st string) bool { return lab.Attr(st, "id") == "nick" && lab.Attr(st, "type") == "result" }, "the nick")
		}
		h.run(t)
		await(t, "the room, under another nick", func() bool {
			r := h.room(devRoom)
			return r.Proven && strings.Contains(r.Detail, "joined as "+nick) && slices.Contains(r.Members, nick)
		})
		for i := range 20 {
			if err := h.leg.Send(context.Background(), h.out(bridge.MUC, devRoom, fmt.Sprint("renamed-", i), fmt.Sprint("line ", i))); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the proofs", func() bool { return len(h.sink.delivered()) == 20 })
		alice.Send("<message type='groupchat' to='" + devRoom + "' id='a'><body>from alice</body></message>")
		await(t, "alice's line", func() bool { return h.sink.message("from alice") })
		if n := len(h.sink.Messages()); n != 1 {
			t.Errorf("%d messages, not 1", n)
		}
	})
}

// TestSixtyOccupants: a room of sixty, all of whom speak, before and while the
// session is lost.
func TestSixtyOccupants(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const crowd = 60
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		own(h)
		var users []*lab.XMPPUser
		for i := range crowd {
			u := h.XMPPUser(h.server, []string{"alice", "mallory"}[i%2], fmt.Sprint("r", i))
			u.JoinRoom(devRoom, fmt.Sprint("user", i))
			users = append(users, u)
		}
		j := newJournal()
		h.sink = &j.sink
		h.runWith(t, j)
		j.leg = h.leg
		await(t, "the room", func() bool { return h.room(devRoom).Proven && len(h.room(devRoom).Members) == crowd+2 })
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { j.run(ctx, t) })
		room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
		said := 0
		speak := func() {
			for i, u := range users {
				u.Send(fmt.Sprintf("<message type='groupchat' to='%s' id='crowd-identifier-%d'><body>line %d of %d</body></message>", devRoom, said, said/crowd, i))
				said++
			}
		}
		base := time.Now()
		var want []string
		say := func() {
			for range 20 {
				i := len(want)
				want = append(want, fmt.Sprint("from the bot ", i))
				m := h.out(bridge.MUC, devRoom, fmt.Sprintf("bot-identifier-%d", i), want[i])
				m.Said = base.Add(time.Duration(i) * time.Microsecond)
				j.say(m)
			}
		}
		speak()
		say()
		if !patient(j, users[0], func() bool { return len(j.got(room)) >= said && j.waiting() == 0 }) {
			t.Fatal("waited in vain for what all said")
		}
		proxy.Cut()
		h.XMPPUser(h.server, "bot", "drawbridge").Close() // ends the bot's session
		say()
		speak()
		last := users[crowd-1]
		last.Expect(func(st string) bool { return strings.Contains(st, "crowd-identifier-"+fmt.Sprint(said-1)) }, "the last line")
		proxy.Restore()
		speak()
		patient(j, last, func() bool {
			return len(j.got(room)) >= said && j.waiting() == 0 && len(heardBy(last, devRoom+"/bot")) >= len(want)
		})
		compare(t, "bot to room", heardBy(last, devRoom+"/bot"), want)
		if n := len(h.room(devRoom).Members); n != crowd+2 {
			t.Errorf("%d members", n)
		}
		got := j.got(room)
		if len(got) != said {
			t.Errorf("%d lines, not %d", len(got), said)
		}
		for i := range users { // each speaker's own lines are in order
			var of []string
			for _, l := range got {
				if strings.HasSuffix(l, fmt.Sprintf(" of %d", i)) {
					of = append(of, l)
				}
			}
			if want := []string{fmt.Sprintf("line 0 of %d", i), fmt.Sprintf("line 1 of %d", i), fmt.Sprintf("line 2 of %d", i)}; !slices.Equal(of, want) {
				t.Errorf("speaker %d: %q", i, of)
			}
		}
	})
}

// TestRoomsAlone: an account without people has no acknowledgements. Over a cut
// the history of a room without an archive tells what was said. Once it is too short
// for that, the gap is told, and from then on sessions are resumed.
func TestRoomsAlone(t *testing.T) {
	l := lab.New(t)
	h := newHouse(l, l.Prosody(lab.Prosody{}))
	const short, long = 30, 70 // Prosody keeps 20 lines, 50 where a room says so
	h.conf.People = nil
	proxy := h.Proxy(h.server.Addr)
	h.conf.Server = proxy.Addr
	alice := own(h)
	configure(alice, "history", "historylength", "50", "moderatedroom", "0")
	j := newJournal()
	h.sink = &j.sink
	h.runWith(t, j)
	await(t, "the room", func() bool { return h.room(devRoom).Proven })
	room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
	var said []string
	say := func(n int) {
		for range n {
			line := fmt.Sprint("line ", len(said))
			alice.Send(fmt.Sprintf("<message type='groupchat' to='%s' id='line-identifier-%d'><body>%s</body></message>", devRoom, len(said), line))
			said = append(said, line)
		}
		last := fmt.Sprintf("line-identifier-%d", len(said)-1)
		alice.Expect(func(st string) bool { return strings.Contains(st, last+"'") || strings.Contains(st, last+`"`) }, "the last line")
	}
	cut := func(n int) {
		t.Helper()
		streams := h.leg.Counts()["streams"]
		proxy.Cut()
		say(n)
		proxy.Restore()
		await(t, "the next stream", func() bool { return h.leg.Counts()["streams"] > streams && h.room(devRoom).State == bridge.StateUp })
	}
	all := func(what string, want []string) {
		t.Helper()
		lab.Poll(20*time.Second, func() bool { return len(j.got(room)) >= len(want) })
		compare(t, what, j.got(room), want)
	}
	say(5)
	all("live", said)
	cut(short)
	all("a history that is long enough", said)
	if h.sink.event(bridge.Gap, devRoom, "") {
		t.Error("a gap is told where nothing is missed")
	}
	cut(long)
	await(t, "word of the gap", func() bool { return h.sink.event(bridge.Gap, devRoom, "") })
	want := append(slices.Clone(said[:5+short]), said[len(said)-50:]...)
	all("the history that there is", want)
	cut(1) // the first session that can be resumed
	want = append(want, said[len(said)-1])
	all("another", want)
	cut(long)
	want = append(want, said[len(said)-long:]...)
	all("a resumed session", want)
	if n := h.leg.Counts()["resumed"]; n != 1 {
		t.Errorf("%d streams were resumed", n)
	}
}
