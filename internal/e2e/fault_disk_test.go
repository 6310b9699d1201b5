//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// The disk of the store is full for ten seconds while everybody talks. Nothing
// more is acknowledged to the servers, status says why, and it goes on by itself.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	disk := filepath.Join(h.dir, "store")
	h.must(os.MkdirAll(disk, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no disk of a limited size can be mounted here (it takes root): %v: %s", err, bytes.TrimSpace(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	h.must(os.Chmod(disk, 0o700))
	tr := newTriangle(h, h.InspIRCd(lab.InspIRCd{Fast: true, History: true}), h.Prosody(lab.Prosody{Archive: true}), 200*time.Millisecond)
	ballast := filepath.Join(disk, "ballast")
	for range soak() {
		tr.load.goesOn(5)
		fill(t, ballast)
		h.statusShows("the store takes nothing")
		tr.load.goesOn(50)
		fill(t, ballast) // what was freed meanwhile
		h.must(os.Remove(ballast))
		tr.load.goesOn(3)
		tr.judge("disk full", rule{})
	}
}

// fill writes to a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 64 << 10; size > 0; size /= 2 {
		block := make([]byte, size)
		for err = nil; err == nil; _, err = f.Write(block) {
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// While rows wait, the store and a backup of it hold none of their words; when all
// have left, neither does.
func TestFaultCanariesInTheStore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tr := newTriangle(h, h.InspIRCd(lab.InspIRCd{Fast: true, History: true}), h.Prosody(lab.Prosody{Archive: true}), 100*time.Millisecond)
	search := func(when string) {
		t.Helper()
		files := 0
		h.must(filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a journal or key that has just gone
			}
			files++
			if i := bytes.Index(b, []byte("load ")); i >= 0 && numberedLine.Match(b[i:]) {
				t.Errorf("%s: %s holds …%q…", when, path, b[i:min(len(b), i+40)])
			}
			return err
		}))
		if files < 5 {
			t.Errorf("%s: only %d files were searched", when, files)
		}
	}
	tr.load.goesOn(10)
	tr.toIRC.Cut()
	tr.toJab.Cut()
	tr.legIsDown("corp")
	tr.legIsDown("bot")
	tr.toJab.Restore()
	tr.load.goesOn(20)
	var waiting ledger
	if !lab.Poll(wait, func() bool { waiting, _ = h.ledger(); return waiting.Waiting >= 20 }) {
		t.Fatalf("nothing waits: %s", waiting)
	}
	search("rows wait")
	h.ok("store", "backup", filepath.Join(h.dir, "waiting.backup"))
	search("rows wait, there is a backup")
	tr.bot.Kill()
	search("rows wait, the bot was killed")
	tr.bot = h.start()
	tr.toIRC.Restore()
	h.statusShows(", ready")
	tr.judge("rows waited", rule{})
	h.ok("store", "backup", filepath.Join(h.dir, "empty.backup"))
	search("all have left")
	h.stop(tr.bot)
	search("the bot is stopped")
}
