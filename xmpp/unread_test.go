package xmpp

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

func TestUnreadLines(t *testing.T) {
	t0 := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	const a, b = "alice@x/a", "alice@x/b"
	for _, tt := range []struct {
		name string
		do   func(u *unreadLines) []string
		want []string
		left []string
	}{
		{"a message proves what it cannot have crossed", func(u *unreadLines) []string { return u.proven(a, at(3)) }, []string{"1"}, []string{"2", "3", "4"}},
		{"of its own resource alone", func(u *unreadLines) []string { return u.proven(b, at(60)) }, []string{"3"}, []string{"1", "2", "4"}},
		{"an error reaches back a minute", func(u *unreadLines) []string { return u.lost(a, at(61)) }, []string{"2", "4"}, []string{"1", "3"}},
		{"a client that was killed", func(u *unreadLines) []string { u.received("4", a, at(5)); return u.left(a, at(11)) }, []string{"2"}, []string{"1", "3", "4"}},
		{"a client that gave a receipt and had ended the session", func(u *unreadLines) []string {
			u.received("1", a, at(5))
			u.received("2", a, at(5.9)) // right before the end, or after it
			u.received("4", a, at(6.1)) // behind the end, and noted before it was opened
			return u.left(a, at(6))
		}, []string{"2", "4"}, []string{"1", "3"}},
		{"an end that the server kept back", func(u *unreadLines) []string { return u.left(a, at(1)) }, []string{"1", "2", "4"}, []string{"3"}},
		{"a line that came back, and those behind it", func(u *unreadLines) []string { return u.returned("2") }, []string{"2", "4"}, []string{"1", "3"}},
		{"a line that came back before", func(u *unreadLines) []string { u.returned("4"); return u.returned("4") }, nil, []string{"1", "2", "3"}},
		{"a receipt counts after a while", func(u *unreadLines) []string {
			u.received("1", a, at(5))
			u.received("2", b, at(5)) // not who it went to
			if ids := u.read(at(5.5)); ids != nil {
				t.Errorf("believed at once: %v", ids)
			}
			return u.read(at(6))
		}, []string{"1"}, []string{"2", "3", "4"}},
		{"a receipt that an error follows", func(u *unreadLines) []string {
			u.received("4", a, at(10))
			return append(u.lost(a, at(10.1)), u.read(at(20))...)
		}, []string{"1", "2", "4"}, []string{"3"}},
		{"one that is sent again is younger", func(u *unreadLines) []string { u.sent("1", a, at(30)); return u.lost(a, at(63)) }, []string{"4", "1"}, []string{"2", "3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := &unreadLines{}
			u.sent("1", a, at(0))
			u.sent("2", a, at(2))
			u.sent("3", b, at(3))
			u.sent("4", a, at(4))
			if got := tt.do(u); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := u.take(func(*unreadLine) bool { return true }); !slices.Equal(got, tt.left) {
				t.Errorf("left %v, want %v", got, tt.left)
			}
		})
	}
}

// What the core hears of four lines when a message of their reader, said four seconds
// after the first, changes the session. The last has a receipt.
func TestChanged(t *testing.T) {
	for _, tt := range []struct {
		changes []e2ee.Change
		want    string
	}{
		{[]e2ee.Change{e2ee.Proven}, "1 read, 2 read"},
		{[]e2ee.Change{e2ee.Lost}, "1 unread, 2 unread, 3 unread, 4 unread"},
		{[]e2ee.Change{e2ee.Proven, e2ee.Ended}, "1 read, 2 read, 3 unread, 4 unread"},
		{[]e2ee.Change{e2ee.Established}, ""},
	} {
		t.Run(fmt.Sprint(tt.changes), func(t *testing.T) {
			var got []string
			word := map[bridge.Outcome]string{bridge.Delivered: "read", bridge.Unread: "unread"}
			room := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
			s := &session{
				leg:    &Leg{name: "bot", log: slog.New(slog.DiscardHandler)},
				proofs: newProofs(func(p bridge.Proof) { got = append(got, p.ID+" "+word[p.Outcome]) }),
			}
			c, now := &contact{room: room}, time.Now()
			for i := range 4 {
				c.unread.sent(fmt.Sprint(i+1), "alice@x/a", now.Add(time.Duration(i-4)*time.Second))
			}
			c.unread.sent("5", "alice@x/b", now.Add(-3*time.Second)) // to another client
			c.unread.received("4", "alice@x/a", now)
			s.changed(c, &item{}, e2ee.Peer{Bare: "alice@x", Resource: "a"}, now.Add(-time.Millisecond), tt.changes)
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnreadLinesAreBounded(t *testing.T) {
	u := &unreadLines{}
	for i := range 3 * unreadMax {
		u.sent(fmt.Sprint(i), "alice@x/a", time.Now())
	}
	if n := len(u.lines); n != unreadMax {
		t.Errorf("%d lines are remembered", n)
	}
}

// What was sealed in a session is acknowledged by the server, and not delivered; a
// receipt does not stand in for that.
func TestProofsOfSessions(t *testing.T) {
	var got []string
	p := newProofs(func(p bridge.Proof) { got = append(got, fmt.Sprint(p.ID, p.Outcome)) })
	room := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	now := time.Now()
	p.chat(waiting{room: room, id: "a", seq: 1, sent: now, session: true})
	p.chat(waiting{room: room, id: "b", seq: 2, sent: now})
	p.receipt(room, "a")
	if !p.inSession(room, "a") || p.inSession(room, "b") {
		t.Error("which of them are sessions'?")
	}
	p.upTo(2)
	p.chat(waiting{room: room, id: "c", seq: 1, sent: now, session: true}) // acknowledged already
	want := []string{fmt.Sprint("a", bridge.Acked), fmt.Sprint("b", bridge.Delivered), fmt.Sprint("c", bridge.Acked)}
	if !slices.Equal(got, want) || !p.inSession(room, "a") {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestForemost(t *testing.T) {
	t0 := time.Now()
	c := &contact{resources: map[string]*resource{
		"a@x/old":    {bare: "a@x", priority: 5, came: t0},
		"a@x/new":    {bare: "a@x", priority: 5, came: t0.Add(time.Second)},
		"a@x/twin":   {bare: "a@x", priority: 5, came: t0.Add(time.Second)},
		"a@x/latest": {bare: "a@x", priority: -1, came: t0.Add(time.Hour)},
		"b@x/other":  {bare: "b@x", priority: 127, came: t0.Add(time.Hour)},
	}}
	for range 20 {
		if got := c.foremost("a@x"); got != "new" {
			t.Fatalf("got %q", got)
		}
	}
	if got := c.foremost("c@x"); got != "" {
		t.Errorf("of nobody: %q", got)
	}
}

func TestPriorityOf(t *testing.T) {
	for text, want := range map[string]int{"7": 7, "-128": -128, "128": 0, "x": 0, "": 0} {
		p := element.New(nsClient, "presence").Add(element.New(nsClient, "priority").SetText(text))
		if got := priorityOf(p); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
