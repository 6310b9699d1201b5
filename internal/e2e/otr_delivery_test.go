//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// otrTalk is a bot, an IRC user and a person with a client that speaks OTR.
type otrTalk struct {
	*house
	carl    *lab.IRCUser
	bot     *lab.Proc
	prosody *lab.XMPPServer
	name    string
	open    func() otrClient // starts the client once more, without its sessions
}

// otrClient is a client with OTR on a terminal.
type otrClient interface {
	Heard(jid string) []string
	Type(line string)
	Kill()
}

func eachOTRClient(t *testing.T, test func(t *testing.T, o *otrTalk)) {
	for name, proto := range map[string]string{"alice": "xmpp", "bob": "jabber"} {
		client := map[string]string{"alice": "profanity", "bob": "mcabber"}[name]
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
			h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
			prosody.AddUser(botName)
			key := h.otrUser(prosody, name, proto)
			other := map[string]string{"alice": "  bob: {jids: [bob@localhost], otr: [\"${bob}\"]}\n", "bob": "  alice: {jids: [alice@localhost], otr: [\"${alice}\"]}\n"}[name]
			h.config(strings.NewReplacer(other, "", "people: [alice, bob]", "people: ["+name+"]").Replace(otrConfig))
			o := &otrTalk{house: h, prosody: prosody, name: name, carl: h.IRCUser(ircd, "carl", channel)}
			o.open = func() otrClient {
				if name == "alice" {
					return h.Profanity(prosody, lab.ProfanityUser{Name: name, OTR: key})
				}
				return h.Mcabber(prosody, lab.McabberUser{Name: name, OTR: key})
			}
			o.bot = h.start()
			o.carl.Expect(":bridge!")
			test(t, o)
		})
	}
}

// once holds that all lines were read by the clients together: each line first in its
// order, and twice only those that excused allows.
func (o *otrTalk) once(want []string, excused func(string) bool, clients ...otrClient) {
	o.t.Helper()
	mark, _, _ := strings.Cut(want[0], " ")
	var got []string
	lab.Poll(3*wait, func() bool {
		got = nil
		for _, c := range clients {
			for _, l := range c.Heard(botJID) {
				if i := strings.Index(l, mark); i >= 0 {
					got = append(got, l[i:])
				}
			}
		}
		return slices.Contains(got, want[len(want)-1])
	})
	var first []string
	for _, l := range got {
		switch {
		case !slices.Contains(first, l):
			first = append(first, l)
		case !excused(l):
			o.t.Errorf("%s read %q twice", o.name, l)
		}
	}
	if !slices.Equal(first, want) {
		o.t.Errorf("%s read %d of %d lines, or not in order:\n%s", o.name, len(first), len(want), strings.Join(got, "\n"))
	}
}

// TestOTRClientRestarts: the client is killed and starts again, without its session,
// while lines are on their way to it.
func TestOTRClientRestarts(t *testing.T) {
	t.Parallel()
	eachOTRClient(t, func(_ *testing.T, o *otrTalk) {
		lines := numbered("restart", 60)
		first := o.open()
		o.carl.Say(channel, "hello")
		o.reads(o.name, heard(first), "hello")
		for _, l := range lines[:20] {
			o.carl.Say(channel, l)
		}
		o.reads(o.name, heard(first), lines[19])
		for _, l := range lines[20:30] { // some of these it may read, and not live to tell
			o.carl.Say(channel, l)
		}
		first.Kill()
		for _, l := range lines[30:45] {
			o.carl.Say(channel, l)
		}
		second := o.open()
		for _, l := range lines[45:] {
			o.carl.Say(channel, l)
		}
		o.once(lines, func(l string) bool { return slices.Contains(lines[:30], l) }, first, second)
		o.otrOnly(o.prosody, "restart 0")
		if l, ok := o.ledger(); ok && !l.balanced() {
			o.t.Errorf("the ledger: %s", l)
		}
	})
}

// TestOTRClientEnds: the client ends the session while lines are on their way. They
// wait, nothing is said in clear, and the bot asks for a new session.
func TestOTRClientEnds(t *testing.T) {
	t.Parallel()
	eachOTRClient(t, func(_ *testing.T, o *otrTalk) {
		lines := numbered("ending", 40)
		c := o.open()
		o.carl.Say(channel, "hello")
		o.reads(o.name, heard(c), "hello")
		for _, l := range lines[:20] {
			o.carl.Say(channel, l)
		}
		if o.name == "alice" {
			c.Type("/msg " + botJID)
			c.Type("/otr end")
		} else {
			c.Type("/otr stop " + botJID)
		}
		for _, l := range lines[20:] {
			o.carl.Say(channel, l)
		}
		// What was read right before the end is sent again, for nothing tells it from what
		// came right after.
		o.once(lines, func(l string) bool { return slices.Contains(lines[:20], l) }, c)
		o.otrOnly(o.prosody, "ending 0")
		if l, ok := o.ledger(); ok && !l.balanced() {
			o.t.Errorf("the ledger: %s", l)
		}
	})
}

// TestOTRKilled: the bot is killed while lines are on their way in both directions. A
// line that the server had counts as delivered; the others come, in their order. What
// a client said into the lost session is asked for again.
func TestOTRKilled(t *testing.T) {
	t.Parallel()
	eachOTRClient(t, func(_ *testing.T, o *otrTalk) {
		lines := numbered("killed", 60)
		c := o.open()
		o.carl.Say(channel, "hello")
		o.reads(o.name, heard(c), "hello")
		for _, l := range lines[:30] {
			o.carl.Say(channel, l)
		}
		o.reads(o.name, heard(c), lines[5])
		n := len(o.carl.Lines())
		o.bot.Kill()
		if o.name == "alice" {
			c.Type("/msg " + botJID)
			c.Type("said into the void")
		} else {
			c.(*lab.Mcabber).Say(botJID, "said into the void")
		}
		o.bot = o.start()
		o.joins(o.carl, n)
		for _, l := range lines[30:] {
			o.carl.Say(channel, l)
		}
		o.reads(o.name, heard(c), lines[59])
		o.reads(o.name, heard(c), "Please send it again")
		o.otrOnly(o.prosody, "killed 0", "into the void")
		if l, ok := o.ledger(); ok && !l.balanced() {
			o.t.Errorf("the ledger: %s", l)
		}
	})
}
