package guard_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

// Whatever legs show, from several readers at once, while admins order and the rules
// change: nothing panics, hangs or races, and the guard still holds its rooms after it.
func TestHostileLegs(t *testing.T) {
	legs := []*guardtest.Leg{guardtest.NewLeg("corp", "irc"), guardtest.NewLeg("bot", "xmpp")}
	cfg := config()
	cfg.ID, cfg.Peers = "b", []guard.Peer{{ID: "a", Accounts: map[string]string{"corp": "n3"}, JIDs: []string{"n3@corp.example"}}}
	cfg.Rooms[0].RotateKey, cfg.Rooms[0].FollowOps, cfg.Rooms[0].Affiliations = time.Hour, true, true
	cfg.Rooms[1].Joins = policy.Limit{Count: 20, Per: time.Second}
	cfg.Legs = []bridge.Enforcer{legs[0], legs[1]}
	legs[0].Open(channel)
	legs[0].Open(lobby)
	legs[1].Open(muc)
	g, err := guard.New(cfg, guard.Deps{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	<-g.Loaded()
	var wg sync.WaitGroup
	const each = 4000
	for seed := range uint64(3) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 7))
			for range each {
				g.See(strange(r))
			}
		})
	}
	wg.Go(func() {
		words := []string{"", "n1", "n2", "alice", "*!*@*", "a!b", "account:", "account:corp/", "account:corp/n1", "jid:", "n1@x", "\x00", strings.Repeat("x", 5000)}
		for i := range 300 {
			who := words[i%len(words)]
			_, _ = g.Explain(who, "finance", policy.Do(i%8))
			_, _ = g.Ban(ctx, guard.BanOrder{Who: who, For: time.Duration(i), By: fmt.Sprint("admin", i%2)})
			_, _ = g.Forgive(ctx, who, "alice")
			_, _ = g.Lockdown(ctx, "lobby", time.Duration(i%3-1)*time.Minute, "alice")
			_ = g.Status()
			_, _ = g.Key(who, "finance")
			g.In(&bridge.Message{Room: lobby, From: bridge.Sender{Nick: who}}, time.Now())
			g.Out(bridge.Sender{Nick: who, Person: who}, channel, lobby, bridge.Line{N: uint64(i), Text: bridge.NewText(who)}, policy.Clear, time.Now())
		}
	})
	wg.Go(func() {
		for i := range 30 {
			next := cfg
			if i%2 == 0 {
				next = closeLobby(cfg)
			}
			if err := g.Reload(next); err != nil {
				t.Error(err)
			}
			_ = g.Enable(ctx, "finance", "alice")
			_ = g.Disable(ctx, "finance", "alice")
			g.OffBoard(guard.Leaver{Person: "bob", Why: "test"})
		}
	})
	wg.Wait()
	must(t, g.Reload(cfg))
	_ = g.Enable(ctx, "lobby", "alice")
	legs[0].Open(lobby)
	g.See(&bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: lobby})
	legs[0].Ready(lobby)
	legs[0].Join(lobby, func() policy.Facts { f := onIRC("plain", "plain"); f.TLS = policy.IsNot("WHOX", time.Now()); return f }())
	for end := time.Now().Add(30 * time.Second); len(legs[0].Nicks(lobby)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still there: %v", legs[0].Nicks(lobby))
		}
	}
	cancel()
	must(t, <-done)
}

// strange is a sight that makes little sense.
func strange(r *rand.Rand) *bridge.Sight {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	nick := fmt.Sprint("n", r.IntN(40))
	s := &bridge.Sight{
		Kind: bridge.SightKind(r.IntN(16)), Leg: pick("corp", "bot", "else"), Room: []bridge.Room{channel, lobby, muc, {}}[r.IntN(4)],
		Old: pick("", "", nick, "n1"), Self: r.IntN(50) == 0, Split: r.IntN(4) == 0, Down: r.IntN(2) == 0, Rights: pick("", "o", "ov", "qaohv", "\xff"),
		Is: policy.Affiliation(pick("", "none", "owner", "outcast", "nonsense")), Role: policy.Role(pick("", "visitor", "moderator")),
		What: pick("", "+", "-", "+k", "-k", "+k x", "-k x", "+b *!*@*", "-b R:bob", "+s", "topic", "config", "affiliation", "ban", "\x00\x00"), Text: "text",
		Said: policy.Said{Hash: r.Uint64N(3), Letters: r.IntN(100), Capitals: r.IntN(200), Highlights: r.IntN(100)},
	}
	if s.Room.Kind == bridge.MUC {
		s.Facts = onXMPP(nick, pick("", nick+"@corp.example", "alice@corp.example"))
	} else {
		s.Facts = onIRC(nick, pick("", "?", nick, "alice", "bob"))
	}
	if r.IntN(30) == 0 {
		s.Facts = policy.Facts{}
	}
	s.By = bridge.By{Nick: pick("", "n1", "n2", "bridge"), Server: r.IntN(3) == 0, Facts: s.Facts}
	return s
}

// Who knocks again and again costs one line of the audit and one invitation.
func TestKnocksAreCounted(t *testing.T) {
	live(t, nil, func(h *house) {
		for range 50 {
			for _, f := range []policy.Facts{onIRC("eve", ""), onIRC("bob", "bob")} {
				h.irc.See(bridge.Sight{Kind: bridge.SightInvited, Leg: "corp", Room: channel, Facts: f})
			}
		}
		h.wait(time.Second)
		if lines := h.irc.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "INVITE bob #finance") {
			t.Errorf("sent %q, want one invitation", lines)
		}
		if n := len(h.acts(guard.Query{Who: "eve"})) + len(h.acts(guard.Query{Who: "bob"})); n != 2 {
			t.Errorf("%d acts, want 2", n)
		}
		h.wait(11 * time.Minute)
		h.irc.See(bridge.Sight{Kind: bridge.SightInvited, Leg: "corp", Room: channel, Facts: onIRC("bob", "bob")})
		h.wait(time.Second)
		if lines := h.irc.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "INVITE bob #finance") {
			t.Errorf("sent %q, want one invitation", lines)
		}
	})
}

// A peer, or somebody protected, is not banned by their identity either, also while they
// are away; a JID is one whatever its case.
func TestBanByIdentity(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.ID, c.Peers = "b", []guard.Peer{{ID: "a", Accounts: map[string]string{"corp": "otherbot"}, JIDs: []string{"other@corp.example"}}}
	}, func(h *house) {
		ctx := context.Background()
		for _, who := range []string{"account:corp/otherbot", "account:corp/OtherBot", "other@corp.example", "jid:Other@corp.example", "account:corp/alice", "ALICE@corp.example"} {
			if _, err := h.g.Ban(ctx, guard.BanOrder{Who: who, By: "bob"}); !errors.Is(err, guard.ErrRefused) {
				t.Errorf("%s: %v", who, err)
			}
		}
		b, err := h.g.Ban(ctx, guard.BanOrder{Who: "Eve@Else.example", By: "bob"})
		if must(t, err); b.Mask != "jid:eve@else.example" {
			t.Errorf("banned %+v", b)
		}
		if b, err = h.g.Ban(ctx, guard.BanOrder{Who: "BOB@corp.example", By: "carol"}); b.Person != "bob" {
			t.Errorf("banned %+v, %v", b, err)
		}
	})
}

// Logging in or out between the lines does not begin a flood anew.
func TestFloodAcrossALogin(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(lobby, onIRC("eve", ""))
		h.wait(time.Minute)
		for i := range 5 {
			h.irc.Learn(lobby, "eve", func(f *policy.Facts) {
				if f.Account = policy.IsNot("ACCOUNT", time.Time{}); i%2 > 0 {
					f.Account = policy.Is("eve_", "ACCOUNT", time.Time{})
				}
			})
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("eve", ""), Said: policy.Said{Hash: uint64(i)}})
		}
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #lobby eve")
	})
}

// Who asks for a voice again and again is answered now and then, not each time; who comes
// to be heard and then not is told anew.
func TestVoiceRequestsAreAnsweredNowAndThen(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("dave", "?"))
		h.wait(time.Second)
		h.irc.Whispers()
		ask := func() {
			h.irc.See(bridge.Sight{Kind: bridge.SightInvited, Leg: "corp", Room: channel, Facts: onIRC("dave", "?")})
			h.wait(0)
		}
		for range 50 {
			ask()
		}
		if w := h.irc.Whispers(); len(w) != 1 {
			t.Errorf("fifty requests: whispered %q", w)
		}
		h.wait(11 * time.Minute)
		h.irc.Whispers()
		ask()
		if w := h.irc.Whispers(); len(w) != 1 {
			t.Errorf("one more, later: whispered %q", w)
		}
	})
}

// Names cost an intruder nothing: rules make so many bans and no more, and go on kicking.
func TestRulesMakeNoEndOfBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		for i := range 2000 {
			must(t, h.store.PutBan(context.Background(), policy.BanRecord{ID: fmt.Sprint("b", i), Mask: fmt.Sprintf("account:corp/x%d", i), Rooms: []string{"lobby"}}))
		}
		h.start()
		defer func() { h.stop() }()
		h.ready()
		h.irc.Join(lobby, onIRC("eve", "eve_"))
		h.wait(time.Minute)
		for i := range 5 {
			h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("eve", "eve_"), Said: policy.Said{Hash: uint64(i)}})
		}
		h.wait(time.Second)
		if lines := h.irc.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "KICK #lobby eve ") {
			t.Errorf("sent %q", lines)
		}
		h.has("alarms", h.takeAlarms(), "rules make no more")
		if n := h.g.Status().Bans; n != 2000 {
			t.Errorf("%d bans", n)
		}
	})
}

// What happened once is shown for an hour; what is still so, as long as it is.
func TestAlarmsOfEventsEnd(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.See(bridge.Sight{Kind: bridge.SightRefused, Leg: "corp", Room: channel, What: "MODE #finance +b x", Text: "the list is full (478)"})
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["mallory@else.example"] = policy.Owner })
		h.wait(10 * time.Minute)
		h.has("alarms", h.g.Status().Rooms[0].Alarms, "the list is full", "mallory@else.example is owner too")
		h.wait(time.Hour)
		if a := h.g.Status().Rooms[0].Alarms; len(a) != 1 || !strings.Contains(a[0], "is owner too") {
			t.Errorf("alarms %q", a)
		}
	})
}

// stuckStore cannot keep one kind of thing, ever.
type stuckStore struct{ guard.Store }

func (stuckStore) PutBan(context.Context, policy.BanRecord) error {
	return errors.New("this one is broken")
}

// One thing that cannot be kept does not stop the audit.
func TestOneBadChangeDoesNotStopTheAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.store = stuckStore{guard.NewMemory()}
		h.start()
		defer func() { h.stop() }()
		h.ready()
		if _, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"}); !errors.Is(err, guard.ErrNotKept) {
			t.Errorf("%v", err)
		}
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(time.Minute)
		h.has("audit", h.acts(guard.Query{}), "eve!eve@eve.example deny : sent", "bob ban")
	})
}

// Somebody whom the server does not let go is tried a few times, then the admins are
// told, and it is tried no more for a while.
func TestWhoCannotBeRemoved(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Change(channel, func(p *guardtestPlace) { p.Stuck = true })
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(2 * time.Minute)
		if n := len(h.kicked()); n != 4 {
			t.Errorf("tried %d times, want 4", n)
		}
		h.has("alarms", h.takeAlarms(), "is still in corp/#finance, though removed 4 times")
	})
}

// Who has a nick now need not be who said a line that comes late.
func TestLateLineIsNotOfWhoHasTheNickNow(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		h.wait(time.Second)
		m := bridge.Message{Room: channel, From: bridge.Sender{Nick: "bob"}}
		if r := h.g.In(&m, time.Now()); r.Refused {
			t.Errorf("bob, now: %+v", r)
		}
		m.Delayed = true
		if r := h.g.In(&m, time.Now()); !r.Refused {
			t.Error("somebody who had the nick is relayed as bob")
		}
	})
}

// A peer that comes is no mass join.
func TestPeersShutNoRoom(t *testing.T) {
	live(t, func(c *guard.Config) {
		c.ID, c.Peers = "a", []guard.Peer{{ID: "b", Accounts: map[string]string{"corp": "otherbot"}}}
		c.Rooms[1].Joins = policy.Limit{Count: 1, Per: time.Minute}
	}, func(h *house) {
		h.irc.Join(lobby, onIRC("otherbot", "otherbot"))
		h.wait(time.Second)
		if s := h.g.Status().Rooms[1]; !s.Shut.IsZero() || s.Lockdowns != 0 {
			t.Errorf("shut by a peer: %+v", s)
		}
		h.irc.Join(lobby, onIRC("eve", "eve"))
		h.wait(time.Second)
		if s := h.g.Status().Rooms[1]; s.Lockdowns != 1 {
			t.Errorf("not shut by somebody else: %+v", s)
		}
	})
}
