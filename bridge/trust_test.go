package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// clerk is a bridge.Trust that writes orders down.
type clerk struct{ orders []string }

func (c *clerk) Keys(person string) []string {
	return []string{"OTR …" + strings.ToUpper(person) + " verified (config) for 3d0h"}
}

func (c *clerk) Order(_ context.Context, o bridge.Order) string {
	c.orders = append(c.orders, fmt.Sprintf("%s %v by %s (%s)", o.Verb, o.Args, o.Person, o.JID))
	return "Done."
}

// withClerk is live with a clerk; alice is an admin.
func withClerk(t *testing.T, atLeast policy.Rung, test func(h *house, c *clerk), b bridge.BridgeConfig) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{
			Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{b}, People: people,
			Admins: []string{"alice"}, AdminRung: atLeast,
		}
		h.start(bridge.Deps{Trust: c, Guard: c})
		defer h.stop()
		must(t, h.irc.RoomUp(dev))
		must(t, h.xmpp.RoomUp(alice))
		must(t, h.xmpp.RoomUp(bob))
		synctest.Wait()
		told(h.irc)
		told(h.xmpp)
		test(h, c)
	})
}

// TestOrders: who may order what, and where.
func TestOrders(t *testing.T) {
	clear := devBridge()
	clear.Floor = policy.Floor{}
	for _, tt := range []struct {
		name, ask string
		room      bridge.Room
		rung      policy.Rung
		atLeast   policy.Rung
		bridge    bridge.BridgeConfig
		order     string // "": none
		answer    string // has
	}{
		{"an admin, verified", "!trust accept bob AAAA BBBB", alice, policy.Verified, 0, devBridge(), "accept [bob AAAA BBBB] by alice (alice@corp.example)", "Done."},
		{"in another case", "!TRUST Revoke bob AAAA", alice, policy.Verified, 0, devBridge(), "revoke [bob AAAA] by alice (alice@corp.example)", "Done."},
		{"an admin who did not sign", "!trust accept bob AAAA", alice, policy.Sealed, 0, devBridge(), "", "came sealed, and this takes verified"},
		{"an admin by a key kept", "!trust revoke bob AAAA", alice, policy.Signed, 0, devBridge(), "", "came signed, and this takes verified"},
		{"an admin, where the JID is enough", "!trust list", alice, policy.Sealed, policy.Sealed, devBridge(), "list [] by alice (alice@corp.example)", "Done."},
		{"not an admin", "!trust accept bob AAAA", bob, policy.Verified, 0, devBridge(), "", "Only an admin"},
		{"nor to look", "!trust list alice", bob, policy.Verified, 0, devBridge(), "", "Only an admin"},
		{"a key of one's own", "!trust add AAAA", bob, policy.Verified, 0, devBridge(), "add [AAAA] by bob (bob@corp.example)", "Done."},
		{"a key of one's own, by who is not verified", "!trust add AAAA", bob, policy.Signed, policy.Sealed, devBridge(), "", "came signed, and this takes verified"},
		{"a key of one's own, unsigned", "!trust add AAAA", bob, policy.Sealed, policy.Sealed, devBridge(), "", "that signs"},
		{"held back on its way", "!trust accept bob AAAA", alice, policy.Verified, 0, devBridge(), "", "Write it again"},
		{"kept on its way", "!trust accept bob AAAA", alice, policy.Verified, 0, devBridge(), "", "Write it again"},
		{"where nothing must be encrypted", "!trust accept bob AAAA", alice, policy.Verified, policy.Sealed, clear, "", "Not done"},
		{"on IRC", "!trust accept bob AAAA", dev, policy.Verified, policy.Sealed, devBridge(), "", "own encrypted chat"},
		{"about a room", "!guard ban eve --for 2h --room finance", alice, policy.Verified, 0, devBridge(), "ban [eve --for 2h --room finance] by alice (alice@corp.example)", "Done."},
		{"about a room, unsigned", "!guard enable finance", alice, policy.Sealed, 0, devBridge(), "", "or use drawbridge guard on the machine"},
		{"about a room, by others", "!guard status", bob, policy.Verified, 0, devBridge(), "", "Only an admin"},
		{"about a key of a room, by others", "!guard key finance", bob, policy.Sealed, 0, devBridge(), "key [finance] by bob (bob@corp.example)", "Done."},
		{"about a room, on IRC", "!guard status", dev, policy.Verified, policy.Sealed, devBridge(), "", "own encrypted chat"},
		{"about a room, no such order", "!guard", alice, policy.Verified, 0, devBridge(), "", "!guard, or: !guard status; !guard explain WHO ROOM [ACTION]"},
		{"about a room, no such order, by others", "!guard", bob, policy.Verified, 0, devBridge(), "", "!guard, or: !guard key ROOM: the key of a channel that you may join."},
		{"no such order", "!trust everybody", bob, policy.Verified, 0, devBridge(), "", "!trust, or: !trust add FINGERPRINT: a key of another device of yours."},
		{"no such order, to an admin", "!trust everybody", alice, policy.Verified, 0, devBridge(), "", "!trust revoke PERSON FINGERPRINT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withClerk(t, tt.atLeast, func(h *house, c *clerk) {
				if tt.room == dev {
					must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "alice", Person: "alice", Account: "alice", Op: true}, Text: bridge.NewText(tt.ask), Rung: tt.rung}))
				} else {
					m := person(tt.room, tt.ask)
					m.Rung, m.Signed = tt.rung, time.Now().Add(-time.Minute)
					if tt.name == "held back on its way" {
						m.Signed = time.Now().Add(-time.Hour)
					}
					m.Delayed = tt.name == "kept on its way"
					must(t, h.xmpp.Take(m))
				}
				synctest.Wait()
				if got := strings.Join(c.orders, "; "); got != tt.order {
					t.Errorf("ordered %q, want %q", got, tt.order)
				}
				got := append(told(h.irc), told(h.xmpp)...)
				if len(got) != 1 || !strings.HasPrefix(got[0], tt.room.Name+": ") || !strings.Contains(got[0], tt.answer) {
					t.Errorf("answer %q, want %q to %s", got, tt.answer, tt.room.Name)
				}
			}, tt.bridge)
		})
	}
}

// TestManyOrders: none of those given at once is lost, though questions are.
func TestManyOrders(t *testing.T) {
	const n = 20
	withClerk(t, 0, func(h *house, c *clerk) {
		for i := range n {
			m := person(alice, fmt.Sprintf("!trust revoke bob %04d", i))
			m.Rung, m.Signed = policy.Verified, time.Now()
			must(t, h.xmpp.Take(m))
			must(t, h.xmpp.Take(person(alice, "!help")))
		}
		synctest.Wait()
		if len(c.orders) != n || !strings.HasPrefix(c.orders[n-1], fmt.Sprintf("revoke [bob %04d]", n-1)) {
			t.Errorf("%d orders of %d, the last of them %q", len(c.orders), n, c.orders[len(c.orders)-1])
		}
		if got := told(h.xmpp); len(got) != n+4 {
			t.Errorf("%d answers, want %d to orders and 4 to questions", len(got), n)
		}
	}, devBridge())
}

// TestTrustShowsKeys: of everybody to a configured person, and the bot's own.
func TestTrustShowsKeys(t *testing.T) {
	withClerk(t, 0, func(h *house, _ *clerk) {
		withStatus(h)
		h.xmpp.SetKeys(bridge.OwnKey{Kind: "openpgp", Fingerprint: strings.Repeat("0123456789", 4)})
		must(t, h.xmpp.Take(person(alice, "!trust")))
		synctest.Wait()
		same(t, "answer", told(h.xmpp), "alice: alice: openpgp, to them verified, from them sealed, OTR …ALICE verified (config) for 3d0h; "+
			"corp/#dev: not end-to-end encrypted; bob: no usable key now, OTR …BOB verified (config) for 3d0h. "+
			"My own keys, to compare with what your client shows: OpenPGP 01234567 89012345 67890123 45678901 23456789.")
		must(t, h.irc.Say(dev, "carol", "!trust"))
		synctest.Wait()
		same(t, "on IRC", told(h.irc), "#dev: alice: encrypted; bob: encrypted.")
	}, devBridge())
}

func TestTellPerson(t *testing.T) {
	withClerk(t, 0, func(h *house, _ *clerk) {
		if !h.core.TellPerson("bot", "bob", "a new key came") || h.core.TellPerson("bot", "carol", "x") {
			t.Error("who has a chat was not told apart")
		}
		synctest.Wait()
		sent := h.xmpp.TakeSent()
		if len(sent) != 1 || sent[0].To != bob || sent[0].Floor != policy.Verified && sent[0].Floor < policy.Sealed {
			t.Errorf("sent %+v", sent)
		}
	}, devBridge())
}
