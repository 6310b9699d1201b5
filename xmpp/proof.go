package xmpp

import (
	"slices"
	"sync"
	"time"

	"drawbridge/bridge"
)

// waiting is one message on the wire without its proof.
type waiting struct {
	room bridge.Room
	id   string
	seq  uint64    // number on the stream, for chats
	sent time.Time // without the time there was no stream
	// session is set for one sealed in a session: that the server has it is not all.
	session bool
}

// recentMax bounds the ids that late bounces and receipts are matched with.
const recentMax = 512

// proofs knows what of one stream waits for its proof: chats for the server's
// count (XEP-0198) or the answer to a ping behind them, rooms for the reflection.
type proofs struct {
	prove func(bridge.Proof)

	mu     sync.Mutex // guards all below
	closed bool
	acked  uint64
	asked  time.Time // when the request under way was sent; zero: none is
	chats  []waiting // in order of seq
	rooms  map[string]waiting
	recent []waiting // ring of chats sent, for late bounces
	next   int
	later  []bridge.Proof // of reflections, for flush
	empty  chan struct{}  // closed once nothing waits; nil while nobody asks
}

func newProofs(prove func(bridge.Proof)) *proofs {
	return &proofs{prove: prove, rooms: map[string]waiting{}}
}

func roomKey(room, id string) string { return room + "\x00" + id }

// chat enters a message that went out as number seq. It reports whether a request
// for acknowledgement is needed: chats wait, and none is under way.
func (p *proofs) chat(w waiting) (ask bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remember(w)
	switch {
	case w.seq <= p.acked:
		p.prove(bridge.Proof{Room: w.room, ID: w.id, Outcome: w.arrived()})
	case p.closed:
		p.prove(bridge.Proof{Room: w.room, ID: w.id, Outcome: bridge.Doubt})
	default:
		i := len(p.chats)
		for i > 0 && p.chats[i-1].seq > w.seq {
			i--
		}
		p.chats = slices.Insert(p.chats, i, w)
	}
	return len(p.chats) > 0 && p.asked.IsZero()
}

// request reports whether an acknowledgement is to be asked for now, and notes
// that it is: one request at a time.
func (p *proofs) request(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.asked.IsZero() {
		return false
	}
	p.asked = now
	return true
}

// overdue reports whether the request under way is older than d. excused starts
// its time anew: we were not reading.
func (p *proofs) overdue(now time.Time, d time.Duration, excused bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if excused && !p.asked.IsZero() {
		p.asked = now
	}
	return !p.asked.IsZero() && now.Sub(p.asked) > d
}

// resumed goes on after away: the server had handled acked, and a request is on
// its way behind what was sent again.
func (p *proofs) resumed(acked uint64, away time.Duration, now time.Time) {
	p.upTo(acked)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = now
	for k, w := range p.rooms {
		w.sent = w.sent.Add(away)
		p.rooms[k] = w
	}
	for i := range p.chats {
		p.chats[i].sent = p.chats[i].sent.Add(away)
	}
}

func (p *proofs) remember(w waiting) {
	if len(p.recent) < recentMax {
		p.recent = append(p.recent, w)
		return
	}
	p.recent[p.next] = w
	p.next = (p.next + 1) % recentMax
}

// upTo proves all chats whose number the server has handled. It returns how
// many still wait.
func (p *proofs) upTo(seq uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked, p.asked = max(p.acked, seq), time.Time{}
	n := 0
	for n < len(p.chats) && p.chats[n].seq <= p.acked {
		w := p.chats[n]
		p.prove(bridge.Proof{Room: w.room, ID: w.id, Outcome: w.arrived()})
		n++
	}
	p.chats = slices.Delete(p.chats, 0, n)
	p.emptied()
	return len(p.chats)
}

// last returns how many chats wait and the number of the last one.
func (p *proofs) last() (n int, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n = len(p.chats); n > 0 {
		seq = p.chats[n-1].seq
	}
	return n, seq
}

// muc enters messages that are about to go to a room. False: the stream is over,
// nothing was entered.
func (p *proofs) muc(ms []bridge.Outgoing, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for i := range ms {
		m := &ms[i]
		p.rooms[roomKey(m.To.Name, m.ID)] = waiting{room: m.To, id: m.ID, sent: now}
	}
	return true
}

// reflected proves a message that its room has shown us.
func (p *proofs) reflected(room, id, netID string) bool {
	return p.settle(room, id, bridge.Proof{Outcome: bridge.Delivered, NetID: netID})
}

// settle ends the waiting for a room's message with the outcome of as.
func (p *proofs) settle(room, id string, as bridge.Proof) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := roomKey(room, id)
	w, ok := p.rooms[k]
	if ok {
		delete(p.rooms, k)
		p.emptied()
		as.Room, as.ID = w.room, w.id
		p.later = append(p.later, as)
	}
	return ok
}

// flush hands out the proofs of reflections that came since the last time. One
// turn of a busy room is so one turn of its outbox, which sends the next lines
// together.
func (p *proofs) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
}

func (p *proofs) flushLocked() {
	for _, proof := range p.later {
		p.prove(proof)
	}
	clear(p.later)
	p.later = p.later[:0]
}

// leave puts all that waits for a room in doubt: we are no longer in it.
func (p *proofs) leave(room string, older time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var gone []waiting
	for k, w := range p.rooms {
		if w.room.Name == room && (older.IsZero() || w.sent.Before(older)) {
			gone = append(gone, w)
			delete(p.rooms, k)
		}
	}
	p.doubt(gone)
	return len(gone)
}

// bounce reports a chat message that came back from room; proven or not. False:
// it is none of ours.
func (p *proofs) bounce(room bridge.Room, id string, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.drop(room, id) && !slices.ContainsFunc(p.recent, func(w waiting) bool { return w.id == id && w.room == room }) {
		return false
	}
	if err != nil {
		p.prove(bridge.Proof{Room: room, ID: id, Outcome: bridge.Failed, Err: err})
	}
	return true
}

// receipt proves a chat message whose receipt came (XEP-0184) before the count.
func (p *proofs) receipt(room bridge.Room, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drop(room, id) {
		p.prove(bridge.Proof{Room: room, ID: id, Outcome: bridge.Delivered})
	}
}

func (p *proofs) drop(room bridge.Room, id string) bool {
	i := slices.IndexFunc(p.chats, func(w waiting) bool { return w.id == id && w.room == room && !w.session })
	if i < 0 {
		return false
	}
	p.chats = slices.Delete(p.chats, i, i+1)
	return true
}

// close ends the waiting: what waits is in doubt, in the order it was sent.
func (p *proofs) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	p.closed = true
	all := p.chats
	for _, w := range p.rooms {
		all = append(all, w)
	}
	p.chats, p.rooms = nil, map[string]waiting{}
	p.emptied()
	p.doubt(all)
}

func (p *proofs) doubt(all []waiting) {
	slices.SortStableFunc(all, func(a, b waiting) int { return a.sent.Compare(b.sent) })
	for _, w := range all {
		p.prove(bridge.Proof{Room: w.room, ID: w.id, Outcome: bridge.Doubt})
	}
}

// settled waits until nothing waits for its proof, at most for d.
func (p *proofs) settled(d time.Duration) {
	p.mu.Lock()
	done := make(chan struct{})
	p.empty = done
	p.emptied()
	p.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// emptied wakes settled; p.mu is held.
func (p *proofs) emptied() {
	if p.empty != nil && len(p.chats) == 0 && len(p.rooms) == 0 {
		close(p.empty)
		p.empty = nil
	}
}

// forget takes messages of a room out without a word, and returns those that
// were still waiting.
func (p *proofs) forget(ms []bridge.Outgoing) (waited []bridge.Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range ms {
		k := roomKey(ms[i].To.Name, ms[i].ID)
		if _, ok := p.rooms[k]; ok {
			delete(p.rooms, k)
			waited = append(waited, ms[i])
		}
	}
	p.emptied()
	return waited
}
