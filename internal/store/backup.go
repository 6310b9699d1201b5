package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"drawbridge/bridge"
)

// ErrRowsWait: the store that would be replaced still holds rows that wait.
var ErrRowsWait = errors.New("rows wait in the present store")

// Backup copies the store, as it is at one moment, to the new file path (0600).
// Neither master key nor day keys are in it: with the master key, Restore brings
// everything back but the rows that waited. Nothing stops meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error {
	s.w.copying.Add(1)
	defer s.w.copying.Add(-1)
	if err := copyDB(ctx, s.folder.path(dbFile), path); err != nil {
		return fmt.Errorf("store: backup to %s: %w", path, classify(err))
	}
	return nil
}

// Waiting counts the rows of one destination.
type Waiting struct {
	Room   bridge.Room `json:"room"`
	Queued int         `json:"queued"` // never sent
	Tried  int         `json:"tried"`  // sent, unproven
	Dead   int         `json:"dead"`   // parked
	Lost   int         `json:"lost"`   // cannot be opened any more
	Oldest time.Time   `json:"oldest,omitzero"`
}

// Report is what Check and Restore found.
type Report struct {
	Schema  int       `json:"schema"`
	IDs     int64     `json:"ids"`     // messages remembered
	Secrets int64     `json:"secrets"` // all open
	Rooms   []Waiting `json:"rooms,omitempty"`
	// Unreadable counts rows that do not open; a start marks them as lost.
	Unreadable int `json:"unreadable"`
	// Unbalanced names the bridges whose counters do not add up.
	Unbalanced []string `json:"unbalanced,omitempty"`
	// Acts counts the acts of the guard; Broken says where their chain of hashes is
	// broken first.
	Acts   int64  `json:"acts"`
	Broken string `json:"broken,omitempty"`
	// Aside is where Restore put what was there before, "" if nothing was.
	Aside string `json:"aside,omitempty"`
}

// Lost is how many rows are marked as lost.
func (r *Report) Lost() (n int) {
	for _, w := range r.Rooms {
		n += w.Lost
	}
	return n
}

// Check looks at every page, key and row of a store that no process has open.
// Errors are those of Open.
func Check(ctx context.Context, cfg Config) (*Report, error) {
	r, err := check(ctx, cfg)
	if err != nil {
		return r, fmt.Errorf("store: %s: %w", cfg.Dir, classify(err))
	}
	return r, nil
}

func check(ctx context.Context, cfg Config) (_ *Report, err error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, dbFile)); err != nil {
		return nil, err
	}
	f, err := takeFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.free()) }()
	db, err := openWhole(f.path(dbFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s, r, err := examine(ctx, db, f, cfg)
	if err != nil {
		return r, err
	}
	if s.days, err = openDayKeys(dir, s.id, s.master, discardLog()); err != nil {
		return r, err
	}
	lost, err := s.load(ctx, func(*bridge.Row) error { return nil })
	r.Unreadable = len(lost)
	return r, err
}

// examine looks at everything in db but the bodies.
func examine(ctx context.Context, db *sql.DB, f *folder, cfg Config) (*Store, *Report, error) {
	r := &Report{}
	if err := quickCheck(ctx, db, "integrity_check"); err != nil {
		return nil, r, err
	}
	steps, err := migrations()
	if err != nil {
		return nil, r, err
	}
	if r.Schema, err = schemaVersion(ctx, db); err != nil {
		return nil, r, err
	}
	switch {
	case r.Schema == 0:
		return nil, r, fmt.Errorf("%w: it is empty", ErrCorrupt)
	case r.Schema > len(steps):
		return nil, r, fmt.Errorf("%w: schema %d, this one knows %d", ErrNewer, r.Schema, len(steps))
	}
	s := &Store{read: db, folder: f}
	if s.id, s.master, err = storeKeys(ctx, db, f.dir, cfg.Key); err != nil {
		return nil, r, err
	}
	if r.Secrets, err = s.checkSecrets(ctx); err != nil {
		return nil, r, err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM ingress").Scan(&r.IDs); err != nil {
		return nil, r, err
	}
	if r.Unbalanced, err = unbalanced(ctx, db); err != nil {
		return nil, r, err
	}
	if r.Schema >= guardSchema {
		if _, err := s.loadGuard(ctx); err != nil {
			return nil, r, err
		}
		if r.Acts, r.Broken, err = s.checkActs(ctx); err != nil {
			return nil, r, err
		}
	}
	if r.Schema >= moveSchema {
		if _, err := s.loadMove(ctx); err != nil {
			return nil, r, err
		}
	}
	r.Rooms, err = waiting(ctx, db)
	return s, r, err
}

// checkSecrets opens all of them.
func (s *Store) checkSecrets(ctx context.Context) (n int64, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT kind, owner, value FROM secret")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind, owner string
		var sealed []byte
		if err := rows.Scan(&kind, &owner, &sealed); err != nil {
			return n, err
		}
		v, err := s.openSecret(kind, owner, sealed)
		if err != nil {
			return n, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		clear(v)
		n++
	}
	return n, rows.Err()
}

// Restore puts the backup in the file path in the place of the store in cfg.Dir,
// which no process may have open. Rows that waited are marked as lost, because
// their keys are in no backup; the report counts them. What was there is put
// aside, in the same folder. If rows wait in it, they would be lost too: that is
// ErrRowsWait, or why that cannot be told, unless force is set.
func Restore(ctx context.Context, cfg Config, path string, force bool) (*Report, error) {
	r, err := restore(ctx, cfg, path, force)
	if err != nil {
		return nil, fmt.Errorf("store: restore %s: %w", path, classify(err))
	}
	return r, nil
}

func restore(ctx context.Context, cfg Config, path string, force bool) (_ *Report, err error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	f, err := takeFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.free()) }()
	// Even with force: opening it moves what a WAL holds into it.
	if err := nothingWaits(ctx, f); err != nil && !force {
		return nil, err
	}
	next := f.path(".restore.db")
	removeDB(next) // of a restore that was interrupted
	defer removeDB(next)
	if err := copyFile(path, next); err != nil {
		return nil, err
	}
	r, err := adopt(ctx, next, f, cfg)
	if err != nil {
		return nil, err
	}
	if r.Aside, err = putAside(f, time.Now()); err != nil {
		return nil, err
	}
	if err := os.Rename(next, f.path(dbFile)); err != nil {
		return nil, err
	}
	return r, syncDir(dir)
}

// adopt checks a copy of a backup and marks its rows as lost.
func adopt(ctx context.Context, path string, f *folder, cfg Config) (_ *Report, err error) {
	db, err := openWhole(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, _, err = examine(ctx, db, f, cfg); err != nil {
		return nil, err
	}
	if err := loseRows(ctx, db); err != nil {
		return nil, err
	}
	_, r, err := examine(ctx, db, f, cfg)
	return r, err
}

// loseRows marks the rows of a backup as lost, and counts them so.
func loseRows(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // ErrTxDone once it is committed
	all, err := ledgers(ctx, tx)
	if err != nil {
		return err
	}
	for name, l := range all {
		l.Dead += l.Waiting
		l = l.Past()
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE ledger SET counters = ? WHERE bridge = ?", string(text), name); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE state = -1"); err != nil { // they arrived
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE outbox SET state = 3, key_id = 0, body = ? WHERE state < 3", []byte{}); err != nil {
		return err
	}
	return tx.Commit()
}

// nothingWaits fails with ErrRowsWait if rows wait in the present store, and if that
// cannot be told. One that is damaged, or empty, holds none.
func nothingWaits(ctx context.Context, f *folder) error {
	if _, err := os.Stat(f.path(dbFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := openWhole(f.path(dbFile))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	n := 0
	version, err := schemaVersion(ctx, db)
	if err == nil && version > 0 {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM outbox WHERE state BETWEEN 0 AND 2").Scan(&n)
	}
	switch err = classify(err); {
	case errors.Is(err, ErrCorrupt):
		return nil
	case err != nil:
		return err
	case n > 0:
		return fmt.Errorf("%w: %d", ErrRowsWait, n)
	}
	return nil
}

// putAside moves the present database out of the way.
func putAside(f *folder, now time.Time) (string, error) {
	if _, err := os.Stat(f.path(dbFile)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	to := f.path("before-restore-" + now.UTC().Format("20060102T150405Z") + ".db")
	for _, tail := range []string{"-wal", ""} { // the WAL first: a database without it is an old one
		if err := os.Rename(f.path(dbFile)+tail, to+tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if err := os.Remove(f.path(dbFile) + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return to, nil
}

func removeDB(path string) {
	for _, tail := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + tail)
	}
}

// copyFile copies from to the new file to (0600), onto the disk.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if fi, err := in.Stat(); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return errors.New("not a file")
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
