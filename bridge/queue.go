package bridge

import "time"

// What of a long queue is in memory; the rest is in the journal alone, if that is
// durable.
const (
	headRows  = 256
	headBytes = 1 << 20
	fillBelow = 96 // rows left in memory, at which more are read
)

// rowQueue holds the rows waiting in an outbox, in order. Its head is in memory,
// in the order of pos; of the tail it knows what is needed to end a row unread.
// Both are slices with a moving start, so that both ends are cheap.
type rowQueue struct {
	spill   bool // the journal keeps rows: the tail need not be in memory
	rows    []*Row
	start   int
	bytes   int // of the text in memory
	tail    []spilled
	next    int // where the tail begins
	origins map[originKey]*origin
}

// spilled is a row that is in the journal alone.
type spilled struct {
	seq    uint64
	from   *origin
	queued time.Time
	size   int
	doubt  bool // it may have arrived
}

// origin is what many rows share.
type origin struct {
	originKey
	ledger *ledger
}

type originKey struct {
	bridge string
	from   Room
}

// len is how many rows wait, wherever they are.
func (q *rowQueue) len() int { return len(q.head()) + len(q.rest()) }

// head returns the rows in memory, first to last; it is valid until the next call.
func (q *rowQueue) head() []*Row { return q.rows[q.start:] }

// rest returns those that are not.
func (q *rowQueue) rest() []spilled { return q.tail[q.next:] }

func (q *rowQueue) push(r *Row) {
	full := len(q.rest()) > 0 || len(q.head()) >= headRows || q.bytes >= headBytes
	if rest := q.rest(); !q.spill || !full || r.Seq == 0 || len(rest) > 0 && rest[len(rest)-1].seq > r.Seq { // the tail ascends
		q.add(r)
		return
	}
	if q.next > 64 && q.next > len(q.tail)/2 {
		n := copy(q.tail, q.tail[q.next:])
		clear(q.tail[n:])
		q.tail, q.next = q.tail[:n], 0
	}
	q.tail = append(q.tail, spilled{r.Seq, q.origin(r), r.Queued, r.size, r.doubt})
}

// add puts r at the end of the head.
func (q *rowQueue) add(r *Row) {
	if q.start > 64 && q.start > len(q.rows)/2 {
		n := copy(q.rows, q.rows[q.start:])
		clear(q.rows[n:])
		q.rows, q.start = q.rows[:n], 0
	}
	q.rows = append(q.rows, r)
	q.bytes += r.size
}

func (q *rowQueue) origin(r *Row) *origin {
	k := originKey{r.Bridge, r.From}
	o := q.origins[k]
	if o == nil || o.ledger != r.ledger {
		o = &origin{k, r.ledger}
		if q.origins == nil {
			q.origins = map[originKey]*origin{}
		}
		q.origins[k] = o
	}
	return o
}

// unread is s as a row without what was said.
func (s *spilled) unread(to Room) *Row {
	return &Row{Seq: s.seq, Bridge: s.from.bridge, From: s.from.from, To: to, Kind: RowSay, Queued: s.queued, ledger: s.from.ledger, size: s.size}
}

// pop takes the first row in memory.
func (q *rowQueue) pop() *Row {
	r := q.rows[q.start]
	q.rows[q.start] = nil
	q.start++
	q.bytes -= r.size
	if q.start == len(q.rows) {
		q.rows, q.start = q.rows[:0], 0
	}
	return r
}

// putBack inserts r by its pos, which is among the first.
func (q *rowQueue) putBack(r *Row) {
	q.bytes += r.size
	if q.start > 0 {
		q.start--
		q.rows[q.start] = r
	} else {
		q.rows = append(q.rows, nil)
		copy(q.rows[1:], q.rows)
		q.rows[0] = r
	}
	for i := q.start; i+1 < len(q.rows) && q.rows[i].pos > q.rows[i+1].pos; i++ {
		q.rows[i], q.rows[i+1] = q.rows[i+1], q.rows[i]
	}
}

// wanted returns the numbers of the rows to be read into memory now, nil if there
// is no need.
func (q *rowQueue) wanted() (seqs []uint64) {
	if len(q.rest()) == 0 || len(q.head()) > fillBelow {
		return nil
	}
	bytes := q.bytes
	for _, s := range q.rest() {
		if len(seqs) > 0 && (len(seqs)+fillBelow >= headRows || bytes+s.size > headBytes) {
			break
		}
		bytes += s.size
		seqs = append(seqs, s.seq)
	}
	return seqs
}

// fill moves the rows that were wanted from the tail to the head, giving each its
// place. It returns those that the journal could not give.
func (q *rowQueue) fill(seqs []uint64, rows []*Row, to Room, place func(*Row)) (gone []*Row) {
	read := make(map[uint64]*Row, len(rows))
	for _, r := range rows {
		read[r.Seq] = r
	}
	for len(q.rest()) > 0 && len(seqs) > 0 && q.tail[q.next].seq <= seqs[len(seqs)-1] {
		s := &q.tail[q.next]
		r := read[s.seq]
		if r == nil {
			gone = append(gone, s.unread(to))
		} else {
			r.ledger, r.size, r.Queued, r.doubt = s.from.ledger, s.size, s.queued, s.doubt
			place(r)
			q.add(r)
		}
		*s = spilled{}
		q.next++
	}
	if q.next == len(q.tail) {
		q.tail, q.next = nil, 0
	}
	return gone
}

// removeHead takes out the rows in memory that match and returns them.
func (q *rowQueue) removeHead(match func(*Row) bool) []*Row {
	var out []*Row
	kept := q.rows[q.start:q.start]
	for _, r := range q.head() {
		if match(r) {
			out = append(out, r)
			q.bytes -= r.size
		} else {
			kept = append(kept, r)
		}
	}
	clear(q.rows[q.start+len(kept):])
	q.rows = q.rows[:q.start+len(kept)]
	return out
}

// removeIf takes out all rows that match and returns them; those that were not in
// memory come without what was said.
func (q *rowQueue) removeIf(to Room, match func(*Row) bool) []*Row {
	out := q.removeHead(match)
	kept := q.tail[q.next:q.next]
	for _, s := range q.rest() {
		if r := s.unread(to); match(r) {
			out = append(out, r)
		} else {
			kept = append(kept, s)
		}
	}
	clear(q.tail[q.next+len(kept):])
	q.tail = q.tail[:q.next+len(kept)]
	return out
}

// oldest returns the first line waiting, unread if it is not in memory; nil if only
// own words wait. sure leaves out those in doubt.
func (q *rowQueue) oldest(to Room, sure bool) *Row {
	for _, r := range q.head() {
		if r.Kind != RowOwn && !(sure && r.doubt) {
			return r
		}
	}
	if len(q.rest()) > 0 {
		return q.tail[q.next].unread(to)
	}
	return nil
}

// late counts the lines from the first on that came before t, and says when the
// last of them did.
func (q *rowQueue) late(t time.Time) (n int, last time.Time) {
	for _, r := range q.head() {
		if r.Kind == RowOwn {
			continue
		}
		if !r.Queued.Before(t) {
			return n, last
		}
		n, last = n+1, r.Queued
	}
	for i := range q.rest() {
		s := &q.tail[q.next+i]
		if !s.queued.Before(t) {
			break
		}
		n, last = n+1, s.queued
	}
	return n, last
}
