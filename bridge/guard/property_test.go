package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// step is one thing that happens, as rapid draws it.
type step struct {
	what int
	who  int
	wait time.Duration
}

const steps = 17

// names are who comes: members, strangers, and one whose account is not known.
var names = []string{"alice", "bob", "carol", "eve", "frank", "u1", "u2", "u3", "u4", "u5", "u6", "u7"}

func drawScript(t *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			what: rapid.IntRange(0, steps-1).Draw(t, "what"), who: rapid.IntRange(0, len(names)-1).Draw(t, "who"),
			wait: rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 7 * time.Second, time.Minute, 3 * time.Minute}).Draw(t, "wait"),
		}
	}), 1, 30).Draw(t, "script")
}

// play does what a script says.
func play(h *house, script []step) {
	closed := h.cfg
	open := h.cfg
	open.Policy.Rooms = []policy.Room{{Name: "finance"}, {Name: "lobby"}}
	tight := h.cfg
	tight.Policy.Rooms = []policy.Room{{Name: "finance", Default: policy.Deny}, {Name: "lobby", Default: policy.Deny}}
	ctx := context.Background()
	for _, s := range script {
		nick := names[s.who]
		here := slices.Contains(h.irc.Nicks(channel), nick)
		switch s.what {
		case 0, 1, 2:
			if !here {
				h.irc.Join(channel, onIRC(nick, nick))
			}
		case 3:
			if !slices.Contains(h.irc.Nicks(lobby), nick) {
				h.irc.Join(lobby, onIRC(nick, nick))
			}
		case 4:
			h.irc.Part(channel, nick, s.wait == 0)
		case 5:
			h.irc.Learn(channel, nick, func(f *policy.Facts) { f.Account.Known = policy.Unknown })
		case 6:
			if here {
				h.irc.Give(channel, nick, "o", by("mallory"))
			}
		case 7:
			h.irc.Mode(channel, "-s", by("mallory"))
		case 8:
			h.irc.See(bridge.Sight{Kind: bridge.SightServices, Leg: "corp", Down: s.who%2 == 0})
			for _, room := range []bridge.Room{channel, lobby} {
				h.irc.Change(room, func(p *guardtestPlace) { p.Down = s.who%2 == 0 })
			}
		case 9:
			must(h.t, h.g.Reload([]guard.Config{closed, open, tight}[s.who%3]))
		case 10:
			_, _ = h.g.Lockdown(ctx, "lobby", 0, "bob")
		case 11:
			h.irc.See(bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: lobby})
			h.irc.Ready(lobby)
		case 12:
			h.stop()
			h.start()
			h.irc.Ready(channel)
			h.irc.Ready(lobby)
			h.xmpp.Ready(muc)
		case 13:
			for i := range 4 {
				f := onIRC(nick, nick)
				h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: f, Said: policy.Said{Hash: uint64(i), Letters: 20, Capitals: 20 * (s.who % 2)}})
			}
		case 14:
			h.irc.Fail([]error{nil, errors.New("timeout"), bridge.ErrNotReady}[s.who%3])
		case 15:
			h.store.(*failing).set(s.who%2 == 0)
		case 16: // in and out
			if !slices.Contains(h.irc.Nicks(lobby), nick) {
				h.irc.Join(lobby, onIRC(nick, nick))
				h.irc.Part(lobby, nick, false)
			}
		}
		h.wait(s.wait)
	}
	h.irc.Fail(nil)
	h.store.(*failing).set(false)
}

// kicks returns who was kicked.
func kicks(h *house, room bridge.Room) (out []string) {
	for _, a := range h.irc.Applied() {
		if f := strings.Fields(a.Line); f[0] == "KICK" && f[1] == room.Name {
			for nick := range strings.SplitSeq(f[2], ",") {
				out = append(out, nick)
			}
		}
	}
	return out
}

// Whatever happens: a protected person is never removed, no more go at once than may
// but of those who just came and bans, the closed room ends with none but its members,
// and a dry run touches nothing.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		dry := rapid.IntRange(0, 4).Draw(rt, "dry") == 0
		var failures []string
		fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, func(c *guard.Config) {
				c.Rooms[0].DryRun, c.Rooms[1].DryRun = dry, dry
				c.Policy.Rules = slices.Clone(c.Policy.Rules)
			})
			h.start()
			defer func() { h.stop() }()
			h.ready()
			play(h, script)
			if dry {
				if lines := append(h.irc.Lines(), h.xmpp.Lines()...); len(lines) > 0 {
					fail("a dry run sent %q", lines)
				}
				return
			}
			// Peace: services are back, the rules are as at first, and time passes.
			for _, room := range []bridge.Room{channel, lobby} {
				h.irc.Change(room, func(p *guardtestPlace) { p.Down = false })
			}
			h.irc.See(bridge.Sight{Kind: bridge.SightServices, Leg: "corp"})
			must(t, h.g.Reload(h.cfg))
			for _, nick := range names {
				h.irc.Learn(channel, nick, func(f *policy.Facts) { f.Account.Known = policy.Yes })
			}
			h.wait(45 * time.Minute)
			// More would go than may: the admins are asked.
			shut := slices.ContainsFunc(h.g.Status().Rooms[0].Alarms, func(s string) bool { return strings.Contains(s, "are to go by the rules") })
			for _, nick := range h.irc.Nicks(channel) {
				if nick != "alice" && nick != "bob" && !shut {
					fail("%s is in the closed room", nick)
				}
			}
			for _, room := range []bridge.Room{channel, lobby} {
				if slices.Contains(kicks(h, room), "alice") {
					fail("alice was kicked from %s", room)
				}
			}
			h.irc.Change(channel, func(p *guardtestPlace) {
				for _, c := range "nts" {
					if !strings.ContainsRune(p.Flags, c) {
						fail("the channel ends with flags %q", p.Flags)
					}
				}
				for nick, m := range p.Members {
					if strings.Contains(m.Rights, "o") != (nick == "alice" || nick == "bridge") && !shut {
						fail("%s ends with rights %q", nick, m.Rights)
					}
				}
			})
			for i, n := range windowed(h) {
				if n > 5 {
					fail("%d who were let in went within a minute (window %d)", n, i)
				}
			}
		})
		for _, f := range failures {
			rt.Error(f)
		}
	})
}

// windowed counts, for each act, how many who count for the budget went within a minute
// after it, in one room.
func windowed(h *house) (out []int) {
	h.wait(time.Second)
	var at []time.Time // when they were sent
	for a, err := range h.g.Audit(context.Background(), guard.Query{Room: "lobby"}) {
		if err != nil {
			h.t.Fatal(err)
		}
		if strings.Contains(a.Acts, "kick") && strings.HasPrefix(a.Result, "sent") && a.Basis != policy.ByBan && a.Effect != policy.Ban && a.Facts.Admitted {
			took, err := time.ParseDuration(strings.Fields(a.Result)[1])
			must(h.t, err)
			at = append(at, a.At.Add(took))
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	for i := range at {
		n := 0
		for j := i; j < len(at) && at[j].Sub(at[i]) < time.Minute; j++ {
			n++
		}
		out = append(out, n)
	}
	return out
}
