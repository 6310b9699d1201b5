package store

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
)

func keyFiles(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, keyFolder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out = append(out, f.Name())
	}
	return out
}

func end(t *testing.T, s *Store, rows ...*bridge.Row) {
	t.Helper()
	var done []bridge.Done
	for _, r := range rows {
		done = append(done, bridge.Done{Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, To: r.To, Fate: bridge.FateRelayed})
	}
	if err := s.Confirm(t.Context(), done); err != nil {
		t.Fatal(err)
	}
}

// TestDayKeys: a key lives as long as a row needs it, and rows of another day
// have another.
func TestDayKeys(t *testing.T) {
	dir := t.TempDir()
	clock := newTestClock()
	s := openTest(t, Config{Dir: dir}, Deps{Now: clock.now})
	want := func(when string, names ...string) {
		t.Helper()
		if err := s.shredKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := keyFiles(t, dir); !slices.Equal(got, names) {
			t.Errorf("%s: %v, want %v", when, got, names)
		}
	}
	want("nothing was ever said")
	a, b, c := testRow("a", "one"), testRow("b", "two"), testRow("c", "three")
	mustIngest(t, s, testEntry("1", a))
	clock.add(23 * time.Hour)
	mustIngest(t, s, testEntry("2", b))
	want("rows of one day", "1800000000.key")
	clock.add(2 * time.Hour)
	mustIngest(t, s, testEntry("3", c))
	want("rows of two days", "1800000000.key", "1800090000.key")
	end(t, s, a)
	want("one row of the first day is left", "1800000000.key", "1800090000.key")
	end(t, s, b)
	want("none of the first day is left", "1800090000.key")
	if got := kept(t, s); !slices.Equal(got, []string{"c three false"}) {
		t.Errorf("kept %v", got)
	}
	end(t, s, c)
	want("the outbox is empty: the current one goes too")
	d := testRow("d", "four")
	mustIngest(t, s, testEntry("4", d)) // within the same second, the name is free again
	want("the next row makes a new one", "1800090000.key")
	if fi, err := os.Stat(filepath.Join(dir, keyFolder, "1800090000.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(filepath.Join(dir, keyFolder)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder: mode %v, %v", fi.Mode(), err)
	}
	clock.add(-48 * time.Hour)
	mustIngest(t, s, testEntry("5", testRow("e", "five")))
	want("the clock was set back", "1799917200.key", "1800090000.key")
	if got := kept(t, s); !slices.Equal(got, []string{"d four false", "e five false"}) {
		t.Errorf("kept %v", got)
	}
}

// TestShredded: once a row went and its key is destroyed, a copy of the database
// made before opens with the master key, but the row in it does not.
func TestShredded(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	a := testRow("a", "text")
	mustIngest(t, s, testEntry("1", a))
	old := filepath.Join(t.TempDir(), "old.db")
	if err := s.Backup(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	end(t, s, a)
	if err := s.shredKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := os.Remove(filepath.Join(dir, dbFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, filepath.Join(dir, dbFile)); err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), Config{Dir: dir, Key: testKey})
	if err != nil || r.Unreadable != 1 {
		t.Errorf("report %+v, %v, want one unreadable row", r, err)
	}
}

// TestKeyInUseStays: a key is not destroyed while a row sealed under it is not
// committed yet.
func TestKeyInUseStays(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	k, err := s.days.acquire(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.shredKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(keyFiles(t, dir)); n != 1 {
		t.Errorf("%d keys while one is in use", n)
	}
	s.days.release(k)
	if err := s.shredKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(keyFiles(t, dir)); n != 0 {
		t.Errorf("%d keys while none is in use", n)
	}
}

// TestShredOverwrites: the bytes go before the name does.
func TestShredOverwrites(t *testing.T) {
	dir := t.TempDir()
	path, twin := filepath.Join(dir, "key"), filepath.Join(dir, "twin")
	if err := os.WriteFile(path, []byte(strings.Repeat("k", 72)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, twin); err != nil {
		t.Skip("no hard links here:", err)
	}
	if err := shred(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
	left, err := os.ReadFile(twin)
	if err != nil || len(left) != 72 || strings.Contains(string(left), "kkkk") {
		t.Errorf("what was in it: %q, %v", left, err)
	}
}

// TestSweep: ids are forgotten after their time, and not before.
func TestSweep(t *testing.T) {
	clock := newTestClock()
	now := clock.now()
	s := openTest(t, Config{RetainIDs: time.Hour}, Deps{Now: clock.now})
	take := func(id string) *bridge.Entry {
		e := testEntry(id, testRow("wire-"+id, "x"))
		e.At = now
		mustIngest(t, s, e)
		if !e.Again {
			end(t, s, e.Rows[0])
		}
		return e
	}
	for i := range 1200 { // more than one page of the map
		take(string(rune('a'+i%26)) + strings.Repeat("x", i))
	}
	now = clock.add(30 * time.Minute)
	take("young")
	now = clock.add(31 * time.Minute)
	if err := s.sweep(t.Context(), now.Add(-s.retain)); err != nil {
		t.Fatal(err)
	}
	var ids, mapped int
	if err := s.read.QueryRow("SELECT (SELECT count(*) FROM ingress), (SELECT count(*) FROM msgmap)").Scan(&ids, &mapped); err != nil {
		t.Fatal(err)
	}
	if ids != 1 || mapped != 1 {
		t.Errorf("%d ids and %d mapped are kept, want the young one", ids, mapped)
	}
	if !take("young").Again {
		t.Error("the young one was forgotten")
	}
	if take("a").Again {
		t.Error("an old one is still known")
	}
}

// TestDeletedRowsAreOverwritten: what was delivered is not left in free pages of the
// database, also while its day key is needed for others.
func TestDeletedRowsAreOverwritten(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	gone, stays := testRow("gone", strings.Repeat("text", 500)), testRow("stays", "text")
	mustIngest(t, s, testEntry("1", gone), testEntry("2", stays))
	var body []byte
	if err := s.read.QueryRowContext(t.Context(), "SELECT body FROM outbox WHERE seq = ?", int64(gone.Seq)).Scan(&body); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // so that it is in the database, and not in the WAL alone
		t.Fatal(err)
	}
	s = openTest(t, Config{Dir: dir}, Deps{})
	end(t, s, gone)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+32 <= len(body); at += 32 {
		if bytes.Contains(data, body[at:at+32]) {
			t.Fatalf("byte %d of its body and what follows are still there", at)
		}
	}
}
