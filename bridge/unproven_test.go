package bridge_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// toldAlice are the texts that were sent to alice since the last time, and their ids.
func (h *house) toldAlice() (texts []string, ids []string) {
	synctest.Wait()
	for _, m := range h.xmpp.TakeSent() {
		if m.To == alice {
			texts, ids = append(texts, m.Text.Reveal()[len(m.Prefix):]), append(ids, m.ID)
		}
	}
	return texts, ids
}

func (h *house) showed(o bridge.Outcome, ids ...string) {
	for _, id := range ids {
		h.xmpp.Prove(bridge.Proof{Room: alice, ID: id, Outcome: o})
	}
	synctest.Wait()
}

func (h *house) says(lines ...string) {
	h.t.Helper()
	for _, l := range lines {
		must(h.t, h.irc.Say(dev, "carol", l))
	}
	synctest.Wait()
}

// oneReader is devBridge with alice alone.
func oneReader() bridge.BridgeConfig {
	b := devBridge()
	b.Rooms = rooms(dev, alice)
	return b
}

func TestUnproven(t *testing.T) {
	acks := func(t *testing.T, window int, test func(h *house)) {
		t.Helper()
		live(t, func(h *house) {
			h.xmpp.Acks()
			h.xmpp.SetWindow(window)
			test(h)
		}, oneReader())
	}
	counts := func(h *house, relayed, waiting, unproven, unread uint64) {
		h.t.Helper()
		l := h.ledger()
		if l.Relayed != relayed || l.Waiting != waiting || l.Unproven != unproven || l.Unread != unread {
			h.t.Errorf("relayed %d, waiting %d, unproven %d, unread %d; want %d, %d, %d, %d",
				l.Relayed, l.Waiting, l.Unproven, l.Unread, relayed, waiting, unproven, unread)
		}
		h.balanced()
	}
	t.Run("the acknowledgement frees the window, a receipt ends it", func(t *testing.T) {
		acks(t, 1, func(h *house) {
			h.says("a", "b", "c")
			texts, ids := h.toldAlice()
			if !slices.Equal(texts, []string{"a", "b", "c"}) {
				t.Fatalf("sent %q", texts)
			}
			counts(h, 0, 0, 3, 0)
			h.showed(bridge.Delivered, ids[1], ids[1], "unknown")
			counts(h, 1, 0, 2, 0)
			h.showed(bridge.Acked, ids[0]) // said already
			h.showed(bridge.Failed, ids[0])
			counts(h, 1, 0, 2, 0)
			h.showed(bridge.Delivered, ids[0], ids[2])
			counts(h, 3, 0, 0, 0)
		})
	})
	t.Run("unread ones are sent again, before later ones, under the same ids", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.says("a", "b", "c")
			_, first := h.toldAlice()
			h.xmpp.SetError(alice, &bridge.HoldError{Reason: "handshake", Soon: true})
			h.showed(bridge.Unread, first[2], first[1])
			counts(h, 0, 2, 1, 2)
			h.says("d")
			h.xmpp.SetError(alice, nil)
			must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: alice}))
			texts, ids := h.toldAlice()
			if !slices.Equal(texts, []string{"b", "c", "d"}) || !slices.Equal(ids[:2], first[1:]) {
				t.Errorf("sent again %q as %q; they were %q", texts, ids, first)
			}
			counts(h, 0, 0, 4, 2)
		})
	})
	t.Run("unread before the acknowledgement", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.xmpp.Manual()
			h.says("a", "b")
			_, first := h.toldAlice()
			h.showed(bridge.Unread, first...)
			h.says("c")
			if texts, _ := h.toldAlice(); texts != nil {
				t.Errorf("%q overtakes", texts)
			}
			h.showed(bridge.Acked, first[0])
			if texts, _ := h.toldAlice(); texts != nil {
				t.Errorf("%q is sent while b is on the wire", texts)
			}
			h.showed(bridge.Acked, first[1])
			if texts, ids := h.toldAlice(); !slices.Equal(texts, []string{"a", "b", "c"}) || !slices.Equal(ids[:2], first) {
				t.Errorf("sent %q", texts)
			}
			counts(h, 0, 3, 0, 2)
		})
	})
	t.Run("after fifteen minutes it has arrived", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.says("a")
			time.Sleep(10 * time.Minute)
			h.says("b")
			time.Sleep(bridge.UnprovenFor - 10*time.Minute - time.Second)
			counts(h, 0, 0, 2, 0)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			counts(h, 1, 0, 1, 0)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			counts(h, 2, 0, 0, 0)
		})
	})
	t.Run("a reader that shows nothing stalls nothing", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			for i := range 300 {
				h.says(fmt.Sprint(i))
			}
			texts, ids := h.toldAlice()
			if len(texts) != 300 {
				t.Errorf("%d lines were sent", len(texts))
			}
			counts(h, 44, 0, 256, 0)
			h.showed(bridge.Unread, ids[0]) // too late
			if texts, _ := h.toldAlice(); texts != nil {
				t.Errorf("sent again: %q", texts)
			}
		})
	})
	t.Run("read nowhere, ten times", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.says("a")
			for i := range 10 {
				_, ids := h.toldAlice()
				if len(ids) != 1 {
					t.Fatalf("%d times sent: %q", i, ids)
				}
				h.showed(bridge.Unread, ids...)
			}
			if texts, _ := h.toldAlice(); texts != nil {
				t.Errorf("sent again: %q", texts)
			}
			counts(h, 0, 0, 0, 10)
			if l := h.ledger(); l.Bounced != 1 { // the journal is in memory: it is not parked
				t.Errorf("bounced %d", l.Bounced)
			}
		})
	})
	t.Run("own words too", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.core.TellAdmins("nobody is")
			h.says("a")
			_, ids := h.toldAlice()
			h.showed(bridge.Unread, ids...)
			if texts, _ := h.toldAlice(); len(texts) != len(ids) {
				t.Errorf("sent again: %q", texts)
			}
		})
	})
	t.Run("the room is taken out", func(t *testing.T) {
		acks(t, 8, func(h *house) {
			h.says("a")
			_, ids := h.toldAlice()
			h.xmpp.Manual()
			h.says("b", "c")
			_, wire := h.toldAlice()
			cfg := h.cfg
			cfg.Bridges = []bridge.BridgeConfig{devBridge()}
			cfg.Bridges[0].Rooms = rooms(dev, bob)
			_, err := h.core.Reload(cfg)
			must(t, err)
			h.showed(bridge.Unread, append(wire[:1:1], ids...)...)
			h.showed(bridge.Acked, wire...)
			if l := h.ledger(); l.Relayed != 2 || l.Bounced != 1 || l.Unproven+l.Waiting != 0 {
				t.Errorf("%+v", l)
			}
		})
	})
}

// reader is somebody who reads alice's lines in a session that is lost now and then.
type reader struct {
	h           *house
	bot, client int // the session that each has, by its number
	wire        []sealedLine
	sent        []string // ids the bot knows no proof of
	read        []int
	open        []string       // ids read, and not shown yet
	told        map[string]int // times the bot was told that it was not read
	times       map[string]int // times it was read
	errs        bool           // an error is on its way to the bot
	n           int
}

type sealedLine struct {
	id, text string
	session  int
}

func (r *reader) look() {
	synctest.Wait()
	for _, m := range r.h.xmpp.TakeSent() {
		switch {
		case m.Notice:
			r.h.xmpp.Prove(bridge.Proof{Room: m.To, ID: m.ID, Outcome: bridge.Delivered})
		case m.To == alice:
			r.wire = append(r.wire, sealedLine{m.ID, m.Text.Reveal()[len(m.Prefix):], r.bot})
			r.sent = append(r.sent, m.ID)
		}
	}
}

// take has the server take the first n lines of the wire, and the client read them.
func (r *reader) take(n int) {
	for _, l := range r.wire[:min(n, len(r.wire))] {
		if l.session == r.client {
			var k int
			_, _ = fmt.Sscan(l.text, &k)
			r.read = append(r.read, k)
			r.open = append(r.open, l.id)
			r.times[l.id]++
		} else {
			r.errs = true
		}
		r.h.xmpp.Prove(bridge.Proof{Room: alice, ID: l.id, Outcome: bridge.Acked})
	}
	r.wire = r.wire[min(n, len(r.wire)):]
}

// fails has the error of the client arrive.
func (r *reader) fails() {
	if !r.errs {
		return
	}
	r.errs = false
	r.h.xmpp.SetError(alice, &bridge.HoldError{Reason: "handshake", Soon: true})
	r.bot = -1
	for _, id := range r.sent {
		r.told[id]++
		r.h.xmpp.Prove(bridge.Proof{Room: alice, ID: id, Outcome: bridge.Unread})
	}
	r.sent = nil
}

func (r *reader) shakes() {
	if r.bot >= 0 {
		return
	}
	r.look()
	r.take(len(r.wire)) // what was sent before reaches the client before
	r.fails()
	r.bot = r.client
	r.h.xmpp.SetError(alice, nil)
	must(r.h.t, r.h.xmpp.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: alice}))
}

func (r *reader) shows() {
	r.fails()
	for _, id := range r.open {
		r.h.xmpp.Prove(bridge.Proof{Room: alice, ID: id, Outcome: bridge.Delivered})
		r.sent = slices.DeleteFunc(r.sent, func(s string) bool { return s == id })
	}
	r.open = nil
}

// TestLostSessions has a reader lose the session at any moment. No line is lost, each
// is read first in its order, and only as often again as the bot was told that it may
// not have been read.
func TestLostSessions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 12), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) { playSessions(t, steps) })
	})
}

func playSessions(t *testing.T, steps []int) {
	h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
	h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{oneReader()}, People: people, Location: time.UTC}
	h.xmpp.Manual()
	h.start(bridge.Deps{})
	defer h.stop()
	must(t, h.xmpp.RoomUp(alice))
	r := &reader{h: h, told: map[string]int{}, times: map[string]int{}}
	r.look()
	for _, step := range steps {
		switch step {
		case 0, 1, 2, 3, 4:
			h.says(fmt.Sprint(r.n))
			r.n++
		case 5, 6:
			r.take(2)
		case 7:
			r.take(len(r.wire))
		case 8:
			r.client++
		case 9:
			r.fails()
		case 10:
			r.shakes()
		case 11:
			r.shows()
		case 12: // nothing is lost by then
			r.look()
			r.take(len(r.wire))
			r.fails()
			r.shakes()
			time.Sleep(bridge.UnprovenFor)
		}
		r.look()
		h.balanced()
	}
	for range 20 {
		r.look()
		r.take(len(r.wire))
		r.fails()
		r.shakes()
	}
	r.shows()
	synctest.Wait()
	next := 0
	for _, k := range r.read {
		if k > next {
			t.Fatalf("line %d before %d: %v", k, next, r.read)
		}
		next = max(next, k+1)
	}
	if l := h.ledger(); next != r.n || l.Relayed != uint64(r.n) || l.Waiting+l.Unproven != 0 {
		t.Errorf("%d of %d lines read: %v; %+v", next, r.n, r.read, l)
	}
	for id, times := range r.times {
		if times > 1+r.told[id] {
			t.Errorf("a line was read %d times, and %d times said not to be", times, r.told[id])
		}
	}
	h.balanced()
}

// TestAckedBeforeARestart: what was acked counts as delivered, the rest is sent again.
func TestAckedBeforeARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &stalledJournal{Memory: bridge.NewMemory(), durable: true}
		boot := func() *house {
			h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
			h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{oneReader()}, People: people, Location: time.UTC}
			h.xmpp.Manual()
			h.start(bridge.Deps{Journal: journal})
			must(t, h.xmpp.RoomUp(alice))
			h.toldAlice()
			return h
		}
		h := boot()
		h.says("a", "b", "c")
		_, ids := h.toldAlice()
		h.showed(bridge.Acked, ids[:2]...)
		h.showed(bridge.Unread, ids[1])
		h.stop()
		h = boot()
		defer func() { h.stop() }()
		if l := h.ledger(); l.Relayed != 1 || l.Unproven != 0 || l.Waiting != 2 {
			t.Errorf("after the restart %+v", l)
		}
		h.balanced()
	})
}
