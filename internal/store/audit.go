package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"drawbridge/bridge"
)

// Account is what a bridge counted, beside the rows that there are of it.
type Account struct {
	Bridge string        `json:"bridge"`
	Ledger bridge.Ledger `json:"ledger"`
	Rows   uint64        `json:"rows"` // that wait
	// Unproven are rows that the network has, and that may still come back.
	Unproven uint64 `json:"unproven"`
	Parked   uint64 `json:"parked"` // refused for good, until an admin retries or drops them
	Lost     uint64 `json:"lost"`   // their keys are gone
	// Balanced: the sums of the ledger hold, and as many rows wait as it says.
	Balanced bool `json:"balanced"`
}

// Audit returns the accounts of all bridges there ever were, by name, as they are
// at one moment.
func (s *Store) Audit(ctx context.Context) ([]Account, error) {
	out, err := audit(ctx, s.read)
	if err != nil {
		return nil, fmt.Errorf("store: audit: %w", classify(err))
	}
	return out, nil
}

// Audit returns the accounts of a store that no process has open. Errors are those
// of Open.
func Audit(ctx context.Context, cfg Config) (out []Account, err error) {
	err = withDB(cfg.Dir, func(db *sql.DB) (err error) {
		out, err = audit(ctx, db)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", cfg.Dir, classify(err))
	}
	return out, nil
}

// withDB opens the database of a store that no process has open.
func withDB(dir string, f func(*sql.DB) error) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, dbFile)); err != nil {
		return err
	}
	folder, err := takeFolder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.free()) }()
	db, err := openWhole(folder.path(dbFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(db)
}

func audit(ctx context.Context, db *sql.DB) ([]Account, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	all, err := ledgers(ctx, tx)
	if err != nil {
		return nil, err
	}
	accounts := map[string]*Account{}
	for name, l := range all {
		accounts[name] = &Account{Bridge: name, Ledger: l}
	}
	rows, err := tx.QueryContext(ctx, "SELECT bridge, state, count(*) FROM outbox GROUP BY bridge, state")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var state int
		var n uint64
		if err := rows.Scan(&name, &state, &n); err != nil {
			return nil, err
		}
		a := accounts[name]
		if a == nil {
			a = &Account{Bridge: name}
			accounts[name] = a
		}
		switch state {
		case stateDead:
			a.Parked += n
		case stateLost:
			a.Lost += n
		case stateUnproven:
			a.Unproven += n
		default:
			a.Rows += n
		}
	}
	out := []Account{}
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		a := accounts[name]
		a.Balanced = a.Ledger.Balanced() && a.Ledger.Waiting == a.Rows && a.Ledger.Unproven == a.Unproven && a.Parked+a.Lost <= a.Ledger.Dead
		out = append(out, *a)
	}
	return out, rows.Err()
}

// Trace is where one copy of a message went.
type Trace struct {
	From   bridge.Room `json:"from"`
	ID     string      `json:"id"` // where it was said
	To     bridge.Room `json:"to"`
	WireID string      `json:"wire_id"`          // that we gave it
	NetID  string      `json:"net_id,omitempty"` // that the network gave it
	State  string      `json:"state"`            // "delivered", "unproven", "queued", "tried", "parked" or "lost"
	At     time.Time   `json:"at"`               // when it was delivered, or queued
}

// maxTraces bounds what Trace returns.
const maxTraces = 200

// Trace finds the messages that go by id in any of their rooms, within RetainIDs.
// It says nothing of what was said.
func (s *Store) Trace(ctx context.Context, id string) ([]Trace, error) {
	if id == "" { // many have none where they were said
		return nil, nil
	}
	out, err := s.trace(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("store: trace: %w", classify(err))
	}
	return out, nil
}

func (s *Store) trace(ctx context.Context, id string) (out []Trace, err error) {
	rooms, err := roomsByID(ctx, s.read)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT src, src_id, dst, wire_id, net_id, -2, at * 1000000000 FROM msgmap WHERE src_id = ? OR wire_id = ? OR net_id = ?
		UNION ALL SELECT src, src_id, dst, wire_id, '', state, queued FROM outbox WHERE src_id = ? OR wire_id = ? LIMIT ?`, id, id, id, id, id, maxTraces)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t Trace
		var src, dst, at int64
		var state int
		if err := rows.Scan(&src, &t.ID, &dst, &t.WireID, &t.NetID, &state, &at); err != nil {
			return nil, err
		}
		t.From, t.To, t.At = rooms[src], rooms[dst], fromNanos(at)
		t.State = map[int]string{-2: "delivered", stateUnproven: "unproven", stateQueued: "queued", stateTried: "tried", stateDead: "parked", stateLost: "lost"}[state]
		out = append(out, t)
	}
	return out, rows.Err()
}
