package bridge

import (
	"sync/atomic"
	"time"
)

// A line that was on its way when the process died may have arrived. Where nobody
// could be asked about it (AskLeg.Asks), one line at a time goes, and the next one
// once the journal has the proof of the last: one line is in doubt then, and no more.
//
// That costs a way to the server and back and a commit for each line, which people
// do not notice, and networks with flood control do not allow to be faster. So the
// window of the leg is opened where lines come, and go, faster than people talk:
// singleRun of them in less than singleEach each; and for as long as they do.
const (
	singleRun  = 64
	singleEach = 25 * time.Millisecond
	singleCalm = time.Second // without a line: one at a time again
)

// triedAhead is how many rows are noted as tried before they are, triedFresh how long
// before.
const (
	triedAhead = 64
	triedFresh = time.Minute
)

// single is an outbox's going one line at a time. Its fields but for the atomic ones
// are guarded by outbox.mu.
type single struct {
	on      atomic.Bool  // it does
	ending  atomic.Int64 // rows that have ended, and are not known to the journal yet
	riding  atomic.Int64 // of them, committed with what the dispatcher is taking in
	waiting atomic.Bool  // for them

	open  bool // too much comes for it
	run   int  // rows since begun
	begun time.Time
	last  time.Time // of the last row
}

// step reports whether rows go one at a time now. mute: nobody could be asked.
func (s *single) step(mute bool) bool {
	on := mute && !s.open
	s.on.Store(on)
	return on
}

// wait reports whether rows have ended that the journal does not know yet; the
// outbox is woken when it does.
func (s *single) wait() bool {
	s.waiting.Store(true)
	if s.ending.Load() > 0 {
		return true
	}
	s.waiting.Store(false)
	return false
}

// ended notes that the journal knows of an end.
func (s *single) ended(wake chan struct{}) {
	if s.ending.Add(-1) == 0 && s.waiting.Swap(false) {
		poke(wake)
	}
}

// took notes that a row goes on its way.
func (s *single) took(now time.Time) {
	if now.Sub(s.last) >= singleCalm {
		s.open, s.run = false, 0
	}
	if s.last = now; s.run == 0 {
		s.begun = now
	}
	if s.run++; s.run == singleRun {
		s.open, s.run = now.Sub(s.begun) < singleRun*singleEach, 0
	}
}

// ahead is how many waiting rows of b are noted as tried before they are: each note
// less is a commit less that the wire waits for. Where what is in doubt is sent
// again, a row noted too early costs a question after a crash at most; where it is
// skipped, it would be a line lost, and where nobody can be asked, one that may be
// there twice for all that anybody knows.
func (o *outbox) ahead(b *bridgeState) int {
	switch {
	case b.cfg.OnDoubt == Skip:
		return 0
	case !o.single.on.Load():
		return triedAhead
	case o.single.ending.Load() > o.single.riding.Load():
		return 0
	}
	return 1
}
