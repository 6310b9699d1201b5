//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// clock sets the bot's clock to so long after the beginning.
func (m *moving) clock(at time.Duration) {
	m.off = at - time.Since(m.begun)
	m.jump(m.off)
}

// stage says what comes next, and when.
func (m *moving) stage(what string) {
	m.t.Helper()
	m.t.Logf("%3.0f s: %s", time.Since(m.begun).Seconds(), what)
}

// shows waits until migrate status shows all the parts.
func (m *moving) shows(parts ...string) {
	m.t.Helper()
	var out string
	if !lab.Poll(wait, func() bool {
		out, _, _ = m.try("migrate", "status")
		return hasAll(parts)(out)
	}) {
		m.t.Fatalf("migrate status never shows %q, but\n%s\n%s", parts, out, m.ok("migrate", "report"))
	}
}

// both waits until both places were told n times, and holds them to not having been told
// more often.
func (m *moving) both(n int, parts ...string) {
	m.t.Helper()
	places := map[string]func() []string{"jo": onIRC(m.users[straggler], channel), "anna": heard(m.anna)}
	told := func(who string) (got int) {
		for _, l := range places[who]() {
			if hasAll(parts)(l) {
				got++
			}
		}
		return got
	}
	for who, lines := range places {
		if !lab.Poll(wait, func() bool { return told(who) >= n }) {
			m.t.Fatalf("%s was not told %d times: %q\n%s", who, n, parts, strings.Join(lines(), "\n"))
		}
		if got := told(who); got != n {
			m.t.Errorf("%s was told %d times: %q", who, got, parts)
		}
	}
}

// talk has all who moved say lines on Jabber, which the straggler reads.
func (m *moving) talk(word string) {
	m.t.Helper()
	for _, x := range m.mates {
		for i := range 2 {
			x.say(fmt.Sprintf("%s %s %d", x.name, word, i))
		}
	}
	for _, x := range m.mates {
		m.reads("jo", onIRC(m.users[straggler], channel), fmt.Sprintf("%s %s 1", x.name, word))
	}
}

// topic asks the server for the channel's topic.
func (m *moving) topic() string {
	seen := len(m.carl.Lines())
	m.carl.Send("TOPIC #dev")
	out := ""
	lab.Poll(wait, func() bool {
		for _, l := range m.carl.Lines()[seen:] {
			if _, rest, ok := strings.Cut(l, " 332 carl #dev :"); ok {
				out = rest
			}
		}
		return out != ""
	})
	return out
}

// modes waits until the channel's modes are as wanted.
func (m *moving) modes(has, not string) {
	m.t.Helper()
	last := ""
	if !lab.Poll(wait, func() bool {
		seen := len(m.carl.Lines())
		m.carl.Send("MODE #dev")
		lab.Poll(wait, func() bool {
			return slices.ContainsFunc(m.carl.Lines()[seen:], func(l string) bool {
				_, rest, ok := strings.Cut(l, " 324 carl #dev ")
				if ok {
					last = rest
				}
				return ok
			})
		})
		return !strings.ContainsFunc(has, func(c rune) bool { return !strings.ContainsRune(last, c) }) && !strings.ContainsAny(last, not)
	}) {
		m.t.Fatalf("modes are %s, want +%s -%s", last, has, not)
	}
}

// A team of ten leaves IRC for Jabber, in fake time: a room is made of the channel; eight
// of them are led by !move to an account, a key that counts, a link and the room, in two
// waves, one stays behind and one is not counted, and strangers come to nothing; then it is
// announced, held back by its gates, read-only with a straggler, farewell, closed, and one
// step back; nothing that is said gets lost on the way.
func TestTeamMovesOffIRC(t *testing.T) {
	t.Parallel()
	onServersWith(t, lab.Prosody{Invites: true}, func(t *testing.T, h *house, s *lab.XMPPServer) {
		m := newMoving(t, h, s)
		jo := m.users[straggler]

		m.stage("four of them go by !move, others begin, and a stranger tries")
		m.firstMove()
		m.falter()
		m.strangers()

		m.stage("mirror: all talk, and are counted")
		for _, name := range team {
			m.users[name].Say(channel, "good morning from "+name)
		}
		for _, name := range team[1:] { // anna's own line is no news for her
			h.reads("anna", heard(m.anna), name, "good morning from "+name)
		}
		h.reads("ben", heard(m.ben), "anna", "good morning from anna")
		m.shows("dev: mirror", "4 of 9 who spoke on IRC lately")
		if plan := h.ok("migrate", "plan"); !hasAll([]string{"corp/#dev: MODE #dev +m", "corp/#dev: MODE #dev +i", "TOPIC #dev :This team has moved to xmpp:dev@rooms.localhost?join"})(plan) {
			t.Errorf("the plan\n%s", plan)
		}
		if strings.Contains(strings.Join(jo.Lines(), "\n"), " MODE #dev +m") {
			t.Error("a plan changed something")
		}

		m.stage("announced 7 days, a day and an hour before")
		m.clock(4 * teamDay)
		m.both(1, "In 6 days (", "encrypted-first: ")
		m.clock(9*teamDay + time.Hour/2)
		m.both(1, "In a day (", "encrypted-first: ")
		m.clock(10*teamDay - time.Hour/2)
		m.both(1, "minutes (", "encrypted-first: ")
		m.clock(10*teamDay + time.Minute)
		m.both(1, "From now on: encrypted-first: ")
		m.shows("dev: encrypted-first since ", "next: irc-readonly on ")
		jo.Say(channel, "said in clear by jo")
		h.reads("anna", heard(m.anna), "jo", "(clear) said in clear by jo")
		m.anna.Type("sealed by anna")
		h.reads("jo", onIRC(jo, channel), "anna", "sealed by anna")

		m.stage("the date comes, the gates are shut: nothing happens, and the admin is told")
		m.clock(19*teamDay + time.Hour/2)
		m.both(1, "In a day (", "irc-readonly: ")
		m.clock(20*teamDay - time.Hour/2)
		m.both(1, "minutes (", "irc-readonly: ")
		m.clock(20*teamDay + time.Minute)
		h.reads("anna", heard(m.anna), "Migration: Bridge dev does not become irc-readonly", "44 % (4 of 9)")
		if _, errs, code := h.try("migrate", "advance", "dev"); code != 1 || !hasAll([]string{"the gates are shut", "(4 of 9)", "migrate report"})(errs) {
			t.Errorf("advance with shut gates: %d %s", code, errs)
		}
		if _, errs, code := h.try("migrate", "advance", "dev", "closed"); code != 1 || !strings.Contains(errs, "cannot be skipped") {
			t.Errorf("a phase skipped: %d %s", code, errs)
		}
		m.shows("dev: encrypted-first")
		jo.Say(channel, "still to be heard")
		h.reads("anna", heard(m.anna), "jo", "still to be heard")

		m.stage("four more go, all but one are linked: people are told again, and then it happens")
		m.write(append(slices.Clone(firstWave), secondWave...)...)
		h.ok("reload")
		m.secondMove()
		m.talk("moves")
		m.shows("8 of 9 who spoke on IRC lately", "8 of 8 of these, with a verified key")
		m.both(2, "In a day (", "irc-readonly: ")
		m.clock(21*teamDay - time.Hour/2)
		m.both(2, "minutes (", "irc-readonly: ")
		m.clock(21*teamDay + time.Hour/2)
		m.both(1, "From now on: irc-readonly: ")

		m.stage("irc-readonly: the straggler reads, and does not write")
		m.modes("ntm", "i")
		jo.Say(channel, "too late by jo")
		jo.Expect(" 404 jo #dev ")
		m.cleo.Say(botJID, "for those who are left")
		h.reads("jo", onIRC(jo, channel), "cleo", "for those who are left")
		late := h.IRCUser(m.ircd, "late")
		late.Join(channel)
		late.Expect(" NOTICE late :Welcome. Here nobody can write in the IRC channel any more")
		if page := filepath.Join(h.dir, "report.html"); true {
			h.ok("migrate", "report", "--html", page)
			b, err := os.ReadFile(page)
			h.must(err)
			if !hasAll([]string{"<b>irc-readonly</b>", "<td>jo</td><td><span class=\"todo\">go on with !move (at: client)<", "<b>1</b> of them", "1 asked not to be counted", "<polyline", "<rect"})(string(b)) || strings.Contains(string(b), "<td>ida") {
				t.Errorf("the page\n%s", b)
			}
		}

		m.carl.Send("TOPIC #dev :what it always was")
		m.carl.Expect(" TOPIC #dev :what it always was")

		m.stage("a kill changes nothing")
		m.bot.Kill()
		m.bot = h.start()
		m.op()
		h.statusShows(", ready")
		m.showsRoom("anna", "otr")
		m.shows("dev: irc-readonly since ")
		m.modes("ntm", "i")
		m.talk("goes on") // the kill may have taken the last counts

		m.stage("farewell, by an admin's order in chat")
		m.anna.Type("!migrate advance dev farewell")
		h.reads("anna", heard(m.anna), "dev is farewell now")
		m.both(1, "From now on: farewell: ")
		if !lab.Poll(wait, func() bool {
			return strings.HasPrefix(m.topic(), "This team has moved to xmpp:dev@rooms.localhost?join")
		}) {
			t.Errorf("topic %q", m.topic())
		}
		pointed := func() (n int) {
			for _, l := range onIRC(jo, channel)() {
				if strings.HasPrefix(l, "This team has moved to ") {
					n++
				}
			}
			return n
		}
		m.clock(22*teamDay + 2*time.Hour)
		h.Await(wait, "the line of the next day", func() bool { return pointed() == 1 })
		m.clock(23*teamDay + 3*time.Hour)
		h.Await(wait, "the line of the day after", func() bool { return pointed() == 2 })

		m.stage("closed: nobody comes in, and nothing is relayed there")
		h.ok("migrate", "advance", "dev")
		m.both(1, "From now on: closed: ")
		m.modes("ntmi", "")
		stranger := h.IRCUser(m.ircd, "stranger")
		stranger.Send("JOIN " + channel)
		stranger.Expect(" 473 stranger #dev ")
		m.anna.Type("among ourselves at last")
		h.reads("ben", heard(m.ben), "anna", "among ourselves at last")
		m.balanced()

		m.stage("one step back, and another: all is as it was")
		h.ok("migrate", "back", "dev")
		m.modes("ntm", "i")
		m.anna.Type("heard on IRC again")
		h.reads("jo", onIRC(jo, channel), "anna", "heard on IRC again")
		for _, l := range onIRC(jo, channel)() {
			if strings.Contains(l, "among ourselves") {
				t.Error("a closed channel heard what was said")
			}
		}
		h.ok("migrate", "back", "dev")
		if !lab.Poll(wait, func() bool { return m.topic() == "what it always was" }) {
			t.Errorf("topic %q is not what it was", m.topic())
		}
		m.shows("dev: irc-readonly", "held by")
		h.ok("migrate", "back", "dev")
		m.modes("nt", "im")
		jo.Say(channel, "jo speaks again")
		h.reads("anna", heard(m.anna), "jo", "(clear) jo speaks again")

		m.balanced()
		h.audited("at the end")
		h.guardSays([]string{"audit"}, "migrate dev: enter closed")
		h.guardSays([]string{"audit"}, "MODE #dev +m")
	})
}
