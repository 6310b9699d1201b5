package store

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	keyFolder = "daykeys"
	keySuffix = ".key"
	// keyLife is how long new rows are sealed under the same day key.
	keyLife = 24 * time.Hour
	// maxKeyFile bounds a file of the folder.
	maxKeyFile = 1024
)

// dayKey seals the bodies of the rows that came in a span of time.
type dayKey struct {
	id   int64 // unix time it was made, in seconds, unless taken
	aead cipher.AEAD
	uses int // rows being sealed or committed; guarded by dayKeys.mu
}

// dayKeys are the keys of the folder daykeys. Each is wrapped by the master key.
type dayKeys struct {
	dir    string
	store  []byte // id of the store
	master *master
	log    *slog.Logger

	mu      sync.Mutex // guards all below
	keys    map[int64]*dayKey
	current *dayKey
}

// openDayKeys reads the folder. A file that does not open is named in the log
// and left alone: its rows are lost.
func openDayKeys(dir string, store []byte, m *master, log *slog.Logger) (*dayKeys, error) {
	d := &dayKeys{dir: filepath.Join(dir, keyFolder), store: store, master: m, log: log, keys: map[int64]*dayKey{}}
	if err := os.Mkdir(d.dir, 0o700); err == nil {
		if err := syncDir(dir); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	files, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		id, ok := keyID(f.Name())
		if !ok {
			continue
		}
		k, err := d.read(id)
		if err != nil {
			log.Error("day key does not open: what it sealed is lost", "id", id, "err", err)
			continue
		}
		d.keys[id] = k
	}
	return d, nil
}

func keyID(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, keySuffix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(digits, 10, 64)
	return id, err == nil && id > 0
}

func (d *dayKeys) path(id int64) string {
	return filepath.Join(d.dir, strconv.FormatInt(id, 10)+keySuffix)
}

func (d *dayKeys) ad(id int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("daykey\x00"), d.store...), uint64(id))
}

func (d *dayKeys) read(id int64) (*dayKey, error) {
	fi, err := os.Stat(d.path(id))
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxKeyFile {
		return nil, errBody
	}
	sealed, err := os.ReadFile(d.path(id))
	if err != nil {
		return nil, err
	}
	raw, err := openWith(d.master.wrap, d.ad(id), sealed)
	if err != nil {
		return nil, err
	}
	return newDayKey(id, raw)
}

func newDayKey(id int64, raw []byte) (*dayKey, error) {
	aead, err := chacha20poly1305.NewX(raw)
	clear(raw)
	if err != nil {
		return nil, err
	}
	return &dayKey{id: id, aead: aead}, nil
}

// acquire returns the key for new rows; it is on the disk. Until release it is
// not destroyed.
func (d *dayKeys) acquire(now time.Time) (*dayKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil || d.expired(now) {
		k, err := d.make(now)
		if err != nil {
			return nil, fmt.Errorf("store: make a day key: %w", classify(err))
		}
		d.keys[k.id] = k
		d.current = k
	}
	d.current.uses++
	return d.current, nil
}

// expired reports whether the current key is of another day; a clock set back
// makes it so too. d.mu is held.
func (d *dayKeys) expired(now time.Time) bool {
	age := now.Sub(time.Unix(d.current.id, 0))
	return age >= keyLife || age < -time.Hour
}

func (d *dayKeys) release(k *dayKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k.uses--
}

// make makes a key and its file. d.mu is held.
func (d *dayKeys) make(now time.Time) (*dayKey, error) {
	id := max(now.Unix(), 1)
	for {
		if _, err := os.Lstat(d.path(id)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, err
		}
		id++
	}
	raw := make([]byte, chacha20poly1305.KeySize)
	_, _ = rand.Read(raw) // never fails (Go 1.24)
	if err := writeFile(d.path(id), sealWith(d.master.wrap, d.ad(id), raw)); err != nil {
		return nil, err
	}
	return newDayKey(id, raw)
}

// get returns the key called id, nil if there is none.
func (d *dayKeys) get(id int64) *dayKey {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys[id]
}

// retire makes new rows use a new key.
func (d *dayKeys) retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = nil
}

// idle returns the ids of the keys that nothing is being sealed under.
func (d *dayKeys) idle() (ids []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, k := range d.keys {
		if k != d.current && k.uses == 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// destroy forgets the keys and destroys their files. None may be in use.
func (d *dayKeys) destroy(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	d.mu.Lock()
	for _, id := range ids {
		delete(d.keys, id)
	}
	d.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, shred(d.path(id)))
	}
	return errors.Join(append(errs, syncDir(d.dir))...)
}

// shred overwrites a file, as far as the disk does so in place, and removes it.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil {
		noise := make([]byte, min(fi.Size(), maxKeyFile))
		_, _ = rand.Read(noise) // never fails (Go 1.24)
		_, err = f.WriteAt(noise, 0)
	}
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}
