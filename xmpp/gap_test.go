package xmpp

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

// readRig is a leg whose room's archive is read after a lost session. query
// returns what the leg asks the room's archive next.
func readRig(t *testing.T) (r *rig, query func() *element.Element) {
	r = newRig(t, withRoom())
	r.start()
	r.skipStart()
	r.joinRoom()
	for i := range 20 {
		r.push(fmt.Sprintf("<message from='%s/carol' type='groupchat'><body>%d</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='R%d'/></message>", testRoom, i, testRoom, i))
	}
	r.leg.mu.Lock()
	r.leg.places[testRoom] = place{at: time.Now(), id: "R4"}
	r.leg.mu.Unlock()
	r.st.Fail(errNoPong)
	time.Sleep(3 * time.Second)
	synctest.Wait()
	r.lines(&r.sink.messages)
	r.lines(&r.sink.events)
	for e := r.st.Sent(); e != nil; e = r.st.Sent() {
		if e.Child(nsInfo, "query") != nil && e.Get("to") == testRoom {
			r.push("<iq type='result' id='" + e.Get("id") + "' from='" + testRoom + "'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:mam:2'/><feature var='urn:xmpp:sid:0'/></query></iq>")
		}
	}
	r.push("<presence from='" + testRoom + "/bridge'><x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'/><status code='110'/></x></presence>")
	return r, func() *element.Element {
		r.t.Helper()
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			switch {
			case e.Child(nsMAM, "query") != nil && e.Get("to") == testRoom:
				return e
			case e.Child(nsPing, "ping") != nil && e.Get("to") == "x.org":
				r.push("<iq type='result' id='" + e.Get("id") + "' from='x.org'/>")
			}
		}
		return nil
	}
}

func refused(iq *element.Element, typ, condition string) string {
	return "<iq type='error' id='" + iq.Get("id") + "' from='" + testRoom + "'><error type='" + typ + "'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
}

// TestArchiveFails: a page that cannot be had now is asked for again, then the
// room goes on without; the place in the archive stays, and it is read later.
func TestArchiveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, query := readRig(t)
		defer r.stop()
		for range maxTries {
			q := query()
			if q == nil {
				t.Fatal("no query")
			}
			r.push(refused(q, "wait", "internal-server-error"))
		}
		if got, want := r.lines(&r.sink.events), []string{"room-up " + testRoom + " bridge"}; !slices.Equal(got, want) {
			t.Errorf("events %q", got)
		}
		for i := range 40 {
			r.push(fmt.Sprintf("<message from='%s/carol' type='groupchat'><body>live %d</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='S%d'/></message>", testRoom, i, testRoom, i))
		}
		if n := len(r.lines(&r.sink.messages)); n != 40 {
			t.Errorf("%d live lines", n)
		}
		if p, _ := r.leg.place(testRoom); p.id != "R4" {
			t.Errorf("the place moved to %s", p.id)
		}
		var q *element.Element
		for range 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			if q = query(); q != nil {
				break
			}
		}
		if q == nil {
			t.Fatal("the archive was not tried again")
		}
		if after := q.Child(nsMAM, "query").Child(nsRSM, "set").Child(nsRSM, "after"); after == nil || after.Text != "R4" {
			t.Errorf("it goes on elsewhere: %s", xmpptest.XML(q))
		}
		r.push(resultOf(testRoom, q.Child(nsMAM, "query").Get("queryid"), "M1", "1999-12-31T23:00:00Z", "<message xmlns='jabber:client' from='"+testRoom+"/carol' type='groupchat'><body>missed</body></message>"))
		r.push("<message from='" + testRoom + "/carol' type='groupchat'><body>now</body><stanza-id xmlns='urn:xmpp:sid:0' by='" + testRoom + "' id='T1'/></message>")
		r.push(finOf(q, true, "M1"))
		if got, want := r.lines(&r.sink.messages), []string{testRoom + " say clear from carol id=M1 delayed | missed", testRoom + " say clear from carol id=T1 | now"}; !slices.Equal(got, want) {
			t.Errorf("messages %q", got)
		}
		if got := r.lines(&r.sink.events); len(got) != 0 {
			t.Errorf("events %q", got)
		}
	})
}

// TestGaps: what nothing keeps is said.
func TestGaps(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(r *rig, query func() *element.Element)
		want []string
	}{
		{"refused", func(r *rig, query func() *element.Element) { r.push(refused(query(), "auth", "forbidden")) }, []string{"gap " + testRoom, "room-up " + testRoom + " bridge"}},
		{"forgotten", func(r *rig, query func() *element.Element) {
			r.push(refused(query(), "cancel", "item-not-found"))
			q := query()
			r.push(resultOf(testRoom, q.Child(nsMAM, "query").Get("queryid"), "M1", "2000-01-01T00:00:02Z", "<message xmlns='jabber:client' from='"+testRoom+"/carol' type='groupchat'><body>x</body></message>"))
			r.push(finOf(q, true, "M1"))
		}, []string{"gap " + testRoom, "room-up " + testRoom + " bridge"}},
		{"forgotten, but it reaches back", func(r *rig, query func() *element.Element) {
			r.push(refused(query(), "cancel", "item-not-found"))
			q := query()
			r.push(resultOf(testRoom, q.Child(nsMAM, "query").Get("queryid"), "M1", "2000-01-01T00:00:00Z", "<message xmlns='jabber:client' from='"+testRoom+"/carol' type='groupchat'><body>x</body></message>"))
			r.push(finOf(q, true, "M1"))
		}, []string{"room-up " + testRoom + " bridge"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, query := readRig(t)
				defer r.stop()
				tt.play(r, query)
				if got := r.lines(&r.sink.events); !slices.Equal(got, tt.want) {
					t.Errorf("events %q", got)
				}
			})
		})
	}
}
