//go:build e2e

package xmpp_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
)

// journal is a core with outboxes: it sends each room's lines in order within the
// leg's window, asks about what is in doubt before it sends that again, and knows
// redelivered messages.
type journal struct {
	sink
	leg bridge.AskLeg

	mu      sync.Mutex // guards all below
	wake    chan struct{}
	rooms   map[bridge.Room]*lines
	seen    map[string]bool
	heard   map[bridge.Room][]string
	again   int
	doubt   int
	delayed int
	kept    *store
}

func (j *journal) late() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.delayed
}

type lines struct {
	queue []bridge.Outgoing
	wire  []bridge.Outgoing
	drain bool
	block bool
	up    bool            // RoomUp since the last RoomDown
	lost  bool            // the leg is down, and up stands for what it was
	doubt map[string]bool // in queue, to be asked for
}

func newJournal() *journal {
	return &journal{rooms: map[bridge.Room]*lines{}, seen: map[string]bool{}, heard: map[bridge.Room][]string{}, wake: make(chan struct{}, 1)}
}

func (j *journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *journal) say(m bridge.Outgoing) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rooms[m.To] == nil {
		j.rooms[m.To] = &lines{up: true, doubt: map[string]bool{}}
	}
	j.rooms[m.To].queue = append(j.rooms[m.To].queue, m)
	j.poke()
}

func (j *journal) Take(_ context.Context, m bridge.Message) error {
	j.mu.Lock()
	key := m.Room.Name + "\x00" + m.ID
	if m.ID != "" && j.seen[key] {
		j.again++
	} else {
		j.seen[key] = true
		j.heard[m.Room] = append(j.heard[m.Room], m.Text.Reveal())
		if m.Delayed {
			j.delayed++
		}
		if m.Cursor.Name != "" && j.kept != nil {
			_ = j.kept.SetCursor(context.Background(), m.Room.Leg, m.Cursor)
		}
	}
	j.mu.Unlock()
	m.Taken(true)
	return nil
}

func (j *journal) Notify(ctx context.Context, e bridge.Event) error {
	j.mu.Lock()
	for room, l := range j.rooms {
		switch e.Kind {
		case bridge.LegDown:
			l.lost = true
		case bridge.LegUp:
			l.lost, l.up, l.block = false, l.up && e.Resumed, false
		case bridge.RoomUp, bridge.RoomDown:
			if e.Room == room {
				l.up, l.block = e.Kind == bridge.RoomUp, false
			}
		}
	}
	j.mu.Unlock()
	j.poke()
	return j.sink.Notify(ctx, e)
}

func (j *journal) Prove(p bridge.Proof) {
	j.sink.Prove(p)
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.rooms[p.Room]
	if l == nil {
		return
	}
	i := slices.IndexFunc(l.wire, func(m bridge.Outgoing) bool { return m.ID == p.ID })
	if i < 0 {
		return
	}
	m := l.wire[i]
	l.wire = slices.Delete(l.wire, i, i+1)
	if p.Outcome == bridge.Doubt {
		j.doubt++
		l.doubt[m.ID] = true
		l.queue, l.drain = append(l.queue, m), true
		slices.SortFunc(l.queue, func(a, b bridge.Outgoing) int { return a.Said.Compare(b.Said) })
	}
	if len(l.wire) == 0 {
		l.drain = false
	}
	j.poke()
}

// run sends until ctx ends.
func (j *journal) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		j.settle(ctx, t)
		m, ok := j.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-j.wake:
			case <-time.After(100 * time.Millisecond): // an event may have come before the block
				j.unblock()
			}
			continue
		}
		err := j.leg.Send(ctx, m)
		if err == nil {
			continue
		}
		if !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("send %s: %v", m.ID, err)
		}
		j.mu.Lock()
		l := j.rooms[m.To]
		if i := slices.IndexFunc(l.wire, func(w bridge.Outgoing) bool { return w.ID == m.ID }); i >= 0 {
			l.wire = slices.Delete(l.wire, i, i+1)
		}
		l.queue, l.block = append([]bridge.Outgoing{m}, l.queue...), true
		j.mu.Unlock()
	}
}

// settle asks about the lines in doubt of each room that can be asked.
func (j *journal) settle(ctx context.Context, t *testing.T) {
	asks := map[*lines][]bridge.Outgoing{}
	j.mu.Lock()
	for _, l := range j.rooms {
		for _, m := range l.queue {
			if l.doubt[m.ID] && l.up && !l.lost && !l.block && len(l.wire) == 0 {
				asks[l] = append(asks[l], m)
			}
		}
	}
	j.mu.Unlock()
	for l, ms := range asks {
		answers, err := j.leg.Ask(ctx, ms)
		j.mu.Lock()
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, bridge.ErrNotReady), errors.Is(err, context.DeadlineExceeded):
			l.block = true
		case err != nil:
			t.Errorf("ask: %v", err)
			clear(l.doubt)
		default:
			for i, m := range ms {
				delete(l.doubt, m.ID)
				if answers[i] == bridge.Present {
					l.queue = slices.DeleteFunc(l.queue, func(q bridge.Outgoing) bool { return q.ID == m.ID })
				}
			}
		}
		j.mu.Unlock()
	}
}

func (j *journal) unblock() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.rooms {
		l.block = false
	}
}

func (j *journal) next() (bridge.Outgoing, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for room, l := range j.rooms {
		if l.block || len(l.doubt) > 0 || l.drain && len(l.wire) > 0 || len(l.queue) == 0 || len(l.wire) >= j.leg.Window(room) {
			continue
		}
		m := l.queue[0]
		l.queue, l.wire = l.queue[1:], append(l.wire, m)
		return m, true
	}
	return bridge.Outgoing{}, false
}

func (j *journal) waiting() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.rooms {
		n += len(l.queue) + len(l.wire)
	}
	return n
}

func (j *journal) got(room bridge.Room) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.heard[room])
}

var receiptPattern = regexp.MustCompile(`<received [^>]*alice-identifier-\d+`)

var bodyPattern = regexp.MustCompile(`<body>([^<]*)</body>`)

// heardBy returns what user was told by the bot, in order.
func heardBy(u *lab.XMPPUser, from string) []string {
	var out []string
	for _, st := range u.Stanzas() {
		if strings.HasPrefix(st, "<message") && strings.HasPrefix(lab.Attr(st, "from"), from) && lab.Attr(st, "type") != "error" {
			if m := bodyPattern.FindStringSubmatch(st); m != nil {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// compare tells lost, doubled and misplaced lines apart.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	count := map[string]int{}
	for _, l := range got {
		count[l]++
	}
	lost, twice := 0, 0
	for _, l := range want {
		switch {
		case count[l] == 0:
			lost++
		case count[l] > 1:
			twice += count[l] - 1
		}
	}
	order := 0
	if lost == 0 && twice == 0 && !slices.Equal(got, want) {
		order = 1
		for i := 1; i < len(got); i++ {
			if k := slices.Index(want, got[i-1]) + 1; k >= len(want) || got[i] != want[k] {
				t.Logf("%s: behind %q came %q", what, got[i-1], got[i])
			}
		}
	}
	for _, l := range want {
		if count[l] == 0 && lost < 10 {
			t.Logf("%s: %q is lost", what, l)
		}
	}
	t.Logf("%s: %d of %d, %d lost, %d twice", what, len(got), len(want), lost, twice)
	if lost > 0 || twice > 0 || order > 0 || len(got) != len(want) {
		t.Errorf("%s: %d lost, %d twice, out of order: %v; %d came, not %d", what, lost, twice, order > 0, len(got), len(want))
	}
}

// patient waits for done as long as lines go on to arrive: half a minute without one
// is too long on any machine.
func patient(j *journal, alice *lab.XMPPUser, done func() bool) bool {
	for last := -1; ; {
		if lab.Poll(30*time.Second, done) {
			return true
		}
		n := len(alice.Stanzas())
		j.mu.Lock()
		n += j.again
		for _, lines := range j.heard {
			n += len(lines)
		}
		j.mu.Unlock()
		if n == last {
			return false
		}
		last = n
	}
}

// said is what one user said, each line to the bot, asking for a receipt, and in the room.
type said struct {
	by           *lab.XMPPUser
	inChat, room []string
}

var (
	aliceChat = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	devMUC    = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
)

// say says the i-th line.
func (l *said) say(i int) {
	l.inChat, l.room = append(l.inChat, fmt.Sprint("from alice ", i)), append(l.room, fmt.Sprint("from room ", i))
	l.by.Send(fmt.Sprintf("<message type='chat' to='bot@localhost' id='alice-identifier-%d'><body>%s</body><request xmlns='urn:xmpp:receipts'/></message>", i, l.inChat[i]) +
		fmt.Sprintf("<message type='groupchat' to='%s' id='alice-room-line-%d'><body>%s</body></message>", devRoom, i, l.room[i]))
}

// cameTo reports whether as many lines have come.
func (l *said) cameTo(j *journal) bool {
	return len(j.got(aliceChat)) >= len(l.inChat) && len(j.got(devMUC)) >= len(l.room)
}

// compare reports what has not come once and in order.
func (l *said) compare(t *testing.T, j *journal) {
	t.Helper()
	compare(t, "alice to bot", j.got(aliceChat), l.inChat)
	compare(t, "alice to room", j.got(devMUC), l.room)
}
