package xmpp

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

// FuzzDispatch gives arbitrary element trees to a session with contacts and a
// room. Nothing may panic past the guard, and every stanza must be accounted for.
func FuzzDispatch(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
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
	for _, id := range []string{"A1", "1700000000000001"} {
		for _, from := range []string{"bot@x.org", testRoom, "mallory@x.org", testRoom + "/mallory"} {
			for _, inner := range []string{testRoom + "/carol' type='groupchat", "alice@x.org/a' type='chat", "bot@x.org/x' id='asked"} {
				f.Add([]byte(resultOf(from, "q", id, "2000-01-01T00:00:00Z", "<message xmlns='jabber:client' from='"+inner+"'><body>x</body></message>")))
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
		l.rooms[testRoom].state, l.rooms[testRoom].nick = 2, "bridge"
		l.Watch(&witness{}, []bridge.Room{guardRoom(testRoom)})
		account := &catchUp{owner: s.bare, query: "q"}
		room := &catchUp{owner: testRoom, query: "q", m: l.rooms[testRoom], again: true}
		s.archives[s.bare], s.archives[testRoom] = account, room
		s.asking["a"] = &inquiry{owner: s.bare, query: "a", ids: map[string]bridge.Answer{"asked": bridge.Unanswered}}
		s.take(e)
		s.take(e)
		s.leg.tendRooms(s, time.Now().Add(time.Hour))
		if l.Counts()["panics"] > 0 && !mentions(e, "panic-claims") {
			t.Fatalf("%s panicked", xmpptest.XML(e))
		}
		kept := len(l.pipe.items) - l.pipe.head - 1 // without leg-up
		kept += len(account.tail) + len(account.live) + len(room.tail) + len(room.live)
		if st.HandledCount() != 2 && kept <= 0 {
			t.Fatalf("%s: %d handled, %d handed on", xmpptest.XML(e), st.HandledCount(), kept)
		}
	})
}

func mentions(e *element.Element, local string) bool {
	if e.Local == local {
		return true
	}
	for _, c := range e.Children {
		if mentions(c, local) {
			return true
		}
	}
	return false
}
