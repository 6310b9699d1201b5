package bridge_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

func TestReloadRemovesAPerson(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "no key"})
		must(t, h.irc.Say(dev, "carol", "for alice"))
		synctest.Wait()
		told(h.xmpp)
		cfg := h.cfg
		b := devBridge()
		b.Rooms = rooms(dev, bob)
		cfg.Bridges, cfg.People = []bridge.BridgeConfig{b}, people[1:]
		d, err := h.core.Reload(cfg)
		must(t, err)
		want := bridge.Diff{RoomsRemoved: []string{"dev: bot/alice"}, PeopleRemoved: []string{"alice"}, Bounced: 1}
		if !reflect.DeepEqual(d, want) {
			t.Errorf("diff %+v, want %+v", d, want)
		}
		time.Sleep(2 * time.Second)
		same(t, "told why", told(h.irc), "#dev: 1 line not delivered to alice: it is no longer in this bridge.")
		must(t, h.xmpp.Take(person(alice, "still here?")))
		same(t, "she is heard no more", told(h.irc))
		must(t, h.irc.Say(dev, "carol", "next"))
		same(t, "others are served", told(h.xmpp), "bob: <carol@irc> next")
		if s := h.core.Status(); s.Strays != 1 {
			t.Errorf("strays %d", s.Strays)
		}
	}, devBridge())
}

func TestReloadAddsLegsAndBridges(t *testing.T) {
	live(t, func(h *house) {
		second := bridgetest.NewLeg("oftc", "irc")
		far := bridge.Room{Leg: "oftc", Kind: bridge.Channel, Name: "#far"}
		cfg := h.cfg
		b := devBridge()
		b.Rooms = append(b.Rooms, bridge.RoomConfig{Room: far})
		cfg.Legs = append(cfg.Legs[:2:2], second)
		cfg.Bridges = []bridge.BridgeConfig{b, {Name: "ops", Rooms: rooms(ops, muc)}}
		d, err := h.core.Reload(cfg)
		must(t, err)
		want := bridge.Diff{
			LegsStarted: []string{"oftc"}, BridgesAdded: []string{"ops"},
			RoomsAdded: []string{"dev: oftc/#far", "ops: bot/dev@rooms.corp.example", "ops: corp/#ops"},
		}
		if !reflect.DeepEqual(d, want) {
			t.Errorf("diff %+v, want %+v", d, want)
		}
		must(t, second.Say(far, "fred", "hello"))
		same(t, "the legs are told apart by name now", told(h.irc), "#dev: <fred@oftc> hello")
		told(h.xmpp)
		must(t, h.irc.Say(ops, "carol", "x"))
		same(t, "new bridge", told(h.xmpp), "dev@rooms.corp.example: <carol@irc> x")

		cfg.Legs, cfg.Bridges = h.cfg.Legs, h.cfg.Bridges
		d, err = h.core.Reload(cfg)
		must(t, err)
		if !reflect.DeepEqual(d.LegsStopped, []string{"oftc"}) || !reflect.DeepEqual(d.BridgesRemoved, []string{"ops"}) {
			t.Errorf("diff %+v", d)
		}
		if err := second.Say(far, "fred", "hello"); !errors.Is(err, bridge.ErrStopped) {
			t.Errorf("a stopped leg's message: %v", err)
		}
		if d, err := h.core.Reload(cfg); err != nil || !reflect.DeepEqual(d, bridge.Diff{}) {
			t.Errorf("same again: %+v, %v", d, err)
		}
	}, devBridge())
}

func TestReloadReplacesALeg(t *testing.T) {
	live(t, func(h *house) {
		h.irc.Manual()
		must(t, h.xmpp.Take(person(alice, "one")))
		must(t, h.xmpp.Take(person(alice, "two")))
		synctest.Wait()
		first := h.irc.TakeSent()
		fresh := bridgetest.NewLeg("corp", "irc")
		cfg := h.cfg
		cfg.Legs = []bridge.Leg{fresh, h.xmpp}
		d, err := h.core.Reload(cfg)
		must(t, err)
		if !reflect.DeepEqual(d.LegsStarted, []string{"corp"}) || !reflect.DeepEqual(d.LegsStopped, []string{"corp"}) {
			t.Errorf("diff %+v", d)
		}
		must(t, fresh.RoomUp(dev))
		synctest.Wait()
		again := fresh.TakeSent()
		if len(first) != 2 || len(again) != 2 || again[0].ID != first[0].ID || again[1].ID != first[1].ID {
			t.Errorf("in doubt %d, sent again %d", len(first), len(again))
		}
		told(h.xmpp)
	}, devBridge())
}

func TestBadReloadChangesNothing(t *testing.T) {
	live(t, func(h *house) {
		cfg := h.cfg
		b := devBridge()
		b.ShowIRC = "{text}"
		b.Rooms = rooms(ops)
		cfg.Bridges = []bridge.BridgeConfig{b}
		if _, err := h.core.Reload(cfg); !errors.Is(err, bridge.ErrConfig) {
			t.Errorf("got %v", err)
		}
		must(t, h.irc.Say(dev, "carol", "x"))
		same(t, "the old one holds", told(h.xmpp), "alice: <carol@irc> x", "bob: <carol@irc> x")
	}, devBridge())
}

func TestReloadRaisesTheFloor(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, "sealed only")))
		synctest.Wait()
		cfg := h.cfg
		b := devBridge()
		b.Floor.In = policy.Signed
		cfg.Bridges = []bridge.BridgeConfig{b}
		d, err := h.core.Reload(cfg)
		must(t, err)
		if !reflect.DeepEqual(d.BridgesChanged, []string{"dev"}) {
			t.Errorf("diff %+v", d)
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		same(t, "not sent", told(h.irc))
		time.Sleep(2 * time.Second)
		got := strings.Join(told(h.xmpp), "\n")
		if !strings.Contains(got, "alice: 1 line not delivered to corp/#dev: the bridge now asks for more encryption.") {
			t.Errorf("told %q", got)
		}
	}, devBridge())
}

func TestConfigErrors(t *testing.T) {
	leg := func() []bridge.Leg {
		return []bridge.Leg{bridgetest.NewLeg("corp", "irc"), bridgetest.NewLeg("bot", "xmpp")}
	}
	for _, tt := range []struct {
		name   string
		change func(c *bridge.Config)
		want   string
	}{
		{"leg twice", func(c *bridge.Config) { c.Legs = append(c.Legs, bridgetest.NewLeg("corp", "irc")) }, `leg "corp" stands twice`},
		{"person twice", func(c *bridge.Config) { c.People = append(c.People, people[0]) }, `person "alice" is empty or stands twice`},
		{"bridge twice", func(c *bridge.Config) { c.Bridges = append(c.Bridges, c.Bridges[0]) }, `bridge "dev" is empty or stands twice`},
		{"person in two bridges", func(c *bridge.Config) {
			c.Bridges = append(c.Bridges, bridge.BridgeConfig{Name: "b", Rooms: rooms(ops, alice)})
		}, "one account and person can be in one bridge only"},
		{"MUC under a floor", func(c *bridge.Config) {
			c.Bridges[0].Rooms = append(c.Bridges[0].Rooms, bridge.RoomConfig{Room: muc})
		}, "its entry must say so (require: clear)"},
		{"encrypted channel", func(c *bridge.Config) { c.Bridges[0].Rooms[0].Floor = &sealed }, "a channel cannot be encrypted"},
		{"unknown leg", func(c *bridge.Config) { c.Bridges[0].Rooms[0].Room.Leg = "x" }, "no such leg"},
		{"unknown person", func(c *bridge.Config) { c.Bridges[0].Rooms[1].Room.Name = "x" }, "no such person"},
		{"unknown kind", func(c *bridge.Config) { c.Bridges[0].Rooms[0].Room.Kind = 0 }, "no such kind of room"},
		{"room twice", func(c *bridge.Config) {
			c.Bridges[0].Rooms = append(c.Bridges[0].Rooms, c.Bridges[0].Rooms[0])
		}, "stands twice"},
		{"template", func(c *bridge.Config) { c.Bridges[0].ShowXMPP = "{name}" }, "{origin} must stand in it once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := bridge.Config{Legs: leg(), Bridges: []bridge.BridgeConfig{devBridge()}, People: append([]policy.Person(nil), people...)}
			if _, err := bridge.New(cfg, bridge.Deps{}); err != nil {
				t.Fatal(err)
			}
			tt.change(&cfg)
			_, err := bridge.New(cfg, bridge.Deps{})
			if !errors.Is(err, bridge.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOneDeadLegDoesNotStopTheOthers(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		h.irc.Die(errors.New("gone mad"))
		synctest.Wait()
		must(t, h.xmpp.Take(person(alice, "x")))
		same(t, "others", told(h.xmpp), "bob: <alice@jabber> x", "dev@rooms.corp.example: <alice@jabber> x")
		if st := h.core.Status().Legs[0]; st.State != bridge.StateRefused || st.Detail != "stopped: gone mad" {
			t.Errorf("status %+v", st)
		}
		h.xmpp.Die(nil)
		synctest.Wait()
		h.stop()
		if !errors.Is(h.err, bridge.ErrLegsDead) {
			t.Errorf("Run = %v", h.err)
		}
	}, b)
}

func TestARunsOnce(t *testing.T) {
	live(t, func(h *house) {
		if err := h.core.Run(t.Context()); !errors.Is(err, bridge.ErrRunning) {
			t.Errorf("second Run = %v", err)
		}
		h.stop()
		if _, err := h.core.Reload(h.cfg); !errors.Is(err, bridge.ErrStoppedCore) {
			t.Errorf("Reload after Run = %v", err)
		}
	}, devBridge())
}

// panicLeg panics wherever it is asked to.
type panicLeg struct {
	*bridgetest.Leg
	send, window, status bool
}

func (l *panicLeg) Send(ctx context.Context, m bridge.Outgoing) error {
	if l.send {
		panic("send")
	}
	return l.Leg.Send(ctx, m)
}

func (l *panicLeg) Window(r bridge.Room) int {
	if l.window {
		panic("window")
	}
	return l.Leg.Window(r)
}

func (l *panicLeg) Status() bridge.LegStatus {
	if l.status {
		panic("status")
	}
	return l.Leg.Status()
}

func TestPanicsAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		bad := &panicLeg{Leg: h.irc, send: true, status: true}
		h.cfg = bridge.Config{Legs: []bridge.Leg{bad, h.xmpp}, Bridges: []bridge.BridgeConfig{devBridge()}, People: people}
		h.start(bridge.Deps{})
		m := person(alice, "x")
		m.Taken = func(bool) { panic("taken") }
		must(t, h.xmpp.Take(m))
		same(t, "others are served", told(h.xmpp), "bob: <alice@jabber> x")
		time.Sleep(20 * time.Second)
		same(t, "bounced", told(h.xmpp), "alice: 1 line not delivered to corp/#dev: bridge: leg corp: panic in send.")
		if st := h.core.Status().Legs[0]; !strings.Contains(st.Detail, "panic in status") {
			t.Errorf("status %+v", st)
		}
		bad.send, bad.window = false, true
		must(t, h.xmpp.Take(person(alice, "y")))
		same(t, "without a window, one at a time", told(h.irc), "#dev: <alice@jabber> y")
		h.stop()
		h.balanced()
	})
}
