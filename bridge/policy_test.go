package bridge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *bridge.Message)
		notice string // part of what the sender is told, "" for nothing
		what   func(l bridge.Ledger) uint64
	}{
		{"in clear, from Psi", func(m *bridge.Message) { m.Rung, m.Scheme, m.From.Client = policy.Clear, "", "psi" }, "In Psi: ", refusedCount},
		{"in clear, from Gajim", func(m *bridge.Message) { m.Rung, m.Scheme, m.From.Client = policy.Clear, "", "gajim" }, "In Gajim: ", refusedCount},
		{"in clear, from Dino", func(m *bridge.Message) { m.Rung, m.Scheme, m.From.Client = policy.Clear, "", "dino" }, "In Dino: ", refusedCount},
		{"in clear, from profanity", func(m *bridge.Message) { m.Rung, m.Scheme, m.From.Client = policy.Clear, "", "profanity" }, "/pgp start in every new window", refusedCount},
		{"in clear, from mcabber", func(m *bridge.Message) { m.Rung, m.Scheme, m.From.Client = policy.Clear, "", "mcabber" }, "/pgp force", refusedCount},
		{"in clear, from something", func(m *bridge.Message) { m.Rung, m.Scheme = policy.Clear, "" }, "switch encryption on", refusedCount},
		{"not readable", func(m *bridge.Message) {
			m.Kind, m.Text, m.Problem = bridge.Unreadable, bridge.Text{}, errors.New("wrong key: expected A1A1")
		}, "wrong key: expected A1A1", func(l bridge.Ledger) uint64 { return l.Unreadable }},
		{"not the person of the chat", func(m *bridge.Message) { m.From.Person = "bob" }, "", refusedCount},
		{"nobody", func(m *bridge.Message) { m.From.Person = "" }, "", refusedCount},
		{"a command in clear", func(m *bridge.Message) { m.Rung, m.Scheme, m.Text = policy.Clear, "", bridge.NewText("!status") }, "switch encryption on", refusedCount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(h *house) {
				var taken []bool
				for range 2 { // told once an hour
					m := person(alice, "my secret")
					m.Taken = func(ok bool) { taken = append(taken, ok) }
					tt.change(&m)
					must(t, h.xmpp.Take(m))
					synctest.Wait()
				}
				same(t, "relayed", told(h.irc))
				sent := h.xmpp.TakeSent()
				switch {
				case tt.notice == "" && len(sent) != 0:
					t.Errorf("answered %q", sent[0].Text.Reveal())
				case tt.notice != "" && (len(sent) != 1 || !strings.Contains(sent[0].Text.Reveal(), tt.notice)):
					t.Errorf("answered %d lines", len(sent))
				case tt.notice != "":
					m := sent[0]
					if m.To != alice || m.Floor != policy.Verified || m.Clear != (bridge.ClearRoom{}) || !m.Notice || strings.Contains(m.Text.Reveal(), "my secret") {
						t.Errorf("answer to %s, floor %s", m.To, m.Floor)
					}
				}
				if n := tt.what(h.ledger()); n != 2 || len(taken) != 2 || taken[0] {
					t.Errorf("counted %d, acknowledged %v", n, taken)
				}
				time.Sleep(time.Hour + 2*time.Second)
				m := person(alice, "again")
				tt.change(&m)
				must(t, h.xmpp.Take(m))
				if got := told(h.xmpp); (len(got) == 1) != (tt.notice != "") {
					t.Errorf("after an hour: %q", got)
				}
			}, devBridge())
		})
	}
}

func refusedCount(l bridge.Ledger) uint64 { return l.Refused }

func TestNoticeWithoutUsableKeyIsDropped(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "no key"})
		m := person(alice, "hi")
		m.Rung = policy.Clear
		must(t, h.xmpp.Take(m))
		synctest.Wait()
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: alice}))
		same(t, "later", told(h.xmpp))
		if l := h.ledger(); l.Dropped != 1 {
			t.Errorf("dropped %d", l.Dropped)
		}
	}, devBridge())
}

func TestGreetingOncePerSession(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		up := func() []string {
			must(t, h.xmpp.RoomUp(alice))
			return told(h.xmpp)
		}
		if got := up(); len(got) != 0 {
			t.Errorf("greeted again: %q", got)
		}
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.LegDown}))
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.LegUp}))
		if got := up(); len(got) != 0 {
			t.Errorf("greeted after our own link was away: %q", got)
		}
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomDown, Room: alice}))
		same(t, "greeting", up(), `alice: Encrypted bridge "dev": what you write here goes to corp/#dev, bob, bot/dev@rooms.corp.example. Please answer encrypted; !help lists the commands. This bridge also speaks in clear in bot/dev@rooms.corp.example.`)
	}, b)
}

func TestClearPersonIsNotGreeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := devBridge()
		b.Floor = policy.Floor{}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people}
		h.start(bridge.Deps{})
		must(t, h.xmpp.RoomUp(alice))
		same(t, "greeting", told(h.xmpp))
		h.stop()
	})
}

func TestAnnounceOnce(t *testing.T) {
	b := devBridge()
	b.Announce = "This channel is bridged."
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people}
		h.start(bridge.Deps{})
		for range 2 {
			must(t, h.irc.RoomUp(dev))
			must(t, h.irc.Notify(bridge.Event{Kind: bridge.RoomDown, Room: dev}))
		}
		same(t, "announced", told(h.irc), "#dev: This channel is bridged.")
		h.stop()
	})
}

func TestLateLinesCarryTheirTime(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		must(t, h.xmpp.Take(person(alice, "early")))
		time.Sleep(6 * time.Minute)
		must(t, h.xmpp.Take(person(alice, "just now")))
		synctest.Wait()
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		synctest.Wait()
		sent := h.irc.TakeSent()
		if len(sent) != 2 || !sent[0].Late || sent[1].Late {
			t.Fatalf("sent %d", len(sent))
		}
		if got := sent[0].Text.Reveal(); got != "<alice@jabber> (00:00) early" || sent[0].Prefix != "<alice@jabber> (00:00) " {
			t.Errorf("late: %q, prefix %q", got, sent[0].Prefix)
		}
		if got := sent[1].Text.Reveal(); got != "<alice@jabber> just now" {
			t.Errorf("not late: %q", got)
		}
	}, devBridge())
}

func TestManyLateLinesAreIntroducedAndPaced(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetError(dev, bridge.ErrNotReady)
		for i := range 30 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		time.Sleep(10*time.Minute + 7*time.Second) // not when it is tried anyway
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		synctest.Wait()
		sent := h.irc.TakeSent()
		if len(sent) != 1 || !strings.HasPrefix(sent[0].Text.Reveal(), "30 lines said between 1 Jan 00:00 and ") {
			t.Fatalf("first: %d lines, %q", len(sent), sent[0].Text.Reveal())
		}
		time.Sleep(5*time.Second + 100*time.Millisecond)
		if n := len(h.irc.TakeSent()); n != 10 {
			t.Errorf("%d lines in five seconds", n)
		}
		time.Sleep(time.Minute)
		if n := len(h.irc.TakeSent()); n != 20 {
			t.Errorf("%d lines after that", n)
		}
	}, devBridge())
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), fail: true}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{devBridge()}, People: people}
		h.start(bridge.Deps{Journal: j})
		blocked := make(chan int)
		go func() {
			for i := range bridge.IntakeMessages + 10 {
				if err := h.irc.Say(dev, "carol", "x"); err != nil {
					t.Error(err)
				}
				if i == bridge.IntakeMessages+9 {
					close(blocked)
				}
			}
		}()
		synctest.Wait()
		select {
		case <-blocked:
			t.Fatal("the intake took everything")
		default:
		}
		st := h.core.Status().Legs[0]
		if st.Intake.Messages != bridge.IntakeMessages || st.Intake.Stalled.IsZero() || len(st.Notes) != 1 {
			t.Errorf("status %+v", st)
		}
		j.set(false)
		time.Sleep(10 * time.Second)
		<-blocked
		synctest.Wait()
		if l := h.ledger(); l.Received != bridge.IntakeMessages+10 || l.Relayed != 2*l.Received {
			t.Errorf("ledger %+v", l)
		}
		h.stop()
	})
}

func TestIntakeBoundsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), fail: true}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{devBridge()}, People: people}
		h.start(bridge.Deps{Journal: j})
		big := strings.Repeat("x", 1<<20)
		n := 0
		go func() {
			for range 9 {
				if h.irc.Say(dev, "carol", big) == nil {
					n++
				}
			}
		}()
		synctest.Wait()
		if n != 7 {
			t.Errorf("took %d MiB of at most 8", n)
		}
		j.set(false)
		time.Sleep(10 * time.Second)
		h.stop()
	})
}
