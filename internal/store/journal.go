package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"strings"

	"drawbridge/bridge"
)

// States of a row in the outbox.
const (
	stateUnproven = iota - 1 // the network has it, and it may still come back
	stateQueued
	stateTried
	stateDead // parked: nobody takes it
	stateLost // its body cannot be opened any more
)

const lookSize = 16 // bytes of a key in ingress

// Ingest implements bridge.Journal.
func (s *Store) Ingest(ctx context.Context, batch []*bridge.Entry, done []bridge.Done) error {
	key, err := s.days.acquire(s.now())
	if err != nil {
		return err
	}
	defer s.days.release(key)
	looks := make([]byte, 0, len(batch)*lookSize)
	mac := hmac.New(sha256.New, s.look)
	n := 0
	for _, e := range batch {
		looks = appendLook(looks, mac, e)
		n += len(e.Rows)
	}
	bodies := make([][]byte, 0, n)
	for _, e := range batch {
		for _, r := range e.Rows {
			bodies = append(bodies, s.sealRow(key, r))
		}
	}
	at, now := places(batch), s.now().Unix()
	return s.w.do(ctx, "ingest", func(w *writer) error {
		looks, bodies := looks, bodies
		if err := w.confirm(done, now); err != nil {
			return err
		}
		for _, e := range batch {
			if err := w.ingest(e, key.id, looks[:lookSize], bodies); err != nil {
				return err
			}
			looks, bodies = looks[lookSize:], bodies[len(e.Rows):]
		}
		for p, value := range at {
			if _, err := w.setCursor.exec(p.leg, p.name, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendLook adds the key by which e is known again.
func appendLook(b []byte, mac hash.Hash, e *bridge.Entry) []byte {
	mac.Reset()
	_, _ = mac.Write(appendString(appendRoom(nil, e.Room), e.ID))
	at := len(b)
	return mac.Sum(b)[:at+lookSize]
}

// ingest takes one entry in.
func (w *writer) ingest(e *bridge.Entry, key int64, look []byte, bodies [][]byte) error {
	if err := w.addSeen(e); err != nil {
		return err
	}
	e.Again = false
	if e.ID != "" {
		n, err := w.addKey.exec(look, e.At.Unix())
		if err != nil {
			return err
		}
		e.Again = n == 0
	}
	for _, c := range e.Counts {
		c.Add(w.count(c.Bridge), e.Again)
	}
	if e.Again {
		return nil
	}
	for i, r := range e.Rows {
		src, err := w.roomNumber(r.From)
		if err != nil {
			return err
		}
		dst, err := w.roomNumber(r.To)
		if err != nil {
			return err
		}
		state := int64(stateQueued)
		if !r.Tried.IsZero() {
			state = stateTried
		}
		w.seq++
		r.Seq = w.seq
		_, err = w.addRow.exec(int64(r.Seq), dst, src, e.ID, r.ID, r.Bridge, state, nanos(r.Tried), nanos(r.Queued), key, bodies[i])
		if err != nil {
			return err
		}
		w.dRows++
	}
	return nil
}

// Tried implements bridge.Journal.
func (s *Store) Tried(ctx context.Context, tries []bridge.Try) error {
	return s.w.free(ctx, "tried", func(w *writer) error {
		for i := range tries {
			t := &tries[i]
			state := int64(stateQueued)
			if !t.At.IsZero() {
				state = stateTried
			}
			n, err := w.tried.exec(state, nanos(t.At), int64(t.Seq))
			if err != nil {
				return err
			}
			if n > 0 && t.Again != bridge.NoDoubt {
				t.Again.Add(w.count(t.Bridge))
			}
		}
		return nil
	})
}

// Confirm implements bridge.Journal.
func (s *Store) Confirm(ctx context.Context, done []bridge.Done) error {
	at := s.now().Unix()
	for len(done) > 0 { // small enough for the reserve
		part := done[:min(len(done), confirmPart)]
		done = done[len(part):]
		err := s.w.free(ctx, "confirm", func(w *writer) error { return w.confirm(part, at) })
		if err != nil {
			return err
		}
	}
	return nil
}

const confirmPart = 512 // rows ended by one operation

// confirm ends rows, or notes what became of them: those that follow each other
// by one statement.
func (w *writer) confirm(done []bridge.Done, at int64) error {
	for len(done) > 0 {
		n := run(done)
		if err := w.confirmRun(done[:n], at); err != nil {
			return err
		}
		done = done[n:]
	}
	return nil
}

// run is how many of done, from the first on, are of rows that follow each other
// and came to the same, so that one statement does for all.
func run(done []bridge.Done) int {
	n := 1
	for ; n < len(done); n++ {
		d := done[n]
		d.Seq, d.ID, d.To, d.NetID = done[0].Seq, done[0].ID, done[0].To, done[0].NetID
		if d != done[0] || done[n].Seq != done[0].Seq+uint64(n) {
			break
		}
	}
	return n
}

func (w *writer) confirmRun(done []bridge.Done, at int64) error {
	d := &done[0]
	first, last := int64(d.Seq), int64(done[len(done)-1].Seq)
	var n int64
	var err error
	switch d.Fate {
	case bridge.FateDead:
		n, err = w.parkRows.exec(d.Reason, first, last)
	case bridge.FateAcked:
		n, err = w.ackRows.exec(first, last)
	case bridge.FateUnread:
		n, err = w.unreadRows.exec(first, last)
	default:
		if d.Fate == bridge.FateRelayed {
			err = w.addToMap(done, at)
		}
		if err == nil {
			n, err = w.delRows.exec(first, last)
			w.dRows -= n
		}
	}
	for range n {
		d.Add(w.count(d.Bridge))
	}
	return err
}

// addToMap notes what rows that follow each other are called on both sides.
func (w *writer) addToMap(done []bridge.Done, at int64) error {
	for len(done) > 0 {
		n := 1
		for n < len(done) && done[n].NetID == done[0].NetID { // many networks give none
			n++
		}
		first := int64(done[0].Seq)
		if _, err := w.mapRows.exec(w.mapID+1-first, done[0].NetID, at, first, first+int64(n)-1); err != nil {
			return err
		}
		w.mapID += int64(n)
		done = done[n:]
	}
	return nil
}

// Load implements bridge.Journal. Rows that cannot be opened, because their day
// key is gone or they were altered, are not yielded: they are marked as lost,
// and counted in the log.
func (s *Store) Load(ctx context.Context, yield func(*bridge.Row) error) error {
	if err := s.endUnproven(ctx); err != nil {
		return fmt.Errorf("store: load: %w", err)
	}
	lost, err := s.load(ctx, yield)
	if err != nil {
		return fmt.Errorf("store: load: %w", classify(err))
	}
	return s.markLost(ctx, lost)
}

// endUnproven counts as relayed what the network had when the run before ended.
func (s *Store) endUnproven(ctx context.Context) error {
	rows, err := s.read.QueryContext(ctx, "SELECT seq, bridge FROM outbox WHERE state = -1")
	if err != nil {
		return classify(err)
	}
	var done []bridge.Done
	for rows.Next() && err == nil {
		d := bridge.Done{Fate: bridge.FateRelayed, Unproven: true}
		err = rows.Scan(&d.Seq, &d.Bridge)
		done = append(done, d)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return classify(err)
	}
	return s.Confirm(ctx, done)
}

// Rows implements bridge.Journal.
func (s *Store) Rows(ctx context.Context, seqs []uint64) (out []*bridge.Row, err error) {
	var lost []lostRow
	for len(seqs) > 0 && err == nil {
		part := seqs[:min(len(seqs), rowsPage)]
		seqs = seqs[len(part):]
		args := make([]any, len(part))
		for i, seq := range part {
			args[i] = int64(seq)
		}
		var gone []lostRow
		gone, err = s.loadWhere(ctx, "seq IN (?"+strings.Repeat(",?", len(part)-1)+")", args, func(r *bridge.Row) error {
			out = append(out, r)
			return nil
		})
		lost = append(lost, gone...)
	}
	if err != nil {
		return nil, fmt.Errorf("store: rows: %w", classify(err))
	}
	return out, s.markLost(ctx, lost)
}

const rowsPage = 256 // rows of one query of Rows

const loadRows = "SELECT seq, dst, src, wire_id, bridge, tried, queued, key_id, body FROM outbox WHERE state IN (0, 1) AND "

func (s *Store) load(ctx context.Context, yield func(*bridge.Row) error) (lost []lostRow, err error) {
	return s.loadWhere(ctx, "seq > ?", []any{int64(0)}, yield)
}

// loadWhere opens the rows that wait and match, in order. What many rows share
// they share in memory.
func (s *Store) loadWhere(ctx context.Context, where string, args []any, yield func(*bridge.Row) error) (lost []lostRow, err error) {
	rooms, err := roomsByID(ctx, s.read)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, loadRows+where+" ORDER BY seq", args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	shared := sharing{}
	for rows.Next() {
		r := &bridge.Row{}
		var dst, src, tried, queued, keyID int64
		var name, body sql.RawBytes
		if err := rows.Scan(&r.Seq, &dst, &src, &r.ID, &name, &tried, &queued, &keyID, &body); err != nil {
			return nil, err
		}
		r.To, r.From, r.Bridge = rooms[dst], rooms[src], shared.of(name)
		r.Queued, r.Tried = fromNanos(queued), fromNanos(tried)
		key := s.days.get(keyID)
		if key == nil || s.openRow(key, r, body) != nil {
			lost = append(lost, lostRow{r.Seq, r.Bridge, r.To})
			continue
		}
		r.Person, r.Name = shared.of([]byte(r.Person)), shared.of([]byte(r.Name))
		if err := yield(r); err != nil {
			return nil, err
		}
	}
	return lost, rows.Err()
}

// sharing keeps one copy of strings that come often.
type sharing map[string]string

func (m sharing) of(b []byte) string {
	if s, ok := m[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(m) < 4096 {
		m[s] = s
	}
	return s
}

// roomsByID reads the table room.
func roomsByID(ctx context.Context, db *sql.DB) (map[int64]bridge.Room, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, leg, kind, name FROM room")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[int64]bridge.Room{}
	for rows.Next() {
		var id int64
		var r bridge.Room
		if err := rows.Scan(&id, &r.Leg, &r.Kind, &r.Name); err != nil {
			return nil, err
		}
		out[id] = r
	}
	return out, rows.Err()
}

type lostRow struct {
	seq    uint64
	bridge string
	to     bridge.Room
}

// markLost takes what is left of the bodies away and says how many it was.
func (s *Store) markLost(ctx context.Context, lost []lostRow) error {
	if len(lost) == 0 {
		return nil
	}
	count := map[bridge.Room]int{}
	for _, l := range lost {
		count[l.to]++
	}
	for to, n := range count {
		s.log.Error("rows that waited are lost: they cannot be opened", "leg", to.Leg, "room", to.Name, "n", n)
	}
	s.lost.Add(int64(len(lost)))
	return s.w.free(ctx, "mark as lost", func(w *writer) error {
		for _, l := range lost {
			n, err := w.wipeRow.exec([]byte{}, int64(l.seq))
			if err != nil {
				return err
			}
			if n > 0 {
				bridge.Done{Fate: bridge.FateDead}.Add(w.count(l.bridge))
			}
		}
		return nil
	})
}

// Durable implements bridge.Journal: it is.
func (s *Store) Durable() bool { return true }
