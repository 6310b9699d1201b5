package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

var (
	dev   = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}
	ops   = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#ops"}
	muc   = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "dev@rooms.corp.example"}
	alice = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	bob   = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}

	sealed = policy.Floor{In: policy.Sealed, Out: policy.Verified}
	clear_ = policy.Floor{}

	people = []policy.Person{
		{Name: "alice", JIDs: []string{"alice@corp.example"}, OpenPGP: []string{strings.Repeat("A1", 20)}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"alice"}}}},
		{Name: "bob", JIDs: []string{"bob@corp.example"}},
	}
)

// house is a core with an IRC and an XMPP leg, running in a synctest bubble.
type house struct {
	t    *testing.T
	core *bridge.Core
	irc  *bridgetest.Leg
	xmpp *bridgetest.Leg
	cfg  bridge.Config
	stop func() // ends Run and waits
	err  error  // of Run
}

// rooms makes room configs; MUCs say that they are clear.
func rooms(list ...bridge.Room) (out []bridge.RoomConfig) {
	for _, r := range list {
		rc := bridge.RoomConfig{Room: r}
		if r.Kind == bridge.MUC {
			rc.Floor = &clear_
		}
		out = append(out, rc)
	}
	return out
}

// devBridge is the bridge most tests use: a channel and two people, sealed.
func devBridge() bridge.BridgeConfig {
	return bridge.BridgeConfig{Name: "dev", Floor: sealed, Schemes: []string{"openpgp"}, Rooms: rooms(dev, alice, bob)}
}

// live runs test in a bubble with a running core of these bridges. Everybody is
// online, and the greetings are taken away.
func live(t *testing.T, test func(h *house), bridges ...bridge.BridgeConfig) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: bridges, People: people, Location: time.UTC}
		h.start(bridge.Deps{})
		defer h.stop()
		for _, b := range bridges {
			for _, r := range b.Rooms {
				leg := h.irc
				if r.Room.Leg == "bot" {
					leg = h.xmpp
				}
				must(t, leg.RoomUp(r.Room))
			}
		}
		synctest.Wait()
		h.irc.TakeSent()
		h.xmpp.TakeSent()
		test(h)
		h.stop()
		h.balanced()
	})
}

func (h *house) start(d bridge.Deps) {
	h.t.Helper()
	core, err := bridge.New(h.cfg, d)
	must(h.t, err)
	h.core = core
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- core.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			h.err = <-done
		}
	}
	must(h.t, h.irc.Notify(bridge.Event{Kind: bridge.LegUp}))
	must(h.t, h.xmpp.Notify(bridge.Event{Kind: bridge.LegUp}))
	synctest.Wait()
}

// balanced checks the ledgers of all bridges.
func (h *house) balanced() {
	h.t.Helper()
	for _, b := range h.core.Status().Bridges {
		if !b.Ledger.Balanced() {
			h.t.Errorf("ledger of %s does not balance: %+v", b.Name, b.Ledger)
		}
	}
}

func (h *house) ledger() bridge.Ledger { return h.core.Status().Bridges[0].Ledger }

// person makes a line by a person in their chat, sealed.
func person(room bridge.Room, text string) bridge.Message {
	return bridge.Message{
		Room: room, From: bridge.Sender{Nick: room.Name, Person: room.Name, JID: room.Name + "@corp.example"},
		Text: bridge.NewText(text), Rung: policy.Sealed, Scheme: "openpgp", Time: time.Now(),
	}
}

// told returns what a leg sent since the last call, as "to: text".
func told(l *bridgetest.Leg) (out []string) {
	synctest.Wait()
	for _, m := range l.TakeSent() {
		out = append(out, m.To.Name+": "+m.Text.Reveal())
	}
	slices.Sort(out)
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %q\nwant %q", what, got, want)
	}
}

func TestRelayReachesEveryOtherRoomOnce(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(ops, muc)...)
	live(t, func(h *house) {
		must(t, h.irc.Say(dev, "carol", "done"))
		same(t, "xmpp", told(h.xmpp), "alice: <carol@irc> done", "bob: <carol@irc> done", "dev@rooms.corp.example: <carol@irc> done")
		same(t, "irc", told(h.irc), "#ops: <carol@irc> done")

		must(t, h.xmpp.Take(person(alice, "fine")))
		same(t, "xmpp", told(h.xmpp), "bob: <alice@jabber> fine", "dev@rooms.corp.example: <alice@jabber> fine")
		same(t, "irc", told(h.irc), "#dev: <alice@jabber> fine", "#ops: <alice@jabber> fine")

		m := person(bob, "waves")
		m.Kind = bridge.Action
		must(t, h.xmpp.Take(m))
		same(t, "irc", told(h.irc), "#dev: * bob@jabber waves", "#ops: * bob@jabber waves")
		told(h.xmpp)
		if l := h.ledger(); l.Received != 3 || l.Relayed != 12 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
	}, b)
}

func TestNoEchoToThePersonWhoSaidIt(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "al", Person: "alice", Account: "alice"}, Text: bridge.NewText("hi")}))
		same(t, "xmpp", told(h.xmpp), "bob: <al@irc> hi")
	}, devBridge())
}

func TestOutgoingCarriesTheFloor(t *testing.T) {
	b := devBridge()
	b.Rooms = append(b.Rooms, rooms(muc)...)
	live(t, func(h *house) {
		must(t, h.irc.Say(dev, "carol", "x"))
		synctest.Wait()
		for _, m := range h.xmpp.TakeSent() {
			clear := m.Clear.Licenses(m.To)
			if m.To == muc && (!clear || m.Floor != policy.Clear) || m.To != muc && (clear || m.Floor != policy.Verified) {
				t.Errorf("to %s: clear %v, floor %s", m.To, clear, m.Floor)
			}
			if m.Prefix != "<carol@irc> " || !slices.Equal(m.Schemes, []string{"openpgp"}) {
				t.Errorf("prefix %q, schemes %v", m.Prefix, m.Schemes)
			}
		}
	}, b)
}

func TestEveryLineCarriesThePrefix(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.xmpp.Take(person(alice, "one\n<bob@irc> two\n\nthree")))
		same(t, "to a person", told(h.xmpp), "bob: <alice@jabber> one\n<alice@jabber> <bob@irc> two\n<alice@jabber> \n<alice@jabber> three")
		same(t, "to a channel, whose leg repeats it", told(h.irc), "#dev: <alice@jabber> one\n<bob@irc> two\n\nthree")
	}, devBridge())
}

func TestDeliveredTwiceIsRelayedOnce(t *testing.T) {
	live(t, func(h *house) {
		taken := 0
		for range 2 {
			m := person(alice, "once")
			m.ID, m.Taken = "id1", func(ok bool) {
				if ok {
					taken++
				}
			}
			must(t, h.xmpp.Take(m))
			synctest.Wait()
		}
		same(t, "irc", told(h.irc), "#dev: <alice@jabber> once")
		if l := h.ledger(); l.Again != 1 || taken != 2 {
			t.Errorf("again %d, acknowledged %d", l.Again, taken)
		}
	}, devBridge())
}

func TestOrderThroughErrorsAndDoubt(t *testing.T) {
	live(t, func(h *house) {
		h.irc.Manual()
		h.irc.SetWindow(3)
		for i := range 6 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		synctest.Wait()
		sent := h.irc.TakeSent()
		if len(sent) != 3 {
			t.Fatalf("%d on the wire, window 3", len(sent))
		}
		// The link dies: the first arrived, two are in doubt.
		h.irc.SetError(dev, bridge.ErrNotReady)
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[0].ID, Outcome: bridge.Delivered})
		synctest.Wait()
		for _, m := range sent[1:] {
			h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Doubt})
		}
		synctest.Wait()
		if got := h.irc.TakeSent(); len(got) != 0 {
			t.Fatalf("sent while down: %d", len(got))
		}
		h.irc.SetError(dev, nil)
		must(t, h.irc.RoomUp(dev))
		synctest.Wait()
		var texts []string
		for range 3 {
			for _, m := range h.irc.TakeSent() {
				texts = append(texts, m.Text.Reveal())
				if strings.HasSuffix(m.Text.Reveal(), " 1") && m.ID != sent[1].ID {
					t.Error("sent again under another id")
				}
				h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Delivered})
			}
			synctest.Wait()
		}
		same(t, "order", texts, "<alice@jabber> 1", "<alice@jabber> 2", "<alice@jabber> 3", "<alice@jabber> 4", "<alice@jabber> 5")
		told(h.xmpp)
		if l := h.ledger(); l.Resent != 2 {
			t.Errorf("resent %d, want 2", l.Resent)
		}
	}, devBridge())
}

// What waits leaves together, and in order, whatever becomes of one line of it.
func TestBatchKeepsTheOrder(t *testing.T) {
	for _, tt := range []struct {
		name        string
		err         error
		first, then string // what is sent at once, and after the keys came
	}{
		{"one is refused", errors.New("too large"), "0 1 2", "3 4 5"},
		{"one is held", &bridge.HoldError{Reason: "no key"}, "0 1 2", "3 4 5"},
		{"the room goes down", bridge.ErrNotReady, "0 1 2", "3 4 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(h *house) {
				h.irc.SetError(dev, bridge.ErrNotReady)
				for i := range 6 {
					must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
				}
				synctest.Wait()
				h.irc.Refuse(func(m bridge.Outgoing) error {
					if strings.HasSuffix(m.Text.Reveal(), " 3") {
						return tt.err
					}
					return nil
				})
				h.irc.SetError(dev, nil)
				texts := func() string {
					synctest.Wait()
					var out []string
					for _, m := range h.irc.TakeSent() {
						if _, text, ok := strings.Cut(m.Text.Reveal(), "> "); ok {
							out = append(out, text)
						}
					}
					return strings.Join(out, " ")
				}
				must(t, h.irc.RoomUp(dev))
				if got := texts(); got != tt.first {
					t.Errorf("sent %q, want %q", got, tt.first)
				}
				h.irc.Refuse(nil)
				must(t, h.irc.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: dev}))
				if got := texts(); got != tt.then {
					t.Errorf("sent afterwards %q, want %q", got, tt.then)
				}
				h.balanced()
			}, devBridge())
		})
	}
}

func TestDoubtSkip(t *testing.T) {
	b := devBridge()
	b.OnDoubt = bridge.Skip
	live(t, func(h *house) {
		h.irc.Manual()
		must(t, h.xmpp.Take(person(alice, "x")))
		synctest.Wait()
		h.irc.Prove(bridge.Proof{Room: dev, ID: h.irc.TakeSent()[0].ID, Outcome: bridge.Doubt})
		same(t, "irc", told(h.irc))
		if l := h.ledger(); l.Skipped != 1 {
			t.Errorf("skipped %d", l.Skipped)
		}
	}, b)
}

func TestSlowDestinationDelaysNobody(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetDelay(2 * time.Second)
		start := time.Now()
		for i := range 10 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		synctest.Wait()
		if n := len(h.xmpp.TakeSent()); n != 10 || time.Since(start) != 0 {
			t.Errorf("bob got %d of 10 after %v", n, time.Since(start))
		}
		time.Sleep(30 * time.Second)
	}, devBridge())
}

func TestFailedBouncesOnceAnHour(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, errors.New("recipient refused"))
		for range 3 {
			must(t, h.irc.Say(dev, "carol", "secret"))
		}
		time.Sleep(20 * time.Second) // five tries of the first
		got := told(h.irc)
		same(t, "notice", got, "#dev: 3 lines not delivered to alice: recipient refused.")
		must(t, h.irc.Say(dev, "carol", "secret"))
		time.Sleep(10 * time.Minute)
		same(t, "within the hour", told(h.irc))
		time.Sleep(time.Hour)
		same(t, "after it", told(h.irc), "#dev: 1 line not delivered to alice: recipient refused.")
		if n := len(told(h.xmpp)); n != 4 {
			t.Errorf("bob got %d of 4", n)
		}
	}, devBridge())
}

func TestHeldUntilTheKeyIsThere(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "her key expired"})
		must(t, h.irc.Say(dev, "carol", "wait"))
		same(t, "others are served", told(h.xmpp), "bob: <carol@irc> wait")
		for _, q := range h.core.Status().Bridges[0].Rooms {
			if q.Room == alice && (q.Waiting != 1 || q.Held != "her key expired") {
				t.Errorf("status %+v", q)
			}
		}
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomKeys, Room: alice}))
		same(t, "delivered", told(h.xmpp), "alice: <carol@irc> wait")
	}, devBridge())
}

func TestHeldTooLongBounces(t *testing.T) {
	b := devBridge()
	b.WhenBlocked.Hold = time.Hour
	live(t, func(h *house) {
		h.xmpp.SetError(alice, &bridge.HoldError{Reason: "her key expired"})
		must(t, h.irc.Say(dev, "carol", "wait"))
		time.Sleep(59 * time.Minute)
		same(t, "not yet", told(h.irc))
		time.Sleep(2 * time.Minute)
		same(t, "bounced", told(h.irc), "#dev: 1 line not delivered to alice: her key expired.")
		told(h.xmpp)
	}, b)
}

func TestOfflinePersonMissesOldLines(t *testing.T) {
	b := devBridge()
	b.Offline.Lines = 3
	live(t, func(h *house) {
		must(t, h.xmpp.Notify(bridge.Event{Kind: bridge.RoomDown, Room: alice}))
		h.xmpp.SetError(alice, bridge.ErrNotReady)
		time.Sleep(time.Minute)
		for i := range 5 {
			must(t, h.irc.Say(dev, "carol", fmt.Sprint(i)))
		}
		time.Sleep(time.Second)
		told(h.xmpp)
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.RoomUp(alice))
		synctest.Wait()
		var got []string
		for _, m := range h.xmpp.TakeSent() {
			got = append(got, m.Text.Reveal())
		}
		if len(got) != 5 || got[0] != "2 lines missed while you were away." || got[1] != "<carol@irc> 2" || got[3] != "<carol@irc> 4" || !strings.HasPrefix(got[4], "Encrypted bridge") {
			t.Errorf("got %q", got)
		}
		if l := h.ledger(); l.Missed != 2 {
			t.Errorf("missed %d", l.Missed)
		}
	}, b)
}
