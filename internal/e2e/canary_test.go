//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// Scenario 7: random words are sent through everything that carries words, with
// the log at its most talkative, and then looked for on the bot's disk, in its
// log, in what its verbs print, and in clear on the XMPP wire.
func TestCanariesAreFoundNowhere(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice := h.person(prosody, "alice", lab.Key{})
	h.person(prosody, "bob", lab.Key{}) // never comes: what waits for him is looked for too
	h.config(twoPeople + "log: {level: debug, format: json}\n")
	carl := h.IRCUser(ircd, "carl", channel)
	bot := h.start()
	h.joins(carl, 0)
	a := h.scripted(prosody, alice)
	h.statusShows(", ready")

	var canaries []string
	canary := func() string {
		c := "canary" + rand.Text()
		canaries = append(canaries, c)
		return c
	}
	// What is relayed.
	carl.Say(channel, "plain "+canary())
	carl.Say(channel, "\x02bold\x02 \x0304colour\x03 "+canary())
	carl.Say(channel, "\x01ACTION does "+canary()+"\x01")
	carl.Send("NOTICE " + channel + " :" + canary())
	carl.Say(channel, strings.Repeat("long ", 70)+canary())
	last := canary()
	carl.Say(channel, last)
	h.reads("alice", heard(a), last)
	a.say("plain " + canary())
	a.say("two\nlines " + canary())
	a.say("/me does " + canary())
	a.say(strings.Repeat("long ", 300) + canary())
	last = canary()
	a.say(last)
	h.reads("carl", onIRC(carl, channel), last)
	// What is refused: clear text below the floor, a sealed part that is none, a
	// body beside a sealed part, private words to the bot, commands, names.
	clear := canary()
	a.Chat(botJID, "<body>"+clear+"</body>")
	a.Chat(botJID, "<body>"+clear+"</body><x xmlns='jabber:x:encrypted'>bm90aGluZw==</x>")
	a.Chat(botJID, "<subject>"+clear+"</subject><body>"+clear+"</body><x xmlns='jabber:x:encrypted'>"+a.p.gpg.Seal(h.botKey, "beside it: "+canary())+"</x>")
	a.say("!" + canary())
	carl.Send("PRIVMSG bridge :" + canary())
	carl.Send("PRIVMSG bridge :\x01" + canary() + "\x01")
	carl.Send("TOPIC " + channel + " :" + canary())
	carl.Send("PART " + channel + " :" + canary())
	carl.Join(channel)
	// What cannot be delivered while a link is down.
	prosody.Kill()
	carl.Say(channel, canary())
	h.legShows("bot", "down")
	prosody.Restart()
	a = h.scripted(prosody, alice)
	last = canary()
	carl.Say(channel, last)
	h.reads("alice", heard(a), last)

	h.foundNowhere(bot, prosody, canaries, func(st lab.Stanza) bool {
		// What alice herself sent in clear may be found, on her own way in.
		return st.In && strings.HasPrefix(st.JID, "alice@") || strings.Contains(st.XML, "from='alice@") || strings.Contains(st.XML, `from="alice@`)
	})
	h.fromBotSealed(prosody)
}

// foundNowhere stops the bot and looks for the canaries, and the password, on its
// disk, in its log, in what its verbs print, and on the wire, but for the stanzas
// that may hold them.
func (h *house) foundNowhere(bot *lab.Proc, s *lab.XMPPServer, canaries []string, may func(lab.Stanza) bool) {
	h.t.Helper()
	seen := map[string]string{"status": h.ok("status"), "status --json": h.ok("status", "--json"), "keys list": h.ok("keys", "list")}
	h.stop(bot)
	h.must(filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		seen[path] = string(b)
		return err
	}))
	if len(seen[filepath.Join(h.dir, "drawbridge.out")]) < 1000 {
		h.t.Error("the debug log is too short to be one")
	}
	var wire bytes.Buffer
	for _, st := range s.Stanzas() {
		if !may(st) {
			wire.WriteString(st.XML + "\n")
		}
	}
	seen["the XMPP wire"] = wire.String()
	secrets := append(slices.Clone(canaries), lab.Password)
	for where, text := range seen {
		for _, c := range secrets {
			if where == filepath.Join(h.dir, "password") && c == lab.Password {
				continue
			}
			if i := strings.Index(text, c); i >= 0 {
				h.t.Errorf("found in %s: …%s…", where, text[max(0, i-100):min(len(text), i+40)])
			}
		}
	}
}
