package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
)

// DefaultRetainIDs is how long ids of messages are remembered.
const DefaultRetainIDs = 30 * 24 * time.Hour

// Config is what a store takes.
type Config struct {
	// Dir is the store's folder; it is made if there is none.
	Dir string
	Key Key
	// RetainIDs is how long messages are known again, and found by what they were
	// called on both sides; 0 is DefaultRetainIDs.
	RetainIDs time.Duration
	// RetainAudit is how long acts of the guard are kept; 0 is DefaultRetainAudit.
	RetainAudit time.Duration

	sync  string   // of a test: synchronous other than full
	steps []string // of a test: other migrations
}

// Deps are what a store needs from outside.
type Deps struct {
	Log *slog.Logger     // nil is silence
	Now func() time.Time // nil is time.Now
}

// Store is an open store. Make one with Open. It may be used from any goroutine.
// It owns two: the writer, and one for what is due by the clock; Close ends them.
type Store struct {
	log         *slog.Logger
	now         func() time.Time
	retain      time.Duration // of ids
	retainAudit time.Duration
	folder      *folder
	id          []byte // made with the store; bound into all that is sealed
	master      *master
	days        *dayKeys
	look        []byte // key of the HMACs in ingress
	read        *sql.DB
	w           *writer

	stop   context.CancelFunc
	done   sync.WaitGroup
	closed atomic.Bool
	// lost counts rows of earlier runs that could not be opened.
	lost atomic.Int64
}

var _ bridge.Journal = (*Store)(nil)

// Open opens the store in cfg.Dir, or makes one. After an unclean stop the file
// is checked first; an older schema is brought up to date, with a copy made
// before. Errors: ErrBusy, ErrNetwork, ErrNewer, ErrKey, ErrCorrupt, ErrFull,
// ErrReadOnly, with the path.
func Open(cfg Config, d Deps) (*Store, error) {
	s, err := open(context.Background(), cfg, d)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", cfg.Dir, classify(err))
	}
	return s, nil
}

func open(ctx context.Context, cfg Config, d Deps) (_ *Store, err error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if cfg.RetainIDs <= 0 {
		cfg.RetainIDs = DefaultRetainIDs
	}
	if cfg.RetainAudit <= 0 {
		cfg.RetainAudit = DefaultRetainAudit
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	f, err := takeFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{log: d.Log, now: d.Now, retain: cfg.RetainIDs, retainAudit: cfg.RetainAudit, folder: f}
	var c *conn
	defer func() {
		if err != nil {
			if c != nil {
				_ = c.Close()
			}
			if s.read != nil {
				_ = s.read.Close()
			}
			_ = f.free()
		}
	}()
	if err = checkUnclean(ctx, f, d.Log); err != nil {
		return nil, err
	}
	if c, err = openConn(f.path(dbFile), cfg.sync); err != nil {
		return nil, err
	}
	if s.read, err = openReaders(f.path(dbFile)); err != nil {
		return nil, err
	}
	if err = s.unlock(ctx, c, cfg); err != nil {
		return nil, err
	}
	if s.days, err = openDayKeys(dir, s.id, s.master, d.Log); err != nil {
		return nil, err
	}
	if s.w, err = s.newWriter(ctx, c); err != nil {
		return nil, err
	}
	if err = s.shredKeys(ctx); err != nil { // what the last run left behind
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(s.w.run)
	s.done.Go(func() { s.maintain(run) })
	return s, nil
}

// checkUnclean makes the database file, so that it and what SQLite makes beside
// it have mode 0600. Where a WAL is left from an unclean stop, it looks for
// damage.
func checkUnclean(ctx context.Context, f *folder, log *slog.Logger) error {
	db, err := os.OpenFile(f.path(dbFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if _, err := os.Stat(f.path(dbFile) + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	start := time.Now()
	whole, err := openWhole(f.path(dbFile))
	if err != nil {
		return err
	}
	err = quickCheck(ctx, whole, "quick_check")
	if err = errors.Join(err, whole.Close()); err != nil {
		return err
	}
	log.Info("store was not closed: checked, it is sound", "took", time.Since(start))
	return nil
}

// quickCheck runs a check of SQLite's. Its findings hold no content.
func quickCheck(ctx context.Context, db *sql.DB, pragma string) error {
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA "+pragma+"(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("%w: %.200s", ErrCorrupt, found)
	}
	return nil
}

// unlock brings the schema up to date and opens the keys.
func (s *Store) unlock(ctx context.Context, c *conn, cfg Config) error {
	steps := cfg.steps
	if steps == nil {
		var err error
		if steps, err = migrations(); err != nil {
			return err
		}
	}
	version, err := schemaVersion(ctx, s.read)
	if err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("%w: schema %d, this one knows %d", ErrNewer, version, len(steps))
	}
	if version > 0 { // nothing is changed with a wrong key
		if err := s.openKeys(ctx, cfg.Key); err != nil {
			return err
		}
	}
	fresh := version == 0
	if fresh {
		if err := s.create(c, cfg.Key, steps[0]); err != nil {
			return err
		}
		version = 1
	}
	if err := raise(ctx, c, s.folder, version, steps, fresh, s.now()); err != nil {
		return err
	}
	return s.loadLook(ctx)
}

const checkText = "drawbridge"

// create makes the tables and what every store has from its first moment, in
// one transaction.
func (s *Store) create(c *conn, key Key, first string) error {
	s.id = make([]byte, 16)
	salt := make([]byte, saltSize)
	_, _ = rand.Read(s.id) // never fails (Go 1.24)
	_, _ = rand.Read(salt)
	m, err := key.material(s.folder.dir, salt, true)
	if err != nil {
		return err
	}
	if s.master, err = deriveMaster(m, s.id); err != nil {
		return err
	}
	look, replay := make([]byte, 32), make([]byte, 32)
	_, _ = rand.Read(look)
	_, _ = rand.Read(replay)
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = c.script(forEngine(first, sqliteOnly))
	for _, m := range []struct {
		name  string
		value []byte
	}{{"schema", []byte(strconv.Itoa(1))}, {"id", s.id}, {"salt", salt}, {"check", s.sealSecret("check", "", []byte(checkText))}} {
		if err == nil {
			err = c.exec(setMeta, m.name, m.value)
		}
	}
	if err == nil {
		err = c.exec(setSecret, "hmac", "ingress", s.sealSecret("hmac", "ingress", look))
	}
	if err == nil {
		err = c.exec(setSecret, "hmac", "replay", s.sealSecret("hmac", "replay", replay))
	}
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil {
		_ = c.exec("ROLLBACK") // it may be over already
	}
	return err
}

const setSecret = "INSERT INTO secret (kind, owner, value) VALUES (?, ?, ?) ON CONFLICT (kind, owner) DO UPDATE SET value = excluded.value"

// openKeys derives the keys of an existing store and proves that they fit.
func (s *Store) openKeys(ctx context.Context, key Key) error {
	id, master, err := storeKeys(ctx, s.read, s.folder.dir, key)
	s.id, s.master = id, master
	return err
}

// storeKeys reads who the store at db is, and derives its keys.
func storeKeys(ctx context.Context, db *sql.DB, dir string, key Key) ([]byte, *master, error) {
	id, err := metaValue(ctx, db, "id")
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no id (%w)", ErrCorrupt, err)
	}
	salt, err := metaValue(ctx, db, "salt")
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no salt (%w)", ErrCorrupt, err)
	}
	check, err := metaValue(ctx, db, "check")
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no check (%w)", ErrCorrupt, err)
	}
	m, err := key.material(dir, salt, false)
	if err != nil {
		return nil, nil, err
	}
	s := &Store{id: id}
	if s.master, err = deriveMaster(m, id); err != nil {
		return nil, nil, err
	}
	if _, err := s.openSecret("check", "", check); err != nil {
		return nil, nil, fmt.Errorf("%w: it is not the one the store was made with", ErrKey)
	}
	return id, s.master, nil
}

// loadLook reads the key of the HMACs in ingress.
func (s *Store) loadLook(ctx context.Context) error {
	look, err := s.Secret(ctx, "hmac", "ingress")
	if err == nil && look == nil {
		err = fmt.Errorf("%w: a key is missing", ErrCorrupt)
	}
	s.look = look
	return err
}

// Secret returns what is kept under kind and owner, nil if nothing is.
func (s *Store) Secret(ctx context.Context, kind, owner string) ([]byte, error) {
	var sealed []byte
	err := s.read.QueryRowContext(ctx, "SELECT value FROM secret WHERE kind = ? AND owner = ?", kind, owner).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: read a secret: %w", classify(err))
	}
	return s.openSecret(kind, owner, sealed)
}

// SetSecret keeps value under kind and owner, sealed; it is on the disk when
// SetSecret returns nil.
func (s *Store) SetSecret(ctx context.Context, kind, owner string, value []byte) error {
	sealed := s.sealSecret(kind, owner, value)
	return s.w.do(ctx, "secret", func(w *writer) error {
		_, err := w.setSecret.exec(kind, owner, sealed)
		return err
	})
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.folder.dir }

// Close commits what waits, moves the WAL into the database and gives the folder
// up. Later calls of anything return ErrClosed.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.w.close()
	s.stop()
	s.done.Wait()
	return errors.Join(s.read.Close(), s.w.conn.Close(), s.folder.free())
}
