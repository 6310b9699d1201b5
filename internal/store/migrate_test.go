package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/migrate"
	"drawbridge/xmpp/e2ee"
)

// copyTree copies a store of testdata to where it can be opened.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

// oldTime is when the guard of the stores of testdata acted: never to be swept.
var oldTime = time.Date(2126, 11, 22, 9, 0, 0, 0, time.UTC)

// TestOldStores: a store of each schema there ever was opens, with its rows, keys
// and secrets. testdata/schema-N was made by the first version with schema N; see
// TestMakeOldStore.
func TestOldStores(t *testing.T) {
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	old, err := filepath.Glob("testdata/schema-*")
	if err != nil || len(old) != len(steps) {
		t.Fatalf("stores of %v for %d schemas, %v", old, len(steps), err)
	}
	for _, from := range old {
		t.Run(filepath.Base(from), func(t *testing.T) {
			s, err := Open(Config{Dir: copyTree(t, from)}, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if got, want := kept(t, s), []string{"wire-1 an old line false", "wire-2 another true"}; !slices.Equal(got, want) {
				t.Errorf("kept %v, want %v", got, want)
			}
			again := testEntry("old-id")
			if mustIngest(t, s, again); !again.Again {
				t.Error("an id was forgotten")
			}
			if l, err := s.Ledgers(t.Context()); err != nil || l["dev"] != (bridge.Ledger{Received: 1, Accepted: 1, Queued: 2}) {
				t.Errorf("ledger %+v, %v", l, err)
			}
			if c, err := s.Cursors(t.Context(), dev.Leg); err != nil || c["muc"] != "old-id" {
				t.Errorf("cursors %v, %v", c, err)
			}
			memory, err := s.Replay(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := memory.Mark([]byte("session key"), "a@x", "other", time.Now()); v != e2ee.Replayed {
				t.Errorf("a replay of an old message: %v", v)
			}
			if from == "testdata/schema-1" || from == "testdata/schema-2" {
				if k, err := s.Guard().Load(t.Context()); err != nil || !reflect.DeepEqual(k, guard.Kept{}) {
					t.Errorf("kept before there were guards: %+v, %v", k, err)
				}
			} else {
				wantKept(t, s.Guard(), testKept(oldTime))
				if got := acts(s.Guard(), guard.Query{}); !slices.Equal(got, []string{"1 eve"}) {
					t.Errorf("audit %v", got)
				}
			}
			if from <= "testdata/schema-3" {
				if k, err := s.Migrate().Load(t.Context()); err != nil || !reflect.DeepEqual(k, migrate.Kept{}) {
					t.Errorf("of migrations before there were any: %+v, %v", k, err)
				}
			} else {
				wantMoves(t, s.Migrate(), testMoves(oldTime))
			}
			if v, err := s.Secret(t.Context(), "test", "owner"); string(v) != "old secret" || err != nil {
				t.Errorf("secret %q, %v", v, err)
			}
		})
	}
}

// TestMakeOldStore makes testdata/schema-N of the present schema, once, before
// the first release that has it: DRAWBRIDGE_MAKE_OLD_STORE=1 go test -run OldStore.
func TestMakeOldStore(t *testing.T) {
	if os.Getenv("DRAWBRIDGE_MAKE_OLD_STORE") == "" {
		t.Skip("DRAWBRIDGE_MAKE_OLD_STORE is not set")
	}
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata", "schema-"+string(rune('0'+len(steps))))
	s, err := Open(Config{Dir: dir}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := testRow("wire-1", "an old line"), testRow("wire-2", "another")
	two.Tried = two.Queued
	e := testEntry("old-id", one, two)
	e.At = e.At.AddDate(200, 0, 0) // never to be swept
	e.Counts, e.Cursor = []bridge.Count{{Bridge: "dev", Copies: 2}}, bridge.Cursor{Name: "muc", Value: "old-id"}
	memory, err := s.Replay(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, e.Seen = memory.Mark([]byte("session key"), "a@x", "old-id", e.At)
	mustIngest(t, s, e)
	putAll(t, s.Guard(), testKept(oldTime))
	eve := testAct("eve", 0)
	eve.At = oldTime
	appendActs(t, s.Guard(), eve)
	putMoves(t, s.Migrate(), testMoves(oldTime))
	if err := s.SetSecret(t.Context(), "test", "owner", []byte("old secret")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.Remove(filepath.Join(dir, lockFile))); err != nil {
		t.Fatal(err)
	}
}

const nextSchema = `
-- A change; with a comment.
CREATE TABLE more (a TEXT NOT NULL); -- only: sqlite
CREATE TABLE nonsense (a NOSUCHTYPE(; -- only: postgres
INSERT INTO more (a) SELECT wire_id FROM outbox;
`

func TestMigrate(t *testing.T) {
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	mustIngest(t, s, testEntry("1", testRow("a", "text")))
	_ = s.Close()
	backups := func() int {
		files, err := filepath.Glob(filepath.Join(dir, backupsDir, "*.db"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}

	broken := append(slices.Clone(steps), "CREATE TABLE more (a TEXT); INSERT INTO nothing VALUES (1);")
	if _, err := Open(Config{Dir: dir, Key: testKey, steps: broken}, Deps{}); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("a change that fails: %v", err)
	}
	s = openTest(t, Config{Dir: dir}, Deps{}) // nothing of it was kept
	if got := kept(t, s); !slices.Equal(got, []string{"a text false"}) {
		t.Errorf("after a change that failed: %v", got)
	}
	_ = s.Close()
	if n := backups(); n != 1 {
		t.Errorf("%d backups", n)
	}

	if _, err := Open(Config{Dir: dir, Key: Key{Passphrase: "wrong"}, steps: append(slices.Clone(steps), nextSchema)}, Deps{}); !errors.Is(err, ErrKey) {
		t.Errorf("with a wrong key: %v", err)
	}
	s = openTest(t, Config{Dir: dir, steps: append(slices.Clone(steps), nextSchema)}, Deps{})
	var moved string
	if err := s.read.QueryRow("SELECT a FROM more").Scan(&moved); err != nil || moved != "a" {
		t.Errorf("%q, %v", moved, err)
	}
	if got := kept(t, s); !slices.Equal(got, []string{"a text false"}) {
		t.Errorf("kept %v", got)
	}
	_ = s.Close()
	files, _ := filepath.Glob(filepath.Join(dir, backupsDir, "*.db"))
	if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrNewer) {
		t.Errorf("the version before: %v, want ErrNewer", err)
	}
	if _, err := Check(t.Context(), Config{Dir: dir, Key: testKey}); !errors.Is(err, ErrNewer) {
		t.Errorf("check by the version before: %v, want ErrNewer", err)
	}
	// The way back.
	if _, err := Restore(t.Context(), Config{Dir: dir, Key: testKey}, files[len(files)-1], true); err != nil {
		t.Fatal(err)
	}
	openTest(t, Config{Dir: dir}, Deps{})
}

// TestBackupsOfMigrationsArePruned: the last three stay.
func TestBackupsOfMigrationsArePruned(t *testing.T) {
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_ = openTest(t, Config{Dir: dir}, Deps{}).Close()
	for range 5 {
		steps = append(steps, "DELETE FROM cursor")
	}
	_ = openTest(t, Config{Dir: dir, steps: steps}, Deps{}).Close()
	files, err := filepath.Glob(filepath.Join(dir, backupsDir, "*.db"))
	if err != nil || len(files) != backupsKept {
		t.Errorf("%v, %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 15)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "SQLite format 3" {
		t.Errorf("%q, %v", head, err)
	}
	_ = f.Close()
}
