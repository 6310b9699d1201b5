package bridge_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
)

// TestLongLinesInALongQueue: lines so long that only some of them are kept in memory,
// though all are noted as tried. They are in doubt once the bot has crashed, and not
// before.
func TestLongLinesInALongQueue(t *testing.T) {
	const lines = 40
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, true, bridge.Resend, 3)
				n.say("0")
				synctest.Wait()
				n.prove(1)
				long := strings.Repeat("x", 60<<10) + " "
				for i := range lines {
					n.say(fmt.Sprint(long, i+1))
				}
				synctest.Wait()
				if crash {
					n.crash(2)
					n.boot()
				}
				for range lines {
					n.prove(3)
				}
				n.mu.Lock()
				got, asks := strings.Join(n.arrived, " "), n.asks
				n.mu.Unlock()
				want := "0"
				for i := range lines {
					want += fmt.Sprint(" ", i+1)
				}
				if got != want {
					t.Errorf("arrived %s", got)
				}
				l := n.core.Status().Bridges[0].Ledger
				if asked := asks > 0; asked != crash || !crash && l.Absent+l.Resent > 0 || crash && (l.Found != 2 || l.Absent != lines-2) {
					t.Errorf("asked %d times: %+v", asks, l)
				}
				n.stop()
			})
		})
	}
}
