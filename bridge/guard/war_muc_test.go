package guard_test

import (
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Who changes a MUC's configuration, affiliations or subject again and again gets an alarm
// and is left alone, in that one matter and for a while; then it is set right.
func TestWarAboutAMUC(t *testing.T) {
	mallory := bridge.By{Nick: "mallory", Facts: onXMPP("mallory", "mallory@else.example")}
	for _, tt := range []struct {
		matter string
		does   func(h *house)
		right  string // what sets it back
		other  string // what is still kept meanwhile
	}{
		{policy.FieldWhois, func(h *house) {
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Config[policy.FieldWhois] = "anyone" })
			h.xmpp.Mode(muc, "config", bridge.By{}) // nobody is told who did it
		}, "whois=moderators", "subject plans"},
		{"eve@else.example", func(h *house) {
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["eve@else.example"] = policy.Member })
			h.xmpp.See(bridge.Sight{Kind: bridge.SightMode, Leg: "bot", Room: muc, What: "affiliation", Facts: onXMPP("", "eve@else.example"), By: mallory})
		}, "none eve@else.example", "whois=moderators"},
		{"topic", func(h *house) {
			h.xmpp.Change(muc, func(p *guardtestPlace) { p.Topic = "sold" })
			h.xmpp.See(bridge.Sight{Kind: bridge.SightMode, Leg: "bot", Room: muc, What: "topic", By: mallory})
		}, "subject plans", "whois=moderators"},
	} {
		t.Run(tt.matter, func(t *testing.T) {
			live(t, func(c *guard.Config) { c.Rooms[0].Affiliations = true }, func(h *house) {
				h.xmpp.Change(muc, func(p *guardtestPlace) { p.Topic = "plans" })
				h.xmpp.See(bridge.Sight{Kind: bridge.SightMode, Leg: "bot", Room: muc, What: "topic", By: bridge.By{Nick: "alice", Facts: onXMPP("alice", "alice@corp.example")}})
				h.wait(time.Second)
				h.xmpp.Lines()
				h.takeAlarms()
				set := 0
				for range 8 {
					tt.does(h)
					h.wait(2 * time.Second)
					set += strings.Count(strings.Join(h.xmpp.Lines(), "\n"), tt.right)
				}
				if set == 0 || set > 3 {
					t.Errorf("set back %d times of 8, want one to three times", set)
				}
				h.has("alarms", h.takeAlarms(), "sets "+tt.matter+" back again and again")

				if tt.other == "subject plans" {
					h.xmpp.Change(muc, func(p *guardtestPlace) { p.Topic = "sold" })
				} else {
					h.xmpp.Change(muc, func(p *guardtestPlace) { p.Config[policy.FieldWhois] = "anyone" })
				}
				h.xmpp.Mode(muc, "config", bridge.By{})
				h.wait(time.Second)
				h.same("another matter", h.xmpp.Lines(), tt.other)
				h.wait(20 * time.Minute)
				h.has("after a rest", h.xmpp.Lines(), tt.right)
			})
		})
	}
}
