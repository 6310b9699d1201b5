//go:build e2e

package xmpp_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
// leg's window, puts what is in doubt back, and knows redelivered messages.
type journal struct {
	sink
	leg bridge.Leg

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
		j.rooms[m.To] = &lines{}
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
	for _, l := range j.rooms {
		if e.Kind == bridge.LegUp || e.Kind == bridge.RoomUp {
			l.block = false
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
		if l.block || l.drain && len(l.wire) > 0 || len(l.queue) == 0 || len(l.wire) >= j.leg.Window(room) {
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

// TestCutsUnderLoad resets the bot's connection again and again while four flows
// run: bot to alice, alice to bot, bot to room, alice to room. Nothing is lost, nothing
// comes twice or out of order, and nobody in the room sees the bot leave.
func TestCutsUnderLoad(t *testing.T) {
	// Should Prosody 0.12 refuse a session that a torn stanza has spoilt, the archive
	// has what is missing.
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const n, cuts = 600, 6
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		j := newJournal()
		h.sink = &j.sink
		h.runWith(t, j)
		j.leg = h.leg
		await(t, "the room", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)
		alice.JoinRoom(devRoom, "alice")
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { j.run(ctx, t) })

		var toAlice, toRoom, fromAlice, fromRoom []string
		began := time.Now()
		base := time.Now()
		for i := range n {
			toAlice, toRoom = append(toAlice, fmt.Sprint("to alice ", i)), append(toRoom, fmt.Sprint("to room ", i))
			fromAlice, fromRoom = append(fromAlice, fmt.Sprint("from alice ", i)), append(fromRoom, fmt.Sprint("from room ", i))
			for _, m := range []bridge.Outgoing{
				h.out(bridge.Chat, "alice", fmt.Sprintf("chat-identifier-%d", i), toAlice[i]),
				h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), toRoom[i]),
			} {
				m.Said = base.Add(time.Duration(i) * time.Microsecond)
				j.say(m)
			}
			alice.Send(fmt.Sprintf("<message type='chat' to='bot@localhost' id='alice-identifier-%d'><body>%s</body><request xmlns='urn:xmpp:receipts'/></message>", i, fromAlice[i]) +
				fmt.Sprintf("<message type='groupchat' to='%s' id='alice-room-line-%d'><body>%s</body></message>", devRoom, i, fromRoom[i]))
			if i%(n/cuts) == n/cuts-1 {
				proxy.Reset()
			}
			time.Sleep(5 * time.Millisecond)
		}
		chat := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
		room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
		all := patient(j, alice, func() bool {
			return j.waiting() == 0 && len(j.got(chat)) >= n && len(j.got(room)) >= n &&
				len(heardBy(alice, "bot@localhost/")) >= n && len(heardBy(alice, devRoom+"/bot")) >= n
		})
		t.Logf("all there: %v after %v; %d in doubt, %d known again; counts %v", all, time.Since(began), j.doubt, j.again, h.leg.Counts())
		time.Sleep(300 * time.Millisecond) // a line that comes twice may come late
		compare(t, "bot to alice", heardBy(alice, "bot@localhost/"), toAlice)
		compare(t, "bot to room", heardBy(alice, devRoom+"/bot"), toRoom)
		compare(t, "alice to bot", j.got(chat), fromAlice)
		compare(t, "alice to room", j.got(room), fromRoom)
		if !lab.Poll(10*time.Second, func() bool { return receipts(alice) == n }) {
			t.Errorf("%d receipts for %d lines", receipts(alice), n)
		}
		if resumed := h.leg.Counts()["resumed"]; resumed != h.leg.Counts()["streams"]-1 {
			t.Logf("%d of %d streams resumed", resumed, h.leg.Counts()["streams"]-1)
		}
		for _, st := range alice.Stanzas() {
			if h.leg.Counts()["resumed"] == h.leg.Counts()["streams"]-1 && strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/bot" && lab.Attr(st, "type") == "unavailable" {
				t.Error("the bot was seen leaving the room")
			}
		}
	})
}

// TestSessionLost: the link is cut under load, and the server's session of the bot
// ends meanwhile. What was said in the room and to the bot until it is back comes
// from the archives; what it had on the wire is looked for there before it is sent
// again.
func TestSessionLost(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) { sessionLost(t, h, true) })
}

// TestSessionLostWithoutArchive is the same on a Prosody without archives: the
// room's history and the offline store have to do.
func TestSessionLostWithoutArchive(t *testing.T) {
	l := lab.New(t)
	h := newHouse(l, l.Prosody(lab.Prosody{}))
	sessionLost(t, h, false)
}

func sessionLost(t *testing.T, h *house, archive bool) {
	n, cut := 130, 20
	if !archive {
		n, cut = 20, 8 // a room of Prosody keeps 20 lines
	}
	proxy := h.Proxy(h.server.Addr)
	h.conf.Server = proxy.Addr
	j := newJournal()
	h.sink = &j.sink
	h.runWith(t, j)
	j.leg = h.leg
	await(t, "the room", func() bool { return h.room(devRoom).Proven })
	alice := h.friend(t)
	alice.JoinRoom(devRoom, "alice")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { j.run(ctx, t) })
	var toAlice, toRoom, fromAlice, fromRoom []string
	chat := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
	base := time.Now()
	for i := range n {
		toAlice, toRoom = append(toAlice, fmt.Sprint("to alice ", i)), append(toRoom, fmt.Sprint("to room ", i))
		fromAlice, fromRoom = append(fromAlice, fmt.Sprint("from alice ", i)), append(fromRoom, fmt.Sprint("from room ", i))
		for _, m := range []bridge.Outgoing{
			h.out(bridge.Chat, "alice", fmt.Sprintf("chat-identifier-%d", i), toAlice[i]),
			h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), toRoom[i]),
		} {
			m.Said = base.Add(time.Duration(i) * time.Microsecond)
			j.say(m)
		}
		alice.Send(fmt.Sprintf("<message type='chat' to='bot@localhost' id='alice-identifier-%d'><body>%s</body><request xmlns='urn:xmpp:receipts'/></message>", i, fromAlice[i]) +
			fmt.Sprintf("<message type='groupchat' to='%s' id='alice-room-line-%d'><body>%s</body></message>", devRoom, i, fromRoom[i]))
		if i == 0 {
			await(t, "the first lines", func() bool { return len(j.got(chat)) == 1 && len(j.got(room)) == 1 })
		}
		if i == cut {
			proxy.Cut()
			other := h.XMPPUser(h.server, "bot", "drawbridge") // ends the bot's session
			other.Close()
		}
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(time.Second)
	proxy.Restore()
	all := patient(j, alice, func() bool {
		return j.waiting() == 0 && len(j.got(chat)) >= n && len(j.got(room)) >= n &&
			len(heardBy(alice, "bot@localhost/")) >= n && len(heardBy(alice, devRoom+"/bot")) >= n
	})
	t.Logf("all there: %v; %d in doubt, %d known again; counts %v", all, j.doubt, j.again, h.leg.Counts())
	time.Sleep(300 * time.Millisecond)
	told := heardBy(alice, "bot@localhost/")
	if !archive { // nobody can be asked: what was on the wire may come twice
		if again := len(told) - len(once(told)); again > j.doubt {
			t.Errorf("%d lines came twice, and %d were in doubt", again, j.doubt)
		}
		told = once(told)
	}
	compare(t, "bot to alice", told, toAlice)
	compare(t, "bot to room", heardBy(alice, devRoom+"/bot"), toRoom)
	if h.ejabberd && len(j.got(chat)) < n {
		fromAlice = existing(t, h, j.got(chat), fromAlice)
	}
	compare(t, "alice to bot", j.got(chat), fromAlice)
	compare(t, "alice to room", j.got(room), fromRoom)
	if !lab.Poll(10*time.Second, func() bool { return receipts(alice) == len(fromAlice) }) {
		t.Errorf("%d receipts for %d lines", receipts(alice), len(fromAlice))
		for i := range n {
			id := fmt.Sprintf("alice-identifier-%d'", i)
			if !slices.ContainsFunc(alice.Stanzas(), func(st string) bool { return strings.Contains(st, "<received") && strings.Contains(st, id) }) {
				t.Logf("none for %s", id)
			}
		}
	}
	if h.leg.Counts()["resumed"] != 0 {
		t.Error("the session was resumed")
	}
}

// once returns lines without those that came before.
func once(lines []string) (out []string) {
	for _, l := range lines {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// existing returns those of said that the bot has or the account's archive holds:
// ejabberd 23.01 can drop what a session has in hand when another login ends it, and
// then it exists nowhere.
func existing(t *testing.T, h *house, got, said []string) (kept []string) {
	t.Helper()
	archive := h.XMPPUser(h.server, "bot", "witness").Archive("")
	for _, line := range said {
		if slices.Contains(got, line) || slices.ContainsFunc(archive, func(st string) bool { return strings.Contains(st, "<body>"+line+"</body>") }) {
			kept = append(kept, line)
			continue
		}
		t.Logf("the server itself has lost %q", line)
	}
	return kept
}

// receipts is how many of alice's lines have a receipt.
func receipts(alice *lab.XMPPUser) int {
	got := map[string]bool{}
	for _, st := range alice.Stanzas() {
		if m := receiptPattern.FindString(st); m != "" {
			got[m] = true
		}
	}
	return len(got)
}

// store is what a journal on disk keeps of cursors.
type store struct {
	mu   sync.Mutex // guards kept
	kept map[string]string
}

func (s *store) Cursors(context.Context, string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.kept), nil
}

func (s *store) SetCursor(_ context.Context, _ string, c bridge.Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]string{}
	}
	s.kept[c.Name] = c.Value
	return nil
}

// TestRestart: what was said while the bot was stopped is read from the archives,
// once, in order, and marked as late; what was offline is taken once.
func TestRestart(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const n = 230
		kept := &store{}
		h.cursors = kept
		j := newJournal()
		j.kept = kept
		h.sink = &j.sink
		stop := h.runWith(t, j)
		await(t, "the room", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)
		alice.JoinRoom(devRoom, "alice")
		var fromAlice, fromRoom []string
		say := func(i int) {
			fromAlice, fromRoom = append(fromAlice, fmt.Sprint("from alice ", i)), append(fromRoom, fmt.Sprint("from room ", i))
			alice.Send(fmt.Sprintf("<message type='chat' to='bot@localhost' id='alice-identifier-%d'><body>%s</body></message>", i, fromAlice[i]) +
				fmt.Sprintf("<message type='groupchat' to='%s' id='alice-room-line-%d'><body>%s</body></message>", devRoom, i, fromRoom[i]))
		}
		chat := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
		room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
		all := func() bool { return len(j.got(chat)) >= len(fromAlice) && len(j.got(room)) >= len(fromRoom) }
		for i := range 10 {
			say(i)
		}
		await(t, "the first lines", all)
		stop()
		for i := 10; i < n; i++ {
			say(i)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second) // ejabberd's archive is slow
		h.runWith(t, j)
		patient(j, alice, all)
		time.Sleep(300 * time.Millisecond)
		t.Logf("%d known again; counts %v", j.again, h.leg.Counts())
		compare(t, "alice to bot", j.got(chat), fromAlice)
		compare(t, "alice to room", j.got(room), fromRoom)
		if late := j.late(); late < n-10 {
			t.Errorf("%d lines are marked as late", late)
		}
	})
}

// TestKilledAndBack: a process that dies without a word, and comes back while the
// server has its session, resumes it: what was said meanwhile arrives once and in order,
// and nobody has seen the bot leave.
func TestKilledAndBack(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const n, live = 100, 20
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		kept := &store{}
		h.cursors = kept
		j := newJournal()
		j.kept = kept
		h.sink = &j.sink
		stop := h.runWith(t, j)
		await(t, "the room", func() bool { return h.room(devRoom).Proven })
		alice := h.friend(t)
		alice.JoinRoom(devRoom, "alice")
		var fromAlice, fromRoom []string
		say := func(i int) {
			fromAlice, fromRoom = append(fromAlice, fmt.Sprint("from alice ", i)), append(fromRoom, fmt.Sprint("from room ", i))
			alice.Send(fmt.Sprintf("<message type='chat' to='bot@localhost' id='alice-identifier-%d'><body>%s</body></message>", i, fromAlice[i]) +
				fmt.Sprintf("<message type='groupchat' to='%s' id='alice-room-line-%d'><body>%s</body></message>", devRoom, i, fromRoom[i]))
		}
		chat := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
		room := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}
		all := func() bool { return len(j.got(chat)) >= len(fromAlice) && len(j.got(room)) >= len(fromRoom) }
		for i := range live {
			say(i)
		}
		await(t, "the first lines", all)
		proxy.Cut() // nothing of the goodbye leaves
		stop()
		for i := live; i < n; i++ {
			say(i)
		}
		last := fmt.Sprintf("alice-room-line-%d", n-1)
		alice.Expect(func(st string) bool { return strings.Contains(st, last) }, "the last line")
		proxy.Restore()
		h.sink.Forget()
		h.runWith(t, j)
		patient(j, alice, all)
		await(t, "the room again, and alice", func() bool { return h.room(devRoom).Proven && h.sink.event(bridge.RoomUp, "alice", "") })
		for i := range 20 {
			for _, m := range []bridge.Outgoing{
				h.out(bridge.Chat, "alice", fmt.Sprintf("chat-identifier-%d", i), fmt.Sprint("to alice ", i)),
				h.out(bridge.MUC, devRoom, fmt.Sprintf("room-identifier-%d", i), fmt.Sprint("to room ", i)),
			} {
				if err := h.leg.Send(context.Background(), m); err != nil {
					t.Fatal(err)
				}
				await(t, "the proof of "+m.ID, func() bool { return h.sink.proof(m.ID, bridge.Delivered) })
			}
		}
		if m := h.room(devRoom).Members; len(m) != 2 {
			t.Errorf("members: %q", m)
		}
		t.Logf("%d known again; counts %v", j.again, h.leg.Counts())
		compare(t, "alice to bot", j.got(chat), fromAlice)
		compare(t, "alice to room", j.got(room), fromRoom)
		if h.leg.Counts()["resumed"] != 1 {
			t.Errorf("not resumed: %v", h.leg.Counts())
		}
		for _, st := range alice.Stanzas() {
			if strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/bot" && lab.Attr(st, "type") == "unavailable" {
				t.Error("the bot was seen leaving the room")
			}
		}
	})
}
