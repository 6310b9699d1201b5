//go:build e2e

package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// linking holds #finance for people of whom the configuration knows no account.
const linking = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], otr: ["${alice}"], groups: [staff]}
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
  carl: {irc: {corp: {accounts: [carlacct]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob]}
    require: {in: sealed, out: verified}
    schemes: [otr, openpgp]
    announce: off
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: deny, dry_run: false}
rules:
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [alice, bob, carl]}, effect: allow}
safety: {link: open, max_removals: {count: 20, share: 100%}}
`

var codeShown = regexp.MustCompile(`is ((?:[a-z2-7]{4}-){4}[a-z2-7]{4})`)

// linkHouse starts the servers, with accounts of services for some, and carl, who has
// founded #finance and made the bot operator.
func linkHouse(t *testing.T, accounts ...string) (h *house, ircd *lab.IRCServer, prosody *lab.XMPPServer) {
	t.Helper()
	h = newHouse(t)
	ircd, prosody = h.InspIRCd(lab.InspIRCd{Fast: true, Services: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	h.file("services", "sesame\n")
	for _, account := range append([]string{"bridgeacct", "carlacct"}, accounts...) {
		ircd.Register(account, "sesame")
	}
	return h, ircd, prosody
}

// loggedIn is somebody on IRC who is logged in to an account.
func (h *house) loggedIn(ircd *lab.IRCServer, nick, account string) *lab.IRCUser {
	h.t.Helper()
	u := h.IRCUser(ircd, nick)
	u.Send("PRIVMSG NickServ :IDENTIFY " + account + " sesame")
	u.Expect(" 900 ")
	return u
}

// holdFinance has carl found #finance and make the bot operator.
func (h *house) holdFinance(carl *lab.IRCUser) {
	h.t.Helper()
	carl.Expect(":bridge!bridge@127.0.0.1 JOIN :#finance")
	carl.Send("MODE #finance +o bridge")
	h.guardSays([]string{"status"}, "corp/#finance: held, ")
}

// asks has somebody on IRC ask the bot alone, and waits for an answer with that part.
func (h *house) asks(u *lab.IRCUser, words, want string) string {
	h.t.Helper()
	n := len(u.Lines())
	u.Send("PRIVMSG bridge :" + words)
	answer := ""
	if !lab.Poll(wait, func() bool {
		i := slices.IndexFunc(u.Lines()[n:], func(l string) bool { return strings.HasPrefix(l, ":bridge!") && strings.Contains(l, want) })
		if i >= 0 {
			answer = u.Lines()[n+i]
		}
		return i >= 0
	}) {
		h.t.Fatalf("to %q the bot never answers %q, but\n%s", words, want, strings.Join(u.Lines()[n:], "\n"))
	}
	return answer
}

// shown asks to be linked, and returns the code that the account is shown.
func (h *house) shown(u *lab.IRCUser, whom string) string {
	h.t.Helper()
	m := codeShown.FindStringSubmatch(h.asks(u, "!link "+whom, "The code for your account"))
	if m == nil {
		h.t.Fatal("no code is shown")
	}
	return m[1]
}

// joinsFinance tries to join until the guard has opened the door for the nick, or is
// turned away.
func (h *house) joinsFinance(u *lab.IRCUser, nick string, in bool) {
	h.t.Helper()
	all := len(u.Lines())
	if !lab.Poll(wait, func() bool {
		n := len(u.Lines())
		u.Send("JOIN #finance")
		came, gone := false, false
		lab.Poll(wait, func() bool {
			for _, l := range u.Lines()[n:] {
				came = came || strings.Contains(l, " 366 "+nick+" #finance ")
				gone = gone || strings.Contains(l, " 473 "+nick+" #finance ") || strings.Contains(l, " KICK #finance "+nick+" ")
			}
			return gone || came && in
		})
		return gone != in
	}) {
		h.t.Fatalf("%s: in %v never came:\n%s", nick, in, strings.Join(u.Lines()[all:], "\n"))
	}
}

// Scenario: accounts of IRC are linked to people who prove it on Jabber; the guard and
// the relay know them then, over a kill of the bot, until they are unlinked or the
// account is another's. Who proves too little is not linked.
func TestLinkedAccounts(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := linkHouse(t, "aliceacct", "bobacct", "eveacct")
	aliceKey := h.otrUser(prosody, "alice", "xmpp")
	bobHimself := h.person(prosody, "bob", lab.Key{})
	h.config(linking)
	carl := h.loggedIn(ircd, "carl", "carlacct")
	carl.Join("#finance")
	carl.Join(channel)
	bot := h.start()
	h.holdFinance(carl)
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	bobbed := h.scripted(prosody, bobHimself)
	alice, bob := heard(prof), heard(bobbed)
	h.reads("alice", alice, "Encrypted bridge")
	prof.Type("/msg " + botJID)

	t.Log("a nick without an account is nobody, whatever it is called")
	nobody := h.IRCUser(ircd, "alice")
	h.asks(nobody, "!link alice", "not logged in to a services account")
	nobody.Quit()

	t.Log("the account is shown a code, and alice sends it; an admin agrees")
	al, eve := h.loggedIn(ircd, "al", "aliceacct"), h.loggedIn(ircd, "eve", "eveacct")
	h.joinsFinance(al, "al", false)
	code := h.shown(al, "alice@localhost")
	h.reads("alice", alice, "IRC account aliceacct on corp wants to act as you")
	bobbed.say("!link " + code)
	h.reads("bob", bob, "Not done", "proves too little")
	prof.Type("!link aaaa-bbbb-cccc-dddd-eeee")
	h.reads("alice", alice, "Not done: I know no such code of yours")
	prof.Type("!link " + code)
	h.reads("alice", alice, "You have proven that the account aliceacct on corp is yours", "An admin has to agree")
	h.joinsFinance(al, "al", false)
	h.guardSays([]string{"links"}, "alice: corp/aliceacct, proven by key "+h.vars["alice"]+", waits for an admin")
	h.ok("guard", "link", "alice", "corp/aliceacct")
	h.reads("alice", alice, "An admin agreed")
	h.joinsFinance(al, "al", true)

	t.Log("what the account says counts as alice's: the others hear it, and she does not hear herself")
	al.Join(channel)
	al.Say(channel, "said on IRC")
	h.reads("bob", bob, "al", "said on IRC")
	carl.Say(channel, "said by carl")
	h.reads("alice", alice, "said by carl")
	if slices.ContainsFunc(alice(), func(s string) bool { return strings.Contains(s, "said on IRC") }) {
		t.Error("alice hears herself")
	}

	t.Log("eve asks to be bob, who proves nothing by what he does not sign")
	code = h.shown(eve, "bob")
	h.reads("bob", bob, "IRC account eveacct on corp wants to act as you")
	bobbed.say("!link " + code)
	h.until("two refusals", func() bool {
		return len(slices.DeleteFunc(bob(), func(s string) bool { return !strings.Contains(s, "proves too little") })) == 2
	})
	prof.Type("!link " + code)
	h.until("the refusal", func() bool {
		return len(slices.DeleteFunc(alice(), func(s string) bool { return !strings.Contains(s, "no such code of yours") })) == 2
	})
	h.joinsFinance(eve, "eve", false)

	t.Log("a kill changes nothing; who has dropped the account and registered it anew is another")
	n := len(carl.Lines())
	bot.Kill()
	bot = h.start()
	h.joins(carl, n)
	carl.Send("MODE #finance +o bridge")
	h.guardSays([]string{"status"}, "corp/#finance: held, ")
	h.guardSays([]string{"links"}, "alice: corp/aliceacct since ")
	al.Send("PART #finance")
	h.joinsFinance(al, "al", true)
	if strings.Contains(strings.Join(carl.Lines()[n:], "\n"), " KICK #finance al ") {
		t.Error("al was kicked as the bot came back")
	}
	al.Send("PRIVMSG NickServ :DROP aliceacct sesame")
	asked := al.Expect("DROP aliceacct sesame ")
	_, key, _ := strings.Cut(asked, "DROP aliceacct sesame ")
	al.Send("PRIVMSG NickServ :DROP aliceacct sesame " + strings.Trim(strings.Fields(key)[0], "\x02"))
	al.Expect("has been dropped")
	ircd.Register("aliceacct", "sesame")
	bot.Kill()
	bot = h.start() // it asks NickServ soon after it started
	h.guardSays([]string{"links"}, "no account is linked")
	h.guardSays([]string{"audit", "--who", "alice"}, "registered anew")
	h.stop(bot)

	t.Log("nothing is linked where that is off")
	h.config(strings.NewReplacer("link: open", "link: off", "people: [alice, bob, carl]", "people: [carl]").Replace(linking))
	n = len(carl.Lines())
	h.start()
	h.joins(carl, n)
	h.asks(eve, "!link bob", "accounts are not linked here")
}

// leaving holds a channel and a Jabber room, without keeping affiliations.
const leaving = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  bob: {jids: [bob@localhost], openpgp: ["${bob}"]}
  dave: {jids: [dave@localhost], irc: {corp: {accounts: [daveacct]}}}
  carl: {irc: {corp: {accounts: [carlacct]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [bob]}
    require: {in: sealed, out: verified}
    announce: off
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, xmpp: {account: bot, room: dev@rooms.localhost}, default: deny, dry_run: false}
rules:
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [bob, dave, carl]}, effect: allow}
safety: {link: open, protected: [carl], max_removals: {count: 20, share: 100%}}
`

// Scenario: bob, whose client signs nothing, links an account by a clear-signed sentence.
// Then his key is revoked while the bot runs, and dave is taken out of the
// configuration: both are out of the channel and the Jabber room, and stay out; links end;
// the audit has one line for each.
func TestOffBoarding(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := linkHouse(t, "bobacct", "daveacct", "spareacct")
	prosody.AddUser("dave")
	bob := h.person(prosody, "bob", lab.Key{})
	eve := h.GPG("eve")
	eveKey := eve.NewKey(lab.Key{UID: "xmpp:bob@localhost"})
	h.config(leaving)
	carl := h.loggedIn(ircd, "carl", "carlacct")
	carl.Join("#finance")
	h.start()
	h.holdFinance(carl)
	client, ba := h.scripted(prosody, bob), h.loggedIn(ircd, "ba", "bobacct")

	t.Log("the sentence that is clear-signed counts: whole, by itself, by the right key")
	code := h.shown(ba, "bob")
	h.reads("bob", heard(client), "IRC account bobacct on corp wants to act as you")
	said := heard(client)()
	_, sentence, _ := strings.Cut(said[len(said)-1], "echo '")
	sentence, _, ok := strings.Cut(sentence, "'")
	sentence = strings.Replace(sentence, "CODE", code, 1)
	if !ok || !strings.Contains(sentence, code) {
		t.Fatalf("no sentence in %q", said)
	}
	client.say(eve.Run(sentence+"\n", "--local-user", eveKey, "--clearsign"))
	h.reads("bob", heard(client), "Not done")
	client.say(bob.gpg.Run(sentence+"\nAnd all that eve says.\n", "--local-user", bob.fpr, "--clearsign"))
	h.reads("bob", heard(client), "Not done", "nothing but the sentence")
	client.say("I sign this:\n" + bob.gpg.Run(sentence+"\n", "--local-user", bob.fpr, "--clearsign"))
	h.reads("bob", heard(client), "Done: what the IRC account bobacct on corp does counts as yours")
	h.guardSays([]string{"links"}, "proven by key "+bob.fpr)
	h.joinsFinance(ba, "ba", true)

	t.Log("both are in both rooms")
	da := h.loggedIn(ircd, "da", "daveacct")
	h.joinsFinance(da, "da", true)
	dave := h.XMPPUser(prosody, "dave", "")
	dave.Presence("")
	for nick, u := range map[string]*lab.XMPPUser{"bob": client.XMPPUser, "dave": dave} {
		if !lab.Poll(wait, func() bool { return seat(u, nick) == "in" }) {
			t.Fatalf("%s does not come into the room", nick)
		}
	}

	t.Log("bob's key is revoked")
	shown := h.shown(h.loggedIn(ircd, "spare", "spareacct"), "bob") // nothing may come of it
	bob.gpg.Revoke(bob.fpr)
	h.publish(bob)
	ba.Expect(" KICK #finance ba ")
	out(client.XMPPUser, "bob", "")
	if !lab.Poll(wait, func() bool { return seat(client.XMPPUser, "bob") == "registration-required" }) {
		t.Error("bob is still a member of the room")
	}
	h.joinsFinance(ba, "ba", false)
	h.offBoardedOnce("bob", "every key was revoked or expired", "1 link (corp/bobacct)", "1 open proof")
	h.guardSays([]string{"links"}, "no account is linked")
	client.say("!link " + shown)

	t.Log("dave is taken out of the configuration")
	h.config(strings.NewReplacer("  dave: {jids: [dave@localhost], irc: {corp: {accounts: [daveacct]}}}\n", "", "[bob, dave, carl]", "[bob, carl]").Replace(leaving))
	h.ok("reload")
	da.Expect(" KICK #finance da ")
	out(dave, "dave", "")
	if !lab.Poll(wait, func() bool { return seat(dave, "dave") == "registration-required" }) {
		t.Error("dave is still a member of the room")
	}
	h.joinsFinance(da, "da", false)
	h.offBoardedOnce("dave", "taken out of the configuration", "1 JID's right to a Jabber room")
	if strings.Contains(strings.Join(carl.Lines(), "\n"), " KICK #finance carl ") {
		t.Error("carl was kicked")
	}
}

// offBoardedOnce looks for the one line of the audit about somebody who left.
func (h *house) offBoardedOnce(who string, parts ...string) {
	h.t.Helper()
	h.guardSays([]string{"audit", "--who", who}, "off-boarding")
	var lines []string
	for l := range strings.Lines(h.ok("guard", "audit", "--who", who)) {
		if strings.Contains(l, "off-boarding") {
			lines = append(lines, l)
		}
	}
	if len(lines) != 1 || !hasAll(parts)(lines[0]) {
		h.t.Errorf("off-boarding of %s: %q, want one line with %q", who, lines, parts)
	}
}
