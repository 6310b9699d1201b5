package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

// asking runs Ask and lets the test answer its queries.
func (r *rig) asking(ms []bridge.Outgoing, answer func(query *element.Element)) ([]bridge.Answer, error) {
	r.t.Helper()
	var got []bridge.Answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, err = r.leg.Ask(context.Background(), ms)
	}()
	for {
		synctest.Wait()
		select {
		case <-done:
			return got, err
		default:
		}
		e := r.st.Sent()
		if e == nil {
			r.t.Fatal("Ask waits for nothing that was asked")
		}
		answer(e)
	}
}

// resultOf is one message of an archive.
func resultOf(from, query, id, stamp, msg string) string {
	return "<message from='" + from + "'><result xmlns='urn:xmpp:mam:2' queryid='" + query + "' id='" + id + "'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='" + stamp + "'/>" + msg + "</forwarded></result></message>"
}

func finOf(iq *element.Element, complete bool, first string) string {
	return fmt.Sprintf("<iq type='result' id='%s' from='%s'><fin xmlns='urn:xmpp:mam:2' complete='%v'><set xmlns='http://jabber.org/protocol/rsm'><first>%s</first></set></fin></iq>", iq.Get("id"), iq.Get("to"), complete, first)
}

func inDoubt(ids ...string) (ms []bridge.Outgoing) {
	for _, id := range ids {
		m := chatOut(id, "x")
		m.Said = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		ms = append(ms, m)
	}
	return ms
}

func inRoom(ms []bridge.Outgoing) []bridge.Outgoing {
	for i := range ms {
		ms[i].To = roomOut("", "").To
	}
	return ms
}

// TestAskPerson: the account's archive tells, from its end backwards, until all
// were found or what follows is too old; nobody else's word counts.
func TestAskPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/a")
		page := 0
		got, err := r.asking(inDoubt("one", "two", "three"), func(iq *element.Element) {
			page++
			q := iq.Child(nsMAM, "query")
			id := q.Get("queryid")
			before := q.Child(nsRSM, "set").Child(nsRSM, "before")
			with := xmpptest.XML(q.Child(nsForm, "x"))
			switch page {
			case 1:
				if before == nil || before.Text != "" || iq.Get("to") != "" || !slices.ContainsFunc(q.Child(nsForm, "x").Children, func(f *element.Element) bool { return f.Get("var") == "with" }) {
					t.Errorf("first page: %s %s", xmpptest.XML(iq), with)
				}
				r.push(resultOf("bot@x.org", id, "A9", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='bot@x.org/drawbridge' to='alice@x.org' id='two'/>"))
				r.push(resultOf("alice@x.org", id, "A9", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='bot@x.org/drawbridge' to='alice@x.org' id='one'/>"))
				r.push(resultOf("bot@x.org", id, "A9", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='alice@x.org/a' to='bot@x.org' id='one'/>"))
				r.push(resultOf("bot@x.org", id, "A9", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' type='error' from='bot@x.org' id='one'/>"))
				r.push(resultOf("bot@x.org", "another", "A9", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='bot@x.org/drawbridge' id='one'/>"))
				r.push(finOf(iq, false, "A9"))
			case 2:
				if before.Text != "A9" {
					t.Errorf("second page: %s", xmpptest.XML(iq))
				}
				r.push(resultOf("bot@x.org", id, "A5", "1999-12-31T23:00:00Z", "<message xmlns='jabber:client' from='bot@x.org/old' to='alice@x.org'><origin-id xmlns='urn:xmpp:sid:0' id='three'/></message>"))
				r.push(finOf(iq, false, "A5"))
			default:
				t.Fatalf("page %d of what is too old", page)
			}
		})
		if want := []bridge.Answer{bridge.Absent, bridge.Present, bridge.Present}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
		if len(r.leg.session().asking) != 0 {
			t.Error("the inquiry is remembered")
		}
	})
}

// TestAskLateArchive: an archive that ejabberd keeps is read again until nothing more
// turns up there; what is missing then is.
func TestAskLateArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/a")
		looks := 0
		done := make(chan []bridge.Answer)
		go func() {
			got, err := r.leg.Ask(context.Background(), inDoubt("one", "two", "three"))
			if err != nil {
				t.Error(err)
			}
			done <- got
		}()
		answer := func() {
			iq := r.st.Sent()
			if iq == nil {
				t.Fatal("not asked")
			}
			looks++
			id := iq.Child(nsMAM, "query").Get("queryid")
			r.push(resultOf("bot@x.org", id, "1000000000000000", "1999-01-01T00:00:00Z", "<message xmlns='jabber:client' from='alice@x.org/a' id='old'/>"))
			for i := range min(looks-1, 2) {
				r.push(resultOf("bot@x.org", id, "1000000000000001", "2000-01-01T00:00:05Z", "<message xmlns='jabber:client' from='bot@x.org/d' id='"+[]string{"one", "two"}[i]+"'/>"))
			}
			r.push(finOf(iq, true, "1000000000000000"))
		}
		for range 4 {
			synctest.Wait()
			answer()
			time.Sleep(askAgain + time.Millisecond)
		}
		if got, want := <-done, []bridge.Answer{bridge.Present, bridge.Present, bridge.Absent}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
}

// unkept is a scheme whose messages no archive keeps.
type unkept struct{ *fakeScheme }

func (unkept) Unkept() {}

// TestAskUnkept: where a line may have gone out in a way that no archive keeps, that it
// is not there tells nothing.
func TestAskUnkept(t *testing.T) {
	l := &Leg{deps: Deps{Schemes: []e2ee.Scheme{unkept{&fakeScheme{}}}}}
	q := &inquiry{first: time.Unix(1, 0), ids: map[string]bridge.Answer{}}
	ms := inDoubt("one", "two")
	ms[0].Schemes, ms[1].Schemes = []string{"openpgp"}, []string{"ox"}
	if got, want := l.answers(q, ms, true), []bridge.Answer{bridge.Unanswered, bridge.Absent}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, m := range inRoom(ms) {
		if l.unkept(&m) {
			t.Error("a room's archive keeps all")
		}
	}
}

// TestAskWithoutArchive: no archive, or one that begins after the message, knows
// nothing; nor does one that goes round in circles.
func TestAskWithoutArchive(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(r *rig, iq *element.Element)
	}{
		{"refused", func(r *rig, iq *element.Element) {
			r.push("<iq type='error' id='" + iq.Get("id") + "'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		}},
		{"empty", func(r *rig, iq *element.Element) { r.push(finOf(iq, true, "")) }},
		{"no page", func(r *rig, iq *element.Element) { r.push("<iq type='result' id='" + iq.Get("id") + "'/>") }},
		{"begins later", func(r *rig, iq *element.Element) {
			r.push(resultOf("bot@x.org", iq.Child(nsMAM, "query").Get("queryid"), "A1", "2000-01-01T00:00:01Z", "<message xmlns='jabber:client' from='bot@x.org' id='other'/>"))
			r.push(finOf(iq, true, "A1"))
		}},
		{"endless", func(r *rig, iq *element.Element) { r.push(finOf(iq, false, "A1")) }},
		{"endless and new", func(r *rig, iq *element.Element) { r.push(finOf(iq, false, iq.Get("id"))) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withRoom())
				r.start()
				defer r.stop()
				r.skipStart()
				r.online("alice@x.org/a")
				got, err := r.asking(inDoubt("one"), func(iq *element.Element) { tt.answer(r, iq) })
				if err != nil || !slices.Equal(got, []bridge.Answer{bridge.Unanswered}) {
					t.Errorf("%v, %v", got, err)
				}
			})
		})
	}
}

// TestAskRoom: the room's archive where it has one.
func TestAskRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		m := r.leg.room(testRoom)
		m.known, m.mam = true, true
		got, err := r.asking(inRoom(inDoubt("one", "two", "three")), func(iq *element.Element) {
			if iq.Get("to") != testRoom {
				t.Errorf("asked %s", xmpptest.XML(iq))
			}
			id := iq.Child(nsMAM, "query").Get("queryid")
			r.push(resultOf(testRoom, id, "R1", "1999-12-31T23:59:59Z", "<message xmlns='jabber:client' type='groupchat' from='"+testRoom+"/carol' id='x'/>"))
			r.push(resultOf(testRoom+"/mallory", id, "R2", "2000-01-01T00:00:01Z", "<message xmlns='jabber:client' type='groupchat' from='"+testRoom+"/bridge' id='one'/>"))
			r.push(resultOf(testRoom, id, "R2", "2000-01-01T00:00:01Z", "<message xmlns='jabber:client' type='groupchat' from='elsewhere@x.org/bridge' id='one'/>"))
			r.push(resultOf(testRoom, id, "R3", "2000-01-01T00:00:01Z", "<message xmlns='jabber:client' type='groupchat' from='"+testRoom+"/bridge' id='drawbridge:two'/>"))
			r.push(resultOf(testRoom, id, "R4", "2000-01-01T00:00:01Z", "<message xmlns='jabber:client' type='groupchat' from='"+testRoom+"/bridge'><origin-id xmlns='urn:xmpp:sid:0' id='three'/></message>"))
			r.push(finOf(iq, true, "R1"))
		})
		if want := []bridge.Answer{bridge.Absent, bridge.Present, bridge.Present}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestAskRoomComesAgain: what a room was asked before it ended is never answered, and
// nobody waits for it once the bot is in again.
func TestAskRoomComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		m := r.leg.room(testRoom)
		m.known, m.mam = true, true
		asked := time.Now()
		got, err := r.asking(inRoom(inDoubt("one")), func(e *element.Element) {
			switch {
			case strings.Contains(e.Child(nsMAM, "query").Get("queryid"), "ask"):
				r.push("<presence from='" + testRoom + "/bridge' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/><status code='110'/><status code='332'/></x></presence>")
				time.Sleep(3 * slowFirst)
			case e.Child(nsMAM, "query") != nil: // what was said meanwhile
				r.push(finOf(e, true, ""))
			case e.Child(nsInfo, "query") != nil:
				r.push("<iq type='result' id='" + e.Get("id") + "' from='" + testRoom + "'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:mam:2'/></query></iq>")
			case e.Local == "presence":
				r.joinRoom()
			}
		})
		if took := time.Since(asked); !errors.Is(err, bridge.ErrNotReady) || took >= askTimeout {
			t.Errorf("after %v: %v, %v", took, got, err)
		}
	})
}

// TestAskRoomWithoutArchive: what the room has shown us since we are in tells.
func TestAskRoomWithoutArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.leg.room(testRoom).known = true
		time.Sleep(5 * time.Second)
		r.push("<message from='" + testRoom + "/bridge' type='groupchat' id='drawbridge:two'><body>x</body></message>")
		ms := inRoom(inDoubt("one", "two", "three"))
		for i := range ms {
			ms[i].Said = time.Now()
		}
		ms[2].Said = ms[2].Said.Add(-time.Hour)
		got, err := r.leg.Ask(context.Background(), ms)
		if want := []bridge.Answer{bridge.Absent, bridge.Present, bridge.Unanswered}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestAskWhileDown(t *testing.T) {
	r := newRig(t, withRoom())
	if _, err := r.leg.Ask(context.Background(), inDoubt("one")); !errors.Is(err, bridge.ErrNotReady) {
		t.Errorf("%v", err)
	}
}

// TestAsks: what is sent to a person can be asked for once something came with the id
// of our archive, and lines to them go as archives keep them.
func TestAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/a")
		chat, room := chatOut("", "").To, roomOut("", "").To
		asks := func(want bool, when string) {
			t.Helper()
			if got := r.leg.Asks(chat); got != want {
				t.Errorf("%s: asks of a person is %v", when, got)
			}
			if !r.leg.Asks(room) {
				t.Errorf("%s: asks of no room", when)
			}
		}
		say := func(id string) {
			t.Helper()
			if err := r.leg.Send(t.Context(), chatOut(id, "x")); err != nil {
				t.Fatal(err)
			}
		}
		come := func(id string) {
			r.st.Deliver(element.New(nsClient, "message", "from", "alice@x.org/a", "type", "chat").Add(seal("x"),
				element.New(nsSID, "stanza-id", "by", "bot@x.org", "id", id)))
			synctest.Wait()
		}
		asks(false, "at first")
		say("c1")
		asks(false, "no archive is known")
		come("")
		asks(false, "without an id")
		come("A1")
		asks(true, "an archive, and a line that it keeps")
		r.leg.people["alice"].kept.Store(false)
		asks(false, "a line in a session")
		say("c2")
		asks(true, "and one that is not")
	})
}

// TestReaches: how far back an archive has to be read before it says that a message is
// not there. The latest message it has shown tells how far its clock may be behind.
func TestReaches(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		behind time.Duration
		first  time.Duration // of the oldest message, before at
		whole  bool
		want   bool
	}{
		{"busy, read far enough", time.Second, 7 * time.Second, false, true},
		{"busy, not far enough", time.Second, 6 * time.Second, false, false},
		{"a clock ahead of ours", -time.Hour, 6 * time.Second, false, true},
		{"a clock ahead of ours, not far enough", -time.Hour, 5 * time.Second, false, false},
		{"quiet, read far enough", time.Hour, 61 * time.Second, false, true},
		{"quiet, not far enough", time.Hour, 59 * time.Second, false, false},
		{"there is no more", time.Hour, time.Second, true, true},
		{"it begins later", time.Hour, -time.Second, true, false},
	} {
		q := &inquiry{first: at.Add(-tt.first), behind: tt.behind}
		if got := q.reaches(at, tt.whole); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if (&inquiry{}).reaches(at, true) {
		t.Error("an empty archive reaches back")
	}
}
