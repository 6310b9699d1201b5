//go:build e2e

package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/lab"
)

// mate is one of the team who moves, with a Jabber client that runs.
type mate struct {
	name, scheme, fpr string
	irc               *lab.IRCUser
	heard             func() []string
	say               func(text string)
	signs             func(sentence string) string // for who proves nothing by their messages
	speaks            moveWords
}

// moveWords is what is looked for, in a language.
type moveWords struct{ next, link, asked, counts, test, back, invited, done string }

var (
	english = moveWords{"next", "Step 4, link", "IRC account NAME on corp wants to act as you", "counts as yours", "Step 5, test. I have sent an encrypted message to ", "came back encrypted", "invited you on Jabber to " + devRoom, "you have moved to"}
	german  = moveWords{"weiter", "Schritt 4, Verknüpfung", "Das IRC-Konto NAME auf corp möchte als du handeln", "gilt ab jetzt als von dir", "verschlüsselte Nachricht geschickt", "kam verschlüsselt zurück", "auf Jabber eingeladen nach " + devRoom, "du bist umgezogen nach"}
)

// begins has somebody take the first steps of !move, up to their key. They have an
// account, or are helped to one.
func (m *moving) begins(name, client, hint string) *lab.IRCUser {
	m.t.Helper()
	u, address, command := m.users[name], name+"@localhost", "!move"
	if name == "dan" { // who has begun already
		command = "!move restart"
	}
	m.moves(u, command, "Hello "+name+"!", "Step 1, account")
	if newcomers[name] {
		m.helped(name, m.moves(u, "no", "write the address"))
	}
	m.moves(u, "It is "+address, "Noted: "+address, "Step 2, client")
	m.moves(u, client, "Step 3, key", hint)
	return u
}

// helped makes an account as somebody's client does: by the invitation that the bot said,
// or in-band where it said that the server lets everybody.
func (m *moving) helped(name, said string) {
	m.t.Helper()
	m.file(name+"-password", lab.Password+"\n")
	args := []string{"register", name + "@localhost", "--server", m.xmpp.Addr, "--ca-file", m.CA.File, "--password-file", filepath.Join(m.dir, name+"-password")}
	if link := invitationURI.FindString(said); link != "" {
		args = append(args, "--invitation", link)
	} else if !strings.Contains(said, "/register NAME localhost") {
		m.t.Fatalf("no way to an account: %s", said)
	}
	m.ok(args...)
	m.xmpp.Befriend(botName, name) // on Prosody the invitation did
}

// scripts starts a client that speaks XEP-0027.
func (m *moving) scripts(name string, speaks moveWords) (*mate, *scripted) {
	m.t.Helper()
	p := m.keys[name]
	c := m.scripted(m.xmpp, p)
	return &mate{name: name, scheme: "openpgp", fpr: p.fpr, irc: m.users[name], heard: heard(c), say: func(text string) { c.say(text) }, signs: m.signer(p), speaks: speaks}, c
}

// signer clear-signs with a person's gpg, at the bot's time.
func (m *moving) signer(p *person) func(string) string {
	return func(sentence string) string {
		now := time.Now().Add(m.off).UTC().Format("20060102T150405!")
		return p.gpg.Run(sentence+"\n", "--faked-system-time", now, "--local-user", p.fpr, "--clearsign")
	}
}

// accepted has somebody name their key, and an admin accept it: anna, by the order that
// she is told of, in her own chat. Before, nothing is sealed to them.
func (m *moving) accepted(x *mate) {
	m.t.Helper()
	kind := "openpgp"
	if x.scheme == "otr" {
		kind = "otr"
	}
	m.moves(x.irc, x.fpr[:20]+" "+x.fpr[20:], x.fpr[:8]+" "+x.fpr[8:16])
	if x.name == "anna" { // the first admin is accepted by who runs the machine
		m.ok("trust", "accept", "anna", x.fpr, "--kind", kind)
	} else {
		order := "!trust accept " + x.name + " " + kind + " " + x.fpr
		m.reads("anna", heard(m.anna), x.name+" on corp (IRC) is moving (dev)", order)
		m.anna.Type(order)
		m.reads("anna", heard(m.anna), "Done: ", " of "+x.name+" is accepted")
	}
	m.showsRoom(x.name, x.scheme)
}

var (
	codeToSign = regexp.MustCompile(`(?:in the place of CODE|diesen Code): (\S+)`)
	toSign     = regexp.MustCompile(`echo '([^']*CODE[^']*)'`)
)

// proves has somebody link their account: the code goes the way of their client, by itself
// or in the sentence that they sign. Of people in a group an admin has to agree.
func (m *moving) proves(x *mate, agree func()) {
	m.t.Helper()
	before := len(x.heard())
	said := m.moves(x.irc, x.speaks.next, x.speaks.link, "(UTC)")
	m.reads(x.name, func() []string { return x.heard()[before:] }, strings.Replace(x.speaks.asked, "NAME", x.name, 1))
	if x.signs == nil {
		x.say("!link " + m.found(linkCode, said))
	} else {
		code := m.found(codeToSign, said)
		x.say(x.signs(strings.Replace(m.found(toSign, strings.Join(x.heard()[before:], "\n")), "CODE", code, 1)))
	}
	if agree == nil {
		m.reads(x.name, x.heard, x.speaks.counts)
		return
	}
	m.reads(x.name, x.heard, "An admin has to agree")
	m.moves(x.irc, x.speaks.next, "an admin has to agree, too")
	m.moves(x.irc, "!move status", "Linked to: waits for an admin")
	agree()
	m.reads(x.name, x.heard, "An admin agreed")
}

// found is what is in the brackets of re.
func (m *moving) found(re *regexp.Regexp, in string) string {
	m.t.Helper()
	got := re.FindStringSubmatch(in)
	if got == nil {
		m.t.Fatalf("no %s in\n%s", re, in)
	}
	return got[1]
}

// arrives has somebody send the test message back, and be invited to the room.
func (m *moving) arrives(x *mate) {
	m.t.Helper()
	m.moves(x.irc, x.speaks.next, x.speaks.test)
	code := ""
	m.until("the test message of "+x.name, func() bool {
		for _, l := range x.heard() {
			if c := testCode.FindStringSubmatch(l); c != nil {
				code = c[1]
			}
		}
		return code != ""
	})
	x.say("!move " + code)
	m.reads(x.name, x.heard, x.speaks.back)
	m.moves(x.irc, x.speaks.next, x.speaks.invited, x.speaks.done)
	m.mates = append(m.mates, x)
}

// enters has somebody take the room's invitation, which is for members alone.
func (m *moving) enters(c *scripted, name string) {
	m.t.Helper()
	c.Expect(func(st string) bool { return strings.Contains(st, "<invite") && lab.Attr(st, "from") == devRoom }, "the room's invitation")
	c.JoinRoom(devRoom, name)
}

// firstMove has the first four move: anna, who is admin, with profanity and OTR; ben, who
// has no account yet, with profanity and OX; cleo, of whom an admin has to agree, with
// mcabber and XEP-0027; and dan, who has no account either, and begins with one elsewhere.
func (m *moving) firstMove() {
	m.t.Helper()
	u := m.begins("anna", "profanity", "1 OTR, 2 OX (OpenPGP for XMPP), 3 OpenPGP (GPG)")
	m.moves(u, "1", "/otr policy always bridge@localhost")
	m.anna = m.Profanity(m.xmpp, lab.ProfanityUser{Name: "anna", OTR: m.annas})
	m.anna.Type("/msg " + botJID)
	m.anna.Expect("[OTR]")
	anna := &mate{name: "anna", scheme: "otr", fpr: m.vars["anna"], irc: u, heard: heard(m.anna), say: m.anna.Type, speaks: english}
	m.accepted(anna)
	m.proves(anna, nil)
	m.arrives(anna)

	u = m.begins("ben", "profanity", "2 OX")
	m.moves(u, "2", "/ox request bridge@localhost")
	gpg := m.GPG("ben")
	fpr := gpg.NewKey(lab.Key{UID: "xmpp:ben@localhost"})
	m.ben = m.Profanity(m.xmpp, lab.ProfanityUser{Name: "ben", GPG: gpg, Key: fpr})
	m.ben.TalkOX(gpg, fpr, botJID, m.botKey)
	ben := &mate{name: "ben", scheme: "ox", fpr: fpr, irc: u, heard: heard(m.ben), say: m.ben.Type, speaks: english}
	m.accepted(ben)
	m.proves(ben, nil)
	m.arrives(ben)
	m.vars["ben"] = fpr
	// What he says with OX has his clock, which does not jump: he goes on with XEP-0027.
	m.ben.Type("/ox end")
	m.ben.Talk(botJID, m.botKey)

	u = m.begins("cleo", "mcabber", "1 OTR, 2 OpenPGP (GPG)")
	m.moves(u, "2", "/pgp force bridge@localhost")
	p := m.keys["cleo"]
	m.cleo = m.mcabber(m.xmpp, p)
	cleo := &mate{name: "cleo", scheme: "openpgp", fpr: p.fpr, irc: u, heard: heard(m.cleo), signs: m.signer(p), speaks: english, say: func(text string) {
		m.file("cleo-says", text)
		m.cleo.Do("say_to -f " + filepath.Join(m.dir, "cleo-says") + " " + botJID)
	}}
	m.accepted(cleo)
	m.proves(cleo, func() {
		m.reads("anna", heard(m.anna), "cleo has proven", "that the IRC account cleo on corp is theirs", "!guard link cleo corp/cleo")
		m.anna.Type("!guard link cleo corp/cleo")
	})
	m.arrives(cleo)

	m.moves(m.users["dan"], "!move", "Hello dan!", "Step 1, account")
	m.moves(m.users["dan"], "dan@elsewhere.example", "elsewhere.example is another server")
	m.begins("dan", "Psi", "Psi")
	dan, client := m.scripts("dan", english)
	m.accepted(dan)
	m.moves(dan.irc, "!move link", "Step 4, link", "gpg --clearsign")
	m.moves(dan.irc, "next", "not proven yet")
	m.moves(dan.irc, "!move key", "Psi")
	m.proves(dan, nil)
	m.arrives(dan)
	m.enters(client, "dan")
}

// falter has others begin, and go no further for now: hal up to his key, jo to her
// address. ida does not want to be counted.
func (m *moving) falter() {
	m.t.Helper()
	m.begins("hal", "1", "Psi")
	m.moves(m.users["jo"], "!move", "Hello jo!")
	m.moves(m.users["jo"], "jo@localhost", "Noted: jo@localhost", "Step 2, client")
	m.moves(m.users["ida"], "!move", "Hello ida!")
	m.moves(m.users["ida"], "!move stop", "do not count you any more")
}

// secondMove has four more move, after the gates held back: eve names a key of somebody
// else first, of fay an admin has to agree, gus speaks German and has no account, hal goes
// on where he was, under another nick.
func (m *moving) secondMove() {
	m.t.Helper()
	u := m.begins("eve", "Psi", "Psi")
	m.moves(u, m.vars["ben"], "That key is not one for eve@localhost")
	eve, client := m.scripts("eve", english)
	m.accepted(eve)
	m.proves(eve, nil)
	m.arrives(eve)
	m.enters(client, "eve")

	m.begins("fay", "Dino", "Dino")
	fay, _ := m.scripts("fay", english)
	m.accepted(fay)
	m.proves(fay, func() { m.ok("guard", "link", "fay", "corp/fay") })
	m.arrives(fay)

	u = m.users["gus"]
	m.moves(u, "!move deutsch", "Hallo gus!", "Schritt 1, Konto")
	m.helped("gus", m.moves(u, "nein", "schreib"))
	m.moves(u, "gus@localhost", "Notiert: gus@localhost", "Schritt 2, Programm")
	m.moves(u, "1", "Psi")
	gus, _ := m.scripts("gus", german)
	m.accepted(gus)
	m.proves(gus, nil)
	m.arrives(gus)

	u = m.users["hal"]
	u.Nick = "hal_"
	u.Send("NICK hal_")
	u.Expect(" NICK :hal_")
	m.moves(u, "!move", "Welcome back", "Step 3, key", "hal@localhost")
	hal, _ := m.scripts("hal", english)
	m.accepted(hal)
	m.proves(hal, nil)
	m.arrives(hal)
}

// strangers come to nothing: a nick without an account, and mallory, who has one at the
// services, and one of the team's server by what everybody may have, and claims to be anna.
func (m *moving) strangers() {
	m.t.Helper()
	m.moves(m.carl, "!move", "services accounts only")
	m.ircd.Register("mallory", "sesame")
	mal := m.loggedIn(m.ircd, "mallory", "mallory")
	mal.Join(channel)
	m.moves(mal, "!move", "Hello mallory!")
	said := m.moves(mal, "2", "write the address")
	m.helped("mallory", said)
	if link := invitationURI.FindString(said); link != "" {
		if _, said, code := m.try("register", "mallory2@localhost", "--server", m.xmpp.Addr, "--ca-file", m.CA.File, "--invitation", link, "--password-dir", m.dir); code == 0 || !strings.Contains(said, "used up") {
			m.t.Errorf("an invitation makes a second account: %s", said)
		}
		m.moves(mal, "!move restart", "Step 1, account")
		m.moves(mal, "2", "may not give you another", "had one already today")
		m.ircd.Register("trudy", "sesame")
		tru := m.loggedIn(m.ircd, "trudy", "trudy")
		tru.Join(channel)
		m.moves(tru, "!move", "Hello trudy!")
		m.moves(tru, "2", "may not give you another", "too many went to your host") // after ben, dan and mallory
		tru.Quit()
	}
	m.moves(mal, "anna@localhost", "Noted: anna@localhost", "Step 2, client")
	m.moves(mal, "Pidgin", "Step 3, key")
	m.moves(mal, m.vars["anna"], "Noted: ", "it counts for me once") // as anybody's
	code := m.found(linkCode, m.moves(mal, "next", "Step 4, link"))
	m.reads("anna", heard(m.anna), "IRC account mallory on corp wants to act as you")
	u := m.XMPPUser(m.xmpp, "mallory", "mal")
	u.Presence("")
	u.Send("<message type='chat' to='" + botJID + "'><body>!link " + code + "</body></message>")
	if got := seat(u, "mallory"); got != "registration-required" {
		m.t.Errorf("a stranger who wants into the room hears %s", got)
	}
	m.moves(mal, "next", "not proven yet")
	if links := m.ok("guard", "links"); strings.Contains(links, "mallory") || !strings.Contains(links, "dan: corp/dan") {
		m.t.Errorf("links\n%s", links)
	}
	if slices.ContainsFunc(u.Stanzas(), func(st string) bool {
		_, said := lab.Child(st, "body")
		return said
	}) {
		m.t.Errorf("the bot talks to a stranger: %q", u.Stanzas())
	}
	mal.Quit()
}
