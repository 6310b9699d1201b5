package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"drawbridge/bridge"
)

// Ledgers implements bridge.Journal.
func (s *Store) Ledgers(ctx context.Context) (map[string]bridge.Ledger, error) {
	out, err := ledgers(ctx, s.read)
	if err != nil {
		return nil, fmt.Errorf("store: ledgers: %w", classify(err))
	}
	for name, l := range out {
		out[name] = l.Past()
	}
	return out, nil
}

// ledgers reads those of all bridges. Their Waiting is how many rows of the
// bridge are in the outbox and neither parked nor lost.
func ledgers(ctx context.Context, db queryer) (map[string]bridge.Ledger, error) {
	rows, err := db.QueryContext(ctx, "SELECT bridge, counters FROM ledger")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]bridge.Ledger{}
	for rows.Next() {
		var name string
		var text []byte
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		var l bridge.Ledger
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("%w: ledger of %.40q", ErrCorrupt, name)
		}
		out[name] = l
	}
	return out, rows.Err()
}

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// count returns the ledger of a bridge, to be changed by this transaction.
func (w *writer) count(name string) *bridge.Ledger {
	l := w.counted[name]
	if l == nil {
		old := w.ledgers[name]
		l = &old
		w.counted[name] = l
	}
	return l
}

// writeLedgers writes those that this transaction changed.
func (w *writer) writeLedgers() error {
	for name, l := range w.counted {
		if *l == w.ledgers[name] {
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := w.setLedger.exec(name, string(text)); err != nil {
			return err
		}
	}
	return nil
}

func cloneLedgers(m map[string]*bridge.Ledger) map[string]*bridge.Ledger {
	out := make(map[string]*bridge.Ledger, len(m))
	for name, l := range m {
		one := *l
		out[name] = &one
	}
	return out
}

// unbalanced names the bridges whose ledgers do not add up, or do not agree with
// the rows of the outbox.
func unbalanced(ctx context.Context, db *sql.DB) (out []string, err error) {
	accounts, err := audit(ctx, db)
	for _, a := range accounts {
		if !a.Balanced {
			out = append(out, a.Bridge)
		}
	}
	return out, err
}
