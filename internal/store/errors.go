package store

import (
	"errors"
	"fmt"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What callers branch on.
var (
	// ErrFull: the disk or the quota is full. Nothing was kept, nothing is lost.
	ErrFull = errors.New("the disk is full")
	// ErrReadOnly: the folder cannot be written to.
	ErrReadOnly = errors.New("read-only, or not writable by this user")
	// ErrCorrupt: the file is damaged, or no database of ours.
	ErrCorrupt = errors.New("the file is damaged")
	// ErrBusy: another process has the store open.
	ErrBusy = errors.New("in use by another process")
	// ErrNewer: the schema is of a later version of drawbridge.
	ErrNewer = errors.New("written by a later version of drawbridge")
	// ErrNetwork: the folder is on a network file system, where locks and syncs
	// cannot be trusted.
	ErrNetwork = errors.New("on a network file system")
	// ErrKey: the master key is missing, or not the one of this store.
	ErrKey = errors.New("the master key does not fit")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("closed")
)

// classify wraps err so that callers can tell what to do about it.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{ErrFull, ErrReadOnly, ErrCorrupt, ErrBusy, ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	kind := error(nil)
	var e *sqlite.Error
	switch {
	case errors.As(err, &e):
		switch {
		case e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE, e.Code()&0xff == sqlite3.SQLITE_FULL:
			kind = ErrFull
		case e.Code()&0xff == sqlite3.SQLITE_READONLY:
			kind = ErrReadOnly
		case e.Code()&0xff == sqlite3.SQLITE_CORRUPT, e.Code()&0xff == sqlite3.SQLITE_NOTADB,
			e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ, e.Code() == sqlite3.SQLITE_IOERR_CORRUPTFS:
			kind = ErrCorrupt
		case e.Code()&0xff == sqlite3.SQLITE_BUSY:
			kind = ErrBusy
		}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = ErrFull
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		kind = ErrReadOnly
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", kind, err)
}
