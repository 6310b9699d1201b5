package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Pidgin is a running Pidgin 2 with its OTR plugin, which is set to "require
// private messaging". It is driven over a D-Bus of its own, the one interface it
// has besides its windows; those are drawn on a screen that nobody sees.
type Pidgin struct {
	JID string // bare

	lab     *Lab
	home    string
	bus     string
	account string // libpurple's handle
	start   Proc   // how it is started
	proc    *Proc
}

// PidginUser tells who uses a Pidgin.
type PidginUser struct {
	Name string
	// OTR is the own key, a file of libotr for the account PidginAccount(Name) and
	// the protocol PidginProtocol.
	OTR []byte
}

// PidginProtocol is what Pidgin calls XMPP in the files of libotr.
const PidginProtocol = "prpl-jabber"

// PidginAccount is what Pidgin calls an account in the files of libotr.
func PidginAccount(name string) string { return name + "@" + Domain + "/pidgin" }

const pidginAccounts = `<?xml version='1.0' encoding='UTF-8' ?>
<account version='1.0'><account>
<protocol>prpl-jabber</protocol><name>%s</name><password>%s</password>
<settings>
<setting name='connect_server' type='string'>%s</setting><setting name='port' type='int'>%s</setting>
<setting name='connection_security' type='string'>require_tls</setting>
</settings>
<settings ui='gtk-gaim'><setting name='auto-login' type='bool'>1</setting></settings>
</account></account>
`

// Logged as text, so that the log holds what the window shows.
const pidginPrefs = `<?xml version='1.0' encoding='UTF-8' ?>
<pref version='1' name='/'>
<pref name='OTR'>
<pref name='enabled' type='bool' value='1'/><pref name='automatic' type='bool' value='1'/>
<pref name='onlyprivate' type='bool' value='1'/><pref name='avoidloggingotr' type='bool' value='0'/>
</pref>
<pref name='purple'><pref name='logging'><pref name='log_ims' type='bool' value='1'/><pref name='format' type='string' value='txt'/></pref></pref>
<pref name='pidgin'>
<pref name='plugins'><pref name='loaded' type='pathlist'><item value='%s'/></pref></pref>
<pref name='sound'><pref name='method' type='string' value='none'/></pref>
</pref>
</pref>
`

// Pidgin starts Pidgin, logs it in and waits until it is online.
func (l *Lab) Pidgin(s *XMPPServer, o PidginUser) *Pidgin {
	l.Helper()
	home := l.folder("pidgin-" + o.Name)
	p := &Pidgin{JID: o.Name + "@" + Domain, lab: l, home: home, bus: filepath.Join(home, "bus")}
	plugin, _ := filepath.Glob("/usr/lib/pidgin/pidgin-otr.so")
	if more, _ := filepath.Glob("/usr/lib/*/pidgin/pidgin-otr.so"); len(more) > 0 {
		plugin = more
	}
	if len(plugin) == 0 {
		l.Fatalf("lab: pidgin-otr is not installed; run `make deps`")
	}
	host, port, _ := strings.Cut(s.Addr, ":")
	purple := filepath.Join(home, "purple")
	l.write(filepath.Join(purple, "accounts.xml"), fmt.Sprintf(pidginAccounts, PidginAccount(o.Name), Password, host, port))
	l.write(filepath.Join(purple, "prefs.xml"), fmt.Sprintf(pidginPrefs, plugin[0]))
	l.write(filepath.Join(purple, "otr.private_key"), string(o.OTR))
	cert, err := os.ReadFile(s.Cert.CertFile)
	l.must(err)
	l.write(filepath.Join(purple, "certificates", "x509", "tls_peers", host), string(cert))

	p.start = Proc{
		Name: "pidgin-" + o.Name, Dir: home,
		Args: []string{l.program("pidgin"), "--config", purple, "--force-online", "--debug"},
		Env:  l.desktop(home, p.bus, "pidgin-"+o.Name),
	}
	p.Restart()
	return p
}

// Kill ends Pidgin with SIGKILL: it has no time to say goodbye.
func (p *Pidgin) Kill() { p.proc.Kill() }

// Restart starts Pidgin once more, without the sessions it had, and waits until it is
// online.
func (p *Pidgin) Restart() {
	p.lab.Helper()
	again := p.start
	p.account, p.proc = "", p.lab.Start(&again)
	p.lab.Await(patience, p.start.Name+" is online", p.online)
}

var dbusInt = regexp.MustCompile(`-?\d+`)

func (p *Pidgin) online() bool {
	if p.account == "" {
		out, err := p.call("PurpleAccountsGetAllActive")
		if err != nil {
			return false
		}
		_, list, _ := strings.Cut(out, "array [")
		p.account = lastInt(list)
	}
	out, err := p.call("PurpleAccountIsConnected", "int32:"+p.account)
	return p.account != "" && err == nil && lastInt(out) == "1"
}

// lastInt returns the number that a reply of dbus-send ends with.
func lastInt(reply string) string {
	all := dbusInt.FindAllString(reply, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// call calls a function of libpurple.
func (p *Pidgin) call(function string, args ...string) (string, error) {
	p.lab.Helper()
	cmd := exec.Command(p.lab.program("dbus-send"), append([]string{
		"--bus=unix:path=" + p.bus, "--print-reply=literal", "--reply-timeout=20000", "--dest=im.pidgin.purple.PurpleService",
		"/im/pidgin/purple/PurpleObject", "im.pidgin.purple.PurpleInterface." + function,
	}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", function, err, out)
	}
	return string(out), nil
}

// number calls a function of libpurple that returns a handle.
func (p *Pidgin) number(function string, args ...string) string {
	p.lab.Helper()
	out, err := p.call(function, args...)
	p.lab.must(err)
	return lastInt(out)
}

// Say says one line to a contact, as the window does: what was typed, as HTML.
func (p *Pidgin) Say(jid, text string) {
	p.lab.Helper()
	conv := p.number("PurpleConversationNew", "int32:1", "int32:"+p.account, "string:"+jid)
	im := p.number("PurpleConvIm", "int32:"+conv)
	_, err := p.call("PurpleConvImSend", "int32:"+im, "string:"+pidginEscape.Replace(text))
	p.lab.must(err)
}

var pidginEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// pidginLine begins a line of the log. A log may hold two headers: Pidgin names it by
// the second, so one that starts again within the second writes on in the same file.
var pidginLine = regexp.MustCompile(`(?m)^(?:\((?:\d+/\d+/\d+ )?\d\d:\d\d:\d\d\) (?:([^:\n]+): )?|Conversation with \S+ at .+ on \S+ \(jabber\)$)`)

// Chat returns the lines of the chat with a contact, from Pidgin's own log. What
// Pidgin itself says in the window is not among them.
func (p *Pidgin) Chat(jid string) []Said1to1 {
	p.lab.Helper()
	files, _ := filepath.Glob(filepath.Join(p.home, "purple", "logs", "jabber", p.JID, jid, "*.txt"))
	var out []Said1to1
	for _, f := range files {
		b, err := os.ReadFile(f)
		p.lab.must(err)
		at := pidginLine.FindAllStringSubmatchIndex(string(b), -1)
		for i, m := range at {
			end := len(b)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			if m[2] >= 0 {
				from := string(b[m[2]:m[3]])
				out = append(out, Said1to1{strings.HasPrefix(from, p.JID), strings.TrimSuffix(string(b[m[1]:end]), "\n")})
			}
		}
	}
	return out
}

// Heard returns what the contact said, in order.
func (p *Pidgin) Heard(jid string) []string {
	p.lab.Helper()
	return theirs(p.Chat(jid))
}
