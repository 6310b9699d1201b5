package bridge_test

import (
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// TestGap: every room of the bridge hears what was missed, once, between the lines
// before and after it; it is counted, and told after a restart, too.
func TestGap(t *testing.T) {
	durable(t, func(h *house) {
		start := time.Now()
		gap := func(from, to time.Duration) bridge.Event {
			return bridge.Event{Kind: bridge.Gap, Room: dev, Since: start.Add(from), Time: start.Add(to)}
		}
		time.Sleep(time.Hour)
		must(t, h.irc.Say(dev, "carol", "before"))
		must(t, h.irc.Notify(gap(2*time.Minute, 9*time.Minute)))
		must(t, h.irc.Say(dev, "carol", "after"))
		must(t, h.irc.Notify(gap(2*time.Minute, 9*time.Minute))) // the leg reports it again
		synctest.Wait()
		const text = "Not connected to corp/#dev 00:02–00:09: what was said there meanwhile may be missing here."
		for _, room := range []bridge.Room{alice, bob} {
			var got []string
			for _, m := range h.xmpp.Sent() {
				if m.To == room {
					got = append(got, m.Text.Reveal())
					if m.Floor != sealed.Out {
						t.Errorf("to %s with floor %v", room, m.Floor)
					}
				}
			}
			same(t, room.Name, got, "<carol@irc> before", text, "<carol@irc> after")
		}
		same(t, "the channel itself", told(h.irc), "#dev: "+text)
		if l := h.ledger(); l.Gaps != 1 || l.Received != 4 || l.Again != 1 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
		h.balanced()
	})
}

// TestGapWaits: who cannot be told now is told later, in order.
func TestGapWaits(t *testing.T) {
	durable(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "no key"})
		now := time.Now()
		must(t, h.irc.Notify(bridge.Event{Kind: bridge.Gap, Room: dev, Since: now.Add(-26 * time.Hour), Time: now}))
		must(t, h.irc.Notify(bridge.Event{Kind: bridge.Gap, Room: dev, Time: now}))
		time.Sleep(3 * time.Hour)
		told(h.xmpp)
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: alice}))
		same(t, "alice", told(h.xmpp),
			"alice: Not connected to corp/#dev 30 Dec 22:00–1 Jan 00:00: what was said there meanwhile may be missing here.",
			"alice: Not connected to corp/#dev until 00:00: what was said there before may be missing here.")
	})
}
