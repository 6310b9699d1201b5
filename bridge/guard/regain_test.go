package guard_test

import (
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// A bot that its channel does not let in asks services: mildly twice, then to recover
// the channel, and then now and then.
func TestShutOut(t *testing.T) {
	live(t, nil, func(h *house) {
		mild := []string{"PRIVMSG ChanServ :UNBAN #finance", "PRIVMSG ChanServ :INVITE #finance"}
		h.irc.See(bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: channel, Text: "kicked by mallory"})
		h.wait(time.Second)
		h.same("lines after a kick", h.irc.Lines())
		refused := bridge.Sight{Kind: bridge.SightLost, Leg: "corp", Room: channel, What: "474", Text: "banned", Caps: &policy.ChannelCaps{Services: policy.Atheme}}
		h.irc.See(refused)
		h.wait(time.Second)
		h.same("lines at first", h.irc.Lines(), mild...)
		h.irc.See(refused) // as the invitation was in vain
		h.wait(time.Second)
		h.same("lines at once", h.irc.Lines())
		h.wait(2 * time.Second)
		h.same("lines after three seconds", h.irc.Lines(), mild...)
		h.wait(3 * time.Second)
		h.same("lines after six", h.irc.Lines(), "PRIVMSG ChanServ :RECOVER #finance")
		h.wait(4 * time.Minute)
		h.same("lines for a while", h.irc.Lines())
		h.wait(2 * time.Minute)
		h.same("lines later", h.irc.Lines(), mild...)
		h.has("alarms", h.takeAlarms(), "corp/#finance: the bot is not let in: banned")
	})
}

// What a network can is known before the first look: twenty go by one line, not by
// twenty.
func TestCapsComeWithReady(t *testing.T) {
	live(t, nil, func(h *house) {
		h.irc.See(bridge.Sight{Kind: bridge.SightReady, Leg: "corp", Room: channel, Caps: &policy.ChannelCaps{KickTargets: 4, Modes: 20}})
		release := h.irc.Hold()
		for _, nick := range []string{"x0", "x1", "x2", "x3", "x4"} {
			h.irc.Join(channel, onIRC(nick, ""))
		}
		h.wait(time.Second)
		release()
		h.wait(time.Second)
		kicks := h.irc.Lines()
		if len(kicks) != 2 {
			t.Errorf("five went by %d lines: %q", len(kicks), kicks)
		}
	})
}
