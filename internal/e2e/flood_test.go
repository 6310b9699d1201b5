//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// Scenario 8: floods toward servers with their stock limits. Blind senders are
// killed or cut there (InspIRCd after a hundred lines); the bot takes the rate
// that the server grants: all arrives, in order, and it never has to come back.
func TestFloodsAtStockLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lines int
		max   time.Duration
		start func(h *house) *lab.IRCServer
	}{
		{"ngircd", 500, 5 * time.Minute, func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{}) }},
		{"inspircd", 60, 3 * time.Minute, func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ircd, prosody := tt.start(h), h.Prosody(lab.Prosody{})
			h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
			prosody.AddUser(botName, "dora")
			h.config(houseConfig + `
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.localhost}]}
    require: clear
    announce: off
`)
			carl := h.IRCUser(ircd, "carl", channel)
			dora := &occupant{h.XMPPUser(prosody, "dora", "")}
			dora.JoinRoom(devRoom, "dora")
			h.start()
			h.joins(carl, 0)
			h.statusShows(", ready")
			began := time.Now()
			flood := numbered("flood-line", tt.lines)
			for _, l := range flood {
				dora.say(l)
			}
			lab.Poll(tt.max, func() bool {
				lines := onIRC(carl, channel)()
				return len(lines) > 0 && strings.Contains(lines[len(lines)-1], flood[len(flood)-1])
			})
			h.inOrder("carl", onIRC(carl, channel), "flood-line", flood)
			t.Logf("%d lines took %.0f s", tt.lines, time.Since(began).Seconds())
			for _, l := range carl.Lines() {
				if strings.HasPrefix(l, ":bridge!") && (strings.Contains(l, " QUIT ") || strings.Contains(l, " PART ")) {
					t.Errorf("the bot was thrown out: %q", l)
				}
			}
		})
	}
}
