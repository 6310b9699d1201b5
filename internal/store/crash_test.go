package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
)

// The child: a process that works on a store until it is killed, and says what
// was promised to it.
const (
	childDir  = "DRAWBRIDGE_STORE_CHILD"
	childSync = "DRAWBRIDGE_STORE_SYNC"
	childRun  = "DRAWBRIDGE_STORE_RUN"
	producers = 4
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println("F", child(dir, os.Getenv(childSync), os.Getenv(childRun)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child takes messages in and confirms two of three, for ever, and notes each fourth
// in the audit of the guard. It prints "A id" when an id was taken in, "G id" when it
// stands in the audit, "S id" before it asks for a row's end and "C id" when the row
// has ended.
func child(dir, sync, run string) error {
	s, err := Open(Config{Dir: dir, Key: testKey, sync: sync}, Deps{})
	if err != nil {
		return err
	}
	failed := make(chan error, producers)
	for p := range producers {
		go func() { failed <- produce(s, fmt.Sprintf("%s-%d", run, p)) }()
	}
	return <-failed
}

func produce(s *Store, name string) error {
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%06d", name, i)
		e := &bridge.Entry{Room: dev, ID: id, At: time.Now(), Rows: []*bridge.Row{testRow(id, "text of "+id)}}
		e.Counts, e.Cursor = []bridge.Count{{Bridge: "dev", Copies: 1}}, bridge.Cursor{Name: name, Value: id}
		if err := s.Ingest(context.Background(), []*bridge.Entry{e}, nil); err != nil {
			return err
		}
		say("A", id)
		if i%4 == 0 {
			if err := s.Guard().Append(context.Background(), []*guard.Act{testAct(id, 0)}); err != nil {
				return err
			}
			say("G", id)
		}
		if i%3 == 0 {
			continue
		}
		say("S", id)
		d := bridge.Done{Seq: e.Rows[0].Seq, ID: id, Bridge: "dev", To: alice, Fate: bridge.FateRelayed}
		if err := s.Confirm(context.Background(), []bridge.Done{d}); err != nil {
			return err
		}
		say("C", id)
	}
}

// say writes one line in one write: a pipe takes it whole.
func say(what, id string) { _, _ = os.Stdout.WriteString(what + " " + id + "\n") }

// promises are what a child was told.
type promises struct {
	taken, asked, ended, noted map[string]bool
}

// startChild starts a child on dir.
func startChild(t *testing.T, dir, sync, run string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childSync+"="+sync, childRun+"="+run)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// hear notes what a child says, until n messages were taken in and then stop was
// called, and the pipe ended.
func hear(t *testing.T, sc *bufio.Scanner, p *promises, n int, stop func()) {
	t.Helper()
	seen := 0
	for sc.Scan() {
		what, id, _ := strings.Cut(sc.Text(), " ")
		switch what {
		case "A":
			p.taken[id] = true
			if seen++; seen == n {
				stop()
			}
		case "G":
			p.noted[id] = true
		case "S":
			p.asked[id] = true
		case "C":
			p.ended[id] = true
		default:
			t.Fatalf("the child failed: %s", sc.Text())
		}
	}
	if seen < n {
		t.Fatalf("the child ended after %d messages", seen)
	}
}

// verify compares a store with the promises: how many messages are lost (their
// row, their key, the cursor behind them, or the act of the guard), how many ended ones are back, and
// whether ledgers balance, the audit is one chain and those of each producer are in order.
func verify(t *testing.T, dir string, p *promises) (lost, back int) {
	t.Helper()
	s, err := Open(Config{Dir: dir, Key: testKey}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if names, err := unbalanced(t.Context(), s.read); err != nil || len(names) > 0 {
		t.Errorf("ledgers do not balance: %v, %v", names, err)
	}
	cursors, err := s.Cursors(t.Context(), dev.Leg)
	if err != nil {
		t.Error(err)
	}
	rows, last := map[string]bool{}, map[string]string{}
	if err := s.Load(t.Context(), func(r *bridge.Row) error {
		if rows[r.ID] {
			t.Errorf("%s is there twice", r.ID)
		}
		rows[r.ID] = true
		if r.Text.Reveal() != "text of "+r.ID {
			t.Errorf("%s has another text", r.ID)
		}
		who := r.ID[:strings.LastIndexByte(r.ID, '-')]
		if r.ID <= last[who] {
			t.Errorf("%s comes after %s", r.ID, last[who])
		}
		last[who] = r.ID
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	noted := map[string]bool{}
	for a, err := range s.Guard().Acts(t.Context(), guard.Query{}) {
		if err != nil {
			t.Error(err)
		}
		noted[a.Facts.Nick] = true
	}
	for id := range p.noted {
		if !noted[id] {
			lost++
		}
	}
	var again []*bridge.Entry
	gone := map[string]bool{}
	for id := range p.taken {
		gone[id] = !rows[id] && !p.asked[id] || cursors[id[:strings.LastIndexByte(id, '-')]] < id
		again = append(again, &bridge.Entry{Room: dev, ID: id, At: time.Now()})
	}
	for id := range p.ended {
		if rows[id] {
			back++
		}
	}
	mustIngest(t, s, again...)
	for _, e := range again {
		if gone[e.ID] || !e.Again {
			lost++
		}
	}
	return lost, back
}

func newPromises() *promises {
	return &promises{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// TestKilled: nothing that was promised is lost when the process is killed, and
// nothing that ended comes back; ten times on the same store.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills ten processes")
	}
	dir := t.TempDir()
	all := newPromises()
	for i := range 10 {
		cmd, out := startChild(t, dir, "", strconv.Itoa(i))
		hear(t, out, all, 40+rand.IntN(200), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		if lost, back := verify(t, dir, all); lost > 0 || back > 0 {
			t.Fatalf("after %d kills: %d lost, %d back, of %d", i+1, lost, back, len(all.taken))
		}
	}
	t.Logf("10 kills: %d messages taken in, %d ended, 0 lost, 0 back", len(all.taken), len(all.ended))
}

// TestPowerCut: what was promised is on the disk, not only in the kernel's
// memory. The store lies on a file system in a file; the file is copied while
// the process stands still, as if the power had gone at that moment.
func TestPowerCut(t *testing.T) {
	const cuts = 3
	total, lost := 0, 0
	for i := range cuts {
		p := newPromises()
		l, back := cutPower(t, "", p, 300+200*i)
		if back > 0 {
			t.Errorf("cut %d: %d ended rows are back", i, back)
		}
		total, lost = total+len(p.taken), lost+l
	}
	if lost > 0 {
		t.Errorf("%d of %d lost", lost, total)
	}
	t.Logf("%d power cuts: %d messages taken in, %d lost", cuts, total, lost)
}

// TestPowerCutFindsAWeakStore: the test above would notice a store that does not
// wait for the disk. Such a store may be lucky, right after a checkpoint; not each
// time.
func TestPowerCutFindsAWeakStore(t *testing.T) {
	const cuts = 10
	for i := range cuts {
		p := newPromises()
		if lost, back := cutPower(t, "normal", p, 300+40*i); lost > 0 {
			t.Logf("synchronous=NORMAL, cut %d: %d of %d lost, %d back", i+1, lost, len(p.taken), back)
			return
		}
	}
	t.Errorf("synchronous=NORMAL lost nothing in %d power cuts: the test of them proves nothing", cuts)
}

// cutPower runs a child on a disk of its own, cuts the power once it took n
// messages in, and verifies what is on the disk.
func cutPower(t *testing.T, sync string, p *promises, n int) (lost, back int) {
	t.Helper()
	work := t.TempDir()
	image, copied := filepath.Join(work, "disk"), filepath.Join(work, "copy")
	mnt := filepath.Join(work, "mnt")
	mountImage(t, image, mnt)
	cmd, out := startChild(t, filepath.Join(mnt, "store"), sync, "0")
	var copyErr error
	hear(t, out, p, n, func() {
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		copyErr = exec.Command("cp", "--sparse=always", image, copied).Run()
		_ = cmd.Process.Kill()
	})
	_ = cmd.Wait()
	if copyErr != nil {
		t.Fatal(copyErr)
	}
	after := filepath.Join(work, "after")
	mountImage(t, copied, after)
	if _, err := os.Stat(filepath.Join(after, "store", dbFile)); errors.Is(err, os.ErrNotExist) {
		return len(p.taken), 0 // not even the file
	}
	return verify(t, filepath.Join(after, "store"), p)
}

// mountImage mounts the ext4 file system in the file image at the folder at,
// and makes it first if there is no such file. Where this machine does not let
// us, the test is skipped.
func mountImage(t *testing.T, image, at string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a disk to cut its power")
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(image); err != nil {
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 48<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: no mkfs.ext4: %v: %s", err, out)
		}
	}
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no loop device can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// mountTmpfs mounts a small disk in memory.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a disk to fill it")
	}
	at := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", at).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no tmpfs can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return at
}

// withRoom takes e in, now that the disk has room: as soon as the store has made
// its reserve anew.
func withRoom(t *testing.T, s *Store, e *bridge.Entry) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := s.Ingest(t.Context(), []*bridge.Entry{e}, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrFull) || time.Now().After(end) {
			t.Fatalf("with room again: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if e.Again {
		t.Error("what was refused is known")
	}
}

// TestDiskFull: while the disk is full each write is refused as such and nothing
// is lost; once there is room the same batch goes in.
func TestDiskFull(t *testing.T) {
	disk := mountTmpfs(t, "8m")
	dir := filepath.Join(disk, "store")
	s := openTest(t, Config{Dir: dir}, Deps{})
	var want []string
	next := func() *bridge.Entry {
		id := fmt.Sprintf("id-%06d", len(want))
		return testEntry(id, testRow(id, strings.Repeat("x", 300)))
	}
	note := func(e *bridge.Entry) {
		want = append(want, fmt.Sprintf("%s %s false", e.ID, strings.Repeat("x", 300)))
	}
	mustIngest(t, s, next())
	note(next())
	ballast := filepath.Join(disk, "ballast")
	if err := exec.Command("dd", "if=/dev/zero", "of="+ballast, "bs=4k").Run(); err == nil {
		t.Fatal("the disk takes everything")
	}
	full := func() *bridge.Entry {
		for range 10_000 {
			e := next()
			err := s.Ingest(t.Context(), []*bridge.Entry{e}, nil)
			if err == nil {
				note(e)
				continue
			}
			if !errors.Is(err, ErrFull) || s.Stats().Problem == "" {
				t.Fatalf("got %v, want ErrFull; problem %q", err, s.Stats().Problem)
			}
			return e
		}
		t.Fatal("the disk does not fill up")
		return nil
	}
	e := full()
	for range 3 { // it goes on being refused
		if err := s.Ingest(t.Context(), []*bridge.Entry{e}, nil); !errors.Is(err, ErrFull) {
			t.Errorf("again: %v", err)
		}
	}
	if got := kept(t, s); !slices.Equal(got, want) {
		t.Errorf("while it is full %d rows are kept, want %d", len(got), len(want))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	withRoom(t, s, e)
	note(e)
	if p := s.Stats().Problem; p != "" {
		t.Errorf("problem %q stays", p)
	}
	_ = full() // by our own rows this time
	_ = s.Close()
	s = openTest(t, Config{Dir: dir}, Deps{})
	got := kept(t, s)
	if !slices.Equal(got, want) {
		t.Errorf("after a restart on a full disk %d rows are kept, want %d", len(got), len(want))
	}
	t.Logf("%d rows on a disk of 8 MiB", len(got))
}

// TestNoRoom is the same without a disk of its own: the database may not grow.
func TestNoRoom(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	set := func(pragma string) {
		t.Helper()
		if err := s.w.conn.exec("PRAGMA " + pragma); err != nil { // the writer waits
			t.Fatal(err)
		}
	}
	set("max_page_count = 60")
	n := 0
	var e *bridge.Entry
	var err error
	for ; err == nil && n < 5000; n++ {
		e = testEntry(fmt.Sprint(n), testRow(fmt.Sprint(n), strings.Repeat("x", 300)))
		err = s.Ingest(t.Context(), []*bridge.Entry{e}, nil)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v after %d, want ErrFull", err, n)
	}
	if got := len(kept(t, s)); got != n-1 {
		t.Errorf("%d rows kept of %d", got, n-1)
	}
	set("max_page_count = 1000000")
	withRoom(t, s, e)
	set("query_only = on")
	e = testEntry("later", testRow("later", "x"))
	if err := s.Ingest(t.Context(), []*bridge.Entry{e}, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v, want ErrReadOnly", err)
	}
	set("query_only = off")
	if err := s.Ingest(t.Context(), []*bridge.Entry{e}, nil); err != nil || e.Again {
		t.Errorf("writable again: %v, again %v", err, e.Again)
	}
	if got := len(kept(t, s)); got != n+1 {
		t.Errorf("%d rows kept of %d", got, n+1)
	}
}

// TestReadOnlyDisk: a disk mounted read-only is told as such at the start.
func TestReadOnlyDisk(t *testing.T) {
	disk := mountTmpfs(t, "8m")
	_ = openTest(t, Config{Dir: filepath.Join(disk, "store")}, Deps{}).Close()
	if out, err := exec.Command("mount", "-o", "remount,ro", disk).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: cannot be remounted: %v: %s", err, out)
	}
	for _, dir := range []string{"store", "new"} {
		if _, err := Open(Config{Dir: filepath.Join(disk, dir), Key: testKey}, Deps{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", dir, err)
		}
	}
}

// TestEverythingAtOnce is for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	s := openTest(t, Config{}, Deps{})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 50 {
				r := testRow(fmt.Sprintf("%d-%d", w, i), "x")
				if err := s.Ingest(t.Context(), []*bridge.Entry{testEntry(r.ID, r)}, nil); err != nil {
					t.Error(err)
				}
				if err := s.Tried(t.Context(), tries(r.Seq)); err != nil {
					t.Error(err)
				}
				end(t, s, r)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			_ = s.Stats()
			if _, err := s.Waiting(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.shredKeys(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if got := kept(t, s); len(got) > 0 || s.Stats().Rows != 0 {
		t.Errorf("kept %v, counted %d", got, s.Stats().Rows)
	}
}
