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

// TestRealAskPresent: lines to a room and to a person, of which the server told us
// nothing because our link was deaf, arrived. The next process finds them in the
// archives, and does not find what was never sent.
func TestRealAskPresent(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		h.cursors = &store{kept: map[string]string{}}
		stop := h.runWith(t, h.sink)
		await(t, "the room", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)
		alice.JoinRoom(devRoom, "alice")
		sent := map[bridge.RoomKind][]bridge.Outgoing{}
		for kind, name := range map[bridge.RoomKind]string{bridge.Chat: "alice", bridge.MUC: devRoom} {
			for _, id := range []string{"one", "two", "three", "four"} {
				m := h.out(kind, name, "identifier-"+id+"-"+kind.String(), id)
				m.Said = time.Now()
				sent[kind] = append(sent[kind], m)
			}
			// An archive tells what is missing from it as far as it reaches back.
			if err := h.leg.Send(context.Background(), sent[kind][0]); err != nil {
				t.Fatal(err)
			}
			await(t, "the first line", func() bool { return h.sink.proof(sent[kind][0].ID, bridge.Delivered) })
		}
		proxy.Deafen()
		for _, ms := range sent {
			for _, m := range ms[1:3] {
				if err := h.leg.Send(context.Background(), m); err != nil {
					t.Fatal(err)
				}
			}
		}
		await(t, "the lines", func() bool {
			return len(heardBy(alice, "bot@localhost/")) == 3 && len(heardBy(alice, devRoom+"/bot")) == 3
		})
		stop()
		for _, ms := range sent {
			for _, m := range ms[1:3] {
				if !h.sink.proof(m.ID, bridge.Doubt) {
					t.Errorf("the leg says %v of %s", h.sink.Proof(m.ID), m.ID)
				}
			}
		}
		proxy.Restore()
		h.sink.Forget()
		h.runWith(t, h.sink)
		await(t, "the room, and alice, again", func() bool {
			return h.room(devRoom).Proven && h.sink.event(bridge.RoomUp, "alice", "")
		})
		for kind, ms := range sent {
			answers, err := h.leg.Ask(context.Background(), ms)
			if err != nil || !slices.Equal(answers[:3], []bridge.Answer{bridge.Present, bridge.Present, bridge.Present}) || answers[3] == bridge.Present {
				t.Errorf("%s: answers %v, %v", kind, answers, err)
			}
		}
	})
}
