package guard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// MoveStep is what one step of a migration would change in a place.
type MoveStep struct {
	Place bridge.Room `json:"place"`
	// Lines are what would be sent; nothing: it is as wanted.
	Lines []string `json:"lines,omitempty"`
	// Why says what stands against it: dry run, no op, too many who would be put out.
	Why string `json:"why,omitempty"`
}

// PlanMoving says what each of the steps would change in a place, after the one before:
// the state of the place is read, and nothing is changed. An unknown place is ErrNoRoom.
func (g *Guard) PlanMoving(ctx context.Context, place bridge.Room, steps []Moving) ([]MoveStep, error) {
	sd := g.table.Load().sides[place]
	if sd == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoRoom, place)
	}
	o, _, ok, _ := sd.observe(ctx)
	if !ok {
		return nil, fmt.Errorf("guard: %s: %w", place, bridge.ErrNotReady)
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	now := g.now()
	why := ""
	switch {
	case !r.armed:
		why = "room " + r.name + " is in dry run: it would only be said"
	case !o.Holds:
		why = "the bot does not hold it"
	}
	var out []MoveStep
	seen, before := o.Channel, g.movingOf(place) // what is wanted already is no part of a step
	if sd.channel() {
		want, _ := sd.wantLocked(&seen, before, true, now)
		seen = applied(seen, &want)
	}
	for _, mv := range steps {
		step, greeted := MoveStep{Place: place, Why: why}, false
		switch {
		case !sd.channel():
			var open string
			if step.Lines, open = sd.planMUCMovingLocked(mv, before, &o.MUC, now); step.Why == "" && open != "" {
				step.Why = "it stays open: " + open
			}
		default:
			want, _ := sd.wantLocked(&seen, mv, true, now)
			greeted = want.EntryMsg != nil
			lines, err := policy.PlanChannel(want, seen, o.ChannelCaps, 0)
			if err != nil {
				return nil, err
			}
			for _, l := range lines {
				step.Lines = append(step.Lines, l.Words())
			}
			seen = applied(seen, &want)
		}
		if mv.Entry != "" && before.Entry == "" && !greeted {
			for line := range strings.SplitSeq(mv.Entry, "\n") {
				step.Lines = append(step.Lines, "NOTICE to who comes in: "+line)
			}
		}
		if mv.Closed && !before.Closed {
			step.Lines = append(step.Lines, "nothing is relayed to or from there")
		}
		before = mv
		out = append(out, step)
	}
	return out, nil
}

// applied is the state of a channel once it is as wanted: as far as migrations change it.
func applied(seen policy.ChannelSeen, want *policy.Channel) policy.ChannelSeen {
	seen.Flags = unique(strings.Map(func(m rune) rune {
		if strings.ContainsRune(want.Clear, m) {
			return -1
		}
		return m
	}, seen.Flags) + want.Set)
	if want.Topic != nil {
		seen.Topic = *want.Topic
	}
	if want.Key != nil {
		seen.Key = *want.Key
	}
	if want.MLock != "" {
		seen.MLock = want.MLock
	}
	seen.TopicLock = seen.TopicLock || want.TopicLock
	if want.EntryMsg != nil {
		seen.EntryMsg = want.EntryMsg
	}
	seen.Params = maps.Clone(seen.Params)
	if seen.Params == nil {
		seen.Params = map[byte]string{}
	}
	for _, x := range want.Params {
		if seen.Params[x.Mode] = x.Value; x.Value == "" {
			delete(seen.Params, x.Mode)
		}
	}
	seen.Lists = maps.Clone(seen.Lists)
	for _, l := range want.Lists {
		list := slices.DeleteFunc(slices.Clone(seen.Lists[l.Mode]), func(e string) bool { return slices.Contains(l.Drop, e) })
		for _, e := range l.Want {
			if !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
		if seen.Lists == nil {
			seen.Lists = map[byte][]string{}
		}
		seen.Lists[l.Mode] = list
	}
	seen.Access = maps.Clone(seen.Access)
	for _, a := range want.Access {
		if seen.Access != nil {
			seen.Access[a.Account] = a.Flags
		}
	}
	return seen
}
