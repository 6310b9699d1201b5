package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// banStrangers bans from the lobby who has no account.
func banStrangers(c *guard.Config) {
	c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "members", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Ban, For: time.Hour})
}

// Who comes and goes before the guard has its turn is banned all the same: it is of the
// person, not of the visit.
func TestBannedThoughTheyLeft(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(h *house) // between their coming and their going
		want      []string       // lines after
		bans      int
	}{
		{"alone", func(*house) {}, []string{"MODE #lobby +b *!eve@eve.example"}, 1},
		{"somebody else is behind that host", func(h *house) {
			f := onIRC("carol", "carol")
			f.User, f.Host = "eve", "eve.example"
			h.irc.Join(lobby, f)
		}, nil, 0},
		{"they are back already", func(h *house) {
			h.irc.Part(lobby, "eve", false)
			h.irc.Join(lobby, onIRC("eve", ""))
		}, []string{"MODE #lobby +b *!eve@eve.example"}, 1},
		{"the rule ended", func(h *house) {
			cfg := h.cfg
			cfg.Policy.Rules = config().Policy.Rules
			must(h.t, h.g.Reload(cfg))
		}, nil, 0},
		{"it is a dry run by then", func(h *house) { must(h.t, h.g.Disable(context.Background(), "lobby", "alice")) }, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, banStrangers, func(h *house) {
				release := h.irc.Hold()
				h.irc.Join(lobby, onIRC("first", "")) // whose ban holds up what follows
				h.wait(0)
				h.irc.Join(lobby, onIRC("eve", ""))
				tt.meanwhile(h)
				h.irc.Part(lobby, "eve", false)
				release()
				h.wait(100 * time.Millisecond)
				h.same("lines", slices.DeleteFunc(h.irc.Lines(), func(l string) bool { return !strings.Contains(l, "eve") || strings.Contains(l, "+b") != (tt.bans > 0) }), tt.want...)
				if n := h.g.Status().Bans; n != 1+tt.bans {
					t.Errorf("%d bans, want %d", n, 1+tt.bans)
				}
				h.wait(10 * time.Minute)
				h.irc.Lines()
				if f := onIRC("eve2", "eve2"); tt.bans > 0 { // another nick, and an account by now
					f.User, f.Host = "eve", "eve.example"
					h.irc.Join(lobby, f)
					h.wait(time.Second)
					h.has("back", h.irc.Lines(), "KICK #lobby eve2")
				}
			})
		})
	}
}

// The server does not take the entry of who left: the next look sets it.
func TestBannedThoughTheyLeftAndItFailed(t *testing.T) {
	live(t, banStrangers, func(h *house) {
		release := h.irc.Hold()
		h.irc.Join(lobby, onIRC("first", ""))
		h.wait(0)
		h.irc.Join(lobby, onIRC("eve", ""))
		h.irc.Part(lobby, "eve", false)
		h.irc.Fail(errors.New("timeout"))
		release()
		h.wait(time.Second)
		h.irc.Fail(nil)
		h.wait(lookAgain + 5*time.Second)
		h.has("bans", h.bansOf(lobby), "*!eve@eve.example")
	})
}

// lookAgain is when a look is done again that failed.
const lookAgain = 30 * time.Second

// More who left than may be removed at once are not banned, either: a ban would remove them
// from the room's other place past the budget.
func TestBudgetHoldsForThoseWhoLeft(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		release := h.irc.Hold()
		_, err := h.g.Lockdown(context.Background(), "lobby", time.Minute, "alice") // holds up what follows
		must(t, err)
		h.wait(0)
		cfg := h.cfg
		cfg.Policy.Rules = append(cfg.Policy.Rules[:len(cfg.Policy.Rules):len(cfg.Policy.Rules)], policy.Rule{ID: "oops", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Ban})
		must(t, h.g.Reload(cfg))
		for i := range 30 {
			h.irc.Part(lobby, fmt.Sprint("user", i), false)
		}
		release()
		h.wait(time.Second)
		if n := h.g.Status().Bans; n != 0 {
			t.Errorf("%d bans", n)
		}
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
	})
}

// The entry of a ban that would keep somebody protected out, too, or many others, is not set
// as its person goes, nor later: they are kicked, and the admins are told.
func TestBanEntrySparesOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		behind []string // that host, beside bob
		want   string   // why it is not set; "": it is
	}{
		{"somebody protected", []string{"alice"}, "it fits alice, who must not be removed"},
		{"many", []string{"c1", "c2", "c3"}, "it fits 3 who are there, and 1 may go"},
		{"one other", []string{"c1"}, ""},
		{"nobody else", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(c *guard.Config) {
				c.Policy.People[1].IRC = map[string]policy.IRCIdentity{"corp": {Accounts: []string{"bob"}, Hosts: []string{"*!*@office.example"}}}
			}, func(h *house) {
				h.irc.Change(lobby, func(p *guardtestPlace) {
					p.Caps.Software, p.Caps.Extban = policy.UnrealIRCd, false // no entry names an account
				})
				for _, nick := range append(tt.behind, "bob") {
					f := onIRC(nick, nick)
					f.Host = "office.example"
					h.irc.Join(lobby, f)
				}
				h.wait(6 * time.Minute)
				h.irc.Lines()
				_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "carol"})
				must(t, err)
				h.wait(time.Second)
				lines := h.irc.Lines()
				h.has("lines", lines, "KICK #lobby bob")
				h.same("there", h.irc.Nicks(lobby), tt.behind...)
				set := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "MODE #lobby") })
				if set != (tt.want == "") || len(h.bansOf(lobby)) == 1 != (tt.want == "") {
					t.Errorf("sent %q, +b %q", lines, h.bansOf(lobby))
				}
				if tt.want != "" {
					h.has("alarms", h.takeAlarms(), "the ban of *!*@office.example is not set: "+tt.want)
				}
			})
		})
	}
}
