package bridge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// TestReloadLowersTheFloor: what was said while the bridge promised encryption
// keeps that promise while it waits, whatever the configuration says by then.
func TestReloadLowersTheFloor(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(bob, &bridge.HoldError{Reason: "key expired"})
		must(t, h.xmpp.Take(person(alice, "sealed when it was said")))
		synctest.Wait()
		h.xmpp.TakeSent()
		cfg := h.cfg
		b := devBridge()
		b.Floor, b.Schemes = policy.Floor{}, nil
		cfg.Bridges = []bridge.BridgeConfig{b}
		_, err := h.core.Reload(cfg)
		must(t, err)
		must(t, h.irc.Say(dev, "carol", "said in clear"))
		synctest.Wait()
		h.xmpp.SetError(bob, nil)
		must(t, h.xmpp.RoomUp(bob))
		synctest.Wait()
		for _, m := range h.xmpp.TakeSent() {
			before := strings.Contains(m.Text.Reveal(), "sealed when")
			if m.To == bob && before && (m.Clear.Licenses(bob) || m.Floor != policy.Verified) {
				t.Errorf("%q may leave at %s, clear %t", m.Text.Reveal(), m.Floor, m.Clear.Licenses(bob))
			}
			if !before && (!m.Clear.Licenses(m.To) || m.Floor != policy.Clear) {
				t.Errorf("%q is still held to the old floor", m.Text.Reveal())
			}
		}
	}, devBridge())
}

// TestOwnWordsKeepTheirFloor is the same for the bot's own words.
func TestOwnWordsKeepTheirFloor(t *testing.T) {
	live(t, func(h *house) {
		h.xmpp.SetError(alice, bridge.ErrNotReady)
		cfg := h.cfg
		cfg.Admins = []string{"alice"}
		_, err := h.core.Reload(cfg)
		must(t, err)
		if h.core.TellAdmins("for sealed ears") != 1 {
			t.Fatal("nobody to tell")
		}
		synctest.Wait()
		b := devBridge()
		b.Floor, b.Schemes = policy.Floor{}, nil
		cfg.Bridges = []bridge.BridgeConfig{b}
		_, err = h.core.Reload(cfg)
		must(t, err)
		h.xmpp.SetError(alice, nil)
		must(t, h.xmpp.RoomUp(alice))
		synctest.Wait()
		sent := h.xmpp.TakeSent()
		if len(sent) != 1 || sent[0].Clear.Licenses(alice) || sent[0].Floor != policy.Verified {
			t.Errorf("sent %d, %+v", len(sent), sent)
		}
	}, devBridge())
}

// TestNobodyIsClearInAnEncryptedBridge: a MUC may own up to being clear, a person
// may not.
func TestNobodyIsClearInAnEncryptedBridge(t *testing.T) {
	b := devBridge()
	b.Rooms[1].Floor = &policy.Floor{}
	_, err := bridge.New(bridge.Config{
		Legs:    []bridge.Leg{bridgetest.NewLeg("corp", "irc"), bridgetest.NewLeg("bot", "xmpp")},
		Bridges: []bridge.BridgeConfig{b}, People: people,
	}, bridge.Deps{})
	if err == nil || !strings.Contains(err.Error(), "bot/alice: ") {
		t.Errorf("New = %v", err)
	}
}

// TestSchemeOutsideTheList: a message in a scheme that the bridge does not list is
// refused, also when a reload has just taken it off the list.
func TestSchemeOutsideTheList(t *testing.T) {
	live(t, func(h *house) {
		m := person(alice, "by another scheme")
		m.Scheme, m.Rung = "otr", policy.Verified
		must(t, h.xmpp.Take(m))
		same(t, "not relayed", told(h.irc))
		if n := h.ledger().Refused; n != 1 {
			t.Errorf("%d refused", n)
		}
		if got := strings.Join(told(h.xmpp), "\n"); !strings.Contains(got, "alice: Your last message was not passed on") || !strings.Contains(got, "otr") {
			t.Errorf("told %q", got)
		}
	}, devBridge())
}

// TestRedeliveredIsNeverRelayedTwice: the leg has opened this very message before,
// so the core has had it, even when it remembers its id no more: the server
// chooses both the moment and the id.
func TestRedeliveredIsNeverRelayedTwice(t *testing.T) {
	live(t, func(h *house) {
		first := person(alice, "once")
		first.ID = "o:0123456789abcdef"
		must(t, h.xmpp.Take(first))
		same(t, "relayed", told(h.irc), "#dev: <alice@jabber> once")
		for i := range bridge.SeenLimit + 1 { // push the id out of the core's memory
			must(t, h.irc.Take(bridge.Message{ID: "id-" + string(rune('a'+i%26)) + time.Duration(i).String(), Room: dev, From: bridge.Sender{Nick: "x"}, Text: bridge.NewText("!nothing"), Kind: bridge.Notice, Mark: "other"}))
			if i%1024 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		var taken []bool
		again := first
		again.Redelivered = true
		again.Taken = func(ok bool) { taken = append(taken, ok) }
		must(t, h.xmpp.Take(again))
		same(t, "relayed again", told(h.irc))
		if l := h.ledger(); l.Again != 1 || len(taken) != 1 || !taken[0] {
			t.Errorf("again %d, acknowledged %v", l.Again, taken)
		}
		told(h.xmpp)
	}, devBridge())
}

// TestRefusedAgainIsNotReceipted: a refused message that the network delivers
// twice was still never taken in.
func TestRefusedAgainIsNotReceipted(t *testing.T) {
	live(t, func(h *house) {
		var taken []bool
		for range 2 {
			m := person(alice, "in clear")
			m.ID, m.Rung, m.Scheme = "o:0123456789abcdef", policy.Clear, ""
			m.Taken = func(ok bool) { taken = append(taken, ok) }
			must(t, h.xmpp.Take(m))
			synctest.Wait()
		}
		if len(taken) != 2 || taken[0] || taken[1] {
			t.Errorf("acknowledged %v", taken)
		}
		told(h.xmpp)
	}, devBridge())
}
