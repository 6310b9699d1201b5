package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"drawbridge/bridge/guard"
)

// DefaultRetainAudit is how long acts of the guard are kept.
const DefaultRetainAudit = 365 * 24 * time.Hour

// The audit is a chain of hashes. Two ends of it are kept, sealed, among the secrets:
// the last act that was forgotten, where the chain begins, and the newest. So acts
// cannot be cut off from either end, and not be taken out or put in between, by who
// has not the master key.
const (
	auditKind = "audit"
	auditBase = "base" // the last act that was forgotten
	auditHead = "head" // the newest act
)

// chainEnd is one end of the chain: an act by number and hash.
type chainEnd struct {
	seq  int64
	hash [32]byte
}

func (c chainEnd) bytes() []byte { return binary.BigEndian.AppendUint64(c.hash[:], uint64(c.seq)) }

// actStmts write the table act.
type actStmts struct{ add, del stmt }

// chainEnd reads one end of the chain; where none is kept, there are no acts.
func (s *Store) chainEnd(ctx context.Context, db rowQueryer, which string) (c chainEnd, err error) {
	var sealed []byte
	err = db.QueryRowContext(ctx, "SELECT value FROM secret WHERE kind = ? AND owner = ?", auditKind, which).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return chainEnd{}, nil
	}
	if err != nil {
		return chainEnd{}, err
	}
	value, err := s.openSecret(auditKind, which, sealed)
	if err != nil {
		return chainEnd{}, err
	}
	if len(value) != len(c.hash)+8 {
		return chainEnd{}, fmt.Errorf("%w: an end of the audit", ErrCorrupt)
	}
	copy(c.hash[:], value)
	c.seq = int64(binary.BigEndian.Uint64(value[len(c.hash):]))
	return c, nil
}

// rowQueryer is a *sql.DB or a *sql.Tx.
type rowQueryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Append implements guard.Store.
func (s guardStore) Append(ctx context.Context, acts []*guard.Act) error {
	lines := make([][]byte, len(acts))
	for i, a := range acts {
		line, err := a.Line()
		if err != nil {
			return fmt.Errorf("store: audit: %w", err)
		}
		lines[i] = line
	}
	return s.w.do(ctx, "audit", func(w *writer) error {
		for i, a := range acts {
			end := chainEnd{seq: w.act.seq + 1}
			end.hash = guard.Chain(w.act.hash, end.seq, lines[i])
			if _, err := w.acts.add.exec(end.seq, a.At.Unix(), s.sealSecret("act", actOwner(end.seq), lines[i]), end.hash[:]); err != nil {
				return err
			}
			w.act, a.Seq, a.Hash = end, end.seq, end.hash
		}
		if len(acts) == 0 {
			return nil
		}
		_, err := w.setSecret.exec(auditKind, auditHead, s.sealSecret(auditKind, auditHead, w.act.bytes()))
		return err
	})
}

func actOwner(seq int64) string { return fmt.Sprint(seq) }

// Acts implements guard.Store.
func (s guardStore) Acts(ctx context.Context, q guard.Query) iter.Seq2[guard.Act, error] {
	return func(yield func(guard.Act, error) bool) {
		if q.Last <= 0 {
			s.eachAct(ctx, &q, yield)
			return
		}
		type item struct {
			act guard.Act
			err error
		}
		var last []item // of a ring, once it is full
		next := 0
		s.eachAct(ctx, &q, func(a guard.Act, err error) bool {
			if len(last) < q.Last {
				last = append(last, item{a, err})
			} else {
				last[next] = item{a, err}
				next = (next + 1) % q.Last
			}
			return true
		})
		for i := range last {
			x := &last[(next+i)%len(last)]
			if !yield(x.act, x.err) {
				return
			}
		}
	}
}

// eachAct yields the acts that fit, and what is wrong with the chain.
func (s *Store) eachAct(ctx context.Context, q *guard.Query, yield func(guard.Act, error) bool) {
	stopped := errors.New("stopped")
	err := s.walkActs(ctx, s.read, func(a guard.Act, err error) error {
		if (err != nil || q.Fits(&a)) && !yield(a, err) {
			return stopped
		}
		return nil
	})
	if err != nil && !errors.Is(err, stopped) {
		yield(guard.Act{}, fmt.Errorf("store: audit: %w", classify(err)))
	}
}

// walkActs goes along the whole chain, as it is at one moment.
func (s *Store) walkActs(ctx context.Context, db *sql.DB, use func(guard.Act, error) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	at, err := s.chainEnd(ctx, tx, auditBase)
	if err != nil {
		return err
	}
	head, err := s.chainEnd(ctx, tx, auditHead)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT seq, line, hash FROM act ORDER BY seq")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var seq int64
		var sealed, hash []byte
		if err := rows.Scan(&seq, &sealed, &hash); err != nil {
			return err
		}
		line, err := s.openSecret("act", actOwner(seq), sealed)
		a := guard.Act{}
		if err == nil {
			a, err = guard.ParseAct(line)
		}
		sound := err == nil
		a.Seq, a.Hash = seq, guard.Chain(at.hash, seq, line)
		if !sound || seq != at.seq+1 || string(a.Hash[:]) != string(hash) {
			if err := use(guard.Act{Seq: seq}, fmt.Errorf("%w before act %d", guard.ErrChain, seq)); err != nil {
				return err
			}
			copy(a.Hash[:], hash)
		}
		at = chainEnd{seq, a.Hash}
		if sound {
			if err := use(a, nil); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if at != head {
		return use(guard.Act{Seq: at.seq + 1}, fmt.Errorf("%w: act %d is the last, and %d were made", guard.ErrChain, at.seq, head.seq))
	}
	return nil
}

// checkActs counts the acts, and says where their chain is broken first.
func (s *Store) checkActs(ctx context.Context) (n int64, broken string, err error) {
	err = s.walkActs(ctx, s.read, func(_ guard.Act, err error) error {
		switch {
		case err == nil:
			n++
		case broken == "":
			broken = err.Error()
		}
		return nil
	})
	return n, broken, err
}

// sweepActs forgets the acts before a time. Where the chain begins then is kept, so
// that what stays can still be checked.
func (s *Store) sweepActs(ctx context.Context, before time.Time) error {
	for ctx.Err() == nil {
		last, n, err := s.oldActs(ctx, before.Unix())
		if err != nil {
			return classify(err)
		}
		if n == 0 {
			return nil
		}
		err = s.w.free(ctx, "forget acts", func(w *writer) error {
			if _, err := w.acts.del.exec(last.seq); err != nil {
				return err
			}
			_, err := w.setSecret.exec(auditKind, auditBase, s.sealSecret(auditKind, auditBase, last.bytes()))
			return err
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
	return nil
}

// oldActs looks how many of the oldest acts are of before that time, up to
// sweepChunk, and which is the last of them.
func (s *Store) oldActs(ctx context.Context, before int64) (last chainEnd, n int, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT seq, at, hash FROM act ORDER BY seq LIMIT ?", sweepChunk)
	if err != nil {
		return last, 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var seq, at int64
		var hash []byte
		if err := rows.Scan(&seq, &at, &hash); err != nil {
			return last, 0, err
		}
		if at >= before {
			break
		}
		last.seq, n = seq, n+1
		copy(last.hash[:], hash)
	}
	return last, n, rows.Err()
}
