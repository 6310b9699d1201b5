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

// prover claims what begins with "sign", and answers what it was given.
type prover struct{ claims []string }

func (p *prover) Claims(person, text string) bool { return strings.HasPrefix(text, "sign") }

func (p *prover) Prove(_ context.Context, c *bridge.Claim) string {
	p.claims = append(p.claims, fmt.Sprintf("%q by %s (%s) to %s, %s by %s, stale %v", c.Text, c.Person, c.JID, c.Leg, c.Rung, c.Key, c.Stale))
	return "Proven."
}

// TestClaims: what goes to Proofs goes to nobody else, and nothing does that was not
// said in a person's own encrypted chat.
func TestClaims(t *testing.T) {
	clear := devBridge()
	clear.Floor = policy.Floor{}
	for _, tt := range []struct {
		name, say string
		room      bridge.Room
		bridge    bridge.BridgeConfig
		delayed   bool
		claim     string
		answer    string
		relayed   bool
	}{
		{"a command", "!invite corp/#dev al", alice, devBridge(), false, `"!invite corp/#dev al" by alice (alice@corp.example) to bot, verified by ABC, stale false`, "Proven.", false},
		{"a command alone", "!Invite", alice, devBridge(), false, `"!Invite" by alice (alice@corp.example) to bot, verified by ABC, stale false`, "Proven.", false},
		{"what it claims", "sign\n this", alice, devBridge(), false, `"sign\n this" by alice (alice@corp.example) to bot, verified by ABC, stale false`, "Proven.", false},
		{"kept on its way", "sign", alice, devBridge(), true, `"sign" by alice (alice@corp.example) to bot, verified by ABC, stale true`, "Proven.", false},
		{"what it does not claim", "hello", alice, devBridge(), false, "", "", true},
		{"where nothing must be encrypted", "!invite corp/#dev al", alice, clear, false, "", "proves nobody", false},
		{"a command, on IRC", "!invite corp/#dev al", dev, devBridge(), false, "", "own encrypted chat", false},
		{"what it would claim, on IRC", "sign", dev, devBridge(), false, "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &prover{}
				h := &house{t: t, irc: bridgetest.NewLeg("corp", "irc"), xmpp: bridgetest.NewLeg("bot", "xmpp")}
				h.cfg = bridge.Config{Legs: []bridge.Leg{h.irc, h.xmpp}, Bridges: []bridge.BridgeConfig{tt.bridge}, People: people}
				h.start(bridge.Deps{Proofs: p})
				defer h.stop()
				must(t, h.irc.RoomUp(dev))
				must(t, h.xmpp.RoomUp(alice))
				must(t, h.xmpp.RoomUp(bob))
				synctest.Wait()
				h.irc.TakeSent()
				h.xmpp.TakeSent()
				if tt.room == dev {
					must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "alice", Person: "alice", Account: "alice"}, Text: bridge.NewText(tt.say)}))
				} else {
					m := person(tt.room, tt.say)
					m.Rung, m.Key, m.Delayed, m.Time = policy.Verified, "ABC", tt.delayed, time.Now()
					must(t, h.xmpp.Take(m))
				}
				synctest.Wait()
				if got := strings.Join(p.claims, "; "); got != tt.claim {
					t.Errorf("claimed %s, want %s", got, tt.claim)
				}
				irc, xmpp := h.irc.TakeSent(), h.xmpp.TakeSent()
				own, others := xmpp, irc
				if tt.room == dev {
					own, others = irc, xmpp
				}
				relayed := false
				for _, m := range append(others, own...) {
					relayed = relayed || m.Prefix != ""
				}
				if relayed != tt.relayed {
					t.Errorf("relayed: %v", relayed)
				}
				answers := 0
				for _, m := range own {
					if m.To == tt.room && m.Prefix == "" {
						answers++
						if !strings.Contains(m.Text.Reveal(), tt.answer) {
							t.Errorf("answered %q, want %q", m.Text.Reveal(), tt.answer)
						}
					}
				}
				if want := min(1, len(tt.answer)); answers != want {
					t.Errorf("%d answers, want %d", answers, want)
				}
			})
		})
	}
}
