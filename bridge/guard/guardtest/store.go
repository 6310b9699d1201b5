// Package guardtest holds the suite that every guard.Store has to pass.
package guardtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Store runs the suite. open returns an empty store, and what opens the same one
// again as a new process would; of a store that ends with the process it returns
// the same.
func Store(t *testing.T, open func(t *testing.T) (s guard.Store, again func() guard.Store)) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, s guard.Store, again func() guard.Store)
	}{
		{"keeps", keeps},
		{"replaces", replaces},
		{"drops", drops},
		{"admits", admits},
		{"audit", audit},
		{"audit goes on", auditGoesOn},
		{"queries", queries},
		{"at once", atOnce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, again := open(t)
			tt.test(t, s, again)
		})
	}
}

var at = time.Date(2026, 11, 22, 8, 30, 0, 123456000, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s guard.Store) guard.Kept {
	t.Helper()
	k, err := s.Load(context.Background())
	must(t, err)
	return k
}

// some is one of each.
func some() guard.Kept {
	return guard.Kept{
		Rooms: []guard.RoomState{{Room: "finance", Armed: true, Shut: at, Admitted: map[string]time.Time{"person alice": at, "account corp/x": at.Add(-time.Hour)}}},
		Bans: []policy.BanRecord{{
			ID: "ban-1", Person: "eve", Rooms: []string{"finance", "lobby"}, Author: "alice", Reason: "come back tomorrow", Set: at, Until: at.Add(24 * time.Hour), Followed: true,
		}},
		Timers:  []guard.Timer{{ID: "timer-1", Kind: "guest", Room: "lobby", Who: "account corp/x", Due: at.Add(time.Hour)}},
		Tickets: []guard.Ticket{{ID: "ticket-1", Kind: "invite", Person: "bob", Room: "finance", Network: "corp", Nick: "bobby", Account: "bob", UserHost: "b@h", Hash: [32]byte{1, 2}, Until: at, Step: 2}},
		Links:   []guard.Link{{ID: "link-1", Person: "bob", Network: "corp", Account: "bobby", Made: at, Used: at.Add(time.Minute), By: "alice"}},
	}
}

func fill(t *testing.T, s guard.Store, k guard.Kept) {
	t.Helper()
	ctx := context.Background()
	for _, r := range k.Rooms {
		must(t, s.PutRoom(ctx, r))
		must(t, s.Admit(ctx, r.Room, r.Admitted))
	}
	for _, b := range k.Bans {
		must(t, s.PutBan(ctx, b))
	}
	for _, x := range k.Timers {
		must(t, s.PutTimer(ctx, x))
	}
	for _, x := range k.Tickets {
		must(t, s.PutTicket(ctx, x))
	}
	for _, x := range k.Links {
		must(t, s.PutLink(ctx, x))
	}
}

func keeps(t *testing.T, s guard.Store, again func() guard.Store) {
	if k := load(t, s); len(k.Rooms)+len(k.Bans)+len(k.Timers)+len(k.Tickets)+len(k.Links) != 0 {
		t.Errorf("a new store holds %+v", k)
	}
	want := some()
	fill(t, s, want)
	// What was put is the store's own.
	want.Rooms[0].Admitted["person mallory"] = at
	want.Bans[0].Rooms[0] = "elsewhere"
	want = some()
	if got := load(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
	if got := load(t, again()); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded by the next process\n%+v\nwant\n%+v", got, want)
	}
}

func replaces(t *testing.T, s guard.Store, again func() guard.Store) {
	want := some()
	fill(t, s, want)
	want.Rooms[0].Armed, want.Rooms[0].Shut = false, time.Time{}
	want.Bans[0].Person, want.Bans[0].Mask, want.Bans[0].Rooms, want.Bans[0].Until = "", "*!*@bad.example", nil, time.Time{}
	want.Timers[0].Due = at.Add(2 * time.Hour)
	want.Tickets[0].Step = 3
	want.Links[0].Used = at.Add(time.Hour)
	fill(t, s, want)
	if got := load(t, again()); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
}

func drops(t *testing.T, s guard.Store, again func() guard.Store) {
	fill(t, s, some())
	must(t, s.Drop(context.Background()))
	must(t, s.Drop(context.Background(), "ban-1", "nothing of this name", "timer-1", "link-1", "ticket-1"))
	if k := load(t, again()); len(k.Rooms) != 1 || len(k.Bans)+len(k.Timers)+len(k.Tickets)+len(k.Links) != 0 {
		t.Errorf("left after Drop: %+v", k)
	}
}

// admits: subjects are added, not replaced, and PutRoom leaves them alone.
func admits(t *testing.T, s guard.Store, again func() guard.Store) {
	ctx := context.Background()
	must(t, s.Admit(ctx, "finance", nil))
	must(t, s.Admit(ctx, "finance", map[string]time.Time{"person alice": at, "person bob": at}))
	must(t, s.PutRoom(ctx, guard.RoomState{Room: "finance", Armed: true}))
	must(t, s.Admit(ctx, "finance", map[string]time.Time{"person bob": at.Add(time.Hour), "person carol": at}))
	want := []guard.RoomState{{Room: "finance", Armed: true, Admitted: map[string]time.Time{"person alice": at, "person bob": at.Add(time.Hour), "person carol": at}}}
	s = again()
	if got := load(t, s).Rooms; !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
	many := map[string]time.Time{}
	for i := range guard.MaxAdmitted {
		many[fmt.Sprint("account corp/", i)] = at.Add(2*time.Hour + time.Duration(i)*time.Second)
	}
	must(t, s.Admit(ctx, "finance", many))
	if got := load(t, s).Rooms[0].Admitted; len(got) > guard.MaxAdmitted || !got["person alice"].IsZero() || got["account corp/9999"].IsZero() {
		t.Errorf("%d are kept as admitted, and those longest away are not gone", len(got))
	}
}

// act is the n-th of a series.
func act(n int) *guard.Act {
	f := policy.NewIRCFacts("corp", "eve", "e", "bad.example")
	f.Account, f.TLS = policy.IsNot("extended-join", at), policy.IsNot("WHOX", at)
	f.Since, f.Floods = at, policy.FloodLines|policy.FloodClones
	f.Ban = &policy.BanRecord{ID: "ban-1", Mask: "*!*@bad.example", Set: at}
	room := "finance"
	if n%2 == 1 {
		room = "lobby"
	}
	return &guard.Act{
		At: at.Add(time.Duration(n) * time.Second), Room: room, Place: "corp/#" + room, Who: "eve!e@bad.example", Do: policy.Join,
		Effect: policy.Kick, Basis: policy.ByRule, Rule: "tls-only", Acts: "withhold+kick", Facts: f, Actor: "guard", Result: "sent", Undo: "guard forgive eve",
	}
}

func read(t *testing.T, s guard.Store, q guard.Query) (out []guard.Act) {
	t.Helper()
	for a, err := range s.Acts(context.Background(), q) {
		must(t, err)
		out = append(out, a)
	}
	return out
}

// chained is the hash of an act after the one with the hash before.
func chained(t *testing.T, before [32]byte, a *guard.Act) [32]byte {
	t.Helper()
	line, err := a.Line()
	must(t, err)
	return guard.Chain(before, a.Seq, line)
}

// audit: acts come back as they were, numbered, and chained by guard.Chain.
func audit(t *testing.T, s guard.Store, again func() guard.Store) {
	put := []*guard.Act{act(0), act(1), act(2)}
	must(t, s.Append(context.Background(), put[:2]))
	must(t, s.Append(context.Background(), put[2:]))
	must(t, s.Append(context.Background(), nil))
	got := read(t, again(), guard.Query{})
	if len(got) != 3 {
		t.Fatalf("%d acts, want 3", len(got))
	}
	prev := [32]byte{}
	for i := range got {
		want := act(i)
		want.Seq, want.Hash = int64(i)+1, got[i].Hash
		if !reflect.DeepEqual(&got[i], want) {
			t.Errorf("act %d\n%+v\nwant\n%+v", i, got[i], *want)
		}
		if got[i].Seq != put[i].Seq || got[i].Hash != put[i].Hash {
			t.Errorf("act %d: Append did not note number and hash", i)
		}
		if chained(t, prev, &got[i]) != got[i].Hash {
			t.Errorf("act %d is not chained", i)
		}
		prev = got[i].Hash
	}
}

// auditGoesOn: the next process goes on with the chain.
func auditGoesOn(t *testing.T, s guard.Store, again func() guard.Store) {
	must(t, s.Append(context.Background(), []*guard.Act{act(0)}))
	s = again()
	must(t, s.Append(context.Background(), []*guard.Act{act(1)}))
	got := read(t, again(), guard.Query{})
	if len(got) != 2 || got[1].Seq != 2 || chained(t, got[0].Hash, &got[1]) != got[1].Hash {
		t.Errorf("the chain does not go on: %+v", got)
	}
}

func queries(t *testing.T, s guard.Store, _ func() guard.Store) {
	var all []*guard.Act
	for i := range 10 {
		all = append(all, act(i))
	}
	all[4].Person, all[4].Facts.Account = "bob", policy.Is("bobby", "WHOX", at)
	all[5].Room = "" // all rooms
	must(t, s.Append(context.Background(), all))
	for _, tt := range []struct {
		q    guard.Query
		want []int64
	}{
		{guard.Query{}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{guard.Query{Last: 2}, []int64{9, 10}},
		{guard.Query{Room: "lobby"}, []int64{2, 4, 8, 10}},
		{guard.Query{Room: "corp/#lobby"}, []int64{2, 4, 6, 8, 10}},
		{guard.Query{Room: "finance"}, []int64{1, 3, 5, 7, 9}},
		{guard.Query{Room: "lobby", Last: 1}, []int64{10}},
		{guard.Query{Who: "bob"}, []int64{5}},
		{guard.Query{Who: "bobby"}, []int64{5}},
		{guard.Query{Who: "eve", Since: at.Add(8 * time.Second)}, []int64{9, 10}},
		{guard.Query{Who: "nobody"}, nil},
		{guard.Query{Last: 100, Since: at.Add(9 * time.Second)}, []int64{10}},
	} {
		var got []int64
		for _, a := range read(t, s, tt.q) {
			got = append(got, a.Seq)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: acts %v, want %v", tt.q, got, tt.want)
		}
	}
	for _, err := range s.Acts(context.Background(), guard.Query{}) {
		must(t, err)
		break // ends the query, and nothing else
	}
	must(t, s.Append(context.Background(), []*guard.Act{act(1)}))
}

// atOnce: all methods may be called together.
func atOnce(t *testing.T, s guard.Store, _ func() guard.Store) {
	ctx := context.Background()
	var wg sync.WaitGroup
	errs := make(chan error, 400)
	for range 4 {
		wg.Go(func() {
			for i := range 10 {
				errs <- errors.Join(
					s.Append(ctx, []*guard.Act{act(i)}),
					s.PutTimer(ctx, guard.Timer{ID: "timer-1", Kind: "guest", Due: at}),
					s.PutRoom(ctx, guard.RoomState{Room: "finance", Admitted: map[string]time.Time{"a": at}}),
					s.Drop(ctx, "timer-1"),
				)
				_, err := s.Load(ctx)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		must(t, err)
	}
	got := read(t, s, guard.Query{})
	if len(got) != 40 {
		t.Fatalf("%d acts, want 40", len(got))
	}
	for i := range got {
		if got[i].Seq != int64(i)+1 {
			t.Fatalf("act %d has number %d", i, got[i].Seq)
		}
	}
}
