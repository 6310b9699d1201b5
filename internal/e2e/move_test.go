//go:build e2e

package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// movingConfig has a bridge whose people move, with a room that they are invited to.
const movingConfig = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
${people}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [${names}], rooms: [{room: dev@rooms.localhost, nick: bridge, require: clear}]}
    require: {in: sealed, out: verified}
    schemes: [otr, openpgp]
    announce: off
rooms:
  dev: {irc: {network: corp, channel: "#dev"}, default: allow}
safety: {link: open}
migration:
  dev: {to: dev@rooms.localhost${texts}}
`

// moveHouse starts InspIRCd with accounts of services, and ops a channel.
func moveHouse(t *testing.T, people, texts string, names []string, accounts ...string) (*house, *lab.IRCServer) {
	t.Helper()
	h := newHouse(t)
	ircd := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	for _, a := range append([]string{"bridgeacct"}, accounts...) {
		ircd.Register(a, "sesame")
	}
	h.file("services", "sesame\n")
	h.vars["irc"], h.vars["people"], h.vars["texts"], h.vars["names"] = localhost(ircd.TLSAddr), people, texts, strings.Join(names, ", ")
	return h, ircd
}

// showsRoom waits until the line of a room in the status has a word: its state, or the
// scheme that reaches somebody who is there.
func (h *house) showsRoom(room, word string) {
	h.t.Helper()
	line := regexp.MustCompile(`(?m)/` + regexp.QuoteMeta(room) + ` +(\w+ +)?` + word + ` `)
	h.until(room+" "+word, func() bool {
		out, _, code := h.try("status")
		return code == 0 && line.MatchString(out)
	})
}

// moves has somebody take one step of !move: each of want is among what the bot says
// then.
func (h *house) moves(u *lab.IRCUser, words string, want ...string) string {
	h.t.Helper()
	n := len(u.Lines())
	u.Send("PRIVMSG bridge :" + words)
	said := ""
	if !lab.Poll(wait, func() bool {
		var lines []string
		for _, l := range u.Lines()[n:] {
			if _, text, ok := strings.Cut(l, " NOTICE "+u.Nick+" :"); ok && strings.HasPrefix(l, ":bridge!") {
				lines = append(lines, text)
			}
		}
		said = strings.Join(lines, " ") // long lines come in pieces
		return hasAll(want)(strings.ReplaceAll(said, "  ", " "))
	}) {
		h.t.Fatalf("to %q the bot says\n%s\nand not %q", words, said, want)
	}
	return said
}

var (
	invitationURI = regexp.MustCompile(`xmpp:bridge@localhost\?roster;preauth=[^ ;]+;ibr=y`)
	linkCode      = regexp.MustCompile(`!link ([a-z2-7-]{20,})`)
	testCode      = regexp.MustCompile(`!move ([A-Z2-7]{8})`)
)

// TestMoveWithInvitation: somebody whose Jabber account does not exist yet goes all the
// way on Prosody: invitation, OTR with profanity, link, test message, room; with a kill
// in the middle. A nick without an account, a second invitation, somebody who claims to
// be another, and a foreign server are refused.
func TestMoveWithInvitation(t *testing.T) {
	t.Parallel()
	h, ircd := moveHouse(t, "  alice: {jids: [alice@localhost], otr: [\"${alice}\"]}", "", []string{"alice"}, "aliceacct", "eveacct")
	prosody := h.Prosody(lab.Prosody{Invites: true})
	h.vars["xmpp"] = localhost(prosody.Addr)
	prosody.AddUser(botName)
	aliceKey := h.otrKeyFile("alice@localhost", "xmpp", "alice")
	h.vars["people"] = strings.ReplaceAll(h.vars["people"], "${alice}", h.vars["alice"])
	h.config(movingConfig)
	h.ok("check")
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	carl.Expect(":bridge!")
	h.showsRoom("dev@rooms.localhost", "up")

	t.Log("a nick is nobody; who is in no such channel learns nothing")
	h.moves(carl, "!move", "services accounts only")
	al, eve := h.loggedIn(ircd, "al", "aliceacct"), h.loggedIn(ircd, "eve", "eveacct")
	h.moves(al, "!move", "no move under way")
	al.Join(channel)
	eve.Join(channel)

	t.Log("account: a foreign server is refused, an invitation is given once a day")
	h.moves(al, "!move", "Hello aliceacct!", "Step 1, account")
	h.moves(al, "al@elsewhere.example", "elsewhere.example is another server")
	link := invitationURI.FindString(h.moves(al, "2", "Here is your invitation", "for you alone"))
	if again := invitationURI.FindString(h.moves(al, "2", "Here is your invitation")); link == "" || again != link {
		t.Fatalf("invitations %q and %q", link, again)
	}
	h.moves(al, "!move restart", "Step 1, account")
	h.moves(al, "2", "may not give you another", "had one already today")
	h.file("alice-password", lab.Password+"\n")
	h.ok("register", "alice@localhost", "--server", prosody.Addr, "--ca-file", h.CA.File, "--invitation", link, "--password-file", filepath.Join(h.dir, "alice-password"))
	if _, said, code := h.try("register", "eve@localhost", "--server", prosody.Addr, "--ca-file", h.CA.File, "--invitation", link, "--password-dir", h.dir); code == 0 || !strings.Contains(said, "used up") {
		t.Errorf("the invitation makes a second account: %s", said)
	}

	t.Log("client and key; the bot is killed in between")
	h.moves(al, "I am alice@localhost now", "Noted: alice@localhost", "Step 2, client")
	h.moves(al, "profanity", "Step 3, key", "1 OTR, 2 OpenPGP")
	h.moves(al, "1", "/otr policy always bridge@localhost", "History off: /logging chat off")
	n := len(carl.Lines())
	bot.Kill()
	h.start()
	h.joins(carl, n)
	h.showsRoom("dev@rooms.localhost", "up")
	h.moves(al, "!move", "Welcome back", "/otr policy always bridge@localhost")

	t.Log("link: the person proves it in the encrypted chat; eve does not")
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	alice := heard(prof)
	h.reads("alice", alice, "Encrypted bridge")
	prof.Type("/msg " + botJID)
	h.moves(eve, "!move", "Step 1, account")
	h.moves(eve, "alice@localhost", "Step 2, client")
	h.moves(eve, "5", "Pidgin")
	h.moves(eve, "next", "Step 4, link", "!link")
	h.moves(eve, "next", "not proven yet")
	m := linkCode.FindStringSubmatch(h.moves(al, "next", "Step 4, link", "good until"))
	if m == nil {
		t.Fatal("no code is shown")
	}
	h.moves(al, "next", "not proven yet")
	prof.Type("!link " + m[1])
	h.reads("alice", alice, "aliceacct", "counts as yours")
	h.moves(al, "next", "are one person already", "Step 5, test", "sent an encrypted message to alice")

	t.Log("test: sealed both ways")
	h.reads("alice", alice, "the test message of your move")
	i := slices.IndexFunc(alice(), func(s string) bool { return testCode.MatchString(s) })
	code := testCode.FindStringSubmatch(alice()[i])[1]
	h.moves(al, "next", "not come back yet")
	prof.Type("!move WRONGONE")
	h.reads("alice", alice, "not the code of the last test message")
	prof.Type("!move " + code)
	h.reads("alice", alice, "came back encrypted")
	al.Expect("your message came back, encrypted")

	t.Log("rooms: she is invited, directly, and that is all")
	h.moves(al, "next", "invited you on Jabber to dev@rooms.localhost", "you have moved to dev@rooms.localhost")
	h.until("the invitation", func() bool {
		return slices.ContainsFunc(prosody.Stanzas(), func(st lab.Stanza) bool {
			return strings.Contains(st.XML, "jabber:x:conference") && strings.Contains(st.XML, "dev@rooms.localhost") && !strings.Contains(st.XML, "<body")
		})
	})
	al.Say(channel, "said on IRC by alice")
	h.moves(al, "!move stop", "do not count you any more")
	for _, l := range al.Lines() {
		if strings.Contains(l, lab.Password) || strings.Contains(l, code) {
			t.Errorf("a secret went over IRC: %s", l)
		}
	}
	sealed := 0
	for _, st := range prosody.Stanzas() {
		if body, ok := lab.Child(st.XML, "body"); ok && lab.Attr(st.XML, "type") != "groupchat" {
			if sealed++; !strings.HasPrefix(body, "?OTR") {
				t.Errorf("a body passed the server: %s", st.XML)
			}
		}
		if strings.Contains(st.XML, code) {
			t.Errorf("the code passed the server in clear: %s", st.XML)
		}
	}
	if sealed == 0 {
		t.Error("nothing was said in the chat")
	}
}

// TestMoveInGerman: on ejabberd, which gives no invitations and lets everybody make an
// account; somebody whose IRC account the configuration names, with XEP-0027; the texts
// are edited, and a room for members alone invites by itself. What is wrong with texts
// has its line.
func TestMoveInGerman(t *testing.T) {
	t.Parallel()
	h, ircd := moveHouse(t, "  bob: {jids: [bob@localhost], openpgp: [\"${bob}\"], irc: {corp: {accounts: [bobacct]}}}",
		", language: deutsch, texts: texts.yaml", []string{"bob"}, "bobacct")
	ejabberd := h.Ejabberd(lab.Ejabberd{})
	h.vars["xmpp"] = localhost(ejabberd.Addr)
	ejabberd.AddUser(botName)
	keys := h.keyed("bob", lab.Key{})
	h.vars["people"] = strings.ReplaceAll(h.vars["people"], "${bob}", h.vars["bob"])
	texts := h.ok("migrate", "texts")
	h.file("texts.yaml", strings.Replace(texts, "  jid_noted: \"Notiert", "  jid_notet: \"Notiert", 1))
	h.config(movingConfig)
	if out, errOut, code := h.try("check"); code != 2 || !regexp.MustCompile(`texts\.yaml:\d+: .*deutsch lacks jid_noted`).MatchString(out+errOut) || !strings.Contains(out+errOut, `unknown key "jid_notet"`) {
		t.Errorf("check ends with %d:\n%s%s", code, out, errOut)
	}
	h.file("texts.yaml", strings.Replace(texts, "Das ist alles:", "Das war der ganze Umzug:", 1))
	h.ok("check")
	owner := h.memberRoom(ejabberd, "dev@rooms.localhost")
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	h.showsRoom("dev@rooms.localhost", "up")
	owner.Send("<iq type='set' id='own' to='dev@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='owner' jid='" + botJID + "'/></query></iq>")
	owner.Expect(func(st string) bool { return lab.Attr(st, "id") == "own" && lab.Attr(st, "type") == "result" }, "ownership for the bot")

	bo := h.loggedIn(ircd, "bo", "bobacct")
	bo.Join(channel)
	h.moves(bo, "!move", "Hallo bobacct!", "Schritt 1, Konto. Du bist hier bob, mit der Jabber-Adresse bob@localhost")
	h.moves(bo, "alice@localhost", "alice@localhost haben die Admins nicht als deine notiert")
	h.moves(bo, "neu", "localhost kannst du selbst ein Konto anlegen")
	h.file("bob-password", lab.Password+"\n")
	h.ok("register", "bob@localhost", "--server", ejabberd.Addr, "--ca-file", h.CA.File, "--password-file", filepath.Join(h.dir, "bob-password"))
	h.moves(bo, "bob@localhost", "Notiert", "Schritt 2, Programm")
	h.moves(bo, "!move english", "I speak English", "Step 2, client")
	h.moves(bo, "!move deutsch", "Schritt 2, Programm")
	h.moves(bo, "1", "Schritt 3, Schlüssel", "Psi")
	bobbed := h.scripted(ejabberd, keys)
	bobbed.befriends()
	h.showsRoom("bob", "openpgp")
	h.moves(bo, "weiter", "schon eine Person", "Schritt 5, Probe", "bob auf Jabber eine verschlüsselte Nachricht")
	bob := heard(bobbed)
	h.reads("bob", bob, "die Probe deines Umzugs")
	i := slices.IndexFunc(bob(), func(s string) bool { return testCode.MatchString(s) })
	bobbed.say("!move " + testCode.FindStringSubmatch(bob()[i])[1])
	h.reads("bob", bob, "kam verschlüsselt zurück")
	h.moves(bo, "weiter", "eingeladen nach dev@rooms.localhost", "Das war der ganze Umzug:")
	h.until("the invitation by the room", func() bool {
		return slices.ContainsFunc(bobbed.Stanzas(), func(st string) bool {
			return strings.Contains(st, "dev@rooms.localhost") && strings.Contains(st, "<invite") && !strings.HasPrefix(lab.Attr(st, "from"), botJID)
		})
	})
	bobbed.JoinRoom("dev@rooms.localhost", "bob")
}

// memberRoom makes a room for members alone, of which the bot is one.
func (h *house) memberRoom(s *lab.XMPPServer, room string) *lab.XMPPUser {
	h.t.Helper()
	s.AddUser("owner")
	u := h.XMPPUser(s, "owner", "")
	u.JoinRoom(room, "owner")
	const ns = "http://jabber.org/protocol/muc#"
	u.Send("<iq type='set' id='conf' to='" + room + "'><query xmlns='" + ns + "owner'><x xmlns='jabber:x:data' type='submit'>" +
		"<field var='FORM_TYPE'><value>" + ns + "roomconfig</value></field><field var='muc#roomconfig_membersonly'><value>1</value></field>" +
		"<field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query></iq>")
	u.Expect(func(st string) bool { return lab.Attr(st, "id") == "conf" && lab.Attr(st, "type") == "result" }, "the configuration")
	u.Send("<iq type='set' id='member' to='" + room + "'><query xmlns='" + ns + "admin'><item affiliation='member' jid='" + botJID + "'/></query></iq>")
	u.Expect(func(st string) bool { return lab.Attr(st, "id") == "member" && lab.Attr(st, "type") == "result" }, "membership for the bot")
	return u
}
