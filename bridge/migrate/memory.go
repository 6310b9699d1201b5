package migrate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is a Store that dies with the process.
type Memory struct {
	mu       sync.Mutex // guards all below
	states   map[string]State
	days     map[[2]string]Day
	speakers map[SpeakerID]Speaker
	refusals map[RefusalID]Refusal
	talks    map[string]Talk
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		states: map[string]State{}, days: map[[2]string]Day{}, speakers: map[SpeakerID]Speaker{}, refusals: map[RefusalID]Refusal{}, talks: map[string]Talk{},
	}
}

// Load implements Store.
func (m *Memory) Load(context.Context) (Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Kept{
		States: slices.Collect(maps.Values(m.states)), Days: slices.Collect(maps.Values(m.days)),
		Speakers: slices.Collect(maps.Values(m.speakers)), Refusals: slices.Collect(maps.Values(m.refusals)),
	}
	for i := range k.Days {
		k.Days[i].Lines = maps.Clone(k.Days[i].Lines)
	}
	k.Sort()
	return k, nil
}

// Sort puts everything in the order in which stores return it.
func (k *Kept) Sort() {
	slices.SortFunc(k.States, func(a, b State) int { return cmp.Compare(a.Bridge, b.Bridge) })
	slices.SortFunc(k.Days, func(a, b Day) int { return cmp.Or(cmp.Compare(a.Bridge, b.Bridge), cmp.Compare(a.Date, b.Date)) })
	slices.SortFunc(k.Speakers, func(a, b Speaker) int { return compareIDs(a.SpeakerID, b.SpeakerID) })
	slices.SortFunc(k.Refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Leg, b.Leg), cmp.Compare(a.Name, b.Name))
	})
}

func compareIDs(a, b SpeakerID) int {
	return cmp.Or(cmp.Compare(a.Bridge, b.Bridge), cmp.Compare(a.Leg, b.Leg), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// PutState implements Store.
func (m *Memory) PutState(_ context.Context, s State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[s.Bridge] = s
	return nil
}

// PutCounts implements Store.
func (m *Memory) PutCounts(_ context.Context, days []Day, speakers []Speaker, gone []SpeakerID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range days {
		d.Lines = maps.Clone(d.Lines)
		m.days[[2]string{d.Bridge, d.Date}] = d
	}
	for _, s := range speakers {
		m.speakers[s.SpeakerID] = s
	}
	for _, id := range gone {
		delete(m.speakers, id)
	}
	return nil
}

// PutRefusal implements Store.
func (m *Memory) PutRefusal(_ context.Context, r Refusal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusals[r.RefusalID] = r
	return nil
}

// DropRefusal implements Store.
func (m *Memory) DropRefusal(_ context.Context, id RefusalID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.refusals, id)
	return nil
}

// PutTalk implements Store.
func (m *Memory) PutTalk(_ context.Context, t Talk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Data = slices.Clone(t.Data)
	m.talks[t.ID] = t
	return nil
}

// Talk implements Store.
func (m *Memory) Talk(_ context.Context, id string) (Talk, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.talks[id]
	t.Data = slices.Clone(t.Data)
	return t, ok, nil
}

// Talks implements Store.
func (m *Memory) Talks(context.Context) ([]Talk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.talks), func(a, b Talk) int { return cmp.Compare(a.ID, b.ID) }), nil
}

// DropTalk implements Store.
func (m *Memory) DropTalk(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.talks, id)
	return nil
}

// Forget implements Store.
func (m *Memory) Forget(_ context.Context, before time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.days, func(_ [2]string, d Day) bool { return d.Date < dateOf(before) })
	maps.DeleteFunc(m.speakers, func(_ SpeakerID, s Speaker) bool { return s.Last.Before(before) })
	maps.DeleteFunc(m.talks, func(_ string, t Talk) bool { return t.At.Before(before) })
	return nil
}

// dateOf is the day of a time.
func dateOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }
