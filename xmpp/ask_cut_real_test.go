//go:build e2e

package xmpp_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
)

// TestRealAskAfterCut: lines reach alice and the room, and their proofs do not reach the bot:
// it hears nothing of the server any more, and then its link is cut, or it is killed.
// Back again, it is told that they have arrived, and that others have not.
func TestRealAskAfterCut(t *testing.T) {
	for _, killed := range []bool{false, true} {
		name := "cut"
		if killed {
			name = "killed"
		}
		t.Run(name, func(t *testing.T) {
			onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) { askAfterCut(t, h, killed) })
		})
	}
}

func askAfterCut(t *testing.T, h *house, killed bool) {
	proxy := h.Proxy(h.server.Addr)
	h.conf.Server = proxy.Addr
	j, alice, stop := h.outlived(t)
	alice.Chat("bot@localhost", "<body>hello</body>") // a session that can be resumed has handled something
	await(t, "alice's line", func() bool { return len(j.got(aliceChat)) == 1 })
	say := func(id string) {
		t.Helper()
		for _, m := range []bridge.Outgoing{h.out(bridge.Chat, "alice", id+"-to-alice", id), h.out(bridge.MUC, devRoom, id+"-to-room", id)} {
			if err := h.leg.Send(context.Background(), m); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "a line at alice and in the room", func() bool {
			return slices.Contains(heardBy(alice, "bot@localhost/"), id) && slices.Contains(heardBy(alice, devRoom+"/bot"), id)
		})
	}
	proven := func(id string) bool { return h.sink.proof(id, bridge.Delivered) }
	say("early") // what the archives begin with
	await(t, "the proofs", func() bool { return proven("early-to-alice") && proven("early-to-room") })
	said := time.Now()
	proxy.Deafen()
	say("deaf")
	if proven("deaf-to-alice") || proven("deaf-to-room") {
		t.Error("proven, and the bot has heard nothing")
	}
	proxy.Cut()
	if killed {
		stop()
	}
	proxy.Restore()
	if killed {
		h.sink.Forget()
		h.runWith(t, j)
	}
	for _, to := range []struct {
		kind     bridge.RoomKind
		name, id string
	}{{bridge.Chat, "alice", "deaf-to-alice"}, {bridge.MUC, devRoom, "deaf-to-room"}} {
		ms := []bridge.Outgoing{h.out(to.kind, to.name, to.id, "deaf"), h.out(to.kind, to.name, "never-sent", "never")}
		for i := range ms {
			ms[i].Said = said
		}
		var got []bridge.Answer
		await(t, "an answer", func() bool {
			var err error
			got, err = h.leg.Ask(context.Background(), ms)
			return err == nil
		})
		if want := []bridge.Answer{bridge.Present, bridge.Absent}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", to.name, got, want)
		}
		if !killed {
			await(t, "the proof by the session, too", func() bool { return proven(to.id) })
		}
	}
}
