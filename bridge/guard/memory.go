package guard

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"drawbridge/policy"
)

// MemoryActs is how many acts a Memory keeps; the oldest go first, and the chain
// begins with the oldest that is left.
const MemoryActs = 20_000

// Memory is a Store that ends with the process.
type Memory struct {
	mu      sync.Mutex // guards all below
	rooms   map[string]RoomState
	bans    map[string]policy.BanRecord
	timers  map[string]Timer
	tickets map[string]Ticket
	links   map[string]Link
	acts    []keptAct
	base    [32]byte // the hash before acts[0]
	last    [32]byte // the hash of the last one
	seq     int64
}

// keptAct is an act as it is hashed.
type keptAct struct {
	seq  int64
	line []byte
	hash [32]byte
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		rooms: map[string]RoomState{}, bans: map[string]policy.BanRecord{}, timers: map[string]Timer{},
		tickets: map[string]Ticket{}, links: map[string]Link{},
	}
}

// Load implements Store.
func (m *Memory) Load(context.Context) (Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Kept{Bans: byID(m.bans), Timers: byID(m.timers), Tickets: byID(m.tickets), Links: byID(m.links)}
	for _, r := range byID(m.rooms) {
		r.Admitted = maps.Clone(r.Admitted)
		k.Rooms = append(k.Rooms, r)
	}
	for i := range k.Bans {
		k.Bans[i].Rooms = slices.Clone(k.Bans[i].Rooms)
	}
	return k, nil
}

// byID returns the values of a map in the order of its keys.
func byID[V any](m map[string]V) (out []V) {
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

// PutRoom implements Store.
func (m *Memory) PutRoom(_ context.Context, r RoomState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Admitted = m.rooms[r.Room].Admitted
	m.rooms[r.Room] = r
	return nil
}

// Admit implements Store.
func (m *Memory) Admit(_ context.Context, room string, seen map[string]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rooms[room]
	r.Room = room
	if r.Admitted == nil && len(seen) > 0 {
		r.Admitted = map[string]time.Time{}
	}
	maps.Copy(r.Admitted, seen)
	if over := len(r.Admitted) - MaxAdmitted; over > 0 {
		keys := slices.SortedFunc(maps.Keys(r.Admitted), func(a, b string) int { return r.Admitted[a].Compare(r.Admitted[b]) })
		for _, k := range keys[:over] {
			delete(r.Admitted, k)
		}
	}
	m.rooms[room] = r
	return nil
}

// PutBan implements Store.
func (m *Memory) PutBan(_ context.Context, b policy.BanRecord) error {
	b.Rooms = slices.Clone(b.Rooms)
	return put(m, m.bans, b.ID, b)
}

// PutTimer implements Store.
func (m *Memory) PutTimer(_ context.Context, t Timer) error { return put(m, m.timers, t.ID, t) }

// PutTicket implements Store.
func (m *Memory) PutTicket(_ context.Context, t Ticket) error { return put(m, m.tickets, t.ID, t) }

// PutLink implements Store.
func (m *Memory) PutLink(_ context.Context, l Link) error { return put(m, m.links, l.ID, l) }

func put[V any](m *Memory, into map[string]V, id string, v V) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	into[id] = v
	return nil
}

// Drop implements Store.
func (m *Memory) Drop(_ context.Context, ids ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.bans, id)
		delete(m.timers, id)
		delete(m.tickets, id)
		delete(m.links, id)
	}
	return nil
}

// Append implements Store.
func (m *Memory) Append(_ context.Context, acts []*Act) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range acts {
		line, err := a.Line()
		if err != nil {
			return fmt.Errorf("guard: audit: %w", err)
		}
		m.seq++
		k := keptAct{seq: m.seq, line: line, hash: Chain(m.last, m.seq, line)}
		m.acts, m.last = append(m.acts, k), k.hash
		a.Seq, a.Hash = k.seq, k.hash
	}
	if over := len(m.acts) - MemoryActs; over > 0 {
		m.base = m.acts[over-1].hash
		m.acts = slices.Delete(m.acts, 0, over)
	}
	return nil
}

// Acts implements Store.
func (m *Memory) Acts(_ context.Context, q Query) iter.Seq2[Act, error] {
	return func(yield func(Act, error) bool) {
		m.mu.Lock()
		kept, before := slices.Clone(m.acts), m.base
		m.mu.Unlock()
		var fit []Act
		for i := range kept {
			k := &kept[i]
			a, err := ParseAct(k.line)
			if err != nil || Chain(before, k.seq, k.line) != k.hash {
				yield(Act{}, ErrChain) // of memory that was written over
				return
			}
			before, a.Seq, a.Hash = k.hash, k.seq, k.hash
			if q.Fits(&a) {
				fit = append(fit, a)
			}
		}
		if q.Last > 0 && len(fit) > q.Last {
			fit = fit[len(fit)-q.Last:]
		}
		for _, a := range fit {
			if !yield(a, nil) {
				return
			}
		}
	}
}
