package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Journal holds an implementation of bridge.Journal to its contract. open
// returns a new, empty journal.
func Journal(t *testing.T, open func(t *testing.T) bridge.Journal) {
	t.Helper()
	room := bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}
	dest := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	row := func(id string) *bridge.Row {
		return &bridge.Row{
			ID: id, Bridge: "dev", From: room, To: dest, Kind: bridge.RowSay, Name: "carol", Text: bridge.NewText(id),
			Person: "carol", Rung: policy.Signed, Floor: policy.Floor{In: policy.Sealed, Out: policy.Verified}, Delayed: true, Said: time.Unix(1, 0), Queued: time.Unix(2, 0),
		}
	}
	entry := func(id string, rows ...*bridge.Row) *bridge.Entry {
		return &bridge.Entry{Room: room, ID: id, At: time.Unix(2, 0), Rows: rows}
	}
	kept := func(t *testing.T, j bridge.Journal) (ids []string) {
		t.Helper()
		if err := j.Load(t.Context(), func(r *bridge.Row) error {
			ids = append(ids, fmt.Sprintf("%s:%v", r.ID, !r.Tried.IsZero()))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	want := func(t *testing.T, j bridge.Journal, ids ...string) {
		t.Helper()
		if got := kept(t, j); !slices.Equal(got, ids) {
			t.Errorf("kept %v, want %v", got, ids)
		}
	}
	ingest := func(t *testing.T, j bridge.Journal, batch ...*bridge.Entry) {
		t.Helper()
		if err := j.Ingest(t.Context(), batch, nil); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("rows come back in order with their fields", func(t *testing.T) {
		j := open(t)
		a, b, c := row("a"), row("b"), row("c")
		ingest(t, j, entry("1", a, b), entry("", c))
		if a.Seq == 0 || a.Seq >= b.Seq || b.Seq >= c.Seq {
			t.Errorf("seqs %d, %d, %d do not ascend", a.Seq, b.Seq, c.Seq)
		}
		want(t, j, "a:false", "b:false", "c:false")
		if err := j.Load(t.Context(), func(r *bridge.Row) error {
			if r.Bridge != "dev" || r.From != room || r.To != dest || r.Name != "carol" || r.Kind != bridge.RowSay ||
				r.Person != "carol" || r.Rung != policy.Signed || r.Floor != (policy.Floor{In: policy.Sealed, Out: policy.Verified}) || !r.Delayed ||
				r.Text != bridge.NewText(r.ID) || !r.Said.Equal(time.Unix(1, 0)) || !r.Queued.Equal(time.Unix(2, 0)) {
				t.Errorf("row %s came back altered", r.ID)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("a known key is not taken in again", func(t *testing.T) {
		j := open(t)
		first, twin := entry("1", row("a")), entry("1", row("b"))
		ingest(t, j, first, twin)
		later := entry("1", row("c"))
		ingest(t, j, later)
		if first.Again || !twin.Again || !later.Again {
			t.Errorf("again: %v, %v, %v", first.Again, twin.Again, later.Again)
		}
		other := entry("1", row("d"))
		other.Room.Name = "#ops"
		ingest(t, j, other, entry("", row("e")), entry("", row("f")))
		want(t, j, "a:false", "d:false", "e:false", "f:false")
	})
	t.Run("a key outlives its rows", func(t *testing.T) {
		j := open(t)
		a := row("a")
		ingest(t, j, entry("1", a))
		if err := j.Confirm(t.Context(), []bridge.Done{{Seq: a.Seq, Fate: bridge.FateRelayed}}); err != nil {
			t.Fatal(err)
		}
		again := entry("1", row("b"))
		if ingest(t, j, again); !again.Again {
			t.Error("forgotten")
		}
		want(t, j)
	})
	t.Run("rows end with what is taken in", func(t *testing.T) {
		j := open(t)
		a, b, c := row("a"), row("b"), row("c")
		ingest(t, j, entry("1", a, b))
		done := []bridge.Done{{Seq: a.Seq, Bridge: "dev", Fate: bridge.FateRelayed}, {Seq: 1 << 40, Bridge: "dev", Fate: bridge.FateRelayed}}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := j.Ingest(ended, []*bridge.Entry{entry("2", row("x"))}, done); err == nil {
			want(t, j, "b:false", "x:false") // it needs no context
			return
		}
		want(t, j, "a:false", "b:false")
		if err := j.Ingest(t.Context(), []*bridge.Entry{entry("2", c)}, done); err != nil {
			t.Fatal(err)
		}
		want(t, j, "b:false", "c:false")
	})
	t.Run("an entry without rows is known too", func(t *testing.T) {
		j := open(t)
		ingest(t, j, entry("1"))
		again := entry("1", row("a"))
		if ingest(t, j, again); !again.Again {
			t.Error("forgotten")
		}
	})
	t.Run("tried is kept", func(t *testing.T) {
		j := open(t)
		a, b, c := row("a"), row("b"), row("c")
		c.Tried = time.Unix(3, 0)
		ingest(t, j, entry("1", a, b, c))
		at := time.Unix(4, 0)
		if err := j.Tried(t.Context(), []bridge.Try{{Seq: b.Seq, At: at, Bridge: "dev"}, {Seq: 1 << 40, At: at, Bridge: "dev"}}); err != nil {
			t.Fatal(err)
		}
		want(t, j, "a:false", "b:true", "c:true")
		when := map[string]time.Time{"b": at, "c": c.Tried}
		if err := j.Load(t.Context(), func(r *bridge.Row) error {
			if !r.Tried.Equal(when[r.ID]) {
				t.Errorf("%s was tried %v, want %v", r.ID, r.Tried, when[r.ID])
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("a row was not tried after all", func(t *testing.T) {
		j := open(t)
		a, b := row("a"), row("b")
		a.Tried = time.Unix(3, 0)
		ingest(t, j, entry("1", a, b))
		if err := j.Tried(t.Context(), []bridge.Try{{Seq: a.Seq, Bridge: "dev"}, {Seq: b.Seq, At: time.Unix(4, 0), Bridge: "dev", Again: bridge.NotKnown}}); err != nil {
			t.Fatal(err)
		}
		want(t, j, "a:false", "b:true")
		if l, err := j.Ledgers(t.Context()); err != nil || l["dev"].Resent != 1 || l["dev"].Absent != 0 {
			t.Errorf("ledgers %+v, %v", l, err)
		}
	})
	t.Run("rows come back by their numbers", func(t *testing.T) {
		j := open(t)
		a, b, c, d := row("a"), row("b"), row("c"), row("d")
		b.Tried = time.Unix(3, 0)
		ingest(t, j, entry("1", a, b, c, d))
		done := []bridge.Done{{Seq: c.Seq, Bridge: "dev", Fate: bridge.FateRelayed}}
		if err := j.Confirm(t.Context(), done); err != nil {
			t.Fatal(err)
		}
		got, err := j.Rows(t.Context(), []uint64{a.Seq, b.Seq, c.Seq, 1 << 40})
		if err != nil || len(got) != 2 || got[0].Seq != a.Seq || got[1].ID != "b" || got[1].Text != bridge.NewText("b") || !got[1].Tried.Equal(b.Tried) {
			t.Errorf("got %d rows, %v", len(got), err)
		}
	})
	t.Run("confirmed rows are gone", func(t *testing.T) {
		j := open(t)
		a, b := row("a"), row("b")
		ingest(t, j, entry("1", a, b))
		for range 2 { // unknown ones are ignored
			if err := j.Confirm(t.Context(), []bridge.Done{{Seq: a.Seq, Fate: bridge.FateBounced}}); err != nil {
				t.Fatal(err)
			}
		}
		want(t, j, "b:false")
	})
	t.Run("ledgers count what was committed, once", func(t *testing.T) {
		j := open(t)
		a, b, c := row("a"), row("b"), row("c")
		one, two := entry("1", a, b), entry("2", c)
		one.Counts = []bridge.Count{{Bridge: "dev", Copies: 3, Gap: true}, {Bridge: "ops"}}
		two.Counts = []bridge.Count{{Bridge: "dev", Copies: 1}}
		twin := entry("1", row("d"))
		twin.Counts = one.Counts
		ingest(t, j, one, two, twin)
		done := []bridge.Done{{Seq: a.Seq, Bridge: "dev", Fate: bridge.FateRelayed, Found: true}, {Seq: b.Seq, Bridge: "dev", Fate: bridge.FateDead}}
		for range 2 {
			if err := j.Confirm(t.Context(), done); err != nil {
				t.Fatal(err)
			}
		}
		got, err := j.Ledgers(t.Context())
		dev := bridge.Ledger{Received: 3, Accepted: 2, Again: 1, Queued: 4, Relayed: 1, Dead: 1, Found: 1, Gaps: 1}
		if err != nil || got["dev"] != dev || got["ops"] != (bridge.Ledger{Received: 2, Accepted: 1, Again: 1}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if dev.Waiting += 2; !dev.Balanced() {
			t.Error("with what waits it does not balance")
		}
	})
	t.Run("acked rows count as relayed after a restart, unread ones wait again", func(t *testing.T) {
		j := open(t)
		a, b, c := row("a"), row("b"), row("c")
		for _, r := range []*bridge.Row{a, b, c} {
			r.Tried = time.Unix(3, 0)
		}
		one := entry("1", a, b, c)
		one.Counts = []bridge.Count{{Bridge: "dev", Copies: 3}}
		ingest(t, j, one)
		done := func(r *bridge.Row, f bridge.Fate, unproven bool) bridge.Done {
			return bridge.Done{Seq: r.Seq, ID: r.ID, Bridge: "dev", To: dest, Fate: f, Unproven: unproven}
		}
		acked, unread, read := bridge.FateAcked, bridge.FateUnread, bridge.FateRelayed
		for _, part := range [][]bridge.Done{
			{done(a, acked, false), done(b, acked, false), done(c, acked, false)},
			{done(b, unread, true), done(c, unread, true), {Seq: 1 << 40, Bridge: "dev", Fate: acked}},
			{done(c, acked, false), done(c, read, true)},
		} {
			if err := j.Confirm(t.Context(), part); err != nil {
				t.Fatal(err)
			}
		}
		// What is unproven is not on its way any more.
		if err := j.Tried(t.Context(), []bridge.Try{{Seq: a.Seq, At: time.Unix(4, 0), Bridge: "dev", Again: bridge.NotKnown}}); err != nil {
			t.Fatal(err)
		}
		want(t, j, "b:false")
		got, err := j.Ledgers(t.Context())
		dev := bridge.Ledger{Received: 1, Accepted: 1, Queued: 3, Relayed: 2, Unread: 2}
		if err != nil || got["dev"] != dev {
			t.Errorf("got %+v, %v", got, err)
		}
		want(t, j, "b:false")
		if again, err := j.Ledgers(t.Context()); err != nil || again["dev"] != dev {
			t.Errorf("counted twice: %+v, %v", again, err)
		}
	})
	t.Run("load passes an error on", func(t *testing.T) {
		j := open(t)
		ingest(t, j, entry("1", row("a")))
		stop := errors.New("stop")
		if err := j.Load(context.WithoutCancel(t.Context()), func(*bridge.Row) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
	})
}
