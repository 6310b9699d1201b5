package otr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
)

// keys are made once: each takes a tenth of a second.
var keys = sync.OnceValue(func() (out [3]*Key) {
	for i := range out {
		k, err := NewKey()
		if err != nil {
			panic(err)
		}
		out[i] = k
	}
	return out
})

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// side is a scheme and the peer at the other end, as it sees it.
type side struct {
	t    testing.TB
	s    *Scheme
	peer e2ee.Peer
	n    int
	two  bool // it is not told of version 3
	// changes are those told so far.
	changes []e2ee.Change
}

// bot and client are the two ends; the client's peer is the bot.
type world struct {
	clock       *clock
	bot, client *side
}

func alice(pins ...string) *policy.Person { return &policy.Person{Name: "alice", OTR: pins} }

func newWorld(t testing.TB, edit func(c *Config, d *Deps)) *world {
	w := &world{clock: newClock()}
	w.bot = &side{t: t, peer: e2ee.Peer{Account: "bot", Self: "bot@x", Bare: "alice@x", Resource: "prof", Person: alice(keys()[1].Fingerprint())}}
	w.client = &side{t: t, peer: e2ee.Peer{Account: "alice", Self: "alice@x", Bare: "bot@x", Resource: "drawbridge"}}
	w.bot.two = strings.Contains(t.Name(), "Version2")
	w.client.two = w.bot.two
	cfg, deps := Config{Account: "bot", Key: keys()[0]}, Deps{Now: w.clock.now}
	if edit != nil {
		edit(&cfg, &deps)
	}
	w.bot.s = New(cfg, deps)
	w.client.s = New(Config{Account: "alice", Key: keys()[1], Start: StartPeer}, Deps{Now: w.clock.now})
	return w
}

// got is what came out of one message.
type got struct {
	text string
	err  error
	o    e2ee.Opened
}

// open gives a body to a side, and its replies to the other until nobody answers.
// It returns what the first message came to.
func (x *side) open(other *side, body string) got {
	x.t.Helper()
	x.n++
	return x.openIn(other, e2ee.Incoming{Body: body, ID: fmt.Sprintf("%s-%d", x.peer.Account, x.n), Stamp: x.s.now()})
}

func (x *side) openIn(other *side, in e2ee.Incoming) got {
	x.t.Helper()
	if rest, ok := strings.CutPrefix(in.Body, "?OTRv23?"); ok && x.two {
		in.Body = "?OTRv2?" + rest
	}
	o, err := x.s.Open(context.Background(), x.peer, in)
	x.changes = append(x.changes, o.Changes...)
	for _, p := range o.Reply {
		if p.Resource != x.peer.Resource || !p.NoCopy || p.Store || p.EME != EME {
			x.t.Errorf("a reply that may go astray: %+v", p)
		}
		if other != nil {
			other.open(x, p.Body)
		}
	}
	return got{o.Reveal(), err, o}
}

func (x *side) seal(text string) (string, error) {
	p, err := x.s.Seal(context.Background(), x.peer, e2eetest.Text(text))
	return p.Body, err
}

// say carries a line to the other side, which must read it.
func (w *world) say(from, to *side, text, want string) {
	from.t.Helper()
	body, err := from.seal(text)
	if err != nil {
		from.t.Fatalf("Seal: %v", err)
	}
	if g := to.open(from, body); g.err != nil || g.text != want {
		from.t.Fatalf("%q came as %q, %v", text, g.text, g.err)
	}
}

// up makes a session, asked for by the bot's presence.
func (w *world) up() {
	w.bot.t.Helper()
	for _, p := range w.bot.s.Arrive(w.bot.peer, "", true) {
		w.client.open(w.bot, p.Body)
	}
	if !w.bot.s.Established(w.bot.peer) {
		w.bot.t.Fatal("no session")
	}
}

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

// fakeTrust is a Trust of a few OTR keys.
type fakeTrust map[string]policy.Rung

func (f fakeTrust) Keys(e2ee.Peer, e2ee.KeyKind) []e2ee.Key { return nil }
func (f fakeTrust) Rung(_ e2ee.Peer, _ e2ee.KeyKind, fpr string) (policy.Rung, error) {
	if r, ok := f[fpr]; ok {
		return r, nil
	}
	return policy.Clear, e2ee.ErrKeyChanged
}

func (f fakeTrust) Meet(p e2ee.Peer, k e2ee.KeyKind, fpr string) (policy.Rung, error) {
	return f.Rung(p, k, fpr)
}
func (f fakeTrust) Hint(e2ee.Peer, e2ee.KeyKind, string)     {}
func (f fakeTrust) Pinned(*policy.Person, e2ee.KeyKind) bool { return true }

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
	for i := range 20_000 {
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
