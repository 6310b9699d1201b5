//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// team is who talks in the channel at first: ten accounts of services. What becomes of
// each is said in TestTeamMovesOffIRC.
var team = []string{"anna", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ida", "jo"}

// straggler is the one who never gets further than an address.
const straggler = "jo"

// Of those who move, the first four go at once, the others when the gates hold back. An
// account at the Jabber server have those of whom nothing else is said.
var (
	firstWave  = []string{"anna", "ben", "cleo", "dan"}
	secondWave = []string{"eve", "fay", "gus", "hal"}
	newcomers  = map[string]bool{"ben": true, "dan": true, "gus": true}
)

// moving is a house with a team on its way off IRC.
type moving struct {
	*house
	t     *testing.T
	xmpp  *lab.XMPPServer
	ircd  *lab.IRCServer
	jump  func(time.Duration)
	begun time.Time
	off   time.Duration // how far the bot's clock is ahead
	bot   *lab.Proc
	carl  *lab.IRCUser // channel operator, and no member of the team
	users map[string]*lab.IRCUser
	anna  *lab.Profanity // who is admin; by OTR
	ben   *lab.Profanity // by OX
	cleo  *lab.Mcabber   // by XEP-0027
	annas []byte         // key of anna's client
	keys  map[string]*person
	mates []*mate // who has moved
}

const teamDay = 24 * time.Hour

// newMoving has all of the team on IRC, logged in. The configuration names people by their
// Jabber addresses, because who belongs to the team is an admin's word; no account of IRC
// and no key stands in it. Those with a GPG key gave its public part to an admin, who put it
// into the folder of keys, where it does not count for anybody yet.
func newMoving(t *testing.T, h *house, s *lab.XMPPServer) *moving {
	m := &moving{house: h, t: t, xmpp: s, begun: time.Now(), users: map[string]*lab.IRCUser{}, keys: map[string]*person{}}
	m.ircd = h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	h.vars["irc"], h.vars["xmpp"] = localhost(m.ircd.TLSAddr), localhost(s.Addr)
	m.jump = h.withClock()
	h.file("services", "sesame\n")
	m.ircd.Register("bridgeacct", "sesame")
	m.carl = h.IRCUser(m.ircd, "carl", channel)
	for i, u := range h.IRCCrowd(m.ircd, "w", len(team)) {
		u.Nick = team[i]
		u.Send("NICK " + u.Nick)
		u.Expect(" NICK ")
		u.Send("PRIVMSG NickServ :REGISTER sesame " + u.Nick + "@mail.example")
		m.users[u.Nick] = u
	}
	m.annas = h.otrKeyFile("anna@localhost", "xmpp", "anna")
	for _, name := range []string{"cleo", "dan", "eve", "fay", "gus", "hal"} {
		m.keys[name] = h.keyed(name, lab.Key{})
	}
	m.accounts()
	for _, u := range m.users {
		u.Expect(" 900 ")
		u.Join(channel)
	}
	m.write(firstWave...)
	h.ok("check")
	m.bot = h.start()
	m.op()
	h.statusShows(", ready")
	m.provisioned()
	return m
}

// accounts has the server's admin make accounts for those who shall have one, by the verb.
func (m *moving) accounts() {
	m.t.Helper()
	m.xmpp.AddUser("admin")
	m.file("admin-password", lab.Password+"\n")
	var list []string
	for _, name := range append(firstWave, secondWave...) {
		if !newcomers[name] {
			m.file(name+"@localhost", lab.Password+"\n")
			list = append(list, name+"@localhost")
		}
	}
	m.file("people", strings.Join(list, "\n"))
	if out := m.ok("register", "--list", filepath.Join(m.dir, "people"), "--as", "admin@localhost", "--as-password-file", filepath.Join(m.dir, "admin-password"),
		"--server", m.xmpp.Addr, "--ca-file", m.CA.File, "--password-dir", m.dir); strings.Count(out, "\tmade\t") != len(list) {
		m.t.Fatalf("not all accounts were made:\n%s", out)
	}
	for _, j := range list { // each has the bot as a contact
		m.xmpp.Befriend(botName, strings.TrimSuffix(j, "@localhost"))
	}
}

// provisioned has the bridge's room made from the channel.
func (m *moving) provisioned() {
	m.t.Helper()
	m.showsRoom(devRoom, "up")
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

// op gives the bot op, once it is there.
func (m *moving) op() {
	m.t.Helper()
	m.guardSays([]string{"status"}, "corp/#dev: NOT HELD")
	m.carl.Send("MODE #dev +o bridge")
	m.guardSays([]string{"status"}, "corp/#dev: held, ")
}

// write writes the configuration: these are in the bridge.
func (m *moving) write(names ...string) {
	m.t.Helper()
	var people strings.Builder
	for _, name := range team {
		group := ""
		if name == "cleo" || name == "fay" { // an admin has to agree
			group = ", groups: [staff]"
		}
		fmt.Fprintf(&people, "  %s: {jids: [%s@localhost]%s}\n", name, name, group)
	}
	date := func(days int) string { return m.begun.Add(time.Duration(days) * teamDay).Format(time.RFC3339) }
	m.config(`
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
` + people.String() + `
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [` + strings.Join(names, ", ") + `], rooms: [{room: dev@rooms.localhost, require: clear}]}
    require: {in: sealed, out: verified}
    schemes: [otr, ox, openpgp]
    announce: off
rooms:
  office: {irc: {network: corp, channel: "#dev"}, default: allow, dry_run: false, lock: {modes: +nt}}
migration:
  dev:
    dates: {encrypted-first: ` + date(10) + `, irc-readonly: ` + date(20) + `, farewell: ` + date(40) + `, closed: ` + date(50) + `}
    gates: {linked: 85%, verified: 80%, encrypted: 40%}
    to: "xmpp:dev@rooms.localhost?join"
    ignore: [carl]
safety: {link: open}
admin: {people: [anna], at_least: jid, socket: "${socket}"}
`)
}
