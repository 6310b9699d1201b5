package bridge_test

import (
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
)

func TestLoops(t *testing.T) {
	b := bridge.BridgeConfig{Name: "dev", Rooms: rooms(dev, muc)}
	long := strings.Repeat("many words ", 60)
	for _, tt := range []struct {
		name    string
		said    string // by carol in #dev, relayed to the MUC
		back    string // comes back in the MUC
		looped  bool
		inPlace bool // comes back in #dev instead
	}{
		{"exactly", "hello there", "<carol@irc> hello there", true, false},
		{"behind another bridge's prefix", "hello there", "<bot@xmpp> <carol@irc> hello there", true, false},
		{"behind two", "hello there", "[a/b] <bot@xmpp> <carol@irc> hello there", true, false},
		{"with a colon", "hello there", "bot: <carol@irc> hello there", true, false},
		{"in bold", "hello there", "*<bot>* <carol@irc> hello there", true, false},
		{"spaces lost", "hello  there", "<carol@irc> hello there ", true, false},
		{"in the other room", "hello there", "<x@y> <carol@irc> hello there", true, true},
		{"a piece of a long one", long, "<bot@x> <carol@irc> " + long[200:300], true, false},
		{"a person says the same", "hello there", "hello there", false, false},
		{"a person quotes and answers", "hello there", "<carol@irc> hello there: indeed", false, false},
		{"a person comments a quote", "hello there", "lol <carol@irc> hello there", false, false},
		{"another line of hers", "hello there", "<carol@irc> hello again", false, false},
		{"short piece", long, "<carol@irc> many", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(h *house) {
				must(t, h.irc.Say(dev, "carol", tt.said))
				told(h.xmpp)
				leg, room, other := h.xmpp, muc, h.irc
				if tt.inPlace {
					leg, room, other = h.irc, dev, h.xmpp
				}
				for range 2 {
					must(t, leg.Say(room, "eve", tt.back))
				}
				got := told(other)
				if !tt.looped {
					if len(got) != 2 {
						t.Errorf("a person's line was lost: %q", got)
					}
					return
				}
				same(t, "relayed", got)
				if got := told(leg); len(got) != 1 || !strings.Contains(got[0], "A line of eve was not passed on") {
					t.Errorf("not said, once: %q", got)
				}
				if l := h.ledger(); l.Looped != 2 {
					t.Errorf("looped %d", l.Looped)
				}
				time.Sleep(61 * time.Second)
				must(t, leg.Say(room, "eve", tt.back))
				if got := told(other); len(got) != 1 {
					t.Errorf("after a minute it is a new line: %q", got)
				}
			}, b)
		})
	}
}

func TestMarkedLinesAreNotRelayed(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "otherbot"}, Text: bridge.NewText("<x@y> hi"), Mark: "abc"}))
		same(t, "relayed", told(h.xmpp))
		same(t, "silently", told(h.irc))
		m := person(alice, "hi")
		m.Mark = "abc" // means nothing in an encrypted chat
		must(t, h.xmpp.Take(m))
		same(t, "a person's", told(h.irc), "#dev: <alice@jabber> hi")
		told(h.xmpp)
	}, devBridge())
}

// TestTwoBridgesShareARoom: what is said in the shared room reaches both; what
// a bridge says there is not passed on by the other.
func TestTwoBridgesShareARoom(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.xmpp.Say(muc, "eve", "hi"))
		same(t, "from the shared room", told(h.irc), "#dev: <eve@jabber> hi", "#ops: <eve@jabber> hi")
		must(t, h.irc.Say(dev, "carol", "hello"))
		same(t, "from one side", told(h.xmpp), "dev@rooms.corp.example: <carol@irc> hello")
		same(t, "not to the other", told(h.irc))
		for _, b := range h.core.Status().Bridges {
			if !b.Ledger.Balanced() {
				t.Errorf("%s: %+v", b.Name, b.Ledger)
			}
		}
	}, bridge.BridgeConfig{Name: "a", Rooms: rooms(dev, muc)}, bridge.BridgeConfig{Name: "b", Rooms: rooms(ops, muc)})
}

// TestTwoBridgesReachOneRoom: a line of a room in both is there once.
func TestTwoBridgesReachOneRoom(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.xmpp.Say(muc, "eve", "hi"))
		same(t, "once", told(h.irc), "#dev: <eve@jabber> hi", "#ops: <eve@jabber> hi")
	}, bridge.BridgeConfig{Name: "a", Rooms: rooms(dev, ops, muc)}, bridge.BridgeConfig{Name: "b", Rooms: rooms(dev, muc)})
}
