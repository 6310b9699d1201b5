//go:build e2e

package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// invitesIRC holds #finance for carl; guests may have themselves invited, by a key.
const invitesIRC = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
store: {path: store}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], otr: ["${alice}"], irc: {corp: {accounts: [aliceacct]}}, groups: [guests]}
  dora: {jids: [dora@localhost], openpgp: ["${dora}"], groups: [guests]}
  carl: {irc: {corp: {accounts: [carlacct]}}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, dora]}
    schemes: [openpgp, otr]
    announce: off
rooms:
  finance: {irc: {network: corp, channel: "#finance"}, default: deny, dry_run: false}
rules:
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [carl]}, effect: allow}
  - {id: ticket, rooms: [finance], do: [invite], who: {groups: [guests], at_least: key}, effect: allow, for: 8h}
`

var inviteCode = regexp.MustCompile(`\b([a-z2-7]{4}-){4}[a-z2-7]{4}\b`)

// answered says something to the bot and returns the first new line of it that holds all
// the parts.
func (h *house) answered(lines func() []string, say func(), parts ...string) string {
	h.t.Helper()
	n := len(lines())
	say()
	got := ""
	if !lab.Poll(wait, func() bool {
		now := lines()
		i := slices.IndexFunc(now[n:], hasAll(parts))
		if i >= 0 {
			got = now[n+i]
		}
		return i >= 0
	}) {
		h.t.Fatalf("never answered %q, but:\n%s", parts, strings.Join(lines()[n:], "\n"))
	}
	return got
}

// lastLine is the last line of an answer: what is to be sent back, or signed.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

// holds waits until the guard holds #finance and has shut its door.
func (h *house) holds(op *lab.IRCUser, n int) {
	h.t.Helper()
	h.botCame(op, n)
	op.Send("MODE #finance +o " + botName)
	h.guardSays([]string{"status"}, "corp/#finance: held, ")
}

// botCame waits until u sees the bot in #finance, in what came after the first n lines.
func (h *house) botCame(u *lab.IRCUser, n int) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool {
		return slices.ContainsFunc(u.Lines()[n:], func(l string) bool {
			return strings.HasPrefix(l, ":"+botName+"!") && strings.Contains(l, " JOIN ") && strings.Contains(l, "#finance")
		})
	}) {
		h.t.Fatalf("the bot did not join #finance:\n%s", strings.Join(u.Lines()[n:], "\n"))
	}
}

// shutOut waits until a channel is closed for u.
func (h *house) shutOut(u *lab.IRCUser, channel string) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool {
		n := len(u.Lines())
		u.Send("JOIN " + channel)
		lab.Poll(wait, func() bool {
			return slices.ContainsFunc(u.Lines()[n:], func(l string) bool {
				return strings.Contains(l, " 473 ") || strings.Contains(l, " KICK "+channel)
			})
		})
		return slices.ContainsFunc(u.Lines()[n:], func(l string) bool { return strings.Contains(l, " 473 ") })
	}) {
		h.t.Fatalf("%s stays open:\n%s", channel, strings.Join(u.Lines(), "\n"))
	}
}

// comesIn waits for an invitation, follows it, and is heard there.
func (h *house) comesIn(op, u *lab.IRCUser, nick string) {
	h.t.Helper()
	u.Expect(" INVITE " + nick)
	n := len(u.Lines())
	u.Join("#finance")
	h.guardSays([]string{"audit", "--who", nick}, "let in")
	u.Say("#finance", "hello from "+nick)
	op.Expect("hello from " + nick)
	if strings.Contains(strings.Join(u.Lines()[n:], "\n"), " KICK #finance "+nick) {
		h.t.Errorf("%s was invited, and put out", nick)
	}
}

// Scenario: alice asks in an OTR session of her verified key, by profanity, and her nick,
// logged in to her account, is invited. dora, who has no account, signs by gpg what the
// bot sends her, and her nick says a second code. All else is refused, and a kill of the
// bot between nonce and answer changes nothing.
func TestInviteOnProof(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	jump := h.withClock()
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	aliceKey := h.otrUser(prosody, "alice", "xmpp")
	dora := h.person(prosody, "dora", lab.Key{Created: time.Now().AddDate(0, 0, -1)})
	h.file("services", "sesame\n")
	for _, account := range []string{"bridgeacct", "carlacct", "aliceacct"} {
		ircd.Register(account, "sesame")
	}
	login := func(nick, account string) *lab.IRCUser {
		u := h.IRCUser(ircd, nick)
		u.Send("PRIVMSG NickServ :IDENTIFY " + account + " sesame")
		u.Expect(" 900 ")
		return u
	}
	carl, ally, dory := login("carl", "carlacct"), login("ally", "aliceacct"), h.IRCUser(ircd, "dory")
	carl.Join("#finance")
	h.config(invitesIRC)
	h.ok("check")
	bot := h.start()
	h.holds(carl, 0)
	h.shutOut(ally, "#finance")

	t.Log("alice, by profanity and OTR")
	prof := h.Profanity(prosody, lab.ProfanityUser{Name: "alice", OTR: aliceKey})
	alice := heard(prof)
	prof.Type("/msg " + botJID)
	prof.Expect("[OTR]")
	h.reads("alice", alice, "Encrypted bridge") // the bot has the session
	reply := lastLine(h.answered(alice, func() { prof.Type("invite corp/#finance ally") }, "answer here", "!invite "))
	h.answered(alice, func() { prof.Type(reply) }, "ally is invited to #finance on corp")
	h.comesIn(carl, ally, "ally")
	h.answered(alice, func() { prof.Type(reply) }, "used already")

	t.Log("dora, by gpg")
	scripted := h.scripted(prosody, dora)
	said := heard(scripted)
	h.reads("dora", said, "Encrypted bridge")
	sign := func(text string, options ...string) string {
		return dora.gpg.Run(text, append(options, "--clearsign")...)
	}
	refused := func(block string, parts ...string) {
		t.Helper()
		h.answered(said, func() { scripted.say(block) }, append(parts, "Not done")...)
	}
	h.answered(said, func() { scripted.say("!invite corp/#finance carl") }, "somebody else's")
	h.answered(said, func() { scripted.say("!invite corp/#finance nobody") }, "nobody has the nick")
	sentence := lastLine(h.answered(said, func() { scripted.say("!invite corp/#finance dory") }, "gpg --clearsign", "I ask bridge@localhost"))
	code := inviteCode.FindString(sentence)
	if !strings.Contains(sentence, "invite the nick dory (without an account) to #finance on corp: nonce "+code) || code == "" {
		t.Fatalf("to be signed: %q", sentence)
	}
	other := dora.gpg.NewKey(lab.Key{UID: "another <dora@localhost>"})
	refused(sign(sentence, "--local-user", other), "does not count")
	refused(sign(strings.Replace(sentence, code, "aaaa-aaaa-aaaa-aaaa-aaaa", 1), "--local-user", dora.fpr), "no code that I gave you")
	refused(sign("Dear bot. "+sentence, "--local-user", dora.fpr), "not the sentence")
	refused(sign(strings.Replace(sentence, "nick dory", "nick carl", 1), "--local-user", dora.fpr), "not the sentence")
	refused(strings.Replace(sign(sentence, "--local-user", dora.fpr), "#finance", "#board", 1), "does not count")
	for _, off := range []time.Duration{-time.Minute, time.Hour} {
		faked := time.Now().Add(off).UTC().Format("20060102T150405!")
		refused(sign(sentence, "--local-user", dora.fpr, "--faked-system-time", faked), "not within the time of its nonce")
	}

	t.Log("the bot is killed before the answer")
	n := len(carl.Lines())
	bot.Kill()
	bot = h.start()
	h.holds(carl, n)
	block := "Here it is:\n" + sign(sentence, "--local-user", dora.fpr) + "\nand give me op"
	second := inviteCode.FindString(h.answered(said, func() { scripted.say(block) }, "/msg bridge !invite"))
	if second == "" || second == code {
		t.Fatalf("the second code is %q", second)
	}
	mallory := h.IRCUser(ircd, "mallory")
	mallory.Send("PRIVMSG bridge :!invite " + second)
	mallory.Expect("another nick")
	h.reads("dora", said, "came from mallory!")
	dory.Send("PRIVMSG bridge :!invite " + second)
	h.reads("dora", said, "dory is invited to #finance on corp: join until")
	h.comesIn(carl, dory, "dory")
	refused(block, "used already")
	if strings.Contains(h.log(), code) || strings.Contains(h.log(), second) {
		t.Error("the log holds a nonce or a code")
	}

	t.Log("their time ends while nobody runs")
	n = len(carl.Lines())
	bot.Kill()
	jump(9 * time.Hour)
	h.start()
	h.holds(carl, n)
	h.sees(carl, n, ":bridge!", " KICK #finance ally")
	h.sees(carl, n, ":bridge!", " MODE #finance ", "-I", "R:aliceacct")
	h.shutOut(ally, "#finance")
}

// invitesMUC holds a Jabber room for nobody but carol; dora may have herself invited.
const invitesMUC = `
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
store: {path: store}
keyring: {paths: [keys/]}
people:
  dora: {jids: [dora@localhost], openpgp: ["${dora}"], groups: [guests]}
  carol: {jids: [carol@localhost]}
bridges:
  dev:
    xmpp: {account: bot, people: [dora], rooms: [{room: lobby@rooms.localhost, require: clear}]}
    announce: off
rooms:
  office: {xmpp: {account: bot, room: dev@rooms.localhost}, default: deny, dry_run: false}
rules:
  - {id: staff-in, rooms: [office], do: [join, speak], who: {people: [carol]}, effect: allow}
  - {id: ticket, rooms: [office], do: [invite], who: {groups: [guests], at_least: key}, effect: allow, for: 8h}
`

// Scenario: a membership that was given on proof ends by itself, on both servers, though
// the bot is killed meanwhile.
func TestInviteIntoMUCOnProof(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		jump := h.withClock()
		dora := h.person(s, "dora", lab.Key{})
		h.config(invitesMUC)
		bot := h.start()
		scripted := h.scripted(s, dora)
		said := heard(scripted)
		h.reads("dora", said, "Encrypted bridge")
		if !lab.Poll(wait, func() bool { return seat(scripted.XMPPUser, "dora") == "registration-required" }) {
			t.Fatal("the door stays open")
		}
		sentence := lastLine(h.answered(said, func() { scripted.say("!invite dev@rooms.localhost") }, "I ask bridge@localhost to let dora@localhost into dev@rooms.localhost"))
		h.answered(said, func() { scripted.say(dora.gpg.Run(sentence, "--local-user", dora.fpr, "--clearsign")) }, "dora@localhost is a member of dev@rooms.localhost until")
		comesTo(t, "dora", func() string { return seat(scripted.XMPPUser, "dora") }, "in")
		bot.Kill()
		h.start()
		h.guardShows("status", "dev@rooms.localhost: held")
		if got := seat(scripted.XMPPUser, "dora"); got != "in" {
			t.Errorf("after a kill dora is answered %q", got)
		}
		jump(9 * time.Hour)
		if !lab.Poll(wait, func() bool { return seat(scripted.XMPPUser, "dora") == "registration-required" }) {
			t.Error("the membership stays")
		}
		h.guardShows("audit", "invitation ends", "its time is over")
	})
}
