//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
)

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

// outlived runs a bot whose journal and cursors outlive it; alice is its friend, and
// in the room with it.
func (h *house) outlived(t *testing.T) (j *journal, alice *lab.XMPPUser, stop func()) {
	t.Helper()
	kept := &store{}
	h.cursors = kept
	j = newJournal()
	j.kept = kept
	h.sink = &j.sink
	stop = h.runWith(t, j)
	await(t, "the room", func() bool { return h.room(devRoom).Proven })
	alice = h.friend(t)
	alice.JoinRoom(devRoom, "alice")
	return j, alice, stop
}

// TestRestart: what was said while the bot was stopped is read from the archives,
// once, in order, and marked as late; what was offline is taken once.
func TestRestart(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		const n = 230
		j, alice, stop := h.outlived(t)
		said := said{by: alice}
		all := func() bool { return said.cameTo(j) }
		for i := range 10 {
			said.say(i)
		}
		await(t, "the first lines", all)
		stop()
		for i := 10; i < n; i++ {
			said.say(i)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second) // ejabberd's archive is slow
		h.runWith(t, j)
		patient(j, alice, all)
		time.Sleep(300 * time.Millisecond)
		t.Logf("%d known again; counts %v", j.again, h.leg.Counts())
		said.compare(t, j)
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
		j, alice, stop := h.outlived(t)
		said := said{by: alice}
		all := func() bool { return said.cameTo(j) }
		for i := range live {
			said.say(i)
		}
		await(t, "the first lines", all)
		proxy.Cut() // nothing of the goodbye leaves
		stop()
		for i := live; i < n; i++ {
			said.say(i)
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
		said.compare(t, j)
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
