package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"drawbridge/bridge"
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Waiting counts the rows of every destination that has any.
func (s *Store) Waiting(ctx context.Context) ([]Waiting, error) {
	w, err := waiting(ctx, s.read)
	if err != nil {
		return nil, fmt.Errorf("store: queue: %w", classify(err))
	}
	return w, nil
}

func waiting(ctx context.Context, db *sql.DB) (out []Waiting, err error) {
	rows, err := db.QueryContext(ctx, `SELECT d.leg, d.kind, d.name, o.state, count(*), min(o.queued)
		FROM outbox o JOIN room d ON d.id = o.dst WHERE o.state >= 0 GROUP BY d.leg, d.kind, d.name, o.state ORDER BY d.leg, d.kind, d.name`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r bridge.Room
		var state, n int
		var oldest int64
		if err := rows.Scan(&r.Leg, &r.Kind, &r.Name, &state, &n, &oldest); err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].Room != r {
			out = append(out, Waiting{Room: r})
		}
		w := &out[len(out)-1]
		switch state {
		case stateQueued:
			w.Queued = n
		case stateTried:
			w.Tried = n
		case stateDead:
			w.Dead = n
		default:
			w.Lost = n
		}
		if at := fromNanos(oldest); w.Oldest.IsZero() || at.Before(w.Oldest) {
			w.Oldest = at
		}
	}
	return out, rows.Err()
}

// Parked is a row that nobody takes any more. It says nothing of what was said.
type Parked struct {
	Seq    uint64      `json:"seq"`
	ID     string      `json:"id"` // wire id
	Bridge string      `json:"bridge"`
	From   bridge.Room `json:"from"`
	To     bridge.Room `json:"to"`
	Queued time.Time   `json:"queued"`
	Reason string      `json:"reason,omitempty"`
	Lost   bool        `json:"lost"` // its key is gone: it can only be dropped
}

// maxParked bounds what Parked returns.
const maxParked = 1000

// Parked returns the rows that are parked or lost, the oldest first, a thousand
// at most.
func (s *Store) Parked(ctx context.Context) ([]Parked, error) {
	out, err := s.parked(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: parked rows: %w", classify(err))
	}
	return out, nil
}

func (s *Store) parked(ctx context.Context) (out []Parked, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT o.seq, o.wire_id, o.bridge, o.state, o.queued, o.detail, d.leg, d.kind, d.name, f.leg, f.kind, f.name
		FROM outbox o JOIN room d ON d.id = o.dst JOIN room f ON f.id = o.src WHERE o.state >= 2 ORDER BY o.seq LIMIT ?`, maxParked)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p Parked
		var state int
		var queued int64
		err := rows.Scan(&p.Seq, &p.ID, &p.Bridge, &state, &queued, &p.Reason, &p.To.Leg, &p.To.Kind, &p.To.Name, &p.From.Leg, &p.From.Kind, &p.From.Name)
		if err != nil {
			return nil, err
		}
		p.Queued, p.Lost = fromNanos(queued), state == stateLost
		out = append(out, p)
	}
	return out, rows.Err()
}

// Drop deletes parked and lost rows, and returns how many it were.
func (s *Store) Drop(ctx context.Context, seqs []uint64) (n int64, err error) {
	err = s.w.free(ctx, "drop parked rows", func(w *writer) error {
		n = 0
		for _, seq := range seqs {
			one, err := w.delParked.exec(int64(seq))
			if err != nil {
				return err
			}
			w.dRows -= one
			n += one
		}
		return nil
	})
	return n, err
}

// Retry puts a parked row back among those that wait, and returns it for the
// core to send. Nil: it is not parked, or cannot be opened.
func (s *Store) Retry(ctx context.Context, seq uint64) (row *bridge.Row, err error) {
	var name string
	err = s.read.QueryRowContext(ctx, "SELECT bridge FROM outbox WHERE seq = ?", int64(seq)).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: retry a parked row: %w", classify(err))
	}
	var n int64
	err = s.w.do(ctx, "retry a parked row", func(w *writer) (err error) {
		if n, err = w.queueRow.exec(int64(seq)); n > 0 {
			l := w.count(name)
			l.Dead--
			l.Waiting++
		}
		return err
	})
	if err != nil || n == 0 {
		return nil, err
	}
	rows, err := s.Rows(ctx, []uint64{seq})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}
