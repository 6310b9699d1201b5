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

func by(nick string) bridge.By { return bridge.By{Nick: nick, Facts: onIRC(nick, nick)} }

// What others change is set back: at once where it was seen, and at the next look
// where it was not.
func TestDriftIsRepaired(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Mode(channel, "-s", by("mallory"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +s")
		h.irc.Change(channel, func(p *guardtestPlace) {
			p.Flags, p.Lists['I'], p.Topic = "nti", nil, "sold"
		})
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			p.Config[policy.FieldMembersOnly] = "0"
			delete(p.Affs, "bob@corp.example")
		})
		h.wait(6 * time.Minute)
		h.same("lines", h.irc.Lines(), "MODE #finance +IIs R:alice R:bob", "TOPIC #finance :")
		h.same("steps", h.xmpp.Lines(), "member bob@corp.example", "membersonly=1")
		// The topic of somebody who may is the one that is kept.
		h.irc.Join(channel, onIRC("alice", "alice"))
		h.irc.Mode(channel, "topic", by("alice"))
		h.wait(time.Second)
		h.irc.Lines()
		h.irc.Mode(channel, "topic", by("mallory")) // says the same in the fake; another in truth
		h.irc.Change(channel, func(p *guardtestPlace) { p.Topic = "sold again" })
		h.wait(6 * time.Minute)
		h.has("lines", h.irc.Lines(), "TOPIC #finance changed")
	})
}

// The subject of a MUC is kept as a channel's topic is: who may sets it, and what others
// set is taken back.
func TestSubjectIsKept(t *testing.T) {
	live(t, nil, func(h *house) {
		set := func(text, nick string) []string {
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Topic = text })
			h.xmpp.See(bridge.Sight{
				Kind: bridge.SightMode, Leg: "bot", Room: muc, What: "topic", By: bridge.By{Nick: nick, Facts: onXMPP(nick, nick+"@corp.example")},
			})
			h.wait(time.Second)
			return h.xmpp.Lines()
		}
		h.same("set by bob", set("sold", "bob"), "subject ")
		h.same("set by alice, who may", set("plans", "alice"))
		h.same("set by bob", set("sold", "bob"), "subject plans")
		h.has("audit", h.acts(guard.Query{Room: "finance"}), ": sent")
	})
}

// What somebody changes in the configuration of a MUC is set back, to what the policy
// says or to what was found.
func TestRoomConfigIsKept(t *testing.T) {
	live(t, nil, func(h *house) {
		for field, value := range map[string]string{policy.FieldModerated: "1", policy.FieldWhois: "anyone", policy.FieldMembersOnly: "0"} {
			was := map[string]string{policy.FieldModerated: "moderatedroom=0", policy.FieldWhois: "whois=moderators", policy.FieldMembersOnly: "membersonly=1"}[field]
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Config[field] = value })
			h.xmpp.Mode(muc, "config", bridge.By{})
			h.wait(time.Second)
			h.same(field, h.xmpp.Lines(), was)
		}
	})
}

// Who sets a thing back again and again gets an alarm, and is left alone for a while.
func TestWarBreaker(t *testing.T) {
	live(t, nil, func(h *house) {
		sent := 0
		for range 10 {
			h.irc.Mode(channel, "-s", by("mallory"))
			h.wait(2 * time.Second)
			sent += len(h.irc.Lines())
		}
		if sent != 2 {
			t.Errorf("set back %d times, want 2", sent)
		}
		h.has("alarms", h.takeAlarms(), "again and again")
		h.wait(15 * time.Minute)
		h.has("lines after a rest", h.irc.Lines(), "MODE #finance +s")
	})
}

// A ban that a server set, as after a netsplit, and that the guard would refuse to set is
// taken back once that has settled; another stays, and so does one that an op sets.
func TestBansByServers(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("alice", "alice")) // protected
		h.irc.Join(lobby, onIRC("bob", "bob"))
		h.wait(2 * time.Second)
		h.irc.Lines()
		server := bridge.By{Nick: "b.test", Server: true}
		for _, mask := range []string{"alice!*@*", "*!*@*", "bob!*@*", "*!*@10.0.0.1", "R:bob"} {
			h.irc.Mode(lobby, "+b "+mask, server)
		}
		h.wait(time.Second)
		h.same("lines while it settles", h.irc.Lines())
		h.wait(6 * time.Second)
		h.same("lines", h.irc.Lines(), "MODE #lobby -bb alice!*@* *!*@*")
		h.irc.Mode(lobby, "+b *!*@*", by("bob"))
		h.wait(10 * time.Second)
		h.same("lines", h.irc.Lines())
	})
}

// What the server wants later is done in a moment, and is no alarm.
func TestRefusedForNow(t *testing.T) {
	live(t, nil, func(h *house) {
		h.wait(time.Second)
		h.irc.Lines()
		h.irc.Change(channel, func(p *guardtestPlace) { p.Flags = strings.ReplaceAll(p.Flags, "s", "") })
		h.irc.See(bridge.Sight{Kind: bridge.SightRefused, Leg: "corp", Room: channel, What: "MODE #finance +s", Text: "Retry later (437)", Later: true})
		h.wait(time.Second)
		h.same("lines at once", h.irc.Lines())
		h.wait(3 * time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +s")
		h.same("alarms", h.takeAlarms())
	})
}

// Op is of those who have it by a rule; who has it without loses it, and what a server
// gave is judged once a netsplit has settled.
func TestOps(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("alice", "alice"))
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(0)
		h.same("lines", h.irc.Lines(), "MODE #finance +o alice")
		h.irc.Give(channel, "bob", "o", by("alice"))
		h.wait(0)
		h.same("lines", h.irc.Lines(), "MODE #finance -o bob")
		h.irc.Give(channel, "bob", "o", bridge.By{Nick: "irc.corp.example", Server: true})
		h.wait(time.Second)
		h.same("lines while it settles", h.irc.Lines())
		h.wait(6 * time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance -o bob")
	})
}

// The guard's own op is asked for; somebody who takes it again and again is alarmed of.
func TestOpIsRegained(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Give(channel, "bridge", "", by("mallory"))
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "PRIVMSG ChanServ :OP #finance")
		if !h.g.Status().Rooms[0].Places[0].Holds {
			t.Error("op was not regained")
		}
		h.has("alarms", h.takeAlarms(), "the bot has lost its rights, by mallory")
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["bridge@corp.example"] = policy.Admin })
		h.wait(6 * time.Minute)
		h.has("alarms", h.takeAlarms(), "is not owner there")
		h.same("steps", h.xmpp.Lines())
	})
}

// A co-owner is alarmed of, and goes by two admins' word.
func TestCoOwner(t *testing.T) {
	live(t, nil, func(h *house) {
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["mallory@else.example"] = policy.Owner })
		h.cfg.Rooms[0].Affiliations = true
		must(t, h.g.Reload(h.cfg))
		h.wait(time.Second)
		h.has("alarms", h.takeAlarms(), "mallory@else.example is owner too")
		ctx := context.Background()
		if err := h.g.DropOwner(ctx, "finance", "mallory@else.example", "alice"); !errors.Is(err, guard.ErrSecond) {
			t.Errorf("one admin: %v", err)
		}
		must(t, h.g.DropOwner(ctx, "finance", "mallory@else.example", "bob"))
		h.wait(time.Second)
		h.has("steps", h.xmpp.Lines(), "none mallory@else.example")
	})
}

// A room is not turned members-only where that would throw out too many.
func TestMembersOnlyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.cfg.Policy.Rooms[0].Default = policy.Allow
		h.start()
		defer func() { h.stop() }()
		h.ready()
		for i := range 30 {
			h.xmpp.Join(muc, onXMPP(fmt.Sprint("n", i), fmt.Sprintf("n%d@else.example", i)))
		}
		h.wait(5 * time.Minute)
		cfg := h.cfg
		cfg.Policy.Rooms = []policy.Room{{Name: "finance", Default: policy.Deny}, {Name: "lobby"}}
		must(t, h.g.Reload(cfg))
		h.wait(time.Minute)
		if n := len(h.xmpp.Nicks(muc)); n != 30 {
			t.Errorf("%d are left of 30", n)
		}
		h.has("alarms", h.takeAlarms(), "finance@rooms.corp.example is left as it is")
		h.has("what is to change", h.g.Status().Rooms[0].Places[1].Plan, "is left as it is: ", "membersonly=1")
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Config[policy.FieldMembersOnly] == "1" {
				t.Error("the room is members-only")
			}
		})
	})
}

// Of two guards the one with the lower ID acts. What a peer does is not undone; if it
// goes, or does not act, the other does.
func TestPeers(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.ID = "b"
		c.Peers = []guard.Peer{{ID: "a", Accounts: map[string]string{"corp": "otherbot"}}}
		c.Policy.Rules[0].Who.AtLeast = policy.Host // the door stays open
		c.Policy.People[0].IRC["corp"] = policy.IRCIdentity{Hosts: []string{"alice!*@*"}}
	}, func(h *house) {
		h.irc.Join(channel, onIRC("otherbot", "otherbot"))
		h.irc.Give(channel, "otherbot", "o", bridge.By{Nick: "ChanServ", Server: true})
		h.wait(10 * time.Second)
		h.same("lines", h.irc.Lines())
		h.irc.Mode(channel, "-s", by("mallory"))
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(5 * time.Second)
		h.same("lines", h.irc.Lines())
		if p := h.g.Status().Rooms[0].Places[0]; p.Acts != "a" {
			t.Errorf("acts here: %q", p.Acts)
		}
		h.wait(7 * time.Second) // the peer sleeps
		h.has("lines", h.irc.Lines(), "KICK #finance eve")
		h.irc.Part(channel, "otherbot", false)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "MODE #finance +s")
	})
	live(t, func(c *guard.Config) {
		c.ID = "a"
		c.Peers = []guard.Peer{{ID: "b", Accounts: map[string]string{"corp": "otherbot"}}}
	}, func(h *house) {
		h.irc.Join(channel, onIRC("otherbot", "otherbot"))
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel), "otherbot")
		h.irc.Lines()
		h.irc.Mode(channel, "-s", by("otherbot"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines())
	})
}

// A flood by rule is a ban of the strongest identity, that ends by itself; shouting is
// silenced where the network can.
func TestFloods(t *testing.T) {
	live(t, nil, func(h *house) {
		for _, nick := range []string{"eve", "loud"} {
			h.irc.Join(lobby, onIRC(nick, nick+"_"))
		}
		h.wait(time.Minute)
		say := func(nick string, s policy.Said) {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC(nick, nick+"_"), Said: s})
		}
		for i := range 5 {
			say("eve", policy.Said{Hash: uint64(i), Letters: 3})
		}
		h.wait(0)
		lines := h.irc.Lines()
		h.has("lines", lines, "+b R:eve_", "KICK #lobby eve")
		if len(lines) == 2 && !strings.HasPrefix(lines[0], "MODE") {
			t.Errorf("the ban comes after the kick: %q", lines)
		}
		for i := range 2 {
			say("loud", policy.Said{Hash: uint64(100 + i), Letters: 20, Capitals: 20})
		}
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #lobby +b m:*!loud@loud.example")
		if w := h.irc.Whispers(); len(w) != 1 || !strings.HasPrefix(w[0], "loud: You cannot be heard in #lobby") {
			t.Errorf("whispered %q", w)
		}
		if r := h.g.In(&bridge.Message{Room: lobby, From: bridge.Sender{Nick: "loud"}}, time.Now()); !r.Refused || r.Rule != "shout" {
			t.Errorf("a shout is relayed: %+v", r)
		}
		h.wait(3 * time.Minute)
		h.same("lines", h.irc.Lines(), "MODE #lobby -b m:*!loud@loud.example")
		if r := h.g.In(&bridge.Message{Room: lobby, From: bridge.Sender{Nick: "loud"}}, time.Now()); r.Refused {
			t.Errorf("a calm line is not relayed: %+v", r)
		}
		h.wait(time.Hour)
		h.has("lines", h.irc.Lines(), "-b R:eve_")
		h.irc.Join(lobby, onIRC("eve", "eve_"))
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(lobby), "eve", "loud")
	})
}

// Who returns from a netsplit is no mass join.
func TestNetsplit(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[1].Joins = policy.Limit{Count: 5, Per: 10 * time.Second} }, func(h *house) {
		for i := range 20 {
			h.irc.Join(lobby, onIRC(fmt.Sprint("user", i), fmt.Sprint("u", i)))
			h.wait(20 * time.Second)
		}
		h.irc.Lines()
		for i := range 20 {
			h.irc.Part(lobby, fmt.Sprint("user", i), true)
		}
		h.wait(time.Minute)
		for i := range 20 {
			h.irc.Join(lobby, onIRC(fmt.Sprint("user", i), fmt.Sprint("u", i)))
		}
		h.irc.See(bridge.Sight{Kind: bridge.SightMerged, Leg: "corp"})
		h.wait(10 * time.Second)
		h.same("lines", h.irc.Lines())
	})
}

// A guest's stay ends, also if they part, or the bot restarts, meanwhile.
func TestGuests(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "guests", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Quarantine, For: time.Hour})
	}, func(h *house) {
		h.irc.Join(channel, onIRC("gina", "gina"))
		h.wait(time.Second)
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "gina"}}, time.Now()); !r.Refused {
			t.Error("a guest is relayed")
		}
		h.wait(30 * time.Minute)
		h.irc.Part(channel, "gina", false)
		h.wait(time.Second)
		h.stop()
		h.start()
		h.ready()
		h.irc.Join(channel, onIRC("gina", "gina"))
		h.wait(20 * time.Minute)
		h.same("there", h.irc.Nicks(channel), "gina")
		h.wait(11 * time.Minute)
		h.same("there", h.irc.Nicks(channel))
		h.irc.Join(channel, onIRC("gina", "gina"))
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel))
	})
}

// follow: a ban set by a person who may, on one known person, is a ban everywhere in
// the room; others stay where they were set.
func TestFollowOps(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].FollowOps = true }, func(h *house) {
		h.irc.Join(channel, onIRC("alice", "alice"))
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
		h.wait(time.Second)
		h.irc.Lines()
		for _, what := range []string{"+b *!*@*", "+b R:stranger", "+b R:alice"} {
			h.irc.Mode(channel, what, by("alice"))
		}
		h.irc.Mode(channel, "+b R:bob", bridge.By{Nick: "irc.corp.example", Server: true})
		h.irc.Mode(channel, "+b R:bob", by("bob"))
		h.wait(time.Second)
		h.same("steps", h.xmpp.Lines())
		h.irc.Mode(channel, "+b R:bob", by("alice"))
		h.wait(time.Second)
		h.has("steps", h.xmpp.Lines(), "outcast bob@corp.example")
		h.has("lines", h.irc.Lines(), "KICK #finance bob")
		h.irc.Mode(channel, "-b R:bob", by("alice"))
		h.wait(time.Second)
		h.has("steps", h.xmpp.Lines(), "member bob@corp.example")
	})
}

// A ban that was taken over ends by an op's hand, also in a later process; one that an
// admin ordered does not, whatever its reason says.
func TestOnlyFollowedBansEndByAnOpsHand(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ban      func(h *house)
		followed bool
	}{
		{"followed", func(h *house) { h.irc.Mode(channel, "+b R:bob", by("alice")) }, true},
		{"ordered, in the words of one that was followed", func(h *house) {
			_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", Room: "finance", Reason: "banned by alice", By: "alice"})
			must(h.t, err)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(c *guard.Config) { c.Rooms[0].FollowOps = true }, func(h *house) {
				h.irc.Join(channel, onIRC("alice", "alice"))
				tt.ban(h)
				h.wait(time.Second)
				h.stop()
				h.start()
				h.ready()
				h.has("bans", h.bansOf(channel), "R:bob")
				h.irc.Mode(channel, "-b R:bob", by("alice"))
				h.wait(time.Second)
				ended := !slices.Contains(h.bansOf(channel), "R:bob")
				if none := h.g.Status().Bans == 0; ended != tt.followed || none != tt.followed {
					t.Errorf("after -b by an op: taken from the list %v, no ban in force %v; want %v", ended, none, tt.followed)
				}
			})
		})
	}
}

// Of a row that waited no more is known than the person: a doubt does not refuse it.
func TestDoubtDoesNotRefuseWhatWaited(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "members-relay", Rooms: []string{"lobby"}, Do: []policy.Do{policy.RelayOut}, Who: policy.Who{Groups: []string{"finance"}}, Effect: policy.Allow})
	}, func(h *house) {
		source := bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#elsewhere"}
		for _, tt := range []struct {
			from bridge.Sender
			want bool
		}{
			{bridge.Sender{Nick: "eve"}, true},
			{bridge.Sender{Nick: "bob", Account: "bob", Person: "bob"}, false},
			{bridge.Sender{Person: "bob"}, false},
			{bridge.Sender{}, false},
			{bridge.Sender{Person: "carol"}, true},
		} {
			if r := h.g.Out(tt.from, source, lobby, bridge.Line{}, policy.Clear, time.Now()); r.Refused != tt.want {
				t.Errorf("%+v: refused %v", tt.from, r.Refused)
			}
		}
	})
}

// Without op nothing is sent that the server would refuse; status says what would be.
func TestWithoutOpNothingIsSent(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Change(channel, func(p *guardtestPlace) { p.Caps.Services = policy.NoServices })
		h.wait(6 * time.Minute)
		h.irc.Lines()
		h.irc.Give(channel, "bridge", "", by("mallory"))
		h.irc.Mode(channel, "-s", by("mallory"))
		h.wait(6 * time.Minute)
		h.same("lines", h.irc.Lines())
		h.has("plan", h.g.Status().Rooms[0].Places[0].Plan, "MODE #finance +s")
		h.has("audit", h.acts(guard.Query{Room: "finance"}), "the bot has no right to")
		h.irc.Give(channel, "bridge", "o", by("carol"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +s")
	})
}
