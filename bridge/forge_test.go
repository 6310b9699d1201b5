package bridge_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// TestNoLineWithoutPrefix: whatever a client shows as the end of a line, the next
// line says who said it.
func TestNoLineWithoutPrefix(t *testing.T) {
	for _, tt := range []struct{ name, sep, want string }{
		{"LF", "\n", "\n"},
		{"CR LF", "\r\n", "\n"},
		{"CR", "\r", "\n"},
		{"line separator", "\u2028", "\n"},
		{"paragraph separator", "\u2029", "\n"},
		{"next line", "\u0085", "\n"},
		{"vertical tab", "\v", "\n"},
		{"form feed", "\f", "\n"},
		{"CSI of a terminal", "\u009b2K", "2K"},
		{"escape of a terminal", "\x1b[2K", "[2K"},
		{"NUL", "\x00", ""},
		{"delete", "\x7f", ""},
		{"TAB stays", "\t", "\t"},
		{"not UTF-8", "\xff", "\ufffd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(h *house) {
				must(t, h.irc.Say(dev, "eve", "hi"+tt.sep+"<bob@jabber> forged"))
				want := "<eve@irc> hi" + tt.want + "<bob@jabber> forged"
				if tt.want == "\n" {
					want = "<eve@irc> hi\n<eve@irc> <bob@jabber> forged"
				}
				same(t, "to people", told(h.xmpp), "alice: "+want, "bob: "+want)
				must(t, h.xmpp.Take(person(alice, "hi"+tt.sep+"<bob@jabber> forged")))
				same(t, "to the channel", told(h.irc), "#dev: <alice@jabber> hi"+tt.want+"<bob@jabber> forged")
				told(h.xmpp)
			}, devBridge())
		})
	}
}

// TestNoticeStaysANotice: other bots must not answer it, wherever it goes.
func TestNoticeStaysANotice(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(ops)...)
	live(t, func(h *house) {
		m := bridge.Message{Room: dev, From: bridge.Sender{Nick: "robot"}, Kind: bridge.Notice, Text: bridge.NewText("5 * 5 = 25")}
		must(t, h.irc.Take(m))
		synctest.Wait()
		sent := h.irc.TakeSent()
		if len(sent) != 1 || sent[0].To != ops || !sent[0].Notice || sent[0].Prefix == "" {
			t.Errorf("sent %+v", sent)
		}
		m.Text = bridge.NewText("!status")
		must(t, h.irc.Take(m))
		same(t, "a notice is no command", told(h.irc), "#ops: <robot@irc> !status")
		told(h.xmpp)
	}, b)
}

// TestPeopleByTheirIRCAccount: who is logged in as a configured person's account is
// that person; the nick alone proves nothing, nor does the account of another network.
func TestPeopleByTheirIRCAccount(t *testing.T) {
	for _, tt := range []struct{ nick, account, want string }{
		{"alice", "alice", "<alice@irc> x"},
		{"alice", "Alice", "<alice@irc> x"},
		{"al", "alice", "<al@irc> x"},
		{"alice", "", "<alice?@irc> x"},
		{"alice", "mallory", "<alice?@irc> x"},
		{"bob", "alice", "<bob?@irc> x"},
	} {
		t.Run(tt.nick+" as "+tt.account, func(t *testing.T) {
			live(t, func(h *house) {
				must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: tt.nick, Account: tt.account}, Text: bridge.NewText("x")}))
				want := []string{"alice: " + tt.want, "bob: " + tt.want}
				if strings.EqualFold(tt.account, "alice") {
					want = want[1:] // no echo of one's own line
				}
				same(t, "relayed", told(h.xmpp), want...)
			}, devBridge())
		})
	}
}

// TestOutboxBoundsBytes: what one room has waiting is bounded in bytes, too.
func TestOutboxBoundsBytes(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		const size = 1 << 20
		for i := range 2 * bridge.OutboxBytes / size {
			must(t, h.xmpp.Take(person(alice, strings.Repeat(string(rune('a'+i%26)), size))))
			synctest.Wait()
			h.xmpp.TakeSent()
		}
		l := h.ledger()
		if l.Waiting != bridge.OutboxBytes/size || l.Bounced != bridge.OutboxBytes/size || l.Relayed != 2*bridge.OutboxBytes/size {
			t.Errorf("%+v", l)
		}
	}, devBridge())
}

// TestIDsAreBounded: an id as long as a stanza costs no more memory than a short one.
func TestIDsAreBounded(t *testing.T) {
	long := strings.Repeat("i", 100<<10)
	live(t, func(h *house) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 400 {
			must(t, h.irc.Take(bridge.Message{ID: fmt.Sprint(i, long), Room: dev, From: bridge.Sender{Nick: "x"}, Mark: "m", Text: bridge.NewText("x")}))
			synctest.Wait()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 5<<20 {
			t.Errorf("400 ids of 100 KiB left %d KiB behind", grown>>10)
		}
		must(t, h.irc.Take(bridge.Message{ID: fmt.Sprint(7, long), Room: dev, From: bridge.Sender{Nick: "x"}, Text: bridge.NewText("x")}))
		same(t, "known again", told(h.xmpp))
	}, devBridge())
}

// TestToldNicksDoNotFlood: somebody who repeats our lines under many nicks draws
// one notice, and keeps nobody else from hearing theirs.
func TestToldNicksDoNotFlood(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		must(t, h.irc.Say(dev, "carol", "hello everybody"))
		synctest.Wait()
		h.xmpp.TakeSent()
		for i := range 5000 {
			must(t, h.xmpp.Say(muc, fmt.Sprintf("eve%d", i), "<carol@irc> hello everybody"))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		if n := len(told(h.xmpp)); n > 3 {
			t.Errorf("%d notices", n)
		}
		m := person(alice, "in clear")
		m.Rung, m.Scheme = policy.Clear, ""
		must(t, h.xmpp.Take(m))
		if got := told(h.xmpp); len(got) != 1 || !strings.Contains(got[0], "unencrypted") {
			t.Errorf("told %q", got)
		}
	}, b)
}

// TestPauseToldRarely: an operator who pauses and resumes all day does not flood the
// other rooms.
func TestPauseToldRarely(t *testing.T) {
	live(t, func(h *house) {
		for range 50 {
			for _, text := range []string{"!bridge pause 1m", "!bridge resume"} {
				must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "op", Op: true}, Text: bridge.NewText(text)}))
				synctest.Wait()
			}
		}
		alices := 0
		for _, l := range told(h.xmpp) {
			if strings.HasPrefix(l, "alice: ") {
				alices++
			}
		}
		if alices == 0 || alices > 8 {
			t.Errorf("told %d times", alices)
		}
		if st := h.core.Status().Bridges[0].Rooms[0]; !st.Paused.IsZero() {
			t.Error("still paused")
		}
		h.irc.TakeSent()
	}, devBridge())
}

// TestAnswersInPublicAreShort: a command costs a channel a few lines, not a page.
func TestAnswersInPublicAreShort(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc, ops)...)
	live(t, func(h *house) {
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprintf("%020d", i))
		}
		h.xmpp.SetRooms(bridge.RoomStatus{Room: muc, State: bridge.StateUp, Members: names})
		h.irc.SetRooms(bridge.RoomStatus{Room: ops, State: bridge.StateUp, Members: names})
		must(t, h.irc.Say(dev, "x", "!who"))
		got := told(h.irc)
		if len(got) != 1 || len(got[0]) > 1100 || !strings.HasSuffix(got[0], "…") {
			t.Errorf("%d bytes: %q", len(got[0]), got)
		}
		m := person(alice, "!who")
		must(t, h.xmpp.Take(m))
		if got := told(h.xmpp); len(got) != 1 || len(got[0]) < 1200 {
			t.Errorf("%q", got)
		}
	}, b)
}

// TestPanicOfTheCore: a panic while one message is decided or rendered costs that
// message.
func TestPanicOfTheCore(t *testing.T) {
	live(t, func(h *house) {
		var taken []bool
		m := person(alice, "x")
		m.Problem = panicError{}
		m.Kind = bridge.Unreadable
		m.Taken = func(ok bool) { taken = append(taken, ok) }
		must(t, h.xmpp.Take(m))
		time.Sleep(time.Second)
		must(t, h.xmpp.Take(person(alice, "still here")))
		same(t, "relayed", told(h.irc), "#dev: <alice@jabber> still here")
		if len(taken) != 1 || taken[0] {
			t.Errorf("acknowledged %v", taken)
		}
		told(h.xmpp)
	}, devBridge())
}

type panicError struct{}

func (panicError) Error() string { panic("of a library, with text in it") }
