package bridge_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// stalledJournal is a Memory that fails while told to.
type stalledJournal struct {
	*bridge.Memory
	mu      sync.Mutex
	fail    bool
	durable bool
}

var errDisk = errors.New("disk full")

func (j *stalledJournal) set(fail bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = fail
}

func (j *stalledJournal) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail {
		return errDisk
	}
	return nil
}

func (j *stalledJournal) Ingest(ctx context.Context, b []*bridge.Entry, done []bridge.Done) error {
	if err := j.err(); err != nil {
		return err
	}
	return j.Memory.Ingest(ctx, b, done)
}

func (j *stalledJournal) Tried(ctx context.Context, s []bridge.Try) error {
	if err := j.err(); err != nil {
		return err
	}
	return j.Memory.Tried(ctx, s)
}

func (j *stalledJournal) Confirm(ctx context.Context, d []bridge.Done) error {
	if err := j.err(); err != nil {
		return err
	}
	return j.Memory.Confirm(ctx, d)
}

func (j *stalledJournal) Durable() bool { return j.durable }

func (j *stalledJournal) kept(t *testing.T) (n int) {
	t.Helper()
	must(t, j.Load(t.Context(), func(*bridge.Row) error { n++; return nil }))
	return n
}

func journalHouse(t *testing.T, j bridge.Journal, bridges ...bridge.BridgeConfig) *house {
	h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
	h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: bridges, People: people, Location: time.UTC}
	h.start(bridge.Deps{Journal: j})
	return h
}

func TestAcknowledgedOnlyAfterTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), fail: true}
		h := journalHouse(t, j, devBridge())
		taken := 0
		m := person(alice, "x")
		m.Taken = func(ok bool) {
			if ok {
				taken++
			}
		}
		must(t, h.xmpp.Take(m))
		time.Sleep(time.Minute)
		same(t, "nothing leaves", told(h.irc))
		if taken != 0 {
			t.Error("acknowledged before it was kept")
		}
		j.set(false)
		time.Sleep(10 * time.Second)
		same(t, "then it does", told(h.irc), "#dev: <alice@jabber> x")
		if taken != 1 {
			t.Errorf("acknowledged %d times", taken)
		}
		h.stop()
		if n := j.kept(t); n != 0 {
			t.Errorf("%d rows kept though all are delivered", n)
		}
	})
}

func TestConfirmIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory()}
		h := journalHouse(t, j, devBridge())
		h.irc.Manual()
		must(t, h.xmpp.Take(person(alice, "x")))
		synctest.Wait()
		j.set(true)
		for _, m := range h.irc.TakeSent() {
			h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Delivered})
		}
		time.Sleep(time.Minute)
		if j.kept(t) == 0 {
			t.Error("the row is gone though the journal failed")
		}
		j.set(false)
		time.Sleep(10 * time.Second)
		if n := j.kept(t); n != 0 {
			t.Errorf("%d rows kept", n)
		}
		h.stop()
	})
}

func TestDurableJournalGivesRowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), durable: true}
		h := journalHouse(t, j, devBridge())
		h.irc.SetError(dev, bridge.ErrNotReady)
		for _, text := range []string{"one", "two"} {
			must(t, h.xmpp.Take(person(alice, text)))
		}
		synctest.Wait()
		h.stop()
		if n := j.kept(t); n != 2 {
			t.Fatalf("%d rows kept, want 2", n)
		}
		for _, s := range told(h.xmpp) {
			if s != "bob: <alice@jabber> one" && s != "bob: <alice@jabber> two" {
				t.Errorf("told %q", s)
			}
		}
		h = journalHouse(t, j, devBridge())
		synctest.Wait()
		var got []string
		for _, m := range h.irc.TakeSent() {
			got = append(got, m.Text.Reveal())
		}
		same(t, "after the restart", got, "<alice@jabber> one", "<alice@jabber> two")
		h.balanced()
		if l := h.ledger(); l.Received != 2 || l.Queued < 2 || l.Waiting != 0 {
			t.Errorf("the ledger does not go on: %+v", l)
		}
		h.stop()
		if n := j.kept(t); n != 0 {
			t.Errorf("%d rows kept", n)
		}
	})
}

func TestShutdownBouncesWhatIsHeld(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "no key"})
		must(t, h.irc.Say(dev, "carol", "x"))
		must(t, h.irc.Say(dev, "carol", "y"))
		synctest.Wait()
		h.stop()
		same(t, "told before the legs went", told(h.irc), "#dev: 2 lines not delivered to alice: the bridge is stopping.")
		told(h.xmpp)
		if l := h.ledger(); l.Bounced != 2 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
	}, devBridge())
}

func TestShutdownDrains(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetDelay(100 * time.Millisecond)
		for range 20 {
			must(t, h.xmpp.Take(person(alice, "x")))
		}
		start := time.Now()
		h.stop()
		if n := len(h.irc.TakeSent()); n != 20 || time.Since(start) > 3*time.Second {
			t.Errorf("%d of 20 lines in %v", n, time.Since(start))
		}
	}, devBridge())
}

func TestShutdownDoesNotWaitForOwnWords(t *testing.T) {
	live(t, func(h *house) {
		h.irc.Manual() // no proof ever comes
		must(t, h.irc.Say(dev, "carol", "!who"))
		synctest.Wait()
		if n := len(h.irc.TakeSent()); n == 0 {
			t.Fatal("no answer on the wire")
		}
		start := time.Now()
		h.stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	}, devBridge())
}

func TestShutdownIsBounded(t *testing.T) {
	live(t, func(h *house) {
		h.irc.Manual() // no proof ever comes
		must(t, h.xmpp.Take(person(alice, "x")))
		synctest.Wait()
		start := time.Now()
		h.stop()
		if took := time.Since(start); took > bridge.DrainTime+5*time.Second {
			t.Errorf("took %v", took)
		}
		if h.err != nil {
			t.Errorf("Run = %v", h.err)
		}
	}, devBridge())
}
