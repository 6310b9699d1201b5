package store

import (
	"context"
	"fmt"

	"drawbridge/bridge"
)

var _ bridge.Cursors = (*Store)(nil)

// Cursors implements bridge.Cursors.
func (s *Store) Cursors(ctx context.Context, leg string) (map[string]string, error) {
	out, err := s.cursors(ctx, leg)
	if err != nil {
		return nil, fmt.Errorf("store: cursors: %w", classify(err))
	}
	return out, nil
}

func (s *Store) cursors(ctx context.Context, leg string) (map[string]string, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name, value FROM cursor WHERE leg = ?", leg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, rows.Err()
}

// SetCursor implements bridge.Cursors.
func (s *Store) SetCursor(ctx context.Context, leg string, c bridge.Cursor) error {
	return s.w.do(ctx, "cursor", func(w *writer) error {
		if c.Value == "" {
			_, err := w.delCursor.exec(leg, c.Name)
			return err
		}
		_, err := w.setCursor.exec(leg, c.Name, c.Value)
		return err
	})
}

type place struct{ leg, name string }

// places are where legs go on once a batch is committed: the last of each.
func places(batch []*bridge.Entry) (out map[place]string) {
	for _, e := range batch {
		if e.Cursor.Name == "" {
			continue
		}
		if out == nil {
			out = map[place]string{}
		}
		out[place{e.Room.Leg, e.Cursor.Name}] = e.Cursor.Value
	}
	return out
}
