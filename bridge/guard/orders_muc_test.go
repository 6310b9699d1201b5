package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// A MUC is ended by two admins' word about the same thing, in a room that is armed, and
// one that is bridged only if both say that they know.
func TestDestroy(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].Bridged = "dev" }, func(h *house) {
		ctx := context.Background()
		o := guard.DestroyOrder{Room: "finance", Venue: "new@rooms.corp.example", Reason: "we moved", By: "alice"}
		if err := h.g.Destroy(ctx, o); !errors.Is(err, guard.ErrRefused) || !strings.Contains(err.Error(), "is in bridge dev") {
			t.Errorf("a bridged room: %v", err)
		}
		o.Bridged = true
		for range 2 {
			if err := h.g.Destroy(ctx, o); !errors.Is(err, guard.ErrSecond) {
				t.Errorf("one admin: %v", err)
			}
		}
		other := o
		other.By, other.Venue = "bob", "elsewhere@rooms.corp.example"
		if err := h.g.Destroy(ctx, other); !errors.Is(err, guard.ErrSecond) {
			t.Errorf("another admin, of another venue: %v", err)
		}
		h.wait(11 * time.Minute)
		o.By = "bob"
		if err := h.g.Destroy(ctx, o); !errors.Is(err, guard.ErrSecond) {
			t.Errorf("too late: %v", err)
		}
		h.same("steps", h.xmpp.Lines())
		o.By = "alice"
		must(t, h.g.Destroy(ctx, o))
		h.same("steps", h.xmpp.Lines(), "destroy new@rooms.corp.example we moved")
		h.has("audit", h.acts(guard.Query{Who: "alice"}), "done", "waits for a second admin")
		if h.g.Status().Rooms[0].Places[1].Ready {
			t.Error("the room is held still")
		}
		o.By = "bob"
		if err := h.g.Destroy(ctx, o); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("of a room that is gone: %v", err)
		}
	})
}

// What two admins must agree on is refused where nothing could come of it, before
// anybody is asked twice.
func TestMUCOrdersAreRefused(t *testing.T) {
	ctx := context.Background()
	both := func(h *house, room string) []error {
		return []error{h.g.Destroy(ctx, guard.DestroyOrder{Room: room, By: "alice"}), h.g.DropOwner(ctx, room, "mallory@else.example", "alice")}
	}
	for name, tt := range map[string]struct {
		change func(*guard.Config)
		room   string
		first  func(*house)
		want   error
	}{
		"a dry run":    {func(c *guard.Config) { c.Rooms[0].DryRun = true }, "finance", nil, guard.ErrRefused},
		"no MUC":       {nil, "lobby", nil, guard.ErrRefused},
		"no such room": {nil, "attic", nil, guard.ErrNoRoom},
		"not owner": {nil, "finance", func(h *house) {
			h.xmpp.Give(muc, "bridge", "", by("mallory"))
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["bridge@corp.example"] = policy.Admin })
			h.wait(6 * time.Minute)
		}, guard.ErrRefused},
		"the bot is gone":  {nil, "finance", func(h *house) { h.xmpp.See(bridge.Sight{Kind: bridge.SightLost, Leg: "bot", Room: muc}) }, guard.ErrRefused},
		"a MUC that holds": {nil, "finance", nil, guard.ErrSecond},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, tt.change, func(h *house) {
				if tt.first != nil {
					tt.first(h)
				}
				for _, err := range both(h, tt.room) {
					if !errors.Is(err, tt.want) {
						t.Errorf("%v, want %v", err, tt.want)
					}
				}
				if err := h.g.DropOwner(ctx, "finance", "bridge@corp.example", "alice"); errors.Is(err, guard.ErrSecond) {
					t.Error("the bot drops itself")
				}
			})
		})
	}
}

// An order that fails says so, to the admin and in the audit, and an order is never
// carried out after the admin was told that it is not.
func TestMUCOrderFails(t *testing.T) {
	live(t, func(c *guard.Config) { c.TwoPerson = []string{} }, func(h *house) {
		ctx := context.Background()
		h.xmpp.Fail(errors.New("forbidden"))
		if err := h.g.DropOwner(ctx, "finance", "mallory@else.example", "alice"); !errors.Is(err, guard.ErrRefused) || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("%v", err)
		}
		h.has("audit", h.acts(guard.Query{Who: "mallory@else.example"}), "failed: forbidden")
		h.xmpp.Fail(nil)
		release := h.xmpp.Hold()
		h.xmpp.Join(muc, onXMPP("eve", "eve@else.example")) // her kick waits
		h.wait(time.Second)
		if err := h.g.Destroy(ctx, guard.DestroyOrder{Room: "finance", By: "alice"}); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("%v", err)
		}
		release()
		h.wait(time.Minute)
		h.same("steps", h.xmpp.Lines(), "none eve")
	})
}
