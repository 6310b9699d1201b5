package guard_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// without is the configuration without the room finance.
func (h *house) without() guard.Config {
	cfg := h.cfg
	cfg.Rooms = cfg.Rooms[1:]
	cfg.Policy.Rooms = cfg.Policy.Rooms[1:]
	cfg.Policy.Rules = slices.DeleteFunc(slices.Clone(cfg.Policy.Rules), func(r policy.Rule) bool { return slices.Contains(r.Rooms, "finance") })
	return cfg
}

// A room is taken out of the configuration while somebody invited may be there, and comes
// back, by the same process and by the next one: until their time they may be there; after
// it what the servers' lists held for them is taken back, and nothing is kept any more.
func TestStaysOfARoomThatWasTakenOut(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, away := range []time.Duration{10 * time.Minute, 2 * time.Hour} {
			t.Run(map[bool]string{false: "the same process ", true: "another process "}[restart]+away.String(), func(t *testing.T) {
				invites(t, nil, func(h *house) {
					for _, where := range []string{"corp/#finance dora_", "finance@rooms.corp.example"} {
						code, _ := h.ask("dora", "!invite "+where, policy.Verified)
						h.answers(where, h.say("dora", "!invite "+code, policy.Verified), "dora")
						h.wait(time.Second)
					}
					if n, m := h.kindsKept("member"), h.kindsKept("invex"); n != 2 || m != 1 {
						t.Fatalf("%d members and %d entries are kept", n, m)
					}
					must(t, h.g.Reload(h.without()))
					whole := h.cfg
					if restart {
						h.stop()
						h.cfg = h.without()
						h.start()
						h.irc.Ready(lobby)
					}
					h.wait(away)
					over := away > time.Hour
					if n := h.kindsKept("member") + h.kindsKept("invex"); over && n != 0 || !over && n != 3 {
						t.Errorf("%d stays are kept of a room that is not guarded", n)
					}
					h.cfg = whole
					must(t, h.g.Reload(whole))
					h.ready()
					h.wait(10 * time.Second)
					h.irc.Change(channel, func(p *guardtestPlace) {
						if slices.Contains(p.Lists['I'], "R:dora") == over {
							t.Errorf("+I is %q", p.Lists['I'])
						}
					})
					h.xmpp.Change(muc, func(p *guardtestPlace) {
						if (p.Affs["dora@corp.example"] == policy.Member) == over {
							t.Errorf("dora is %q", p.Affs["dora@corp.example"])
						}
					})
					h.irc.Join(channel, onIRC("dora_", "dora"))
					h.wait(time.Second)
					if in := slices.Contains(h.irc.Nicks(channel), "dora_"); in == over {
						t.Errorf("dora is in: %v", in)
					}
					h.wait(2 * time.Hour)
					k, err := h.store.Load(context.Background())
					must(t, err)
					for _, x := range k.Timers {
						if strings.Contains(x.Who, "dora") {
							t.Errorf("still kept: %+v", x)
						}
					}
				})
			})
		}
	}
}

// A room that was enabled is armed when it is back in the configuration.
func TestEnabledRoomIsArmedWhenItIsBack(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].DryRun = true }, func(h *house) {
		h.stop() // so that it is known as a dry run from before
		h.start()
		h.ready()
		must(t, h.g.Enable(context.Background(), "finance", "alice"))
		h.wait(time.Second)
		must(t, h.g.Reload(h.without()))
		h.wait(time.Minute)
		must(t, h.g.Reload(h.cfg))
		h.ready()
		if !h.g.Status().Rooms[0].Armed {
			t.Error("it is in dry run again")
		}
	})
}

// More wait to be let in than can: who asks then is told so, keeps the code, and is invited
// once there is room. Who knocks then is not said to be invited, either.
func TestInviteWhileManyWait(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		release := h.irc.Hold()
		knock := func(nick string) {
			f := onIRC(nick, "bob")
			h.irc.See(bridge.Sight{Kind: bridge.SightInvited, Leg: "corp", Room: channel, Facts: f})
		}
		knock("first")
		h.wait(0) // it holds up what follows
		for i := range 65 {
			knock(fmt.Sprint("bob", i))
		}
		h.wait(time.Second)
		h.has("audit of the last", h.acts(guard.Query{Who: "bob64"}), "too many wait")
		h.answers("the code", h.say("dora", "!invite "+code, policy.Verified), "too many wait to be let in")
		h.answers("asking anew", h.say("dora", "!invite corp/#finance dora_", policy.Verified), "too many wait to be let in")
		if n := h.kindsKept("member"); n != 0 {
			t.Errorf("%d memberships are kept", n)
		}
		release()
		h.wait(time.Second)
		h.answers("the code, later", h.say("dora", "!invite "+code, policy.Verified), "is invited")
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "INVITE bob63 #finance", "INVITE dora_ #finance")
	})
}
