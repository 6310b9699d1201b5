package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// A link that is lost and back: who came meanwhile is judged, and pays from the budget.
func TestLegLostAndBack(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		h.irc.See(bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: channel, Text: "connection reset"})
		h.wait(30 * time.Second)
		h.same("alarms", h.takeAlarms())
		h.wait(time.Minute)
		h.has("alarms", h.takeAlarms(), "corp/#finance is not held: connection reset")
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "eve"}}, time.Now()); !r.Refused {
			t.Error("somebody unknown is relayed while nobody looks")
		}
		h.irc.Change(channel, func(p *guardtestPlace) { p.Flags = "nt" })
		h.irc.Ready(channel)
		f := onIRC("eve", "")
		h.irc.Join(channel, f)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance eve", "MODE #finance +si")
		h.same("there", h.irc.Nicks(channel), "bob")
	})
}

// A leg tells anew who is there: who is not told of has gone, and nobody is told or
// noted twice.
func TestToldAnew(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.irc.Join(channel, onIRC("alice", "alice"))
		h.irc.Join(channel, onIRC("dave", "?"))
		h.wait(time.Second)
		if n := len(h.irc.Whispers()); n != 1 {
			t.Errorf("%d whispers, want 1", n)
		}
		before := len(h.acts(guard.Query{}))
		h.irc.Change(channel, func(p *guardtestPlace) { delete(p.Members, "bob") })
		h.irc.Ready(channel)
		h.wait(time.Second)
		if n := h.g.Status().Rooms[0].Places[0].Present; n != 3 {
			t.Errorf("%d are there, want alice, dave and the bot", n)
		}
		if n := len(h.acts(guard.Query{})); n != before || len(h.irc.Whispers()) != 0 {
			t.Errorf("%d acts, %d before; or it whispers again", n, before)
		}
	})
}

// A reload in the middle of a removal: it goes on with the new rules, and a room that
// is no longer guarded is left alone.
func TestReloadInTheMiddle(t *testing.T) {
	live(t, nil, func(h *house) {
		release := h.irc.Hold()
		h.irc.Join(channel, onIRC("eve", "eve"))
		h.wait(0) // the kick of eve waits for the window
		h.irc.Join(channel, onIRC("frank", "frank"))
		cfg := h.cfg
		cfg.Policy.People = append(slices.Clone(cfg.Policy.People), person("frank", "finance"))
		must(t, h.g.Reload(cfg))
		release()
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel), "frank")
		cfg.Rooms = cfg.Rooms[1:]
		cfg.Policy.Rooms = cfg.Policy.Rooms[1:]
		cfg.Policy.Rules = cfg.Policy.Rules[2:]
		must(t, h.g.Reload(cfg))
		if w := h.irc.Watched(); !slices.Equal(w, []bridge.Room{lobby}) || len(h.xmpp.Watched()) != 0 {
			t.Errorf("watched: %v, %v", w, h.xmpp.Watched())
		}
		h.irc.Lines()
		h.irc.Join(channel, onIRC("eve", "eve"))
		h.wait(time.Minute)
		h.same("lines", h.irc.Lines())
		must(t, h.g.Reload(h.cfg))
		bad := h.cfg
		bad.Rooms = append(slices.Clone(bad.Rooms), guard.Room{Name: "lobby"})
		if err := h.g.Reload(bad); !errors.Is(err, guard.ErrConfig) {
			t.Errorf("a bad config: %v", err)
		}
	})
}

// The clock jumps: a lockdown that was kept far ahead of it, since it was set back, is
// not kept for ever; a ban whose time passed meanwhile is over.
func TestTimeJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		ctx := context.Background()
		now := time.Now()
		must(t, h.store.PutRoom(ctx, guard.RoomState{Room: "lobby", Armed: true, Shut: now.AddDate(5, 0, 0)}))
		must(t, h.store.PutBan(ctx, policy.BanRecord{ID: "old", Person: "bob", Until: now.Add(-time.Hour)}))
		var offset time.Duration
		var mu sync.Mutex
		jump := func(d time.Duration) { mu.Lock(); offset += d; mu.Unlock() }
		h.deps.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(offset) }
		h.start()
		defer func() { h.stop() }()
		h.ready()
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel), "bob")
		if s := h.g.Status(); s.Bans != 0 {
			t.Errorf("%d bans", s.Bans)
		}
		h.wait(11 * time.Minute)
		if s := h.g.Status().Rooms[1]; !s.Shut.IsZero() {
			t.Errorf("shut until %v", s.Shut)
		}
		for _, d := range []time.Duration{-24 * time.Hour, 48 * time.Hour, -24 * time.Hour} {
			jump(d)
			nick := fmt.Sprint("eve", int64(d))
			h.irc.Join(channel, onIRC(nick, ""))
			h.wait(20 * time.Second)
			h.same("there", h.irc.Nicks(channel), "bob")
		}
	})
}
