package guard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

// closeLobby denies the lobby to all but bob.
func closeLobby(c guard.Config) guard.Config {
	c.Policy.Rooms = []policy.Room{{Name: "finance", Default: policy.Deny}, {Name: "lobby", Default: policy.Deny}}
	c.Policy.Rules = append(c.Policy.Rules[:len(c.Policy.Rules):len(c.Policy.Rules)], policy.Rule{ID: "few", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join, policy.Speak}, Who: policy.Who{People: []string{"bob"}}, Effect: policy.Allow})
	return c
}

// kicked returns the KICK lines that were sent since the last look.
func (h *house) kicked() (out []string) {
	for _, line := range h.irc.Lines() {
		if strings.HasPrefix(line, "KICK") {
			out = append(out, line)
		}
	}
	return out
}

// fill lets n strangers into the lobby, long enough ago for their removal to count.
func (h *house) fill(n int) {
	for i := range n {
		h.irc.Join(lobby, onIRC(fmt.Sprint("user", i), fmt.Sprint("u", i)))
	}
	h.wait(2 * time.Minute)
	h.irc.Lines()
}

// A rule that bans more than may be removed at once bans nobody: the bans would remove
// them past the budget, and outlive the rule.
func TestBudgetHoldsForRulesThatBan(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		cfg := h.cfg
		cfg.Policy.Rules = append(cfg.Policy.Rules[:len(cfg.Policy.Rules):len(cfg.Policy.Rules)], policy.Rule{ID: "oops", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Ban})
		must(t, h.g.Reload(cfg))
		h.wait(time.Second)
		must(t, h.g.Reload(cfg)) // judged once more
		h.wait(time.Second)
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
		must(t, h.g.Reload(h.cfg)) // the mistake is mended
		h.wait(11 * time.Minute)
		h.same("kicks", h.kicked())
		if s := h.g.Status(); s.Bans != 0 || len(h.irc.Nicks(lobby)) != 30 {
			t.Errorf("%d bans, %d are left of 30", s.Bans, len(h.irc.Nicks(lobby)))
		}
	})
}

// More than may be removed at once are not removed: the room is shut instead.
func TestBudget(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(0)
		h.same("kicks", h.kicked())
		if n := len(h.irc.Nicks(lobby)); n != 30 {
			t.Errorf("%d are left of 30", n)
		}
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
		if s := h.g.Status().Rooms[1]; s.Shut.IsZero() {
			t.Error("the room is not shut")
		}
		must(t, h.g.Reload(h.cfg)) // the mistake is mended
		h.wait(11 * time.Minute)
		if s := h.g.Status().Rooms[1]; !s.Shut.IsZero() || len(h.irc.Nicks(lobby)) != 30 || len(s.Alarms) > 0 {
			t.Errorf("still shut: %+v", s)
		}
	})
}

// Nobody says a word: the room opens again, is not shut for the same people again and
// again, and they stay, unheard, until somebody decides.
func TestBudgetIsNotAskedForEver(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(time.Hour)
		h.same("kicks", h.kicked())
		s := h.g.Status().Rooms[1]
		if !s.Shut.IsZero() || s.Lockdowns != 1 || s.Places[0].Quarantined != 30 {
			t.Errorf("%+v", s)
		}
		h.has("alarms", s.Alarms, "30 are to go by the rules")
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "user7", For: time.Minute, By: "alice"})
		must(t, err)
		h.wait(time.Second)
		h.same("kicks", h.kicked(), "KICK #lobby user7 :banned until 2000-01-01 01:03 UTC; ask an admin about it")
		must(t, h.g.Reload(h.cfg))
		h.wait(2 * time.Second)
		if s := h.g.Status().Rooms[1]; len(s.Alarms) > 0 || s.Places[0].Quarantined != 0 {
			t.Errorf("mended, and %+v", s)
		}
	})
}

// One more who has to go, and goes within the budget, is no word about those who are held
// back: the admins are told of them as long as they are there.
func TestBudgetIsNotForgottenForOne(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(12 * time.Minute) // it was shut, and is open again
		h.irc.Join(lobby, onIRC("late", "?"))
		h.wait(2 * time.Minute)
		h.irc.Learn(lobby, "late", func(f *policy.Facts) { f.Account = policy.Is("late", "WHOX", time.Time{}) })
		h.wait(2 * time.Minute)
		if n := len(h.kicked()); n != 1 {
			t.Errorf("%d went", n)
		}
		h.has("alarms", h.g.Status().Rooms[1].Alarms, "30 are to go by the rules")
	})
}

// In a small room two are more than the share that may go. They go all the same, one
// a minute, once the admins were told and the room was shut for its time.
func TestSmallRoomIsNotShutForEver(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("bob", "bob"))
		h.fill(3)
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(9 * time.Minute)
		h.same("kicks while it is shut", h.kicked())
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
		h.wait(90 * time.Second)
		if n := len(h.kicked()); n != 1 {
			t.Errorf("%d went at once, want 1", n)
		}
		h.wait(3 * time.Minute)
		h.same("there", h.irc.Nicks(lobby), "bob")
		h.wait(2 * time.Second)
		if s := h.g.Status().Rooms[1]; s.Lockdowns != 1 || len(s.Alarms) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What the budget forbids now is done when its span has passed, not minutes later.
func TestBudgetEndsWithItsSpan(t *testing.T) {
	live(t, nil, func(h *house) {
		open := h.cfg
		open.Policy.Rooms = []policy.Room{{Name: "finance"}, {Name: "lobby"}}
		must(t, h.g.Reload(open))
		h.wait(time.Second)
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Config[policy.FieldMembersOnly] = "0" })
		h.irc.Join(channel, onIRC("eve", "eve"))
		h.xmpp.Join(muc, onXMPP("mallory", "mallory@else.example"))
		for _, p := range []string{"alice", "bob"} {
			h.xmpp.Join(muc, onXMPP(p, p+"@corp.example"))
		}
		h.wait(2 * time.Minute)
		h.irc.Lines()
		h.xmpp.Lines()
		must(t, h.g.Reload(h.cfg)) // eve or mallory, whoever is first, uses the budget up
		h.wait(time.Second)
		if n := len(h.xmpp.Nicks(muc)) + len(h.irc.Nicks(channel)); n != 3 {
			t.Errorf("%d are left of alice, bob and the two who have to go, want 3", n)
		}
		h.wait(2 * time.Minute)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Config[policy.FieldMembersOnly] != "1" {
				t.Error("the MUC is open still")
			}
		})
		h.same("there", h.xmpp.Nicks(muc), "alice", "bob")
	})
}

// A room that is enabled gets its lists first, then its doors, then strangers go: else
// they are back at once.
func TestEnableWritesTheListFirst(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].DryRun = true }, func(h *house) {
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(2 * time.Minute)
		must(t, h.g.Enable(context.Background(), "finance", "alice"))
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +eeIIsi R:alice R:bob R:alice R:bob", "PRIVMSG ChanServ :SET #finance MLOCK +ntsi", "PRIVMSG ChanServ :SET #finance TOPICLOCK ON",
			"PRIVMSG ChanServ :FLAGS #finance alice +o",
			"KICK #finance eve :this channel is for members: log in to your services account first, then join again, or ask an operator")
	})
	// Who looks after the state is stuck: they go all the same.
	live(t, func(c *guard.Config) { c.Rooms[0].DryRun = true }, func(h *house) {
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(2 * time.Minute)
		release := h.irc.Stall()
		must(t, h.g.Enable(context.Background(), "finance", "alice"))
		h.wait(10 * time.Second)
		h.same("lines", h.irc.Lines())
		h.irc.Join(channel, onIRC("frank", "")) // who comes now waits for nothing
		h.wait(time.Second)
		h.same("kicked", h.kicked(), "KICK #finance frank :this channel is for members: log in to your services account first, then join again, or ask an operator")
		h.wait(6 * time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance eve")
		release()
	})
}

// An alarm of something that is still so is told twice a day, and not each ten minutes.
func TestAlarmsDoNotNag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.cfg.Rooms[0].Affiliations = true
		h.start()
		defer func() { h.stop() }()
		h.ready()
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			p.Affs["alice@corp.example"], p.Affs["mallory@else.example"] = policy.Owner, policy.Owner
		})
		h.wait(13 * time.Hour)
		told := map[string]int{}
		for _, text := range h.takeAlarms() {
			told[text[:strings.IndexByte(text, ',')]]++
		}
		for _, jid := range []string{"alice@corp.example", "mallory@else.example"} {
			if n := told["Room finance: bot/finance@rooms.corp.example: "+jid+" is owner too"]; n != 2 {
				t.Errorf("of %s it was told %d times in 13 hours, want 2: %v", jid, n, told)
			}
		}
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["mallory@else.example"] = policy.Member })
		h.wait(6 * time.Minute)
		h.has("alarms", h.g.Status().Rooms[0].Alarms, "alice@corp.example is owner too")
		if n := len(h.g.Status().Rooms[0].Alarms); n != 1 {
			t.Errorf("%d alarms are open, want the one of alice", n)
		}
	})
}

// Who was there before the bot counts, however short a time the bot has known them: an
// armed room is not emptied by a start.
func TestWhoWasThereCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.start()
		defer func() { h.stop() }()
		h.irc.Change(channel, func(p *guardtestPlace) {
			for i := range 30 {
				f := onIRC(fmt.Sprint("user", i), "")
				p.Members[f.Nick] = &guardtest.Member{Facts: f}
			}
		})
		h.ready()
		h.wait(time.Minute)
		if n := len(h.irc.Nicks(channel)); n != 30 {
			t.Errorf("%d are left of 30", n)
		}
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
	})
}

// Who was in quarantine only because a fact was missing was never let in: once it is
// known they go, however many they are, and that is no use of the budget.
func TestDoubtAdmitsNobody(t *testing.T) {
	live(t, nil, func(h *house) {
		for i := range 4 {
			h.irc.Join(channel, onIRC(fmt.Sprint("n", i), "?"))
		}
		h.wait(time.Second)
		for i := range 4 {
			h.irc.Learn(channel, fmt.Sprint("n", i), func(f *policy.Facts) { f.Account = policy.IsNot("WHOX", time.Time{}) })
		}
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel))
		h.same("alarms", h.takeAlarms())
	})
}

// flood has everybody whose nick begins so say too many lines.
func (h *house) flood(prefix string, n int) {
	for i := range n {
		for range 5 {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Room: lobby, Facts: onIRC(fmt.Sprint(prefix, i), fmt.Sprint(prefix, i))})
		}
	}
	h.wait(time.Second)
}

// Who comes to flood, and was never here before, goes whatever the budget says: they were
// let in for a moment. Of those who are here for longer no more go than may.
func TestBudgetIsNotOfThoseWhoComeToFlood(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(8)
		for i := range 20 {
			h.irc.Join(lobby, onIRC(fmt.Sprint("spam", i), fmt.Sprint("spam", i)))
		}
		h.wait(10 * time.Second)
		h.flood("spam", 20)
		if n := len(h.irc.Nicks(lobby)); n != 8 {
			t.Errorf("%d are left, want 8", n)
		}
		h.same("alarms", h.takeAlarms())
		h.flood("user", 8)
		h.has("alarms", h.takeAlarms(), "more would be removed at once")
		if n := len(h.irc.Nicks(lobby)); n < 7 { // one may go, where it is judged before the others
			t.Errorf("%d are left of 8 who were here", n)
		}
	})
}

// Guests who came together go together, when the time is over that their rule gave them.
func TestBudgetIsNotOfGuests(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rooms[1].Default = policy.Deny
		c.Policy.Rules = []policy.Rule{{ID: "guests", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Quarantine, For: time.Hour}}
	}, func(h *house) {
		h.fill(8)
		h.wait(time.Hour)
		h.same("alarms", h.takeAlarms())
		lines := h.kicked()
		h.has("kicks", lines, "your time as a guest is over")
		if n := len(h.irc.Nicks(lobby)); n != 0 {
			t.Errorf("%d are left of 8 guests: %v", n, lines)
		}
	})
}
