//go:build e2e

package irc_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/irc"
)

// TestRealAskPresent: lines whose echo never reached us, because our link was deaf
// when they were said, are in the history of their channel: the next process finds
// them there, in whole, and does not find what was never sent.
func TestRealAskPresent(t *testing.T) {
	l := lab.New(t)
	s, alice := history(l, "100:1h")
	proxy := l.Proxy(s.Addr)
	box := newJournalled()
	cfg := irc.Config{Servers: []string{proxy.Addr}, TLSOff: true, Channels: channels("#dev")}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	leg, done := runLegIn(ctx, t, cfg, box, irc.Deps{Cursors: box})
	awaitRooms(t, l, leg)
	alice.Say("#dev", "before")
	l.Await(time.Minute, "a line", func() bool { return len(box.texts()) == 1 })
	proxy.Deafen()
	var ms []bridge.Outgoing
	for _, text := range []string{"one", "two\nlines", "three", "never sent"} {
		ms = append(ms, bridge.Outgoing{
			ID: "id-" + text[:3], To: irc.Room("net", "#dev"), Said: time.Now(), Prefix: "<bob> ", Text: bridge.NewText("<bob> " + text),
		})
	}
	if n, err := leg.SendAll(context.Background(), ms[:3]); n != 3 || err != nil {
		t.Fatalf("sent %d: %v", n, err)
	}
	l.Await(time.Minute, "the lines", func() bool { return len(alice.Heard("#dev")) >= 4 })
	stop()
	<-done
	for _, m := range ms[:3] {
		if o := box.proofOf(m.ID); o != bridge.Doubt {
			t.Errorf("the leg says %v of %s", o, m.ID)
		}
	}
	proxy.Restore()
	leg = startLeg(t, cfg, box, irc.Deps{Cursors: box})
	awaitRooms(t, l, leg)
	answers, err := leg.Ask(context.Background(), ms)
	if want := []bridge.Answer{bridge.Present, bridge.Present, bridge.Present, bridge.Absent}; err != nil || !slices.Equal(answers, want) {
		t.Errorf("answers %v, %v; want %v", answers, err, want)
	}
}
