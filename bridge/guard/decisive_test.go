package guard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// What a message is protected by proves a key only if it came verified: a lower rung
// proves nobody, whatever keys the person has.
func TestRungProvesAKey(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.People[1].OpenPGP = []string{doraKey}
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{
			ID: "keys", Rooms: []string{"lobby"}, Do: []policy.Do{policy.RelayOut}, Who: policy.Who{Groups: []string{"finance"}, AtLeast: policy.Key}, Effect: policy.Allow,
		})
	}, func(h *house) {
		source := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
		for rung, refused := range map[policy.Rung]bool{policy.Clear: true, policy.Sealed: true, policy.Signed: true, policy.Verified: false} {
			if r := h.g.Out(bridge.Sender{Nick: "bob", Person: "bob", JID: "bob@corp.example"}, source, lobby, bridge.Line{}, rung, time.Now()); r.Refused != refused {
				t.Errorf("%v: refused %v", rung, r.Refused)
			}
		}
	})
}

// Somebody in a room that nobody watches could be anybody, also who is banned: that is no
// reason to refuse what they say.
func TestABanRefusesNobodyUnknownFromElsewhere(t *testing.T) {
	live(t, nil, func(h *house) {
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"})
		must(t, err)
		elsewhere := bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "elsewhere@rooms.corp.example"}
		if r := h.g.Out(bridge.Sender{Nick: "zed"}, elsewhere, lobby, bridge.Line{}, policy.Clear, time.Now()); r.Refused {
			t.Errorf("refused: %+v", r)
		}
	})
}

// What a peer says is judged by no rule.
func TestAPeersLinesAreNotJudged(t *testing.T) {
	live(t, func(c *guard.Config) {
		watching(c)
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "mute", Rooms: []string{"lobby"}, Do: []policy.Do{policy.RelayIn}, If: policy.If{Encrypted: policy.No}, Effect: policy.Quarantine})
	}, func(h *house) {
		h.peerIn()
		h.irc.Join(lobby, onIRC("otherbot", "otherbot"))
		h.irc.Join(lobby, onIRC("eve", "eve"))
		h.wait(time.Second)
		for nick, refused := range map[string]bool{"otherbot": false, "eve": true} {
			f := onIRC(nick, nick)
			if r := h.g.In(&bridge.Message{Room: lobby, From: bridge.Sender{Nick: nick, Account: nick}, Facts: &f}, time.Now()); r.Refused != refused {
				t.Errorf("%s: refused %v", nick, r.Refused)
			}
		}
	})
}

// A ban is taken over only of an op by rule, and of nobody protected.
func TestFollowsNobodyElse(t *testing.T) {
	live(t, func(c *guard.Config) { c.Rooms[0].FollowOps, c.Rooms[1].FollowOps = true, true }, func(h *house) {
		h.irc.Join(channel, onIRC("alice", "alice"))
		h.irc.Join(lobby, onIRC("carol", "carol")) // op there is nobody's by a rule
		h.wait(time.Second)
		h.irc.Mode(lobby, "+b R:bob", by("carol"))
		h.irc.Mode(channel, "+b R:alice", by("alice"))
		h.wait(time.Second)
		if n := h.g.Status().Bans; n != 0 {
			t.Errorf("%d bans were taken over", n)
		}
	})
}

// A rule bans the person it knows, not an account of theirs: the ban holds on every network.
func TestRuleBansThePerson(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("bob", "bob"))
		h.wait(time.Minute)
		for i := range 5 {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("bob", "bob"), Said: policy.Said{Hash: uint64(i)}})
		}
		h.wait(time.Second)
		k, err := h.store.Load(context.Background())
		must(t, err)
		if len(k.Bans) != 1 || k.Bans[0].Person != "bob" || k.Bans[0].Mask != "" {
			t.Errorf("bans %+v", k.Bans)
		}
		source := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
		if r := h.g.Out(bridge.Sender{Person: "bob"}, source, lobby, bridge.Line{}, policy.Verified, time.Now()); !r.Refused {
			t.Error("they speak there through Jabber")
		}
	})
}

// A ban that is ordered at the guard that watches is carried out by it at once, not after
// the time that it leaves the other one.
func TestOrderedBanDoesNotWaitForAPeer(t *testing.T) {
	live(t, watching, func(h *house) {
		h.peerIn()
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		h.irc.Lines()
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"})
		must(t, err)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance bob")
	})
}

// Who must not be heard gets no op either, though it is theirs by a rule.
func TestNoOpForTheSilenced(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "lobby-ops", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Op}, Who: policy.Who{Groups: []string{"finance"}}, Effect: policy.Allow})
	}, func(h *house) {
		h.irc.Join(lobby, onIRC("bob", ""))
		h.wait(time.Minute)
		for range 2 {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("bob", ""), Said: policy.Said{Letters: 40, Capitals: 40}})
		}
		h.wait(time.Second)
		h.irc.Lines()
		h.irc.Learn(lobby, "bob", func(f *policy.Facts) { f.Account = policy.Is("bob", "ACCOUNT", time.Time{}) })
		h.wait(10 * time.Second)
		if lines := strings.Join(h.irc.Lines(), "\n"); strings.Contains(lines, "+o") {
			t.Errorf("silenced, and op:\n%s", lines)
		}
		h.wait(2 * time.Minute)
		h.has("calm", h.irc.Lines(), "MODE #lobby +o-b bob m:*!bob@bob.example")
	})
}

// A channel that keeps somebody silent by itself needs no entry for them.
func TestNoMuteWhereTheChannelIsModerated(t *testing.T) {
	for _, modes := range []string{"+m", "+M"} {
		live(t, func(c *guard.Config) {
			c.Rooms[1].Modes = modes
			c.Policy.Rules = append(c.Policy.Rules, policy.Rule{ID: "hush", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Speak}, If: policy.If{Account: policy.No}, Effect: policy.Quarantine})
		}, func(h *house) {
			h.irc.Join(lobby, onIRC("eve", ""))
			h.wait(6 * time.Minute)
			h.same(modes, h.bansOf(lobby))
		})
	}
}

// Once more would have gone than may, nobody goes as long as the room is shut for it, be it
// one alone by then; and then they do.
func TestOverTheBudgetNobodyGoes(t *testing.T) {
	live(t, nil, func(h *house) {
		h.fill(30)
		must(t, h.g.Reload(closeLobby(h.cfg)))
		h.wait(time.Second)
		for i := range 29 {
			h.irc.Part(lobby, fmt.Sprint("user", i), false)
		}
		h.wait(3 * time.Minute)
		must(t, h.g.Reload(closeLobby(h.cfg))) // judged anew
		h.wait(time.Minute)
		h.same("kicks while it is shut", h.kicked())
		h.wait(7 * time.Minute)
		if kicks := h.kicked(); len(kicks) != 1 || !strings.HasPrefix(kicks[0], "KICK #lobby user29 ") {
			t.Errorf("kicks after it: %q", kicks)
		}
	})
}

// Who is protected from now on is kept out by no ban of before: what was set for it is taken
// back on both networks.
func TestProtectionLiftsABan(t *testing.T) {
	live(t, nil, func(h *house) {
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"})
		must(t, err)
		h.wait(time.Second)
		is := func() (is policy.Affiliation) {
			h.xmpp.Change(muc, func(p *guardtestPlace) { is = p.Affs["bob@corp.example"] })
			return is
		}
		if is() != policy.Outcast {
			t.Fatalf("bob is %q", is())
		}
		cfg := h.cfg
		cfg.Policy.Protected = []string{"alice", "bob"}
		must(t, h.g.Reload(cfg))
		h.wait(6 * time.Minute)
		if is() != policy.Member {
			t.Errorf("protected, and %q", is())
		}
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		h.same("there", h.irc.Nicks(channel), "bob")
	})
}
