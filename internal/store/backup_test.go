package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drawbridge/bridge"
)

// TestBackupAndRestore: a copy made while the store runs brings everything back
// but what waited, which is counted.
func TestBackupAndRestore(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	cfg := Config{Dir: dir, Key: testKey}
	s := openTest(t, cfg, Deps{})
	gone, waits, tried, dead := testRow("gone", "x"), testRow("waits", "x"), testRow("tried", "x"), testRow("dead", "x")
	waits.To = bob
	one := testEntry("1", gone, waits, tried, dead)
	one.Counts = []bridge.Count{{Bridge: "dev", Copies: 4}}
	mustIngest(t, s, one)
	if err := s.Tried(t.Context(), tries(tried.Seq)); err != nil {
		t.Fatal(err)
	}
	end(t, s, gone)
	if err := s.Confirm(t.Context(), []bridge.Done{{Seq: dead.Seq, Bridge: "dev", Fate: bridge.FateDead}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSecret(t.Context(), "otr", "bot", []byte("a key")); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(copied); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := s.Backup(t.Context(), copied); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an older backup: %v", err)
	}
	after := testEntry("after", testRow("after", "x"))
	after.Counts = []bridge.Count{{Bridge: "dev", Copies: 1}}
	mustIngest(t, s, after)
	if _, err := Restore(t.Context(), cfg, copied, true); !errors.Is(err, ErrBusy) {
		t.Errorf("while it runs: %v, want ErrBusy", err)
	}
	if _, err := Check(t.Context(), cfg); !errors.Is(err, ErrBusy) {
		t.Errorf("check while it runs: %v, want ErrBusy", err)
	}
	_ = s.Close()

	r, err := Check(t.Context(), cfg)
	if err != nil || r.IDs != 2 || r.Secrets != 3 || r.Unreadable != 0 || len(r.Rooms) != 2 ||
		r.Rooms[0].Queued != 1 || r.Rooms[0].Tried != 1 || r.Rooms[0].Dead != 1 || r.Rooms[1].Queued != 1 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if _, err := Restore(t.Context(), cfg, copied, false); !errors.Is(err, ErrRowsWait) {
		t.Errorf("over rows that wait: %v, want ErrRowsWait", err)
	}
	r, err = Restore(t.Context(), cfg, copied, true)
	if err != nil || r.Lost() != 3 || r.Aside == "" || len(r.Unbalanced) > 0 {
		t.Fatalf("restore: %+v, %v", r, err)
	}
	if _, err := os.Stat(r.Aside); err != nil {
		t.Error(err)
	}
	s = openTest(t, cfg, Deps{})
	if got := kept(t, s); len(got) > 0 {
		t.Errorf("rows of a backup came back: %v", got)
	}
	ledger := bridge.Ledger{Received: 1, Accepted: 1, Queued: 4, Relayed: 1, Dead: 3}
	if l, err := s.Ledgers(t.Context()); err != nil || l["dev"] != ledger {
		t.Errorf("ledger %+v, %v, want %+v", l["dev"], err, ledger)
	}
	known, unknown := testEntry("1", testRow("b", "x")), testEntry("after", testRow("c", "x"))
	mustIngest(t, s, known, unknown)
	if !known.Again || unknown.Again {
		t.Errorf("known %v, said after the backup %v", known.Again, unknown.Again)
	}
	if v, err := s.Secret(t.Context(), "otr", "bot"); string(v) != "a key" || err != nil {
		t.Errorf("secret %q, %v", v, err)
	}
	w, err := s.Waiting(t.Context())
	if err != nil || len(w) != 2 || w[0].Lost != 2 || w[0].Queued != 1 || w[1].Lost != 1 {
		t.Errorf("queue %+v, %v", w, err)
	}
}

// TestRestoreRefuses: what is no sound backup of ours, with this key, changes
// nothing.
func TestRestoreRefuses(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	cfg := Config{Dir: dir, Key: testKey}
	s := openTest(t, cfg, Deps{})
	mustIngest(t, s, testEntry("1"))
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("junk", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := Config{Dir: dir, Key: Key{Passphrase: "another"}}
	for _, tt := range []struct {
		name, path string
		cfg        Config
		want       error
	}{
		{"missing", copied + "x", cfg, fs.ErrNotExist},
		{"junk", junk, cfg, ErrCorrupt},
		{"another key", copied, other, ErrKey},
		{"a folder", dir, cfg, nil},
	} {
		if _, err := Restore(t.Context(), tt.cfg, tt.path, false); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.db*"))
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(files) != 1 || len(hidden) > 0 {
		t.Errorf("left behind: %v %v, %v", files, hidden, err)
	}
	s = openTest(t, cfg, Deps{})
	again := testEntry("1")
	if mustIngest(t, s, again); !again.Again {
		t.Error("the present store was touched")
	}
}

// TestRestoreOverWhatCannotBeRead: that somebody holds the database is no sign that
// nothing waits in it.
func TestRestoreOverWhatCannotBeRead(t *testing.T) {
	t.Parallel() // SQLite is patient
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	cfg := Config{Dir: dir, Key: testKey}
	s := openTest(t, cfg, Deps{})
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	mustIngest(t, s, testEntry("1", testRow("r1", "text")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	admin, err := openConn(filepath.Join(dir, dbFile), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"} {
		if err := admin.exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Restore(t.Context(), cfg, copied, false); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is held: %v, want ErrBusy", err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), cfg, copied, false); !errors.Is(err, ErrRowsWait) {
		t.Errorf("afterwards: %v, want ErrRowsWait", err)
	}
}

// TestRestoreIntoNothing: on a new machine, with the old master key.
func TestRestoreIntoNothing(t *testing.T) {
	copied, dir := filepath.Join(t.TempDir(), "backup.db"), filepath.Join(t.TempDir(), "new")
	s := openTest(t, Config{}, Deps{})
	mustIngest(t, s, testEntry("1"))
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), Config{Dir: dir}, copied, false); !errors.Is(err, ErrKey) {
		t.Errorf("without its key: %v, want ErrKey", err)
	}
	r, err := Restore(t.Context(), Config{Dir: dir, Key: testKey}, copied, false)
	if err != nil || r.Aside != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	s = openTest(t, Config{Dir: dir}, Deps{})
	again := testEntry("1")
	if mustIngest(t, s, again); !again.Again {
		t.Error("nothing came back")
	}
}

// TestBackupUnderLoad: a backup made while rows come and go is sound.
func TestBackupUnderLoad(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			r := testRow(strings.Repeat("r", i%50+1), "text")
			if err := s.Ingest(t.Context(), []*bridge.Entry{testEntry("", r)}, nil); err != nil {
				t.Error(err)
				return
			}
			end(t, s, r)
		}
	}()
	for range 3 {
		dir := t.TempDir()
		copied := filepath.Join(dir, "backup.db")
		if err := s.Backup(t.Context(), copied); err != nil {
			t.Error(err)
		}
		if _, err := Restore(t.Context(), Config{Dir: filepath.Join(dir, "new"), Key: testKey}, copied, false); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

// TestParked: a row refused for good stays for an admin, and goes by retry or drop.
func TestParked(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	a, b, c := testRow("a", "one"), testRow("b", "two"), testRow("c", "three")
	e := testEntry("1", a, b, c)
	e.Counts = []bridge.Count{{Bridge: "dev", Copies: 3}}
	mustIngest(t, s, e)
	if err := s.Confirm(t.Context(), []bridge.Done{{Seq: a.Seq, Bridge: "dev", Fate: bridge.FateDead}, {Seq: b.Seq, Bridge: "dev", Fate: bridge.FateDead}}); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, s); !slices.Equal(got, []string{"c three false"}) {
		t.Errorf("kept %v", got)
	}
	end(t, s, a) // it is no longer the core's
	_ = s.Close()
	s = openTest(t, Config{Dir: dir}, Deps{})
	p, err := s.Parked(t.Context())
	if err != nil || len(p) != 2 || p[0].ID != "a" || p[0].To != alice || p[0].From != dev || p[0].Bridge != "dev" || p[0].Lost || p[1].ID != "b" {
		t.Fatalf("parked %+v, %v", p, err)
	}
	if r, err := s.Retry(t.Context(), c.Seq); r != nil || err != nil {
		t.Errorf("a row that waits was given out twice: %v, %v", r, err)
	}
	r, err := s.Retry(t.Context(), p[0].Seq)
	if err != nil || r == nil || r.ID != "a" || r.Text.Reveal() != "one" {
		t.Fatalf("retry: %+v, %v", r, err)
	}
	if n, err := s.Drop(t.Context(), []uint64{c.Seq, p[1].Seq}); n != 1 || err != nil {
		t.Errorf("dropped %d, %v: a row that waits is not to be dropped", n, err)
	}
	if got := kept(t, s); !slices.Equal(got, []string{"a one false", "c three false"}) {
		t.Errorf("kept %v", got)
	}
	if s.Stats().Rows != 2 {
		t.Errorf("%d rows counted", s.Stats().Rows)
	}
	_ = s.Close()
	if r, err := Check(t.Context(), Config{Dir: dir, Key: testKey}); err != nil || len(r.Unbalanced) > 0 {
		t.Errorf("report %+v, %v", r, err)
	}
}
