package config

import (
	"strings"
	"testing"
)

// TestForwardIsWhereTheBotIs: a channel to which nobody could be sent on is told of.
func TestForwardIsWhereTheBotIs(t *testing.T) {
	for _, tt := range []struct{ name, forward, rooms, want string }{
		{"nowhere", "#moved", "", "migration.dev.forward: the bot is not in #moved, and only an op of that channel may send people on to it; fix: add it to rooms"},
		{"guarded", "#Moved", `, moved: {irc: {network: corp, channel: "#moved"}, default: allow}`, ""},
	} {
		in := strings.Replace(good, "log: {", `rooms: {dev: {irc: {network: corp, channel: "#dev"}, default: allow}`+tt.rooms+"}\nmigration: {dev: {to: x, forward: \""+tt.forward+"\"}}\nlog: {", 1)
		c, errs := load(t, home(t), in, Options{})
		if errs != nil {
			t.Fatal(tt.name, errs)
		}
		var told strings.Builder
		for _, w := range c.Warnings {
			told.WriteString(w.Error())
		}
		if got := told.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
