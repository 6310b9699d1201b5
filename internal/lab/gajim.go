package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Gajim is a running Gajim 1.7 with its OpenPGP plugin (OX, XEP-0373) or its PGP plugin
// (XEP-0027), driven over a D-Bus of its own. Its windows are drawn on a screen that nobody sees.
type Gajim struct {
	JID string // bare

	lab     *Lab
	home    string
	bus     string
	signals string // what dbus-monitor tells
}

// GajimUser tells who uses a Gajim.
type GajimUser struct {
	Name string
	GPG  *GPG   // for OX with the own key alone; it becomes Gajim's own keyring
	To   string // bare JID of the contact that is written to
	// Key and ToKey are the fingerprints of the own key and the contact's, for XEP-0027;
	// without them it is OX.
	Key, ToKey string
}

const gajimAccount = "lab" // its name in Gajim

// gajimSettings makes Gajim's settings; what is not there has its default.
const gajimSettings = `CREATE TABLE settings (name TEXT UNIQUE, settings TEXT);
CREATE TABLE account_settings (account TEXT UNIQUE, settings TEXT);
INSERT INTO settings VALUES ('app', '%s'), ('soundevents', '{}'), ('status_presets', '{}'), ('proxies', '{}'),
 ('plugins', '{"%s": {"active": true}}'), ('workspaces', '{"first": {"name": "lab", "chats": []}}');
INSERT INTO account_settings VALUES ('` + gajimAccount + `', '%s');
PRAGMA user_version=5;
`

// gajimKeys is what the PGP plugin keeps: the own key and that of a contact.
const gajimKeys = `{"_version": 3, "own_key_data": {"key_id": "%s", "key_user": "own"}, "contact_key_data": {"%s-%s": {"key_id": "%s", "key_user": "bot"}}}`

// gajimStart is /usr/bin/gajim, which does not start for root: tests often run as root.
const gajimStart = "import os, sys; os.geteuid = lambda: 1000; from gajim.gajim import main; sys.argv[0] = 'gajim'; sys.exit(main())"

// gajimPackage is where Debian has it.
const gajimPackage = "/usr/lib/python3/dist-packages/gajim/__init__.py"

// HasGajim reports whether there is a Gajim that the lab can drive, of the 1.7 series
// with this plugin (openpgp, pgp): others have other settings. make deps does not install
// it, for it is half a desktop.
func HasGajim(plugin string) bool {
	version, _ := os.ReadFile(gajimPackage)
	_, err := os.Stat("/usr/share/gajim/plugins/" + plugin)
	return strings.Contains(string(version), "'1.7.") && err == nil
}

// Gajim starts Gajim, logs it in and waits until it is online.
func (l *Lab) Gajim(s *XMPPServer, o GajimUser) *Gajim {
	l.Helper()
	home := l.folder("gajim-" + o.Name)
	g := &Gajim{JID: o.Name + "@" + Domain, lab: l, home: home, bus: filepath.Join(home, "bus")}
	host, port, _ := strings.Cut(s.Addr, ":")
	conf := filepath.Join(home, "conf")
	l.must(os.MkdirAll(filepath.Join(conf, "openpgp"), 0o700))
	plugin, encryption := "openpgp", "OpenPGP"
	if o.Key == "" {
		l.must(os.Symlink(o.GPG.Home, filepath.Join(conf, "openpgp", g.JID)))
	} else {
		plugin, encryption = "pgp", "PGP"
		l.write(filepath.Join(conf, "plugins_data", "pgplegacy", g.JID, "store"), fmt.Sprintf(gajimKeys, o.Key, gajimAccount, o.To, o.ToKey))
	}
	cert, err := os.ReadFile(s.Cert.CertFile)
	l.must(err)
	l.write(filepath.Join(conf, "cert_store", "lab"), string(cert))
	text := func(v any) string {
		b, err := json.Marshal(v)
		l.must(err)
		return strings.ReplaceAll(string(b), "'", "''")
	}
	l.write(filepath.Join(home, "settings.sql"), fmt.Sprintf(gajimSettings,
		text(map[string]any{"remote_control": true, "use_keyring": false, "check_for_update": false, "plugins_auto_update": false, "plugins_update_check": false}),
		plugin,
		text(map[string]any{
			"account": map[string]any{
				"name": o.Name, "hostname": Domain, "address": g.JID, "password": Password, "savepass": true, "active": true, "autoconnect": true,
				"resource": "gajim", "use_custom_host": true, "custom_host": host, "custom_port": json.Number(port), "custom_type": "START TLS",
			},
			"contact":    map[string]any{o.To: map[string]any{"encryption": encryption}},
			"group_chat": map[string]any{},
		})))
	if out, err := exec.Command(l.program("sqlite3"), filepath.Join(conf, "settings.sqlite"), ".read "+filepath.Join(home, "settings.sql")).CombinedOutput(); err != nil {
		l.Fatalf("lab: settings of gajim: %v\n%s", err, out)
	}
	env := l.desktop(home, g.bus, "gajim-"+o.Name)
	watch := l.Start(&Proc{Name: "signals-" + o.Name, Dir: home, Args: []string{
		l.program("dbus-monitor"), "--address", "unix:path=" + g.bus, "type='signal',interface='org.gajim.dbus.RemoteInterface'",
	}})
	g.signals = watch.Out
	l.Start(&Proc{
		Name: "gajim-" + o.Name, Dir: home,
		Args: []string{"/usr/bin/python3", "-c", gajimStart, "-s", "-c", conf, "-l", "gajim=INFO"},
		Env:  append(env, "GSETTINGS_BACKEND=memory", "GNUPGHOME="+o.GPG.Home, "XDG_RUNTIME_DIR="+home),
	})
	l.Await(patience, "gajim of "+o.Name+" is online", func() bool {
		out, err := g.call("get_status", gajimAccount)
		return err == nil && strings.Contains(out, "online")
	})
	return g
}

// call calls a method of Gajim's remote control with texts.
func (g *Gajim) call(method string, args ...string) (string, error) {
	g.lab.Helper()
	list := []string{
		"--bus=unix:path=" + g.bus, "--print-reply=literal", "--reply-timeout=20000", "--dest=org.gajim.Gajim",
		"/org/gajim/dbus/RemoteObject", "org.gajim.dbus.RemoteInterface." + method,
	}
	for _, a := range args {
		list = append(list, "string:"+a)
	}
	out, err := exec.Command(g.lab.program("dbus-send"), list...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", method, err, out)
	}
	return string(out), nil
}

// Say says one line to a contact.
func (g *Gajim) Say(jid, text string) {
	g.lab.Helper()
	_, err := g.call("send_chat_message", jid, text, gajimAccount)
	g.lab.must(err)
}

var gajimMessage = regexp.MustCompile(`(?s)member=NewMessage\n.*?string "[^"]*"\s+variant\s+array \[\s+variant\s+string "([^"]*)"\s+variant\s+string "(.*?)"\n`)

// Heard returns what a contact said, in order.
func (g *Gajim) Heard(jid string) (out []string) {
	g.lab.Helper()
	b, err := os.ReadFile(g.signals)
	g.lab.must(err)
	for _, m := range gajimMessage.FindAllStringSubmatch(string(b), -1) {
		if bare, _, _ := strings.Cut(m[1], "/"); bare == jid {
			out = append(out, m[2])
		}
	}
	return out
}
