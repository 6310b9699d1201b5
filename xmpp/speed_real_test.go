//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"drawbridge/bridge"
)

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestManyRoomLines sends lines through the window of a room: each is proven once,
// in order. It states what a line and its reflection cost, TLS and the test's own
// looking on included, and asserts no time.
func TestManyRoomLines(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.run(t)
		await(t, "the room", func() bool { return h.room(devRoom).State == bridge.StateUp })
		began, used := time.Now(), cpu()
		var want []string
		for i := range 2000 {
			want = append(want, fmt.Sprint("id", i))
			if err := h.leg.Send(context.Background(), h.out(bridge.MUC, devRoom, want[i], "a line of talk, about as long as people write")); err != nil {
				t.Fatal(err)
			}
			if i%8 == 7 {
				await(t, "the reflections", func() bool { return h.sink.proof(want[i], bridge.Delivered) })
			}
		}
		t.Logf("%.0f lines/s, %v CPU a line", float64(len(want))/time.Since(began).Seconds(), (cpu()-used)/time.Duration(len(want)))
		if got := h.sink.delivered(); !slices.Equal(got, want) {
			t.Errorf("%d proofs, or not in order", len(got))
		}
	})
}
