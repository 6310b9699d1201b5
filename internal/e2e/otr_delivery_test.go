//go:build e2e

package e2e

import (
	"fmt"
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
	link    *lab.Proxy // of the bot to the server
	name    string
	open    func() otrClient // starts the client once more, without its sessions
}

// otrClient is a client with OTR on a terminal.
type otrClient interface {
	Heard(jid string) []string
	Kill()
}

// eachOTRClient runs test with each of the clients.
func eachOTRClient(t *testing.T, test func(o *otrTalk), clients ...string) {
	for _, who := range []struct{ client, name, protocol, other string }{
		{"profanity", "alice", "xmpp", "bob"}, {"mcabber", "bob", "jabber", "alice"}, {"pidgin", "alice", "", "bob"},
	} {
		if !slices.Contains(clients, who.client) {
			continue
		}
		t.Run(who.client, func(t *testing.T) {
			t.Parallel()
			h, ircd, prosody := newServed(t)
			link := h.Proxy(prosody.Addr)
			h.vars["xmpp"] = localhost(link.Addr)
			var key []byte
			if who.client == "pidgin" {
				key = h.pidginUser(prosody, who.name)
			} else {
				key = h.otrUser(prosody, who.name, who.protocol)
			}
			h.config(strings.NewReplacer(
				fmt.Sprintf("  %s: {jids: [%s@localhost], otr: [\"${%s}\"]}\n", who.other, who.other, who.other), "",
				"people: [alice, bob]", "people: ["+who.name+"]").Replace(otrConfig))
			o := &otrTalk{house: h, prosody: prosody, link: link, name: who.name, carl: h.IRCUser(ircd, "carl", channel)}
			var pidgin *lab.Pidgin
			o.open = func() otrClient {
				switch {
				case who.client == "profanity":
					return h.Profanity(prosody, lab.ProfanityUser{Name: who.name, OTR: key})
				case who.client == "mcabber":
					return h.Mcabber(prosody, lab.McabberUser{Name: who.name, OTR: key})
				case pidgin == nil:
					pidgin = h.Pidgin(prosody, lab.PidginUser{Name: who.name, OTR: key})
				default:
					pidgin.Restart()
				}
				return pidgin
			}
			o.bot = h.start()
			o.carl.Expect(":bridge!")
			test(o)
		})
	}
}

// begin opens the client and waits for its session; lines are what carl will say.
func (o *otrTalk) begin(mark string, n int) (c otrClient, lines []string) {
	o.t.Helper()
	c = o.open()
	o.carl.Say(channel, "hello")
	o.reads(o.name, heard(c), "hello")
	return c, numbered(mark, n)
}

// says has carl say lines.
func (o *otrTalk) says(lines []string) {
	for _, l := range lines {
		o.carl.Say(channel, l)
	}
}

// sends has the person say a line, whatever becomes of it.
func (o *otrTalk) sends(c otrClient, text string) {
	switch c := c.(type) {
	case *lab.Profanity:
		c.Type("/msg " + botJID)
		c.Type(text)
	case interface{ Say(jid, text string) }:
		c.Say(botJID, text)
	}
}

// ends looks at the talk once it is over: the server saw nothing of it, and the books
// balance.
func (o *otrTalk) ends(secrets ...string) {
	o.t.Helper()
	o.otrOnly(o.prosody, secrets...)
	if l, ok := o.ledger(); ok && !l.balanced() {
		o.t.Errorf("the ledger: %s", l)
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
	eachOTRClient(t, func(o *otrTalk) {
		first, lines := o.begin("restart", 60)
		o.says(lines[:20])
		o.reads(o.name, heard(first), lines[19])
		o.says(lines[20:30]) // some of these it may read, and not live to tell
		first.Kill()
		o.says(lines[30:45])
		second := o.open()
		o.says(lines[45:])
		if first == second { // it has its log of before
			o.once(lines, among(lines[:30]), second)
		} else {
			o.once(lines, among(lines[:30]), first, second)
		}
		o.ends("restart 0")
	}, "profanity", "mcabber", "pidgin")
}

// TestOTRClientEnds: the client ends the session while lines are on their way. They
// wait, nothing is said in clear, and the bot asks for a new session.
func TestOTRClientEnds(t *testing.T) {
	t.Parallel()
	eachOTRClient(t, func(o *otrTalk) {
		c, lines := o.begin("ending", 40)
		o.says(lines[:20])
		switch c := c.(type) {
		case *lab.Profanity:
			c.Type("/msg " + botJID)
			c.Type("/otr end")
		case *lab.Mcabber:
			c.Type("/otr stop " + botJID)
		}
		o.says(lines[20:])
		// What was read right before the end is sent again, for nothing tells it from what
		// came right after.
		o.once(lines, among(lines[:20]), c)
		o.ends("ending 0")
	}, "profanity", "mcabber") // Pidgin ends one by its menu alone
}

// TestOTRKilled: the bot is killed while lines are on their way: some were read, others
// are in the hands of a link that swallows them. Each is read in its order, and once,
// but for those that were on the link: nobody can tell whether they were. What a client
// said into the lost session is asked for again.
func TestOTRKilled(t *testing.T) {
	t.Parallel()
	eachOTRClient(t, func(o *otrTalk) {
		c, lines := o.begin("killed", 60)
		o.says(lines[:15])
		o.reads(o.name, heard(c), lines[14])
		o.link.BlackHole()
		o.says(lines[15:30])
		o.statusShows("received 31 = 31 accepted") // with the hello
		n := len(o.carl.Lines())
		o.bot.Kill()
		o.sends(c, "said into the void")
		o.link.Restore()
		o.bot = o.start()
		o.joins(o.carl, n)
		o.says(lines[30:])
		o.once(lines, among(lines[15:30]), c)
		o.reads(o.name, heard(c), "Please send it again")
		o.sends(c, "said once more")
		o.reads("carl", onIRC(o.carl, channel), "said once more")
		o.ends("killed 0", "into the void", "once more")
	}, "profanity", "mcabber", "pidgin")
}

// among reports whether a line is one of list.
func among(list []string) func(string) bool {
	return func(l string) bool { return slices.Contains(list, l) }
}
