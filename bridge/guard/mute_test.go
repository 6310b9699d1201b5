package guard_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// quietly silences who is logged in as loud in the lobby, by a rule.
func quietly(c *guard.Config) {
	c.Policy.People = append(c.Policy.People, person("loud", "loud"))
	c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "hush", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Speak}, Who: policy.Who{Groups: []string{"loud"}}, Effect: policy.Quarantine})
}

const loudMute = "m:*!loud@loud.example"

// kindsKept counts what the store keeps of a kind.
func (h *house) kindsKept(kind string) (n int) {
	h.t.Helper()
	k, err := h.store.Load(context.Background())
	must(h.t, err)
	for _, x := range k.Timers {
		if x.Kind == kind {
			n++
		}
	}
	return n
}

// An entry that silences somebody is kept over a restart and a kill, goes on as long as the rule does,
// and is taken back by the later process: when the rule ends, and when its subject left
// while nobody looked.
func TestMutesOutliveTheProcess(t *testing.T) {
	tests := []struct {
		name string
		ends func(h *house) // while no process runs
		want []string
	}{
		{"they are still there", func(*house) {}, []string{loudMute}},
		{"they left", func(h *house) { h.irc.Change(lobby, func(p *guardtestPlace) { delete(p.Members, "loud") }) }, nil},
		{"the rule is gone", func(h *house) { h.cfg.Policy.Rules = h.cfg.Policy.Rules[:len(h.cfg.Policy.Rules)-1] }, nil},
	}
	for i := range 2 * len(tests) {
		tt, killed := tests[i/2], i%2 > 0
		t.Run(fmt.Sprintf("%s, killed=%v", tt.name, killed), func(t *testing.T) {
			live(t, quietly, func(h *house) {
				h.irc.Join(lobby, onIRC("loud", "loud"))
				h.wait(time.Second)
				h.same("muted", h.bansOf(lobby), loudMute)
				if n := h.kindsKept("mute"); n != 1 {
					t.Fatalf("%d mutes are kept", n)
				}
				h.irc.Lines()
				h.store.(*failing).set(killed) // who is killed writes no more
				h.stop()
				h.store.(*failing).set(false)
				tt.ends(h)
				h.start()
				h.irc.Ready(lobby)
				h.wait(10 * time.Minute)
				h.same("muted by the later process", h.bansOf(lobby), tt.want...)
				if n := h.kindsKept("mute"); n != len(tt.want) {
					t.Errorf("%d mutes are kept, want %d", n, len(tt.want))
				}
				if lines := strings.Join(h.irc.Lines(), "\n"); len(tt.want) > 0 && strings.Contains(lines, "-b") {
					t.Errorf("what stood was taken back:\n%s", lines)
				}
			})
		})
	}
}

// Somebody fights about an op of theirs, and the guard has stopped: who floods meanwhile is
// silenced by an entry all the same, and the op is left alone.
func TestMuteWhileRightsAreFoughtAbout(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "lobby-ops", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Op}, Who: policy.Who{Groups: []string{"ops"}}, Effect: policy.Allow})
	}, func(h *house) {
		h.irc.Join(lobby, onIRC("eve", "eve"))
		for range 4 {
			h.irc.Give(lobby, "eve", "o", by("carol"))
			h.wait(time.Second)
		}
		h.has("alarms", h.takeAlarms(), "the rights of eve")
		h.irc.Lines()
		for range 3 {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("eve", "eve"), Said: policy.Said{Hash: 1, Letters: 40, Capitals: 40}})
		}
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #lobby +b m:*!eve@eve.example")
	})
}

// killedBetween is a store of a process that is killed before it has written what it put
// into the servers' lists.
type killedBetween struct{ guard.Store }

func (killedBetween) PutTimer(context.Context, guard.Timer) error { return nil }

// A process is killed after it set the entries of a ban, and before it noted them: the next
// one knows them by the ban, and takes them back when that ends; also if it has ended
// meanwhile.
func TestMarksAreRebuiltAfterAKill(t *testing.T) {
	for _, tt := range []struct {
		name  string
		away  time.Duration // before the next process starts
		stays bool          // the ban, and so what was set for it
	}{
		{"the ban goes on", time.Minute, true},
		{"the ban ended meanwhile", 2 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, nil, func(h *house) {
				h.stop()
				whole := h.store
				h.store = killedBetween{whole}
				h.start()
				h.ready()
				_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", For: time.Hour, By: "alice"})
				must(t, err)
				_, err = h.g.Ban(context.Background(), guard.BanOrder{Who: "zoe@else.example", For: time.Hour, By: "alice"})
				must(t, err)
				h.wait(time.Second)
				h.stop()
				h.store = whole
				standing := func(what string, yes bool) {
					t.Helper()
					h.irc.Change(channel, func(p *guardtestPlace) {
						if slices.Contains(p.Lists['b'], "R:bob") != yes {
							t.Errorf("%s: +b %q", what, p.Lists['b'])
						}
					})
					h.xmpp.Change(muc, func(p *guardtestPlace) {
						for _, jid := range []string{"bob@corp.example", "zoe@else.example"} {
							if is := p.Affs[jid]; (is == policy.Outcast) != yes {
								t.Errorf("%s: %s is %s", what, jid, is)
							}
						}
					})
				}
				standing("killed", true)
				if n := h.kindsKept("ban"); n != 0 {
					t.Fatalf("%d marks were kept", n)
				}
				h.wait(tt.away)
				h.start()
				h.ready()
				h.wait(10 * time.Second)
				standing("the next process", tt.stays)
				if n := h.kindsKept("ban"); tt.stays && n == 0 {
					t.Error("no mark was rebuilt")
				}
				h.wait(2 * time.Hour)
				standing("the ban ended", false)
				if n := h.kindsKept("ban"); n != 0 {
					t.Errorf("%d marks are still kept", n)
				}
			})
		})
	}
}
