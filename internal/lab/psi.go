package lab

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Psi is a running Psi 1.5. A chat is opened, with the line already in its field, over
// a D-Bus of its own; the Return key is struck in its window, which is drawn on a
// screen that nobody sees.
type Psi struct {
	JID string // bare

	lab     *Lab
	bus     string
	env     []string
	history string // its folder
}

// PsiUser tells who uses a Psi.
type PsiUser struct {
	Name string
	GPG  *GPG
	Key  string // fingerprint of the own key
	// To is the bare JID of the contact that is written to, and ToKey its key's
	// fingerprint. Psi would take the key from a signed presence by itself; when it
	// has is not to be seen from outside.
	To, ToKey string
}

// Message history is on in these settings, so that it can be read; all that has to do
// with encryption has Psi's own default.
const psiAccounts = `<!DOCTYPE accounts>
<accounts version="1.5" xmlns="http://psi-im.org/options"><accounts><a0>
<enabled type="bool">true</enabled><auto type="bool">true</auto><log type="bool">true</log><reconn type="bool">true</reconn>
<id type="QString">lab</id><name type="QString">lab</name><jid type="QString">%s</jid><password type="QString">%s</password>
<use-host type="bool">true</use-host><host type="QString">%s</host><port type="int">%s</port><ssl type="QString">yes</ssl>
<automatic-resource type="bool">false</automatic-resource><resource type="QString">psi</resource>
<pgp-secret-key-id type="QString">%s</pgp-secret-key-id>
<pgp-key-bindings><m0><key type="QString">%s</key><data type="QString">%s</data></m0></pgp-key-bindings>
</a0></accounts></accounts>
`

const psiOptions = `<!DOCTYPE psi>
<psi version="1.5" xmlns="http://psi-im.org/options"><options>
<ui><tip><show type="bool">false</show></tip><notifications><sounds><enable type="bool">false</enable></sounds></notifications></ui>
<p2p><bytestreams><listen-port type="int">0</listen-port></bytestreams></p2p>
<vcard><query-own-vcard-on-login type="bool">false</query-own-vcard-on-login></vcard>
</options></psi>
`

// psiPassword is how Psi keeps one: each letter mixed with one of the JID, as hex.
func psiPassword(password, jid string) string {
	var b strings.Builder
	for i := range len(password) {
		fmt.Fprintf(&b, "%04x", password[i]^jid[i%len(jid)])
	}
	return b.String()
}

// HasPsi reports whether there are a Psi and what strikes its keys.
func HasPsi() bool {
	_, psi := Program("psi")
	_, xdotool := Program("xdotool")
	return psi && xdotool
}

// Psi starts Psi and logs it in. It is online when the bot greets it.
func (l *Lab) Psi(s *XMPPServer, o PsiUser) *Psi {
	l.Helper()
	home := l.folder("psi-" + o.Name)
	data := filepath.Join(home, "psi")
	profile := filepath.Join(data, "profiles", "default")
	p := &Psi{JID: o.Name + "@" + Domain, lab: l, bus: filepath.Join(home, "bus"), history: filepath.Join(profile, "history")}
	host, port, _ := strings.Cut(s.Addr, ":")
	l.write(filepath.Join(profile, "accounts.xml"), fmt.Sprintf(psiAccounts, p.JID, psiPassword(Password, p.JID), host, port,
		o.Key[len(o.Key)-16:], o.To, o.ToKey[len(o.ToKey)-16:]))
	l.write(filepath.Join(profile, "options.xml"), psiOptions)
	cert, err := os.ReadFile(l.CA.File)
	l.must(err)
	l.write(filepath.Join(data, "certs", "lab.crt"), string(cert))
	p.env = append(l.desktop(home, p.bus, "psi-"+o.Name), o.GPG.env()...)
	p.env = append(p.env, "PSIDATADIR="+data)
	l.Start(&Proc{Name: "psi-" + o.Name, Dir: home, Args: []string{l.program("psi"), "--profile=default"}, Env: p.env})
	return p
}

// Say says one line to a contact, and waits until Psi has sent it.
func (p *Psi) Say(jid, text string) {
	p.lab.Helper()
	before := len(p.chat(jid, "to"))
	uri := "xmpp:" + jid + "?message;type=chat;body=" + strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	p.run(p.lab.program("dbus-send"), "--bus=unix:path="+p.bus, "--print-reply", "--reply-timeout=60000",
		"--dest=org.psi-im.Psi", "/Main", "org.psi_im.Psi.Main.openURI", "string:"+uri)
	// It is encrypted by a gpg, and then Psi empties the field: a line that is put there
	// before would be lost. Return in an empty field sends nothing.
	for range 3 {
		p.run(p.lab.program("xdotool"), "search", "--sync", "--onlyvisible", "--classname", "^chat$", "windowfocus", "--sync", "key", "Return")
		if Poll(patience/3, func() bool { return len(p.chat(jid, "to")) > before }) {
			return
		}
	}
	p.lab.Fatalf("lab: psi never sent a line")
}

func (p *Psi) run(name string, args ...string) {
	p.lab.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // a window may never come
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), p.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.lab.Fatalf("lab: %s: %v: %s", filepath.Base(name), err, out)
	}
}

// psiLine is a message of its history: when, kind, direction, flags and text.
var psiLine = regexp.MustCompile(`(?m)^\|[^|]*\|\d+\|(to|from)\|[^|]*\|(.*)$`)

var psiEscaped = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\p`, "|")

// chat returns the lines of one direction.
func (p *Psi) chat(jid, direction string) (out []string) {
	p.lab.Helper()
	b, err := os.ReadFile(filepath.Join(p.history, strings.ReplaceAll(jid, "@", "_at_")+".history"))
	if err != nil && !os.IsNotExist(err) {
		p.lab.must(err)
	}
	for _, m := range psiLine.FindAllStringSubmatch(string(b), -1) {
		if m[1] == direction {
			out = append(out, psiEscaped.Replace(m[2]))
		}
	}
	return out
}

// Heard returns what the contact said, in order.
func (p *Psi) Heard(jid string) []string {
	p.lab.Helper()
	return p.chat(jid, "from")
}
