//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// The ten of the team: the first three have real Jabber clients, the others come over
// one by one.
var team = []string{"anna", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ida", "jo"}

// mover has no Jabber account, and is led to one by !move.
const mover = "dan"

// straggler is the one who never links an account.
const straggler = "jo"

// moving is a house with a team on its way off IRC.
type moving struct {
	*house
	t     *testing.T
	xmpp  *lab.XMPPServer
	ircd  *lab.IRCServer
	jump  func(time.Duration)
	begun time.Time
	bot   *lab.Proc
	carl  *lab.IRCUser // channel operator, and no member of the team
	users map[string]*lab.IRCUser
	anna  *lab.Profanity // who is admin
	ben   *lab.Profanity
	cleo  *lab.Mcabber
}

const teamDay = 24 * time.Hour

// newMoving has all of the team on IRC, logged in, and three of them on Jabber.
func newMoving(t *testing.T, h *house, s *lab.XMPPServer) *moving {
	m := &moving{house: h, t: t, xmpp: s, begun: time.Now(), users: map[string]*lab.IRCUser{}}
	m.ircd = h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	h.vars["irc"], h.vars["xmpp"] = localhost(m.ircd.TLSAddr), localhost(s.Addr)
	m.jump = h.withClock()
	h.file("services", "sesame\n")
	m.ircd.Register("bridgeacct", "sesame")
	m.carl = h.IRCUser(m.ircd, "carl", channel)
	var people []*person
	var moved *person
	crowd := h.IRCCrowd(m.ircd, "w", len(team))
	for i, name := range team {
		u := crowd[i]
		u.Nick = name
		u.Send("NICK " + name)
		u.Expect(" NICK ")
		u.Send("PRIVMSG NickServ :REGISTER sesame " + name + "@mail.example")
		m.users[name] = u
		if i < 3 {
			people = append(people, h.person(s, name, lab.Key{}))
			continue
		}
		if name == mover {
			moved = h.keyed(name, lab.Key{})
			continue
		}
		h.vars[name] = h.ok("keys", "generate", "--jid", name+"@localhost", "--out", filepath.Join(h.dir, name+".asc"))
		public, err := os.ReadFile(filepath.Join(h.dir, name+".pub.asc"))
		h.must(err)
		h.must(os.WriteFile(filepath.Join(h.dir, "keys", name+".asc"), public, 0o600))
	}
	for _, u := range m.users {
		u.Expect(" 900 ")
		u.Join(channel)
	}
	m.write(3, 3)
	h.ok("check")
	m.bot = h.start()
	m.op()
	m.anna, m.ben, m.cleo = h.profanity(s, people[0]), h.profanity(s, people[1]), h.mcabber(s, people[2])
	h.statusShows(", ready")
	m.anna.Talk(botJID, h.botKey)
	m.ben.Talk(botJID, h.botKey)
	m.provisioned()
	m.led(moved)
	return m
}

// provisioned has the bridge's room made from the channel.
func (m *moving) provisioned() {
	m.t.Helper()
	m.showsRoom("dev@rooms.localhost", "up")
	out := ""
	if !lab.Poll(wait, func() (ok bool) {
		code := 0
		out, _, code = m.try("migrate", "provision", "dev", "--yes")
		return code == 0 && strings.Contains(out, "nothing to do")
	}) {
		m.t.Fatalf("the room is never whole:\n%s", out)
	}
	m.guardSays([]string{"audit"}, "provision dev from corp/#dev: ")
	m.guardSays([]string{"audit"}, "member: dan@localhost")
}

// led has somebody go all of !move: an account by invitation, or in-band where the server
// lets everybody make one, a client without signatures, the link by a clear-signed
// sentence, the test message, and the room, which is for members alone.
func (m *moving) led(p *person) {
	m.t.Helper()
	u := m.users[mover]
	m.moves(u, "!move", "Hello dan!", "Step 1, account")
	m.moves(u, "dan@elsewhere.example", "elsewhere.example is another server")
	said := m.moves(u, "2", "write the address")
	m.file("dan-password", lab.Password+"\n")
	args := []string{"register", "dan@localhost", "--server", m.xmpp.Addr, "--ca-file", m.CA.File, "--password-file", filepath.Join(m.dir, "dan-password")}
	if link := invitationURI.FindString(said); link != "" {
		args = append(args, "--invitation", link)
	} else if !strings.Contains(said, "lets you make an account by yourself") {
		m.t.Fatalf("no way to an account: %s", said)
	}
	m.ok(args...)
	m.xmpp.Befriend(botName, mover)
	m.moves(u, "dan@localhost", "Noted: dan@localhost", "Step 2, client")
	m.moves(u, "Psi", "Step 3, key", "Encryption required")
	client := m.scripted(m.xmpp, p)
	m.showsRoom("dan", "openpgp")
	code := regexp.MustCompile(`in the place of CODE: (\S+)`).FindStringSubmatch(m.moves(u, "next", "Step 4, link", "gpg --clearsign", "good until"))
	m.reads("dan", heard(client), "IRC account dan on corp wants to act as you")
	lines := heard(client)()
	_, sentence, _ := strings.Cut(lines[len(lines)-1], "echo '")
	sentence, _, _ = strings.Cut(sentence, "'")
	if code == nil || !strings.Contains(sentence, "CODE") {
		m.t.Fatalf("no code, or no sentence in %q", lines)
	}
	m.moves(u, "next", "not proven yet")
	client.say(p.gpg.Run(strings.Replace(sentence, "CODE", code[1], 1)+"\n", "--local-user", p.fpr, "--clearsign"))
	m.reads("dan", heard(client), "Done: what the IRC account dan on corp does counts as yours")
	m.moves(u, "next", "are one person already", "Step 5, test", "sent an encrypted message to dan")
	m.reads("dan", heard(client), "the test message of your move")
	for _, l := range heard(client)() {
		if c := testCode.FindStringSubmatch(l); c != nil {
			client.say("!move " + c[1])
		}
	}
	m.reads("dan", heard(client), "came back encrypted")
	m.moves(u, "next", "invited you on Jabber to dev@rooms.localhost", "you have moved to")
	client.Expect(func(st string) bool {
		return strings.Contains(st, "<invite") && lab.Attr(st, "from") == "dev@rooms.localhost"
	}, "the room's invitation")
	client.JoinRoom("dev@rooms.localhost", mover)
}

// op gives the bot op, once it is there.
func (m *moving) op() {
	m.t.Helper()
	m.guardSays([]string{"status"}, "corp/#dev: NOT HELD")
	m.carl.Send("MODE #dev +o bridge")
	m.guardSays([]string{"status"}, "corp/#dev: held, ")
}

// write writes the configuration: so many are linked, so many of them with a key.
func (m *moving) write(linked, keyed int) {
	m.t.Helper()
	var people strings.Builder
	for i, name := range team[:linked] {
		if name == mover {
			continue // linked by !move
		}
		key := ""
		if i < keyed {
			key = fmt.Sprintf(", openpgp: [%q]", m.vars[name])
		}
		fmt.Fprintf(&people, "  %s: {jids: [%s@localhost], irc: {corp: {accounts: [%s]}}%s}\n", name, name, name, key)
	}
	date := func(days int) string { return m.begun.Add(time.Duration(days) * teamDay).Format(time.RFC3339) }
	m.config(`
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  dan: {jids: [dan@localhost], openpgp: ["${dan}"]}
` + people.String() + `
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [anna, ben, cleo, dan], rooms: [{room: dev@rooms.localhost, require: clear}]}
    announce: off
rooms:
  office: {irc: {network: corp, channel: "#dev"}, default: allow, dry_run: false, lock: {modes: +nt}}
migration:
  dev:
    dates: {encrypted-first: ` + date(10) + `, irc-readonly: ` + date(20) + `, farewell: ` + date(40) + `, closed: ` + date(50) + `}
    gates: {linked: 90%, verified: 80%, encrypted: 40%}
    to: "xmpp:dev@rooms.localhost?join"
    ignore: [carl]
safety: {link: open}
admin: {people: [anna], at_least: jid, socket: "${socket}"}
`)
}

// clock sets the bot's clock to so long after the beginning.
func (m *moving) clock(at time.Duration) { m.jump(at - time.Since(m.begun)) }

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

// talk has the three on Jabber say three lines each, which the straggler reads.
func (m *moving) talk(word string) {
	m.t.Helper()
	for i := range 3 {
		m.anna.Type(fmt.Sprintf("anna %s %d", word, i))
		m.ben.Type(fmt.Sprintf("ben %s %d", word, i))
		m.cleo.Say(botJID, fmt.Sprintf("cleo %s %d", word, i))
	}
	for _, who := range team[:3] {
		m.reads("jo", onIRC(m.users[straggler], channel), fmt.Sprintf("%s %s 2", who, word))
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

// A team of ten leaves IRC for Jabber, in fake time: a room is made of the channel, one of
// them is led to an account, a link and the room; then announced, held back by its gates,
// read-only with a straggler, farewell, closed, and one step back; nothing that is said
// gets lost on the way.
func TestTeamMovesOffIRC(t *testing.T) {
	t.Parallel()
	onServersWith(t, lab.Prosody{Invites: true}, func(t *testing.T, h *house, s *lab.XMPPServer) {
		m := newMoving(t, h, s)
		jo := m.users[straggler]

		t.Log("mirror: all talk, and are counted")
		for _, name := range team {
			m.users[name].Say(channel, "good morning from "+name)
		}
		for _, name := range team[1:] { // anna's own line is no news for her
			h.reads("anna", heard(m.anna), name, "good morning from "+name)
		}
		h.reads("ben", heard(m.ben), "anna", "good morning from anna")
		m.shows("dev: mirror", "4 of 10 who spoke on IRC lately")
		if plan := h.ok("migrate", "plan"); !hasAll([]string{"corp/#dev: MODE #dev +m", "corp/#dev: MODE #dev +i", "TOPIC #dev :This team has moved to xmpp:dev@rooms.localhost?join"})(plan) {
			t.Errorf("the plan\n%s", plan)
		}
		if strings.Contains(strings.Join(jo.Lines(), "\n"), " MODE #dev +m") {
			t.Error("a plan changed something")
		}

		t.Log("announced 7 days, a day and an hour before, over a kill")
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

		t.Log("the date comes, the gates are shut: nothing happens, and the admin is told")
		m.clock(19*teamDay + time.Hour/2)
		m.both(1, "In a day (", "irc-readonly: ")
		m.clock(20*teamDay - time.Hour/2)
		m.both(1, "minutes (", "irc-readonly: ")
		m.clock(20*teamDay + time.Minute)
		h.reads("anna", heard(m.anna), "Migration: Bridge dev does not become irc-readonly", "40 % (4 of 10)")
		if _, errs, code := h.try("migrate", "advance", "dev"); code != 1 || !hasAll([]string{"the gates are shut", "(4 of 10)", "migrate report"})(errs) {
			t.Errorf("advance with shut gates: %d %s", code, errs)
		}
		if _, errs, code := h.try("migrate", "advance", "dev", "closed"); code != 1 || !strings.Contains(errs, "cannot be skipped") {
			t.Errorf("a phase skipped: %d %s", code, errs)
		}
		m.shows("dev: encrypted-first")
		jo.Say(channel, "still to be heard")
		h.reads("anna", heard(m.anna), "jo", "still to be heard")

		t.Log("all but one are linked: people are told again, and then it happens")
		m.talk("moves")
		m.write(9, 8)
		h.ok("reload")
		m.shows("9 of 10 who spoke on IRC lately", "8 of 9 of these, with a verified key")
		m.both(2, "In a day (", "irc-readonly: ")
		m.clock(21*teamDay - time.Hour/2)
		m.both(2, "minutes (", "irc-readonly: ")
		m.clock(21*teamDay + time.Hour/2)
		m.both(1, "From now on: irc-readonly: ")

		t.Log("irc-readonly: the straggler reads, and does not write")
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
			if !hasAll([]string{"<b>irc-readonly</b>", "<td>jo</td>", "make or link a Jabber account: !move", "<polyline", "<rect"})(string(b)) {
				t.Errorf("the page\n%s", b)
			}
		}

		m.carl.Send("TOPIC #dev :what it always was")
		m.carl.Expect(" TOPIC #dev :what it always was")

		t.Log("a kill changes nothing")
		m.bot.Kill()
		m.bot = h.start()
		m.op()
		h.statusShows(", ready")
		m.shows("dev: irc-readonly since ")
		m.modes("ntm", "i")
		m.talk("goes on") // the kill may have taken the last counts

		t.Log("farewell, by an admin's order in chat")
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

		t.Log("closed: nobody comes in, and nothing is relayed there")
		h.ok("migrate", "advance", "dev")
		m.both(1, "From now on: closed: ")
		m.modes("ntmi", "")
		stranger := h.IRCUser(m.ircd, "stranger")
		stranger.Send("JOIN " + channel)
		stranger.Expect(" 473 stranger #dev ")
		m.anna.Type("among ourselves at last")
		h.reads("ben", heard(m.ben), "anna", "among ourselves at last")
		m.balanced()

		t.Log("one step back, and another: all is as it was")
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
