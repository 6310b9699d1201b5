package xmpp

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

// answering has a question of the leg's answered: each IQ that it sends by answer, which
// returns what stands in the reply, with its type. All else it sends is returned.
func (r *rig) answering(do func() error, answer func(iq *element.Element) string) (sent []string, err error) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	for range 10 {
		synctest.Wait()
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			if e.Local != "iq" {
				sent = append(sent, xmpptest.XML(e))
				continue
			}
			r.push("<iq id='" + e.Get("id") + "' from='" + e.Get("to") + "' type=" + answer(e) + "</iq>")
		}
	}
	return sent, <-done
}

func TestAskIn(t *testing.T) {
	features := func(list ...string) string {
		return "'result'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='" + strings.Join(list, "'/><feature var='") + "'/></query>"
	}
	for _, tt := range []struct {
		name, affiliation, info, want string
		err                           error
	}{
		{"an open room", "none", features("muc_open"), "<message to='ann@x.org' id=''><x xmlns='jabber:x:conference' jid='dev@rooms.x.org'/></message>", nil},
		{"for members, of ours", "owner", features("muc_membersonly"), "<message to='dev@rooms.x.org' id=''><x xmlns='http://jabber.org/protocol/muc#user'><invite to='ann@x.org'/></x></message>", nil},
		{"for members, not ours", "member", features("muc_membersonly"), "", errNotOurs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withRoom())
				r.start()
				defer r.stop()
				r.skipStart()
				r.push("<presence from='" + testRoom + "/bridge'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='" + tt.affiliation + "' role='participant'/><status code='110'/></x></presence>")
				r.sent()
				sent, err := r.answering(func() error {
					return r.leg.AskIn(t.Context(), bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: testRoom}, "ann@x.org")
				}, func(*element.Element) string { return tt.info })
				if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
					t.Errorf("%v, want %v", err, tt.err)
				}
				got := strings.Join(sent, "\n")
				if i, j := strings.Index(got, "id='"), strings.Index(got, "'><x"); i >= 0 && j > i {
					got = got[:i+4] + got[j:]
				}
				if got != tt.want {
					t.Errorf("sent\n%s\nwant\n%s", got, tt.want)
				}
			})
		})
	}
}

func TestInvitation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		if _, err := r.leg.Invitation(t.Context()); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("without a stream: %v", err)
		}
		if _, err := r.leg.Invites(t.Context()); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("without a stream: %v", err)
		}
		r.start()
		defer r.stop()
		r.skipStart()
		invites := false
		_, err := r.answering(func() (err error) { invites, err = r.leg.Invites(t.Context()); return err }, func(iq *element.Element) string {
			if iq.Get("to") != "x.org" {
				t.Errorf("asked %s", iq.Get("to"))
			}
			return "'result'><query xmlns='http://jabber.org/protocol/disco#items'><item jid='x.org' node='urn:xmpp:invite#invite'/></query>"
		})
		if err != nil || !invites {
			t.Errorf("invites: %v, %v", invites, err)
		}
		_, err = r.answering(func() error {
			inv, err := r.leg.Invitation(t.Context())
			if err == nil && inv.URI != "xmpp:x.org?register;preauth=T" {
				t.Errorf("%+v", inv)
			}
			return err
		}, func(iq *element.Element) string {
			if strings.Contains(xmpptest.XML(iq), "#create-account") {
				return "'error'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
			}
			return "'result'><command xmlns='http://jabber.org/protocol/commands' status='completed'><x xmlns='jabber:x:data' type='form'><field var='uri'><value>xmpp:x.org?register;preauth=T</value></field></x></command>"
		})
		if err != nil {
			t.Error(err)
		}
	})
}
