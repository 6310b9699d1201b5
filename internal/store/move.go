package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge/migrate"
)

// What a migration keeps is sealed like what a guard keeps: it names people, and says
// when they spoke.

type moveStore struct{ *Store }

var _ migrate.Store = moveStore{}

// Migrate is the store as migrations have it.
func (s *Store) Migrate() migrate.Store { return moveStore{s} }

// moveSchema is the first schema with the table move.
const moveSchema = 4

// Kinds of rows in the table move.
const (
	movePhase   = "phase"
	moveDay     = "day"
	moveSpeaker = "speaker"
	moveRefusal = "refusal"
	moveTalk    = "talk"
)

// moveStmts write the table move.
type moveStmts struct {
	put, drop, forget stmt
}

// moveRow is one row on its way to the table.
type moveRow struct {
	kind   string
	id     []byte
	at     int64
	sealed []byte
}

func (s *Store) moveRow(kind string, at time.Time, v any, name ...string) (moveRow, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return moveRow{}, fmt.Errorf("store: %s: %w", kind, err)
	}
	id := s.guardName(append([]string{"move", kind}, name...)...)
	return moveRow{kind, id, at.Unix(), s.sealSecret("move "+kind, string(id), value)}, nil
}

// putMove writes rows, and forgets others, a chunk at a time.
func (s *Store) putMove(ctx context.Context, what string, rows []moveRow) error {
	for part := range slices.Chunk(rows, sweepChunk) {
		err := s.w.do(ctx, what, func(w *writer) error {
			for _, r := range part {
				var err error
				if r.sealed == nil {
					_, err = w.move.drop.exec(r.id, r.kind)
				} else {
					_, err = w.move.put.exec(r.id, r.kind, r.at, r.sealed)
				}
				if err != nil {
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

func (s *Store) putOneMove(ctx context.Context, kind string, at time.Time, v any, name ...string) error {
	r, err := s.moveRow(kind, at, v, name...)
	if err != nil {
		return err
	}
	return s.putMove(ctx, kind, []moveRow{r})
}

// PutState implements migrate.Store.
func (s moveStore) PutState(ctx context.Context, x migrate.State) error {
	return s.putOneMove(ctx, movePhase, x.Since, x, x.Bridge)
}

// PutRefusal implements migrate.Store.
func (s moveStore) PutRefusal(ctx context.Context, x migrate.Refusal) error {
	return s.putOneMove(ctx, moveRefusal, x.At, x, x.Leg, x.Name)
}

// PutTalk implements migrate.Store.
func (s moveStore) PutTalk(ctx context.Context, x migrate.Talk) error {
	return s.putOneMove(ctx, moveTalk, x.At, x, x.ID)
}

// PutCounts implements migrate.Store.
func (s moveStore) PutCounts(ctx context.Context, days []migrate.Day, speakers []migrate.Speaker, gone []migrate.SpeakerID) error {
	var rows []moveRow
	for i := range days {
		d := &days[i]
		at, err := time.Parse(time.DateOnly, d.Date)
		if err != nil {
			return fmt.Errorf("store: day: %w", err)
		}
		r, err := s.moveRow(moveDay, at, d, d.Bridge, d.Date)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	for i := range speakers {
		x := &speakers[i]
		r, err := s.moveRow(moveSpeaker, x.Last, x, speakerName(x.SpeakerID)...)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	for _, id := range gone {
		rows = append(rows, moveRow{kind: moveSpeaker, id: s.guardName(append([]string{"move", moveSpeaker}, speakerName(id)...)...)})
	}
	return s.putMove(ctx, "counts", rows)
}

func speakerName(id migrate.SpeakerID) []string {
	return []string{id.Bridge, id.Leg, id.Kind, id.Name}
}

func (s *Store) dropMove(ctx context.Context, kind string, name ...string) error {
	return s.putMove(ctx, "forget", []moveRow{{kind: kind, id: s.guardName(append([]string{"move", kind}, name...)...)}})
}

// DropTalk implements migrate.Store.
func (s moveStore) DropTalk(ctx context.Context, id string) error {
	return s.dropMove(ctx, moveTalk, id)
}

// DropRefusal implements migrate.Store.
func (s moveStore) DropRefusal(ctx context.Context, id migrate.RefusalID) error {
	return s.dropMove(ctx, moveRefusal, id.Leg, id.Name)
}

// Forget implements migrate.Store.
func (s moveStore) Forget(ctx context.Context, before time.Time) error {
	return s.w.free(ctx, "forget counts", func(w *writer) error {
		day := before.UTC().Truncate(24 * time.Hour).Unix()
		for kind, at := range map[string]int64{moveDay: day, moveSpeaker: before.Unix(), moveTalk: before.Unix()} {
			if _, err := w.move.forget.exec(kind, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// Load implements migrate.Store. A row that cannot be opened or read is an error: a phase
// or a refusal must not be lost in silence.
func (s moveStore) Load(ctx context.Context) (migrate.Kept, error) { return s.loadMove(ctx) }

func (s *Store) loadMove(ctx context.Context) (migrate.Kept, error) {
	var k migrate.Kept
	err := s.eachMove(ctx, "kind <> 'talk'", nil, func(kind string, value []byte) error {
		switch kind {
		case movePhase:
			return addTo(&k.States, value)
		case moveDay:
			return addTo(&k.Days, value)
		case moveSpeaker:
			return addTo(&k.Speakers, value)
		case moveRefusal:
			return addTo(&k.Refusals, value)
		}
		return errors.New("no such kind")
	})
	if err != nil {
		return migrate.Kept{}, fmt.Errorf("store: migration: %w", classify(err))
	}
	k.Sort()
	return k, nil
}

// Talk implements migrate.Store.
func (s moveStore) Talk(ctx context.Context, id string) (migrate.Talk, bool, error) {
	var found []migrate.Talk
	err := s.eachMove(ctx, "kind = 'talk' AND id = ?", []any{s.guardName("move", moveTalk, id)}, func(_ string, value []byte) error { return addTo(&found, value) })
	switch {
	case err != nil:
		return migrate.Talk{}, false, fmt.Errorf("store: talk: %w", classify(err))
	case len(found) == 0:
		return migrate.Talk{}, false, nil
	}
	return found[0], true, nil
}

// Talks implements migrate.Store.
func (s moveStore) Talks(ctx context.Context) (out []migrate.Talk, err error) {
	err = s.eachMove(ctx, "kind = 'talk'", nil, func(_ string, value []byte) error { return addTo(&out, value) })
	if err != nil {
		return nil, fmt.Errorf("store: talks: %w", classify(err))
	}
	slices.SortFunc(out, func(a, b migrate.Talk) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// eachMove opens rows of the table move.
func (s *Store) eachMove(ctx context.Context, where string, args []any, use func(kind string, value []byte) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT id, kind, value FROM move WHERE "+where, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := s.openMove(rows, use); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) openMove(rows *sql.Rows, use func(kind string, value []byte) error) error {
	var id, sealed []byte
	var kind string
	if err := rows.Scan(&id, &kind, &sealed); err != nil {
		return err
	}
	value, err := s.openSecret("move "+kind, string(id), sealed)
	if err != nil {
		return fmt.Errorf("%w: a %.20s of a migration does not open", ErrCorrupt, kind)
	}
	if err := use(kind, value); err != nil {
		return fmt.Errorf("%w: a %.20s of a migration: %w", ErrCorrupt, kind, err)
	}
	return nil
}
