package irc

import (
	"context"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
)

var _ bridge.AskLeg = (*Leg)(nil)

// ownKept is how long the own lines of a replay are remembered after a join: the
// core asks at once.
const ownKept = 2 * time.Minute

// maxPartial bounds the messages remembered as partly there.
const maxPartial = 256

// inquiry is one Ask, for the reader to answer.
type inquiry struct {
	room   bridge.Room
	want   []wanted
	oldest time.Time            // since when the first of them may be there
	reply  chan []bridge.Answer // capacity 1; nil: the room is not there
}

// wanted is a message in doubt.
type wanted struct {
	id, prefix string
	lines      []string  // as they would be sent now
	said       time.Time // it was not sent before
}

// inquiries are the Asks that wait for the reader.
type inquiries struct {
	mu      sync.Mutex // guards what follows
	waiting []*inquiry
	over    bool // nobody reads any more
}

// Ask looks ms up in the history of their channel: in what the server replayed
// when we joined, or by CHATHISTORY. A line is known by our mark on it, else by its
// text; only lines from our own nick count. A message of which the channel has only
// the first lines is Absent: when it is sent again, the rest follows. Unanswered is
// what was said before the history begins, or where there is none.
func (l *Leg) Ask(ctx context.Context, ms []bridge.Outgoing) ([]bridge.Answer, error) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil || len(ms) == 0 {
		return nil, bridge.ErrNotReady
	}
	q := &inquiry{room: ms[0].To, reply: make(chan []bridge.Answer, 1)}
	limit, ok := s.win.bodyLimit(q.room)
	if !ok {
		return nil, bridge.ErrNotReady
	}
	for _, m := range ms {
		q.want = append(q.want, wanted{id: m.ID, prefix: shownPrefix(m, limit), lines: encode(m, limit), said: m.Since()})
		if since := m.Since(); q.oldest.IsZero() || since.Before(q.oldest) {
			q.oldest = since
		}
	}
	if !s.inquire(q) {
		return nil, bridge.ErrNotReady
	}
	select {
	case answers := <-q.reply:
		if answers == nil {
			return nil, bridge.ErrNotReady
		}
		return answers, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Asks reports whether the channel has a history: one that the server is asked for,
// or that it replays and that holds more than what may be in doubt.
func (l *Leg) Asks(room bridge.Room) bool {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	return s != nil && s.win.keeps(room)
}

// noteHistory tells the window whether c has a history.
func (s *session) noteHistory(c *channel) {
	lines, _, _ := parseHistoryMode(c.modes['H'])
	s.win.keep(c.room, s.canAsk() || lines > windowLines)
}

// inquire has the reader answer q; false: the session has ended.
func (s *session) inquire(q *inquiry) bool {
	s.asks.mu.Lock()
	defer s.asks.mu.Unlock()
	if s.asks.over {
		return false
	}
	s.asks.waiting = append(s.asks.waiting, q)
	s.asked.Store(true)
	s.wake()
	return true
}

// endAsks turns away who waits for an answer.
func (s *session) endAsks() {
	s.asks.mu.Lock()
	defer s.asks.mu.Unlock()
	s.asks.over = true
	for _, q := range s.asks.waiting {
		q.reply <- nil
	}
	s.asks.waiting = nil
}

// answerAsks answers what can be answered now.
func (s *session) answerAsks() {
	s.asked.Store(false)
	s.asks.mu.Lock()
	waiting := s.asks.waiting
	s.asks.waiting = nil
	s.asks.mu.Unlock()
	var later []*inquiry
	for _, q := range waiting {
		if !s.answer(q) {
			later = append(later, q)
		}
	}
	s.asks.mu.Lock()
	s.asks.waiting = append(later, s.asks.waiting...)
	s.asks.mu.Unlock()
}

// answer answers q, or reports false: the catch-up or a look is under way.
func (s *session) answer(q *inquiry) bool {
	c := s.inRoom(q.room)
	if c == nil || c.replay == nil {
		q.reply <- nil
		return true
	}
	k := c.replay
	switch {
	case !k.settled || k.req != nil:
		return false
	case s.canAsk() && !k.looked:
		k.own, k.looks = nil, 0
		s.ask(c, k, &request{kind: latest, look: true}, "LATEST", "*")
		if !k.looked {
			return false
		}
	}
	q.reply <- s.leg.mem.settleDoubts(q.want, k.own, k.kept)
	k.looked = false // the next one asks anew
	return true
}

// inRoom is the channel of room, if we are in it.
func (s *session) inRoom(room bridge.Room) *channel {
	for _, c := range s.channels {
		if c.room == room && c.joined && c.wanted {
			return c
		}
	}
	return nil
}

// looked goes on from an answer to a look.
func (s *session) looked(c *channel, k *catchup, r *request) {
	k.looks++
	k.own = append(r.own, k.own...)
	if len(k.own) > maxOwnLines {
		k.own = k.own[len(k.own)-maxOwnLines:]
	}
	if r.lines > 0 {
		k.kept = r.first.at.Add(k.skew)
	}
	ref, ok := r.first.ref()
	if !ok || !s.isupport.refsByID() {
		ref = timeRef(r.first.at)
	}
	if r.lines == 0 || r.end || k.looks >= maxLookPages || k.kept.Before(s.oldestAsked(c.room).Add(-overlap)) || ref == k.lastRef {
		k.req, k.looked, k.lastRef = nil, true, ""
		s.answerAsks()
		return
	}
	k.lastRef = ref
	s.ask(c, k, &request{kind: before, look: true}, "BEFORE", ref)
}

// oldestAsked is since when the first message may be there that is asked about in room.
func (s *session) oldestAsked(room bridge.Room) time.Time {
	oldest := s.now
	s.asks.mu.Lock()
	defer s.asks.mu.Unlock()
	for _, q := range s.asks.waiting {
		if q.room == room && q.oldest.Before(oldest) {
			oldest = q.oldest
		}
	}
	return oldest
}

// forgetOwn drops the own lines of replays that nobody asked about.
func (s *session) forgetOwn() {
	for _, c := range s.channels {
		if k := c.replay; k != nil && k.own != nil && s.now.Sub(k.joined) > ownKept {
			k.own, k.kept = nil, never
		}
	}
}

// settleDoubts finds messages among the own lines that a history holds, which
// begins at kept. own is in the order of the channel.
func (m *memory) settleDoubts(want []wanted, own []ownLine, kept time.Time) []bridge.Answer {
	used := make([]bool, len(own))
	answers := make([]bridge.Answer, len(want))
	for i, w := range want {
		there, whole := w.byMark(own)
		if there == 0 {
			there = w.byText(own, used)
			whole = there == len(w.lines)
		}
		switch {
		case len(w.lines) == 0 || whole:
			answers[i] = bridge.Present
		case there > 0:
			answers[i] = bridge.Absent
			m.noteRest(w.id, there)
		case !w.said.Before(kept):
			answers[i] = bridge.Absent
		}
	}
	return answers
}

// byMark counts the lines that bear w's mark. whole: it is all of w. Lines that are
// not those that we would send now count as none: all of w is sent again.
func (w *wanted) byMark(own []ownLine) (there int, whole bool) {
	var said strings.Builder
	same := true
	for _, o := range own {
		if w.id == "" || o.id != w.id {
			continue
		}
		same = same && there < len(w.lines) && o.body == w.lines[there]
		there++
		said.WriteString(w.bare(o.body))
	}
	if there == 0 {
		return 0, false
	}
	var all strings.Builder
	for _, line := range w.lines {
		all.WriteString(w.bare(line))
	}
	switch {
	case there >= len(w.lines) || said.String() == all.String():
		return there, true // altered on its way, or split differently, but whole
	case same:
		return there, false
	}
	return 0, false
}

// bare is the text of a line without what may differ when it is split anew.
func (w *wanted) bare(line string) string {
	return strings.Map(dropControl, strings.TrimPrefix(line, w.prefix))
}

// byText counts w's lines among those that bear no mark, and takes them.
func (w *wanted) byText(own []ownLine, used []bool) (there int) {
	for i, o := range own {
		if there == len(w.lines) {
			break
		}
		if !used[i] && o.id == "" && o.body == w.lines[there] && !o.at.Before(w.said.Add(-2*time.Second)) {
			used[i] = true
			there++
		}
	}
	return there
}

// noteRest remembers that the first n lines of a message are there.
func (m *memory) noteRest(id string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.partial) >= maxPartial {
		clear(m.partial)
	}
	m.partial[id] = n
}

// rest is what is still to be sent of a message.
func (m *memory) rest(id string, lines []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.partial[id]
	if !ok {
		return lines
	}
	delete(m.partial, id)
	if n >= len(lines) {
		return lines
	}
	return lines[n:]
}
