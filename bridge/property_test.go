package bridge_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// TestLedgerBalances does anything to a core in any order. In the end no row
// may be lost, doubled in the count, or out of order, and the sums must hold at
// every moment.
func TestLedgerBalances(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 15), 1, 40).Draw(rt, "steps")
		skip := rapid.Bool().Draw(rt, "skip")
		synctest.Test(t, func(t *testing.T) { playLedger(t, steps, skip) })
	})
}

func playLedger(t *testing.T, steps []int, skip bool) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	b.Offline.Lines, b.WhenBlocked.Hold = 3, 10*time.Minute
	if skip {
		b.OnDoubt = bridge.Skip
	}
	h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
	h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people, Location: time.UTC}
	h.irc.Manual()
	h.start(bridge.Deps{})
	defer h.stop()
	n, delivered := 0, 0
	last := -1
	var wire []bridge.Outgoing
	for i, step := range steps {
		switch step {
		case 0, 1, 2:
			m := person(alice, fmt.Sprintf("n%d", n))
			m.ID = fmt.Sprint(n)
			n++
			must(t, h.xmpp.Take(m))
		case 3:
			must(t, h.irc.Say(dev, "carol", "x"))
		case 4:
			m := person(alice, "n0")
			m.ID = "0" // delivered again, if it was
			if n > 0 {
				must(t, h.xmpp.Take(m))
			}
		case 5:
			m := person(bob, "clear")
			m.Rung = policy.Clear
			must(t, h.xmpp.Take(m))
		case 6:
			h.irc.SetError(dev, bridge.ErrNotReady)
		case 7:
			h.irc.SetError(dev, nil)
			must(t, h.irc.RoomUp(dev))
		case 8:
			h.xmpp.SetError(bob, &bridge.HoldError{Reason: "no key"})
		case 9:
			h.xmpp.SetError(bob, bridge.ErrNotReady)
		case 10:
			h.xmpp.SetError(bob, nil)
			must(t, h.xmpp.RoomUp(bob))
		case 11:
			h.xmpp.SetError(muc, errors.New("refused"))
		case 12, 13, 14:
			outcome := bridge.Outcome(step - 11)
			if outcome == bridge.Failed {
				outcome = bridge.Delivered // a failure in between is tested elsewhere
			}
			for _, m := range wire {
				h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: outcome})
				if outcome != bridge.Delivered {
					continue
				}
				if _, num, ok := strings.Cut(m.Text.Reveal(), "> n"); ok {
					var k int
					if _, err := fmt.Sscan(num, &k); err != nil {
						t.Fatal(err)
					}
					if k <= last {
						t.Errorf("line %d after %d", k, last)
					}
					last = k
					delivered++
				}
			}
			wire = nil
		case 15:
			time.Sleep(time.Duration(i) * time.Minute)
		}
		synctest.Wait()
		wire = append(wire, h.irc.TakeSent()...)
		h.balanced()
	}
	h.irc.SetError(dev, nil)
	synctest.Wait()
	h.stop()
	unproven := uint64(0)
	for _, m := range append(wire, h.irc.TakeSent()...) {
		if !m.Notice {
			unproven++
		}
	}
	if l := h.ledger(); l.Waiting != unproven {
		t.Errorf("waiting %d at the end, %d on the wire", l.Waiting, unproven)
	}
	h.balanced()
}

// sea is a network of rooms that several bots are in: what one says, the others
// hear, with or without marks.
type sea struct {
	marks bool
	bots  []*bot
	mu    sync.Mutex // guards total
	total int
}

// bot is one Drawbridge in the sea.
type bot struct {
	name  string
	core  *bridge.Core
	leg   *bridgetest.Leg
	rooms []string
}

// TestNoLineCirculates joins random bots to random rooms, and lets a person say
// one line in each. With marks a line is relayed by each bot at most once, and
// never again; without, it may pass each bot once, but the talking ends.
func TestNoLineCirculates(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		nRooms := rapid.IntRange(2, 4).Draw(rt, "rooms")
		nBots := rapid.IntRange(1, 4).Draw(rt, "bots")
		marks := rapid.Bool().Draw(rt, "marks")
		var in [][]int
		for i := range nBots {
			in = append(in, rapid.SliceOfNDistinct(rapid.IntRange(0, nRooms-1), 2, nRooms, func(v int) int { return v }).Draw(rt, fmt.Sprint("bot", i)))
		}
		synctest.Test(t, func(t *testing.T) { playSea(t, nRooms, in, marks) })
	})
}

func playSea(t *testing.T, nRooms int, in [][]int, marks bool) {
	s := &sea{marks: marks}
	var stops []func()
	for i, list := range in {
		b := &bot{name: fmt.Sprintf("bot%d", i), leg: bridgetest.NewLeg("net", "irc")}
		cfg := bridge.BridgeConfig{Name: "b"}
		for _, r := range list {
			name := fmt.Sprintf("#r%d", r)
			b.rooms = append(b.rooms, name)
			cfg.Rooms = append(cfg.Rooms, bridge.RoomConfig{Room: netRoom(name)})
		}
		b.leg.OnSend(func(m bridge.Outgoing) { s.heard(b, m) })
		h := &house{t: t, irc: b.leg, xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{cfg}}
		h.start(bridge.Deps{})
		stops = append(stops, h.stop)
		b.core = h.core
		s.bots = append(s.bots, b)
	}
	for i := range nRooms {
		room := netRoom(fmt.Sprintf("#r%d", i))
		for _, b := range s.bots {
			if strings.Contains(strings.Join(b.rooms, " ")+" ", room.Name+" ") {
				must(t, b.leg.Say(room, "carol", fmt.Sprintf("line %d", i)))
			}
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
	}
	before := s.total
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	if s.total != before {
		t.Errorf("still talking: %d lines, then %d", before, s.total)
	}
	// A bot puts one line into each of its other rooms; without marks each line
	// may pass every other bot once more.
	limit := 0
	for _, b := range s.bots {
		limit += (len(b.rooms) - 1) * len(b.rooms)
	}
	if !marks {
		limit *= 1 << len(s.bots)
		limit += 2 * len(s.bots) * nRooms * nRooms * len(s.bots) // notices about it, passed on by others
	}
	if s.total > limit {
		t.Errorf("%d lines relayed, at most %d could be", s.total, limit)
	}
	for _, stop := range stops {
		stop()
	}
}

func netRoom(name string) bridge.Room {
	return bridge.Room{Leg: "net", Kind: bridge.Channel, Name: name}
}

// heard hands what b said to all other bots in the room. It runs on the sender's
// outbox goroutine, of which several may be at it.
func (s *sea) heard(from *bot, m bridge.Outgoing) {
	s.mu.Lock()
	s.total++
	s.mu.Unlock()
	for _, b := range s.bots {
		if b == from || !strings.Contains(strings.Join(b.rooms, " ")+" ", m.To.Name+" ") {
			continue
		}
		msg := bridge.Message{Room: m.To, From: bridge.Sender{Nick: from.name}, Text: m.Text}
		if s.marks {
			msg.Mark = m.ID
		}
		_ = b.leg.Take(msg)
	}
}
