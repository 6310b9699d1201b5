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

// saysNo is a reply of type error, with the question in it as RFC 6120 §8.3.1 allows.
func saysNo(question, typ, condition string) string {
	return "'error'><" + question + "/><error type='" + typ + "'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
}

// TestInvites: a server without commands has none to invite by; one that does not say
// is not taken for such a one.
func TestInvites(t *testing.T) {
	const question = "query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'"
	item := func(node string) string {
		return "'result'><" + question + "><item jid='x.org' node='" + node + "'/></query>"
	}
	for _, tt := range []struct {
		name, answer string
		want         bool
		err          string
	}{
		{"by users", item("urn:xmpp:invite#invite"), true, ""},
		{"by admins", item("urn:xmpp:invite#create-account"), true, ""},
		{"by nobody", item("http://jabber.org/protocol/admin#add-user"), false, ""},
		{"no commands", saysNo(question, "cancel", "item-not-found"), false, ""},
		{"none for the bot", saysNo(question, "auth", "forbidden"), false, ""},
		{"not now", saysNo(question, "wait", "resource-constraint"), false, ": resource-constraint"},
		{"broken", saysNo(question, "wait", "internal-server-error"), false, ": internal-server-error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, testConfig())
				r.start()
				defer r.stop()
				r.skipStart()
				got := false
				_, err := r.answering(func() (err error) { got, err = r.leg.Invites(t.Context()); return err }, func(*element.Element) string { return tt.answer })
				if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, %v; want %v, %s", got, err, tt.want, tt.err)
				}
			})
		})
	}
}

func TestAskIn(t *testing.T) {
	features := func(list ...string) string {
		return "'result'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='" + strings.Join(list, "'/><feature var='") + "'/></query>"
	}
	for _, tt := range []struct {
		name, affiliation, info, want string
		err                           string
	}{
		{"an open room", "none", features("muc_open"), "<message to='ann@x.org' id=''><x xmlns='jabber:x:conference' jid='dev@rooms.x.org'/></message>", ""},
		{"for members, of ours", "owner", features("muc_membersonly"), "<message to='dev@rooms.x.org' id=''><x xmlns='http://jabber.org/protocol/muc#user'><invite to='ann@x.org'/></x></message>", ""},
		{"for members, not ours", "member", features("muc_membersonly"), "", "neither owner nor admin"},
		{"that does not say, with our question in its answer", "owner", saysNo("query xmlns='http://jabber.org/protocol/disco#info'", "cancel", "item-not-found"), "", ": item-not-found"},
		{"that is busy", "owner", saysNo("query xmlns='http://jabber.org/protocol/disco#info'", "wait", "resource-constraint"), "", ": resource-constraint"},
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
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
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
