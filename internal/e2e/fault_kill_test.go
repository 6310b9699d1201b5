//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The bot is killed again and again, at moments that nobody has chosen (while it
// starts, while it catches up, in full talk), while everybody goes on talking.
// What a server or the store still had arrives, once and in order.
func TestFaultKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for _, tt := range pairs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			tr := newTriangle(h, tt.irc(h), tt.xmpp(h), 100*time.Millisecond)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			kills := 10 * soak()
			for i := range kills {
				if i%3 == 0 { // one in three well on its feet
					h.statusShows(", ready")
				}
				tr.load.goesOn(1 + rnd.IntN(20))
				tr.bot.Kill()
				h.audited(fmt.Sprintf("kill %d", i+1))
				tr.bot = h.start()
			}
			h.statusShows(", ready")
			tr.load.goesOn(5)
			tr.judge(fmt.Sprintf("%s: %d kills", tt.name, kills), rule{noHistory: tt.noHistory, twice: tt.unknown * kills})
		})
	}
}
