package guard_test

import (
	"context"
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

// A door that would shut members out is no door; where none can be shut, status says so.
func TestDoorsShutNoMemberOut(t *testing.T) {
	const byHand = "the door: no list here can name all who may come, so strangers are removed after they came"
	const wayBack = "the way back in for the bot itself, which has no account here: an operator has to invite it after each restart"
	for _, tt := range []struct {
		name   string
		change func(*guard.Config, *guardtestPlace)
		flags  string
		cannot []string
	}{
		{"lists of accounts", func(*guard.Config, *guardtestPlace) {}, "ntsi", []string{wayBack}},
		{"no lists of accounts: for accounts only", func(_ *guard.Config, p *guardtestPlace) { p.Caps.Software, p.Caps.Extban = policy.UnrealIRCd, false }, "ntsR", []string{wayBack}},
		{"no lists, and no accounts: nothing", func(_ *guard.Config, p *guardtestPlace) {
			p.Caps = policy.ChannelCaps{Software: policy.NgIRCd, FlagModes: "imnPQRstVz", Modes: 5}
			for _, m := range p.Members {
				m.Facts.Account = policy.Fact{Known: policy.Never}
			}
		}, "nts", []string{byHand}},
		{"one comes by a certificate: nothing", func(c *guard.Config, _ *guardtestPlace) {
			c.Policy.People = append(c.Policy.People[:2:2], &policy.Person{Name: "dora", Groups: []string{"finance"}, IRC: map[string]policy.IRCIdentity{"corp": {CertFPs: []string{"dd"}}}})
		}, "nts", []string{byHand}},
		{"a rule lets guests in by host: nothing", func(c *guard.Config, _ *guardtestPlace) {
			c.Policy.Rules = append(c.Policy.Rules, policy.Rule{
				ID: "partners", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join, policy.Speak}, Who: policy.Who{Hosts: []string{"*!*@*.partner.example"}}, Effect: policy.Allow,
			})
		}, "nts", []string{byHand}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.irc.Change(channel, func(p *guardtestPlace) { tt.change(&h.cfg, p) })
				h.start()
				defer func() { h.stop() }()
				h.ready()
				h.irc.Change(channel, func(p *guardtestPlace) {
					if p.Flags != tt.flags {
						t.Errorf("flags %q, want %q", p.Flags, tt.flags)
					}
				})
				h.same("cannot", h.g.Status().Rooms[0].Places[0].Cannot, tt.cannot...)
			})
		})
	}
}

// Who may come by a host alone comes in, and stays, where others go.
func TestGuestsByHostStay(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{
			ID: "partners", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join, policy.Speak}, Who: policy.Who{Hosts: []string{"*!*@*.partner.example"}}, Effect: policy.Allow,
		})
	}, func(h *house) {
		guest := onIRC("gina", "")
		guest.Host = "pc1.partner.example"
		h.irc.Join(channel, guest)
		h.irc.Join(channel, onIRC("eve", ""))
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(10 * time.Minute) // with looks at the room
		h.same("there", h.irc.Nicks(channel), "bob", "gina")
		h.irc.Change(channel, func(p *guardtestPlace) {
			if strings.ContainsAny(p.Flags, "iR") {
				t.Errorf("the door is shut by %q", p.Flags)
			}
		})
	})
}

// The entries that let a person pass the door go with a ban, also of one who is not there,
// and are back when it ends; another's stay.
func TestBanTakesTheKeysOfTheDoor(t *testing.T) {
	live(t, nil, func(h *house) {
		lists := func(what string, want ...string) {
			t.Helper()
			h.wait(time.Second)
			h.irc.Change(channel, func(p *guardtestPlace) {
				h.same(what+": +I", p.Lists['I'], want...)
			})
		}
		lists("before", "R:alice", "R:bob")
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice", For: time.Hour})
		must(t, err)
		lists("banned", "R:alice")
		h.stop()
		h.start()
		h.ready()
		lists("banned, after a restart", "R:alice")
		h.wait(time.Hour)
		lists("after the ban", "R:alice", "R:bob")
	})
}

// A room is enabled with strangers in it: first the lists are written, then the doors are
// shut, and then the strangers go; else they were back in between. A room whose state cannot
// be read has them go all the same, a little later.
func TestEnableShutsTheDoorsFirst(t *testing.T) {
	for _, stalled := range []bool{false, true} {
		live(t, func(c *guard.Config) { c.Rooms[0].DryRun = true }, func(h *house) {
			h.irc.Join(channel, onIRC("eve", ""))
			h.xmpp.Join(muc, onXMPP("zoe", "zoe@else.example"))
			h.wait(time.Second)
			h.irc.Lines()
			h.xmpp.Lines()
			release := func() {}
			if stalled {
				release = h.irc.Stall()
			}
			must(t, h.g.Enable(context.Background(), "finance", "alice"))
			h.wait(14 * time.Second)
			if stalled {
				h.same("before its time", h.irc.Lines())
				h.wait(2 * time.Second)
				h.has("after its time", h.irc.Lines(), "KICK #finance eve")
				release()
				return
			}
			at := func(lines []string, part string) int {
				h.has("sent", lines, part)
				return slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, part) })
			}
			lines := h.irc.Lines()
			if door := at(lines, "MODE #finance +eeIIsi R:alice R:bob"); door > at(lines, "KICK #finance eve") {
				t.Errorf("sent %q", lines)
			}
			steps := h.xmpp.Lines()
			if door := at(steps, "membersonly=1"); door < at(steps, "member bob@corp.example") {
				t.Errorf("steps %q", steps)
			}
			if slices.ContainsFunc(steps[:max(0, at(steps, "membersonly=1"))], func(l string) bool { return strings.Contains(l, "none zoe") }) {
				t.Errorf("zoe goes before the door is shut: %q", steps)
			}
			h.same("there", append(h.irc.Nicks(channel), h.xmpp.Nicks(muc)...))
		})
	}
}

// A door whose shutting would remove more than may go now stays open, and is shut once the
// span of those who went before is over, not at the next look.
func TestDoorWaitsForTheBudget(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.MaxRemovals = policy.MaxRemovals{Count: 1, Share: 100}
		c.Policy.Rooms[0].Default = policy.Allow
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "bans", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Groups: []string{"out"}}, Effect: policy.Kick})
	}, func(h *house) {
		h.irc.Join(channel, onIRC("carol", "carol"))
		h.xmpp.Join(muc, onXMPP("zoe", "zoe@else.example"))
		h.wait(2 * time.Minute)
		cfg := h.cfg
		cfg.Policy.People = []*policy.Person{person("alice", "finance", "ops"), person("bob", "finance"), person("carol", "out")}
		must(t, h.g.Reload(cfg)) // carol goes, and counts
		h.wait(5 * time.Second)
		h.same("in the channel", h.irc.Nicks(channel))
		cfg.Policy.Rooms = []policy.Room{{Name: "finance", Default: policy.Deny}, {Name: "lobby"}}
		h.xmpp.Lines()
		must(t, h.g.Reload(cfg))
		h.wait(20 * time.Second)
		h.same("in the MUC", h.xmpp.Nicks(muc), "zoe")
		h.has("alarms", h.takeAlarms(), "finance@rooms.corp.example is left as it is")
		h.wait(70 * time.Second)
		h.has("steps", h.xmpp.Lines(), "membersonly=1")
	})
}

// A lockdown that ends opens no door that was shut before it, by others: neither by the
// clock, nor by hand, nor in a later process.
func TestLockdownOpensOnlyWhatItShut(t *testing.T) {
	for _, tt := range []struct {
		name string
		ends func(h *house)
	}{
		{"by the clock", func(h *house) { h.wait(11 * time.Minute) }},
		{"by hand", func(h *house) {
			_, err := h.g.Lockdown(context.Background(), "lobby", -1, "bob")
			must(h.t, err)
			h.wait(time.Second)
		}},
		{"in a later process", func(h *house) {
			h.stop()
			h.wait(time.Hour)
			h.start()
			h.ready()
		}},
	} {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shut before %v", tt.name, before), func(t *testing.T) {
				live(t, nil, func(h *house) {
					if before {
						h.irc.Mode(lobby, "+i", by("carol"))
						h.wait(time.Second)
					}
					_, err := h.g.Lockdown(context.Background(), "lobby", 10*time.Minute, "alice")
					must(t, err)
					h.wait(6 * time.Minute)
					flags := func() (f string) {
						h.irc.Change(lobby, func(p *guardtestPlace) { f = p.Flags })
						return f
					}
					if !strings.Contains(flags(), "i") {
						t.Fatalf("in lockdown the flags are %q", flags())
					}
					tt.ends(h)
					if shut := strings.Contains(flags(), "i"); shut != before {
						t.Errorf("after it the flags are %q", flags())
					}
					_, err = h.g.Lockdown(context.Background(), "lobby", time.Minute, "alice") // once more
					must(t, err)
					h.wait(2 * time.Minute)
					if shut := strings.Contains(flags(), "i"); shut != before {
						t.Errorf("after another one the flags are %q", flags())
					}
				})
			})
		}
	}
}

// A door that is still to be opened is opened once the bot is back, whether the link broke
// before that was tried or as it was.
func TestDoorIsOpenedAfterTheLinkBroke(t *testing.T) {
	for _, tried := range []bool{false, true} {
		t.Run(fmt.Sprintf("tried before %v", tried), func(t *testing.T) {
			live(t, nil, func(h *house) {
				lockdown := func(d time.Duration) {
					t.Helper()
					_, err := h.g.Lockdown(context.Background(), "lobby", d, "alice")
					must(t, err)
					h.wait(100 * time.Millisecond)
				}
				lockdown(time.Hour)
				lost := func() {
					h.irc.See(bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: lobby})
				}
				h.irc.Fail(bridge.ErrNotReady)
				if !tried {
					lost()
				}
				lockdown(-1)
				if tried {
					lost()
				}
				h.same("sent", h.irc.Lines(), "MODE #lobby +i")
				h.wait(time.Minute)
				h.irc.Fail(nil)
				h.irc.Ready(lobby)
				h.wait(time.Second)
				h.same("sent once it is back", h.irc.Lines(), "MODE #lobby -i")
			})
		})
	}
}

// A lockdown that begins while the last one's door is still being opened takes the i that is
// seen for its own: the channel is open after it. One that the policy wants shut stays so.
func TestLockdownRightAfterAnother(t *testing.T) {
	for _, tt := range []struct {
		room  string
		place bridge.Room
		shut  bool
	}{{"lobby", lobby, false}, {"finance", channel, true}} {
		t.Run(tt.room, func(t *testing.T) {
			live(t, nil, func(h *house) {
				lockdown := func(d time.Duration) {
					t.Helper()
					_, err := h.g.Lockdown(context.Background(), tt.room, d, "alice")
					must(t, err)
					h.wait(100 * time.Millisecond)
				}
				shut := func(when string, want bool) {
					t.Helper()
					h.wait(time.Second)
					h.irc.Change(tt.place, func(p *guardtestPlace) {
						if strings.Contains(p.Flags, "i") != want {
							t.Errorf("%s the flags are %q", when, p.Flags)
						}
					})
				}
				lockdown(time.Hour)
				shut("at first", true)
				release := h.irc.Hold()
				lockdown(-1)
				lockdown(time.Hour)
				release()
				shut("in the second one", true)
				lockdown(-1)
				shut("after it", tt.shut)
			})
		})
	}
}
