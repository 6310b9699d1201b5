package guard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// The bounds of what waits for the store. What strangers can make it write has its own, so
// that they cannot push out what counts.
const (
	maxOrders   = 10_000 // acts: orders, bans, repairs, lockdowns
	maxPersons  = 6_000  // decisions on people of the config
	maxNameless = 4_000  // decisions on others
	maxJobs     = 20_000
	maxLoose    = 5_000 // jobs that strangers cause
	actsAtOnce  = 256
	scribeRetry = 200 * time.Millisecond // doubled up to scribeSlow
	scribeSlow  = 30 * time.Second
	scribeLast  = 5 * time.Second // at the end
	orderWait   = 5 * time.Second // an admin's order waits that long to be kept
)

// scribe writes to the store, on its own goroutine, what others only hand over: so
// no kick waits for a disk. While the store fails, acts and changes wait in memory;
// beyond the bounds the oldest of their kind are let go of and counted, and the admins
// are told.
type scribe struct {
	store Store
	log   *slog.Logger
	raise func(matter, text string)
	over  func(matter string)
	wake  chan struct{} // capacity 1

	mu     sync.Mutex // guards all below
	acts   [3][]noted // by kindOf
	serial uint64     // of acts
	jobs   map[string]*job
	order  [2][]string // keys of jobs, the oldest first: those that count, and loose ones
	lost   uint64
}

// noted is an act that waits, with its number among all.
type noted struct {
	n   uint64
	act *Act
}

// Kinds of acts that wait, and their bounds.
const (
	ofOrder = iota
	ofPerson
	ofNameless
)

var mostActs = [...]int{ofOrder: maxOrders, ofPerson: maxPersons, ofNameless: maxNameless}

func kindOf(a *Act) int {
	switch {
	case a.Actor != actorGuard || a.Facts.Leg == "":
		return ofOrder
	case a.Person != "":
		return ofPerson
	}
	return ofNameless
}

// keeping is a change of what is kept.
type keeping = func(ctx context.Context, s Store) error

// job is a change that waits. The last word on its key counts.
type job struct {
	put   keeping
	n     int             // how often it was changed
	fresh bool            // adds a row that the store has not, and was not tried yet
	done  []chan struct{} // closed once it is kept
}

// What the admins are told of the store.
const (
	matterStore = "store"
	matterLost  = "store lost"
)

func newScribe(s Store, log *slog.Logger, raise func(matter, text string), over func(matter string)) *scribe {
	return &scribe{store: s, log: log, raise: raise, over: over, wake: make(chan struct{}, 1), jobs: map[string]*job{}}
}

// note adds an act to the audit.
func (s *scribe) note(a *Act) {
	s.mu.Lock()
	acts := &s.acts[kindOf(a)]
	full := len(*acts) >= mostActs[kindOf(a)]
	if full {
		(*acts)[0] = noted{}
		*acts = (*acts)[1:]
		s.lost++
	}
	s.serial++
	*acts = append(*acts, noted{s.serial, a})
	s.mu.Unlock()
	s.handed(full)
}

// handed wakes who writes, and tells the admins if something was let go of for it.
func (s *scribe) handed(lost bool) {
	if lost {
		s.raise(matterLost, "The guard's store has failed for so long that the oldest of what waits for it is lost, and drawbridge guard status counts it. What holds now holds until the bot ends.")
	}
	poke(s.wake)
}

// keep has put change what is kept of key.
func (s *scribe) keep(key string, put keeping) { s.put(key, put, false, nil) }

// add is keep of a row that the store has not: if it is dropped before it was tried, there
// is nothing to do.
func (s *scribe) add(key string, put keeping) { s.put(key, put, true, nil) }

// drop has the row of that ID forgotten; key is that by which it was kept.
func (s *scribe) drop(key, id string) {
	s.mu.Lock()
	if j := s.jobs[key]; j != nil && j.fresh {
		s.endLocked(key, j)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.keep(key, func(ctx context.Context, s Store) error { return s.Drop(ctx, id) })
}

// keepNow is keep, and waits until it is done: ErrNotKept if that takes too long.
func (s *scribe) keepNow(ctx context.Context, key string, put keeping) error {
	done := make(chan struct{})
	s.put(key, put, false, done)
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

func (s *scribe) put(key string, put keeping, fresh bool, done chan struct{}) {
	s.mu.Lock()
	full := false
	j := s.jobs[key]
	if j == nil {
		order := orderOf(key)
		keys := &s.order[order]
		if full = len(*keys) >= mostJobs[order]; full {
			delete(s.jobs, (*keys)[0])
			*keys = (*keys)[1:]
			s.lost++
		}
		j = &job{fresh: fresh}
		s.jobs[key], *keys = j, append(*keys, key)
	}
	j.put = put
	j.n++
	if done != nil {
		j.done = append(j.done, done)
	}
	s.mu.Unlock()
	s.handed(full)
}

// waiting returns how many acts wait, and how many acts and changes were let go of.
func (s *scribe) waiting() (n int, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, acts := range s.acts {
		n += len(acts)
	}
	return n, s.lost
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
				s.raise(matterStore, "The guard's store fails: what it does is not in the audit before that is mended. It goes on.")
			}
			timer.Reset(wait)
			due, wait = timer.C, min(2*wait, scribeSlow)
		} else if wait != scribeRetry {
			wait = scribeRetry
			s.over(matterStore)
			s.over(matterLost)
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

// writeJobs stops, in each order, at what fails, which has its next turn behind all others
// there: so one that always fails stops neither them nor those of the other order.
func (s *scribe) writeJobs(ctx context.Context) error {
	var errs [len(mostJobs)]error
	for {
		key, j, put, n := s.first(&errs)
		if j == nil {
			return errors.Join(errs[:]...)
		}
		err := put(ctx, s.store)
		s.wrote(key, j, n, err == nil)
		errs[orderOf(key)] = err
	}
}

func (s *scribe) writeActs(ctx context.Context) error {
	for {
		acts, last := s.oldest()
		if len(acts) == 0 {
			return nil
		}
		if err := s.store.Append(ctx, acts); err != nil {
			return err
		}
		s.appended(last)
	}
}

// oldest returns the acts that wait longest, in their order, and the number of the last.
func (s *scribe) oldest() (acts []*Act, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at [len(s.acts)]int
	for len(acts) < actsAtOnce {
		next := -1
		for kind, i := range at {
			if i < len(s.acts[kind]) && (next < 0 || s.acts[kind][i].n < s.acts[next][at[next]].n) {
				next = kind
			}
		}
		if next < 0 {
			break
		}
		x := s.acts[next][at[next]]
		acts, last = append(acts, x.act), x.n
		at[next]++
	}
	return acts, last
}

// appended takes the acts up to a number away, of which some may have been let go of
// meanwhile.
func (s *scribe) appended(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, acts := range s.acts {
		i := 0
		for ; i < len(acts) && acts[i].n <= last; i++ {
			acts[i] = noted{}
		}
		s.acts[kind] = acts[i:]
	}
}

// first returns the job that waits longest, of those that count first, and of no order in
// which one failed; nil: none does.
func (s *scribe) first(failed *[len(mostJobs)]error) (key string, j *job, put keeping, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, order := range s.order {
		if len(order) > 0 && failed[i] == nil {
			key, j = order[0], s.jobs[order[0]]
			j.fresh = false // whatever becomes of it
			return key, j, j.put, j.n
		}
	}
	return "", nil, nil, 0
}

// wrote takes a job away that is done, unless it changed while it was written, and puts one
// that failed behind the others.
func (s *scribe) wrote(key string, j *job, n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.jobs[key] != j:
	case !ok:
		s.unqueueLocked(key)
		s.order[orderOf(key)] = append(s.order[orderOf(key)], key)
	case j.n == n:
		s.endLocked(key, j)
	}
}

var mostJobs = [...]int{maxJobs, maxLoose}

// orderOf is in which order a job waits: in the second if strangers can cause any number.
func orderOf(key string) int {
	if kind, _, _ := strings.Cut(key, " "); kind == timerGuest || kind == timerMute {
		return 1
	}
	return 0
}

// endLocked takes a job away that has nothing more to do.
func (s *scribe) endLocked(key string, j *job) {
	delete(s.jobs, key)
	s.unqueueLocked(key)
	for _, done := range j.done {
		close(done)
	}
}

func (s *scribe) unqueueLocked(key string) {
	order := &s.order[orderOf(key)]
	if i := slices.Index(*order, key); i == 0 {
		*order = (*order)[1:]
	} else if i > 0 {
		*order = slices.Delete(*order, i, i+1)
	}
}

// poke wakes whoever waits on a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
