package bridge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

func withStatus(h *house) {
	h.irc.SetRooms(bridge.RoomStatus{Room: dev, State: bridge.StateUp, Proven: true, Members: []string{"carol", "bob", "dave"}})
	h.xmpp.SetRooms(
		bridge.RoomStatus{Room: alice, State: bridge.StateUp, Scheme: "openpgp", In: "sealed", Out: "verified"},
		bridge.RoomStatus{Room: bob, State: bridge.StateDown})
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name, ask string
		onIRC     bool
		want      string
	}{
		{"help to a person", "!help", false, `alice: Bridge "dev". !help lists the commands; !who who is in the other rooms; !status how the bridge is doing; !trust how far each line is protected, and by which keys. A "?" after a name: looks like somebody known here, and is not proven to be.`},
		{"who to a person", "!who", false, "alice: corp/#dev: bob?, carol, dave; bob (away)."},
		{"who on IRC", "!who", true, "#dev: alice (here); bob (away)."},
		{"status to a person", "!status", false, `alice: Bridge "dev": corp/#dev up; bob down.`},
		{"status on IRC", "!STATUS please", true, `#dev: Bridge "dev": alice up; bob down.`},
		{"trust to a person", "!trust", false, "alice: alice: openpgp, to them verified, from them sealed; corp/#dev: not end-to-end encrypted; bob: no usable key now."},
		{"trust on IRC: no rungs, no fingerprints", "!trust", true, "#dev: alice: encrypted; bob: encrypted."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(h *house) {
				withStatus(h)
				if tt.onIRC {
					must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "al", Person: "alice"}, Text: bridge.NewText(tt.ask)}))
				} else {
					must(t, h.xmpp.Take(person(alice, tt.ask)))
				}
				synctest.Wait()
				for _, m := range append(h.irc.Sent(), h.xmpp.Sent()...) {
					if !m.Notice || m.To == alice && (m.Floor != policy.Verified || m.Clear != (bridge.ClearRoom{})) {
						t.Errorf("answer %+v", m)
					}
				}
				same(t, "answer", append(told(h.irc), told(h.xmpp)...), tt.want)
				if l := h.ledger(); l.Commands != 1 {
					t.Errorf("commands %d", l.Commands)
				}
			}, devBridge())
		})
	}
}

// TestWhoIsLoggedIn: an account that is a person's is told in their bridge's chats, and
// wears no mark.
func TestWhoIsLoggedIn(t *testing.T) {
	live(t, func(h *house) {
		h.irc.SetRooms(bridge.RoomStatus{
			Room: dev, State: bridge.StateUp, Members: []string{"al", "alice", "bob", "carol"},
			Accounts: map[string]string{"al": "ALICE", "alice": "eve", "carol": "carol"},
		})
		must(t, h.xmpp.Take(person(bob, "!who")))
		same(t, "answer", told(h.xmpp), "bob: corp/#dev: al = alice, alice?, bob?, carol; alice (away).")
	}, devBridge())
}

// TestLinkIsAskedAlone: a code would be read by all.
func TestLinkIsAskedAlone(t *testing.T) {
	live(t, func(h *house) {
		must(t, h.irc.Say(dev, "carol", "!link alice"))
		same(t, "where nothing is linked", told(h.irc), "#dev: Nothing can be ordered here.")
	}, devBridge())
}

func TestNotCommands(t *testing.T) {
	live(t, func(h *house) {
		for _, text := range []string{"!", "!foo", "! help", " !help", "!helpme", "say !help"} {
			must(t, h.xmpp.Take(person(alice, text)))
			same(t, text, told(h.irc), "#dev: <alice@jabber> "+text)
			told(h.xmpp)
		}
		m := bridge.Message{Room: dev, From: bridge.Sender{Nick: "serv"}, Kind: bridge.Notice, Text: bridge.NewText("!help")}
		must(t, h.irc.Take(m))
		same(t, "a NOTICE is never answered", told(h.irc))
		m.Kind, m.Delayed = bridge.Say, true
		must(t, h.irc.Take(m))
		same(t, "nor what was asked long ago", told(h.irc))
	}, devBridge())
}

func TestAnswersAreRateLimited(t *testing.T) {
	live(t, func(h *house) {
		for range 50 {
			must(t, h.irc.Say(dev, "carol", "!help"))
		}
		if n := len(told(h.irc)); n != 4 {
			t.Errorf("%d answers at once, want 4", n)
		}
		time.Sleep(5 * time.Second)
		must(t, h.irc.Say(dev, "carol", "!help"))
		must(t, h.irc.Say(dev, "carol", "!help"))
		if n := len(told(h.irc)); n != 1 {
			t.Errorf("%d answers after five seconds, want 1", n)
		}
		same(t, "command lines are not relayed", told(h.xmpp))
	}, devBridge())
}

func TestPauseByAnOperator(t *testing.T) {
	op := func(text string) bridge.Message {
		return bridge.Message{Room: dev, From: bridge.Sender{Nick: "oscar", Op: true}, Text: bridge.NewText(text)}
	}
	live(t, func(h *house) {
		must(t, h.irc.Say(dev, "carol", "!bridge pause 1h"))
		same(t, "not by anybody", told(h.irc), "#dev: Only an operator of the channel can pause the bridge there.")
		for _, bad := range []string{"!bridge pause", "!bridge pause 48h", "!bridge pause -1h"} {
			must(t, h.irc.Take(op(bad)))
			if got := told(h.irc); len(got) != 1 || strings.Contains(got[0], "Paused") {
				t.Errorf("%s: %q", bad, got)
			}
		}
		time.Sleep(time.Minute)
		must(t, h.irc.Take(op("!bridge pause 1h")))
		if got := told(h.irc); len(got) != 1 || !strings.Contains(got[0], "Paused for 1h0m0s") {
			t.Errorf("answer %q", got)
		}
		if got := told(h.xmpp); len(got) != 2 || !strings.Contains(got[0], "oscar paused the bridge in corp/#dev for 1h0m0s") {
			t.Errorf("others %q", got)
		}
		must(t, h.irc.Say(dev, "carol", "private"))
		same(t, "nothing goes out", told(h.xmpp))
		must(t, h.xmpp.Take(person(alice, "anybody?")))
		same(t, "nothing comes in", told(h.irc))
		told(h.xmpp)
		must(t, h.irc.Take(op("!bridge resume")))
		same(t, "resumed", told(h.irc), "#dev: <alice@jabber> anybody?", "#dev: The bridge works here again.")
		told(h.xmpp)
		must(t, h.irc.Take(op("!bridge pause 10m")))
		must(t, h.irc.Say(dev, "carol", "right after"))
		synctest.Wait()
		if l := h.ledger(); l.Paused != 2 {
			t.Errorf("paused %d", l.Paused)
		}
		for _, s := range told(h.xmpp) {
			if strings.Contains(s, "right after") {
				t.Error("a line slipped out after the pause")
			}
		}
		must(t, h.xmpp.Take(person(alice, "later")))
		told(h.irc)
		time.Sleep(11 * time.Minute)
		if got := told(h.irc); len(got) != 1 || !strings.HasSuffix(got[0], "later") {
			t.Errorf("a pause ends by itself: %q", got)
		}
		told(h.xmpp)
	}, devBridge())
}

func TestJoinsDigest(t *testing.T) {
	event := func(kind bridge.EventKind, nick, detail string) bridge.Event {
		return bridge.Event{Kind: kind, Room: dev, Who: bridge.Sender{Nick: nick}, Detail: detail}
	}
	for _, tt := range []struct {
		name   string
		mode   bridge.JoinsMode
		events []bridge.Event
		want   string
	}{
		{"off", bridge.JoinsOff, []bridge.Event{event(bridge.Joined, "x", "")}, ""},
		{"join and part", bridge.JoinsDigest, []bridge.Event{event(bridge.Joined, "x", ""), event(bridge.Parted, "y", "bye"), event(bridge.Renamed, "z", "zz")}, "corp/#dev: joined: x; left: y; renamed: z is now zz"},
		{"came and went", bridge.JoinsDigest, []bridge.Event{event(bridge.Joined, "x", ""), event(bridge.Quit, "x", "Ping timeout")}, ""},
		{"netsplit", bridge.JoinsDigest, []bridge.Event{event(bridge.Quit, "a", "hub.example leaf.example"), event(bridge.Quit, "b", "*.net *.split"), event(bridge.Quit, "c", "Quit: a.b c.d")}, "corp/#dev: left: c; 2 left in a netsplit"},
		{"back from it", bridge.JoinsDigest, []bridge.Event{event(bridge.Quit, "a", "hub.example leaf.example"), event(bridge.Joined, "a", "")}, ""},
		{"names are clean", bridge.JoinsDigest, []bridge.Event{event(bridge.Joined, "<bob@x>\n", "")}, "corp/#dev: joined: _bob_x_"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := devBridge()
			b.Joins = tt.mode
			live(t, func(h *house) {
				for _, e := range tt.events {
					must(t, h.irc.Notify(e))
				}
				time.Sleep(50 * time.Second)
				same(t, "before a minute", told(h.xmpp))
				time.Sleep(15 * time.Second)
				got := told(h.xmpp)
				if tt.want == "" {
					same(t, "digest", got)
				} else {
					same(t, "digest", got, "alice: "+tt.want, "bob: "+tt.want)
				}
				same(t, "not to the channel itself", told(h.irc))
			}, b)
		})
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"!help", "!bridge pause 1h", "!who\nx", "!", "!TRUST  "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.HasPrefix(text, "!") || len(text) > 1000 {
			return
		}
		live(t, func(h *house) {
			must(t, h.irc.Take(bridge.Message{Room: dev, From: bridge.Sender{Nick: "oscar", Op: true}, Text: bridge.NewText(text)}))
			synctest.Wait()
			if l := h.ledger(); l.Received != 1 || l.Accepted+l.Commands != 1 {
				t.Errorf("ledger %+v", l)
			}
		}, devBridge())
	})
}
