//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/lab"
)

// window is how many lines may be on their way to an IRC server unconfirmed: so
// many may come twice where the history that tells of them dies.
const window = 6

// pairs are the servers of the longest scenarios.
var pairs = []struct {
	name      string
	irc       func(h *house) *lab.IRCServer
	xmpp      func(h *house) *lab.XMPPServer
	noHistory bool // on IRC
	unknown   int  // how many lines on their way to IRC nobody can be asked about, at any time
}{
	{
		"inspircd+prosody",
		func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{Fast: true, History: true}) },
		func(h *house) *lab.XMPPServer { return h.Prosody(lab.Prosody{Archive: true}) },
		false, 0,
	},
	{
		"ngircd+ejabberd",
		func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{Fast: true}) },
		func(h *house) *lab.XMPPServer { return h.Ejabberd(lab.Ejabberd{}) },
		true, 1,
	},
}

// triangle is the bridge of the fault scenarios: a channel, a room with an archive
// and a person with XEP-0027; carl, dora and alice speak, and dave listens on IRC.
type triangle struct {
	*house
	load  *load
	irc   *lab.IRCServer
	xmpp  *lab.XMPPServer
	toIRC *lab.Proxy // the bot's own links
	toJab *lab.Proxy
	bot   *lab.Proc

	carl, dave         *lab.IRCUser
	dora               *occupant
	alice              *lab.XMPPUser
	sealer             *sealer
	fromIRC, fromRoom  *speaker
	fromAlice          *speaker
	onIRC, inRoom, toA *reader
	resent             uint64 // when it was judged last
}

const triangleConfig = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp:
      account: bot
      people: [alice]
      rooms: [{room: dev@rooms.localhost, require: clear}]
    announce: off
    offline: {lines: 5000}
`

// newTriangle builds it, starts the bot and lets everybody speak every so often.
func newTriangle(h *house, irc *lab.IRCServer, xmpp *lab.XMPPServer, every time.Duration) *triangle {
	h.t.Helper()
	tr := &triangle{house: h, irc: irc, xmpp: xmpp}
	tr.toIRC, tr.toJab = h.Proxy(irc.TLSAddr), h.Proxy(xmpp.Addr)
	h.vars["irc"], h.vars["xmpp"] = localhost(tr.toIRC.Addr), localhost(tr.toJab.Addr)
	xmpp.AddUser(botName, "dora")
	alice := h.person(xmpp, "alice", lab.Key{Created: time.Now().Add(-2 * time.Hour)})
	h.config(triangleConfig)
	tr.sealer = h.sealer(alice)
	tr.peopleOnIRC()
	tr.peopleOnXMPP()
	tr.bot = h.start()
	h.joins(tr.dave, 0)
	h.statusShows(", ready")
	tr.load = &load{h: h}
	tr.fromIRC = tr.load.speaks("carl", every, tr.carlSays())
	tr.fromRoom = tr.load.speaks("dora", every, tr.dora.say)
	tr.fromAlice = tr.load.speaks("alice", every, tr.aliceSays())
	tr.onIRC = tr.load.reads("dave", heardOf(tr.dave.Lines, channelText), "dora", "alice")
	tr.inRoom = tr.load.reads("dora", heardOf(tr.dora.Stanzas, roomText), "carl", "alice")
	tr.toA = tr.load.reads("alice", heardOf(tr.alice.Stanzas, tr.sealer.open), "carl", "dora")
	tr.load.start()
	return tr
}

func (tr *triangle) peopleOnIRC() {
	tr.carl = tr.IRCUser(tr.irc, "carl", channel)
	if tr.irc.Name == "inspircd" {
		tr.carl.Send("MODE " + channel + " +H 1000:1h")
	}
	tr.dave = tr.IRCUser(tr.irc, "dave", channel)
}

func (tr *triangle) peopleOnXMPP() {
	tr.dora = &occupant{tr.XMPPUser(tr.xmpp, "dora", "")}
	tr.dora.JoinRoom(devRoom, "dora")
	tr.alice = tr.sealer.login(tr.xmpp, "alice")
}

func (tr *triangle) carlSays() func(string) {
	carl := tr.carl
	return func(text string) { carl.Say(channel, text) }
}

func (tr *triangle) aliceSays() func(string) {
	alice := tr.alice
	return func(text string) { alice.Chat(botJID, tr.sealer.seal(text)) }
}

// where is what a witness saw: the bot come or go, or a line.
type where struct {
	in, out bool
	line    int
}

// gone returns the lines that no server and no store had for the bot any more:
// those that were said while it was away, and those right before it left that were
// lost too, which lay in the sockets of a process that was killed. A witness is
// always there before the bot.
func gone(seen []where, lost []int) map[int]bool {
	missed := map[int]bool{}
	for _, n := range lost {
		missed[n] = true
	}
	out := map[int]bool{}
	var before []int // lines while the bot was there
	away := true
	for _, w := range seen {
		switch {
		case w.in:
			away, before = false, nil
		case w.out:
			away = true
			for _, n := range slices.Backward(before) {
				if !missed[n] {
					break
				}
				out[n] = true
			}
		case away:
			out[w.line] = true
		default:
			before = append(before, w.line)
		}
	}
	return out
}

// onChannel is what dave saw of the bot and of carl.
func (tr *triangle) onChannel() (seen []where) {
	for _, line := range tr.dave.Lines() {
		src, rest, _ := strings.Cut(line, " ")
		bot := strings.HasPrefix(src, ":"+botName)
		switch {
		case bot && strings.HasPrefix(rest, "JOIN "):
			seen = append(seen, where{in: true})
		case bot && strings.HasPrefix(rest, "QUIT "), strings.HasPrefix(rest, "KICK "+channel+" "+botName):
			seen = append(seen, where{out: true})
		case strings.HasPrefix(src, ":carl!"):
			if _, n, ok := parseLoadLine(rest); ok {
				seen = append(seen, where{line: n})
			}
		}
	}
	return seen
}

// inTheRoom is what dora saw of the bot and of herself.
func (tr *triangle) inTheRoom() (seen []where) {
	for _, st := range tr.dora.Stanzas() {
		from, typ := lab.Attr(st, "from"), lab.Attr(st, "type")
		switch {
		case strings.HasPrefix(st, "<presence") && typ == "" && from == devRoom+"/bridge":
			seen = append(seen, where{in: true})
		case strings.HasPrefix(st, "<presence") && typ == "unavailable" && (from == devRoom+"/bridge" || from == devRoom+"/dora"):
			seen = append(seen, where{out: true})
		case strings.HasPrefix(st, "<message") && from == devRoom+"/dora":
			body, _ := lab.Child(st, "body")
			if _, n, ok := parseLoadLine(body); ok {
				seen = append(seen, where{line: n})
			}
		}
	}
	return seen
}

// rule says what a scenario may do to lines.
type rule struct {
	// noHistory: lines said on IRC while the bot was away are gone; notForUs: so are
	// those of the room, which had thrown it out.
	noHistory, notForUs bool
	// twice is how many lines may come twice on IRC, where nobody can be asked. The bot
	// knows which they are: not more than it counts as sent again.
	twice int
}

// judge waits, in silence, for what is on its way, and prints and asserts what
// became of what was said since the last time.
func (tr *triangle) judge(what string, r rule) {
	tr.t.Helper()
	again := tr.load.hush()
	defer again()
	verdicts := tr.load.settle()
	l, _ := tr.ledger()
	if !lab.Poll(wait, func() bool { return tr.audited(what) == l }) {
		tr.t.Errorf("%s: status and audit differ:\n%s\n%s", what, l, tr.audited(what))
	}
	sentAgain := int(l.Resent - tr.resent)
	tr.resent = l.Resent
	var table strings.Builder
	for _, s := range tr.load.speakers {
		for _, rd := range tr.load.readers {
			v, ok := verdicts[[2]string{s.name, rd.name}]
			if !ok {
				continue
			}
			note := ""
			switch {
			case r.noHistory && s.name == "carl":
				note = fmt.Sprintf(", %d that nobody kept", v.excuse(gone(tr.onChannel(), v.Lost)))
			case r.notForUs && s.name == "dora":
				note = fmt.Sprintf(", %d that were not for the bot", v.excuse(gone(tr.inTheRoom(), v.Lost)))
			}
			fmt.Fprintf(&table, "%-34s %5s → %-5s %s%s\n", what, s.name, rd.name, v, note)
			if rd.name == "dave" && len(v.Twice) <= min(r.twice, sentAgain) {
				v.Twice = nil
			}
			if !v.good() {
				tr.t.Errorf("%s: %s → %s: %s", what, s.name, rd.name, v)
			}
		}
		s.first = s.count() + 1
	}
	for _, rd := range tr.load.readers {
		clear(rd.read)
	}
	tr.t.Logf("\n%s%-34s %s", table.String(), what, l)
	if l.Bounced+l.Missed+l.Skipped+l.Dead+l.Unreadable+l.Refused > 0 {
		tr.t.Errorf("%s: the bot gave lines up: %s", what, l)
	}
}
