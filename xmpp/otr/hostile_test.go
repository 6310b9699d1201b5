package otr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
)

func TestDelayed(t *testing.T) {
	w := newWorld(t, nil)
	early := w.clock.now()
	w.clock.pass(time.Hour)
	w.up()
	w.clock.pass(time.Minute)
	lost, _ := w.client.seal("kept somewhere")
	old, _ := w.client.seal("kept before")
	for _, tt := range []struct {
		name, body string
		stamp      time.Time
		want       string
		err        error
	}{
		{"a query", "?OTRv2?", w.clock.now(), "", nil},
		{"an error", "?OTR Error: x", w.clock.now(), "", nil},
		{"a handshake", "?OTR:AAICAQ==.", w.clock.now(), "", nil},
		{"of a resumed stream", lost, w.clock.now(), "kept somewhere", nil},
		{"from before the session", old, early, "", e2ee.ErrOffline},
	} {
		w.bot.n++
		g := w.bot.openIn(w.client, e2ee.Incoming{Body: tt.body, ID: fmt.Sprint("d", w.bot.n), Stamp: tt.stamp, Delayed: true})
		if !errors.Is(g.err, tt.err) || g.text != tt.want {
			t.Errorf("%s: %+v", tt.name, g)
		}
	}
	if !w.bot.s.Established(w.bot.peer) {
		t.Error("the session is gone")
	}
}

func TestRedelivery(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	body, _ := w.client.seal("once")
	in := e2ee.Incoming{Body: body, ID: "the-same", Stamp: w.clock.now()}
	if g := w.bot.openIn(nil, in); g.text != "once" {
		t.Fatalf("%+v", g)
	}
	if g := w.bot.openIn(nil, in); g.err != nil || !g.o.Redelivered || g.text != "" {
		t.Errorf("again under its id: %+v", g)
	}
	in.ID = "another"
	if g := w.bot.openIn(nil, in); !errors.Is(g.err, e2ee.ErrReplay) || g.text != "" {
		t.Errorf("under another id: %+v", g)
	}
}

// TestHostile: the crash of two messages, cut ones, fragments without end, and too
// many conversations cost their sender only.
func TestHostile(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	body, _ := w.client.seal("text")
	for _, msg := range []string{
		"?OTR:AAICAQ==.", "?OTR:AAICAQ==.", "?OTR:.", "?OTR:AAMD.", "?OTR:", "?OTR,1,2,x", "?OTR,2,1,x,", "?OTR,1,65,x,", "?OTR,0,0,x,", "?OTR|1|2,1,1,x,",
		body[:len(body)/2] + ".", body[:40] + ".", "?OTR Error: ", "?OTRv" + strings.Repeat("2", 1000) + "?",
	} {
		_ = w.bot.open(nil, msg)
	}
	if g := w.bot.open(nil, body); g.text != "text" { // it had been stale by the error message
		t.Fatalf("%+v", g)
	}
	for i := range 2_000 {
		w.bot.open(nil, fmt.Sprintf("?OTR,%d,64,%s,", i%64+1, strings.Repeat("A", 4000)))
	}
	if tk := w.bot.s.find(w.bot.peer); cap(tk.parts[0].buf) > 2*maxAssembly {
		t.Errorf("%d bytes of fragments are kept", cap(tk.parts[0].buf))
	} else {
		tk.mu.Unlock()
	}
	for i := range 1000 {
		p := w.bot.peer
		p.Resource = fmt.Sprint("r", i)
		_, _ = w.bot.s.Open(context.Background(), p, e2ee.Incoming{Body: "?OTRv2?", Stamp: w.clock.now()})
	}
	if n := w.bot.s.Len(); n > maxResources {
		t.Errorf("%d conversations", n)
	}
	if !w.bot.s.Established(w.bot.peer) {
		t.Error("they pushed the session out")
	}
	answers := 0
	for range 1000 {
		if g := w.bot.open(nil, "?OTRv23?"); len(g.o.Reply) > 0 {
			answers++
		}
	}
	if answers > handshakeBurst {
		t.Errorf("%d handshakes at once", answers)
	}
	if _, err := w.bot.seal(strings.Repeat("x", maxText+1)); !errors.Is(err, e2ee.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	if _, err := w.bot.s.Open(context.Background(), e2ee.Peer{Bare: "alice@x"}, e2ee.Incoming{Body: "?OTRv2?"}); !errors.Is(err, e2ee.ErrMalformed) {
		t.Errorf("from a bare JID: %v", err)
	}
}

func TestFragments(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	pieces := func(body string, n int) (out []string) {
		size := (len(body) + n - 1) / n
		for i := 0; i < n; i++ {
			out = append(out, fmt.Sprintf("?OTR,%05d,%05d,%s,", i+1, n, body[i*size:min((i+1)*size, len(body))]))
		}
		return out
	}
	body, _ := w.client.seal(strings.Repeat("long ", 600))
	for i, p := range pieces(body, 10) {
		g := w.bot.open(nil, p)
		if i < 9 && (g.err != nil || !g.o.Silent) || i == 9 && g.text != strings.Repeat("long ", 600) {
			t.Fatalf("piece %d: %+v", i, g)
		}
	}
	bot, client := keys()[0].Tag(), keys()[1].Tag()
	for _, tt := range []struct {
		name     string
		from, to uint32
		want     string
	}{
		{"by version 3", client, bot, "tagged"},
		{"for any instance", client, 0, "tagged"},
		{"for another instance", client, bot + 1, ""},
		{"from no instance", 0xff, bot, ""},
		{"to no instance", client, 0xff, ""},
	} {
		body, _ := w.client.seal("tagged")
		half := len(body) / 2
		w.bot.open(nil, fmt.Sprintf("?OTR|%x|%x,1,2,%s,", tt.from, tt.to, body[:half]))
		// Pieces of another client between them do no harm.
		w.bot.open(nil, fmt.Sprintf("?OTR|%x|%x,1,3,abc,", client+1, bot))
		if g := w.bot.open(nil, fmt.Sprintf("?OTR|%08x|%08x,00002,00002,%s,", tt.from, tt.to, body[half:])); g.text != tt.want {
			t.Errorf("%s: %+v", tt.name, g)
		}
	}
	body, _ = w.client.seal("late")
	p := pieces(body, 2)
	w.bot.open(nil, p[0])
	w.clock.pass(assembleFor + time.Second)
	if g := w.bot.open(nil, p[1]); !g.o.Silent || g.text != "" {
		t.Errorf("%+v", g)
	}
	w.bot.open(nil, p[1])
	w.bot.open(nil, p[0])
	if g := w.bot.open(nil, p[1]); g.text != "late" {
		t.Errorf("out of order, then in order: %+v", g)
	}
}
