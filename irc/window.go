package irc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
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

// send queues lines for room and returns when they are written.
func (w *window) send(ctx context.Context, room bridge.Room, id string, lines []string, notice bool) error {
	w.mu.Lock()
	q := w.rooms[room]
	if q == nil || w.err != nil {
		w.unlock()
		return bridge.ErrNotReady
	}
	j := &job{room: q, id: id, lines: lines, notice: notice, outcome: bridge.Delivered}
	q.jobs = append(q.jobs, j)
	w.makeReady(q)
	w.pump()
	if j.ended {
		err := j.err
		w.unlock()
		return err
	}
	j.done = make(chan struct{})
	w.unlock()
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return w.cancel(j, ctx.Err())
	}
}

// cancel takes back a job whose Send was given up.
func (w *window) cancel(j *job, err error) error {
	w.mu.Lock()
	defer w.unlock()
	if !j.ended {
		w.abandon(j, err)
	}
	return j.err
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

// close refuses lines for room from now on. What waits goes back to the core;
// what was half written is in doubt, as are lines that the server refuses from
// now on only because we are out.
func (w *window) close(room bridge.Room) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.rooms[room]; q != nil {
		delete(w.rooms, room)
		w.empty(q, bridge.ErrNotReady)
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

// pump writes until the window is full or nothing waits. It is called with mu
// held, and lets go of it while it writes.
func (w *window) pump() {
	for !w.writing && w.err == nil {
		w.fill()
		if len(w.out) == 0 {
			return
		}
		buf, written := w.out, w.written
		w.out, w.written = w.spare[:0], nil
		w.writing = true
		w.mu.Unlock()
		_, err := w.conn.Write(buf)
		w.mu.Lock()
		w.writing = false
		if cap(buf) <= 16<<10 {
			w.spare = buf
		} else {
			w.spare = nil
		}
		for _, j := range written {
			j.end(nil)
			w.settle(j) // it may have been confirmed already
		}
		if err != nil {
			w.breakOff(fmt.Errorf("irc: write: %w", err))
		}
	}
}

// fill moves lines that the window admits to out, in the order of priority.
func (w *window) fill() {
	w.out = append(w.out, w.urgent...)
	w.urgent = w.urgent[:0]
	if w.held {
		return
	}
	for len(w.commands) > 0 && w.admits(len(w.commands[0].line)+2, windowLines, windowBytes) {
		w.emitCommand(w.commands[0])
		w.commands = w.commands[1:]
	}
	for len(w.ready) > 0 {
		q := w.ready[0]
		if !w.emitChat(q) {
			break
		}
		w.ready = w.ready[1:]
		q.queued = false
		w.makeReady(q)
	}
	for len(w.idle) > 0 && len(w.ready) == 0 && len(w.commands) == 0 &&
		w.admits(len(w.idle[0].line)+2, windowLines-2*guardLines, windowBytes-guardBytes) {
		w.emitCommand(w.idle[0])
		w.idle = w.idle[1:]
	}
	w.putFence(false)
}

func (w *window) admits(size, lines, bytes int) bool {
	return w.lines < lines && (w.bytes+size <= bytes || w.lines == 0)
}

func (w *window) emitCommand(c command) {
	w.out = append(append(w.out, c.line...), '\r', '\n')
	w.fly(flying{size: len(c.line) + 2})
	if c.then != nil {
		w.fence(false, c.then)
	}
}

func (w *window) fly(f flying) {
	w.seq++
	f.seq, f.at = w.seq, w.now()
	w.flight = append(w.flight, f)
	w.lines++
	w.bytes += f.size
	if f.how == byFence {
		w.unfenced++
	}
}

// emitChat writes the next line of q, if the window admits it.
func (w *window) emitChat(q *roomQueue) bool {
	j := q.jobs[0]
	w.refit(j)
	body, verb := j.lines[j.next], "PRIVMSG "
	if j.notice {
		verb = "NOTICE "
	}
	f := flying{job: j, how: byFence, body: body}
	tags := ""
	switch {
	case w.labels:
		f.how, f.label = byLabel, "d"+strconv.FormatUint(w.seq+1, 36)
		tags = "label=" + f.label
	case w.echoes:
		f.how = byEcho
	}
	if w.marks && j.id != "" {
		if tags != "" {
			tags += ";"
		}
		tags += markTag + "=" + escapeTag(j.id)
	}
	f.size = len(verb) + len(q.target) + 2 + len(body) + 2
	if tags != "" {
		f.size += len(tags) + 2
	}
	if !w.admits(f.size, windowLines-guardLines, windowBytes-guardBytes) {
		return false
	}
	if tags != "" {
		w.out = append(append(append(w.out, '@'), tags...), ' ')
	}
	w.out = append(append(append(w.out, verb...), q.target...), ' ', ':')
	w.out = append(append(w.out, body...), '\r', '\n')
	w.fly(f)
	j.next++
	j.flying++
	if j.next == len(j.lines) {
		q.jobs = q.jobs[1:]
		w.written = append(w.written, j)
	}
	return true
}

// refit splits the next line again if our source grew since it was made.
func (w *window) refit(j *job) {
	limit := w.limit(j.room.target)
	if body := j.lines[j.next]; len(body) > limit {
		j.lines = slices.Insert(slices.Delete(j.lines, j.next, j.next+1), j.next, SplitText(body, limit)...)
	}
}

// limit is how many bytes may follow the colon of a PRIVMSG to target.
func (w *window) limit(target string) int {
	return max(w.lineLen-2-len(":")-w.source-len(" PRIVMSG ")-len(target)-len(" :"), 64)
}

// bodyLimit is how many bytes a line to room may hold; false: room is not open.
func (w *window) bodyLimit(room bridge.Room) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.rooms[room]
	if q == nil {
		return 0, false
	}
	return w.limit(q.target), true
}

// putFence puts a PING behind lines that only a PONG confirms: one is always
// under way, and another every few lines.
func (w *window) putFence(judge bool) {
	if judge || w.unfenced >= fenceEvery || w.unfenced > 0 && len(w.fences) == 0 {
		w.fence(judge, nil)
	}
}

func (w *window) fence(judge bool, then func()) {
	w.asked++
	f := fence{token: fencePrefix + strconv.FormatUint(w.asked, 36), seq: w.seq, judge: judge, then: then}
	from := len(w.out)
	w.out = append(append(append(w.out, "PING "...), f.token...), '\r', '\n')
	f.size = len(w.out) - from
	w.bytes += f.size
	w.unfenced = 0
	w.fences = append(w.fences, f)
}

// fencePrefix begins our PING tokens, so that a keepalive's PONG is no fence.
const fencePrefix = "db-"

func escapeTag(s string) string {
	if !strings.ContainsAny(s, "; \\\r\n") {
		return s
	}
	return strings.NewReplacer(";", `\:`, " ", `\s`, `\`, `\\`, "\r", `\r`, "\n", `\n`).Replace(s)
}
