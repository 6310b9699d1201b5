package xmpp

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/xmpp/element"
)

// TestErrorsQuoteNobody: the far side can put anything into an error, also as the
// name of a condition. None of it reaches a room or a log.
func TestErrorsQuoteNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/psi")
		if err := r.leg.Send(context.Background(), chatOut("id1", "hello")); err != nil {
			t.Fatal(err)
		}
		r.push("<message type='error' id='id1' from='alice@x.org/psi'><error type='cancel'>" +
			"<canary-text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>canary text</text></error></message>")
		got := strings.Join(r.lines(&r.sink.proofs), "\n") + strings.Join(r.lines(&r.sink.events), "\n")
		if !strings.Contains(got, "failed alice id1") || strings.Contains(got, "canary") {
			t.Errorf("the core hears %q", got)
		}
	})
}

// TestStrangersLearnNothing: to whom is not configured the bot answers as a
// server does for a resource that is not there.
func TestStrangersLearnNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		for _, q := range []string{
			"<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:version'/>", "<query xmlns='jabber:iq:last'/>",
			"<query xmlns='http://jabber.org/protocol/disco#info'/>", "<time xmlns='urn:xmpp:time'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
		} {
			r.push("<iq type='get' id='1' from='eve@evil.org/a'>" + q + "</iq>")
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Get("to") == "eve@evil.org/a" && errorOf(e).Condition != "service-unavailable" {
					t.Errorf("%s is answered with %s", q, element.AppendXML(nil, e, nsClient))
				}
			}
		}
		r.push("<message type='chat' id='0123456789abcdef' from='eve@evil.org/a'><body>hi</body><request xmlns='urn:xmpp:receipts'/></message>")
		r.push("<message id='0123456789abcdef' from='eve@evil.org/a'><x xmlns='test:sealed'>6869</x><request xmlns='urn:xmpp:receipts'/></message>")
		if e := r.st.Sent(); e != nil {
			t.Errorf("a stranger's message is answered with %s", element.AppendXML(nil, e, nsClient))
		}
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Errorf("a stranger is relayed: %q", got)
		}
	})
}

// TestOnlyWhoWasAskedAnswers: an answer counts if it comes from whom we asked
// (RFC 6120 §8.2.3), even where somebody else knows its id.
func TestOnlyWhoWasAskedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		for _, tt := range []struct {
			to       string
			from, no []string
		}{
			{"", []string{"", "bot@x.org", "x.org", r.leg.session().full}, []string{"eve@evil.org", "alice@x.org/a", "bot@x.org/other", "evil.org"}},
			{"x.org", []string{"x.org", ""}, []string{"evil.org", "eve@x.org", "bot@x.org"}},
			{"alice@x.org", []string{"alice@x.org"}, []string{"", "alice@x.org/a", "eve@x.org", "x.org", "bot@x.org"}},
			{"alice@x.org/a", []string{"alice@x.org/a"}, []string{"alice@x.org", "alice@x.org/b", "eve@x.org/a", ""}},
		} {
			for _, from := range tt.from {
				answers := 0
				r.leg.session().ask("get", tt.to, element.New(nsPing, "ping"), time.Minute, func(*element.Element, error) { answers++ })
				synctest.Wait()
				id := ""
				for e := r.st.Sent(); e != nil; e = r.st.Sent() {
					id = e.Get("id")
				}
				for _, no := range tt.no {
					r.push("<iq type='result' id='" + id + "' from='" + no + "'/>")
					if answers != 0 {
						t.Fatalf("%q was asked, and %q answered", tt.to, no)
					}
				}
				r.push("<iq type='result' id='" + id + "' from='" + from + "'/>")
				r.push("<iq type='result' id='" + id + "' from='" + from + "'/>")
				if answers != 1 {
					t.Errorf("%q was asked, and %q answered: taken %d times", tt.to, from, answers)
				}
			}
		}
	})
}

// TestLongIDsCostNoStream: an answer repeats the id of its question. One longer
// than the server's limit for our stanzas would end the stream, at anybody's wish.
func TestLongIDsCostNoStream(t *testing.T) {
	long := strings.Repeat("i", 65000)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/psi")
		for r.st.Sent() != nil {
		}
		for _, from := range []string{"eve@evil.org/a", "alice@x.org/psi"} {
			r.push("<iq type='get' id='" + long + "' from='" + from + "'><ping xmlns='urn:xmpp:ping'/></iq>")
			r.push("<iq type='set' id='" + long + "' from='" + from + "'><x xmlns='x:y'/></iq>")
			r.push("<iq type='get' id='1' from='" + from + "'><query xmlns='http://jabber.org/protocol/disco#items' node='" + long + "'/></iq>")
			r.push("<iq type='get' id='1' from='" + from + "'><query xmlns='http://jabber.org/protocol/disco#info' node='" + long + "'/></iq>")
		}
		r.push("<message type='chat' id='" + long + "' from='alice@x.org/psi'><x xmlns='test:sealed'>6869</x><request xmlns='urn:xmpp:receipts'/></message>")
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			if n := len(element.AppendXML(nil, e, nsClient)); n > 8<<10 {
				t.Errorf("<%s/> to %s of %d bytes", e.Local, e.Get("to"), n)
			}
		}
		if got := r.lines(&r.sink.messages); len(got) != 1 || strings.Contains(got[0], long) {
			t.Errorf("%d messages, or a long id", len(got))
		}
	})
}

// TestNothingKeepsAStanza: what is remembered of strangers, occupants, resources
// and messages is small, however large the stanzas were that it stood in.
func TestNothingKeepsAStanza(t *testing.T) {
	junk := strings.Repeat("j", 100<<10)
	const n = 300
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.sink.keep = true
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			r.push(fmt.Sprintf("<presence from='s%d@evil.org/r'><c xmlns='http://jabber.org/protocol/caps' node='n' ver='%s'/></presence>", i, junk))
			r.push(fmt.Sprintf("<presence from='%s/n%d'><x xmlns='http://jabber.org/protocol/muc#user'><item jid='o%d@x.org/r' role='none'/></x><status>%s</status></presence>", testRoom, i, i, junk))
			r.push(fmt.Sprintf("<message type='groupchat' from='%s/n%d' id='0123456789abcdef%d'><body>x%d</body><junk xmlns='x:y'>%s</junk></message>", testRoom, i, i, i, junk))
			r.push(fmt.Sprintf("<message type='chat' from='alice@x.org/r' id='0123456789abcdef%d'><body>x%d</body><junk xmlns='x:y'>%s</junk></message>", i, i, junk))
			for r.st.Sent() != nil {
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10<<20 {
			t.Errorf("%d stanzas of 100 KiB left %d KiB behind", 4*n, grown>>10)
		}
		if len(r.sink.kept) != 2*n {
			t.Errorf("%d messages kept, not %d", len(r.sink.kept), 2*n)
		}
	})
}

// TestOpenPanicsLate: a panic behind the scheme, in what comes after it has opened
// a message, costs that message alone.
func TestOpenPanicsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/psi")
		done := make(chan struct{})
		r.leg.mu.Lock()
		lane := r.leg.people["alice"].lane
		r.leg.mu.Unlock()
		r.leg.work.submit(lane, func() { defer close(done); panic("of a job") })
		<-done
		r.push("<message type='chat' from='alice@x.org/psi'><x xmlns='test:sealed'>6869</x></message>")
		if got := r.lines(&r.sink.messages); len(got) != 1 || r.leg.Counts()["panics"] != 1 {
			t.Errorf("%q, %v", got, r.leg.Counts())
		}
	})
}

// TestRedeliveredIsMarked: the core is told that the scheme has opened this very
// message before.
func TestRedeliveredIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.push("<message type='chat' from='alice@x.org/psi' id='0123456789abcdef'>" + string(element.AppendXML(nil, seal("seen before"), nsClient)) + "</message>")
		if got := r.lines(&r.sink.messages); len(got) != 1 || !strings.Contains(got[0], " redelivered") {
			t.Errorf("%q", got)
		}
	})
}
