package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// What a guard keeps is sealed like the secrets are: it names people, and who can
// write to the database but has not the master key can neither make a link or a
// ticket up nor move one to another name.

type guardStore struct{ *Store }

var _ guard.Store = guardStore{}

// Guard is the store as the guard has it.
func (s *Store) Guard() guard.Store { return guardStore{s} }

// guardSchema is the first schema with tables of the guard.
const guardSchema = 3

// Kinds of rows in the table guard.
const (
	guardRoom   = "room"
	guardBan    = "ban"
	guardTimer  = "timer"
	guardTicket = "ticket"
	guardLink   = "link"
)

// guardStmts write the tables guard and admitted.
type guardStmts struct {
	put, drop, admit, stay stmt
}

// guardName is what a row of the tables of the guard is known by: what it is of, and
// its name, as an HMAC.
func (s *Store) guardName(parts ...string) []byte {
	mac := hmac.New(sha256.New, s.look)
	b := []byte("guard\x00")
	for _, p := range parts {
		b = appendString(b, p)
	}
	_, _ = mac.Write(b)
	return mac.Sum(nil)[:lookSize]
}

// PutRoom implements guard.Store.
func (s guardStore) PutRoom(ctx context.Context, r guard.RoomState) error {
	return s.putGuard(ctx, guardRoom, r.Room, r)
}

// PutBan implements guard.Store.
func (s guardStore) PutBan(ctx context.Context, b policy.BanRecord) error {
	return s.putGuard(ctx, guardBan, b.ID, b)
}

// PutTimer implements guard.Store.
func (s guardStore) PutTimer(ctx context.Context, t guard.Timer) error {
	return s.putGuard(ctx, guardTimer, t.ID, t)
}

// PutTicket implements guard.Store.
func (s guardStore) PutTicket(ctx context.Context, t guard.Ticket) error {
	return s.putGuard(ctx, guardTicket, t.ID, t)
}

// PutLink implements guard.Store.
func (s guardStore) PutLink(ctx context.Context, l guard.Link) error {
	return s.putGuard(ctx, guardLink, l.ID, l)
}

func (s *Store) putGuard(ctx context.Context, kind, name string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: %s: %w", kind, err)
	}
	id := s.guardName(name)
	sealed := s.sealSecret("guard "+kind, string(id), value)
	return s.w.do(ctx, kind, func(w *writer) error {
		_, err := w.guard.put.exec(id, kind, sealed)
		return err
	})
}

// Drop implements guard.Store.
func (s guardStore) Drop(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	return s.w.free(ctx, "forget", func(w *writer) error {
		for _, id := range ids {
			if _, err := w.guard.drop.exec(s.guardName(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// admittedRow is who a row of admitted is.
type admittedRow struct {
	Room string `json:"room"`
	Who  string `json:"who"`
}

// Admit implements guard.Store. Those beyond guard.MaxAdmitted go within minutes.
func (s guardStore) Admit(ctx context.Context, room string, seen map[string]time.Time) error {
	type row struct {
		who, sealed []byte
		at          int64
	}
	of := s.guardName("admitted", room)
	rows := make([]row, 0, len(seen))
	for who, at := range seen {
		value, err := json.Marshal(admittedRow{room, who})
		if err != nil {
			return fmt.Errorf("store: admit: %w", err)
		}
		name := s.guardName("admitted", room, who)
		rows = append(rows, row{name, s.sealSecret("admitted", string(name), value), nanos(at)})
	}
	for part := range slices.Chunk(rows, sweepChunk) {
		err := s.w.do(ctx, "admit", func(w *writer) error {
			for _, r := range part {
				if _, err := w.guard.admit.exec(of, r.who, r.at, r.sealed); err != nil {
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

// sweepAdmitted forgets those who are longest away, where a room has too many.
func (s *Store) sweepAdmitted(ctx context.Context) error {
	rows, err := s.read.QueryContext(ctx, "SELECT room FROM admitted GROUP BY room HAVING count(*) > ?", guard.MaxAdmitted)
	if err != nil {
		return classify(err)
	}
	var full [][]byte
	for rows.Next() {
		var room []byte
		if err = rows.Scan(&room); err != nil {
			break
		}
		full = append(full, room)
	}
	if err == nil {
		err = rows.Err()
	}
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return classify(err)
	}
	for _, room := range full {
		err := s.w.free(ctx, "forget who was admitted", func(w *writer) error {
			_, err := w.guard.stay.exec(room, room, int64(guard.MaxAdmitted))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepGuard forgets acts from before a time, and whom there is no room for.
func (s *Store) sweepGuard(ctx context.Context, before time.Time) error {
	if err := s.sweepActs(ctx, before); err != nil {
		return err
	}
	return s.sweepAdmitted(ctx)
}

// Load implements guard.Store. A row that cannot be opened or read is an error: a ban
// must not be lost in silence.
func (s guardStore) Load(ctx context.Context) (guard.Kept, error) { return s.loadGuard(ctx) }

func (s *Store) loadGuard(ctx context.Context) (guard.Kept, error) {
	var k guard.Kept
	if err := s.eachGuard(ctx, func(kind string, value []byte) error { return addKept(&k, kind, value) }); err != nil {
		return guard.Kept{}, fmt.Errorf("store: guard: %w", classify(err))
	}
	if err := s.addAdmitted(ctx, &k); err != nil {
		return guard.Kept{}, fmt.Errorf("store: guard: %w", classify(err))
	}
	slices.SortFunc(k.Rooms, func(a, b guard.RoomState) int { return strings.Compare(a.Room, b.Room) })
	slices.SortFunc(k.Bans, func(a, b policy.BanRecord) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(k.Timers, func(a, b guard.Timer) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(k.Tickets, func(a, b guard.Ticket) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(k.Links, func(a, b guard.Link) int { return strings.Compare(a.ID, b.ID) })
	return k, nil
}

// eachGuard opens the rows of the table guard.
func (s *Store) eachGuard(ctx context.Context, use func(kind string, value []byte) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT id, kind, value FROM guard")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, sealed []byte
		var kind string
		if err := rows.Scan(&id, &kind, &sealed); err != nil {
			return err
		}
		value, err := s.openSecret("guard "+kind, string(id), sealed)
		if err != nil {
			return fmt.Errorf("%w: a %.20s of the guard does not open", ErrCorrupt, kind)
		}
		if err := use(kind, value); err != nil {
			return fmt.Errorf("%w: a %.20s of the guard: %w", ErrCorrupt, kind, err)
		}
	}
	return rows.Err()
}

// addKept reads one row.
func addKept(k *guard.Kept, kind string, value []byte) error {
	switch kind {
	case guardRoom:
		return addTo(&k.Rooms, value)
	case guardBan:
		return addTo(&k.Bans, value)
	case guardTimer:
		return addTo(&k.Timers, value)
	case guardTicket:
		return addTo(&k.Tickets, value)
	case guardLink:
		return addTo(&k.Links, value)
	}
	return errors.New("no such kind")
}

func addTo[T any](list *[]T, value []byte) error {
	var v T
	err := json.Unmarshal(value, &v)
	*list = append(*list, v)
	return err
}

// addAdmitted gives the rooms those who were admitted; a room of which nothing else
// is kept is added.
func (s *Store) addAdmitted(ctx context.Context, k *guard.Kept) error {
	rows, err := s.read.QueryContext(ctx, "SELECT who, at, value FROM admitted")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, sealed []byte
		var at int64
		if err := rows.Scan(&name, &at, &sealed); err != nil {
			return err
		}
		value, err := s.openSecret("admitted", string(name), sealed)
		var a admittedRow
		if err == nil {
			err = json.Unmarshal(value, &a)
		}
		if err != nil {
			return fmt.Errorf("%w: who was admitted: %w", ErrCorrupt, err)
		}
		i := slices.IndexFunc(k.Rooms, func(r guard.RoomState) bool { return r.Room == a.Room })
		if i < 0 {
			i, k.Rooms = len(k.Rooms), append(k.Rooms, guard.RoomState{Room: a.Room})
		}
		if k.Rooms[i].Admitted == nil {
			k.Rooms[i].Admitted = map[string]time.Time{}
		}
		k.Rooms[i].Admitted[a.Who] = fromNanos(at).UTC()
	}
	for i := range k.Rooms {
		keepNewest(k.Rooms[i].Admitted)
	}
	return rows.Err()
}

// keepNewest leaves guard.MaxAdmitted of them.
func keepNewest(seen map[string]time.Time) {
	over := len(seen) - guard.MaxAdmitted
	if over <= 0 {
		return
	}
	for _, who := range slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return seen[a].Compare(seen[b]) })[:over] {
		delete(seen, who)
	}
}
