package store

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"time"
)

// The reserve is a file that does nothing but take room. When the disk is full it
// is given up, so that rows can end: what waits goes on leaving, and only taking in
// stops. It is made anew as soon as there is room for it.
const (
	reserveFile  = "reserve"
	reserveSize  = 4 << 20 // the WAL of some batches of rows that end
	reserveLeast = 1 << 20
	reserveEvery = time.Second // how often it is tried to make it anew
)

// saveUp makes the reserve, if there is none: as large as it may be.
func (w *writer) saveUp() error {
	if fi, err := os.Stat(w.reserve); err == nil && fi.Size() >= reserveLeast {
		return nil
	}
	var err error
	for size := reserveSize; size >= reserveLeast; size /= 2 {
		if err = fillFile(w.reserve, size); err == nil {
			return nil
		}
	}
	return err
}

// fillFile makes a file of size bytes that no file system stores in less, and
// syncs it; or none.
func fillFile(path string, size int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	noise := make([]byte, 64<<10)
	_, _ = rand.Read(noise) // never fails (Go 1.24)
	for n := 0; n < size && err == nil; n += len(noise) {
		_, err = f.Write(noise)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// spend gives the reserve up and reports whether that made room.
func (w *writer) spend() bool {
	err := os.Remove(w.reserve)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Error("store: reserve not given up", "err", err)
	}
	if w.lean.IsZero() {
		w.log.Error("store: the disk is full: nothing more is taken in, what waits goes on leaving")
	}
	w.lean = time.Now()
	if err != nil {
		return false
	}
	w.checkpoint() // the room of the WAL, too
	return true
}

// recover ends the time without a reserve, if there is room for one. It reports
// whether everything may be written.
func (w *writer) recover() bool {
	if w.lean.IsZero() {
		return true
	}
	if time.Since(w.lean) < reserveEvery {
		return false
	}
	if w.saveUp() != nil {
		w.lean = time.Now()
		return false
	}
	w.lean = time.Time{}
	w.log.Info("store: there is room again")
	return true
}
