package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// fullHouse is a house whose outboxes take few lines: #dev and #ops are in bridges
// of their own with alice and bob.
func fullHouse(t *testing.T, rows int, test func(h *house, j *stalledJournal)) {
	synctest.Test(t, func(t *testing.T) {
		one, two := devBridge(), devBridge()
		one.Rooms, two.Name, two.Rooms = rooms(dev, alice), "ops", rooms(ops, bob)
		j := &stalledJournal{Memory: bridge.NewMemory(), durable: true}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{
			Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{one, two}, People: people, Admins: []string{"bob"},
			QueueRows: rows, Location: time.UTC,
		}
		h.start(bridge.Deps{Journal: j})
		test(h, j)
		h.stop()
		h.balanced()
	})
}

// TestFullOutbox: a full outbox takes nothing more in, and acknowledges nothing: no
// line is lost or bounced. Other rooms of the same leg, and the leg's events, go on;
// when there is room, what waited follows in order.
func TestFullOutbox(t *testing.T) {
	fullHouse(t, 50, func(h *house, j *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		taken := 0
		for i := range 120 {
			m := person(alice, fmt.Sprintf("%03d", i))
			m.Taken = func(ok bool) {
				if ok {
					taken++
				}
			}
			must(t, h.xmpp.Take(m))
		}
		must(t, h.xmpp.Take(person(bob, "other")))
		synctest.Wait()
		if got := h.said(); got != "other" {
			t.Errorf("the other bridge got %q", got)
		}
		st := h.core.Status()
		q := st.Bridges[0].Rooms[0]
		if taken != 50 || q.Waiting != 50 || q.Full.IsZero() || st.Legs[1].Intake.Held != 70 {
			t.Errorf("acknowledged %d, waiting %d, full since %v, held %d", taken, q.Waiting, q.Full, st.Legs[1].Intake.Held)
		}
		told := strings.Join(told(h.xmpp), "\n")
		if !strings.Contains(told, "bob: 50 lines wait for corp/#dev") || strings.Contains(told, "not delivered") {
			t.Errorf("told %q", told)
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		time.Sleep(time.Minute)
		var want []string
		for i := range 120 {
			want = append(want, fmt.Sprintf("%03d", i))
		}
		if got := h.said(); got != strings.Join(want, " ") || taken != 120 {
			t.Errorf("then %q, acknowledged %d", got, taken)
		}
		if q := h.core.Status().Bridges[0].Rooms[0]; !q.Full.IsZero() || h.core.Status().Legs[1].Intake.Held != 0 {
			t.Errorf("still full: %+v", q)
		}
	})
}

// TestNothingOvertakesWhatIsHeld: neither what needs no room, such as a question, nor
// that it is acknowledged.
func TestNothingOvertakesWhatIsHeld(t *testing.T) {
	fullHouse(t, 1, func(h *house, _ *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		var taken []string
		for _, text := range []string{"a", "held", "!help"} {
			m := person(alice, text)
			m.Taken = func(bool) { taken = append(taken, text) }
			must(t, h.xmpp.Take(m))
		}
		synctest.Wait()
		if got := told(h.xmpp); len(taken) != 1 || strings.Contains(strings.Join(got, "\n"), "!help") {
			t.Errorf("while it is held: acknowledged %q, told %q", taken, got)
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		time.Sleep(time.Minute)
		if got := h.said(); got != "a held" || strings.Join(taken, " ") != "a held !help" || len(told(h.xmpp)) != 1 {
			t.Errorf("then %q, acknowledged %q", got, taken)
		}
	})
}

// TestFullOutboxOfTheSameLeg: that a room is up again is heard, though lines of the
// same leg wait for it.
func TestFullOutboxOfTheSameLeg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{{Name: "b", Rooms: rooms(dev, ops)}}, QueueRows: 5}
		h.start(bridge.Deps{})
		h.irc.SetError(ops, bridge.ErrNotReady)
		for i := range 20 {
			must(t, h.irc.Say(dev, "carol", fmt.Sprint(i)))
		}
		synctest.Wait()
		h.irc.SetError(ops, nil)
		must(t, h.irc.RoomUp(ops))
		if got := h.said(); len(strings.Fields(got)) != 20 {
			t.Errorf("got %q", got)
		}
		h.stop()
	})
}

// TestFullOutboxAtTheEnd: what is held when the bot stops goes into the journal.
func TestFullOutboxAtTheEnd(t *testing.T) {
	fullHouse(t, 10, func(h *house, j *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		for i := range 30 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		synctest.Wait()
		h.stop()
		if n := j.kept(t); n != 30 {
			t.Errorf("%d rows kept of 30", n)
		}
	})
}

// TestLongQueueIsNotInMemory: of a long queue the head alone is in memory; it leaves
// whole and in order all the same, and a removed room gives back all of it.
func TestLongQueueIsNotInMemory(t *testing.T) {
	for _, remove := range []bool{false, true} {
		fullHouse(t, 5000, func(h *house, j *stalledJournal) {
			h.irc.SetError(dev, bridge.ErrNotReady)
			const n = 3000
			for i := range n {
				must(t, h.xmpp.Take(person(alice, fmt.Sprintf("%05d", i))))
			}
			synctest.Wait()
			if remove {
				cfg := h.cfg
				cfg.Bridges = cfg.Bridges[1:]
				diff, err := h.core.Reload(cfg)
				must(t, err)
				synctest.Wait()
				if kept := j.kept(t); diff.Bounced != n || kept != 0 {
					t.Errorf("%d went back, %d are kept", diff.Bounced, kept)
				}
				return
			}
			h.irc.SetError(dev, nil)
			must(t, h.irc.RoomUp(dev))
			time.Sleep(time.Minute)
			got := strings.Fields(h.said())
			if len(got) != n {
				t.Fatalf("%d of %d", len(got), n)
			}
			for i, text := range got {
				if text != fmt.Sprintf("%05d", i) {
					t.Fatalf("%s at %d", text, i)
				}
			}
			if kept := j.kept(t); kept != 0 {
				t.Errorf("%d are kept", kept)
			}
		})
	}
}

// TestLongQueueExpires: lines that wait too long go back without having been read,
// and a person offline keeps the newest.
func TestLongQueueExpires(t *testing.T) {
	fullHouse(t, 5000, func(h *house, j *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		h.xmpp.SetError(alice, bridge.ErrNotReady)
		const n = 1500
		for i := range n {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
			must(t, h.irc.Say(dev, "carol", fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Minute)
		if l := h.ledger(); l.Missed != n-200 || l.Waiting != n+200 {
			t.Errorf("offline: %+v", l)
		}
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.RoomUp(alice))
		synctest.Wait()
		var got []string
		for _, m := range h.xmpp.TakeSent() {
			if m.To == alice && !m.Notice {
				got = append(got, m.Text.Reveal())
			}
		}
		if len(got) != 200 || got[0] != "<carol@irc> 1300" || got[199] != "<carol@irc> 1499" {
			t.Errorf("back online: %d lines", len(got))
		}
		time.Sleep(25 * time.Hour)
		if l := h.ledger(); l.Bounced != n || l.Waiting != 0 {
			t.Errorf("after a day: %+v", l)
		}
	})
}

// cursorJournal remembers the last place of each cursor.
type cursorJournal struct {
	*stalledJournal
	places map[string]string
}

func (j *cursorJournal) Ingest(ctx context.Context, batch []*bridge.Entry, done []bridge.Done) error {
	for _, e := range batch {
		if e.Cursor.Name != "" {
			j.places[e.Cursor.Name] = e.Cursor.Value
		}
	}
	return j.stalledJournal.Ingest(ctx, batch, done)
}

// TestCursorStaysBehindWhatIsHeld: two chats share the archive of their account. While
// a line of one is held, those of the other do not move its cursor past it.
func TestCursorStaysBehindWhatIsHeld(t *testing.T) {
	fullHouse(t, 10, func(h *house, j *stalledJournal) {
		h.stop()
		cj := &cursorJournal{j, map[string]string{}}
		h.irc, h.xmpp = bridgetest.NewLeg("corp", "irc"), bridgetest.NewLeg("bot", "xmpp")
		h.cfg.Legs = []bridge.Leg{h.irc, h.xmpp}
		h.start(bridge.Deps{Journal: cj})
		h.irc.SetError(dev, bridge.ErrNotReady)
		takeAs := func(c bridge.Cursor, room bridge.Room, n int) {
			m := person(room, fmt.Sprint(n))
			m.Cursor = c
			must(t, h.xmpp.Take(m))
		}
		take := func(room bridge.Room, n int) {
			takeAs(bridge.Cursor{Name: "bot@corp.example", Value: fmt.Sprint(n)}, room, n)
		}
		for n := range 12 {
			take(alice, n)
		}
		take(bob, 12)
		synctest.Wait()
		take(bob, 13)
		takeAs(bridge.Cursor{Name: "room", Value: "20"}, bob, 20)
		takeAs(bridge.Cursor{Name: "stream", Value: "21", Whole: true}, bob, 21)
		synctest.Wait()
		if cj.places["room"] != "20" || cj.places["stream"] != "" {
			t.Errorf("other cursors %v", cj.places)
		}
		if at := cj.places["bot@corp.example"]; at != "9" {
			t.Errorf("the cursor is at %s while 10 is held", at)
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		synctest.Wait()
		take(bob, 14)
		synctest.Wait()
		if at := cj.places["bot@corp.example"]; at != "14" {
			t.Errorf("the cursor is at %s when all is taken in", at)
		}
	})
}

// TestMoreRoomByReload: an operator who raises store.queue need not wait until some
// lines have left.
func TestMoreRoomByReload(t *testing.T) {
	fullHouse(t, 10, func(h *house, j *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		for i := range 30 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		synctest.Wait()
		cfg := h.cfg
		cfg.QueueRows = 100
		_, err := h.core.Reload(cfg)
		must(t, err)
		synctest.Wait()
		if n := h.core.Status().Legs[1].Intake.Held; n != 0 || j.kept(t) != 30 {
			t.Errorf("%d held, %d kept", n, j.kept(t))
		}
	})
}

// TestGapBehindWhatIsHeld: a gap is told after what was said before it, and waits like
// a line while a destination is full.
func TestGapBehindWhatIsHeld(t *testing.T) {
	fullHouse(t, 10, func(h *house, j *stalledJournal) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		for i := range 12 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		for i := range 20 {
			must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.Gap, Room: alice, Since: time.Now().Add(-time.Hour), Time: time.Now().Add(time.Duration(i) * time.Second)}))
		}
		must(t, h.xmpp.Take(person(alice, "last")))
		synctest.Wait()
		if n := h.core.Status().Legs[1].Intake.Held; n != 23 || j.kept(t) != 10 {
			t.Errorf("%d held, %d kept", n, j.kept(t))
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		time.Sleep(time.Minute)
		var got []string
		for _, m := range h.irc.TakeSent() {
			if text := m.Text.Reveal(); strings.Contains(text, "Not connected") {
				got = append(got, "gap")
			} else {
				got = append(got, text[strings.LastIndex(text, " ")+1:])
			}
		}
		if s := strings.Join(got, " "); !strings.HasSuffix(s, " 10 11"+strings.Repeat(" gap", 20)+" last") {
			t.Errorf("told %s", s)
		}
	})
}
