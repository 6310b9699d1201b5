package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"modernc.org/sqlite"
)

// Times and sizes of SQLite.
const (
	busyTime   = 2 * time.Second // an admin's sqlite3 may hold the file so long
	readers    = 3
	cacheKiB   = 1024 // of the writer
	readKiB    = 512  // of each reader
	walPages   = 1000 // at which a commit moves the WAL into the database
	tempMemory = 2
)

// dsn names the database at path with the settings of a connection. Its own
// settings a test may weaken: sync is "" for full.
func dsn(path, sync string, more ...string) string {
	if sync == "" {
		sync = "full"
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		"busy_timeout(" + strconv.FormatInt(busyTime.Milliseconds(), 10) + ")",
		"journal_mode(wal)",
		"synchronous(" + sync + ")",
		"foreign_keys(on)",
		"secure_delete(on)",
		"temp_store(" + strconv.Itoa(tempMemory) + ")", // no temporary files with rows in them
		"wal_autocheckpoint(" + strconv.Itoa(walPages) + ")",
	}, more...)}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func cacheSize(kib int) string { return "cache_size(-" + strconv.Itoa(kib) + ")" }

// conn is the connection that writes, below database/sql: a statement costs a
// third less there. One goroutine uses it at a time.
type conn struct {
	c     driver.Conn
	args  []driver.NamedValue
	stmts []driver.Stmt // kept until Close
}

func openConn(path, sync string) (*conn, error) {
	connector, err := sqlite.NewConnector(dsn(path, sync, cacheSize(cacheKiB)))
	if err != nil {
		return nil, err
	}
	c, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

// Close closes the statements too: SQLite would go on without them closed, and
// leave the WAL.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// exec runs one statement that is used seldom.
func (c *conn) exec(query string, args ...any) error {
	s, err := c.c.Prepare(query)
	if err != nil {
		return fmt.Errorf("prepare %.40q: %w", query, err)
	}
	_, err = stmt{c, s}.exec(args...)
	return errors.Join(err, s.Close())
}

// stmt is a prepared statement of the connection that writes.
type stmt struct {
	c *conn
	s driver.Stmt
}

// prepare makes a statement that is kept until Close.
func (c *conn) prepare(query string) (stmt, error) {
	s, err := c.c.Prepare(query)
	if err != nil {
		return stmt{}, fmt.Errorf("prepare %.40q: %w", query, err)
	}
	c.stmts = append(c.stmts, s)
	return stmt{c, s}, nil
}

// exec runs the statement and returns how many rows it changed. Arguments are
// int64, string and []byte.
func (s stmt) exec(args ...any) (int64, error) {
	named := s.c.args[:0]
	for i, a := range args {
		named = append(named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	res, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), named)
	clear(named)
	s.c.args = named
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// openReaders returns a pool whose connections cannot write.
func openReaders(path string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn(path, "", "query_only(on)", cacheSize(readKiB)))
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(readers)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// openWhole returns one connection that reads and may attach and copy, for
// backups and checks.
func openWhole(path string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn(path, "", cacheSize(readKiB)))
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}
