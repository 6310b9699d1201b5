package policy

import (
	"slices"
	"time"
)

// MaxRemovals bounds how many subjects a guard removes from one room: Count, and
// Share per cent of those who are there, in every span of Per; one may always go.
type MaxRemovals struct {
	Count int           // default 5
	Share int           // per cent; default 20
	Per   time.Duration // default 1 min
}

func (m MaxRemovals) orDefault() MaxRemovals {
	if m.Count <= 0 {
		m.Count = 5
	}
	if m.Share <= 0 {
		m.Share = 20
	}
	if m.Per <= 0 {
		m.Per = time.Minute
	}
	return m
}

// Limit is how many of present may go in one span.
func (m MaxRemovals) Limit(present int) int {
	m = m.orDefault()
	return min(m.Count, max(1, present*m.Share/100))
}

// Most is how many may go in one span, however many are there.
func (m MaxRemovals) Most() int { return m.orDefault().Count }

// Span is how long a removal counts.
func (m MaxRemovals) Span() time.Duration { return m.orDefault().Per }

// Budget counts the removals of one room. Ask before sending.
type Budget struct {
	limit MaxRemovals
	times []time.Time
}

// NewBudget returns the budget of one room.
func NewBudget(m MaxRemovals) *Budget { return &Budget{limit: m.orDefault()} }

// Take asks to remove n of present and reports whether that is within the
// budget; if not, nothing is counted, and the guard locks the room and calls the
// admins instead.
func (b *Budget) Take(n, present int, now time.Time) bool {
	keep := b.times[:0]
	for _, t := range b.times {
		if now.Sub(t) < b.limit.Per {
			keep = append(keep, t)
		}
	}
	b.times = keep
	if n < 0 || n > b.limit.Limit(present)-len(b.times) {
		return false
	}
	for range n {
		b.times = append(b.times, now)
	}
	return true
}

// Again counts a removal that was counted at an earlier time as one of now, as what is
// tried again, and reports whether it did: false is one that counts no more, or never did.
func (b *Budget) Again(at, now time.Time) bool {
	i := slices.IndexFunc(b.times, func(t time.Time) bool { return t.Equal(at) && now.Sub(t) < b.limit.Per })
	if i < 0 {
		return false
	}
	b.times[i] = now
	return true
}

// newcomer is how long after its join a subject that was never let in may be
// removed outside of the budget.
const newcomer = time.Minute

// Budgeted reports whether a removal counts: all do, but of who came within the
// last minute, was never let in, and is refused on facts that are known.
func (d *Decision) Budgeted(f *Facts, now time.Time) bool {
	fresh := !f.Since.IsZero() && now.Sub(f.Since) <= newcomer
	return f.Admitted || !fresh || d.Missing != 0
}

// Breaker ends wars: two who set one thing back and forth.
type Breaker struct {
	limit Limit
	rest  time.Duration
	wars  map[war]*front
}

type (
	war   struct{ what, by string }
	front struct {
		window
		until time.Time
	}
)

// NewBreaker returns a breaker that stops after the limit (default 3 in 60 s) for
// rest (default 10 min).
func NewBreaker(l Limit, rest time.Duration) *Breaker {
	if l.Count <= 0 || l.Per <= 0 {
		l = Limit{3, time.Minute}
	}
	if rest <= 0 {
		rest = 10 * time.Minute
	}
	return &Breaker{limit: l, rest: rest, wars: map[war]*front{}}
}

// Reverted notes that somebody undid what the guard keeps, as "+s" or "-o alice",
// and reports whether the guard shall stop setting it back and call the admins.
// The wars of at most 256 parties are kept; more stop at once.
func (b *Breaker) Reverted(what, by string, now time.Time) (stop bool) {
	w := war{what, by}
	f := b.wars[w]
	if f == nil {
		if len(b.wars) >= 256 && !b.sweep(now) {
			return true
		}
		f = &front{}
		b.wars[w] = f
	}
	if f.add(b.limit, now) {
		f.until = now.Add(b.rest)
	}
	return now.Before(f.until)
}

// Stopped reports whether a thing is not to be set back now, whoever undid it.
func (b *Breaker) Stopped(what string, now time.Time) bool {
	for w, f := range b.wars {
		if w.what == what && now.Before(f.until) {
			return true
		}
	}
	return false
}

// sweep forgets what is over, and reports whether there is room again.
func (b *Breaker) sweep(now time.Time) bool {
	for w, f := range b.wars {
		over := !now.Before(f.until)
		for _, t := range f.times {
			over = over && now.Sub(t) >= b.limit.Per
		}
		if over {
			delete(b.wars, w)
		}
	}
	return len(b.wars) < 256
}

// Lockdown shuts a room on a mass join, and opens it again by itself. Who returns
// from a netsplit is not counted; while one heals, others count a quarter.
type Lockdown struct {
	limit  Limit
	last   time.Duration
	joins  window
	merges int
	merge  time.Time // a netsplit heals until then
	until  time.Time
}

// NewLockdown returns the machine of one room: as many joins shut it for the time
// given (default 10 min).
func NewLockdown(joins Limit, last time.Duration) *Lockdown {
	if last <= 0 {
		last = 10 * time.Minute
	}
	return &Lockdown{limit: joins, last: last}
}

// Joined notes a join and reports whether the room is to be shut now. While it is
// shut, each further join prolongs that.
func (l *Lockdown) Joined(returned bool, now time.Time) (shut bool) {
	if returned {
		l.merge = now.Add(30 * time.Second)
		return false
	}
	if now.Before(l.merge) {
		if l.merges++; l.merges%4 != 0 {
			return false
		}
	}
	if !l.joins.add(l.limit, now) {
		return false
	}
	was := l.Shut(now)
	l.until = now.Add(l.last)
	return !was
}

// Shut reports whether the room is shut.
func (l *Lockdown) Shut(now time.Time) bool { return now.Before(l.until) }

// Until is when the room opens by itself; zero: it was never shut.
func (l *Lockdown) Until() time.Time { return l.until }

// Set shuts the room until then, or opens it if that is past: by hand, after a
// restart, or because the budget is used up.
func (l *Lockdown) Set(until time.Time) {
	if l.until = until; until.IsZero() {
		l.joins = window{} // those joins have had their answer
	}
}
