package guard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Who may be there only in silence is not relayed, whether they are there still, have
// left by the time that the line is judged, or said it earlier.
func TestWhoLeftIsJudgedAsIfThere(t *testing.T) {
	rules := func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "guests", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, Who: policy.Who{Anonymous: true}, Effect: policy.Quarantine})
	}
	live(t, rules, func(h *house) {
		eve, bob := onIRC("eve", ""), onIRC("bob", "bob")
		said := func(f policy.Facts, delayed bool) bridge.Ruling {
			m := bridge.Message{Room: lobby, From: bridge.Sender{Nick: f.Nick, Account: f.Account.Value}, Facts: &f, Text: bridge.NewText("hello"), Delayed: delayed}
			return h.g.In(&m, time.Now())
		}
		check := func(when string) {
			t.Helper()
			for _, delayed := range []bool{false, true} {
				if r := said(eve, delayed); !r.Refused || r.Rule != "guests" {
					t.Errorf("%s, delayed %v: eve gets %+v", when, delayed, r)
				}
				if r := said(bob, delayed); r.Refused {
					t.Errorf("%s, delayed %v: bob gets %+v", when, delayed, r)
				}
			}
		}
		h.irc.Join(lobby, eve)
		h.irc.Join(lobby, bob)
		h.wait(time.Second)
		check("there")
		h.irc.Part(lobby, "eve", false)
		h.irc.Part(lobby, "bob", false)
		h.wait(time.Second)
		check("gone")
	})
}

// In a MUC nicks that differ in case are of two people: an order is about the one who
// is called exactly so, and about nobody where that is not clear.
func TestOrdersTellNicksApart(t *testing.T) {
	live(t, func(c *guard.Config) { c.Policy.Rooms[0].Default = policy.Allow }, func(h *house) {
		ctx := context.Background()
		for _, nick := range []string{"eve", "EVE", "eVe"} {
			h.xmpp.Join(muc, onXMPP(nick, nick+"@else.example"))
		}
		h.wait(time.Second)
		for range 20 {
			if b, err := h.g.Ban(ctx, guard.BanOrder{Who: "Eve", By: "alice"}); !errors.Is(err, guard.ErrNobody) {
				t.Fatalf("Eve is %+v: %v", b, err)
			}
		}
		b, err := h.g.Ban(ctx, guard.BanOrder{Who: "eVe", By: "alice"})
		if must(t, err); b.Mask != "jid:eVe@else.example" {
			t.Errorf("eVe is %+v", b)
		}
	})
}

// Two admins agree on a ban of a mask only if they mean the same, for the same time.
func TestTwoAdminsAgreeOnTheTime(t *testing.T) {
	live(t, nil, func(h *house) {
		ctx := context.Background()
		o := guard.BanOrder{Who: "*!*@eve.example", For: time.Hour, By: "bob"}
		if _, err := h.g.Ban(ctx, o); !errors.Is(err, guard.ErrSecond) {
			t.Fatalf("one admin alone: %v", err)
		}
		o.For, o.By = 0, "carol"
		if b, err := h.g.Ban(ctx, o); !errors.Is(err, guard.ErrSecond) {
			t.Fatalf("an hour and for ever are one: %+v, %v", b, err)
		}
		o.For = time.Hour
		_, err := h.g.Ban(ctx, o)
		must(t, err)
	})
}
