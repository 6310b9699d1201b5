package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	onlyMark    = "-- only: "
	sqliteOnly  = "sqlite"
	backupsKept = 3
)

// migrations returns the changes of the schema; the first makes version 1.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []string
	for i, name := range names {
		if want := fmt.Sprintf("%04d.sql", i+1); path.Base(name) != want {
			return nil, fmt.Errorf("store: %s stands where %s is due", name, want)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, string(text))
	}
	return out, nil
}

// forEngine leaves out the lines for other databases than engine.
func forEngine(text, engine string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if body, only, ok := strings.Cut(line, onlyMark); ok {
			if strings.TrimSpace(only) != engine {
				continue
			}
			line = body + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// schemaVersion is the version of the database at db, 0 for an empty one.
func schemaVersion(ctx context.Context, db *sql.DB) (int, error) {
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, nil
	}
	v, err := metaValue(ctx, db, "schema")
	if err != nil {
		return 0, fmt.Errorf("%w: no schema of drawbridge in it (%w)", ErrCorrupt, err)
	}
	version, err := strconv.Atoi(string(v))
	if err != nil || version < 1 {
		return 0, fmt.Errorf("%w: schema %.20q", ErrCorrupt, v)
	}
	return version, nil
}

func metaValue(ctx context.Context, db *sql.DB, name string) ([]byte, error) {
	var v []byte
	err := db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(&v)
	return v, err
}

const setMeta = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

// raise brings the database from version to the last of steps, one
// transaction for each. Before each a copy is made, unless the store is fresh.
func raise(ctx context.Context, c *conn, f *folder, version int, steps []string, fresh bool, now time.Time) error {
	for ; version < len(steps); version++ {
		if !fresh {
			if err := backupBefore(ctx, f, version+1, now); err != nil {
				return fmt.Errorf("backup before schema %d: %w", version+1, classify(err))
			}
		}
		if err := step(c, steps[version], version+1); err != nil {
			return fmt.Errorf("schema %d: %w", version+1, classify(err))
		}
	}
	return nil
}

// step makes one change of the schema.
func step(c *conn, text string, version int) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := c.script(forEngine(text, sqliteOnly))
	if err == nil {
		err = c.exec(setMeta, "schema", []byte(strconv.Itoa(version)))
	}
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil {
		_ = c.exec("ROLLBACK") // it may be over already
	}
	return err
}

// script runs several statements.
func (c *conn) script(text string) error {
	for _, one := range strings.Split(stripComments(text), ";") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		if err := c.exec(one); err != nil {
			return err
		}
	}
	return nil
}

// stripComments takes out the comments, which may hold a semicolon. A string of
// a migration holds neither.
func stripComments(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		body, _, _ := strings.Cut(line, "--")
		out.WriteString(strings.TrimRight(body, "\n") + "\n")
	}
	return out.String()
}

// backupBefore copies the database into the folder backups, where the last few
// stay.
func backupBefore(ctx context.Context, f *folder, version int, now time.Time) error {
	dir := f.path(backupsDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := fmt.Sprintf("before-schema-%d-%s.db", version, now.UTC().Format("20060102T150405.000000Z"))
	if err := copyDB(ctx, f.path(dbFile), filepath.Join(dir, name)); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "before-schema-*.db"))
	if err != nil {
		return err
	}
	slices.SortFunc(old, func(a, b string) int { return modTime(a).Compare(modTime(b)) })
	for len(old) > backupsKept {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	return nil
}

func modTime(path string) time.Time {
	fi, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// copyDB copies a database, as it is at one moment, to the new file to (0600).
func copyDB(ctx context.Context, from, to string) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if err != nil {
			_ = os.Remove(to)
		}
	}()
	db, err := openWhole(from)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to) // an empty file is taken as none
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err = out.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}
