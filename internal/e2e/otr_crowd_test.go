//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTwentyTalkByOTR: twenty people with a session each and a channel talk at once
// for a minute; everybody hears every line of everybody else once and in order.
func TestTwentyTalkByOTR(t *testing.T) {
	t.Parallel()
	const people, every, lines = 20, 3 * time.Second, 20
	h, ircd, prosody := newServed(t)
	crowd, listed := make([]*scriptedOTR, people), []string{}
	var yaml strings.Builder
	for i := range crowd {
		name := fmt.Sprintf("p%02d", i)
		crowd[i] = h.scriptedOTR(prosody, name, 0)
		listed = append(listed, name)
		fmt.Fprintf(&yaml, "  %s: {jids: [%s@localhost], otr: [\"${%s}\"]}\n", name, name, name)
	}
	from, to := strings.Index(otrConfig, "people:\n"), strings.Index(otrConfig, "bridges:\n")
	h.config(otrConfig[:from] + "people:\n" + yaml.String() +
		strings.Replace(otrConfig[to:], "people: [alice, bob]", "people: ["+strings.Join(listed, ", ")+"]", 1))
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	h.joins(carl, 0)
	for _, c := range crowd {
		c.login(prosody)
	}
	for _, c := range crowd {
		c.sealed()
	}

	// Each in turn, so that every key is renewed with nearly every line.
	tick := time.NewTicker(every / people)
	defer tick.Stop()
	for n := range lines {
		carl.Say(channel, fmt.Sprintf("from-carl %03d of %d", n+1, lines))
		for _, c := range crowd {
			<-tick.C
			c.say(fmt.Sprintf("from-%s %03d of %d", c.name, n+1, lines))
		}
	}
	for _, speaker := range append(listed, "carl") {
		want := numbered("from-"+speaker, lines)
		for _, c := range crowd {
			if c.name != speaker {
				h.inOrder(c.name, c.heard, "from-"+speaker, want)
			}
		}
		if speaker != "carl" {
			h.inOrder("carl", onIRC(carl, channel), "from-"+speaker, want)
		}
	}
	h.otrOnly(prosody, "from-p", "from-carl")
}
