package guard_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

// handsOn is a leg that says when changes are handed to it.
type handsOn struct {
	*guardtest.Leg
	applied chan bridge.Room
}

func (l *handsOn) Apply(_ context.Context, room bridge.Room, _ bridge.Changes) error {
	l.applied <- room
	return nil
}

// BenchmarkSeeToApply is the guard's part of the way from a JOIN to the KICK: from the
// leg's See until the leg is handed the line, one goroutine further.
func BenchmarkSeeToApply(b *testing.B) {
	cfg := config()
	leg := &handsOn{guardtest.NewLeg("corp", "irc"), make(chan bridge.Room, 64)}
	cfg.Legs, cfg.Rooms = []bridge.Enforcer{leg}, cfg.Rooms[1:]
	cfg.Rooms[0].Floods = policy.FloodLimits{}
	leg.Open(lobby)
	var passed atomic.Int64 // each comes a second after the one before: nobody is waited for
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
	g, err := guard.New(cfg, guard.Deps{Store: guard.NewMemory(), Now: now})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	for looked := false; !looked; { // the room's own state, once what was kept is loaded
		leg.Ready(lobby)
		select {
		case <-leg.applied:
			looked = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	came := bridge.Sight{Kind: bridge.SightCame, Leg: "corp", Room: lobby, Facts: onIRC("eve", "")}
	came.Facts.TLS = policy.IsNot("WHOX", time.Time{})
	went := came
	went.Kind = bridge.SightWent
	b.ReportAllocs()
	for b.Loop() {
		passed.Add(int64(time.Second))
		g.See(&came)
		<-leg.applied
		g.See(&went)
	}
}
