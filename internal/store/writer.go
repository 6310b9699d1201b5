package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
)

const (
	maxBatch = 256 // operations of one transaction
	// idleTime is how long nothing is written before the WAL of an empty outbox is
	// truncated; truncateEvery how long it may stay untruncated at all.
	idleTime      = time.Second
	truncateEvery = 5 * time.Minute
)

// op is one operation of the writer: all of it is committed, or nothing.
type op struct {
	what  string
	frees bool // it may use the reserve: it takes no room, or ends rows
	// run may run twice: with others first, and alone if one of them fails.
	run  func(*writer) error
	err  chan error // capacity 1
	once atomic.Bool
}

// take reports whether the caller is the first: the writer to run the operation,
// or who asked for it to give up.
func (o *op) take() bool { return !o.once.Swap(true) }

// writer owns the one connection that writes. Its goroutine commits together
// whatever waits: while one commit is on its way to the disk, the next batch
// gathers by itself.
type writer struct {
	log     *slog.Logger
	conn    *conn
	wal     string   // path of the WAL
	reserve string   // path of the reserve
	ops     chan *op // as many may wait as fit into one batch; more block their callers

	mu     sync.RWMutex // guards closed: nothing is put into ops after it
	closed bool

	begin, commit, rollback        stmt
	save, release, undo            stmt
	truncate                       stmt
	addKey, addRow, tried, mapRows stmt
	delRows, parkRows              stmt
	wipeRow, queueRow, delParked   stmt
	ackRows, unreadRows            stmt
	addRoom, setSecret, delSecret  stmt
	setCursor, delCursor           stmt
	delKey, delReplay, delMap      stmt
	addReplay, setLedger           stmt
	guard                          guardStmts
	acts                           actStmts
	move                           moveStmts

	// What follows only the writer's goroutine touches.
	seq     uint64 // of the last row
	mapID   int64  // of the last row of msgmap
	rooms   map[bridge.Room]int64
	roomID  int64
	newRoom []bridge.Room // of this transaction
	dRows   int64         // rows more, by this transaction
	ledgers map[string]bridge.Ledger
	counted map[string]*bridge.Ledger // changed by this transaction
	dirty   bool                      // the WAL holds something
	lean    time.Time                 // when it was last tried to have a reserve; zero while there is one
	lastAt  time.Time                 // of the last truncation
	act     chainEnd                  // the newest act of the guard, with those of this transaction
	acted   chainEnd                  // the newest that is committed

	rows    atomic.Int64 // in the outbox, committed, whatever their state
	copying atomic.Int64 // backups under way: the WAL cannot be truncated
	stats   stats
}

// newWriter prepares the statements and reads where counting goes on.
func (s *Store) newWriter(ctx context.Context, c *conn) (*writer, error) {
	w := &writer{log: s.log, conn: c, wal: s.folder.path(dbFile) + "-wal", reserve: s.folder.path(reserveFile), ops: make(chan *op, maxBatch), rooms: map[bridge.Room]int64{}, counted: map[string]*bridge.Ledger{}, dirty: true, lastAt: time.Now()}
	for _, p := range []struct {
		to   *stmt
		text string
	}{
		{&w.begin, "BEGIN IMMEDIATE"},
		{&w.commit, "COMMIT"},
		{&w.rollback, "ROLLBACK"},
		{&w.save, "SAVEPOINT op"},
		{&w.release, "RELEASE SAVEPOINT op"},
		{&w.undo, "ROLLBACK TO SAVEPOINT op"},
		{&w.truncate, "PRAGMA wal_checkpoint(TRUNCATE)"},
		{&w.addKey, "INSERT INTO ingress (key, at) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"},
		{&w.addRow, "INSERT INTO outbox (seq, dst, src, src_id, wire_id, bridge, state, tried, queued, key_id, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&w.tried, "UPDATE outbox SET state = ?, tried = ? WHERE seq = ? AND state IN (0, 1)"},
		{&w.ackRows, "UPDATE outbox SET state = -1 WHERE seq BETWEEN ? AND ? AND state IN (0, 1)"},
		{&w.unreadRows, "UPDATE outbox SET state = 0, tried = 0 WHERE seq BETWEEN ? AND ? AND (state IN (-1, 1) OR tried <> 0) AND state < 2"},
		{&w.mapRows, "INSERT INTO msgmap (id, src, src_id, dst, wire_id, net_id, at) SELECT seq + ?, src, src_id, dst, wire_id, ?, ? FROM outbox WHERE seq BETWEEN ? AND ? AND state < 2"},
		{&w.delRows, "DELETE FROM outbox WHERE seq BETWEEN ? AND ? AND state < 2"},
		{&w.parkRows, "UPDATE outbox SET state = 2, detail = ? WHERE seq BETWEEN ? AND ? AND state < 2"},
		{&w.wipeRow, "UPDATE outbox SET state = 3, key_id = 0, body = ? WHERE seq = ? AND state < 2"},
		{&w.queueRow, "UPDATE outbox SET state = 0, tried = 0, detail = '' WHERE seq = ? AND state = 2"},
		{&w.delParked, "DELETE FROM outbox WHERE seq = ? AND state >= 2"},
		{&w.addRoom, "INSERT INTO room (id, leg, kind, name) VALUES (?, ?, ?, ?)"},
		{&w.setSecret, setSecret},
		{&w.delSecret, "DELETE FROM secret WHERE kind = ? AND owner = ?"},
		{&w.setCursor, "INSERT INTO cursor (leg, name, value) VALUES (?, ?, ?) ON CONFLICT (leg, name) DO UPDATE SET value = excluded.value"},
		{&w.delCursor, "DELETE FROM cursor WHERE leg = ? AND name = ?"},
		{&w.delKey, "DELETE FROM ingress WHERE key = ?"},
		{&w.delReplay, "DELETE FROM replay WHERE mark = ?"},
		{&w.delMap, "DELETE FROM msgmap WHERE id <= ?"},
		{&w.addReplay, "INSERT INTO replay (mark, sender, at) VALUES (?, ?, ?) ON CONFLICT (mark) DO NOTHING"},
		{&w.guard.put, "INSERT INTO guard (id, kind, value) VALUES (?, ?, ?) ON CONFLICT (id, kind) DO UPDATE SET value = excluded.value"},
		{&w.guard.drop, "DELETE FROM guard WHERE id = ? AND kind <> 'room'"},
		{&w.guard.admit, "INSERT INTO admitted (room, who, at, value) VALUES (?, ?, ?, ?) ON CONFLICT (room, who) DO UPDATE SET at = excluded.at"},
		{&w.guard.stay, "DELETE FROM admitted WHERE room = ? AND who NOT IN (SELECT who FROM admitted WHERE room = ? ORDER BY at DESC, who LIMIT ?)"},
		{&w.move.put, "INSERT INTO move (id, kind, at, value) VALUES (?, ?, ?, ?) ON CONFLICT (id, kind) DO UPDATE SET at = excluded.at, value = excluded.value"},
		{&w.move.drop, "DELETE FROM move WHERE id = ? AND kind = ?"},
		{&w.move.forget, "DELETE FROM move WHERE kind = ? AND at < ?"},
		{&w.acts.add, "INSERT INTO act (seq, at, line, hash) VALUES (?, ?, ?, ?)"},
		{&w.acts.del, "DELETE FROM act WHERE seq <= ?"},
		{&w.setLedger, "INSERT INTO ledger (bridge, counters) VALUES (?, ?) ON CONFLICT (bridge) DO UPDATE SET counters = excluded.counters"},
	} {
		var err error
		if *p.to, err = c.prepare(p.text); err != nil {
			return nil, err
		}
	}
	var err error
	if w.ledgers, err = ledgers(ctx, s.read); err != nil {
		return nil, err
	}
	var rows int64
	if err := s.read.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0), count(*) FROM outbox").Scan(&w.seq, &rows); err != nil {
		return nil, err
	}
	w.rows.Store(rows)
	if w.acted, err = s.chainEnd(ctx, s.read, auditHead); err != nil {
		return nil, err
	}
	w.act = w.acted
	if err := s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM msgmap").Scan(&w.mapID); err != nil {
		return nil, err
	}
	if err := w.saveUp(); err != nil {
		if !errors.Is(classify(err), ErrFull) {
			return nil, err
		}
		w.log.Error("store: the disk is full: nothing is taken in", "err", err)
		w.lean = time.Now()
	}
	found, err := roomsByID(ctx, s.read)
	for id, r := range found {
		w.rooms[r], w.roomID = id, max(w.roomID, id)
	}
	return w, err
}

// do runs f in the next transaction and returns when that is on the disk, or
// nothing of f was kept. f may be called twice, and not at all once ctx ended.
func (w *writer) do(ctx context.Context, what string, f func(*writer) error) error {
	return w.ask(ctx, &op{what: what, run: f, err: make(chan error, 1)})
}

// free is do for what takes no room, or makes some: it may use the reserve.
func (w *writer) free(ctx context.Context, what string, f func(*writer) error) error {
	return w.ask(ctx, &op{what: what, frees: true, run: f, err: make(chan error, 1)})
}

func (w *writer) ask(ctx context.Context, o *op) error {
	what := o.what
	if err := w.put(ctx, o); err != nil {
		return fmt.Errorf("store: %s: %w", what, err)
	}
	var err error
	select {
	case err = <-o.err:
	case <-ctx.Done():
		if o.take() {
			return fmt.Errorf("store: %s: %w", what, ctx.Err())
		}
		err = <-o.err // it is being committed: what came of it must be known
	}
	if err != nil {
		return fmt.Errorf("store: %s: %w", what, classify(err))
	}
	return nil
}

func (w *writer) put(ctx context.Context, o *op) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return ErrClosed
	}
	select {
	case w.ops <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close makes run end once it has committed what waits.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.ops)
}

// run commits until ops is closed.
func (w *writer) run() {
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	batch := make([]*op, 0, maxBatch)
	for {
		select {
		case o, ok := <-w.ops:
			if !ok {
				return
			}
			batch = w.gather(append(batch[:0], o))
			w.transact(batch)
			clear(batch)
			if time.Since(w.lastAt) >= truncateEvery {
				w.checkpoint()
			}
			idle.Reset(idleTime)
		case <-idle.C:
			if w.dirty && (w.rows.Load() == 0 || time.Since(w.lastAt) >= truncateEvery) {
				w.checkpoint()
			}
			if w.dirty {
				idle.Reset(truncateEvery)
			}
		}
	}
}

// gather adds what waits already to a batch.
func (w *writer) gather(batch []*op) []*op {
	for len(batch) < maxBatch {
		select {
		case o, ok := <-w.ops:
			if !ok {
				return batch
			}
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

// transact commits a batch and tells those who wait. An operation that fails
// does not fail the others.
func (w *writer) transact(batch []*op) {
	live := batch[:0]
	for _, o := range batch {
		if o.take() {
			live = append(live, o)
		}
	}
	if !w.recover() {
		live = w.refuse(live, ErrFull)
	}
	if len(live) == 0 {
		return
	}
	start := time.Now()
	w.dirty = true
	err := w.together(live)
	if errors.Is(classify(err), ErrFull) && w.lean.IsZero() && w.spend() {
		if live = w.refuse(live, err); len(live) == 0 {
			return
		}
		err = w.together(live)
	}
	if err != nil && len(live) > 1 && !sticky(err) {
		w.apart(live)
		return
	}
	w.stats.commit(len(live), time.Since(start), err)
	for _, o := range live {
		o.err <- err
	}
}

// refuse fails those that may not use the reserve, and returns the others.
func (w *writer) refuse(live []*op, err error) (frees []*op) {
	var grow []*op
	for _, o := range live {
		if o.frees {
			frees = append(frees, o)
		} else {
			grow = append(grow, o)
		}
	}
	w.fail(grow, err)
	return frees
}

// together runs all operations in one transaction, without savepoints: that one
// of them fails is rare.
func (w *writer) together(live []*op) error {
	if _, err := w.begin.exec(); err != nil {
		return err
	}
	for _, o := range live {
		if err := o.run(w); err != nil {
			w.abandon()
			return err
		}
	}
	return w.finish()
}

// apart runs each operation in a savepoint of its own, because one of them
// fails.
func (w *writer) apart(live []*op) {
	start := time.Now()
	if _, err := w.begin.exec(); err != nil {
		w.fail(live, err)
		return
	}
	var good []*op
	for i, o := range live {
		if _, err := w.save.exec(); err != nil {
			w.abandon()
			w.fail(append(good, live[i:]...), err)
			return
		}
		rows, rooms, counted, act := w.dRows, len(w.newRoom), cloneLedgers(w.counted), w.act
		if failed := o.run(w); failed != nil {
			w.dRows, w.counted, w.act = rows, counted, act
			w.forgetRooms(rooms)
			if _, err := w.undo.exec(); err != nil {
				w.abandon()
				w.fail(append(good, live[i:]...), err)
				return
			}
			o.err <- failed
		} else {
			good = append(good, o)
		}
		if _, err := w.release.exec(); err != nil {
			w.abandon()
			w.fail(append(good, live[i+1:]...), err)
			return
		}
	}
	err := w.finish()
	w.stats.commit(len(good), time.Since(start), err)
	for _, o := range good {
		o.err <- err
	}
}

func (w *writer) fail(ops []*op, err error) {
	if len(ops) == 0 {
		return
	}
	w.stats.commit(len(ops), 0, err)
	for _, o := range ops {
		o.err <- err
	}
}

// finish commits, with what was counted.
func (w *writer) finish() error {
	err := w.writeLedgers()
	if err == nil {
		_, err = w.commit.exec()
	}
	if err != nil {
		w.abandon()
		return err
	}
	for name, l := range w.counted {
		w.ledgers[name] = *l
	}
	clear(w.counted)
	w.rows.Add(w.dRows)
	w.dRows, w.newRoom, w.acted = 0, w.newRoom[:0], w.act
	return nil
}

// abandon rolls back, and takes back what was noted of the transaction.
func (w *writer) abandon() {
	_, _ = w.rollback.exec() // SQLite may have rolled back already
	clear(w.counted)
	w.dRows, w.act = 0, w.acted
	w.forgetRooms(0)
}

func (w *writer) forgetRooms(keep int) {
	for _, r := range w.newRoom[keep:] {
		delete(w.rooms, r)
	}
	w.newRoom = w.newRoom[:keep]
}

// sticky reports whether err would come again for every operation.
func sticky(err error) bool {
	err = classify(err)
	for _, e := range []error{ErrFull, ErrReadOnly, ErrCorrupt, ErrBusy} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// checkpoint moves the WAL into the database and truncates it.
func (w *writer) checkpoint() {
	if w.copying.Load() > 0 {
		return
	}
	w.lastAt = time.Now()
	if _, err := w.truncate.exec(); err != nil {
		w.log.Warn("store: WAL not truncated", "err", classify(err))
		return
	}
	fi, err := os.Stat(w.wal) // a reader can be in the way
	w.dirty = err != nil || fi.Size() > 0
}

// roomNumber returns the small number of a room.
func (w *writer) roomNumber(r bridge.Room) (int64, error) {
	if id, ok := w.rooms[r]; ok {
		return id, nil
	}
	w.roomID++
	if _, err := w.addRoom.exec(w.roomID, r.Leg, int64(r.Kind), r.Name); err != nil {
		return 0, err
	}
	w.rooms[r] = w.roomID
	w.newRoom = append(w.newRoom, r)
	return w.roomID, nil
}
