package store

import (
	"slices"
	"sync"
	"time"
)

// Stats are figures of a store since it was opened.
type Stats struct {
	Rows       int64         `json:"rows"`           // in the outbox, whatever their state
	Commits    uint64        `json:"commits"`        // transactions
	Ops        uint64        `json:"ops"`            // operations in them
	Failed     uint64        `json:"failed"`         // operations that were not kept
	CommitTime time.Duration `json:"commit_time_ns"` // of all transactions together
	CommitMax  time.Duration `json:"commit_max_ns"`  // of the longest
	CommitP99  time.Duration `json:"commit_p99_ns"`  // 99 of 100 of the last ones took no longer
	Batch      float64       `json:"batch"`          // operations of a transaction, on average
	// Problem is why the last transaction failed, "" if it did not.
	Problem string `json:"problem,omitempty"`
	// Lost counts rows of earlier runs whose key is gone.
	Lost int64 `json:"lost"`
}

type stats struct {
	mu   sync.Mutex // guards all below
	s    Stats
	last [lastCommits]time.Duration // a ring
}

// lastCommits is of how many commits the slowest hundredth is looked at.
const lastCommits = 1000

func (s *stats) commit(ops int, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.s.Failed += uint64(ops)
		s.s.Problem = classify(err).Error()
		return
	}
	s.last[s.s.Commits%lastCommits] = took
	s.s.Commits++
	s.s.Ops += uint64(ops)
	s.s.CommitTime += took
	s.s.CommitMax = max(s.s.CommitMax, took)
	s.s.Problem = ""
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.w.stats.mu.Lock()
	out, last := s.w.stats.s, s.w.stats.last
	s.w.stats.mu.Unlock()
	if n := min(out.Commits, lastCommits); n > 0 {
		slices.Sort(last[:n])
		out.CommitP99 = last[(n-1)*99/100]
		out.Batch = float64(out.Ops) / float64(out.Commits)
	}
	out.Rows = s.w.rows.Load()
	out.Lost = s.lost.Load()
	return out
}
