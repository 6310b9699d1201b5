//go:build e2e

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
	"drawbridge/internal/lab"
	"drawbridge/irc"
	"drawbridge/policy"
)

// nothing is a Sink that takes all and keeps nothing.
type nothing struct{}

func (nothing) Take(_ context.Context, m bridge.Message) error {
	if m.Taken != nil {
		m.Taken(true)
	}
	return nil
}
func (nothing) Notify(context.Context, bridge.Event) error { return nil }
func (nothing) Prove(bridge.Proof)                         {}

// realGuard runs a guard over a real leg, and returns what stops both.
func realGuard(t *testing.T, cfg guard.Config, leg *irc.Leg) *guard.Guard {
	t.Helper()
	cfg.Legs = []bridge.Enforcer{leg}
	g, err := guard.New(cfg, guard.Deps{Alarm: func(text string) { t.Logf("alarm: %s", text) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { _ = g.Run(ctx); done <- struct{}{} }()
	go func() { _ = leg.Run(ctx, nothing{}); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return g
}

func realLeg(t *testing.T, s *lab.IRCServer, list ...string) *irc.Leg {
	t.Helper()
	cfg := irc.Config{Name: "corp", Nick: "guard", Servers: []string{s.Addr}, TLSOff: true}
	for _, name := range list {
		cfg.Channels = append(cfg.Channels, irc.ChannelConfig{Name: name})
	}
	leg, err := irc.New(cfg, irc.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return leg
}

func place(g *guard.Guard) guard.PlaceStatus { return g.Status().Rooms[0].Places[0] }

// TestRealClosedChannel: the doors of a closed channel stand in the server's own lists,
// members come in by their account, a stranger does not, and who slips through goes.
func TestRealClosedChannel(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	s.Register("alice", "sekrit")
	room := irc.Room("corp", "#finance")
	cfg := guard.Config{
		Policy: policy.Spec{
			People: []*policy.Person{{Name: "alice", Groups: []string{"finance"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"alice"}}}}},
			Rooms:  []policy.Room{{Name: "finance", Default: policy.Deny}},
			Rules:  []policy.Rule{{ID: "in", Do: []policy.Do{policy.Join, policy.Speak}, Who: policy.Who{Groups: []string{"finance"}}, Effect: policy.Allow}},
		},
		Rooms: []guard.Room{{Name: "finance", Channel: room, Modes: "+nt"}},
	}
	g := realGuard(t, cfg, realLeg(t, s, "#finance"))
	l.Await(time.Minute, "the channel is as wanted", func() bool { return place(g).Holds && g.Status().Rooms[0].Repairs > 0 })
	alice := l.IRCUser(s, "alice")
	alice.Send("PRIVMSG NickServ :IDENTIFY alice sekrit")
	alice.Expect("You are now logged in")
	l.Await(time.Minute, "alice gets in through +i", func() bool {
		alice.Send("JOIN #finance")
		return place(g).Present >= 2
	})
	eve := l.IRCUser(s, "eve")
	eve.Send("JOIN #finance")
	eve.Expect(" 473 ")
	if n := place(g).Present; n != 2 {
		t.Errorf("%d are there", n)
	}
}

// TestRealIntruders: who joins an open channel against a rule is gone at once, and a
// hundred are gone within seconds, though the server slows us down like anybody.
func TestRealIntruders(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Services: false})
	room := irc.Room("corp", "#lobby")
	cfg := guard.Config{
		Policy: policy.Spec{
			Rooms: []policy.Room{{Name: "lobby"}},
			Rules: []policy.Rule{{ID: "no-bots", Do: []policy.Do{policy.Join}, Who: policy.Who{Hosts: []string{"x*!*@*"}}, Effect: policy.Kick, Reason: "not here"}},
		},
		Rooms: []guard.Room{{Name: "lobby", Channel: room}},
	}
	g := realGuard(t, cfg, realLeg(t, s, "#lobby"))
	l.Await(time.Minute, "the guard is there", func() bool { return place(g).Holds })
	watch := l.IRCUser(s, "watch", "#lobby")
	watch.Send("PING :there")
	var took []time.Duration
	for i := range 5 {
		x := l.IRCUser(s, fmt.Sprint("xone", i))
		start := time.Now()
		x.Send("JOIN #lobby")
		x.Expect("KICK #lobby " + fmt.Sprint("xone", i) + " :not here")
		took = append(took, time.Since(start))
	}
	for a, err := range g.Audit(context.Background(), guard.Query{Who: "guard"}) {
		t.Log(a.String(), err)
	}
	slices.Sort(took)
	t.Logf("JOIN to KICK, seen by who was kicked: %v", took)
	crowd := l.IRCCrowd(s, "x", 60)
	start := time.Now()
	for _, x := range crowd {
		x.Send("JOIN #lobby")
	}
	l.Await(time.Minute, "all have gone", func() bool {
		sent := 0
		for a, err := range g.Audit(context.Background(), guard.Query{}) {
			if err == nil && a.Rule == "no-bots" && strings.HasPrefix(a.Result, "sent") {
				sent++
			}
		}
		return sent >= 65 && place(g).Present == 2
	})
	t.Logf("%d gone in %v", len(crowd), time.Since(start))
}
