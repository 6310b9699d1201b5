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
)

// said are the texts of the lines that the channel got since the last call, without
// the bot's own words.
func (h *house) said() string {
	synctest.Wait()
	var out []string
	for _, m := range h.irc.TakeSent() {
		if _, text, ok := strings.Cut(m.Text.Reveal(), "> "); ok && !m.Notice {
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

// durable is live with a journal that keeps rows; bob is an admin.
func durable(t *testing.T, test func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		j := &stalledJournal{Memory: bridge.NewMemory(), durable: true}
		h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
		h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{devBridge()}, People: people, Admins: []string{"bob"}, Location: time.UTC}
		h.start(bridge.Deps{Journal: j})
		test(h)
		h.stop()
		h.balanced()
	})
}

// TestRefusedForGood: a line that is refused five times is parked; its sender and
// the operator are told, without text, and the queue goes on in order.
func TestRefusedForGood(t *testing.T) {
	durable(t, func(h *house) {
		tries := 0
		h.irc.Refuse(func(m bridge.Outgoing) error {
			if strings.HasSuffix(m.Text.Reveal(), "poison") {
				tries++
				return errors.New("irc: 404 cannot send")
			}
			return nil
		})
		for _, text := range []string{"a", "poison", "b", "c"} {
			must(t, h.xmpp.Take(person(alice, text)))
		}
		if got := h.said(); got != "a" {
			t.Errorf("sent %q before it is settled", got)
		}
		time.Sleep(30 * time.Second)
		if got := h.said(); got != "b c" || tries != 5 {
			t.Errorf("sent %q after %d tries", got, tries)
		}
		var notes []string
		for _, s := range told(h.xmpp) {
			if !strings.Contains(s, "<alice@jabber>") {
				notes = append(notes, s)
			}
		}
		same(t, "notes", notes, "alice: 1 line not delivered to corp/#dev: irc: 404 cannot send.",
			`bob: 1 line for corp/#dev parked, of bridge "dev": irc: 404 cannot send. See drawbridge store dead.`)
		if l := h.ledger(); l.Dead != 1 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// TestRefusingDestination: one that refuses everything, as a moderated channel
// does, costs five tries once, and one a line after that.
func TestRefusingDestination(t *testing.T) {
	durable(t, func(h *house) {
		tries := 0
		h.irc.Refuse(func(bridge.Outgoing) error { tries++; return errors.New("moderated") })
		for i := range 10 {
			must(t, h.xmpp.Take(person(alice, fmt.Sprint(i))))
		}
		time.Sleep(20 * time.Second)
		if l := h.ledger(); tries != 14 || l.Dead != 10 {
			t.Errorf("%d tries, ledger %+v", tries, l)
		}
		h.irc.Refuse(nil)
		must(t, h.xmpp.Take(person(alice, "x")))
		if got := h.said(); got != "x" {
			t.Errorf("then %q", got)
		}
	})
}

// TestRefusedOutOfOrder: a line refused while later ones arrived is not sent again
// behind them.
func TestRefusedOutOfOrder(t *testing.T) {
	durable(t, func(h *house) {
		h.irc.Manual()
		for _, text := range []string{"a", "b", "c"} {
			must(t, h.xmpp.Take(person(alice, text)))
		}
		synctest.Wait()
		sent := h.irc.TakeSent()
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[0].ID, Outcome: bridge.Failed, Err: errors.New("filtered")})
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[1].ID, Outcome: bridge.Delivered})
		must(t, h.xmpp.Take(person(alice, "d")))
		if got := h.said(); got != "" {
			t.Errorf("sent %q while one is unproven", got)
		}
		h.irc.Prove(bridge.Proof{Room: dev, ID: sent[2].ID, Outcome: bridge.Delivered})
		time.Sleep(10 * time.Second)
		if got := h.said(); got != "d" {
			t.Errorf("sent %q, want d alone", got)
		}
		if l := h.ledger(); l.Dead != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// TestRefusedAllAtOnce: when all that is on the wire is refused, it is tried again
// in order.
func TestRefusedAllAtOnce(t *testing.T) {
	durable(t, func(h *house) {
		h.irc.Manual()
		for _, text := range []string{"a", "b", "c"} {
			must(t, h.xmpp.Take(person(alice, text)))
		}
		synctest.Wait()
		for _, m := range h.irc.TakeSent() {
			h.irc.Prove(bridge.Proof{Room: dev, ID: m.ID, Outcome: bridge.Failed, Err: errors.New("not now")})
		}
		time.Sleep(5 * time.Second)
		if got := h.said(); got != "a b c" {
			t.Errorf("sent again %q", got)
		}
	})
}
