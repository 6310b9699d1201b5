package irc

import (
	"maps"
	"time"

	"drawbridge/bridge"
)

// merging is a netsplit that heals.
type merging struct {
	gone map[string]time.Time // who left in a split, by folded nick
	due  time.Time            // when it counts as settled; zero: nothing heals
	last time.Time            // it does not take longer
}

// Times and bounds of a merge.
const (
	mergeQuiet  = 5 * time.Second // without anybody coming back, or a mode of a server
	mergeLasts  = time.Minute     // at most
	maxSplit    = 4096            // people remembered
	splitPassed = time.Hour       // then nobody of it comes back
)

// left notes that somebody went in a netsplit.
func (m *merging) left(nick string, now time.Time) {
	if m.gone == nil {
		m.gone = map[string]time.Time{}
	}
	if len(m.gone) >= maxSplit {
		maps.DeleteFunc(m.gone, func(_ string, at time.Time) bool { return now.Sub(at) > splitPassed })
	}
	if len(m.gone) < maxSplit {
		m.gone[nick] = now
	}
}

// came reports whether somebody comes back from a netsplit.
func (m *merging) came(nick string, now time.Time) bool {
	at, ok := m.gone[nick]
	delete(m.gone, nick)
	return ok && now.Sub(at) <= splitPassed
}

// merges notes a sign that servers are joined again.
func (s *session) merges() {
	m := &s.merging
	if m.due.IsZero() {
		m.last = s.now.Add(mergeLasts)
	}
	if m.due = s.now.Add(mergeQuiet); m.due.After(m.last) {
		m.due = m.last
	}
	s.timer(m.due)
}

// mergeDue tells that a merge has settled.
func (s *session) mergeDue() {
	if at := s.merging.due; !at.IsZero() && !s.now.Before(at) {
		s.merging.due = time.Time{}
		s.see(bridge.Sight{Kind: bridge.SightMerged})
	}
}
