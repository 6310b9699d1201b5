package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

func TestALineThatEndsTheLinkEachTimeGoesBack(t *testing.T) {
	live(t, func(h *house) {
		h.irc.Manual()
		must(t, h.xmpp.Take(person(alice, "poison")))
		must(t, h.xmpp.Take(person(alice, "next")))
		synctest.Wait()
		n := 0
		for range 20 {
			for _, m := range h.irc.TakeSent() {
				if strings.HasSuffix(m.Text.Reveal(), "poison") {
					n++
					h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Doubt})
				} else {
					h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Delivered})
				}
			}
			synctest.Wait()
		}
		if l := h.ledger(); n != 10 || l.Bounced != 1 || l.Waiting != 0 {
			t.Errorf("sent %d times, ledger %+v", n, l)
		}
		told(h.xmpp)
	}, devBridge())
}

func TestProofAfterTheRoomWasRemoved(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		h.irc.Manual()
		must(t, h.xmpp.Take(person(alice, "x")))
		must(t, h.xmpp.Take(person(alice, "y")))
		synctest.Wait()
		sent := h.irc.TakeSent()
		cfg := h.cfg
		b.Rooms = rooms(muc, alice, bob)
		cfg.Bridges = []bridge.BridgeConfig{b}
		_, err := h.core.Reload(cfg)
		must(t, err)
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[0].ID, Outcome: bridge.Delivered})
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[1].ID, Outcome: bridge.Doubt})
		h.irc.Prove(bridge.Proof{Room: dev, ID: "unknown", Outcome: bridge.Failed})
		synctest.Wait()
		if l := h.ledger(); l.Waiting != 0 || l.Bounced != 1 {
			t.Errorf("ledger %+v", l)
		}
		// The room comes back as if nothing had been.
		cfg.Bridges = h.cfg.Bridges
		_, err = h.core.Reload(cfg)
		must(t, err)
		must(t, h.xmpp.Take(person(alice, "z")))
		synctest.Wait()
		if got := h.irc.TakeSent(); len(got) != 1 {
			t.Errorf("%d lines after the room came back", len(got))
		} else {
			h.irc.Prove(bridge.Proof{Room: dev, ID: got[0].ID, Outcome: bridge.Delivered})
		}
		told(h.xmpp)
	}, b)
}

func TestStatusIsJSONWithoutText(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, canary)))
		time.Sleep(time.Minute)
		b, err := json.Marshal(h.core.Status())
		must(t, err)
		for _, want := range []string{`"kind":"channel"`, `"waiting":1`, `"oldest_ns":60000000000`, `"held":"not reachable"`, `"in":"sealed"`, `"state":"up"`} {
			if !strings.Contains(string(b), want) {
				t.Errorf("no %s in %s", want, b)
			}
		}
		if strings.Contains(string(b), canary) {
			t.Error("message text in the status")
		}
		told(h.xmpp)
	}, devBridge())
}

// TestLogsHoldNoText sends a canary the ways that end in a log line.
func TestLogsHoldNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		b := devBridge()
		b.Rooms = append(b.Rooms, rooms(muc)...)
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people}
		h.start(bridge.Deps{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		h.irc.SetError(dev, fmt.Errorf("refused"))
		must(t, h.xmpp.Take(person(alice, canary)))
		m := person(alice, canary)
		m.Rung = policy.Clear
		must(t, h.xmpp.Take(m))
		must(t, h.xmpp.Say(muc, "eve", "<alice@jabber> "+canary))
		time.Sleep(3 * time.Second)
		h.stop()
		if log.Len() == 0 || strings.Contains(log.String(), canary) {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

func TestManyRoomsInTheGreeting(t *testing.T) {
	b := devBridge()
	for i := range 12 {
		b.Rooms = append(b.Rooms, bridge.RoomConfig{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: fmt.Sprintf("#c%d", i)}})
	}
	live(t, func(h *house) {
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomDown, Room: alice}))
		must(t, h.xmpp.RoomUp(alice))
		if got := told(h.xmpp); len(got) != 1 || !strings.Contains(got[0], "and 6 more") {
			t.Errorf("greeting %q", got)
		}
	}, b)
}

func TestStalledJournalDoesNotStopTheShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), fail: true}
		h := journalHouse(t, j, devBridge())
		m := person(alice, "x")
		m.Taken = func(bool) { t.Error("acknowledged") }
		must(t, h.xmpp.Take(m))
		time.Sleep(time.Second)
		start := time.Now()
		h.stop()
		if took := time.Since(start); took > 2*bridge.DrainTime {
			t.Errorf("took %v", took)
		}
	})
}
