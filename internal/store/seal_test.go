package store

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
)

// canaries stand for what must not be found on a disk: text, and who said it.
var canaries = []string{"canary-text-7f3a", "Canary Speaker", "canaryperson"}

func canaryRow(id string) *bridge.Row {
	r := testRow(id, "before "+canaries[0]+" after")
	r.Name, r.Person = canaries[1], canaries[2]
	return r
}

// found lists the files below dir that hold a canary.
func found(t *testing.T, dir string) (out []string) {
	t.Helper()
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, c := range canaries {
			if bytes.Contains(data, []byte(c)) {
				out = append(out, filepath.Base(path)+" holds "+c)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("nothing was searched")
	}
	return out
}

// TestCanaries: what was said, and by whom, is nowhere on the disk unsealed:
// not while rows wait, not in a backup, not after they went, not in the log.
func TestCanaries(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	s := openTest(t, Config{Dir: dir}, Deps{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	look := func(when string) {
		t.Helper()
		for _, f := range found(t, dir) {
			t.Errorf("%s: %s", when, f)
		}
	}
	a, b, c := canaryRow("a"), canaryRow("b"), canaryRow("c")
	mustIngest(t, s, testEntry("1", a, b, c))
	look("while rows wait")
	if err := s.Backup(t.Context(), filepath.Join(dir, "copy.db")); err != nil {
		t.Fatal(err)
	}
	look("in a backup")
	if err := s.Tried(t.Context(), tries(a.Seq)); err != nil {
		t.Fatal(err)
	}
	err := s.Confirm(t.Context(), []bridge.Done{{Seq: a.Seq, Fate: bridge.FateRelayed}, {Seq: b.Seq, Fate: bridge.FateBounced}, {Seq: c.Seq, Fate: bridge.FateDead}})
	if err != nil {
		t.Fatal(err)
	}
	look("after they went")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("after the end")
	for _, canary := range canaries {
		if strings.Contains(log.String(), canary) {
			t.Errorf("the log holds %s", canary)
		}
	}
}

// TestBodyIsBoundToItsStore: a row of another store with the same master key
// does not open.
func TestBodyIsBoundToItsStore(t *testing.T) {
	s, other := openTest(t, Config{}, Deps{}), openTest(t, Config{}, Deps{})
	k, err := s.days.acquire(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer s.days.release(k)
	row := testRow("a", "text")
	sealed := s.sealRow(k, row)
	if err := s.openRow(k, testRow("a", ""), sealed); err != nil {
		t.Errorf("in its own store: %v", err)
	}
	if other.openRow(k, testRow("a", ""), sealed) == nil {
		t.Error("it opens in another store")
	}
}

func FuzzReadBody(f *testing.F) {
	for _, seed := range []string{
		"", "\x01\x01\x00\x00\x00\x00\x00\x00text", "\x01\x02\x03\x03\x03\x03\x80\x01\x01p\x04nameline\nline",
		"\x02\x01\x00\x00\x00\x00\x00\x00", "\x01\x01\x00\x00\x00\x02", "\x01\x01\x04\x00\x00\x00\x00\x00",
		"\x01\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\x01\x00\x00\x00\x00\x00\x00\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bridge.Row{ID: "untouched"}
		if readBody(in, &r) != nil {
			if r != (bridge.Row{ID: "untouched"}) {
				t.Error("a refused body left its traces")
			}
			return
		}
		if r.Kind < bridge.RowSay || r.Kind > bridge.RowOwn {
			t.Errorf("kind %d", r.Kind)
		}
	})
}

// FuzzOpenRow: whatever stands in the database instead of a body, it does not
// open and nothing breaks.
func FuzzOpenRow(f *testing.F) {
	s := openTest(f, Config{Dir: f.TempDir()}, Deps{})
	k, err := s.days.acquire(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	sealed := s.sealRow(k, testRow("a", "text"))
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(sealed[:24])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		err := s.openRow(k, testRow("a", ""), in)
		if same := bytes.Equal(in, sealed); same != (err == nil) {
			t.Errorf("the body itself: %v, error %v", same, err)
		}
	})
}
