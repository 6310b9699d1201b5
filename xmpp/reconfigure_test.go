package xmpp

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

func TestNoPresenceWithoutSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.scheme.signErr = e2ee.ErrKeyExpired
		r.start()
		defer r.stop()
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			if e.Local == "presence" {
				t.Errorf("sent %s", xmpptest.XML(e))
			}
		}
		if notes := strings.Join(r.leg.Status().Notes, "\n"); !strings.Contains(notes, "presence cannot be signed") {
			t.Errorf("notes: %s", notes)
		}
		r.scheme.mu.Lock()
		r.scheme.signErr = nil
		r.scheme.mu.Unlock()
		r.leg.KeysChanged()
		synctest.Wait()
		if e := r.st.Sent(); e.Child(nsSigned, "x") == nil {
			t.Errorf("after the new key: %s", xmpptest.XML(e))
		}
	})
}

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.push("<iq type='result' id='" + r.st.Sent().Get("id") + "'><query xmlns='jabber:iq:roster'/></iq>")
		r.skipStart()
		r.joinRoom()
		r.online("alice@x.org/a")
		c := testConfig()
		c.People = append(c.People[1:], policy.Person{Name: "carol", JIDs: []string{"carol@x.org"}})
		c.Rooms = []RoomConfig{{JID: "new@rooms.x.org", Nick: "bridge"}}
		bad := c
		bad.Rooms = append(bad.Rooms, RoomConfig{JID: "nonsense"})
		if err := r.leg.Reconfigure(bad); err == nil {
			t.Fatal("a bad configuration was taken")
		}
		if err := r.leg.Send(context.Background(), chatOut("c1", "x")); err != nil {
			t.Errorf("after the bad one: %v", err)
		}
		r.st.Sent()
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var sent []string
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			sent = append(sent, e.Local+" "+e.Get("type")+" "+e.Get("to"))
		}
		for _, want := range []string{
			"presence unavailable dev@rooms.x.org/bridge", "presence  new@rooms.x.org/bridge", "presence subscribe carol@x.org",
		} {
			if !slices.Contains(sent, want) {
				t.Errorf("%q was not sent: %q", want, sent)
			}
		}
		events := strings.Join(r.lines(&r.sink.events), "\n")
		for _, want := range []string{"room-down alice: no longer configured", "room-down dev@rooms.x.org: left: no longer configured"} {
			if !strings.Contains(events, want) {
				t.Errorf("no event %q:\n%s", want, events)
			}
		}
		if r.st.Closed() {
			t.Error("the stream was dropped")
		}
		r.push("<message from='alice@x.org/a' type='chat'><body>x</body></message>")
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Errorf("alice is still heard: %q", got)
		}
		// She comes back: the server does not show her presence again, but it is known.
		c.People = append(c.People, policy.Person{Name: "alice", JIDs: []string{"alice@x.org"}})
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.lines(&r.sink.events); !slices.Contains(got, "room-up alice alice client=gajim") {
			t.Errorf("events after alice came back: %q", got)
		}
		c.Password = "other"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.dialed != 2 || r.leg.Status().State != bridge.StateUp {
			t.Errorf("another password: %d dials, %v", r.dialed, r.leg.Status().State)
		}
	})
}

func TestNoWayBackIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.push("<presence from='" + testRoom + "/bridge' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item/><status code='307'/></x></presence>")
		joins := func() (n int) {
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Get("to") == testRoom+"/bridge" && e.Local == "presence" {
					n++
				}
			}
			return n
		}
		joins()
		r.st.Fail(io.EOF)
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.leg.Counts()["streams"] < 2 {
			t.Fatal("no new stream")
		}
		if n := joins(); n != 0 {
			t.Errorf("%d joins after the kick", n)
		}
		if got := roomLine(r.leg.Status(), testRoom); got != testRoom+" refused: kicked from the room; ask its moderators, then reload" {
			t.Errorf("status: %s", got)
		}
		if err := r.leg.Reconfigure(withRoom()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := joins(); n != 1 {
			t.Errorf("%d joins after the reload, not 1", n)
		}
	})
}

func TestSelfPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		wait := func(d time.Duration, what func(e *element.Element) bool) *element.Element {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				synctest.Wait()
				for e := r.st.Sent(); e != nil; e = r.st.Sent() {
					if e.Child(nsPing, "ping") != nil && e.Get("to") == "x.org" {
						r.push("<iq type='result' from='x.org' id='" + e.Get("id") + "'/>")
					}
					if e.Child(nsInfo, "query") != nil {
						r.push("<iq type='result' from='" + testRoom + "' id='" + e.Get("id") + "'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
					}
					if what(e) {
						return e
					}
				}
			}
			t.Fatalf("waited in vain: %s, %d dials, %q", roomLine(r.leg.Status(), testRoom), r.dialCount(), r.lines(&r.sink.events))
			return nil
		}
		selfPing := func(e *element.Element) bool {
			return e.Child(nsPing, "ping") != nil && e.Get("to") == testRoom+"/bridge"
		}
		ping := wait(6*time.Minute, selfPing)
		r.push("<iq type='result' from='" + testRoom + "/bridge' id='" + ping.Get("id") + "'/>")
		ping = wait(6*time.Minute, selfPing)
		r.push("<iq type='error' from='" + testRoom + "/bridge' id='" + ping.Get("id") + "'><error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		if got := r.lines(&r.sink.events); len(got) != 1 || !strings.HasPrefix(got[0], "room-down "+testRoom+": no longer in the room") {
			t.Errorf("events: %q", got)
		}
		wait(5*time.Second, func(e *element.Element) bool { return e.Child(nsMUC, "x") != nil })
	})
}

func TestHiddenClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.push("<message from='alice@x.org/hidden' type='chat'><body>x</body></message>")
		if got := r.lines(&r.sink.events); !slices.Equal(got, []string{"room-up alice alice"}) {
			t.Errorf("events: %q", got)
		}
		if err := r.leg.Send(context.Background(), chatOut("c1", "x")); err != nil {
			t.Fatal(err)
		}
		if e := r.st.Sent(); e.Get("to") != "alice@x.org/hidden" {
			t.Errorf("sent %s", xmpptest.XML(e))
		}
		r.push("<message type='error' from='alice@x.org/hidden' id='c1'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
		if got := r.lines(&r.sink.events); !slices.Equal(got, []string{"room-down alice: not reachable: service-unavailable"}) {
			t.Errorf("events: %q", got)
		}
	})
}

func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		if err := r.leg.Run(context.Background(), r.sink); !errors.Is(err, errTwice) {
			t.Errorf("second Run: %v", err)
		}
		r.skipStart()
		r.stop()
		if e := r.st.Sent(); e.Get("type") != "unavailable" {
			t.Errorf("goodbye: %s", xmpptest.XML(e))
		}
		if !r.st.Closed() {
			t.Error("the stream is still open")
		}
	})
}

// Acknowledgements cost the server a copy of every line that a room brings us;
// only chats need them. The first person of an account brings them.
func TestAcknowledgementsAreForChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := withRoom()
		people := conf.People
		conf.People = nil
		r := newRig(t, conf)
		r.start()
		defer r.stop()
		if r.st.SM() {
			t.Error("an account of rooms alone asks for acknowledgements")
		}
		if notes := r.leg.Status().Notes; len(notes) > 0 {
			t.Errorf("notes: %q", notes)
		}
		conf.People = people
		if err := r.leg.Reconfigure(conf); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := r.dialCount(); n != 2 {
			t.Fatalf("dialled %d times", n)
		}
		if !r.st.SM() {
			t.Error("an account with people does not ask for acknowledgements")
		}
	})
}
