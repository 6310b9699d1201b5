package otr

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
)

func TestConformance(t *testing.T) {
	e2eetest.Run(t, e2eetest.Harness{
		InBody: true,
		Ends: func(t testing.TB) (a, b e2eetest.End) {
			w := newWorld(t, nil)
			w.up()
			return e2eetest.End{Scheme: w.bot.s, Peer: w.bot.peer}, e2eetest.End{Scheme: w.client.s, Peer: w.client.peer}
		},
		Keyless: func(t testing.TB) (e2ee.Scheme, e2ee.Peer) {
			w := newWorld(t, func(c *Config, _ *Deps) { c.Start = StartPeer })
			return w.bot.s, w.bot.peer
		},
		Body: func(o e2ee.Opened) string { return o.Reveal() },
	})
}

// TestByVersion2 is all of it with a client that has only version 2.
func TestByVersion2(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"conformance": TestConformance, "meets a handshake": TestMeetsAHandshake, "nobody answers": TestNobodyAnswers, "rungs": TestRungs,
		"clear inside": TestClearInside, "peer ends": TestPeerEnds, "we restart": TestWeRestart, "peer restarts": TestPeerRestarts, "blip": TestBlip,
		"two resources": TestTwoResources, "delayed": TestDelayed, "redelivery": TestRedelivery, "rekey": TestRekeyAndHeartbeat, "hostile": TestHostile,
		"fragments": TestFragments, "idle": TestIdle,
	} {
		t.Run(name, test)
	}
}

// TestVersions: the highest that both have.
func TestVersions(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	if tk := w.bot.s.find(w.bot.peer); tk.conv.Version() != 3 {
		t.Errorf("version %d", tk.conv.Version())
	} else {
		tk.mu.Unlock()
	}
	w = newWorld(t, nil)
	w.bot.two, w.client.two = true, true
	w.up()
	if tk := w.bot.s.find(w.bot.peer); tk.conv.Version() != 2 {
		t.Errorf("version %d", tk.conv.Version())
	} else {
		tk.mu.Unlock()
	}
}

func TestStart(t *testing.T) {
	const tag = tagBase + tagV2
	for _, tt := range []struct {
		name   string
		start  Start
		event  string // arrive, say, or what the client sends
		sends  string // how what the bot sends begins, "" for nothing
		opened string // text that comes out in clear
	}{
		{"presence", StartPresence, "arrive", "?OTRv23?", ""},
		{"presence, something to say", StartPresence, "say", "?OTRv23?", ""},
		{"first message: not by presence", StartFirstMessage, "arrive", "", ""},
		{"first message", StartFirstMessage, "say", "?OTRv23?", ""},
		{"peer: not by presence", StartPeer, "arrive", "", ""},
		{"peer: not by a message", StartPeer, "say", "", ""},
		{"peer: by a query", StartPeer, "?OTRv23?\nhello", "?OTR:AAMC", ""},
		{"a query of old", StartPeer, "?OTR?v2?", "?OTR:AAIC", ""},
		{"version 3 alone", StartPeer, "?OTRv3?", "?OTR:AAMC", ""},
		{"version 4 alone", StartPeer, "?OTRv4?", "", ""},
		{"version 1 alone", StartPeer, "?OTR?", "", ""},
		{"a tag", StartPeer, "hello" + tagBase + " \t \t  \t " + tagV2 + tagV3, "?OTR:AAMC", "hello"},
		{"a tag in front", StartPeer, tag + "hello ", "?OTR:AAIC", "hello "},
		{"a tag for version 3 alone", StartPeer, "hello" + tagBase + tagV3, "?OTR:AAMC", "hello"},
		{"a tag for version 1 alone", StartPeer, "hello" + tagBase + " \t \t  \t ", "", "hello"},
		{"a tag alone", StartPeer, tag, "?OTR:AAIC", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *Config, _ *Deps) { c.Start = tt.start })
			var sent string
			switch tt.event {
			case "arrive":
				for _, p := range w.bot.s.Arrive(w.bot.peer, "", true) {
					sent += p.Body
				}
			case "say":
				body, err := w.bot.seal("secret")
				if !errors.Is(err, e2ee.ErrHandshake) || strings.Contains(body, "secret") {
					t.Fatalf("%q, %v", body, err)
				}
				sent = body
			default:
				g := w.bot.open(nil, tt.event)
				if g.err != nil || g.text != tt.opened || g.o.Silent != (tt.opened == "") || g.o.Rung != policy.Clear {
					t.Fatalf("%+v", g)
				}
				for _, p := range g.o.Reply {
					sent += p.Body
				}
			}
			if !strings.HasPrefix(sent, tt.sends) || tt.sends == "" && sent != "" {
				t.Errorf("sends %.40q, want %q", sent, tt.sends)
			}
		})
	}
}

// TestMeetsAHandshake: what is said before the session waits, and leaves after it.
func TestMeetsAHandshake(t *testing.T) {
	w := newWorld(t, nil)
	query, err := w.bot.seal("first")
	if !errors.Is(err, e2ee.ErrHandshake) {
		t.Fatal(err)
	}
	if body, err := w.bot.seal("first"); !errors.Is(err, e2ee.ErrHandshake) || body != "" {
		t.Errorf("asks again at once: %q, %v", body, err)
	}
	if _, err := w.bot.s.Reach(w.bot.peer); !errors.Is(err, e2ee.ErrHandshake) {
		t.Errorf("Reach: %v", err)
	}
	w.client.open(w.bot, query)
	if !slices.Contains(w.bot.changes, e2ee.Established) {
		t.Fatalf("changes: %v", w.bot.changes)
	}
	w.say(w.bot, w.client, "first", "first")
	w.say(w.client, w.bot, "answer", "answer")
	if rung, err := w.bot.s.Reach(w.bot.peer); rung != policy.Verified || err != nil {
		t.Errorf("Reach: %v, %v", rung, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	w := newWorld(t, nil)
	asked := 0
	if b, _ := w.bot.seal("x"); b != "" {
		asked++
	}
	for range 60 * 60 {
		w.clock.pass(time.Second)
		asked += len(w.bot.s.Due(w.clock.now()))
		if b, _ := w.bot.seal("x"); b != "" {
			asked++
		}
	}
	if asked < 4 || asked > 10 {
		t.Errorf("asked %d times in an hour", asked)
	}
}

func TestRungs(t *testing.T) {
	other := strings.Repeat("A", 40)
	for _, tt := range []struct {
		name   string
		person *policy.Person
		want   policy.Rung
		err    error
	}{
		{"pinned", alice(keys()[1].Fingerprint()), policy.Verified, nil},
		{"one of several", alice(other, keys()[1].Fingerprint()), policy.Verified, nil},
		{"unknown", alice(), policy.Sealed, nil},
		{"another key", alice(other), policy.Clear, e2ee.ErrKeyChanged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.bot.peer.Person = tt.person
			w.up()
			if rung, err := w.bot.s.Reach(w.bot.peer); rung != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Reach: %v, %v", rung, err)
			}
			body, err := w.bot.seal("secret")
			if !errors.Is(err, tt.err) || tt.err != nil && body != "" {
				t.Errorf("Seal: %.20q, %v", body, err)
			}
			in, _ := w.client.seal("hello")
			g := w.bot.open(nil, in)
			if !errors.Is(g.err, tt.err) || tt.err == nil && (g.text != "hello" || g.o.Rung != tt.want || g.o.Fingerprint != keys()[1].Fingerprint()) || tt.err != nil && g.text != "" {
				t.Errorf("Open: %+v", g)
			}
		})
	}
}

func TestClearInside(t *testing.T) {
	w := newWorld(t, nil)
	w.up()
	if g := w.bot.open(nil, "hello"+tagBase+tagV2); !errors.Is(g.err, e2ee.ErrClear) || g.text != "" {
		t.Errorf("%+v", g)
	}
	if _, err := e2ee.Claim([]e2ee.Scheme{w.bot.s}, []string{Name}, w.bot.peer, e2ee.Incoming{Body: "hello"}); !errors.Is(err, e2ee.ErrClear) {
		t.Errorf("Claim: %v", err)
	}
	w.say(w.client, w.bot, "goes on", "goes on")
}
