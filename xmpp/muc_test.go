package xmpp

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
)

// TestJoinRefused has a room refuse the join in every way; the status says what
// to do, and some are tried again.
func TestJoinRefused(t *testing.T) {
	for _, tt := range []struct {
		condition string
		state     bridge.State
		says      string
		within    time.Duration // of the next join
	}{
		{"not-authorized", bridge.StateRefused, "password", 15 * time.Minute},
		{"registration-required", bridge.StateRefused, "members-only", 15 * time.Minute},
		{"forbidden", bridge.StateRefused, "banned", 15 * time.Minute},
		{"item-not-found", bridge.StateRefused, "no such room", 15 * time.Minute},
		{"not-allowed", bridge.StateRefused, "may not create rooms", 15 * time.Minute},
		{"not-acceptable", bridge.StateRefused, "registered nick", 15 * time.Minute},
		{"jid-malformed", bridge.StateRefused, "nick", 15 * time.Minute},
		{"gone", bridge.StateRefused, "moved or is gone", 15 * time.Minute},
		{"service-unavailable", bridge.StateDown, "full", 3 * time.Second},
		{"remote-server-not-found", bridge.StateDown, "cannot be reached", 3 * time.Second},
		{"odd", bridge.StateDown, "undefined-condition", 3 * time.Second},
		{"", bridge.StateDown, "no answer", 40 * time.Second},
	} {
		t.Run(tt.condition, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withRoom())
				r.start()
				defer r.stop()
				r.skipStart()
				if tt.condition != "" {
					r.push("<presence type='error' from='" + testRoom + "/bridge'><error type='cancel'><" + tt.condition + " xmlns='" + nsStanzas + "'/></error></presence>")
					if st := r.leg.Status().Rooms[2]; st.State != tt.state || !strings.Contains(st.Detail, tt.says) {
						t.Errorf("%v: %s", st.State, st.Detail)
					}
					if e := r.sink.next(&r.sink.events); !strings.HasPrefix(e, "room-down "+testRoom+": ") || !strings.Contains(e, tt.says) {
						t.Errorf("event: %s", e)
					}
				}
				began := time.Now()
				var again time.Duration
				for again == 0 && time.Since(began) < tt.within {
					time.Sleep(time.Second)
					synctest.Wait()
					for e := r.st.Sent(); e != nil; e = r.st.Sent() {
						switch {
						case e.Child(nsMUC, "x") != nil:
							again = time.Since(began)
						case e.Child(nsPing, "ping") != nil:
							r.push("<iq type='result' from='x.org' id='" + e.Get("id") + "'/>")
						}
					}
				}
				if again == 0 || tt.state == bridge.StateRefused && again < 5*time.Minute {
					t.Errorf("tried again after %v", again)
				}
			})
		})
	}
}

// TestNickTaken gives up after a few variants.
func TestNickTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		var tried []string
		for range 10 {
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Child(nsMUC, "x") != nil {
					_, nick := splitJID(e.Get("to"))
					tried = append(tried, nick)
					r.push("<presence type='error' from='" + e.Get("to") + "'><error type='cancel'><conflict xmlns='" + nsStanzas + "'/></error></presence>")
				}
			}
		}
		if got := fmt.Sprint(tried); got != "[bridge bridge_ bridge_2 bridge_3 bridge_4 bridge_5]" {
			t.Errorf("tried %s", got)
		}
		if got := roomLine(r.leg.Status(), testRoom); !strings.Contains(got, "refused: the nick bridge and its variants are taken") {
			t.Errorf("status: %s", got)
		}
	})
}

// TestReconfigureRooms changes the nick of a room we are in, and the password of
// one that refuses us.
func TestReconfigureRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.push("<presence type='error' from='" + testRoom + "/bridge'><error type='auth'><not-authorized xmlns='" + nsStanzas + "'/></error></presence>")
		c := withRoom()
		c.Rooms[0].Password = "sesame"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.st.Sent() // disco
		if e := r.st.Sent(); e.Child(nsMUC, "x").Child(nsMUC, "password") == nil {
			t.Error("no join with the new password")
		}
		r.joinRoom()
		r.st.Sent() // probe
		c.Rooms[0].Nick = "other"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if e := r.st.Sent(); e.Get("to") != testRoom+"/other" || e.Child(nsMUC, "x") != nil {
			t.Errorf("the nick was not changed: %v", e)
		}
		c.Status = "new & signed"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		e := r.st.Sent()
		if statusOf(e) != "new & signed" || e.Child(nsSigned, "x").Text != "signature 2 of [new & signed]" {
			t.Errorf("the new status is not shown, or not signed: %v", e)
		}
	})
}

// TestRealJIDs: only a JID that the room shows makes a person of a nick.
func TestRealJIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		for _, p := range []struct{ nick, jid, want string }{
			{"a", "alice@x.org/psi", "person=alice jid=alice@x.org"},
			{"alice", "", "from alice |"},
			{"bob", "mallory@x.org/a", "from bob jid=mallory@x.org |"},
		} {
			item := element.New(nsMUCUser, "item", "role", "participant", "jid", p.jid)
			r.st.Deliver(element.New(nsClient, "presence", "from", testRoom+"/"+p.nick).Add(element.New(nsMUCUser, "x").Add(item)))
			r.push("<message type='groupchat' from='" + testRoom + "/" + p.nick + "'><body>x</body></message>")
			if got := r.sink.next(&r.sink.messages); !strings.Contains(got, p.want) {
				t.Errorf("%s: %s", p.nick, got)
			}
		}
	})
}
