package bridge

import "sync"

// Ledger counts what a bridge did. Two sums hold in every snapshot:
//
//	Received = Accepted + Refused + Unreadable + Commands + Again + Looped + Paused
//	Queued   = Relayed + Waiting + Bounced + Missed + Skipped + Dead + Unproven
//
// The first counts messages taken in, the second their copies, one for each
// destination. The bot's own words are in neither.
type Ledger struct {
	Received   uint64 `json:"received"`
	Accepted   uint64 `json:"accepted"`   // went to the other rooms
	Refused    uint64 `json:"refused"`    // below the floor, or from a stranger
	Unreadable uint64 `json:"unreadable"` // encrypted, and could not be opened
	Commands   uint64 `json:"commands"`   // chat commands, never relayed
	Again      uint64 `json:"again"`      // delivered twice by the network
	Looped     uint64 `json:"looped"`     // relayed lines, ours or another bridge's
	Paused     uint64 `json:"paused"`     // said in a room paused by its operator

	Queued  uint64 `json:"queued"`
	Relayed uint64 `json:"relayed"` // proven delivered
	Waiting uint64 `json:"waiting"` // in an outbox or on the wire
	Bounced uint64 `json:"bounced"` // given up, the sender's side was told
	Missed  uint64 `json:"missed"`  // let go for a person long offline, told as a count
	Skipped uint64 `json:"skipped"` // in doubt, not sent again
	Dead    uint64 `json:"dead"`    // parked for an admin, or lost with the key that sealed them
	// Unproven: the network has them, and whoever they are for has not shown to have
	// read them (OTR).
	Unproven uint64 `json:"unproven"`

	// What came of rows in doubt. Found ones are among Relayed, those given up among
	// Skipped.
	Found  uint64 `json:"found"`  // the network had them
	Absent uint64 `json:"absent"` // the network had them not: times one was sent again
	Resent uint64 `json:"resent"` // nobody could be asked: times one was sent again, and may be there twice

	Unread uint64 `json:"unread"` // got there and were not read: times one was sent again

	Gaps    uint64 `json:"gaps"`    // told, each counted as a message above
	Dropped uint64 `json:"dropped"` // own words that could not be said, since the start
}

// Balanced reports whether the two sums hold.
func (l Ledger) Balanced() bool {
	return l.Received == l.Accepted+l.Refused+l.Unreadable+l.Commands+l.Again+l.Looped+l.Paused &&
		l.Queued == l.Relayed+l.Waiting+l.Bounced+l.Missed+l.Skipped+l.Dead+l.Unproven
}

// Count is what one message taken in adds to the ledger of one bridge.
type Count struct {
	Bridge string
	Copies uint64 // of an accepted one
	Gap    bool
	what   verdict
}

// Add adds the message to l, as one that was known already if again is set.
func (c Count) Add(l *Ledger, again bool) {
	l.Received++
	if c.Gap && !again {
		l.Gaps++
	}
	switch {
	case again:
		l.Again++
	case c.what == accepted:
		l.Accepted++
		l.Queued += c.Copies
		l.Waiting += c.Copies
	case counters[c.what] != nil:
		*counters[c.what](l)++
	}
}

// Add counts that a row in doubt is sent again.
func (d Settled) Add(l *Ledger) {
	switch d {
	case NotThere:
		l.Absent++
	case NotKnown:
		l.Resent++
	}
}

// Add counts the end of a row that waited, or was unproven.
func (d Done) Add(l *Ledger) {
	switch d.Fate {
	case FateAcked:
		l.Unproven++
		l.Waiting--
		return
	case FateUnread:
		l.Unread++
		if d.Unproven {
			l.Unproven--
			l.Waiting++
		}
		return
	case FateRelayed:
		l.Relayed++
		if d.Found {
			l.Found++
		}
	case FateBounced:
		l.Bounced++
	case FateMissed:
		l.Missed++
	case FateSkipped:
		l.Skipped++
	case FateDead:
		l.Dead++
	default:
		return
	}
	if d.Unproven {
		l.Unproven--
	} else {
		l.Waiting--
	}
}

// Past is l as the next run takes it over: what waits is counted anew, and what is
// unproven has arrived.
func (l Ledger) Past() Ledger {
	l.Waiting = 0
	l.Relayed += l.Unproven
	l.Unproven = 0
	return l
}

// ledger is a Ledger that goroutines share.
type ledger struct {
	mu sync.Mutex // guards l
	l  Ledger
}

// snapshot returns the counters at one moment.
func (l *ledger) snapshot() Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.l
}

// add counts one message.
func (l *ledger) add(c Count, again bool) {
	l.mu.Lock()
	c.Add(&l.l, again)
	l.mu.Unlock()
}

// ended counts the end of one row that waited.
func (l *ledger) ended(d Done) {
	l.mu.Lock()
	d.Add(&l.l)
	l.mu.Unlock()
}

// again counts that a row in doubt is sent again.
func (l *ledger) again(d Settled) {
	l.mu.Lock()
	d.Add(&l.l)
	l.mu.Unlock()
}

// dropped counts own words that could not be said.
func (l *ledger) dropped() {
	l.mu.Lock()
	l.l.Dropped++
	l.mu.Unlock()
}

// reloaded counts a row that an earlier run left in the journal. It was queued
// then.
func (l *ledger) reloaded() {
	l.mu.Lock()
	l.l.Waiting++
	l.mu.Unlock()
}

// revived counts a parked row that waits again.
func (l *ledger) revived() {
	l.mu.Lock()
	l.l.Dead--
	l.l.Waiting++
	l.mu.Unlock()
}

// lost takes over how many rows the journal counts as dead: it may have found
// some that do not open any more.
func (l *ledger) lost(dead uint64) {
	l.mu.Lock()
	l.l.Dead = dead
	l.mu.Unlock()
}

// restore takes over what an earlier run counted.
func (l *ledger) restore(old Ledger) {
	l.mu.Lock()
	l.l = old.Past() // each row left is reloaded
	l.mu.Unlock()
}
