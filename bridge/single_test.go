package bridge_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// onWire is how many lines are on their way to the network.
func (n *network) onWire() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.wire)
}

// TestOneAtATime: where nobody can be asked, a line goes once the journal has the
// proof of the one before, so one is in doubt at any time. Where lines come and go
// faster than people talk, more go at once, until there is calm.
func TestOneAtATime(t *testing.T) {
	const window = 6
	for _, tt := range []struct {
		name   string
		asked  bool
		rtt    time.Duration
		before int // on the wire at first
		after  int // when a hundred lines have gone that way
	}{
		{"asked", true, 0, window, window},
		{"nobody to ask", false, time.Millisecond, 1, window},
		{"nobody to ask, a network that is slow or far", false, 100 * time.Millisecond, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, tt.asked, bridge.Resend, window)
				n.say("000")
				n.prove(1)
				for i := range 150 {
					n.say(fmt.Sprintf("%03d", i+1))
				}
				if got := n.onWire(); got != tt.before {
					t.Errorf("%d on the wire, want %d", got, tt.before)
				}
				for range 100 {
					time.Sleep(tt.rtt)
					n.prove(1)
				}
				if got := n.onWire(); got != tt.after {
					t.Errorf("%d on the wire after a hundred, want %d", got, tt.after)
				}
				for n.onWire() > 0 {
					n.prove(window)
				}
				time.Sleep(2 * time.Second)
				n.say("a")
				n.say("b")
				if got, want := n.onWire(), min(2, tt.before); got != want {
					t.Errorf("%d on the wire after a while without lines, want %d", got, want)
				}
				n.prove(2)
				n.prove(2)
				n.balanced()
				n.stop()
			})
		})
	}
}

// TestOneAtATimeWaitsForTheJournal: a proof that the journal does not know yet would
// be a line in doubt after a crash, beside the one that follows.
func TestOneAtATimeWaitsForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, false, bridge.Resend, 6)
		for i := range 3 {
			n.say(fmt.Sprint(i))
		}
		n.journal.set(true)
		n.prove(1)
		if got := n.onWire(); got != 0 {
			t.Errorf("%d on the wire while the journal does not take the proof", got)
		}
		tried := 0
		must(t, n.journal.Load(t.Context(), func(r *bridge.Row) error {
			if !r.Tried.IsZero() && r.To == dev {
				tried++
			}
			return nil
		}))
		if tried != 1 {
			t.Errorf("%d lines would be in doubt", tried)
		}
		n.journal.set(false)
		time.Sleep(time.Minute)
		for range 3 {
			n.prove(1)
		}
		if got := n.sum(); got != "0 1 2" {
			t.Errorf("arrived %q", got)
		}
		n.stop()
	})
}
