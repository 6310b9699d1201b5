package bridge

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// SeenLimit is how many message keys a Memory journal remembers, the newest.
const SeenLimit = 16384

// Memory is a Journal that dies with the process. Its zero value is not ready;
// make one with NewMemory.
type Memory struct {
	mu   sync.Mutex // guards all below
	seq  uint64
	rows map[uint64]memRow
	seen map[seenKey]struct{}
	ring []seenKey // keys of seen, a ring once it is full
	next int       // where the ring is written next

	ledgers map[string]*Ledger
}

type memRow struct {
	row   *Row
	tried time.Time
	acked bool
}

type seenKey struct {
	room Room
	id   string
}

var _ Journal = (*Memory)(nil)

// NewMemory returns an empty journal.
func NewMemory() *Memory {
	return &Memory{rows: map[uint64]memRow{}, seen: map[seenKey]struct{}{}, ledgers: map[string]*Ledger{}}
}

// Ingest implements Journal.
func (m *Memory) Ingest(_ context.Context, batch []*Entry, done []Done) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.confirm(done)
	for _, e := range batch {
		e.Again = !m.remember(seenKey{e.Room, e.ID})
		for _, c := range e.Counts {
			c.Add(m.ledger(c.Bridge), e.Again)
		}
		if e.Again {
			continue
		}
		for _, r := range e.Rows {
			m.seq++
			r.Seq = m.seq
			m.rows[r.Seq] = memRow{row: r, tried: r.Tried}
		}
	}
	return nil
}

// remember reports whether k is new. m.mu is held.
func (m *Memory) remember(k seenKey) bool {
	if k.id == "" {
		return true
	}
	k.id = shortID(k.id)
	if _, known := m.seen[k]; known {
		return false
	}
	if len(m.ring) < SeenLimit {
		m.ring = append(m.ring, k)
	} else {
		delete(m.seen, m.ring[m.next])
		m.ring[m.next] = k
		m.next = (m.next + 1) % SeenLimit
	}
	m.seen[k] = struct{}{}
	return true
}

// shortID is what is remembered of an id: foreign ones may be long, and share the
// memory of all that they came with.
func shortID(id string) string {
	if len(id) <= 64 {
		return strings.Clone(id)
	}
	sum := sha256.Sum256([]byte(id))
	return string(sum[:])
}

// Tried implements Journal.
func (m *Memory) Tried(_ context.Context, tries []Try) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range tries {
		if r, ok := m.rows[t.Seq]; ok && !r.acked {
			r.tried = t.At
			m.rows[t.Seq] = r
			t.Again.Add(m.ledger(t.Bridge))
		}
	}
	return nil
}

// Confirm implements Journal.
func (m *Memory) Confirm(_ context.Context, done []Done) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.confirm(done)
	return nil
}

// confirm ends rows. m.mu is held.
func (m *Memory) confirm(done []Done) {
	for _, d := range done {
		r, ok := m.rows[d.Seq]
		if !ok {
			continue
		}
		d.Add(m.ledger(d.Bridge))
		switch d.Fate {
		case FateAcked:
			r.acked = true
			m.rows[d.Seq] = r
		case FateUnread:
			r.acked, r.tried = false, time.Time{}
			m.rows[d.Seq] = r
		default:
			delete(m.rows, d.Seq)
		}
	}
}

// ledger returns that of a bridge. m.mu is held.
func (m *Memory) ledger(bridge string) *Ledger {
	l := m.ledgers[bridge]
	if l == nil {
		l = &Ledger{}
		m.ledgers[bridge] = l
	}
	return l
}

// Load implements Journal.
func (m *Memory) Load(ctx context.Context, yield func(*Row) error) error {
	m.mu.Lock()
	for seq, r := range m.rows {
		if r.acked {
			Done{Fate: FateRelayed, Unproven: true}.Add(m.ledger(r.row.Bridge))
			delete(m.rows, seq)
		}
	}
	seqs := slices.Sorted(maps.Keys(m.rows))
	m.mu.Unlock()
	rows, err := m.Rows(ctx, seqs)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := errors.Join(ctx.Err(), yield(r)); err != nil {
			return err
		}
	}
	return nil
}

// Rows implements Journal.
func (m *Memory) Rows(_ context.Context, seqs []uint64) ([]*Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make([]*Row, 0, len(seqs))
	for _, seq := range seqs {
		if r, ok := m.rows[seq]; ok {
			rows = append(rows, r.row.kept(r.tried))
		}
	}
	return rows, nil
}

// kept is a copy of r as a journal gives it back.
func (r *Row) kept(tried time.Time) *Row {
	return &Row{
		Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, From: r.From, To: r.To, Kind: r.Kind, Person: r.Person, Name: r.Name, Text: r.Text,
		Rung: r.Rung, Floor: r.Floor, Said: r.Said, Queued: r.Queued, Delayed: r.Delayed, Tried: tried,
	}
}

// Ledgers implements Journal.
func (m *Memory) Ledgers(context.Context) (map[string]Ledger, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]Ledger, len(m.ledgers))
	for name, l := range m.ledgers {
		out[name] = l.Past()
	}
	return out, nil
}

// Durable implements Journal: it is not.
func (m *Memory) Durable() bool { return false }
