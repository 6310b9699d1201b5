package main

import (
	"testing"
	"time"
)

// TestFetchSchedule: each key soon after the start, then about once a day, one at a
// time; who is no longer wanted is forgotten.
func TestFetchSchedule(t *testing.T) {
	start := time.Now()
	due := map[string]time.Time{}
	list := []wanted{{fpr: "A"}, {fpr: "B"}}
	asked := map[string][]time.Time{}
	for now := start; now.Before(start.Add(10 * 24 * time.Hour)); now = now.Add(fetchTick) {
		if w, ok := nextWanted(list, due, now); ok {
			asked[w.fpr] = append(asked[w.fpr], now)
		}
	}
	for _, w := range list {
		times := asked[w.fpr]
		if len(times) < 8 || len(times) > 14 || times[0].Sub(start) > fetchFirst+2*fetchTick {
			t.Errorf("%s was asked for %d times in ten days, first after %v", w.fpr, len(times), times[0].Sub(start))
		}
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < fetchEvery*3/4 || d > fetchEvery*5/4+2*fetchTick {
				t.Errorf("%s after %v", w.fpr, d)
			}
		}
	}
	if nextWanted(list[:1], due, start); len(due) != 1 {
		t.Errorf("%d keys are remembered", len(due))
	}
}
