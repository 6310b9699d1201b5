package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// The first line: what the policy says stands in the servers' own locks.
func TestLocksAreCompiled(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Change(channel, func(p *guardtestPlace) {
			if p.Flags != "ntsi" || p.MLock != "+ntsi" {
				t.Errorf("flags %q, lock %q", p.Flags, p.MLock)
			}
			h.same("+I", p.Lists['I'], "R:alice", "R:bob")
		})
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Config[policy.FieldMembersOnly] != "1" || p.Affs["alice@corp.example"] != policy.Admin || p.Affs["bob@corp.example"] != policy.Member {
				t.Errorf("config %v, affiliations %v", p.Config, p.Affs)
			}
		})
		h.irc.Change(lobby, func(p *guardtestPlace) {
			if p.Flags != "z" {
				t.Errorf("lobby has flags %q", p.Flags)
			}
		})
	})
}

// A stranger in a closed room is kicked, and told what to do.
func TestStrangerIsKicked(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("eve", ""))
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(0)
		h.same("lines", h.irc.Lines(), "KICK #finance eve :this channel is for members: log in to your services account first, then join again, or ask an operator")
		h.same("there", h.irc.Nicks(channel), "bob")
		h.xmpp.Join(muc, onXMPP("eve", "eve@else.example"))
		h.wait(0)
		h.same("steps", h.xmpp.Lines(), "none eve")
		h.has("audit", h.acts(guard.Query{Who: "eve"}), "eve!eve@eve.example deny : sent 0s after it was seen", "eve@else.example deny")
		h.has("audit", h.acts(guard.Query{Who: "bob"}), "allow finance-in: let in")
	})
}

// What is not known is looked up; nobody goes for it.
func TestUnknownIsLookedUp(t *testing.T) {
	live(t, nil, func(h *house) {
		f := onIRC("dave", "?")
		h.irc.Join(channel, f)
		h.wait(0)
		h.same("lines", h.irc.Lines())
		h.same("lookups", h.irc.Lookups(), "dave: account")
		if w := h.irc.Whispers(); len(w) != 1 || !strings.Contains(w[0], "until it is known who you are") {
			t.Errorf("whispered %q", w)
		}
		h.irc.Learn(channel, "dave", func(f *policy.Facts) { f.Account = policy.IsNot("WHOX", time.Time{}) })
		h.wait(0)
		h.has("lines", h.irc.Lines(), "KICK #finance dave")
	})
}

// A dry run does nothing, and says what it would do; enabling it makes up for that.
func TestDryRun(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].DryRun = true }, func(h *house) {
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(time.Minute)
		h.same("lines", h.irc.Lines())
		h.same("whispers", h.irc.Whispers())
		s := h.g.Status().Rooms[0]
		if s.Armed || len(s.Places[0].Plan) == 0 || s.Did["deny"] != 1 {
			t.Errorf("status %+v", s)
		}
		h.has("audit", h.acts(guard.Query{Room: "finance"}), "eve!eve@eve.example deny : dry run", "dry run")
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "eve"}}, time.Now()); r.Refused {
			t.Error("a dry run refuses a message")
		}
		must(t, h.g.Enable(context.Background(), "finance", "alice"))
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance eve", "MODE #finance")
		// It is kept.
		h.stop()
		h.start()
		if !h.g.Status().Rooms[0].Armed {
			t.Error("enabled, and in dry run after a restart")
		}
	})
}

// Facts §7: a hundred joiners, one command a second, twenty targets a KICK.
func TestHundredJoiners(t *testing.T) {
	for _, joins := range []int{0, 10} {
		t.Run(fmt.Sprintf("joins=%d", joins), func(t *testing.T) {
			live(t, func(c *guard.Config) {
				c.Rooms[0].Joins = policy.Limit{Count: joins, Per: 10 * time.Second}
				c.Policy.Rules[0].Who = policy.Who{Groups: []string{"finance"}, AtLeast: policy.Host} // the door stays open
				c.Policy.People[0].IRC["corp"] = policy.IRCIdentity{Hosts: []string{"alice!*@*"}}
			}, func(h *house) {
				h.irc.Pace(time.Second)
				start := time.Now()
				for i := range 100 {
					h.irc.Join(channel, onIRC(fmt.Sprint("bot", i), ""))
				}
				h.wait(10 * time.Second)
				if left := h.irc.Nicks(channel); len(left) > 0 {
					t.Errorf("%d are left", len(left))
				}
				applied := h.irc.Applied()
				most := 6
				if joins > 0 {
					most = 7 // one shuts the channel
				}
				if n := len(applied); n > most {
					t.Errorf("%d commands, want at most %d: %v", n, most, h.irc.Lines())
				}
				if last := applied[len(applied)-1].At.Sub(start); joins == 0 && last > 5*time.Second {
					t.Errorf("the last went after %v", last)
				}
			})
		})
	}
}

// A mass join shuts the room by one command, and it opens by itself, also when the bot
// was away when that was due.
func TestLockdown(t *testing.T) {
	mass := func(c *guard.Config) { c.Rooms[1].Joins = policy.Limit{Count: 10, Per: 10 * time.Second} }
	live(t, mass, func(h *house) {
		join := func(n int) {
			for i := range n {
				h.irc.Join(lobby, onIRC(fmt.Sprint("user", i), fmt.Sprint("u", i)))
			}
			h.wait(time.Second)
		}
		join(12)
		h.same("lines", h.irc.Lines(), "MODE #lobby +i")
		h.has("alarms", h.takeAlarms(), "many joined at once")
		h.wait(9 * time.Minute)
		h.same("lines", h.irc.Lines())
		h.wait(2 * time.Minute)
		h.has("lines", h.irc.Lines(), "MODE #lobby -i")
		join(12)
		h.has("lines", h.irc.Lines(), "MODE #lobby +i")
		h.stop()
		h.wait(time.Hour)
		h.start()
		h.irc.Ready(lobby)
		h.wait(2 * time.Second)
		h.has("lines after a restart", h.irc.Lines(), "MODE #lobby -i")
	})
}

// Services are away: nobody goes for lack of an account, until they are back for a while.
func TestServicesDown(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.irc.See(bridge.Sight{Kind: bridge.SightServices, Leg: "corp", Down: true})
		h.irc.Change(channel, func(p *guardtestPlace) { p.Down = true })
		h.irc.Change(lobby, func(p *guardtestPlace) { p.Down = true })
		h.irc.Join(channel, onIRC("alice2", "")) // as a server says while services are away
		h.wait(10 * time.Minute)
		h.same("lines", h.irc.Lines())
		h.same("there", h.irc.Nicks(channel), "alice2", "bob")
		h.same("looked up, where nobody can tell", h.irc.Lookups())
		h.has("alarms", h.takeAlarms(), "services of corp are away")
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "alice2"}}, time.Now()); !r.Refused {
			t.Error("who cannot be known is relayed from a closed room")
		}
		h.irc.Change(channel, func(p *guardtestPlace) { p.Down = false })
		h.irc.Change(lobby, func(p *guardtestPlace) { p.Down = false })
		h.irc.See(bridge.Sight{Kind: bridge.SightServices, Leg: "corp"})
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel), "bob")
	})
}

// A ban is of a person: everywhere, and back everywhere when it ends, also after a
// restart.
func TestBanOfAPerson(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
		h.wait(0)
		ctx := context.Background()
		if _, err := h.g.Ban(ctx, guard.BanOrder{Who: "alice", By: "bob"}); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("ban of a protected person: %v", err)
		}
		if _, err := h.g.Ban(ctx, guard.BanOrder{Who: "nobody", By: "alice"}); !errors.Is(err, guard.ErrNobody) {
			t.Errorf("ban of nobody: %v", err)
		}
		b, err := h.g.Ban(ctx, guard.BanOrder{Who: "bob", For: time.Hour, Reason: "cool down", By: "alice"})
		must(t, err)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "MODE #finance +b R:bob", "KICK #finance bob :cool down", "MODE #lobby +b R:bob")
		h.has("steps", h.xmpp.Lines(), "outcast bob@corp.example")
		for _, room := range []bridge.Room{channel, muc} {
			from := bridge.Sender{Nick: "bob", Person: "bob", JID: "bob@corp.example"}
			source := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
			if r := h.g.Out(from, source, room, bridge.Line{}, policy.Verified, time.Now()); !r.Refused || r.Rule != b.ID {
				t.Errorf("bob speaks to %s through Jabber: %+v", room, r)
			}
			if r := h.g.Out(bridge.Sender{Person: "bob"}, source, room, bridge.Line{}, policy.Verified, time.Now()); !r.Refused {
				t.Errorf("a line of bob that waited goes to %s", room)
			}
		}
		h.stop()
		h.wait(2 * time.Hour)
		h.start()
		h.ready()
		h.irc.Change(channel, func(p *guardtestPlace) { h.same("bans", p.Lists['b']) })
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Affs["bob@corp.example"] != policy.Member {
				t.Errorf("bob is %q again", p.Affs["bob@corp.example"])
			}
		})
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines())
		k, err := h.store.Load(ctx)
		k.Timers = slices.DeleteFunc(k.Timers, func(x guard.Timer) bool { return x.Kind == "door" })
		if err != nil || len(k.Bans)+len(k.Timers) != 0 {
			t.Errorf("still kept: %+v, %v", k, err)
		}
	})
}

func TestBanOfAMask(t *testing.T) {
	live(t, nil, func(h *house) {
		ctx := context.Background()
		f := onIRC("alice", "alice")
		f.Host = "office.example"
		h.irc.Join(lobby, f)
		h.irc.Join(lobby, onIRC("eve", ""))
		h.wait(0)
		if _, err := h.g.Ban(ctx, guard.BanOrder{Who: "*!*@office.example", By: "bob"}); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("a mask that fits a protected one: %v", err)
		}
		if _, err := h.g.Ban(ctx, guard.BanOrder{Who: "*!*@*.example", By: "bob"}); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("a mask that fits all: %v", err)
		}
		o := guard.BanOrder{Who: "*!*@eve.example", By: "bob"}
		for range 2 {
			if _, err := h.g.Ban(ctx, o); !errors.Is(err, guard.ErrSecond) {
				t.Errorf("one admin alone: %v", err)
			}
		}
		o.By = "carol"
		_, err := h.g.Ban(ctx, o)
		must(t, err)
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(lobby), "alice")
		n, err := h.g.Forgive(ctx, "*!*@eve.example", "bob")
		if must(t, err); n != 1 {
			t.Errorf("%d forgiven", n)
		}
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "MODE #lobby -b *!*@eve.example")
	})
}
