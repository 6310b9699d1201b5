package otr

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
)

// TestPeerEnds: nothing leaves in clear, and a new session is asked for.
func TestPeerEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	tk := w.client.s.find(w.client.peer)
	bye, err := tk.conv.Disconnect()
	tk.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if g := w.bot.open(nil, bye); g.err != nil || !g.o.Silent || !slices.Contains(g.o.Changes, e2ee.Ended) {
		t.Fatalf("%+v", g)
	}
	if body, err := w.bot.seal("secret"); !errors.Is(err, e2ee.ErrHandshake) || strings.Contains(body, "secret") {
		t.Errorf("%q, %v", body, err)
	}
	w.clock.pass(askAgain)
	due := w.bot.s.Due(w.clock.now())
	if len(due) != 1 || !strings.HasPrefix(due[0].Payload.Body, "?OTRv23?") || due[0].To.Resource != "prof" {
		t.Fatalf("%+v", due)
	}
	w.client.open(w.bot, due[0].Payload.Body)
	w.say(w.bot, w.client, "secret", "secret")
}

// TestWeRestart: the first line that cannot be read is answered by a query and,
// inside of the new session, by a word; once a minute.
func TestWeRestart(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Deps) { c.Start = StartPeer })
	w.client.s = New(Config{Account: "alice", Key: keys()[1]}, Deps{Now: w.clock.now})
	w.bot.open(w.client, "?OTRv23?")
	w.say(w.client, w.bot, "before", "before")
	w.bot.s = New(Config{Account: "bot", Key: keys()[0], Start: StartPeer}, Deps{Now: w.clock.now})

	lost, _ := w.client.seal("lost")
	more, _ := w.client.seal("lost, too")
	g := w.bot.open(nil, lost)
	if !errors.Is(g.err, e2ee.ErrHandshake) || len(g.o.Reply) != 1 || !strings.HasPrefix(g.o.Reply[0].Body, "?OTRv23?") {
		t.Fatalf("%+v", g)
	}
	if g := w.bot.open(nil, more); !errors.Is(g.err, e2ee.ErrHandshake) || len(g.o.Reply) != 0 {
		t.Fatalf("%+v", g)
	}
	// The client answers the query; with the session comes the word.
	var heard []string
	bodies := []string{g.o.Reply[0].Body}
	to, from := w.client, w.bot
	for len(bodies) > 0 {
		var next []string
		for _, b := range bodies {
			r := to.open(nil, b)
			if r.text != "" {
				heard = append(heard, r.text)
			}
			for _, p := range r.o.Reply {
				next = append(next, p.Body)
			}
		}
		bodies, to, from = next, from, to
	}
	if len(heard) != 1 || heard[0] != pleaseRepeat {
		t.Fatalf("the client heard %q", heard)
	}
	w.say(w.client, w.bot, "lost", "lost")
	w.say(w.bot, w.client, "thanks", "thanks")
}

// TestPeerRestarts: what cannot be read there is to be sent again.
func TestPeerRestarts(t *testing.T) {
	for _, how := range []string{"error", "left"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, nil)
			w.up()
			w.client.s = New(Config{Account: "alice", Key: keys()[1], Start: StartPeer}, Deps{Now: w.clock.now})
			var query string
			if how == "error" {
				if _, err := w.bot.seal("lost"); err != nil {
					t.Fatal(err)
				}
				g := w.bot.open(nil, "?OTR Error: You sent encrypted data to alice, who wasn't expecting it.")
				if !slices.Contains(g.o.Changes, e2ee.Lost) || !g.o.Silent || len(g.o.Reply) != 1 {
					t.Fatalf("%+v", g)
				}
				query = g.o.Reply[0].Body
			} else {
				w.bot.s.Leave(w.bot.peer)
				anyone := w.bot.peer
				anyone.Resource = ""
				if _, err := w.bot.s.Seal(context.Background(), anyone, e2eetest.Text("too early")); !errors.Is(err, e2ee.ErrHandshake) {
					t.Fatalf("sealed for a session that may be gone: %v", err)
				}
				out := w.bot.s.Arrive(w.bot.peer, "profanity", true)
				if len(out) != 1 {
					t.Fatalf("%+v", out)
				}
				query = out[0].Body
			}
			w.client.open(w.bot, query)
			w.say(w.bot, w.client, "lost", "lost")
		})
	}
}

// TestBlip: a resource that comes back with its session goes on with it.
func TestBlip(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Deps) { c.Start = StartFirstMessage })
	for _, p := range w.client.s.Arrive(w.client.peer, "", true) {
		t.Fatal(p)
	}
	w.bot.open(w.client, "?OTRv23?")
	w.bot.s.Leave(w.bot.peer)
	if out := w.bot.s.Arrive(w.bot.peer, "", true); len(out) != 0 {
		t.Errorf("%+v", out)
	}
	w.bot.changes = nil
	w.say(w.client, w.bot, "still me", "still me")
	if !slices.Equal(w.bot.changes, []e2ee.Change{e2ee.Established, e2ee.Proven}) {
		t.Errorf("%v", w.bot.changes)
	}
	w.say(w.bot, w.client, "and me", "and me")
}

func TestRekeyAndHeartbeat(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Deps) { c.Rekey = time.Hour })
	w.up()
	w.clock.pass(59 * time.Minute)
	body, _ := w.client.seal("x")
	g := w.bot.open(nil, body)
	if len(g.o.Reply) != 1 { // long since we said anything
		t.Fatalf("no heartbeat: %+v", g)
	}
	if h := w.client.open(nil, g.o.Reply[0].Body); h.err != nil || !h.o.Silent || len(h.o.Reply) != 0 {
		t.Errorf("heartbeat: %+v", h)
	}
	if due := w.bot.s.Due(w.clock.now()); len(due) != 0 {
		t.Errorf("too early: %+v", due)
	}
	w.clock.pass(time.Minute)
	late, _ := w.client.seal("under way")
	due := w.bot.s.Due(w.clock.now())
	if len(due) != 1 || due[0].Payload.Body[7:9] != "MC" && due[0].Payload.Body[7:9] != "IC" {
		t.Fatalf("%+v", due)
	}
	w.bot.changes = nil
	w.client.open(w.bot, due[0].Payload.Body)
	if !slices.Contains(w.bot.changes, e2ee.Established) {
		t.Fatal("no new keys")
	}
	if g := w.bot.open(nil, late); g.err != nil || g.text != "under way" {
		t.Errorf("made with the old keys: %+v", g)
	}
	w.say(w.bot, w.client, "on", "on")
	w.clock.pass(2 * time.Minute)
	if due := w.bot.s.Due(w.clock.now()); len(due) != 0 {
		t.Errorf("%+v", due)
	}
}

func TestIdle(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	w.bot.s.Leave(e2ee.Peer{Bare: w.bot.peer.Bare})
	w.clock.pass(keepFor - time.Minute)
	w.bot.s.Due(w.clock.now())
	if w.bot.s.Len() != 1 {
		t.Error("forgotten too early")
	}
	w.clock.pass(2 * time.Minute)
	if w.bot.s.Due(w.clock.now()); w.bot.s.Len() != 0 {
		t.Error("kept for ever")
	}
}
