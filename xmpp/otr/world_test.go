package otr

import (
	"context"
	"fmt"
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
