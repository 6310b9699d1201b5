package otr

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee/e2eetest"
)

// TestTwoClientsBehindOneJID: each has its session, and the one that spoke last the
// talk, unless its key must not be used.
func TestTwoClientsBehindOneJID(t *testing.T) {
	for _, tt := range []struct {
		name string
		pins []string
		want int // who gets the next line, after the second has spoken
	}{
		{"both keys are known", []string{keys()[1].Fingerprint(), keys()[2].Fingerprint()}, 1},
		{"only the first", []string{keys()[1].Fingerprint()}, 0},
		{"only the second", []string{keys()[2].Fingerprint()}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *Config, _ *Deps) { c.Start = StartPeer })
			w.bot.peer.Person = alice(tt.pins...)
			other := &side{t: t, s: New(Config{Account: "other", Key: keys()[2], Start: StartPeer}, Deps{Now: w.clock.now}), peer: w.client.peer}
			clients := []*side{w.client, other}
			for _, x := range clients {
				commit := x.open(nil, "?OTRv3?").o.Reply[0].Body
				x.s.of(x.peer.Bare)[0].here = true
				w.bot.open(x, commit)
				w.clock.pass(time.Second)
			}
			for i, x := range []int{0, 1, 0, 1} {
				body, err := clients[x].seal("from it")
				g := w.bot.open(nil, body)
				if pinned := slices.Contains(tt.pins, keys()[1+x].Fingerprint()); err != nil || pinned != (g.text == "from it") || pinned != (g.err == nil) {
					t.Fatalf("%d: %v, %+v", i, err, g)
				}
			}
			body, err := w.bot.seal("to one")
			if err != nil {
				t.Fatal(err)
			}
			if g := clients[tt.want].open(nil, body); g.text != "to one" {
				t.Errorf("who is to have it: %+v", g)
			}
			if g := clients[1-tt.want].open(nil, body); g.text != "" || g.err != nil || !g.o.Silent || len(g.o.Reply) != 0 {
				t.Errorf("the other: %+v", g)
			}
		})
	}
}

// TestTwoResources: each has its session, and the one that spoke last the talk.
func TestTwoResources(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	phone := &side{t: t, s: New(Config{Account: "phone", Key: keys()[1], Start: StartPeer}, Deps{Now: w.clock.now}), peer: w.client.peer}
	atPhone := &side{t: t, s: w.bot.s, peer: w.bot.peer, n: 1000}
	atPhone.peer.Resource = "phone"
	w.clock.pass(time.Second)
	for _, p := range w.bot.s.Arrive(atPhone.peer, "", true) {
		phone.open(atPhone, p.Body)
	}
	for i, x := range []struct {
		client, bot *side
	}{{w.client, w.bot}, {phone, atPhone}, {phone, atPhone}, {w.client, w.bot}} {
		w.clock.pass(time.Second)
		w.say(x.client, x.bot, fmt.Sprint(i), fmt.Sprint(i))
		any := w.bot.peer
		any.Resource = ""
		p, err := w.bot.s.Seal(context.Background(), any, e2eetest.Text("to you"))
		if err != nil || p.Resource != x.bot.peer.Resource {
			t.Fatalf("%d: to %q, %v", i, p.Resource, err)
		}
		if g := x.client.open(nil, p.Body); g.text != "to you" {
			t.Fatalf("%d: %+v", i, g)
		}
	}
	// One that comes online again takes nothing; one that leaves takes the talk to
	// the other.
	w.clock.pass(time.Second)
	w.bot.s.Leave(atPhone.peer)
	for _, p := range w.bot.s.Arrive(atPhone.peer, "", true) {
		phone.open(atPhone, p.Body)
	}
	if p, err := w.bot.s.Seal(context.Background(), atPhone.peer, e2eetest.Text("x")); err != nil || p.Resource != w.bot.peer.Resource || !w.bot.s.Established(atPhone.peer) {
		t.Errorf("to %q, %v", p.Resource, err)
	}
	w.bot.s.Leave(w.bot.peer)
	if p, err := w.bot.s.Seal(context.Background(), w.bot.peer, e2eetest.Text("x")); err != nil || p.Resource != "phone" {
		t.Errorf("to %q, %v", p.Resource, err)
	}
}

// TestFloorOfAText: a text that must reach more than the client that spoke last goes to
// the one that does, and what need not to the one that spoke last.
func TestFloorOfAText(t *testing.T) {
	rungs := fakeTrust{keys()[1].Fingerprint(): policy.Verified, keys()[2].Fingerprint(): policy.Signed}
	w := newWorld(t, func(_ *Config, d *Deps) { d.Trust = rungs })
	w.up()
	phone := &side{t: t, s: New(Config{Account: "phone", Key: keys()[2], Start: StartPeer}, Deps{Now: w.clock.now}), peer: w.client.peer}
	atPhone := &side{t: t, s: w.bot.s, peer: w.bot.peer, n: 1000}
	atPhone.peer.Resource = "phone"
	w.clock.pass(time.Second)
	for _, p := range w.bot.s.Arrive(atPhone.peer, "", true) {
		phone.open(atPhone, p.Body)
	}
	w.clock.pass(time.Second)
	w.say(phone, atPhone, "from the phone", "from the phone")
	for _, tt := range []struct {
		floor policy.Rung
		to    string
		rung  policy.Rung
	}{
		{policy.Clear, "phone", policy.Signed},
		{policy.Signed, "phone", policy.Signed},
		{policy.Verified, w.bot.peer.Resource, policy.Verified},
	} {
		p := w.bot.peer
		p.Floor = tt.floor
		if rung, err := w.bot.s.Reach(p); err != nil || rung != tt.rung {
			t.Errorf("floor %v: reaches %v, %v", tt.floor, rung, err)
		}
		if pay, err := w.bot.s.Seal(context.Background(), p, e2eetest.Text("x")); err != nil || pay.Resource != tt.to || pay.Rung != tt.rung {
			t.Errorf("floor %v: to %q at %v, %v", tt.floor, pay.Resource, pay.Rung, err)
		}
	}
	w.bot.s.Leave(w.bot.peer)
	p := w.bot.peer
	p.Floor = policy.Verified
	if rung, err := w.bot.s.Reach(p); err != nil || rung != policy.Signed {
		t.Errorf("the phone alone: %v, %v", rung, err)
	}
}
