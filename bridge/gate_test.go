package bridge_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// gate refuses what it is told to.
type gate struct {
	mu   sync.Mutex // guards all
	in   func(m *bridge.Message) bool
	out  func(from bridge.Sender, to bridge.Room) bool
	outs []bridge.Sender
}

func (g *gate) set(f func()) { g.mu.Lock(); f(); g.mu.Unlock() }

func (g *gate) In(m *bridge.Message, _ time.Time) bridge.Ruling {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bridge.Ruling{Refused: g.in != nil && g.in(m), Rule: "r1", Reason: "log in first"}
}

func (g *gate) Out(from bridge.Sender, _, to bridge.Room, _ bridge.Line, _ policy.Rung, _ time.Time) bridge.Ruling {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.outs = append(g.outs, from)
	return bridge.Ruling{Refused: g.out != nil && g.out(from, to), Rule: "r2", Reason: "not in this room"}
}

// gated is live with a gate.
func gated(t *testing.T, test func(h *house, g *gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		b := devBridge()
		b.Rooms = append(b.Rooms, rooms(ops)...)
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people, Location: time.UTC}
		h.start(bridge.Deps{Gate: g})
		test(h, g)
		h.stop()
		h.balanced()
	})
}

// What the gate refuses goes nowhere, is counted, and the speaker is told why in their
// own chat.
func TestGateIn(t *testing.T) {
	gated(t, func(h *house, g *gate) {
		g.set(func() {
			g.in = func(m *bridge.Message) bool { return m.From.Person == "alice" || m.From.Nick == "eve" }
		})
		taken := 0
		m := person(alice, "secret")
		m.Taken = func(ok bool) {
			if !ok {
				taken++
			}
		}
		must(t, h.xmpp.Take(m))
		must(t, h.irc.Say(dev, "eve", "!help"))
		must(t, h.irc.Say(dev, "carol", "hello"))
		same(t, "irc", told(h.irc), "#ops: <carol@irc> hello")
		same(t, "xmpp", told(h.xmpp), "alice: <carol@irc> hello", "alice: Your last message was not passed on: log in first", "bob: <carol@irc> hello")
		if l := h.ledger(); l.Received != 3 || l.Refused != 2 || l.Accepted != 1 || l.Commands != 0 || taken != 1 {
			t.Errorf("ledger %+v, %d refused to the leg", l, taken)
		}
	})
}

// What may not go to one room goes to the others; what may go to none is refused.
func TestGateOut(t *testing.T) {
	gated(t, func(h *house, g *gate) {
		g.set(func() {
			g.out = func(from bridge.Sender, to bridge.Room) bool { return from.Person == "alice" && to == dev }
		})
		must(t, h.xmpp.Take(person(alice, "one")))
		same(t, "irc", told(h.irc), "#ops: <alice@jabber> one")
		same(t, "xmpp", told(h.xmpp), "alice: Your last message was not passed on everywhere: not in this room", "bob: <alice@jabber> one")
		g.set(func() { g.out = func(bridge.Sender, bridge.Room) bool { return true } })
		must(t, h.irc.Say(dev, "carol", "two"))
		same(t, "irc", told(h.irc))
		same(t, "xmpp", told(h.xmpp))
		if l := h.ledger(); l.Received != 2 || l.Refused != 1 || l.Accepted != 1 || l.Queued != 2 || l.Relayed != 2 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// What was allowed when it was said, and is not when it could be sent, goes back with
// the reason.
func TestGateWhenSent(t *testing.T) {
	gated(t, func(h *house, g *gate) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, "one")))
		must(t, h.xmpp.Take(person(bob, "two")))
		told(h.irc)
		told(h.xmpp)
		g.set(func() {
			g.out = func(from bridge.Sender, to bridge.Room) bool {
				if from.Nick != "" || from.JID != "" {
					t.Errorf("asked of %+v when it is sent: only the person is known", from)
				}
				return from.Person == "alice"
			}
		})
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		time.Sleep(time.Minute)
		same(t, "irc", told(h.irc), "#dev: <bob@jabber> two")
		if got := told(h.xmpp); len(got) != 1 || !strings.Contains(got[0], "alice: 1 line not delivered to corp/#dev: not in this room") {
			t.Errorf("xmpp %q", got)
		}
		if l := h.ledger(); l.Bounced != 1 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// Purge sends back what waits and matches.
func TestPurge(t *testing.T) {
	gated(t, func(h *house, _ *gate) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, "one")))
		must(t, h.xmpp.Take(person(bob, "two")))
		told(h.irc)
		if n := h.core.Purge(func(r *bridge.Row) bool { return r.Person == "alice" }, "she was removed"); n != 1 {
			t.Errorf("%d rows purged, want 1", n)
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		time.Sleep(time.Minute)
		same(t, "irc", told(h.irc), "#dev: <bob@jabber> two")
	})
}

// A gate that panics lets nothing through, neither as a line is taken in nor as it is
// sent, and the bridge goes on.
func TestGatePanics(t *testing.T) {
	gated(t, func(h *house, g *gate) {
		broken := true
		g.set(func() {
			g.in = func(m *bridge.Message) bool {
				if broken && m.From.Nick == "eve" {
					panic("broken")
				}
				return false
			}
		})
		must(t, h.irc.Say(dev, "eve", "one"))
		same(t, "taken in", told(h.xmpp))
		h.xmpp.SetError(alice, bridge.ErrNotReady)
		must(t, h.irc.Say(dev, "carol", "two"))
		same(t, "before", told(h.xmpp), "bob: <carol@irc> two")
		g.set(func() { g.out = func(bridge.Sender, bridge.Room) bool { panic("broken") } })
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.RoomUp(alice))
		time.Sleep(time.Minute)
		if sent := strings.Join(told(h.xmpp), "; "); strings.Contains(sent, "two") {
			t.Errorf("sent: %s", sent)
		}
		g.set(func() { g.out, broken = nil, false })
		must(t, h.irc.Say(dev, "carol", "three"))
		same(t, "after", told(h.xmpp), "alice: <carol@irc> three", "bob: <carol@irc> three")
	})
}
