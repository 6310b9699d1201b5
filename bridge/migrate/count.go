package migrate

import (
	"context"
	"fmt"
	"strings"

	"drawbridge/bridge"
)

// Count implements bridge.Census.
func (m *Mover) Count(s *bridge.Spoken) {
	if !m.ready.Load() {
		return
	}
	cp := *s
	cp.At = s.At.Round(0)
	m.census.count(&cp)
}

// write writes the counts down.
func (m *Mover) write(ctx context.Context) {
	days, speakers, gone := m.census.take()
	if len(days)+len(speakers)+len(gone) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := m.d.Store.PutCounts(ctx, days, speakers, gone); err != nil {
		m.census.again(days, speakers, gone)
		m.d.Log.Error("migration: counts are not kept yet", "err", err)
	}
}

// forget drops what is older than is kept.
func (m *Mover) forget(ctx context.Context) {
	before := m.now().AddDate(0, 0, -KeepDays)
	m.census.forget(before)
	if err := m.d.Store.Forget(ctx, before); err != nil && ctx.Err() == nil {
		m.d.Log.Warn("migration: old counts are not forgotten", "err", err)
	}
}

// Refuse counts somebody no more, and forgets what was counted of them (!move stop); with
// on false they are counted again. name is a nick, an account, a person or a JID on leg.
func (m *Mover) Refuse(ctx context.Context, leg, name string, on bool) error {
	id := RefusalID{leg, strings.ToLower(name)}
	var err error
	if on {
		err = m.d.Store.PutRefusal(ctx, Refusal{id, m.now()})
	} else {
		err = m.d.Store.DropRefusal(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("migrate: refusal: %w", err)
	}
	m.census.refuse(id, on)
	m.write(ctx)
	return nil
}

// Refuses reports whether somebody does not want to be counted.
func (m *Mover) Refuses(leg, name string) bool {
	m.census.mu.Lock()
	defer m.census.mu.Unlock()
	return m.census.refusals[RefusalID{leg, strings.ToLower(name)}]
}
