package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Profanity is a running profanity 0.13, the way its user has it: on a terminal,
// with gpg.
type Profanity struct {
	*Terminal
	JID  string // bare
	Data string // its XDG data folder

	lab *Lab
}

// ProfanityUser tells who uses a profanity.
type ProfanityUser struct {
	Name string // account
	GPG  *GPG   // nil for none
	Key  string // fingerprint of the own key
	// Keys are those of contacts, by JID, so that /pgp start is enough.
	Keys map[string]string
	// OTR is the own key, a file of libotr; nil for none.
	OTR []byte
	// Width and Height of the terminal; 1000 × 60 if zero, so that no line
	// wraps.
	Width, Height int
}

// Profanity starts profanity, logs it in and waits until it is online.
func (l *Lab) Profanity(s *XMPPServer, o ProfanityUser) *Profanity {
	l.Helper()
	p := l.profanity(s, o)
	p.Expect("] " + p.JID + "/prof") // the status bar
	return p
}

// PrepareProfanity writes the settings of a profanity that is not started, and
// returns the environment to start it with, as NAME=VALUE.
func (l *Lab) PrepareProfanity(s *XMPPServer, o ProfanityUser) []string {
	l.Helper()
	home := l.folder("profanity-" + o.Name)
	env := []string{"XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "XDG_DATA_HOME=" + filepath.Join(home, "data")}
	host, port, _ := strings.Cut(s.Addr, ":")
	account := []string{
		"[" + o.Name + "]", "enabled=true", "jid=" + o.Name + "@" + Domain, "server=" + host, "port=" + port, "resource=prof",
		"password=" + Password, "tls.policy=trust", "presence.last=online", "presence.login=online",
	}
	if o.GPG != nil {
		account = append(account, "pgp.keyid="+o.Key[len(o.Key)-16:])
		env = append(env, o.GPG.env()...)
	}
	if len(o.Keys) > 0 {
		var keys strings.Builder
		for jid, fpr := range o.Keys {
			fmt.Fprintf(&keys, "[%s]\nkeyid=%s\n", jid, fpr[len(fpr)-16:])
		}
		l.write(filepath.Join(home, "data", "profanity", "pgp", munge(o.Name+"@"+Domain), "pubkeys"), keys.String())
	}
	if o.OTR != nil {
		dir := filepath.Join(home, "data", "profanity", "otr", munge(o.Name+"@"+Domain))
		l.write(filepath.Join(dir, "keys.txt"), string(o.OTR))
		l.write(filepath.Join(dir, "fingerprints.txt"), "") // without it /otr start says that there is no key
	}
	l.write(filepath.Join(home, "data", "profanity", "accounts"), strings.Join(account, "\n")+"\n")
	l.write(filepath.Join(home, "config", "profanity", "profrc"), strings.Join([]string{
		"[connection]", "account=" + o.Name, "autoping=0",
		"[logging]", "chlog=true",
		"[pgp]", "log=on",
		"[ui]", "splash=false", "beep=false", "flash=false", "occupants=false", "history=false", "wrap=true", "time.chat=%H:%M", "intype=false", "outtype=false",
		"[notifications]", "message=false", "room=false", "typing=false",
		"[presence]", "autoaway.mode=off",
	}, "\n")+"\n")
	return env
}

func (l *Lab) profanity(s *XMPPServer, o ProfanityUser) *Profanity {
	l.Helper()
	env := l.PrepareProfanity(s, o)
	data := strings.TrimPrefix(env[1], "XDG_DATA_HOME=")
	p := &Profanity{JID: o.Name + "@" + Domain, Data: filepath.Join(data, "profanity"), lab: l}
	if o.Width == 0 {
		o.Width, o.Height = 1000, 60
	}
	p.Terminal = l.terminal(o.Name, o.Width, o.Height, append(env, "HOME="+filepath.Dir(data)), l.program("profanity"), "-l", "DEBUG")
	return p
}

// Talk opens a chat with a contact and switches encryption on, with the given
// key of theirs.
func (p *Profanity) Talk(jid, fpr string) {
	p.lab.Helper()
	p.Type("/pgp setkey " + jid + " " + fpr[len(fpr)-16:])
	p.Type("/msg " + jid)
	p.Type("/pgp start")
	p.Expect("[PGP send") // the title: the line that tells of it is not always drawn
}

// TalkOX publishes the own key, fetches the contact's, which it must publish, and
// certifies it, as a user does who has compared fingerprints; then it opens a chat
// and switches OX on.
func (p *Profanity) TalkOX(gpg *GPG, own, jid, fpr string) {
	p.lab.Helper()
	file := filepath.Join(p.Data, "own-key")
	gpg.Run("", "--yes", "--output", file, "--export", own)
	p.Type("/ox announce " + file)
	p.Type("/ox discover " + jid)
	p.Expect(fpr)
	p.Type("/ox request " + jid + " " + fpr)
	p.lab.Await(patience, "profanity has the key of "+jid, func() bool {
		_, err := gpg.try("", "--list-keys", fpr)
		return err == nil
	})
	gpg.Run("", "--quick-lsign-key", fpr)
	p.Type("/msg " + jid)
	p.Type("/ox start")
	p.Expect("[OX]")
}

// Said1to1 is one line of a chat, as a client recorded it after decryption.
type Said1to1 struct {
	Mine bool
	Text string
}

var profLine = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT[0-9:.]+Z - (me|[^:\n]+): `)

// Chat returns the lines of the chat with a contact, from profanity's own log.
func (p *Profanity) Chat(jid string) []Said1to1 {
	p.lab.Helper()
	dir := filepath.Join(p.Data, "chatlogs", munge(p.JID), munge(jid))
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	var out []Said1to1
	for _, f := range files {
		b, err := os.ReadFile(f)
		p.lab.must(err)
		at := profLine.FindAllStringSubmatchIndex(string(b), -1)
		for i, m := range at {
			end := len(b)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			out = append(out, Said1to1{string(b[m[2]:m[3]]) == "me", strings.TrimSuffix(string(b[m[1]:end]), "\n")})
		}
	}
	return out
}

func munge(jid string) string { return strings.ReplaceAll(jid, "@", "_at_") }

// Heard returns what the contact said, in order.
func (p *Profanity) Heard(jid string) []string {
	p.lab.Helper()
	return theirs(p.Chat(jid))
}

func theirs(lines []Said1to1) []string {
	var out []string
	for _, l := range lines {
		if !l.Mine {
			out = append(out, l.Text)
		}
	}
	return out
}

// Raw returns profanity's debug log, which holds each stanza sent and received.
func (p *Profanity) Raw() string {
	files, _ := filepath.Glob(filepath.Join(p.Data, "logs", "*.log"))
	var b strings.Builder
	for _, f := range files {
		text, _ := os.ReadFile(f)
		b.Write(text)
	}
	return b.String()
}

// Quit logs out and ends profanity.
func (p *Profanity) Quit() {
	p.lab.Helper()
	p.Type("/quit")
	Poll(5*time.Second, func() bool { return strings.TrimSpace(p.Screen()) == "" })
}
