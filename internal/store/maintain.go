package store

import (
	"context"
	"time"
)

const (
	maintainEvery = 5 * time.Minute
	sweepChunk    = 500 // ids deleted in one operation
)

// maintain does what is due by the clock until ctx ends.
func (s *Store) maintain(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx, s.now().Add(-s.retain)); err != nil && ctx.Err() == nil {
			s.log.Warn("store: old ids not forgotten", "err", err)
		}
		if err := s.sweepGuard(ctx, s.now().Add(-s.retainAudit)); err != nil && ctx.Err() == nil {
			s.log.Warn("store: old acts of the guard not forgotten", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.shredKeys(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("store: day keys not destroyed", "err", err)
		}
	}
}

// shredKeys destroys the day keys that no row needs any more. Once the outbox
// is empty that is the current one too: the next row makes another.
func (s *Store) shredKeys(ctx context.Context) error {
	if s.w.rows.Load() == 0 {
		s.days.retire()
	}
	ids := s.days.idle() // first: no row can be sealed under these any more
	if len(ids) == 0 {
		return nil
	}
	used, err := s.usedKeys(ctx)
	if err != nil {
		return classify(err)
	}
	var gone []int64
	for _, id := range ids {
		if !used[id] {
			gone = append(gone, id)
		}
	}
	return classify(s.days.destroy(gone))
}

// usedKeys are the day keys of the rows in the outbox.
func (s *Store) usedKeys(ctx context.Context) (map[int64]bool, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT DISTINCT key_id FROM outbox")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	used := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		used[id] = true
	}
	return used, rows.Err()
}

// sweep forgets ids older than before.
func (s *Store) sweep(ctx context.Context, before time.Time) error {
	for _, t := range []struct {
		page string // keys in order, from one on
		del  func(*writer) stmt
	}{
		{"SELECT key, at FROM ingress WHERE key > ? ORDER BY key LIMIT 4096", func(w *writer) stmt { return w.delKey }},
		{"SELECT mark, at FROM replay WHERE mark > ? ORDER BY mark LIMIT 4096", func(w *writer) stmt { return w.delReplay }},
	} {
		from := []byte{}
		for from != nil && ctx.Err() == nil {
			var old [][]byte
			var err error
			if old, from, err = s.oldKeys(ctx, t.page, from, before.Unix()); err != nil {
				return classify(err)
			}
			if err := s.forget(ctx, old, t.del); err != nil {
				return err
			}
		}
	}
	return s.sweepMap(ctx, before.Unix())
}

// oldKeys looks at one page of a table by its key; next is nil at its end.
func (s *Store) oldKeys(ctx context.Context, page string, from []byte, before int64) (old [][]byte, next []byte, err error) {
	rows, err := s.read.QueryContext(ctx, page, from)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var at int64
		next = nil
		if err := rows.Scan(&next, &at); err != nil {
			return nil, nil, err
		}
		if at < before {
			old = append(old, next)
		}
	}
	return old, next, rows.Err()
}

func (s *Store) forget(ctx context.Context, keys [][]byte, del func(*writer) stmt) error {
	for len(keys) > 0 {
		chunk := keys[:min(len(keys), sweepChunk)]
		keys = keys[len(chunk):]
		err := s.w.free(ctx, "forget ids", func(w *writer) error {
			for _, k := range chunk {
				if _, err := del(w).exec(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepMap forgets the oldest rows of msgmap; they are in the order of time.
func (s *Store) sweepMap(ctx context.Context, before int64) error {
	for ctx.Err() == nil {
		var last, n int64
		err := s.read.QueryRowContext(ctx,
			"SELECT coalesce(max(id), 0), count(*) FROM (SELECT id, at FROM msgmap ORDER BY id LIMIT 500) AS page WHERE at < ?", before).Scan(&last, &n)
		if err != nil {
			return classify(err)
		}
		if n == 0 {
			return nil
		}
		err = s.w.free(ctx, "forget ids", func(w *writer) error {
			_, err := w.delMap.exec(last)
			return err
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
	return nil
}
