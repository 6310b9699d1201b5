package xmpp

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
	"drawbridge/xmpp/xmpptest"
)

// FuzzGuard gives arbitrary answers and words of a room to all that a guard has read:
// forms, lists of affiliations and of roles, notices and requests.
func FuzzGuard(f *testing.F) {
	for _, name := range []string{"testdata/guard.txt", "testdata/guard-ejabberd.txt"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		lines, err := xmpptest.Lines(string(b))
		if err != nil {
			f.Fatal(err)
		}
		for _, l := range lines {
			if l.Mark == "S" {
				f.Add([]byte(l.Text))
			}
		}
	}
	scheme := &fakeScheme{}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := element.Parse(data, element.Scope{Default: nsClient}, element.Limits{})
		if err != nil {
			return
		}
		l, st, sink := benchLeg(t, withRoom(), scheme)
		s := newSession(l, st, sink)
		l.up(s)
		m := l.rooms[testRoom]
		m.state, m.nick, m.marksIDs = bridge.StateUp, "bridge", true
		w := &witness{}
		l.Watch(w, []bridge.Room{guardRoom(testRoom)})
		l.look()
		fuzzForm(t, e)
		for _, is := range listed {
			holders, err := appendHolders(nil, e, is)
			if err == nil && distinct(holders) != nil && len(holders) < 2 {
				t.Fatal("one stands twice")
			}
			for _, h := range holders {
				if h.JID == "" || h.Is != is || strings.ContainsRune(h.JID, '/') {
					t.Fatalf("holder %+v", h)
				}
			}
		}
		for _, role := range []policy.Role{policy.Moderator, policy.Participant, policy.Visitor} {
			l.count(m, role, e, false)
		}
		s.roomWord(m, e)
		for nick, o := range m.occupants {
			if nick == "" || o.role == "" || keptWord(o.role, roleNames) != o.role {
				t.Fatalf("occupant %q %+v", nick, o)
			}
		}
		for _, line := range w.lines {
			if strings.ContainsAny(line[strings.LastIndexByte(line, ':')+1:], "\n\r\x00") {
				t.Fatalf("%q", line)
			}
		}
		if l.Counts()["panics"] > 0 {
			t.Fatalf("%s panicked", xmpptest.XML(e))
		}
	})
}

// fuzzForm holds what is read of a form to what is written of it.
func fuzzForm(t *testing.T, e *element.Element) {
	x := e.Child(nsMUCOwner, "query").Child(nsForm, "x")
	if x == nil {
		x = e.Child(nsForm, "x")
	}
	got, err := form.Parse(x)
	switch {
	case err != nil && !errors.Is(err, form.Err):
		t.Fatal(err)
	case err != nil:
		return
	}
	for i := range got.Fields {
		field := &got.Fields[i]
		was := field.Value()
		field.Set(was)
		if field.Value() != was && field.Type != "boolean" {
			t.Fatalf("%q set to itself is %q", was, field.Value())
		}
	}
	back := got.Submit()
	if back.Get("type") != "submit" {
		t.Fatal("not submitted")
	}
	again, err := form.Parse(back.Set("type", "form"))
	if err != nil {
		t.Fatalf("no round trip: %v", err)
	}
	if !reflect.DeepEqual(configOf(got), configOf(again)) || got.Kind != again.Kind && got.Kind != "" {
		t.Fatalf("%v became %v", configOf(got), configOf(again))
	}
}
