package guard_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Who leaves is out of the channel and the MUC, also of a member list that is not kept,
// and the audit says so in one line; what could not be taken away at once is, by the next
// process.
func TestOffBoarding(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(cfg *guard.Config)
	}{
		{"out of the configuration", func(cfg *guard.Config) {
			cfg.Policy.People = []*policy.Person{cfg.Policy.People[0], cfg.Policy.People[2]}
		}},
		{"no key left", func(cfg *guard.Config) {
			gone := *cfg.Policy.People[1]
			gone.Gone = true
			cfg.Policy.People = []*policy.Person{cfg.Policy.People[0], &gone, cfg.Policy.People[2]}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, nil, func(h *house) {
				h.irc.Join(channel, onIRC("bob", "bob"))
				h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
				h.wait(time.Second)
				h.irc.Lines()
				h.xmpp.Lines()
				cfg := h.cfg
				tt.change(&cfg)
				leaver := guard.Leaver{Person: "bob", Why: "why", JIDs: []string{"bob@corp.example"}, Accounts: []string{"corp/bob"}, Links: []string{"corp/b"}, Proofs: 2}
				must(t, h.g.Reload(cfg, leaver))
				h.g.OffBoard(leaver)
				h.wait(5 * time.Second)
				h.has("lines", h.irc.Lines(), "KICK #finance bob ", "-eI R:bob R:bob")
				h.xmpp.Change(muc, func(p *guardtestPlace) {
					if is, there := p.Affs["bob@corp.example"]; there && is != policy.NoOne {
						t.Errorf("bob is %s", is)
					}
				})
				h.wait(6 * time.Minute) // it is looked at again
				h.has("audit", h.acts(guard.Query{Who: "bob"}), "why; ended: 1 link (corp/b), 2 open proofs, 1 JID's right to a Jabber room")
				n := 0
				for _, a := range h.acts(guard.Query{Who: "bob"}) {
					n += strings.Count(a, "why; ended")
				}
				k, err := h.store.Load(context.Background())
				if n != 1 || err != nil {
					t.Errorf("%d lines of it, %v", n, err)
				}
				for _, x := range k.Timers {
					if x.Kind == "left" {
						t.Errorf("is still to be taken away: %+v", x)
					}
				}
			})
		})
	}
}

// Who is somebody still, and has lost the right to be there because it was taken back,
// goes and stays out, however often they return and however few may go at once; nobody
// is alarmed. Where it may be a mistake the budget holds.
func TestWhoLosesARight(t *testing.T) {
	for _, meant := range []bool{true, false} {
		live(t, func(cfg *guard.Config) { cfg.MaxRemovals = policy.MaxRemovals{Count: 1, Share: 20, Per: time.Minute} }, func(h *house) {
			h.irc.Join(channel, onIRC("bob", "bob"))
			h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
			h.wait(2 * time.Minute)
			h.xmpp.Lines()
			cfg, less := h.cfg, *h.cfg.Policy.People[1]
			less.Groups = nil
			cfg.Policy.People = []*policy.Person{cfg.Policy.People[0], &less, cfg.Policy.People[2]}
			leaver := guard.Leaver{Person: "bob", Why: "why"}
			if meant {
				leaver.Known = []string{"corp/bob", "bob@corp.example"}
			}
			must(t, h.g.Reload(cfg, leaver))
			h.g.OffBoard(leaver)
			for range 5 {
				h.wait(100 * time.Millisecond)
				h.xmpp.Join(muc, onXMPP("bob", "bob@corp.example"))
			}
			h.wait(time.Second)
			acts, there := strings.Join(h.acts(guard.Query{}), "\n"), false
			h.xmpp.Change(muc, func(p *guardtestPlace) { _, there = p.Members["bob"] })
			if there == meant || strings.Contains(acts, "over the budget") == meant || meant && strings.Contains(acts, "too many at once") { // of the others whichever comes first, a look or a kick, is the one that may go
				t.Errorf("meant %t: bob is there %t:\n%s", meant, there, acts)
			}
		})
	}
}

// What somebody who left holds is taken away by a process that has not seen them leave.
func TestOffBoardingOverARestart(t *testing.T) {
	live(t, nil, func(h *house) {
		h.stop()
		must(t, h.store.PutTimer(context.Background(), guard.Timer{ID: "left finance zoe@corp.example", Kind: "left", Room: "finance", Who: "zoe@corp.example"}))
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["zoe@corp.example"] = policy.Member })
		h.start()
		h.ready()
		h.wait(5 * time.Second)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if is, there := p.Affs["zoe@corp.example"]; there && is != policy.NoOne {
				t.Errorf("zoe is %s", is)
			}
		})
		if h.g.Present("corp", "bob") {
			t.Error("bob is there")
		}
		h.irc.Join(channel, onIRC("b", "bob"))
		if !h.g.Present("corp", "BOB") || h.g.Present("bot", "bob") {
			t.Error("bob is not there, or elsewhere")
		}
	})
}
