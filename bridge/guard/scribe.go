package guard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// The bounds of what waits for the store.
const (
	maxActs     = 20_000
	maxJobs     = 20_000
	actsAtOnce  = 256
	scribeRetry = 200 * time.Millisecond // doubled up to scribeSlow
	scribeSlow  = 30 * time.Second
	scribeLast  = 5 * time.Second // at the end
	orderWait   = 5 * time.Second // an admin's order waits that long to be kept
)

// scribe writes to the store, on its own goroutine, what others only hand over: so
// no kick waits for a disk. While the store fails, acts and changes wait in memory;
// beyond the bounds the oldest acts are let go of, and counted.
type scribe struct {
	store Store
	log   *slog.Logger
	alarm func(text string)
	wake  chan struct{} // capacity 1

	mu    sync.Mutex // guards all below
	acts  []*Act
	jobs  map[string]*job // by what they change: the last word counts
	order []string
	lost  uint64
}

// job is a change of what is kept.
type job struct {
	put  func(ctx context.Context, s Store) error
	n    int             // how often it was changed
	done []chan struct{} // closed once it is kept
}

func newScribe(s Store, log *slog.Logger, alarm func(string)) *scribe {
	return &scribe{store: s, log: log, alarm: alarm, wake: make(chan struct{}, 1), jobs: map[string]*job{}}
}

// note adds an act to the audit.
func (s *scribe) note(a *Act) {
	s.mu.Lock()
	if len(s.acts) >= maxActs {
		s.acts[0] = nil
		s.acts = s.acts[1:]
		s.lost++
	}
	s.acts = append(s.acts, a)
	s.mu.Unlock()
	poke(s.wake)
}

// keep has put change what is kept of key.
func (s *scribe) keep(key string, put func(ctx context.Context, s Store) error) {
	s.put(key, put, nil)
}

// keepNow is keep, and waits until it is done: ErrNotKept if that takes too long.
func (s *scribe) keepNow(ctx context.Context, key string, put func(ctx context.Context, s Store) error) error {
	done := make(chan struct{})
	s.put(key, put, done)
	timer := time.NewTimer(orderWait)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return ErrNotKept
}

func (s *scribe) put(key string, put func(ctx context.Context, s Store) error, done chan struct{}) {
	s.mu.Lock()
	j := s.jobs[key]
	if j == nil {
		if len(s.order) >= maxJobs { // the oldest goes
			delete(s.jobs, s.order[0])
			s.order = slices.Delete(s.order, 0, 1)
			s.lost++
		}
		j = &job{}
		s.jobs[key], s.order = j, append(s.order, key)
	}
	j.put = put
	j.n++
	if done != nil {
		j.done = append(j.done, done)
	}
	s.mu.Unlock()
	poke(s.wake)
}

// waiting returns how many acts wait, and how many were let go of.
func (s *scribe) waiting() (n int, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acts), s.lost
}

// run writes until ctx ends, and what is left then, for scribeLast at most.
func (s *scribe) run(ctx context.Context) {
	wait := scribeRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		var due <-chan time.Time
		if err := s.write(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Error("guard: the store fails", "err", err)
				s.alarm("The guard's store fails: what it does is not in the audit before that is mended. It goes on.")
			}
			timer.Reset(wait)
			due, wait = timer.C, min(2*wait, scribeSlow)
		} else {
			wait = scribeRetry
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), scribeLast)
			defer cancel()
			if err := s.write(last); err != nil {
				n, _ := s.waiting()
				s.log.Error("guard: acts are not in the audit", "n", n, "err", err)
			}
			return
		case <-due:
		case <-s.wake:
			if due != nil { // it fails: not at every word
				select {
				case <-due:
				case <-ctx.Done():
				}
			}
		}
	}
}

// write writes all that waits; what fails stays. One change that cannot be kept must not
// stop the audit, nor the audit the changes.
func (s *scribe) write(ctx context.Context) error {
	return errors.Join(s.writeActs(ctx), s.writeJobs(ctx), s.writeActs(ctx))
}

func (s *scribe) writeJobs(ctx context.Context) error {
	for {
		key, j, put, n := s.first()
		if j == nil {
			return nil
		}
		if err := put(ctx, s.store); err != nil {
			return err
		}
		s.wrote(key, j, n)
	}
}

func (s *scribe) writeActs(ctx context.Context) error {
	for {
		s.mu.Lock()
		acts := slices.Clone(s.acts[:min(len(s.acts), actsAtOnce)])
		s.mu.Unlock()
		if len(acts) == 0 {
			return nil
		}
		if err := s.store.Append(ctx, acts); err != nil {
			return err
		}
		s.appended(acts[len(acts)-1])
	}
}

// first returns the job that waits longest; nil: none does.
func (s *scribe) first() (key string, j *job, put func(context.Context, Store) error, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return "", nil, nil, 0
	}
	key = s.order[0]
	j = s.jobs[key]
	return key, j, j.put, j.n
}

// wrote takes a job away, unless it changed while it was written.
func (s *scribe) wrote(key string, j *job, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[key] != j || j.n != n {
		return
	}
	delete(s.jobs, key)
	if i := slices.Index(s.order, key); i >= 0 {
		s.order = slices.Delete(s.order, i, i+1)
	}
	for _, done := range j.done {
		close(done)
	}
}

// appended takes the acts up to last away, if they were not let go of meanwhile.
func (s *scribe) appended(last *Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.acts, last); i >= 0 {
		clear(s.acts[:i+1])
		s.acts = s.acts[i+1:]
	}
}

// poke wakes whoever waits on a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
