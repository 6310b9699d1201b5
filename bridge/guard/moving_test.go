package guard_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

const movedTo = "We have moved to xmpp:dev@rooms.corp.example"

// A migration makes a channel read-only, points to the new place, closes it, and all is
// as before when it is taken back: what others had set stays.
func TestMovingAndBack(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("dave", "dave"))
		h.irc.Give(lobby, "dave", "v", by("mallory"))
		h.irc.Change(lobby, func(p *guardtestPlace) { p.Topic = "as it was" })
		h.wait(6 * time.Minute)
		h.irc.Lines()

		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {ReadOnly: true, Entry: "Schreib !move\nWrite !move"}})
		h.wait(time.Second)
		lines := strings.Join(h.irc.Lines(), "\n")
		if !strings.Contains(lines, "MODE #lobby +m") || !strings.Contains(lines, "MODE #lobby -v dave") {
			t.Errorf("read-only: %s", lines)
		}
		h.irc.Join(lobby, onIRC("erin", "erin"))
		h.wait(time.Second)
		h.same("who comes in hears", h.irc.Whispers(), "erin: Schreib !move", "erin: Write !move")
		h.irc.Part(lobby, "erin", false)
		h.irc.Join(lobby, onIRC("erin", "erin"))
		h.wait(time.Second)
		h.same("a second time nothing", h.irc.Whispers())
		if got := h.irc.Lines(); len(got) > 0 {
			t.Errorf("nobody gets a voice in a silent channel: %q", got)
		}

		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {ReadOnly: true, Closed: true, Topic: movedTo}})
		h.wait(time.Second)
		h.has("closed", h.irc.Lines(), "MODE #lobby +i")
		if r := h.g.Out(bridge.Sender{Nick: "bob", Person: "bob"}, muc, lobby, bridge.Line{}, policy.Verified, time.Now()); !r.Refused || r.Reason != "" {
			t.Errorf("into a closed channel: %+v", r)
		}
		// It is kept, like all that a guard wants.
		h.irc.Mode(lobby, "-i", by("mallory"))
		h.wait(time.Second)
		h.same("set back", h.irc.Lines(), "MODE #lobby +i")

		// The next process knows how it was.
		h.stop()
		h.start()
		h.ready()
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {ReadOnly: true, Closed: true, Topic: movedTo}})
		h.wait(time.Second)
		h.irc.Lines()
		h.g.SetMoving(nil)
		h.wait(3 * time.Second) // ChanServ has to give the modes free first
		lines = strings.Join(h.irc.Lines(), "\n")
		if !strings.Contains(lines, "MODE #lobby -mi") && !strings.Contains(lines, "MODE #lobby -im") || !strings.Contains(lines, "TOPIC #lobby :as it was") {
			t.Errorf("taken back: %s", lines)
		}
		if strings.Contains(lines, "+v") {
			t.Errorf("everybody got a voice: %s", lines)
		}
		if r := h.g.Out(bridge.Sender{Nick: "bob", Person: "bob"}, muc, lobby, bridge.Line{}, policy.Verified, time.Now()); r.Refused {
			t.Errorf("into the open channel: %+v", r)
		}
		h.wait(6 * time.Minute)
		if got := h.irc.Lines(); len(got) > 0 {
			t.Errorf("and then %q", got)
		}
	})
}

// Where a server can, it sends on who wants into a closed channel.
func TestMovingForwards(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Change(lobby, func(p *guardtestPlace) { p.Caps.SetModes = "Ll" })
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {Closed: true, Forward: "#new"}})
		h.wait(time.Second)
		if lines := strings.Join(h.irc.Lines(), "\n"); !strings.Contains(lines, "+iLl #new 1") {
			t.Errorf("closed: %s", lines)
		}
	})
}

// What was set before a phase stays when it is taken back.
func TestMovingLeavesWhatWasThere(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Mode(lobby, "+m", by("mallory"))
		h.wait(time.Second)
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {ReadOnly: true}})
		h.wait(time.Second)
		h.g.SetMoving(nil)
		h.wait(6 * time.Minute)
		for _, l := range h.irc.Lines() {
			if strings.Contains(l, "-m") {
				t.Errorf("%q: that was there before", l)
			}
		}
	})
}

// In a dry run a migration changes nothing, and a plan never does.
func TestMovingIsPlanned(t *testing.T) {
	live(t, nil, func(h *house) {
		must(t, h.g.Disable(context.Background(), "lobby", "alice"))
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: {ReadOnly: true, Topic: movedTo, Entry: "x"}})
		h.irc.Join(lobby, onIRC("erin", "erin"))
		h.wait(6 * time.Minute)
		if got := append(h.irc.Lines(), h.irc.Whispers()...); len(got) > 0 {
			t.Errorf("in a dry run: %q", got)
		}
		if why := h.g.HeldBy(lobby, true); !strings.Contains(why, "dry run") {
			t.Errorf("held by %q", why)
		}
		h.g.SetMoving(nil)
		must(t, h.g.Enable(context.Background(), "lobby", "alice"))
		h.wait(6 * time.Minute)
		h.irc.Lines()
		steps, err := h.g.PlanMoving(context.Background(), lobby, []guard.Moving{{}, {ReadOnly: true}, {ReadOnly: true, Topic: movedTo}, {ReadOnly: true, Topic: movedTo, Closed: true}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			"", "MODE #lobby +m; PRIVMSG ChanServ :SET #lobby MLOCK +zm", "TOPIC #lobby :" + movedTo,
			"MODE #lobby +i; PRIVMSG ChanServ :SET #lobby MLOCK +zmi; nothing is relayed to or from there",
		} {
			if got := strings.Join(steps[i].Lines, "; "); got != want || steps[i].Why != "" {
				t.Errorf("step %d: %q %s, want %q", i, got, steps[i].Why, want)
			}
		}
		if got := h.irc.Lines(); len(got) > 0 || h.g.HeldBy(lobby, true) != "" {
			t.Errorf("a plan sent %q; held by %q", got, h.g.HeldBy(lobby, true))
		}
		if _, err := h.g.PlanMoving(context.Background(), bridge.Room{Leg: "corp", Name: "#nowhere"}, nil); err == nil {
			t.Error("a plan of no room")
		}
	})
}

// A plan notes nothing of what it looks ahead to, and shows no key: one that is about to be
// set is not taken for set, the topic and what was there before stay as they are known.
func TestPlanOfMovingNotesNothing(t *testing.T) {
	live(t, rotating, func(h *house) {
		first := h.key()
		h.takeTold()
		h.irc.Fail(errors.New("timeout"))
		must(t, h.g.RotateKey(context.Background(), "finance", "alice"))
		h.wait(time.Second)
		kept := func() guard.RoomState {
			h.wait(0)
			k, err := h.store.Load(context.Background())
			must(t, err)
			return k.Rooms[slices.IndexFunc(k.Rooms, func(r guard.RoomState) bool { return r.Room == "finance" })]
		}
		before, lines := kept(), ""
		if before.NextKey == "" {
			t.Fatalf("no key is about to be set: %+v", before)
		}
		steps, err := h.g.PlanMoving(context.Background(), channel, []guard.Moving{{}, {ReadOnly: true}, {ReadOnly: true, Topic: movedTo, Closed: true}})
		must(t, err)
		for _, s := range steps {
			lines += strings.Join(s.Lines, "\n") + "\n"
		}
		if !strings.Contains(lines, "+m") || !strings.Contains(lines, movedTo) || strings.Contains(lines, "+k") || strings.Contains(lines, first) || strings.Contains(lines, before.NextKey) {
			t.Errorf("planned:\n%s", lines)
		}
		if after := kept(); !reflect.DeepEqual(after, before) {
			t.Errorf("a plan changed what is kept: %+v\nit was: %+v", after, before)
		}
		if text, err := h.g.Key("alice", "finance"); err != nil || !strings.Contains(text, first) || len(h.takeTold()) != 0 {
			t.Errorf("the key is said to be %q, %v; it is %q", text, err, first)
		}
		h.irc.Fail(nil)
		h.wait(6 * time.Minute)
		if told := h.takeTold(); h.key() == first || len(told["alice"]) != 1 || !strings.Contains(told["alice"][0], h.key()) {
			t.Errorf("once it can be set: told %q, the key is %q", told, h.key())
		}
		h.irc.Change(channel, func(p *guardtestPlace) {
			if p.Topic == movedTo || strings.Contains(p.Flags, "m") {
				t.Errorf("after a plan: topic %q, flags %q", p.Topic, p.Flags)
			}
		})
	})
}

// A MUC that is left is locked with its subject, and opened again.
func TestMovingMUC(t *testing.T) {
	live(t, nil, func(h *house) {
		h.xmpp.Lines()
		h.g.SetMoving(map[bridge.Room]guard.Moving{muc: {Closed: true, Topic: movedTo}})
		h.wait(time.Second)
		lines := strings.Join(h.xmpp.Lines(), "\n")
		if !strings.Contains(lines, "subject "+movedTo) || !strings.Contains(lines, "moderatedroom=1") {
			t.Errorf("locked: %s", lines)
		}
		h.g.SetMoving(nil)
		h.wait(time.Second)
		lines = strings.Join(h.xmpp.Lines(), "\n")
		if !strings.Contains(lines, "moderatedroom=0") || strings.Contains(lines, "membersonly=0") {
			t.Errorf("opened: %s", lines)
		}
	})
}

// A MUC that is to be closed while more are in it who are not members than may go at once
// stays open, and says so before, in the plan, and once it is asked; it closes by itself
// when they left, were made members, or more may go.
func TestMovingMUCWaitsForTheBudget(t *testing.T) {
	for _, tt := range []struct {
		name string
		mend func(h *house)
		stay []string
	}{
		{"they left", func(h *house) { h.xmpp.Part(muc, "dan", false); h.xmpp.Part(muc, "eve", false) }, nil},
		{"made members", func(h *house) {
			for _, nick := range []string{"dan", "eve"} {
				h.xmpp.Change(muc, func(p *guardtestPlace) {
					p.Affs[nick+"@else.example"], p.Members[nick].Is = policy.Member, policy.Member
				})
				h.xmpp.Give(muc, nick, "", by("alice"))
			}
		}, []string{"dan", "eve"}},
		{"more may go", func(h *house) {
			h.cfg.MaxRemovals.Count = 3
			must(h.t, h.g.Reload(h.cfg))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(c *guard.Config) {
				c.MaxRemovals = policy.MaxRemovals{Count: 1, Share: 100}
				c.Policy.Rooms[0].Default = policy.Allow
			}, func(h *house) {
				for _, nick := range []string{"dan", "eve", "zoe"} {
					h.xmpp.Join(muc, onXMPP(nick, nick+"@else.example"))
				}
				h.wait(time.Second)
				const why = "closing it puts out 3 who are not members, and safety.max_removals lets 1 go at once"
				if now, closing := h.g.HeldBy(muc, false), h.g.HeldBy(muc, true); now != "" || !strings.Contains(closing, why) {
					t.Errorf("held by %q, before it closes by %q", now, closing)
				}
				closed := guard.Moving{Topic: movedTo, Closed: true}
				steps, err := h.g.PlanMoving(context.Background(), muc, []guard.Moving{{}, {Topic: movedTo}, closed})
				must(t, err)
				for i, want := range []string{
					"", "subject " + movedTo, "members-only and moderated: nobody else comes in; puts out 3 who are not members: dan, eve, zoe; nothing is relayed to or from there",
				} {
					if got := strings.Join(steps[i].Lines, "; "); got != want || strings.Contains(steps[i].Why, why) != (i == 2) {
						t.Errorf("step %d: %q, %q", i, got, steps[i].Why)
					}
				}
				h.takeAlarms()
				h.g.SetMoving(map[bridge.Room]guard.Moving{muc: closed})
				h.wait(11 * time.Minute)
				h.same("there", h.xmpp.Nicks(muc), "dan", "eve", "zoe")
				h.same("sent", h.xmpp.Lines())
				h.has("alarms", h.takeAlarms(), "is left as it is")
				for _, p := range h.g.Status().Rooms[0].Places {
					if p.Room == muc {
						h.has("status", p.Plan, "is left as it is", "membersonly=1")
					}
				}
				tt.mend(h)
				h.wait(time.Second)
				if why := h.g.HeldBy(muc, true); why != "" {
					t.Errorf("still held by %q", why)
				}
				h.wait(6 * time.Minute)
				h.has("sent", h.xmpp.Lines(), "membersonly=1", "subject "+movedTo)
				h.same("there", h.xmpp.Nicks(muc), tt.stay...)
			})
		})
	}
}

// Where ChanServ does what the bot says, it tells who comes in, in place of what it said
// before, which comes back; and the bot is silent. While services are away the bot says it.
func TestMovingEntryMessage(t *testing.T) {
	before := "Mind the gap"
	live(t, nil, func(h *house) {
		h.stop()
		h.irc.Change(lobby, func(p *guardtestPlace) {
			p.EntryMsg = &before
			p.Members[h.irc.Nick].Facts.Account = policy.Fact{Known: policy.Yes, Value: "botacct"}
			p.Access = map[string]string{"BotAcct": "AOos"}
		})
		h.start()
		h.ready()
		h.irc.Lines()
		moving := guard.Moving{ReadOnly: true, Entry: "Schreib !move\nWrite !move"}
		steps, err := h.g.PlanMoving(context.Background(), lobby, []guard.Moving{moving})
		if got := strings.Join(steps[0].Lines, "; "); err != nil || strings.Contains(got, "NOTICE") || !strings.Contains(got, "ENTRYMSG Schreib !move / Write !move") {
			t.Errorf("planned %q, %v", got, err)
		}
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: moving})
		h.wait(time.Second)
		h.has("said by ChanServ", h.irc.Lines(), "PRIVMSG ChanServ :SET #lobby ENTRYMSG Schreib !move / Write !move")
		h.irc.Join(lobby, onIRC("erin", "erin"))
		h.wait(6 * time.Minute)
		h.same("and not by the bot", h.irc.Whispers())
		h.same("once", h.irc.Lines())

		h.irc.Change(lobby, func(p *guardtestPlace) { p.Down = true })
		h.wait(6 * time.Minute)
		h.irc.Join(lobby, onIRC("fred", ""))
		h.wait(time.Second)
		h.same("without services", h.irc.Whispers(), "fred: Schreib !move", "fred: Write !move")
		h.irc.Change(lobby, func(p *guardtestPlace) { p.Down = false })
		h.wait(6 * time.Minute)
		h.irc.Lines()

		// The next process knows how it was.
		h.stop()
		h.start()
		h.g.SetMoving(map[bridge.Room]guard.Moving{lobby: moving})
		h.ready()
		h.irc.Lines()
		h.g.SetMoving(nil)
		h.wait(6 * time.Minute)
		h.has("taken back", h.irc.Lines(), "PRIVMSG ChanServ :SET #lobby ENTRYMSG Mind the gap")
		h.wait(6 * time.Minute)
		h.same("and then", h.irc.Lines())
	})
}
