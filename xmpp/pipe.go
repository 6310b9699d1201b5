package xmpp

import (
	"sync"

	"drawbridge/bridge"
)

// Limits of what was received and not yet taken in. At them the reader stops,
// and TCP slows the server down; nothing is dropped.
const (
	pipeItems = 1024
	pipeBytes = 8 << 20
)

// item is a message or an event on its way to the sink, in the order of the wire.
type item struct {
	isEvent bool
	event   bridge.Event
	msg     bridge.Message
	size    int
	// ready, when not nil, is closed once msg was decrypted; then skip tells that
	// there is nothing to hand over. skipped is called if so.
	ready   chan struct{}
	skip    bool
	skipped func()
	// events follow msg: what it changed in the session it came in.
	events []bridge.Event
}

// pipe is a bounded FIFO.
type pipe struct {
	mu     sync.Mutex // guards all below
	room   sync.Cond  // for push
	some   sync.Cond  // for pop
	items  []*item
	head   int
	bytes  int
	closed bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.room.L, p.some.L = &p.mu, &p.mu
	return p
}

// push appends it and reports whether it did; it blocks while the pipe is full,
// and does nothing once it is closed.
func (p *pipe) push(it *item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (len(p.items)-p.head >= pipeItems || p.bytes > pipeBytes) {
		p.room.Wait()
	}
	if p.closed {
		return false
	}
	if p.head > 0 && len(p.items) == cap(p.items) {
		n := copy(p.items, p.items[p.head:])
		clear(p.items[n:])
		p.items, p.head = p.items[:n], 0
	}
	p.items = append(p.items, it)
	p.bytes += it.size
	p.some.Signal()
	return true
}

// pop takes the first item; false once the pipe is closed.
func (p *pipe) pop() (*item, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && p.head == len(p.items) {
		p.some.Wait()
	}
	if p.closed {
		return nil, false
	}
	it := p.items[p.head]
	p.items[p.head] = nil
	p.head++
	if p.head == len(p.items) {
		p.items, p.head = p.items[:0], 0
	}
	p.bytes -= it.size
	p.room.Signal()
	return it, true
}

// close wakes everybody; what is left is not handed over.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.room.Broadcast()
	p.some.Broadcast()
}

// lane keeps the jobs of one contact in order: a scheme sees a peer's messages
// as the wire had them. Its fields are guarded by workers.mu.
type lane struct {
	jobs []func()
	busy bool
}

// workers do the jobs of all lanes, several at once but never two of one lane.
// What is queued is bounded by the pipe, whose items the jobs fill.
type workers struct {
	mu     sync.Mutex // guards all below
	some   sync.Cond
	ready  []*lane
	closed bool

	panicked func(what string, v any) // set before run
}

func newWorkers() *workers {
	w := &workers{}
	w.some.L = &w.mu
	return w
}

func (w *workers) submit(l *lane, job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.jobs = append(l.jobs, job)
	if !l.busy {
		l.busy = true
		w.ready = append(w.ready, l)
		w.some.Signal()
	}
}

// run does jobs until close, and those that were queued before.
func (w *workers) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.ready) == 0 {
			if w.closed {
				return
			}
			w.some.Wait()
		}
		l := w.ready[0]
		w.ready = w.ready[1:]
		job := l.jobs[0]
		l.jobs = l.jobs[1:]
		w.mu.Unlock()
		w.do(job)
		w.mu.Lock()
		if len(l.jobs) > 0 {
			w.ready = append(w.ready, l)
		} else {
			l.jobs, l.busy = nil, false
		}
	}
}

// do survives a panic of job: it costs what the job was about, not the worker.
func (w *workers) do(job func()) {
	defer func() {
		if v := recover(); v != nil {
			w.panicked("job", v)
		}
	}()
	job()
}

func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.some.Broadcast()
}

// tickets count stanzas as handled in the order of the wire: XEP-0198's h is the
// prefix of the FIFO that is done with, so what the core has not taken in is
// never acknowledged.
type tickets struct {
	mu     sync.Mutex // guards all below
	first  uint64     // ticket of open[0]
	open   []bool     // true: done
	report func(n int)
	// handed are those that are in the pipe, which keeps their order, and not done;
	// prefix is how many are done or handed, without one missing.
	handed map[uint64]bool
	prefix uint64
}

// hand notes that a stanza goes into the pipe. It returns how many stanzas will have
// been handled when the core has committed it: all before it in the pipe are, then.
func (t *tickets) hand(ticket uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handed == nil {
		t.handed = map[uint64]bool{}
	}
	if ticket >= t.first {
		t.handed[ticket] = true
	}
	t.prefix = max(t.prefix, t.first)
	for t.handed[t.prefix] || t.prefix-t.first < uint64(len(t.open)) && t.open[t.prefix-t.first] {
		t.prefix++
	}
	return t.prefix
}

// take returns the ticket of the next stanza.
func (t *tickets) take() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = append(t.open, false)
	return t.first + uint64(len(t.open)) - 1
}

// done marks a stanza as handled. A second time does nothing.
func (t *tickets) done(ticket uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ticket < t.first || ticket-t.first >= uint64(len(t.open)) {
		return
	}
	t.open[ticket-t.first] = true
	delete(t.handed, ticket)
	n := 0
	for n < len(t.open) && t.open[n] {
		n++
	}
	if n == 0 {
		return
	}
	t.first += uint64(n)
	if n == len(t.open) {
		t.open = t.open[:0]
	} else {
		t.open = t.open[n:]
	}
	t.report(n)
}
