package guard_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

var (
	alices = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
	bobs   = bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
)

// bridged runs test with a guard and a core that bridges finance with bob's chat.
func bridged(t *testing.T, test func(h *house, core *bridge.Core)) {
	t.Helper()
	live(t, nil, func(h *house) {
		clear := policy.Floor{}
		cfg := bridge.Config{
			Legs:   []bridge.Leg{h.irc, h.xmpp},
			People: []policy.Person{*h.cfg.Policy.People[0], *h.cfg.Policy.People[1], *h.cfg.Policy.People[2]},
			Bridges: []bridge.BridgeConfig{{
				Name: "finance", Floor: policy.Floor{In: policy.Sealed, Out: policy.Verified}, Schemes: []string{"openpgp"},
				Rooms: []bridge.RoomConfig{{Room: channel}, {Room: muc, Floor: &clear}, {Room: alices}, {Room: bobs}},
			}},
		}
		core, err := bridge.New(cfg, bridge.Deps{Gate: h.g})
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- core.Run(ctx) }()
		for _, room := range []bridge.Room{channel, muc, alices, bobs} {
			leg := h.irc.Leg
			if room.Leg == "bot" {
				leg = h.xmpp.Leg
			}
			must(t, leg.RoomUp(room))
		}
		h.wait(time.Second)
		h.irc.TakeSent()
		h.xmpp.TakeSent()
		test(h, core)
		cancel()
		must(t, <-done)
		for _, b := range core.Status().Bridges {
			if !b.Ledger.Balanced() {
				t.Errorf("ledger %+v", b.Ledger)
			}
		}
	})
}

// said returns what both legs sent, without the bot's own words, as "to: text".
func (h *house) said() (out []string) {
	synctest.Wait()
	for _, m := range append(h.irc.TakeSent(), h.xmpp.TakeSent()...) {
		if m.Prefix != "" {
			out = append(out, m.To.Name+": "+m.Text.Reveal())
		}
	}
	slices.Sort(out)
	return out
}

func sealed(room bridge.Room, text string) bridge.Message {
	return bridge.Message{
		Room: room, From: bridge.Sender{Nick: room.Name, Person: room.Name, JID: room.Name + "@corp.example"},
		Text: bridge.NewText(text), Rung: policy.Sealed, Scheme: "openpgp", Time: time.Now(),
	}
}

// A person banned on IRC does not speak through Jabber, and does again once the ban is
// over. What they said before and waits goes back.
func TestBannedDoesNotSpeakThroughJabber(t *testing.T) {
	bridged(t, func(h *house, core *bridge.Core) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		must(t, h.xmpp.Take(sealed(bobs, "one")))
		h.same("said", h.said(), "#finance: <bob@jabber> one", "alice: <bob@jabber> one", "finance@rooms.corp.example: <bob@jabber> one")
		h.irc.SetError(channel, bridge.ErrNotReady)
		must(t, h.xmpp.Take(sealed(bobs, "two")))
		h.wait(time.Second)
		h.said()
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", For: time.Hour, By: "alice"})
		must(t, err)
		h.wait(time.Second)
		h.irc.SetError(channel, nil)
		must(t, h.irc.RoomUp(channel))
		h.wait(time.Minute)
		h.same("what waited", h.said())
		must(t, h.xmpp.Take(sealed(bobs, "three")))
		h.same("said while banned", h.said(), "alice: <bob@jabber> three")
		if l := core.Status().Bridges[0].Ledger; l.Bounced != 1 {
			t.Errorf("ledger %+v", l)
		}
		h.wait(time.Hour)
		h.xmpp.TakeSent()
		must(t, h.xmpp.Take(sealed(bobs, "four")))
		h.same("said after it", h.said(), "#finance: <bob@jabber> four", "alice: <bob@jabber> four", "finance@rooms.corp.example: <bob@jabber> four")
	})
}

// What a stranger says in a closed room, before they are kicked, is not relayed; what
// a member says is.
func TestStrangerIsNotRelayed(t *testing.T) {
	bridged(t, func(h *house, _ *bridge.Core) {
		h.irc.Join(channel, onIRC("bob", "bob"))
		release := h.irc.Hold()
		h.irc.Join(channel, onIRC("eve", "eve_"))
		must(t, h.irc.Say(channel, "eve", "buy now"))
		must(t, h.irc.Take(bridge.Message{Room: channel, From: bridge.Sender{Nick: "bob", Account: "bob"}, Text: bridge.NewText("hello")}))
		h.same("said", h.said(), "alice: <bob@irc> hello", "finance@rooms.corp.example: <bob@irc> hello")
		release()
	})
}

// Who floods through a bridge is held by the rules about those who flood, as a person
// and not as the bot, whatever they flood with; what they say on IRC counts with it.
func TestBridgedFloods(t *testing.T) {
	limits := policy.FloodLimits{
		Lines: policy.Limit{Count: 5, Per: 5 * time.Second}, Repeats: policy.Limit{Count: 3, Per: time.Minute}, Caps: policy.Limit{Count: 2, Per: time.Minute}, Highlights: 3,
	}
	rules := func(c *guard.Config) {
		c.Rooms[1].Floods = limits
		c.Rooms[1].MUC = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "lobby@rooms.corp.example"}
		c.Policy.Rules = append(c.Policy.Rules, policy.Rule{
			ID: "noise", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Speak}, If: policy.If{Floods: policy.FloodRepeats | policy.FloodHighlights}, Effect: policy.Devoice,
		})
	}
	for name, tt := range map[string]struct {
		lines []string
		rule  string // of what is said after these
	}{
		"a few lines":           {[]string{"a", "b", "c", "d"}, ""},
		"many lines":            {[]string{"a", "b", "c", "d", "e"}, "spam"},
		"the same again":        {[]string{"buy now", "Buy now "}, ""},
		"the same thrice":       {[]string{"buy now", "Buy now ", "BUY NOW"}, "noise"},
		"shouting":              {[]string{"LISTEN TO ME", "I SAID LISTEN"}, "shout"},
		"naming few":            {[]string{"alice, eve: hello"}, ""},
		"naming all":            {[]string{"alice, eve: and frank!"}, "noise"},
		"three on IRC, and two": {[]string{"on IRC", "on IRC", "on IRC", "a", "b"}, "spam"},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *guard.Config) { rules(c) }, func(h *house) {
				for _, nick := range []string{"alice", "eve", "frank", "bob"} {
					h.irc.Join(lobby, onIRC(nick, nick))
				}
				h.wait(2 * time.Minute)
				n := uint64(0)
				say := func(who, text string) (out bridge.Ruling) {
					n++
					for _, to := range []bridge.Room{lobby, {Leg: "bot", Kind: bridge.MUC, Name: "lobby@rooms.corp.example"}} {
						out = h.g.Out(bridge.Sender{Nick: who, Person: who, JID: who + "@corp.example"}, bobs, to, bridge.Line{N: n, Text: bridge.NewText(text)}, policy.Sealed, time.Now())
					}
					return out
				}
				for i, text := range tt.lines {
					if text == "on IRC" {
						h.irc.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "corp", Room: lobby, Facts: onIRC("bob", "bob"), Said: policy.Said{Hash: uint64(i)}})
						continue
					}
					if r := say("bob", text); r.Refused != (tt.rule != "" && i == len(tt.lines)-1) {
						t.Errorf("line %d: %+v", i, r)
					}
				}
				// A line that waited is judged, too, and not counted.
				for range 10 {
					if r := h.g.Out(bridge.Sender{Person: "bob"}, bobs, lobby, bridge.Line{}, policy.Sealed, time.Now()); r.Refused != (tt.rule != "") || r.Rule != tt.rule {
						t.Errorf("what waited: %+v, want rule %q", r, tt.rule)
					}
				}
				if r := say("alice", "hello"); r.Refused {
					t.Errorf("alice, who does not flood: %+v", r)
				}
			})
		})
	}
}

// A message of a room that is not guarded costs the gate next to nothing.
func TestGateDoesNotAllocate(t *testing.T) {
	g := unguarded(t)
	m := &bridge.Message{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}, From: bridge.Sender{Nick: "carol"}}
	to := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		g.In(m, now)
		g.Out(m.From, m.Room, to, bridge.Line{N: 1, Text: m.Text}, policy.Clear, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func unguarded(t testing.TB) *guard.Guard {
	h := newHouse(nil, nil)
	g, err := guard.New(h.cfg, guard.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// BenchmarkGate is what a guard costs a message of a room that is not guarded, to one
// destination: at most 200 ns.
func BenchmarkGate(b *testing.B) {
	g := unguarded(b)
	m := &bridge.Message{Room: bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#dev"}, From: bridge.Sender{Nick: "carol"}}
	to := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "bob"}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		g.In(m, now)
		g.Out(m.From, m.Room, to, bridge.Line{N: 1, Text: m.Text}, policy.Clear, now)
	}
}
