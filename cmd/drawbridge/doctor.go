package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/internal/admin"
	"drawbridge/internal/config"
)

// doctorTime bounds how long doctor waits for servers: some take their time over
// ident and DNS before they greet.
const doctorTime = 40 * time.Second

// outcome is what came of one step.
type outcome string

const (
	good outcome = "ok"
	bad  outcome = "failed"
	note outcome = "note" // worth knowing, nothing to mend
)

var marks = map[outcome]string{good: "✓", bad: "✗", note: "·"}

// step is one thing that doctor tried.
type step struct {
	What    string  `json:"what"` // "corp", "corp/#dev", "alice"
	Outcome outcome `json:"outcome"`
	Said    string  `json:"said"`
	Fix     string  `json:"fix,omitempty"`
}

func newDoctor(g *globals) *cobra.Command {
	wait := doctorTime
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Try the configuration on the real servers",
		Long: `Log in to each network and account, join each room, and seal a nonce to each
person's key, as the bot would; print what works and how to mend what does not.
Nothing is said in any room. Where a bridge lists ox, the bot's public key is
published, as by the bot itself.

While the bot runs, doctor asks it how it is doing and connects to nothing: two
sessions of one account would be in each other's way.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.doctor(cmd, wait) },
	}
	cmd.Flags().DurationVar(&wait, "wait", doctorTime, "how long to wait for the servers, `30s` or 2m")
	jsonFlag(cmd, g)
	return cmd
}

func (g *globals) doctor(cmd *cobra.Command, wait time.Duration) error {
	var steps []step
	err := g.call(cmd, "doctor", nil, &steps)
	switch {
	case err == nil:
		sayln(g.err, "the bot is running: this is what it says")
		return g.printSteps(steps)
	case !errors.Is(err, admin.ErrNotRunning):
		return err
	}
	path, err := g.configPath()
	if err != nil {
		return err
	}
	c, found := checkAll(path)
	for _, f := range found {
		o := bad
		if f.Level == "warning" {
			o = note
		}
		steps = append(steps, step{What: "check", Outcome: o, Said: f.said})
	}
	if c == nil {
		_ = g.printSteps(steps)
		return said(exitMisuse)
	}
	live, err := visit(cmd.Context(), c, wait)
	if err != nil {
		_ = g.printSteps(steps)
		return said(exitMisuse)
	}
	for _, s := range live {
		if !slices.ContainsFunc(found, func(f finding) bool { return f.What != "" && strings.HasSuffix(s.Said, f.What) }) {
			steps = append(steps, s)
		}
	}
	return g.printSteps(steps)
}

// printSteps prints what was tried; the error is code 1 if anything failed.
func (g *globals) printSteps(steps []step) error {
	failures := 0
	for _, s := range steps {
		if s.Outcome == bad {
			failures++
		}
	}
	if g.json {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"ok": failures == 0, "steps": steps}); err != nil {
			return failed(err, "")
		}
	} else {
		for _, s := range steps {
			writeStep(g.out, s)
		}
	}
	if failures > 0 {
		return &exitError{exitFailed, fmt.Errorf("%s", count(failures, "failure")), ""}
	}
	return nil
}

func writeStep(w io.Writer, s step) {
	line := s.Said
	if s.What != "check" {
		line = s.What + ": " + line
	}
	if s.Fix != "" {
		line += "; fix: " + s.Fix
	}
	sayln(w, marks[s.Outcome], clean(line))
}

// visit brings up the legs of c, alone, without the core: nothing is relayed and
// nothing said. It reports how far each came.
func visit(ctx context.Context, c *config.Config, wait time.Duration) ([]step, error) {
	log := newQuiet()
	k, err := openKeys(c, nil, nil, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	build := buildLeg(nil, log)
	var legs []leg
	for _, name := range legNames(c) {
		l, err := build(c, k, name)
		if err != nil {
			return nil, err
		}
		legs = append(legs, l)
		wg.Go(func() { _ = l.Run(ctx, visitor{}) })
	}
	settle(ctx, legs, wait)
	var steps []step
	for _, l := range legs {
		s := l.Status()
		if s.State != bridge.StateUp {
			found := probe(ctx, c, l.Name())
			steps = append(steps, found...)
			if slices.ContainsFunc(found, func(s step) bool { return s.Outcome == bad }) {
				continue // the leg would only say the same again
			}
		}
		steps = append(steps, legSteps(s)...)
	}
	return append(steps, keySteps(c, k)...), nil
}

// settle waits until every leg and room is up or has been refused, at most for
// wait. Who was seen to fail patience times is not waited for: the leg goes on
// trying, but doctor has its answer.
func settle(ctx context.Context, legs []leg, wait time.Duration) {
	const patience = 20
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	failed := map[string]int{}
	seen := func(what string, s bridge.State, detail string) bool {
		if s == bridge.StateDown && detail != "" {
			failed[what]++
		}
		return s == bridge.StateUp || s == bridge.StateRefused || failed[what] >= patience
	}
	for {
		all := true
		for _, l := range legs {
			s := l.Status()
			all = seen(l.Name(), s.State, s.Detail) && all
			if s.State != bridge.StateUp {
				continue
			}
			for _, r := range s.Rooms {
				all = (r.Room.Kind == bridge.Chat || seen(r.Room.String(), r.State, r.Detail)) && all
			}
		}
		if all {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// visitor is the sink of a visit. It takes nothing over: a message that came is
// never acknowledged, and so stays with the server where that keeps them.
type visitor struct{}

func (visitor) Take(context.Context, bridge.Message) error { return nil }
func (visitor) Notify(context.Context, bridge.Event) error { return nil }
func (visitor) Prove(bridge.Proof)                         {}

// legSteps tells how a leg and its rooms are doing.
func legSteps(s bridge.LegStatus) []step {
	if s.State != bridge.StateUp {
		return []step{{What: s.Name, Outcome: bad, Said: why("not connected", s.State, s.Detail)}}
	}
	steps := []step{{What: s.Name, Outcome: good, Said: "connected and logged in as " + s.Self}}
	for _, n := range s.Notes {
		if slices.ContainsFunc(s.Rooms, func(r bridge.RoomStatus) bool { return r.Detail == n }) {
			continue // the room tells it
		}
		steps = append(steps, step{What: s.Name, Outcome: note, Said: n})
	}
	for _, r := range s.Rooms {
		steps = append(steps, roomStep(r))
	}
	return steps
}

func roomStep(r bridge.RoomStatus) step {
	st := step{What: r.Room.String(), Outcome: good, Said: "joined"}
	switch {
	case r.Room.Kind == bridge.Chat && r.State == bridge.StateUp:
		st.Said = "online"
	case r.Room.Kind == bridge.Chat:
		st.Outcome, st.Said = note, why("not online", r.State, r.Detail)
		if r.State == bridge.StateRefused {
			st.Outcome = bad
		}
		return st
	case r.State != bridge.StateUp && strings.HasPrefix(r.Detail, "joined"):
		return step{What: st.What, Outcome: bad, Said: r.Detail} // but without rights
	case r.State != bridge.StateUp:
		return step{What: st.What, Outcome: bad, Said: why("not joined", r.State, r.Detail)}
	}
	if r.Detail != "" {
		st.Said += " (" + r.Detail + ")"
	}
	return st
}

func why(what string, s bridge.State, detail string) string {
	switch {
	case detail != "":
		return what + ": " + detail
	case s == bridge.StateRefused:
		return what + ": refused"
	default:
		return what + ": no answer in time"
	}
}

// examine is what doctor hears from a running bot.
func (b *bot) examine() []step {
	b.mu.Lock()
	cfg, k := b.cfg, b.keys
	b.mu.Unlock()
	var steps []step
	for _, l := range b.core.Status().Legs {
		steps = append(steps, legSteps(l.LegStatus)...)
	}
	steps = append(steps, keySteps(cfg, k)...)
	for _, p := range b.trustProblems() {
		steps = append(steps, step{What: "trust", Outcome: note, Said: p})
	}
	if b.guards() {
		s := b.guard.Status()
		steps = append(steps, guardDoubts(cfg, &s)...)
	}
	return steps
}
