package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

// testKept is one of everything a guard keeps.
func testKept(at time.Time) guard.Kept {
	return guard.Kept{
		Rooms:   []guard.RoomState{{Room: "finance", Armed: true, Shut: at.Add(time.Hour), Admitted: map[string]time.Time{"bob": at, "jid carol@else.example": at.Add(time.Second)}}, {Room: "lobby"}},
		Bans:    []policy.BanRecord{{ID: "b1", Person: "mallory", Rooms: []string{"finance"}, Author: "alice", Reason: "spam", Set: at, Until: at.Add(time.Hour)}, {ID: "b2", Mask: "*!*@evil.example"}},
		Timers:  []guard.Timer{{ID: "t1", Kind: "guest", Room: "lobby", Who: "eve", Due: at}},
		Tickets: []guard.Ticket{{ID: "k1", Kind: "invite", Person: "bob", Room: "finance", Network: "corp", Nick: "bobby", Hash: [32]byte{1, 2}, Until: at, Step: 1}},
		Links:   []guard.Link{{ID: "l1", Person: "bob", Network: "corp", Account: "bobby", Made: at, Used: at, By: "alice"}},
	}
}

func putAll(t *testing.T, s guard.Store, k guard.Kept) {
	t.Helper()
	var errs []error
	for _, r := range k.Rooms {
		errs = append(errs, s.PutRoom(t.Context(), r), s.Admit(t.Context(), r.Room, r.Admitted))
	}
	for _, b := range k.Bans {
		errs = append(errs, s.PutBan(t.Context(), b))
	}
	for _, x := range k.Timers {
		errs = append(errs, s.PutTimer(t.Context(), x))
	}
	for _, x := range k.Tickets {
		errs = append(errs, s.PutTicket(t.Context(), x))
	}
	for _, x := range k.Links {
		errs = append(errs, s.PutLink(t.Context(), x))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantKept(t *testing.T, s guard.Store, want guard.Kept) {
	t.Helper()
	got, err := s.Load(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("kept\n%+v, %v, want\n%+v", got, err, want)
	}
}

// TestGuardStore runs the suite that every store of a guard has to pass.
func TestGuardStore(t *testing.T) {
	then := func() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) } // the suite's acts are of that day
	guardtest.Store(t, func(t *testing.T) (guard.Store, func() guard.Store) {
		dir := t.TempDir()
		s := openTest(t, Config{Dir: dir}, Deps{Now: then})
		return s.Guard(), func() guard.Store {
			_ = s.Close()
			s = openTest(t, Config{Dir: dir}, Deps{Now: then})
			return s.Guard()
		}
	})
}

// TestGuardIsRestored: a backup brings back what a guard keeps.
func TestGuardIsRestored(t *testing.T) {
	dir, saved := t.TempDir(), filepath.Join(t.TempDir(), "saved.db")
	want := testKept(time.Unix(1_800_000_000, 7).UTC())
	s := openTest(t, Config{Dir: dir}, Deps{})
	putAll(t, s.Guard(), want)
	appendActs(t, s.Guard(), testAct("eve", 0))
	if err := s.Backup(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	appendActs(t, s.Guard(), testAct("mallory", 0))
	_ = s.Close()
	if r, err := Restore(t.Context(), Config{Dir: dir, Key: testKey}, saved, false); err != nil || r.Acts != 1 || r.Broken != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	s = openTest(t, Config{Dir: dir}, Deps{})
	wantKept(t, s.Guard(), want)
	appendActs(t, s.Guard(), testAct("carol", 0))
	if got := acts(s.Guard(), guard.Query{}); !slices.Equal(got, []string{"1 eve", "2 carol"}) {
		t.Errorf("the audit goes on with %v", got)
	}
}

// TestAdmittedHasABound: who is longest away goes first.
func TestAdmittedHasABound(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	at := time.Unix(1_800_000_000, 0)
	many := map[string]time.Time{}
	for i := range guard.MaxAdmitted + 3 {
		many[fmt.Sprint("s", i)] = at.Add(time.Duration(i) * time.Second)
	}
	if err := errors.Join(s.Guard().Admit(t.Context(), "lobby", many), s.Guard().Admit(t.Context(), "finance", map[string]time.Time{"bob": at})); err != nil {
		t.Fatal(err)
	}
	if err := s.sweepAdmitted(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := 0
	if err := s.read.QueryRow("SELECT count(*) FROM admitted").Scan(&left); err != nil || left != guard.MaxAdmitted+1 {
		t.Errorf("%d rows are left, %v", left, err)
	}
	k, err := s.Guard().Load(t.Context())
	if err != nil || len(k.Rooms) != 2 || len(k.Rooms[0].Admitted) != 1 || len(k.Rooms[1].Admitted) != guard.MaxAdmitted || !k.Rooms[1].Admitted["s2"].IsZero() || k.Rooms[1].Admitted["s3"].IsZero() {
		t.Errorf("not those who are longest away went; %v", err)
	}
}

// TestGuardIsSealed: nobody is named in the file, and what somebody writes into it
// who has not the key is refused.
func TestGuardIsSealed(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	putAll(t, s.Guard(), testKept(time.Unix(1_800_000_000, 0)))
	appendActs(t, s.Guard(), testAct("mallory", 0))
	_ = s.Close()
	for _, name := range []string{"mallory", "carol", "bobby", "evil.example"} {
		if data, err := os.ReadFile(filepath.Join(dir, dbFile)); err != nil || bytes.Contains(data, []byte(name)) {
			t.Errorf("the file names %s, %v", name, err)
		}
	}
	s = openTest(t, Config{Dir: dir}, Deps{})
	alter(t, s, "UPDATE guard SET value = (SELECT value FROM guard WHERE kind = 'link') WHERE kind = 'ban'")
	if _, err := s.Guard().Load(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a row that was moved: %v, want ErrCorrupt", err)
	}
}

// alter changes the database behind the store's back.
func alter(t *testing.T, s *Store, query string) {
	t.Helper()
	db, err := openWhole(s.folder.path(dbFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func testAct(who string, after time.Duration) *guard.Act {
	at := time.Unix(1_800_000_000, 0).Add(after)
	f := policy.NewIRCFacts("corp", who, who, "host.example")
	f.Account = policy.Is(who, "WHOX", at)
	return &guard.Act{At: at, Room: "finance", Place: "corp/#finance", Who: who + "!" + who + "@host.example", Do: policy.Join, Effect: policy.Kick, Basis: policy.ByRule, Rule: "no-plain", Acts: "kick", Facts: f, Actor: "guard", Result: "sent"}
}

func appendActs(t *testing.T, s guard.Store, acts ...*guard.Act) {
	t.Helper()
	if err := s.Append(t.Context(), acts); err != nil {
		t.Fatal(err)
	}
}

// acts are "number who", or what is wrong with the chain.
func acts(s guard.Store, q guard.Query) (out []string) {
	for a, err := range s.Acts(context.Background(), q) {
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, fmt.Sprint(a.Seq, " ", a.Facts.Nick))
	}
	return out
}

// TestAuditEnds: who reads the audit may stop.
func TestAuditEnds(t *testing.T) {
	s := openTest(t, Config{}, Deps{}).Guard()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, err := range s.Acts(ctx, guard.Query{}) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d acts of an audit that was not read", n)
	}
}

// TestAuditIsChained: whatever is done to the acts, reading them and a check say so,
// and the others are still to be read.
func TestAuditIsChained(t *testing.T) {
	const broken = "guard: the audit's chain of hashes is broken"
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"an act is taken out", "DELETE FROM act WHERE seq = 2", []string{"1 a", broken + " before act 3", "3 c", "4 d"}},
		{"an act is another's", "UPDATE act SET line = (SELECT line FROM act WHERE seq = 1) WHERE seq = 2", []string{"1 a", broken + " before act 2", "3 c", "4 d"}},
		{"a hash is another", "UPDATE act SET hash = x'0000000000000000000000000000000000000000000000000000000000000000' WHERE seq = 4", []string{"1 a", "2 b", "3 c", broken + " before act 4", "4 d", broken + ": act 4 is the last, and 4 were made"}},
		{"the newest is cut off", "DELETE FROM act WHERE seq = 4", []string{"1 a", "2 b", "3 c", broken + ": act 3 is the last, and 4 were made"}},
		{"the oldest is cut off", "DELETE FROM act WHERE seq = 1", []string{broken + " before act 2", "2 b", "3 c", "4 d"}},
		{"all are cut off", "DELETE FROM act", []string{broken + ": act 0 is the last, and 4 were made"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, Config{Dir: dir}, Deps{})
			appendActs(t, s.Guard(), testAct("a", 0), testAct("b", 0), testAct("c", 0), testAct("d", 0))
			alter(t, s, tt.query)
			got := acts(s.Guard(), guard.Query{})
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
			_ = s.Close()
			r, err := Check(t.Context(), Config{Dir: dir, Key: testKey})
			if err != nil || !strings.HasPrefix(r.Broken, broken) {
				t.Errorf("check: %+v, %v", r, err)
			}
		})
	}
}

// TestAuditForgets: acts go after their time, and what stays can still be checked.
func TestAuditForgets(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	var all []*guard.Act
	for i := range 2*sweepChunk + 10 {
		all = append(all, testAct("eve", time.Duration(i)*time.Second))
	}
	appendActs(t, s.Guard(), all...)
	if err := s.sweepActs(t.Context(), all[2*sweepChunk+4].At); err != nil {
		t.Fatal(err)
	}
	want := []string{"1005 eve", "1006 eve", "1007 eve", "1008 eve", "1009 eve", "1010 eve"}
	if got := acts(s.Guard(), guard.Query{}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	alter(t, s, "DELETE FROM act WHERE seq = 1005")
	if got := acts(s.Guard(), guard.Query{}); len(got) != 6 || !strings.Contains(got[0], "broken") {
		t.Errorf("what was not forgotten but cut off: %v", got)
	}
	if err := s.sweepActs(t.Context(), all[len(all)-1].At.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	appendActs(t, s.Guard(), testAct("carol", 0))
	if got := acts(s.Guard(), guard.Query{}); !slices.Equal(got, []string{"1011 carol"}) {
		t.Errorf("after all were forgotten: %v", got)
	}
	_ = s.Close()
	if r, err := Check(t.Context(), Config{Dir: dir, Key: testKey}); err != nil || r.Acts != 1 || r.Broken != "" {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// TestChannelKeysAreSealed: the key of a channel comes back, and stands in no file.
func TestChannelKeysAreSealed(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	want := guard.RoomState{Room: "finance", Armed: true, Key: "open-sesame-now", NextKey: "open-sesame-next", KeySince: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	if err := s.Guard().PutRoom(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Guard().Load(t.Context()); err != nil || len(k.Rooms) != 1 || !reflect.DeepEqual(k.Rooms[0], want) {
		t.Errorf("kept %+v, %v", k.Rooms, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte("sesame")) {
			t.Errorf("%s holds the key", file)
		}
	}
}
