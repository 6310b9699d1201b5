package irc

import (
	"errors"
	"time"

	"drawbridge/internal/dialer"
)

// How long to wait between connections.
const (
	quickWait = 300 * time.Millisecond // while nobody listens, for quickFor
	quickFor  = 5 * time.Minute
	slowFirst = time.Second // then, and whenever the server refuses us
	slowLast  = 5 * time.Minute
	deadLast  = 30 * time.Second // the longest wait while nobody listens: nobody is bothered
	// steady is how long a session must last for its end to be taken as the loss of
	// a good connection.
	steady = 30 * time.Second
)

// retrier says how long to wait for the next connection.
type retrier struct {
	lostAt time.Time // of the first failure in a row of unreachable servers
	slow   int       // slow waits so far
}

// next returns the wait after err, which ended an attempt that took as long as
// it says. Nobody listening, or a good connection lost: 300 ms ± jitter for five
// minutes, then 1 s doubling to 30 s. Refused after TCP: 1 s doubling to 5 min at
// once. With several servers the others are tried without delay before a slow wait.
func (r *retrier) next(err error, now time.Time, took time.Duration, servers int, rand func() float64) time.Duration {
	soon := errors.Is(err, errLost) && !errors.Is(err, errRefusedUs) || dialer.Unreachable(err)
	if took >= steady && !dialer.Unreachable(err) {
		*r = retrier{}
	}
	if soon {
		if r.lostAt.IsZero() {
			r.lostAt = now
		}
		if now.Sub(r.lostAt) < quickFor {
			return quickWait/2 + time.Duration(rand()*float64(quickWait))
		}
	}
	r.slow++
	if servers > 1 && r.slow%servers != 0 {
		return quickWait
	}
	last := slowLast
	if dialer.Unreachable(err) {
		last = deadLast
	}
	return backoff(slowFirst, last, (r.slow+servers-1)/servers, rand)
}
