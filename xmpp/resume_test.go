package xmpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/xmpptest"
)

// cutWith ends the stream in a way that can be resumed, with rows of a chat and a
// room on the wire, and says what the next stream is.
func (r *rig) cutWith(next func(old, st *xmpptest.Stream)) {
	r.t.Helper()
	r.skipStart()
	r.joinRoom()
	r.online("alice@x.org/a")
	r.push("<iq type='result' id='none'/>")
	ctx := context.Background()
	for i := range 3 {
		if err := r.leg.Send(ctx, chatOut(fmt.Sprint("c", i), "x")); err != nil {
			r.t.Fatal(err)
		}
		if err := r.leg.Send(ctx, roomOut(fmt.Sprint("r", i), "x")); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	old := r.st
	old.Resumable()
	for old.Sent() != nil {
	}
	r.dialMu.Lock()
	r.prepare = func(st *xmpptest.Stream) { next(old, st) }
	r.dialMu.Unlock()
	old.Fail(io.ErrUnexpectedEOF)
	synctest.Wait()
	if got := r.lines(&r.sink.proofs); len(got) != 0 {
		r.t.Errorf("proofs before anybody knows: %q", got)
	}
	if err := r.leg.Send(ctx, roomOut("r4", "x")); !errors.Is(err, bridge.ErrNotReady) {
		r.t.Errorf("Send while down: %v", err)
	}
	if got, want := r.lines(&r.sink.events), []string{"leg-down: connection lost: unexpected EOF"}; !slices.Equal(got, want) {
		r.t.Errorf("events: %q", got)
	}
}

// sent returns what was sent, in short.
func (r *rig) sent() (out []string) {
	for e := r.st.Sent(); e != nil; e = r.st.Sent() {
		s := e.Local
		if len(e.Children) > 0 {
			s += " " + e.Children[0].Local
		}
		out = append(out, strings.TrimSpace(s+" "+e.Get("to")))
	}
	return out
}

func TestResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		base := uint64(0)
		r.cutWith(func(old, st *xmpptest.Stream) {
			base = old.Seq()
			st.Resume(old, base-1) // all chats but the last are handled
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := r.lines(&r.sink.events), []string{"leg-up"}; !slices.Equal(got, want) {
			t.Errorf("events: %q", got)
		}
		// Rows of the wire: c0 r0 c1 r1 c2 r2. r2 is the last stanza, so all chats are handled.
		if got, want := r.lines(&r.sink.proofs), []string{"delivered alice c0", "delivered alice c1", "delivered alice c2"}; !slices.Equal(got, want) {
			t.Errorf("proofs: %q", got)
		}
		if got := roomLine(r.leg.Status(), testRoom); got != testRoom+" up" {
			t.Errorf("the room: %s", got)
		}
		// No rejoin, no presence, no roster: a fence, and whether the room agrees.
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := r.sent(), []string{"iq ping x.org", "iq ping " + testRoom + "/bridge"}; !slices.Equal(got, want) {
			t.Errorf("sent: %q", got)
		}
		for i := range 3 {
			r.push(fmt.Sprintf("<message from='%s/bridge' type='groupchat' id='r%d'><body>x</body></message>", testRoom, i))
		}
		r.push("<iq type='result' from='x.org' id='" + r.fenceID(t) + "'/>")
		if got, want := r.lines(&r.sink.proofs), []string{"delivered " + testRoom + " r0", "delivered " + testRoom + " r1", "delivered " + testRoom + " r2"}; !slices.Equal(got, want) {
			t.Errorf("proofs: %q", got)
		}
		if err := r.leg.Send(context.Background(), chatOut("c9", "x")); err != nil {
			t.Errorf("Send: %v", err)
		}
	})
}

// TestFenceLetsArchivesPass: what an archive tells is not held back by the fence of a
// resumed stream: the end of its page, which is no message, would overtake it.
func TestFenceLetsArchivesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.cutWith(func(old, st *xmpptest.Stream) { st.Resume(old, old.Seq()) })
		time.Sleep(time.Second)
		synctest.Wait()
		r.lines(&r.sink.messages)
		r.drain()
		if !r.leg.session().held.up {
			t.Fatal("there is no fence")
		}
		r.push("<message from='alice@x.org/a' type='chat' id='live'><body>live</body></message>")
		got, err := r.asking(inDoubt("one"), func(iq *element.Element) {
			r.push(resultOf("bot@x.org", iq.Child(nsMAM, "query").Get("queryid"), "A1", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='bot@x.org/d' id='one'/>"))
			r.push(finOf(iq, true, "A1"))
		})
		if err != nil || !slices.Equal(got, []bridge.Answer{bridge.Present}) {
			t.Errorf("%v, %v", got, err)
		}
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Errorf("the fence held nothing: %q", got)
		}
	})
}

// fenceID returns the id of the ping behind which a resumed stream settles.
func (r *rig) fenceID(t *testing.T) string {
	t.Helper()
	s := r.leg.session()
	s.iqs.mu.Lock()
	defer s.iqs.mu.Unlock()
	for id, q := range s.iqs.open {
		if q.to == s.domain {
			return id
		}
	}
	t.Fatal("no fence")
	return ""
}

// TestResumeFailed: what the old session had on the wire, but for what the server says
// it has, is in doubt before rooms and people are ready. What was said meanwhile is
// read in the archives before that, and before what comes live.
func TestResumeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		receipt := element.New(nsClient, "message", "to", "alice@x.org/a", "id", "old").Add(element.New(nsReceipts, "received", "id", "q"))
		r.cutWith(func(old, st *xmpptest.Stream) {
			st.Leave(stream.Leftover{Acked: old.Seq() - 4, Stanzas: []*element.Element{chatRow("c1"), receipt, chatRow("c2")}})
		})
		time.Sleep(time.Second)
		synctest.Wait()
		expect := func(what string, got, want []string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s:\n got %q\nwant %q", what, got, want)
			}
		}
		expect("events", r.lines(&r.sink.events), []string{"room-down alice: the session was lost", "room-down " + testRoom + ": the session was lost", "leg-up"})
		expect("proofs", r.lines(&r.sink.proofs), []string{
			"delivered alice c0", "doubt " + testRoom + " r0", "doubt alice c1", "doubt " + testRoom + " r1", "doubt alice c2", "doubt " + testRoom + " r2",
		})
		var info, account *element.Element
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			switch {
			case e.Child(nsReceipts, "received") != nil:
				receipt = nil
			case e.Child(nsMAM, "query") != nil:
				account = e
			case e.Child(nsInfo, "query") != nil:
				info = e
			case e.Get("to") == testRoom+"/bridge":
				t.Error("joined before it is known how the room is read")
			}
		}
		if receipt != nil || account == nil || info == nil {
			t.Fatal("receipt, account's archive or room's features were forgotten")
		}

		// The account: alice is online, but what she said before comes first.
		r.push("<presence from='alice@x.org/a'/>")
		r.st.Sent() // what client is it?
		r.push("<message from='alice@x.org/a' type='chat' id='live'><body>live</body><stanza-id xmlns='urn:xmpp:sid:0' by='bot@x.org' id='A9'/></message>")
		if err := r.leg.Send(context.Background(), chatOut("c9", "x")); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("Send while the archive is read: %v", err)
		}
		q := account.Child(nsMAM, "query").Get("queryid")
		result := func(from, query, id, msg string) {
			t.Helper()
			r.push("<message from='" + from + "'><result xmlns='urn:xmpp:mam:2' queryid='" + query + "' id='" + id + "'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='1999-12-31T23:00:00Z'/>" + msg + "</forwarded></result></message>")
		}
		result("evil@x.org", q, "A0", "<message xmlns='jabber:client' from='alice@x.org/a' type='chat'><body>forged</body></message>")
		result("bot@x.org", "other", "A0", "<message xmlns='jabber:client' from='alice@x.org/a' type='chat'><body>not asked for</body></message>")
		result("bot@x.org", q, "A1", "<message xmlns='jabber:client' from='alice@x.org/a' type='chat'><body>old</body><stanza-id xmlns='urn:xmpp:sid:0' by='bot@x.org' id='forged'/></message>")
		result("bot@x.org", q, "A2", "<message xmlns='jabber:client' from='bot@x.org/drawbridge' to='alice@x.org/a' type='chat' id='c2'><body>x</body></message>")
		result("bot@x.org", q, "A3", "<message xmlns='jabber:client' from='stranger@x.org/a' type='chat'><body>spam</body></message>")
		fin := func(iq *element.Element, complete, last string) {
			t.Helper()
			from := iq.Get("to")
			r.push("<iq type='result' id='" + iq.Get("id") + "' from='" + from + "'><fin xmlns='urn:xmpp:mam:2' complete='" + complete + "'><set xmlns='http://jabber.org/protocol/rsm'><last>" + last + "</last></set></fin></iq>")
		}
		fin(account, "false", "A3")
		next := r.st.Sent()
		if got := next.Child(nsMAM, "query").Child(nsRSM, "set").Child(nsRSM, "after"); got == nil || got.Text != "A3" {
			t.Fatalf("the next page: %s", xmpptest.XML(next))
		}
		fin(next, "true", "")
		expect("messages", r.lines(&r.sink.messages), []string{
			"alice say clear from alice person=alice jid=alice@x.org id=A1 delayed | old",
			"alice say clear from alice person=alice jid=alice@x.org id=A9 | live",
		})
		expect("events", r.lines(&r.sink.events), []string{"room-up alice alice"})

		// The room. What a session of an earlier process had asked for is no answer to a
		// join that was not sent yet.
		const self = "<presence from='" + testRoom + "/bridge'><x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'/><status code='110'/></x></presence>"
		r.push(self)
		r.push("<iq type='result' id='" + info.Get("id") + "' from='" + testRoom + "'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:mam:2'/><feature var='urn:xmpp:sid:0'/></query></iq>")
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			if x := e.Child(nsMUC, "x"); x != nil && x.Child(nsMUC, "history").Get("maxstanzas") != "0" {
				t.Error("history was asked for besides the archive")
			}
		}
		r.push(self)
		room := r.st.Sent()
		if room.Get("to") != testRoom || room.Child(nsMAM, "query") == nil {
			t.Fatalf("not the room's archive: %s", xmpptest.XML(room))
		}
		r.push("<message from='" + testRoom + "/carol' type='groupchat'><body>now</body><stanza-id xmlns='urn:xmpp:sid:0' by='" + testRoom + "' id='R9'/></message>")
		q = room.Child(nsMAM, "query").Get("queryid")
		result(testRoom, q, "R1", "<message xmlns='jabber:client' from='"+testRoom+"/bridge' type='groupchat' id='r1'><body>x</body></message>")
		result(testRoom, q, "R2", "<message xmlns='jabber:client' from='"+testRoom+"/carol' type='groupchat'><body>then</body></message>")
		result(testRoom, q, "R2", "<message xmlns='jabber:client' from='"+testRoom+"/carol' type='groupchat'><body>then</body></message>")
		if got := r.lines(&r.sink.events); len(got) != 0 {
			t.Errorf("ready before all is read: %q", got)
		}
		fin(room, "true", "R2")
		expect("messages", r.lines(&r.sink.messages), []string{testRoom + " say clear from carol id=R2 delayed | then", testRoom + " say clear from carol id=R9 | now"})
		expect("proofs", r.lines(&r.sink.proofs), nil)
		expect("events", r.lines(&r.sink.events), []string{"room-up " + testRoom + " bridge"})
	})
}

func chatRow(id string) *element.Element { return element.New(nsClient, "message", "id", id) }

// TestStoppedWhileDown: a leg that stops before it could resume puts its rows in
// doubt.
func TestStoppedWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.dials = append([]error{nil}, slices.Repeat([]error{io.EOF}, 100)...)
		r.start()
		r.cutWith(func(*xmpptest.Stream, *xmpptest.Stream) {})
		time.Sleep(10 * time.Second)
		r.stop()
		if got := r.lines(&r.sink.proofs); len(got) != 6 || got[0] != "doubt alice c0" {
			t.Errorf("proofs: %q", got)
		}
	})
}

// TestFence: ejabberd lets a message overtake the last one of the old stream; its
// ids tell. Other ids and other stanzas stay where they are.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.cutWith(func(old, st *xmpptest.Stream) { st.Resume(old, old.Seq()) })
		time.Sleep(time.Second)
		synctest.Wait()
		say := func(room, id, text string) {
			from, typ, by := testRoom+"/carol", "groupchat", testRoom
			if room != testRoom {
				from, typ, by = "alice@x.org/a", "chat", "bot@x.org"
			}
			r.push(fmt.Sprintf("<message from='%s' type='%s'><body>%s</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='%s'/></message>", from, typ, text, by, id))
		}
		say(testRoom, "1700000000000001", "one")
		say("alice", "1700000000000009", "a")
		say(testRoom, "1700000000000003", "three")
		say(testRoom, "not-a-time", "any")
		say(testRoom, "1700000000000002", "two")
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Errorf("before the fence fell: %q", got)
		}
		r.push("<iq type='error' from='x.org' id='" + r.fenceID(t) + "'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		say(testRoom, "1700000000000000", "late")
		var got []string
		for _, l := range r.lines(&r.sink.messages) {
			_, text, _ := strings.Cut(l, " | ")
			got = append(got, text)
		}
		if want := []string{"one", "a", "two", "any", "three", "late"}; !slices.Equal(got, want) {
			t.Errorf("order: %q", got)
		}
	})
}

// TestCursorTrails: what the core has taken in advances the place in the archive,
// some messages behind, and never before the core has them.
func TestCursorTrails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.sink.hold = true
		r.start()
		defer r.stop()
		for i := range trailing + 5 {
			r.push(fmt.Sprintf("<message from='alice@x.org/a' type='chat'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='bot@x.org' id='A%d'/></message>", i))
		}
		for i, taken := range r.sink.taken {
			if p, _ := r.leg.place("bot@x.org"); i > trailing && p.id != fmt.Sprintf("A%d", i-1-trailing) || i <= trailing && p.id != "" {
				t.Errorf("before message %d was taken the place is %q", i, p.id)
			}
			taken(true)
		}
		if p, ok := parsePlace(place{time.Unix(1e9, 5e6), "A B"}.String()); !ok || p.id != "A B" || !p.at.Equal(time.Unix(1e9, 5e6)) {
			t.Errorf("a place read back: %+v", p)
		}
	})
}
