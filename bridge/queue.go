package bridge

// rowQueue holds the rows waiting in an outbox, in the order of pos. It is a
// slice with a moving head, so that both ends are cheap.
type rowQueue struct {
	rows []*Row
	head int
}

func (q *rowQueue) len() int { return len(q.rows) - q.head }

func (q *rowQueue) first() *Row { return q.rows[q.head] }

// all returns the rows waiting, first to last; it is valid until the next call.
func (q *rowQueue) all() []*Row { return q.rows[q.head:] }

func (q *rowQueue) push(r *Row) {
	if q.head > 64 && q.head > len(q.rows)/2 {
		n := copy(q.rows, q.rows[q.head:])
		clear(q.rows[n:])
		q.rows, q.head = q.rows[:n], 0
	}
	q.rows = append(q.rows, r)
}

func (q *rowQueue) pop() *Row {
	r := q.rows[q.head]
	q.rows[q.head] = nil
	q.head++
	if q.head == len(q.rows) {
		q.rows, q.head = q.rows[:0], 0
	}
	return r
}

// putBack inserts r by its pos, which is among the first.
func (q *rowQueue) putBack(r *Row) {
	if q.head > 0 {
		q.head--
		q.rows[q.head] = r
	} else {
		q.rows = append(q.rows, nil)
		copy(q.rows[1:], q.rows)
		q.rows[0] = r
	}
	for i := q.head; i+1 < len(q.rows) && q.rows[i].pos > q.rows[i+1].pos; i++ {
		q.rows[i], q.rows[i+1] = q.rows[i+1], q.rows[i]
	}
}

// removeIf takes out the rows that match and returns them.
func (q *rowQueue) removeIf(match func(*Row) bool) []*Row {
	var out []*Row
	kept := q.rows[q.head:q.head]
	for _, r := range q.rows[q.head:] {
		if match(r) {
			out = append(out, r)
		} else {
			kept = append(kept, r)
		}
	}
	clear(q.rows[q.head+len(kept):])
	q.rows = q.rows[:q.head+len(kept)]
	return out
}
