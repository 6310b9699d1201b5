package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

func rotating(c *guard.Config) { c.Rooms[0].RotateKey = 24 * time.Hour }

// key is the channel's key.
func (h *house) key() (key string) {
	h.irc.Change(channel, func(p *guardtestPlace) { key = p.Key })
	return key
}

// takeTold returns what people were told since the last look.
func (h *house) takeTold() map[string][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.told
	h.told = map[string][]string{}
	return out
}

// unseen fails if a key stands where anybody could read it: audit, alarms, status.
func (h *house) unseen(keys ...string) {
	h.t.Helper()
	text := fmt.Sprintf("%+v %q", h.g.Status(), h.takeAlarms())
	for a, err := range h.g.Audit(context.Background(), guard.Query{}) {
		must(h.t, err)
		text += a.String() + "\n"
	}
	for _, key := range keys {
		if key == "" || strings.Contains(text, key) {
			h.t.Errorf("the key %q is shown:\n%s", key, text)
		}
	}
}

// The channel gets a key, and another each day, in one line with the old one. Those who
// may join are told it, each in their own chat, and nobody else.
func TestKeyIsRotated(t *testing.T) {
	live(t, rotating, func(h *house) {
		first := h.key()
		if len(first) != 20 || strings.ContainsAny(first, " ,:") {
			t.Fatalf("key %q", first)
		}
		told := h.takeTold()
		if len(told) != 1 || len(told["alice"]) != 1 || told["alice"][0] != "The key of #finance on corp is "+first+": /join #finance "+first+". Tell nobody; it changes every 24h, and I tell you." {
			t.Errorf("told %q", told)
		}
		h.has("audit", h.acts(guard.Query{}), "told to alice; no encrypted chat with bob")
		h.wait(23 * time.Hour)
		h.same("lines", h.irc.Lines())
		h.wait(time.Hour)
		second := h.key()
		if second == first {
			t.Error("the key is a day old")
		}
		h.same("lines", h.irc.Lines(), "MODE #finance -k+k "+first+" "+second)
		h.same("the bot's own way in", h.irc.Keys(channel), second)
		if told := h.takeTold(); len(told["alice"]) != 1 || !strings.Contains(told["alice"][0], second) {
			t.Errorf("told %q", told)
		}
		h.unseen(first, second)
		text, err := h.g.Key("bob", "finance")
		if must(t, err); !strings.Contains(text, second) {
			t.Errorf("bob is told %q", text)
		}
		for _, who := range []string{"carol", "nobody", ""} {
			if text, err := h.g.Key(who, "finance"); !errors.Is(err, guard.ErrRefused) || text != "" {
				t.Errorf("%s is told %q, %v", who, text, err)
			}
		}
		if _, err := h.g.Key("bob", "lobby"); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("the key of a room without one: %v", err)
		}
		_, err = h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"})
		must(t, err)
		if _, err := h.g.Key("bob", "finance"); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("somebody banned is told the key: %v", err)
		}
	})
}

// An admin, and somebody's leaving, have it changed at once; who left is not told.
func TestKeyIsRotatedByOrder(t *testing.T) {
	live(t, rotating, func(h *house) {
		first := h.key()
		must(t, h.g.RotateKey(context.Background(), "finance", "bob"))
		h.wait(time.Second)
		second := h.key()
		h.takeTold()
		cfg := h.cfg
		cfg.Policy.People = cfg.Policy.People[1:]
		cfg.Policy.Protected = nil
		must(t, h.g.Reload(cfg))
		h.g.OffBoard(guard.Leaver{Person: "alice", Why: "taken out of the configuration"})
		h.wait(time.Second)
		if third := h.key(); first == second || second == third {
			t.Errorf("keys %q, %q, %q", first, second, third)
		}
		if told := h.takeTold(); len(told) > 0 {
			t.Errorf("told %q", told)
		}
		if err := h.g.RotateKey(context.Background(), "lobby", "bob"); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("a room without a key: %v", err)
		}
	})
}

// In a dry run there is no key, and none is made.
func TestKeyInDryRun(t *testing.T) {
	live(t, func(c *guard.Config) { rotating(c); c.Rooms[0].DryRun = true }, func(h *house) {
		h.wait(48 * time.Hour)
		if key := h.key(); key != "" {
			t.Errorf("key %q", key)
		}
		h.has("plan", h.g.Status().Rooms[0].Places[0].Plan, "***")
		if err := h.g.RotateKey(context.Background(), "finance", "bob"); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("ordered in a dry run: %v", err)
		}
		k, err := h.store.Load(context.Background())
		if must(t, err); k.Rooms[0].Key+k.Rooms[0].NextKey != "" {
			t.Errorf("kept %+v", k.Rooms[0])
		}
	})
}

// The key outlives the process, also one that ended between the store and the channel:
// the bot knows each key that can be the channel's.
func TestKeyOutlivesTheProcess(t *testing.T) {
	live(t, rotating, func(h *house) {
		first := h.key()
		h.stop()
		h.wait(time.Hour)
		h.start()
		h.same("the bot's own way in", h.irc.Keys(channel), first)
		h.ready()
		if h.key() != first {
			t.Error("another key after a restart")
		}
		// The channel was made anew: it gets the key that people know.
		h.irc.Change(channel, func(p *guardtestPlace) { p.Key = "" })
		h.wait(6 * time.Minute)
		if h.key() != first {
			t.Errorf("key %q, want %q again", h.key(), first)
		}
		h.takeTold()
		// Killed as the line is on its way.
		release := h.irc.Hold()
		must(t, h.g.RotateKey(context.Background(), "finance", "bob"))
		h.wait(time.Second)
		ways := h.irc.Keys(channel)
		if len(ways) != 2 || ways[1] != first || ways[0] == first {
			t.Fatalf("ways in %q", ways)
		}
		h.stop()
		release()
		h.irc.Change(channel, func(p *guardtestPlace) { p.Key = ways[0] })
		h.start()
		h.same("the bot's own way in", h.irc.Keys(channel), ways...)
		h.takeTold()
		h.ready()
		h.wait(time.Second)
		if h.key() != ways[0] {
			t.Errorf("key %q, want %q", h.key(), ways[0])
		}
		if told := h.takeTold(); len(told["alice"]) != 1 || !strings.Contains(told["alice"][0], ways[0]) {
			t.Errorf("told %q", told)
		}
	})
}

// Who takes the key away has it back; who does so again and again is left alone, and
// their key is shown to nobody.
func TestKeyWar(t *testing.T) {
	live(t, rotating, func(h *house) {
		key := h.key()
		h.irc.Mode(channel, "-k "+key, by("mallory"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +k "+key)
		sent := 0
		for i := range 6 {
			h.irc.Mode(channel, fmt.Sprint("+k theirs", i), by("mallory"))
			h.wait(2 * time.Second)
			sent += len(h.irc.Lines())
		}
		if sent != 1 {
			t.Errorf("set back %d times, want once more", sent)
		}
		if s := h.g.Status().Rooms[0]; !slices.ContainsFunc(s.Alarms, func(a string) bool { return strings.Contains(a, "mallory sets +k back again and again") }) {
			t.Errorf("alarms %q", s.Alarms)
		}
		h.unseen(key, "theirs")
		h.wait(15 * time.Minute)
		if h.key() != key {
			t.Errorf("after a rest the key is %q", h.key())
		}
	})
}

// A store that fails: the key stays as it is, rather than be one that nobody knows
// after a crash.
func TestKeyWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, rotating)
		bad := &failing{Store: guard.NewMemory()}
		h.store = bad
		h.start()
		defer func() { h.stop() }()
		h.ready()
		first := h.key()
		bad.set(true)
		h.wait(25 * time.Hour)
		if h.key() != first || first == "" {
			t.Errorf("key %q, was %q", h.key(), first)
		}
		h.has("alarms", h.takeAlarms(), "its key is not changed: the store fails")
		bad.set(false)
		h.wait(10 * time.Minute)
		if h.key() == first {
			t.Error("the key is not changed once the store is back")
		}
	})
}

// killedAt is a store of a process that is killed as soon as a room is kept as it says:
// nothing is written any more.
type killedAt struct {
	*failing
	at func(guard.RoomState) bool
}

func (k killedAt) PutRoom(ctx context.Context, r guard.RoomState) error {
	err := k.failing.PutRoom(ctx, r)
	if k.at(r) {
		k.set(true)
	}
	return err
}

// A process that is killed with a new key in the channel, and before it told anybody, has
// the next one tell; one that was told to change it, and was killed before, has the next
// one change it.
func TestKeyIsToldAfterAKill(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed func(first string) func(guard.RoomState) bool
	}{
		{"set, and not told", func(first string) func(guard.RoomState) bool {
			return func(r guard.RoomState) bool { return r.Key != first && r.NextKey == "" }
		}},
		{"ordered", func(first string) func(guard.RoomState) bool {
			return func(r guard.RoomState) bool { return r.Key == first && r.NextKey == "" }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, rotating, func(h *house) {
				first := h.key()
				h.takeTold()
				h.stop()
				whole := h.store
				h.store = killedAt{whole.(*failing), func(r guard.RoomState) bool { return r.Room == "finance" && tt.killed(first)(r) }}
				h.slow = 10 * time.Second
				h.start()
				h.ready()
				must(t, h.g.RotateKey(context.Background(), "finance", "alice"))
				h.wait(2 * time.Second)
				h.stop()
				h.takeTold()
				whole.(*failing).set(false)
				h.store, h.slow = whole, 0
				h.start()
				h.ready()
				if told := h.takeTold(); h.key() == first || len(told["alice"]) != 1 || !strings.Contains(told["alice"][0], h.key()) {
					t.Errorf("told %q, the key is %q, was %q", told, h.key(), first)
				}
				h.stop()
				h.start()
				h.ready()
				if told := h.takeTold(); len(told) != 0 {
					t.Errorf("told again: %q", told)
				}
			})
		})
	}
}

// Of two guards the one that acts changes the key; the other learns it, to find its way
// back in, and goes on when the first is gone.
func TestKeyOfAPeer(t *testing.T) {
	live(t, func(c *guard.Config) {
		rotating(c)
		c.ID, c.Peers = "b", []guard.Peer{{ID: "a", Accounts: map[string]string{"corp": "otherbot"}}}
	}, func(h *house) {
		h.irc.Join(channel, onIRC("otherbot", "otherbot"))
		h.irc.Give(channel, "otherbot", "o", bridge.By{Nick: "ChanServ", Server: true})
		h.wait(10 * time.Second)
		h.takeTold()
		h.irc.Lines()
		h.irc.Mode(channel, "+k theirkey", by("otherbot"))
		h.wait(48 * time.Hour)
		h.same("lines", h.irc.Lines())
		h.same("the bot's own way in", h.irc.Keys(channel), "theirkey")
		if told := h.takeTold(); len(told) > 0 {
			t.Errorf("told %q, and that is the peer's to do", told)
		}
		h.irc.Part(channel, "otherbot", false)
		h.wait(time.Minute)
		if key := h.key(); len(key) != 20 {
			t.Errorf("key %q", key)
		}
	})
}

// Where the network can prove nobody, the key is what people have: all who would be let
// in get it.
func TestKeyWhereNobodyCanProveAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *guard.Config) {
			rotating(c)
			c.Policy.People[2].IRC = nil
			c.Policy.Rooms[0].Default = policy.Allow
		})
		h.irc.Change(channel, func(p *guardtestPlace) {
			p.Caps = policy.ChannelCaps{Software: policy.NgIRCd, FlagModes: "imnPQRstVz", Modes: 5}
			for _, m := range p.Members {
				m.Facts.Account, m.Facts.Cert = policy.Fact{Known: policy.Never}, policy.Fact{Known: policy.Never}
			}
		})
		h.start()
		defer func() { h.stop() }()
		h.ready()
		if told := h.takeTold(); len(told["alice"]) != 1 || len(told["carol"]) != 1 {
			t.Errorf("told %q", told)
		}
	})
}
