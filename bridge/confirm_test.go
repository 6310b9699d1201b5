package bridge_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// countingJournal counts its commits.
type countingJournal struct {
	*stalledJournal
	ingests, riders, tries, confirms int
}

func (j *countingJournal) Ingest(ctx context.Context, b []*bridge.Entry, done []bridge.Done) error {
	j.mu.Lock()
	j.ingests, j.riders = j.ingests+1, j.riders+len(done)
	j.mu.Unlock()
	return j.stalledJournal.Ingest(ctx, b, done)
}

func (j *countingJournal) Tried(ctx context.Context, s []bridge.Try) error {
	j.mu.Lock()
	j.tries++
	j.mu.Unlock()
	return j.stalledJournal.Tried(ctx, s)
}

func (j *countingJournal) Confirm(ctx context.Context, d []bridge.Done) error {
	j.mu.Lock()
	j.confirms++
	j.mu.Unlock()
	return j.stalledJournal.Confirm(ctx, d)
}

func (j *countingJournal) want(t *testing.T, what string, ingests, riders, tries, confirms int) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ingests != ingests || j.riders != riders || j.tries != tries || j.confirms != confirms {
		t.Errorf("%s: %d ingests with %d ends, %d notes of tried, %d confirms; want %d, %d, %d, %d", what,
			j.ingests, j.riders, j.tries, j.confirms, ingests, riders, tries, confirms)
	}
}

// countedHouse is a house with a durable journal, whose channel can be asked what
// has arrived there, unless it is mute.
func countedHouse(t *testing.T, mute bool) (*house, *countingJournal) {
	j := &countingJournal{stalledJournal: &stalledJournal{Memory: bridge.NewMemory(), durable: true}}
	h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
	asked := bridgetest.NewAsked(h.irc, func(ms []bridge.Outgoing) ([]bridge.Answer, error) { return make([]bridge.Answer, len(ms)), nil })
	asked.Mute(mute)
	h.cfg = bridge.Config{Legs: []bridge.Leg{asked, h.xmpp}, Bridges: []bridge.BridgeConfig{oneReader()}, People: people, Location: time.UTC}
	h.start(bridge.Deps{Journal: j})
	must(t, h.irc.RoomUp(dev))
	must(t, h.xmpp.Take(person(alice, "the first line notes that the room is ready")))
	time.Sleep(time.Second)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ingests, j.riders, j.tries, j.confirms = 0, 0, 0, 0
	return h, j
}

// TestEndsRide: the end of a row is committed with the next line that comes, or
// after a moment; at once where nobody could be asked about it after a crash.
func TestEndsRide(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		mute                      bool
		ingests, riders, confirms int
	}{
		{"asked", false, 5, 4, 1},
		{"nobody to ask", true, 5, 0, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, j := countedHouse(t, tt.mute)
				for i := range 5 {
					must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(time.Second)
				j.want(t, "five lines", tt.ingests, tt.riders, 0, tt.confirms)
				if n := j.kept(t); n != 0 {
					t.Errorf("%d rows kept", n)
				}
				h.balanced()
				h.stop()
			})
		})
	}
}

// TestRidersOfAFailure: ends whose batch cannot be taken in go by themselves.
func TestRidersOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, j := countedHouse(t, false)
		must(t, h.xmpp.Take(person(alice, "a")))
		synctest.Wait()
		j.set(true)
		must(t, h.xmpp.Take(person(alice, "b")))
		time.Sleep(time.Minute)
		if n := j.kept(t); n != 1 {
			t.Errorf("%d rows kept while the journal fails", n)
		}
		j.set(false)
		time.Sleep(time.Minute)
		if n := j.kept(t); n != 0 {
			t.Errorf("%d rows kept", n)
		}
		if l := h.ledger(); l.Relayed != 3 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
		h.balanced()
		h.stop()
	})
}

// TestManyEndsDoNotWait: where many rows end at once nothing is waited for.
func TestManyEndsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, j := countedHouse(t, false)
		h.irc.Manual()
		h.irc.SetWindow(20)
		for i := range 20 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		synctest.Wait()
		for _, m := range h.irc.TakeSent() {
			h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Delivered})
		}
		synctest.Wait()
		if n := j.kept(t); n >= 8 {
			t.Errorf("%d rows kept", n)
		}
		h.stop()
		if n := j.kept(t); n != 0 {
			t.Errorf("%d rows kept by the last commit", n)
		}
	})
}

// TestUnprovenRowsDoNotCost: a line to somebody who never shows to have read
// anything is noted as tried when it is taken in, like any other.
func TestUnprovenRowsDoNotCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, j := countedHouse(t, false)
		h.xmpp.Acks()
		h.xmpp.SetWindow(64)
		for i := range 200 {
			h.says(fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		if l := h.ledger(); l.Unproven != 200 {
			t.Errorf("%d rows unproven", l.Unproven)
		}
		j.want(t, "200 lines", 200, 0, 1, 200) // the first: whether the room is ready was not known
		h.stop()
	})
}
