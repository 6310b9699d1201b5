//go:build e2e

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// company is an office whose staff are those whose key the company's key certified, with
// a channel and a Jabber room, and a channel into which goes only what is signed.
const company = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: {mechanism: plain, account: bridgeacct, password_file: services}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
store: {path: store}
keyring: {paths: [keys/], authority: "${company}"}
people:
  alice: {jids: [alice@localhost]}
  bob: {jids: [bob@localhost], openpgp: ["${bob}"], irc: {corp: {accounts: [bobacct]}}}
  carl: {irc: {corp: {accounts: [carlacct]}}}
groups:
  staff: {keyring: {domain: localhost}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}, {network: corp, channel: "#finance"}]
    xmpp: {account: bot, people: [alice, bob], rooms: [{room: dev@rooms.localhost, require: clear}]}
    require: {in: sealed, out: verified}
    schemes: [ox, openpgp]
    announce: off
rooms:
  office:
    irc: {network: corp, channel: "#dev"}
    xmpp: {account: bot, room: dev@rooms.localhost}
    default: deny
    flood: {repeats: {count: 3, per: 1h}, calm: 1h}
    dry_run: false
  finance: {irc: {network: corp, channel: "#finance"}, default: deny, dry_run: false}
rules:
  - {id: staff-in, rooms: [office], do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: members, rooms: [finance], do: [join, speak], who: {people: [carl]}, effect: allow}
  - {id: staff-talk, do: relay-out, who: {groups: [staff]}, effect: allow}
  - {id: signed-only, rooms: [finance], do: [relay-in, relay-out], if: {below: signed}, effect: deny, reason: "sign what you write to #finance"}
  - {id: calm-down, rooms: [office], do: [relay-in, relay-out], if: {flood: [repeats]}, effect: deny, reason: "say it once"}
  - {id: ticket, rooms: [finance], do: invite, who: {groups: [staff], at_least: key}, effect: allow, for: 8h}
safety: {link: open, protected: [carl], max_removals: {count: 20, share: 100%}}
`

// companyOffice is that office with all who are in it.
type companyOffice struct {
	*house
	ircd           *lab.IRCServer
	ca             *lab.GPG
	caKey          string
	alicia, bobby  *person
	alice, bob     *scripted     // their encrypted chats
	inMUC, bobMUC  *lab.XMPPUser // them in the Jabber room
	carl, al, bobs *lab.IRCUser  // al is alice's nick
}

// certify has the company's key sign a person's, or take that back, and publishes it.
func (o *companyOffice) certify(p *person, revoke bool) {
	o.t.Helper()
	if revoke {
		o.ca.Run("", "--quick-revoke-sig", p.fpr, o.caKey)
	} else {
		o.ca.Import(p.gpg.Export(p.fpr))
		o.ca.Run("", "--quick-sign-key", p.fpr)
	}
	o.ca.WriteExport(filepath.Join(o.dir, "keys", p.name+".asc"), p.fpr)
}

func newCompanyOffice(t *testing.T, h *house, s *lab.XMPPServer) (o *companyOffice, jump func(time.Duration)) {
	t.Helper()
	jump = h.withClock()
	ircd := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	h.vars["irc"] = localhost(ircd.TLSAddr)
	h.file("services", sesame+"\n")
	for _, account := range []string{"bridgeacct", "carlacct", "aliceacct", "bobacct"} {
		ircd.Register(account, sesame)
	}
	o = &companyOffice{house: h, ircd: ircd, ca: h.GPG("company")}
	o.caKey = o.ca.NewKey(lab.Key{UID: "The Company <keys@localhost>"})
	o.ca.WriteExport(filepath.Join(h.dir, "keys", "company.asc"), o.caKey)
	h.vars["company"] = o.caKey
	o.alicia, o.bobby = h.person(s, "alice", lab.Key{Expire: "seconds=1800"}), h.person(s, "bob", lab.Key{})
	o.certify(o.alicia, false)
	h.config(company)
	o.carl, o.al, o.bobs = h.identified(ircd, "carl", "carlacct"), h.identified(ircd, "al", "aliceacct"), h.identified(ircd, "bobs", "bobacct")
	o.carl.Join(channel)
	o.carl.Join("#finance")
	h.start()
	for _, c := range []string{channel, "#finance"} {
		o.carl.Expect(":bridge!bridge@127.0.0.1 JOIN :" + c)
		o.carl.Send("MODE " + c + " +o bridge")
	}
	h.guardShows("status", "corp/#dev: held", "corp/#finance: held", "dev@rooms.localhost: held")
	o.alice, o.bob = h.scripted(s, o.alicia), h.scripted(s, o.bobby)
	o.inMUC, o.bobMUC = h.XMPPUser(s, "alice", "muc"), h.XMPPUser(s, "bob", "muc")
	return o, jump
}

// hears waits until carl has heard a line in a channel.
func (o *companyOffice) hears(channel, text string) {
	o.t.Helper()
	o.reads("carl in "+channel, onIRC(o.carl, channel), text)
}

// unheard fails if carl has heard a line in a channel.
func (o *companyOffice) unheard(channel, text string) {
	o.t.Helper()
	if slices.ContainsFunc(onIRC(o.carl, channel)(), hasAll([]string{text})) {
		o.t.Errorf("%q was relayed to %s", text, channel)
	}
}

// inRoom says a line in the Jabber room.
func inRoom(u *lab.XMPPUser, text string) {
	u.Send("<message type='groupchat' to='" + devRoom + "'><body>" + text + "</body></message>")
}

// Scenario: an office of a company. Staff are those whose key the company's key certified:
// they come in on both networks, are relayed, link an account of IRC and have themselves
// invited by what they sign in OX; what is relayed goes by how it is protected, by group, and by
// whether somebody floods. Who is certified meanwhile comes in; whose certification is revoked, and
// whose key expires, is out everywhere.
func TestGuardedCompany(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		o, jump := newCompanyOffice(t, h, s)
		t.Log("the doors")
		comesTo(t, "alice at the MUC's door", func() string { return seat(o.inMUC, "alice") }, "in")
		comesTo(t, "bob at the MUC's door", func() string { return seat(o.bobMUC, "bob") }, "registration-required")
		h.doorSays(o.bobs, channel, "473")
		h.doorSays(o.al, channel, "473")
		o.links(t)
		o.relays(t)
		o.invites(t)
		o.simulates(t)
		o.floods(t)
		o.certified(t)
		o.expires(t, jump)
	})
}

// links has alice link an account by what she signs in OX; sealed alone proves nothing.
func (o *companyOffice) links(t *testing.T) {
	t.Log("a link, by OX")
	said := heard(o.alice)
	code := o.shown(o.al, "alice")
	o.reads("alice", said, "IRC account aliceacct on corp wants to act as you")
	o.answered(said, func() { o.alice.say("!link " + code) }, "Not done", "proves too little")
	o.answered(said, func() { o.alice.sayOX("!link " + code) }, "You have proven that the account aliceacct on corp is yours")
	o.ok("guard", "link", "alice", "corp/aliceacct")
	o.doorSays(o.al, channel, "in")
}

// relays shows relay-in and relay-out by rung and by group.
func (o *companyOffice) relays(t *testing.T) {
	t.Log("relayed by rung")
	said := heard(o.alice)
	o.answered(said, func() { o.alice.say("only sealed") }, "sign what you write to #finance")
	o.hears(channel, "only sealed")
	o.alice.sayOX("signed by OX")
	o.hears("#finance", "signed by OX")
	o.hears(channel, "signed by OX")
	o.alice.saySigned("signed by XEP-0027")
	o.hears("#finance", "signed by XEP-0027")
	inRoom(o.inMUC, "clear in the room")
	o.hears(channel, "clear in the room")
	o.carl.Say("#finance", "clear in finance")
	o.answer(o.carl, "PING finance", " PONG ")
	o.al.Say(channel, "clear in the channel")
	o.reads("alice in the room", bodies(o.inMUC), "clear in the channel")
	o.alice.sayOX("after all of that")
	o.hears("#finance", "after all of that")
	for _, text := range []string{"only sealed", "clear in the room", "clear in the channel"} {
		o.unheard("#finance", text)
	}
	o.unheard(channel, "clear in finance")
	if slices.ContainsFunc(bodies(o.inMUC)(), hasAll([]string{"clear in finance"})) {
		t.Error("what was said in #finance came into the Jabber room")
	}

	t.Log("relayed by group")
	o.answered(heard(o.bob), func() { o.bob.saySigned("bob, not certified") }, "ask one of its admins")
	o.unheard(channel, "bob, not certified")
	o.unheard("#finance", "bob, not certified")
}

// bodies are the lines that somebody saw in the Jabber room.
func bodies(u *lab.XMPPUser) func() []string {
	return func() (out []string) {
		for _, st := range u.Stanzas() {
			if body, ok := lab.Child(st, "body"); ok && strings.HasPrefix(lab.Attr(st, "from"), devRoom+"/") {
				out = append(out, body)
			}
		}
		return out
	}
}

// invites has alice invite herself by signed OX, after all that must be refused.
func (o *companyOffice) invites(t *testing.T) {
	t.Log("an invitation, by OX")
	o.shutOut(o.al, "#finance")
	said := heard(o.alice)
	o.answered(said, func() { o.alice.say("invite corp/#finance al") }, "gpg --clearsign")
	o.answered(said, func() {
		o.alice.sendOX(o.alice.signcrypt("invite corp/#finance al", botJID, time.Now().Add(-time.Hour)))
	}, "gpg --clearsign")
	reply := lastLine(o.answered(said, func() { o.alice.sayOX("invite corp/#finance al") }, "answer here", "!invite "))
	code := inviteCode.FindString(reply)
	o.answered(said, func() { o.alice.say(reply) }, "Not done", "came sealed, and this takes verified")
	o.answered(said, func() { o.alice.sendOX(o.alice.signcrypt(reply, botJID, time.Now().Add(-time.Hour))) }, "Not done", "long on its way")
	o.answered(said, func() { o.alice.sayOX(strings.Replace(reply, code, "aaaa-aaaa-aaaa-aaaa-aaaa", 1)) }, "Not done", "no code that I gave you")
	o.answered(heard(o.bob), func() { o.bob.sayOX(reply) }, "Not done", "no code that I gave you")
	o.answered(heard(o.bob), func() { o.bob.sayOX("invite corp/#finance bobs") }, "Not done", "no rule lets you be invited")
	o.alice.sendOX(o.alice.signcrypt(reply, "eve@localhost", time.Now())) // made for somebody else
	other := o.alicia.gpg.NewKey(lab.Key{UID: "another <alice@localhost>"})
	o.alice.sendOX(o.alice.signcrypt(reply, botJID, time.Now(), "--local-user", other))
	o.never(o.al, " INVITE al ")

	answer := o.alice.signcrypt(reply, botJID, time.Now())
	o.answered(said, func() { o.alice.sendOX(answer) }, "al is invited to #finance on corp")
	o.comesIn(o.carl, o.al, "al")
	o.alice.sendOX(answer) // the same again, under another id
	o.answered(said, func() { o.alice.sayOX(reply) }, "used already")
	if strings.Contains(o.log(), code) {
		t.Error("the log holds the nonce")
	}
}

// simulates judges what was recorded by the same rules, and by others.
func (o *companyOffice) simulates(t *testing.T) {
	t.Log("another policy")
	if out := o.ok("guard", "simulate", "drawbridge.yaml"); !strings.Contains(out, " 0 decided otherwise") {
		t.Errorf("the same rules decide otherwise:\n%s", out)
	}
	o.file("second.yaml", o.expand(strings.Replace(company, "if: {below: signed}, effect: deny", "if: {below: sealed}, effect: deny", 1)))
	out := o.ok("guard", "simulate", "second.yaml")
	if !hasAll([]string{"alice", "relay-out", "deny", "allow"})(out) || strings.Contains(out, " 0 decided otherwise") || strings.Contains(out, "only sealed") {
		t.Errorf("rules that take what is sealed:\n%s", out)
	}
}

// floods shows relay-in and relay-out by flood: alice is withheld from then on, whatever
// way she speaks, and nobody else is.
func (o *companyOffice) floods(t *testing.T) {
	t.Log("relayed by flood")
	inRoom(o.inMUC, "buy now")
	o.hears(channel, "buy now")
	for range 3 {
		inRoom(o.inMUC, "buy now")
	}
	o.guardSays([]string{"audit", "--who", "alice"}, "relay-in -> deny by calm-down")
	o.alice.sayOX("from her chat")
	o.hears("#finance", "from her chat")
	o.unheard(channel, "from her chat")
	if got := len(slices.DeleteFunc(onIRC(o.carl, channel)(), func(s string) bool { return !strings.Contains(s, "buy now") })); got > 2 { // one that waits as it becomes a flood goes back
		t.Errorf("%d lines of a flood were relayed, of which the third made it one", got)
	}
}

// certified has bob become staff by the company's key, and none any more.
func (o *companyOffice) certified(t *testing.T) {
	t.Log("bob's key is certified")
	o.certify(o.bobby, false)
	o.ok("reload")
	comesTo(t, "bob at the MUC's door", func() string { return seat(o.bobMUC, "bob") }, "in")
	o.doorSays(o.bobs, channel, "in")
	o.bob.saySigned("bob, certified")
	o.hears(channel, "bob, certified")

	t.Log("and that is revoked")
	o.certify(o.bobby, true)
	o.ok("reload")
	comesTo(t, "bob at the MUC's door", func() string { return seat(o.bobMUC, "bob") }, "registration-required")
	o.doorSays(o.bobs, channel, "473")
	o.bob.saySigned("bob, not any more") // he has been told why
	o.answered(heard(o.bob), func() { o.bob.saySigned("!who") }, "#dev")
	o.unheard(channel, "bob, not any more")
	o.offBoardedOnce("bob", "not certified by the company's key any more")
}

// expires lets alice's key expire, with an open proof, a link, an invitation and seats.
func (o *companyOffice) expires(t *testing.T, jump func(time.Duration)) {
	t.Log("alice's key expires")
	o.identified(o.ircd, "al2", "aliceacct")
	o.answered(heard(o.alice), func() { o.alice.sayOX("!invite corp/#finance al2") }, "answer here") // which stays open
	jump(time.Hour)
	o.ok("reload")
	o.carl.Expect(" KICK #finance al ")
	comesTo(t, "alice at the MUC's door", func() string { return seat(o.inMUC, "alice") }, "registration-required")
	o.doorSays(o.al, channel, "473")
	o.doorSays(o.al, "#finance", "473")
	o.offBoardedOnce("alice", "every key was revoked or expired", "1 link (corp/aliceacct)", "1 open proof", "1 JID's right to a Jabber room")
	o.guardSays([]string{"links"}, "no account is linked")
	o.never(o.carl, " KICK #dev carl ")
	if got := o.ok("guard", "audit"); strings.Contains(got, "over the budget") {
		t.Errorf("the budget was passed:\n%s", got)
	}
}
