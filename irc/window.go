package irc

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"drawbridge/bridge"
)

// The send window: what may be on the wire unconfirmed. Measured to pass every
// common server's stock flood control, at whatever rate the server grants.
const (
	windowLines = 8
	windowBytes = 2000
	guardLines  = 2   // kept free of chat, for commands
	guardBytes  = 512 // the same in bytes
	fenceEvery  = 4   // lines behind which a PING is put, when more are to come
	maxSent     = 510 // bytes of a line without CR LF; longer ones some servers end us for
	maxUrgent   = 64 << 10
	maxCommands = 512
	// judgeAfter is how long an echo may take before a PING asks whether the server
	// has swallowed the line.
	judgeAfter = 15 * time.Second
)

// Errors of lines that the server did not take.
var (
	errSwallowed = errors.New("irc: the server did not echo the line")
	errRefused   = errors.New("irc: refused by the server")
	errFull      = errors.New("irc: too many commands waiting, or one too long")
)

// proofKind is how a line is confirmed.
type proofKind uint8

const (
	byFence proofKind = iota // the PONG of a later PING
	byEcho                   // our line comes back
	byLabel                  // a response with our label comes back
)

// job is one Outgoing on its way.
type job struct {
	room    *roomQueue
	id      string
	lines   []string // payloads, prefix included
	prefix  string   // of each of them
	notice  bool
	next    int           // first line not yet written
	flying  int           // lines written and unconfirmed
	ended   bool          // Send has its answer
	err     error         // Send's answer
	done    chan struct{} // closed with ended; made only by who waits
	outcome bridge.Outcome
	reason  error
	netID   string
	proven  bool // the proof was given
}

// roomQueue is one channel's lines waiting for the window.
type roomQueue struct {
	room   bridge.Room
	target string // as the network writes it
	jobs   []*job
	queued bool  // is in window.ready
	kept   bool  // the channel has a history, which can be asked for
	errs   int   // refusals since the last fence came back
	why    error // the last of them
}

// flying is one line on the wire.
type flying struct {
	seq   uint64
	job   *job // nil for a command
	size  int
	how   proofKind
	label string
	body  string // payload, to know an unlabelled echo by
	order string // the whole line, of a guard's order
	asks  string // the whole line, of another command without a label
	then  func() // of a labelled command, once it is answered
	at    time.Time
}

type fence struct {
	token string
	seq   uint64 // of the last line before it
	size  int
	judge bool // lines that should have been echoed by now are lost
	then  func()
}

type command struct {
	line string
	then func() // called from the reader when a fence has passed the command
}

// window sends lines. Whoever brings a line, or frees room for one, writes what
// is allowed: there is no writer goroutine. Nothing is called with mu held but
// fail; proofs are handed out by send and flush alone, so that the reader may
// call everything else while it holds the session's state.
type window struct {
	conn  io.Writer
	fail  func(error) // ends the connection after a failed write
	prove func(bridge.Proof)
	now   func() time.Time

	mu       sync.Mutex // guards what follows
	err      error      // set when the connection has ended
	held     bool       // registration is not over: urgent lines only
	writing  bool
	out      []byte
	spare    []byte
	urgent   []byte
	commands []command
	idle     []command // sent when nothing else waits

	orders    []*order // of guards
	obeyed    []*order // those in out
	questions []command
	whispers  []string
	unsaid    uint64 // whispers left out
	whispered bool   // one went since the last line of chat
	guarded   bool
	lag       time.Duration // how long the last line took to be confirmed
	due       []func()      // of labelled commands that were answered, for the reader

	rooms    map[bridge.Room]*roomQueue
	ready    []*roomQueue // rooms with lines waiting, next first
	flight   []flying     // in the order of the wire
	lines    int
	bytes    int
	seq      uint64
	fences   []fence
	asked    uint64 // fences made so far
	unfenced int    // byFence lines behind the last fence
	anyErrs  int    // refusals that name no target, since the last fence came back
	written  []*job
	proofs   []bridge.Proof
	judging  bool

	labels, echoes, marks bool
	source                int // bytes of our own source
	lineLen               int
}

func newWindow(conn io.Writer, now func() time.Time, fail func(error), prove func(bridge.Proof)) *window {
	return &window{conn: conn, now: now, fail: fail, prove: prove, held: true, rooms: map[bridge.Room]*roomQueue{}, lineLen: 512}
}

// unlock releases mu and hands out the proofs that came up meanwhile.
func (w *window) unlock() {
	proofs := w.proofs
	w.proofs = nil
	w.mu.Unlock()
	for _, p := range proofs {
		w.prove(p)
	}
}

// send queues jobs for room and returns when all are written. It returns how many
// were, and why the next was not.
func (w *window) send(ctx context.Context, room bridge.Room, jobs ...*job) (n int, err error) {
	w.mu.Lock()
	if !w.enqueue(room, jobs...) {
		w.unlock()
		return 0, bridge.ErrNotReady
	}
	for _, j := range jobs {
		if !j.ended {
			j.done = make(chan struct{})
		}
	}
	w.unlock()
	for n, j := range jobs {
		if j.done != nil { // nil: the first write had it
			select {
			case <-j.done:
			case <-ctx.Done():
				w.cancel(jobs[n:], ctx.Err())
			}
		}
		if j.err != nil {
			return n, j.err
		}
	}
	return len(jobs), nil
}

// enqueue queues jobs and writes what the window admits; false: room is not open.
func (w *window) enqueue(room bridge.Room, jobs ...*job) bool {
	q := w.rooms[room]
	if q == nil || w.err != nil {
		return false
	}
	for _, j := range jobs {
		j.room, j.outcome = q, bridge.Delivered
	}
	q.jobs = append(q.jobs, jobs...)
	w.makeReady(q)
	w.pump()
	return true
}

// cancel takes back the jobs of a Send that was given up, all at once: none
// overtakes one that is not written.
func (w *window) cancel(jobs []*job, err error) {
	w.mu.Lock()
	defer w.unlock()
	for _, j := range jobs {
		if !j.ended {
			w.abandon(j, err)
		}
	}
}

// abandon ends a job that is not wholly written: err if none of it was, else nil
// and the message is in doubt.
func (w *window) abandon(j *job, err error) {
	if i := slices.Index(j.room.jobs, j); i >= 0 {
		j.room.jobs = slices.Delete(j.room.jobs, i, i+1)
	}
	if j.next == 0 {
		j.proven = true // there is nothing to prove
		j.end(err)
		return
	}
	if j.next < len(j.lines) {
		j.lines = j.lines[:j.next]
		j.worsen(bridge.Doubt, nil)
	}
	j.end(nil)
	w.settle(j)
}

func (j *job) end(err error) {
	if j.ended {
		return
	}
	j.ended, j.err = true, err
	if j.done != nil {
		close(j.done)
	}
}

// worsen lowers the outcome: Failed is worse than Doubt, Doubt than Delivered.
func (j *job) worsen(o bridge.Outcome, reason error) {
	if o == bridge.Failed || o == bridge.Doubt && j.outcome == bridge.Delivered {
		j.outcome, j.reason = o, reason
	}
}

// settle gives the proof of a job once nothing of it is in the air or to come.
func (w *window) settle(j *job) {
	if j.proven || j.flying > 0 || j.next < len(j.lines) {
		return
	}
	j.proven = true
	p := bridge.Proof{Room: j.room.room, ID: j.id, Outcome: j.outcome, NetID: j.netID}
	if p.Outcome == bridge.Failed {
		p.Err = j.reason
	}
	w.proofs = append(w.proofs, p)
}

// raw sends a line at once, outside the window: PONG, registration, QUIT.
func (w *window) raw(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rawLocked(line)
}

func (w *window) rawLocked(line string) {
	if w.err != nil || len(line) > maxSent {
		return
	}
	if len(w.urgent) > maxUrgent { // the server asks and does not read
		w.breakOff(errFull)
		return
	}
	w.urgent = append(append(w.urgent, line...), '\r', '\n')
}

// command queues a line that goes before all chat. then, if any, is called from
// the reader when the server has handled it.
func (w *window) command(line string, then func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.commands) >= maxCommands || len(line) > maxSent {
		return errFull
	}
	w.commands = append(w.commands, command{line, then})
	return nil
}

// whenIdle queues a line that is sent when nothing else waits. It is dropped
// when too many wait already.
func (w *window) whenIdle(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) < maxCommands && len(line) <= maxSent {
		w.idle = append(w.idle, command{line: line})
	}
}

// flush writes what is allowed.
func (w *window) flush() {
	w.mu.Lock()
	defer w.unlock()
	w.pump()
}

// after has then called, from the reader, once the server has handled what was
// sent so far.
func (w *window) after(then func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.fence(false, then)
	}
}

// open lets lines for room pass; target is the channel as the network writes it.
func (w *window) open(room bridge.Room, target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.rooms[room] == nil {
		w.rooms[room] = &roomQueue{room: room, target: target}
	}
}

// keep notes whether room has a history that can be asked for.
func (w *window) keep(room bridge.Room, kept bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.rooms[room]; q != nil {
		q.kept = kept
	}
}

// keeps reports whether it has.
func (w *window) keeps(room bridge.Room) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.rooms[room]
	return q != nil && q.kept
}

// close refuses lines for room from now on. What waits goes back to the core;
// what was half written is in doubt, as are lines that the server refuses from
// now on only because we are out.
func (w *window) close(room bridge.Room) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.rooms[room]; q != nil {
		delete(w.rooms, room)
		w.empty(q, bridge.ErrNotReady)
		w.dropOrders(bridge.ErrNotReady, func(o *order) bool { return o.room == room })
	}
}

func (w *window) empty(q *roomQueue, err error) {
	for len(q.jobs) > 0 {
		w.abandon(q.jobs[0], err)
	}
	if i := slices.Index(w.ready, q); i >= 0 {
		w.ready = slices.Delete(w.ready, i, i+1)
	}
	q.queued = false
}

// kill ends the window: everything unproven is in doubt.
func (w *window) kill(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breakOff(err)
	for _, q := range w.rooms {
		w.empty(q, bridge.ErrNotReady)
	}
	clear(w.rooms)
	w.dropOrders(bridge.ErrNotReady, func(*order) bool { return true })
	flight := w.flight
	w.flight = nil
	for _, f := range flight {
		if f.job == nil {
			continue
		}
		f.job.flying--
		f.job.worsen(bridge.Doubt, nil)
		f.job.end(nil)
		w.settle(f.job)
	}
}

func (w *window) breakOff(err error) {
	if w.err == nil {
		w.err = err
		w.fail(err)
	}
}

// start ends the time of registration: commands and chat may pass.
func (w *window) start(labels, echoes, marks bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.labels, w.echoes, w.marks = false, labels, echoes, marks
}

// setSource tells how long a line may be: source is the length of our
// nick!user@host, lineLen that of a line.
func (w *window) setSource(source, lineLen int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.source, w.lineLen = source, lineLen
}

func (w *window) makeReady(q *roomQueue) {
	if !q.queued && len(q.jobs) > 0 {
		q.queued = true
		w.ready = append(w.ready, q)
	}
}
