package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// testKey is key material, so that tests make no key file.
var testKey = Key{Material: []byte("0123456789abcdef0123456789abcdef")}

// testClock stands still until the test moves it; the store reads it from
// goroutines of its own.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func newTestClock() *testClock { return &testClock{at: time.Unix(1_800_000_000, 0)} }

func (c *testClock) now() time.Time { return c.add(0) }

// add moves the clock and says what it shows then.
func (c *testClock) add(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return c.at
}

func openTest(t testing.TB, cfg Config, d Deps) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Key.Material == nil && cfg.Key.Passphrase == "" {
		cfg.Key = testKey
	}
	s, err := Open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var (
	dev   = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}
	alice = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	bob   = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
)

func testRow(id, text string) *bridge.Row {
	return &bridge.Row{
		ID: id, Bridge: "dev", From: dev, To: alice, Kind: bridge.RowSay, Person: "carol", Name: "Carol C.",
		Text: bridge.NewText(text), Rung: policy.Signed, Floor: policy.Floor{In: policy.Sealed, Out: policy.Verified}, Said: time.Unix(10, 1), Queued: time.Unix(11, 2), Delayed: true,
	}
}

func testEntry(id string, rows ...*bridge.Row) *bridge.Entry {
	return &bridge.Entry{Room: dev, ID: id, At: time.Now(), Rows: rows}
}

func mustIngest(t testing.TB, s *Store, batch ...*bridge.Entry) {
	t.Helper()
	if err := s.Ingest(t.Context(), batch, nil); err != nil {
		t.Fatal(err)
	}
}

// tries notes rows as about to be sent.
func tries(seqs ...uint64) (out []bridge.Try) {
	for _, seq := range seqs {
		out = append(out, bridge.Try{Seq: seq, At: time.Unix(12, 0), Bridge: "dev"})
	}
	return out
}

// kept are the rows of s, as "id text state".
func kept(t testing.TB, s *Store) (out []string) {
	t.Helper()
	if err := s.Load(context.Background(), func(r *bridge.Row) error {
		out = append(out, fmt.Sprintf("%s %s %v", r.ID, r.Text.Reveal(), !r.Tried.IsZero()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJournal(t *testing.T) {
	then := func() time.Time { return time.Unix(3, 0) } // the suite's entries are of 1970, and not to be swept
	bridgetest.Journal(t, func(t *testing.T) bridge.Journal { return openTest(t, Config{}, Deps{Now: then}) })
}

// TestReopen: what was committed is there in the next process, to the last field.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	a, b, c := testRow("wire-a", "first\nsecond line"), testRow("wire-b", ""), testRow("wire-c", "gone")
	b.To, b.Said, b.Delayed, b.Kind = bob, time.Time{}, false, bridge.RowAction
	mustIngest(t, s, testEntry("1", a, b), testEntry("2", c))
	if err := s.Tried(t.Context(), tries(b.Seq)); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context(), []bridge.Done{{Seq: c.Seq, ID: c.ID, To: c.To, Fate: bridge.FateRelayed, NetID: "net-c"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, Config{Dir: dir}, Deps{})
	var got []bridge.Row
	if err := s.Load(t.Context(), func(r *bridge.Row) error { got = append(got, *r); return nil }); err != nil {
		t.Fatal(err)
	}
	b.Tried = time.Unix(12, 0)
	if want := []bridge.Row{*a, *b}; !slices.EqualFunc(got, want, func(x, y bridge.Row) bool {
		sameTimes := x.Said.Equal(y.Said) && x.Queued.Equal(y.Queued)
		x.Said, x.Queued, y.Said, y.Queued = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		return sameTimes && x == y
	}) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	again := testEntry("2", testRow("wire-d", "x"))
	if mustIngest(t, s, again); !again.Again {
		t.Error("a key did not outlive the process")
	}
	later := testEntry("3", testRow("wire-e", "x"))
	if mustIngest(t, s, later); later.Rows[0].Seq <= b.Seq {
		t.Errorf("seq %d after %d", later.Rows[0].Seq, b.Seq)
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	openTest(t, Config{Dir: dir}, Deps{})
	if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v, want ErrBusy with the path", err)
	}
}

func TestClosed(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Tried(t.Context(), tries(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Tried after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if left, _ := filepath.Glob(s.folder.path("*-wal")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestMaster: the master key is made once, kept 0600, and needed.
func TestMaster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	reopen := func(k Key) error {
		s, err := Open(Config{Dir: dir, Key: k}, Deps{})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	if err := reopen(Key{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, masterFile)
	for _, name := range []string{path, filepath.Join(dir, dbFile)} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	if err := reopen(Key{}); err != nil {
		t.Errorf("second start: %v", err)
	}
	if err := reopen(testKey); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v, want ErrKey", err)
	}
	if err := reopen(Key{Passphrase: "wrong"}); !errors.Is(err, ErrKey) {
		t.Errorf("a passphrase instead: %v, want ErrKey", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := reopen(Key{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open to others: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := reopen(Key{}); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), path) {
		t.Errorf("without the file: %v, want ErrKey with its path", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new master key was made for an old store")
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir, Key: Key{Passphrase: "correct horse"}}, Deps{})
	mustIngest(t, s, testEntry("1", testRow("a", "text")))
	_ = s.Close()
	if _, err := Open(Config{Dir: dir, Key: Key{Passphrase: "correct house"}}, Deps{}); !errors.Is(err, ErrKey) {
		t.Errorf("wrong passphrase: %v", err)
	}
	s = openTest(t, Config{Dir: dir, Key: Key{Passphrase: "correct horse"}}, Deps{})
	if got := kept(t, s); !slices.Equal(got, []string{"a text false"}) {
		t.Errorf("kept %v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, masterFile)); err == nil {
		t.Error("a master key file beside a passphrase")
	}
}

func TestShortKey(t *testing.T) {
	if _, err := Open(Config{Dir: t.TempDir(), Key: Key{Material: []byte("short")}}, Deps{}); err == nil {
		t.Error("a key of five bytes is taken")
	}
}

// TestDamage: a damaged file is told as such, at the start or by each operation,
// and is not written to.
func TestDamage(t *testing.T) {
	t.Run("no database", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, dbFile)
		if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	})
	t.Run("another program's database", func(t *testing.T) {
		dir := t.TempDir()
		db, err := openWhole(filepath.Join(dir, dbFile))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("CREATE TABLE music (title TEXT)"); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	})
	t.Run("pages overwritten after an unclean stop", func(t *testing.T) {
		dir := t.TempDir()
		s := openTest(t, Config{Dir: dir}, Deps{})
		var rows []*bridge.Row
		for i := range 400 {
			rows = append(rows, testRow(fmt.Sprint(i), strings.Repeat("x", 200)))
		}
		mustIngest(t, s, testEntry("1", rows...))
		_ = s.Close()
		path := filepath.Join(dir, dbFile)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for page := int64(12); page < 24; page++ {
			if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Close()
		if err := os.WriteFile(path+"-wal", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	})
}

// TestReadOnly: a folder that cannot be written to is told as such.
func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere: see TestReadOnlyDisk")
	}
	dir := t.TempDir()
	_ = openTest(t, Config{Dir: dir}, Deps{}).Close()
	if err := os.Chmod(filepath.Join(dir, dbFile), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, Key: testKey}, Deps{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
}

// TestAnOperationFailsAlone: one that fails does not fail those committed with
// it, and nothing of it is kept.
func TestAnOperationFailsAlone(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	hold := make(chan struct{})
	held := make(chan error, 1)
	entered := make(chan struct{})
	go func() {
		held <- s.w.do(context.Background(), "hold", func(*writer) error { close(entered); <-hold; return nil })
	}()
	<-entered
	boom := errors.New("boom")
	good, bad := make(chan error, 2), make(chan error, 1)
	first, last := testEntry("1", testRow("a", "one")), testEntry("3", testRow("c", "three"))
	unkept := testRow("b", "two")
	unkept.To = bob // a room that nothing else names
	go func() { good <- s.Ingest(context.Background(), []*bridge.Entry{first}, nil) }()
	go func() {
		bad <- s.w.do(context.Background(), "bad", func(w *writer) error {
			if err := w.ingest(testEntry("2", unkept), 1, make([]byte, lookSize), [][]byte{{1}}); err != nil {
				return err
			}
			return boom
		})
	}()
	go func() { good <- s.Ingest(context.Background(), []*bridge.Entry{last}, nil) }()
	for len(s.w.ops) < 3 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	if err := errors.Join(<-held, <-good, <-good); err != nil {
		t.Error(err)
	}
	if err := <-bad; !errors.Is(err, boom) {
		t.Errorf("the failing one: %v", err)
	}
	got := kept(t, s)
	slices.Sort(got)
	if !slices.Equal(got, []string{"a one false", "c three false"}) {
		t.Errorf("kept %v", got)
	}
	if s.Stats().Rows != 2 {
		t.Errorf("%d rows counted", s.Stats().Rows)
	}
	toBob := testRow("d", "for bob")
	toBob.To = bob
	mustIngest(t, s, testEntry("4", toBob))
	if got := kept(t, s); !slices.Contains(got, "d for bob false") {
		t.Errorf("a room of a rolled back operation is broken: %v", got)
	}
}

// TestGivenUpBeforeCommit: an operation whose context ends while it waits is not
// carried out.
func TestGivenUpBeforeCommit(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	hold, entered := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- s.w.do(context.Background(), "hold", func(*writer) error { close(entered); <-hold; return nil })
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ingest(ctx, []*bridge.Entry{testEntry("1", testRow("a", "x"))}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(hold)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if got := kept(t, s); len(got) > 0 {
		t.Errorf("kept %v", got)
	}
}

// TestLost: rows whose day key is gone are counted as lost, and do not stop a start.
func TestLost(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	mustIngest(t, s, testEntry("1", testRow("a", "text")), testEntry("2", testRow("b", "text")))
	_ = s.Close()
	if err := os.RemoveAll(filepath.Join(dir, keyFolder)); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s = openTest(t, Config{Dir: dir}, Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
	mustIngest(t, s, testEntry("3", testRow("c", "new")))
	if got := kept(t, s); !slices.Equal(got, []string{"c new false"}) {
		t.Errorf("kept %v", got)
	}
	if s.Stats().Lost != 2 || !strings.Contains(log.String(), "leg=bot room=alice n=2") {
		t.Errorf("lost %d, log %s", s.Stats().Lost, log.String())
	}
	if got := kept(t, s); !slices.Equal(got, []string{"c new false"}) || s.Stats().Lost != 2 {
		t.Errorf("loaded again: %v, %d lost", got, s.Stats().Lost)
	}
}

// TestMoved: a body put into another row, or sent to another room, does not open.
func TestMoved(t *testing.T) {
	for name, change := range map[string]string{
		"another row":         "UPDATE outbox SET body = (SELECT body FROM outbox WHERE wire_id = 'b') WHERE wire_id = 'a'",
		"another destination": "UPDATE outbox SET dst = (SELECT dst FROM outbox WHERE wire_id = 'b') WHERE wire_id = 'a'",
		"another bridge":      "UPDATE outbox SET bridge = 'clear' WHERE wire_id = 'a'",
		"a later time":        "UPDATE outbox SET queued = queued + 1 WHERE wire_id = 'a'",
		"altered":             "UPDATE outbox SET body = substr(body, 1, length(body) - 1) || x'00' WHERE wire_id = 'a'",
		"cut short":           "UPDATE outbox SET body = x'00' WHERE wire_id = 'a'",
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Config{}, Deps{})
			a, b := testRow("a", "for alice"), testRow("b", "for bob")
			b.To = bob
			mustIngest(t, s, testEntry("1", a, b))
			if err := s.w.do(t.Context(), "change", func(w *writer) error { return w.conn.exec(change) }); err != nil {
				t.Fatal(err)
			}
			if got := kept(t, s); !slices.Equal(got, []string{"b for bob false"}) {
				t.Errorf("kept %v", got)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	if v, err := s.Secret(t.Context(), "otr", "bot"); v != nil || err != nil {
		t.Errorf("none kept: %q, %v", v, err)
	}
	for _, v := range []string{"one", "two"} {
		if err := s.SetSecret(t.Context(), "otr", "bot", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	s = openTest(t, Config{Dir: dir}, Deps{})
	if v, err := s.Secret(t.Context(), "otr", "bot"); string(v) != "two" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	move := "UPDATE secret SET owner = 'mallory' WHERE owner = 'bot'"
	if err := s.w.do(t.Context(), "move", func(w *writer) error { return w.conn.exec(move) }); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Secret(t.Context(), "otr", "mallory"); err == nil {
		t.Errorf("moved to another owner it opens: %q", v)
	}
}

func TestNetworkFileSystems(t *testing.T) {
	for _, tt := range []struct {
		magic   int64
		mounted string
		want    string
	}{
		{0xEF53, "ext4", ""},
		{0x01021994, "tmpfs", ""},
		{0x6969, "nfs4", "nfs"},
		{0xFE534D42, "cifs", "smb2"},
		{-0x1acb2be, "cifs", "smb2"}, // the same where statfs counts in 32 bits
		{fuseMagic, "fuse.sshfs", "fuse.sshfs"},
		{fuseMagic, "fuse.fuse-overlayfs", ""},
		{fuseMagic, "fuse", "fuse"},
	} {
		if got := remote(tt.magic, func() string { return tt.mounted }); got != tt.want {
			t.Errorf("%#x mounted as %s: %q, want %q", tt.magic, tt.mounted, got, tt.want)
		}
	}
	at, fstype := mountLine(`36 35 98:0 /mnt1 /mnt/a\040b rw,noatime master:1 - fuse.sshfs host:/ rw`)
	if at != "/mnt/a b" || fstype != "fuse.sshfs" {
		t.Errorf("mount line: %q, %q", at, fstype)
	}
	if fs := mountType(t.TempDir()); fs == "fuse" || fs == "" {
		t.Errorf("the folder of this test is on %q", fs)
	}
}
