package irc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drawbridge/bridge"
)

// This file is how lines leave the window: what is admitted, in which order, and
// where fences go.

// pump writes until the window is full or nothing waits. It is called with mu
// held, and lets go of it while it writes.
func (w *window) pump() {
	for !w.writing && w.err == nil {
		w.fill()
		if len(w.out) == 0 {
			return
		}
		buf, written, obeyed := w.out, w.written, w.obeyed
		w.out, w.written, w.obeyed = w.spare[:0], nil, nil
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
		for _, o := range obeyed {
			if err != nil {
				o.end(bridge.ErrNotReady)
			}
			o.end(nil)
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
	w.fillOrders()
	for len(w.commands) > 0 && w.admits(len(w.commands[0].line)+2, windowLines, windowBytes) {
		w.emitCommand(w.commands[0])
		w.commands = w.commands[1:]
	}
	w.fillQuestions()
	for len(w.ready) > 0 {
		q := w.ready[0]
		if len(q.jobs) > 0 && !w.emitChat(q) { // none: its last one was taken back
			break
		}
		w.whispered = false
		w.ready = w.ready[1:]
		q.queued = false
		w.makeReady(q)
	}
	for len(w.idle) > 0 && len(w.ready) == 0 && len(w.commands) == 0 && len(w.questions) == 0 &&
		w.admits(len(w.idle[0].line)+2, windowLines-2*guardLines, windowBytes-guardBytes) {
		w.emitCommand(w.idle[0])
		w.idle = w.idle[1:]
	}
	w.putFence(false)
}

func (w *window) admits(size, lines, bytes int) bool {
	return w.lines < lines && (w.bytes+size <= bytes || w.lines == 0)
}

// emitCommand writes a command. Where guards have to be quick it bears a label, if the
// server answers those: a PING behind it costs as much as a command, where a server slows
// us. A JOIN is left alone: what it has the server replay is known by its own batch.
func (w *window) emitCommand(c command) {
	if w.guarded && w.labels && c.line[0] != '@' && !strings.HasPrefix(c.line, "JOIN ") {
		f := flying{how: byLabel, label: commandLabel + strconv.FormatUint(w.seq+1, 36), then: c.then}
		from := len(w.out)
		w.out = append(append(append(w.out, "@label="...), f.label...), ' ')
		w.out = append(append(w.out, c.line...), '\r', '\n')
		f.size = len(w.out) - from
		w.fly(f)
		return
	}
	w.out = append(append(w.out, c.line...), '\r', '\n')
	w.fly(flying{size: len(c.line) + 2, asks: c.line})
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
	if !w.admits(f.size, w.chatLines(), windowBytes-guardBytes) {
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
	body := j.lines[j.next]
	if len(body) <= limit {
		return
	}
	prefix := ""
	if rest, ok := strings.CutPrefix(body, j.prefix); ok && len(j.prefix) <= limit/2 {
		prefix, body = j.prefix, rest // no piece may go without: it could look like another's line
	}
	pieces := splitText(body, limit-len(prefix))
	for i := range pieces {
		pieces[i] = prefix + pieces[i]
	}
	j.lines = slices.Insert(slices.Delete(j.lines, j.next, j.next+1), j.next, pieces...)
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
