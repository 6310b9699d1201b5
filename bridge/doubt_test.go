package bridge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// network is what a bot speaks to: what arrived there, what is on its wire, and
// whether it can be asked about that. It outlives the bots.
type network struct {
	t       *testing.T
	journal *stalledJournal
	asked   bool // it answers
	mode    bridge.DoubtMode
	window  int

	*house
	mu      sync.Mutex // guards all below
	up      bool
	wire    []bridge.Outgoing
	arrived []string
	ids     map[string]bool
	asks    int
}

func newNetwork(t *testing.T, asked bool, mode bridge.DoubtMode, window int) *network {
	n := &network{t: t, journal: &stalledJournal{Memory: bridge.NewMemory(), durable: true}, asked: asked, mode: mode, window: window, ids: map[string]bool{}}
	n.boot()
	return n
}

// boot starts a bot.
func (n *network) boot() {
	n.t.Helper()
	n.house = &house{t: n.t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
	n.irc.Manual()
	n.irc.SetWindow(n.window)
	n.irc.OnSend(func(m bridge.Outgoing) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wire = append(n.wire, m)
	})
	irc := bridgetest.NewAsked(n.irc, n.answer)
	irc.Mute(!n.asked)
	b := devBridge()
	b.OnDoubt = n.mode
	n.cfg = bridge.Config{Legs: []bridge.Leg{irc, n.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people, Location: time.UTC}
	n.irc.SetError(dev, bridge.ErrNotReady)
	n.start(bridge.Deps{Journal: n.journal})
	n.plug()
}

func (n *network) answer(ms []bridge.Outgoing) (out []bridge.Answer, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up {
		return nil, bridge.ErrNotReady
	}
	if !n.asked {
		return nil, errors.New("no history here")
	}
	n.asks++
	for _, m := range ms {
		a := bridge.Absent
		if n.ids[m.ID] {
			a = bridge.Present
		}
		out = append(out, a)
	}
	return out, nil
}

// plug makes the room ready.
func (n *network) plug() {
	n.mu.Lock()
	n.up = true
	n.mu.Unlock()
	n.irc.SetError(dev, nil)
	must(n.t, n.irc.RoomUp(dev))
	synctest.Wait()
}

// reach lets the first k of the wire arrive, and returns them and the others.
func (n *network) reach(k int) (there, lost []bridge.Outgoing) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k = min(k, len(n.wire))
	for _, m := range n.wire[:k] {
		n.ids[m.ID] = true
		n.arrived = append(n.arrived, m.Text.Reveal()[strings.LastIndex(m.Text.Reveal(), " ")+1:])
	}
	there, lost = slices.Clone(n.wire[:k]), slices.Clone(n.wire[k:])
	n.wire = n.wire[k:]
	return there, lost
}

// prove lets the first k of the wire arrive, and proves it.
func (n *network) prove(k int) {
	there, _ := n.reach(k)
	for _, m := range there {
		n.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Delivered})
	}
	synctest.Wait()
}

// cut ends the link: the first k of the wire arrived, nothing is proven.
func (n *network) cut(k int) {
	n.irc.SetError(dev, bridge.ErrNotReady)
	there, lost := n.reach(k)
	n.mu.Lock()
	n.up, n.wire = false, nil
	n.mu.Unlock()
	for _, m := range append(there, lost...) {
		n.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Doubt})
	}
	must(n.t, n.irc.Notify(bridge.Event{Kind: bridge.LegDown}))
	synctest.Wait()
}

// crash kills the bot: the first k of the wire arrived, and nothing reaches the
// journal any more.
func (n *network) crash(k int) {
	n.journal.set(true)
	n.reach(k)
	n.stop()
	n.mu.Lock()
	n.up, n.wire = false, nil
	n.mu.Unlock()
	n.journal.set(false)
}

func (n *network) say(text string) {
	m := person(alice, text)
	m.ID = text
	must(n.t, n.xmpp.Take(m))
	synctest.Wait()
}

func (n *network) sum() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.arrived, " ")
}

// TestInDoubt: after a crash, and after a cut, the network is asked before
// anything is sent; what it has is not sent again, and what it has not is.
func TestInDoubt(t *testing.T) {
	for _, tt := range []struct {
		name                string
		end                 func(*network, int)
		asked               bool
		mode                bridge.DoubtMode
		want                string
		found, absent, sent uint64
		skipped             uint64
	}{
		{"crash, asked", (*network).crash, true, bridge.Resend, "a b c d e", 2, 1, 0, 0},
		{"crash, asked, skip", (*network).crash, true, bridge.Skip, "a b c d e", 2, 1, 0, 0},
		{"crash, nobody to ask", (*network).crash, false, bridge.Resend, "a b b c d e", 0, 0, 1, 0},
		{"crash, nobody to ask, skip", (*network).crash, false, bridge.Skip, "a b c d e", 0, 0, 0, 1},
		{"cut, asked", (*network).cut, true, bridge.Resend, "a b c d e", 2, 1, 0, 0},
		{"cut, nobody to ask", (*network).cut, false, bridge.Resend, "a b b c d e", 0, 0, 1, 0},
		{"cut, nobody to ask, skip", (*network).cut, false, bridge.Skip, "a b c d e", 0, 0, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, tt.asked, tt.mode, 3)
				n.say("a")
				n.prove(1)
				for _, text := range []string{"b", "c", "d", "e"} { // e finds no room in the window
					n.say(text)
				}
				k := 1
				if tt.asked {
					k = 2
				}
				tt.end(n, k)
				if strings.HasPrefix(tt.name, "crash") {
					n.boot()
				} else {
					n.plug()
				}
				for range 5 {
					n.prove(8)
				}
				if got := n.sum(); got != tt.want {
					t.Errorf("arrived %q, want %q", got, tt.want)
				}
				l := n.ledger()
				// What was only noted as tried may be asked for, too.
				if l.Found != tt.found || l.Absent < tt.absent || l.Resent != tt.sent || l.Skipped != tt.skipped || l.Waiting != 0 {
					t.Errorf("ledger %+v", l)
				}
				n.balanced()
				n.stop()
			})
		})
	}
}

// TestAskingWaitsAndFails: nothing is asked or sent before the room is up; a room
// that goes down is asked later, and where asking fails the bridge decides.
func TestAskingWaitsAndFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, true, bridge.Resend, 3)
		n.say("a")
		n.crash(1)
		asks := 0
		answers := []error{bridge.ErrNotReady, errors.New("no archive here")}
		n.house = &house{t: t, cfg: n.cfg, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		leg := bridgetest.NewAsked(n.irc, func(ms []bridge.Outgoing) ([]bridge.Answer, error) {
			asks++
			if len(ms) != 1 || ms[0].Text.Reveal() != "<alice@jabber> a" || ms[0].ID == "" || ms[0].Tried.IsZero() {
				t.Errorf("asked for %d messages, not as they were sent", len(ms))
			}
			return nil, answers[asks-1]
		})
		n.cfg.Legs = []bridge.Leg{leg, n.xmpp}
		n.start(bridge.Deps{Journal: n.journal})
		time.Sleep(10 * time.Minute) // it is late by now: it is asked for as it was sent
		must(t, n.irc.Say(dev, "carol", "!help"))
		synctest.Wait()
		if sent := n.irc.TakeSent(); asks != 0 || len(sent) != 0 {
			t.Errorf("asked %d times, sent %d before the room is up", asks, len(sent))
		}
		must(t, n.irc.RoomUp(dev))
		synctest.Wait()
		if sent := n.irc.TakeSent(); asks != 1 || len(sent) != 0 {
			t.Errorf("asked %d times, sent %d while the room is down again", asks, len(sent))
		}
		must(t, n.irc.RoomUp(dev))
		synctest.Wait()
		var got []string
		for _, m := range n.irc.TakeSent() {
			if !m.Notice {
				got = append(got, m.Text.Reveal())
			}
		}
		same(t, "then the bridge decides", got, "<alice@jabber> (00:00) a")
		n.stop()
	})
}

// TestBlockedRowsAreNotTried: what could not be sent is not in doubt after a crash.
func TestBlockedRowsAreNotTried(t *testing.T) {
	for _, err := range []error{bridge.ErrNotReady, &bridge.HoldError{Reason: "no key"}} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, false, bridge.Skip, 3)
			n.say("a")
			n.prove(1)
			n.irc.SetError(dev, err)
			for i := range 5 {
				n.say(fmt.Sprint(i))
			}
			time.Sleep(time.Minute)
			synctest.Wait() // a retry may fall on this very moment
			must(t, n.journal.Load(t.Context(), func(r *bridge.Row) error {
				if !r.Tried.IsZero() {
					t.Errorf("%s to %s is noted as tried", r.ID, r.To)
				}
				return nil
			}))
			n.crash(0)
			n.boot()
			for range 5 {
				n.prove(8)
			}
			if got := n.sum(); got != "a 0 1 2 3 4" {
				t.Errorf("arrived %q", got)
			}
			n.stop()
		})
	}
}

// TestNothingLostNothingTwice cuts the link and kills the bot at any moment. With a
// network that can be asked, every line arrives once and in order. Without, each cut
// or crash brings one line a second time at most, or loses it, as the bridge says.
func TestNothingLostNothingTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(rt, "steps")
		ks := rapid.SliceOfN(rapid.IntRange(0, 9), len(steps), len(steps)).Draw(rt, "ks")
		asked, skip := rapid.Bool().Draw(rt, "asked"), rapid.Bool().Draw(rt, "skip")
		window := rapid.SampledFrom([]int{1, 3, 8}).Draw(rt, "window")
		synctest.Test(t, func(t *testing.T) { playDoubt(t, steps, ks, asked, skip, window) })
	})
}

func playDoubt(t *testing.T, steps, ks []int, asked, skip bool, window int) {
	mode := bridge.Resend
	if skip {
		mode = bridge.Skip
	}
	n := newNetwork(t, asked, mode, window)
	said, ends := 0, 0
	for i, step := range steps {
		switch step {
		case 0, 1, 2, 3:
			n.say(fmt.Sprintf("%03d", said))
			said++
		case 4, 5:
			n.prove(ks[i])
		case 6:
			n.cut(ks[i])
			ends++
		case 7:
			n.plug()
		case 8:
			n.crash(ks[i])
			ends++
			n.boot()
		case 9:
			time.Sleep(time.Duration(ks[i]) * time.Minute)
		}
		n.balanced()
	}
	n.plug()
	for range said + 2 {
		n.prove(window)
	}
	time.Sleep(time.Hour) // lines that came late leave at the channel's pace
	for range said + 2 {
		n.prove(window)
		time.Sleep(time.Second)
	}
	count := map[string]int{}
	last := ""
	for _, line := range n.arrived {
		if len(line) != 3 {
			continue // the bot's own words
		}
		if count[line]++; count[line] == 1 && line < last {
			t.Errorf("%s after %s", line, last)
		}
		last = max(last, line)
	}
	twice, lost := 0, said-len(count)
	for _, c := range count {
		twice += c - 1
	}
	l := n.ledger()
	switch {
	case asked && (twice != 0 || lost != 0):
		t.Errorf("asked: %d twice, %d lost of %d", twice, lost, said)
	case !asked && !skip && (lost != 0 || twice > ends || uint64(twice) > l.Resent || l.Resent > uint64(ends)):
		t.Errorf("nobody to ask, resend: %d twice, %d lost of %d, %d ends, window %d, %d sent again", twice, lost, said, ends, window, l.Resent)
	case !asked && skip && (twice != 0 || lost > ends || uint64(lost) > l.Skipped || l.Skipped > uint64(ends)):
		t.Errorf("nobody to ask, skip: %d twice, %d lost of %d, %d ends, window %d, %d skipped", twice, lost, said, ends, window, l.Skipped)
	}
	if l.Waiting != 0 || l.Received != uint64(said) {
		t.Errorf("%d said: ledger %+v", said, l)
	}
	n.balanced()
	n.stop()
}

// TestInDoubtForLong: what may have arrived does not go back while it can still be
// asked for, be others told that theirs did not; but not for ever.
func TestInDoubtForLong(t *testing.T) {
	for _, tt := range []struct {
		away    time.Duration
		bounced uint64
		arrived string
		reasons []string
	}{
		{47 * time.Hour, 1, "a b", []string{"not reachable"}},
		{49 * time.Hour, 2, "a b", []string{"it may have arrived, and nobody could be asked", "not reachable"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, true, bridge.Resend, 3)
			n.say("a")
			n.prove(1)
			n.say("b")
			n.cut(1) // it arrived
			n.say("c")
			time.Sleep(tt.away)
			synctest.Wait()
			if l := n.ledger(); l.Bounced != tt.bounced {
				t.Errorf("after %v: %+v", tt.away, l)
			}
			n.plug()
			for range 3 {
				n.prove(3)
			}
			if got := n.sum(); got != tt.arrived {
				t.Errorf("after %v: arrived %q", tt.away, got)
			}
			var reasons []string
			for _, text := range told(n.xmpp) {
				if _, why, ok := strings.Cut(text, "not delivered to corp/#dev: "); ok {
					reasons = append(reasons, strings.TrimSuffix(why, "."))
				}
			}
			same(t, "told", reasons, tt.reasons...)
			if l := n.ledger(); l.Waiting != 0 {
				t.Errorf("after %v: %+v", tt.away, l)
			}
			n.balanced()
			n.stop()
		})
	}
}
