package bridge_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// TestDoubtsOfASessionThatGoesOn: a link that is cut while the network is asked, and
// goes on with the same session, is asked again: no RoomUp follows.
func TestDoubtsOfASessionThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, true, bridge.Resend, 3)
		n.say("a")
		n.crash(1)
		asks := 0
		n.house = &house{t: t, cfg: n.cfg, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		leg := bridgetest.NewAsked(n.irc, func([]bridge.Outgoing) ([]bridge.Answer, error) {
			if asks++; asks == 1 {
				must(t, n.irc.Notify(bridge.Event{Kind: bridge.LegDown}))
				return nil, bridge.ErrNotReady
			}
			return []bridge.Answer{bridge.Present}, nil
		})
		n.cfg.Legs = []bridge.Leg{leg, n.xmpp}
		n.start(bridge.Deps{Journal: n.journal})
		must(t, n.irc.RoomUp(dev))
		synctest.Wait()
		must(t, n.irc.Notify(bridge.Event{Kind: bridge.LegUp, Resumed: true}))
		time.Sleep(time.Minute)
		n.say("b")
		if sent := n.irc.TakeSent(); asks != 2 || len(sent) != 1 {
			t.Errorf("asked %d times, sent %d lines", asks, len(sent))
		}
		n.stop()
	})
}

// TestSendOutlivesTheLink: a line whose Send is still under way when the leg ends is
// sent once by the next leg.
func TestSendOutlivesTheLink(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetDelay(time.Minute)
		must(t, h.xmpp.Take(person(alice, "x")))
		synctest.Wait()
		h.irc.Die(nil)
		time.Sleep(2 * time.Minute)
		next := bridgetest.NewLeg("corp", "irc")
		cfg := h.cfg
		cfg.Legs = []bridge.Leg{next, h.xmpp}
		_, err := h.core.Reload(cfg)
		must(t, err)
		h.irc = next
		must(t, next.RoomUp(dev))
		time.Sleep(time.Minute)
		if sent := next.TakeSent(); len(sent) != 1 {
			t.Errorf("sent %d times", len(sent))
		}
	}, devBridge())
}

// TestRoomRemovedWhileSending: a line whose Send fails after its room was removed
// goes back.
func TestRoomRemovedWhileSending(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		h.irc.SetDelay(time.Minute)
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, "x")))
		synctest.Wait()
		cfg := h.cfg
		b.Rooms = rooms(muc, alice, bob)
		cfg.Bridges = []bridge.BridgeConfig{b}
		_, err := h.core.Reload(cfg)
		must(t, err)
		time.Sleep(2 * time.Minute)
		if l := h.ledger(); l.Waiting != 0 || l.Bounced != 1 {
			t.Errorf("ledger %+v", l)
		}
	}, b)
}

// TestSlowAnswerIsAwaited: a network that does not answer in time is asked again, a
// few times, before a line is sent that may be there already.
func TestSlowAnswerIsAwaited(t *testing.T) {
	for _, slow := range []int{2, 100} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, true, bridge.Resend, 3)
			n.say("a")
			n.crash(1)
			asks := 0
			n.house = &house{t: t, cfg: n.cfg, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
			leg := bridgetest.NewAsked(n.irc, func([]bridge.Outgoing) ([]bridge.Answer, error) {
				if asks++; asks <= slow {
					return nil, fmt.Errorf("no answer: %w", context.DeadlineExceeded)
				}
				return []bridge.Answer{bridge.Present}, nil
			})
			n.cfg.Legs = []bridge.Leg{leg, n.xmpp}
			n.start(bridge.Deps{Journal: n.journal})
			must(t, n.irc.RoomUp(dev))
			time.Sleep(time.Hour)
			want, sent := slow+1, 0
			if slow == 100 {
				want, sent = 5, 1
			}
			if got := n.irc.TakeSent(); asks != want || len(got) != sent {
				t.Errorf("asked %d times, not %d; sent %d lines, not %d", asks, want, len(got), sent)
			}
			n.stop()
		})
	}
}
