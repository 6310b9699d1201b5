package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"drawbridge/internal/lab"
)

const (
	channel = "#dev"
	botJID  = "bridge@" + lab.Domain
	wait    = 20 * time.Second
)

// cast is everybody on the stage.
type cast struct {
	*lab.Lab
	*screen
	program, dir string
	ircd         *lab.IRCServer
	xmpp         *lab.XMPPServer
	botKey       string
	alice, guest *lab.GPG
	aliceKey     string
	guestKey     string
	carl         *lab.IRCUser
	prof         *lab.Profanity
	bot          *lab.Proc
}

// play shows the whole piece.
func (c *cast) play() {
	began := time.Now()
	c.line(c.paint(bold, "Drawbridge: an IRC channel and a GPG-encrypted Jabber contact are one room"))
	c.build()
	c.meet()
	c.fromIRC("hello alice, the deploy is done: 42 tests, all green ✓")
	c.fromJabber("grüß dich, carl! lunch at noon? 🦊")
	c.verdict()
	c.line("")
	c.line(fmt.Sprintf("All of it took %.0f s, with real servers and a real client.", time.Since(began).Seconds()))
	c.line("To stay and join in: make demo KEEP=1. With your own servers: see README.md.")
}

// build starts the servers, makes throw-away keys and starts the bot.
func (c *cast) build() {
	c.head("Setting the stage in " + c.Dir)
	c.ircd = c.InspIRCd(lab.InspIRCd{})
	c.step("InspIRCd listens at %s (TLS %s)", c.ircd.Addr, c.ircd.TLSAddr)
	c.xmpp = c.Prosody(lab.Prosody{})
	c.step("Prosody listens at %s (TLS required)", c.xmpp.Addr)
	c.dir = filepath.Join(c.Dir, "bot")
	if err := os.MkdirAll(filepath.Join(c.dir, "keys"), 0o700); err != nil {
		c.Fatalf("%v", err)
	}
	c.xmpp.AddUser("bridge", "alice", "guest")
	c.botKey = strings.TrimSpace(c.drawbridge("keys", "generate", "--jid", botJID, "--out", filepath.Join(c.dir, "bot.asc")))
	c.step("the bot's key:  %s", c.botKey)
	c.alice, c.aliceKey = c.person("alice")
	c.step("alice's key:    %s", c.aliceKey)
	c.guest, c.guestKey = c.person("guest")
	c.write("password", lab.Password+"\n")
	c.write("drawbridge.yaml", c.config())
	c.drawbridge("check", "--config", c.configFile())
	c.bot = c.Start(&lab.Proc{Name: "drawbridge", Dir: c.dir, Args: []string{c.program, "run", "--config", c.configFile()}})
	c.step("Drawbridge runs, with this configuration:")
	c.box(dim, c.configFile(), strings.Split(strings.TrimSpace(c.config()), "\n"))
}

func (c *cast) person(name string) (*lab.GPG, string) {
	c.xmpp.Befriend("bridge", name)
	g := c.GPG(name)
	fpr := g.NewKey(lab.Key{UID: "xmpp:" + name + "@" + lab.Domain})
	g.WriteExport(filepath.Join(c.dir, "keys", name+".asc"), fpr)
	public, err := os.ReadFile(filepath.Join(c.dir, "bot.pub.asc"))
	if err != nil {
		c.Fatalf("%v", err)
	}
	g.Import(string(public))
	return g, fpr
}

func (c *cast) configFile() string { return filepath.Join(c.dir, "drawbridge.yaml") }

func (c *cast) config() string {
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	return strings.NewReplacer("${irc}", "localhost:"+port(c.ircd.TLSAddr), "${xmpp}", "localhost:"+port(c.xmpp.Addr),
		"${ca}", c.CA.File, "${alice}", c.aliceKey, "${guest}", c.guestKey, "${socket}", filepath.Join(c.dir, "admin.sock")).Replace(`networks:
  corp:
    server: "${irc}"
    ca_file: "${ca}"
    nick: bridge
accounts:
  bot:
    jid: bridge@localhost/bridge
    server: "${xmpp}"
    ca_file: "${ca}"
    password_file: password
    openpgp: {key_file: bot.asc}
keyring: {paths: [keys/]}
people:
  alice:
    jids: [alice@localhost]
    openpgp: ["${alice}"]
  guest:
    jids: [guest@localhost]
    openpgp: ["${guest}"]
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, guest]}
admin: {socket: "${socket}"}
`)
}

func (c *cast) write(name, text string) {
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.Fatalf("%v", err)
	}
}

// drawbridge runs one verb to its end.
func (c *cast) drawbridge(args ...string) string {
	return c.Run(c.program, args...)
}

// meet brings carl into the channel and alice online.
func (c *cast) meet() {
	c.carl = c.IRCUser(c.ircd, "carl", channel)
	if !lab.Poll(wait, func() bool {
		c.carl.Send("NAMES " + channel)
		_, in := c.carl.Find(200*time.Millisecond, func(l string) bool {
			return strings.Contains(l, ":bridge!") && strings.Contains(l, " JOIN ") || strings.Contains(l, " 353 ") && strings.Contains(l, "bridge")
		})
		return in
	}) {
		c.Fatalf("the bot did not come to %s", channel)
	}
	c.step("carl is in %s, and so is the bot", channel)
	c.prof = c.Profanity(c.xmpp, lab.ProfanityUser{Name: "alice", GPG: c.alice, Key: c.aliceKey, Width: innerWidth, Height: 20})
	c.prof.Talk(botJID, c.botKey)
	c.step("alice is online with profanity and gpg")
}

// fromIRC lets carl say something and follows it to alice.
func (c *cast) fromIRC(text string) {
	c.head("From IRC to Jabber")
	before := len(c.xmpp.Stanzas())
	c.carl.Say(channel, text)
	c.box(cyan, "carl, on IRC", []string{"<carl> " + text})
	c.arrow("Drawbridge signs and encrypts it to alice's key")
	st := c.stanza(before, "alice@")
	c.box(yellow, "what the Jabber server sees", layOut(st))
	c.arrow("profanity decrypts it with gpg")
	c.await("alice reads carl", func() bool { return contains(c.prof.Heard(botJID), text) })
	c.box(magenta, "alice's profanity", c.profScreen())
}

// fromJabber lets alice answer and follows it to carl.
func (c *cast) fromJabber(text string) {
	c.head("From Jabber to IRC")
	before := len(c.xmpp.Stanzas())
	c.prof.Type(text)
	c.await("alice's line shows", func() bool { return strings.Contains(c.prof.Screen(), text) })
	c.box(magenta, "alice's profanity", c.profScreen())
	c.arrow("profanity encrypts it to the bot's key")
	st := c.stanza(before, botJID)
	c.box(yellow, "what the Jabber server sees", layOut(st))
	c.arrow("Drawbridge decrypts it, and checks who may speak")
	var line string
	c.await("carl reads alice", func() bool {
		for _, s := range c.carl.Heard(channel) {
			if strings.Contains(s.Text, text) {
				line = "<" + s.From + "> " + s.Text
			}
		}
		return line != ""
	})
	c.box(cyan, "carl, on IRC", []string{line})
}

// stanza waits for an encrypted message to somebody, among those that passed the
// server after the first n.
func (c *cast) stanza(n int, to string) string {
	var found string
	c.await("an encrypted stanza to "+to, func() bool {
		for _, st := range c.xmpp.Stanzas()[n:] {
			if st.In && strings.HasPrefix(st.XML, "<message") && strings.Contains(st.XML, "jabber:x:encrypted") && strings.HasPrefix(lab.Attr(st.XML, "to"), to) {
				found = st.XML
				return true
			}
		}
		return false
	})
	return found
}

// profScreen is what stands on alice's screen, without the empty lines.
func (c *cast) profScreen() []string {
	return slices.DeleteFunc(strings.Split(c.prof.Screen(), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
}

func (c *cast) await(what string, cond func() bool) {
	if !lab.Poll(wait, cond) {
		c.Fatalf("waited in vain: %s", what)
	}
}

// verdict looks for anything that was said in what the Jabber server saw.
func (c *cast) verdict() {
	c.head("Could the Jabber server read along?")
	messages, clear := 0, 0
	for _, st := range c.xmpp.Stanzas() {
		if strings.HasPrefix(st.XML, "<message") {
			messages++
		}
		for _, w := range []string{"deploy", "lunch", "42 tests"} {
			if strings.Contains(st.XML, w) {
				clear++
			}
		}
	}
	if clear > 0 {
		c.Fatalf("%d stanzas held clear text", clear)
	}
	c.step("no: of %d message stanzas it passed on, none held a word of it", messages)
}

// invite tells how to join, with KEEP=1.
func (c *cast) invite() {
	host, port, _ := strings.Cut(c.ircd.Addr, ":")
	env := c.PrepareProfanity(c.xmpp, lab.ProfanityUser{Name: "guest", GPG: c.guest, Key: c.guestKey, Keys: map[string]string{botJID: c.botKey}})
	c.head("Join in. It runs until you press Ctrl-C here.")
	c.line("")
	c.line("On IRC, from another terminal:")
	c.line(c.paint(cyan, fmt.Sprintf("  irssi -c %s -p %s -n %s", host, port, "me")))
	c.line(c.paint(cyan, "  /join "+channel))
	c.line("")
	c.line("On Jabber, as guest@localhost, with a key that was made for you:")
	c.line(c.paint(magenta, "  env "+strings.Join(env, " ")+" profanity"))
	c.line(c.paint(magenta, "  /msg "+botJID))
	c.line(c.paint(magenta, "  /pgp start") + "       (leave it out, and see what Drawbridge says)")
	c.line("")
	c.line("With any other client: guest@localhost, password “" + lab.Password + "”, server " + c.xmpp.Addr + " (STARTTLS),")
	c.line("  authority " + c.CA.File + ", GNUPGHOME=" + c.guest.Home)
	c.line("Watch alice's screen:  tmux -S " + c.prof.Sock + " attach -r")
	c.line("Look inside:           " + c.program + " status --config " + c.configFile())
	c.line("What the server saw:   " + filepath.Join(c.xmpp.Dir, "stanzas.log"))
	c.line("")
}

func contains(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, text) })
}
