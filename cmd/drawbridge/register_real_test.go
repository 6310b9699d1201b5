//go:build e2e

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"drawbridge/internal/lab"
	"drawbridge/xmpp"
	"drawbridge/xmpp/register"
	"drawbridge/xmpp/stream"
)

// registerDesk runs `drawbridge register` in a folder of its own.
type registerDesk struct {
	t    *testing.T
	l    *lab.Lab
	dir  string
	said string // by the last run, on both streams
}

func (d *registerDesk) run(server *lab.XMPPServer, typed string, args ...string) int {
	d.t.Helper()
	var out, stderr bytes.Buffer
	args = append([]string{"register", "--server", server.Addr, "--ca-file", d.l.CA.File, "--password-dir", d.dir}, args...)
	code := run(args, streams{strings.NewReader(typed), &out, &stderr})
	d.said = out.String() + stderr.String()
	return code
}

// expect runs it, and holds exit code and words to what is wanted.
func (d *registerDesk) expect(server *lab.XMPPServer, code int, want string, args ...string) {
	d.t.Helper()
	got := d.run(server, "", args...)
	if got != code || !regexp.MustCompile(want).MatchString(d.said) {
		d.t.Errorf("register %s: exit code %d, want %d, and to hear %s:\n%s", strings.Join(args, " "), got, code, want, d.said)
	}
	d.keepsSecrets()
}

// offers asks a server what the running bot asks it before people are sent there.
func (d *registerDesk) offers(server *lab.XMPPServer, want register.Offer) {
	d.t.Helper()
	got, err := offersAccounts(d.t.Context(), xmpp.Config{JID: "bridge@localhost", Server: server.Addr, TLS: stream.TLS{CAFile: d.l.CA.File}})
	if err != nil || got != want {
		d.t.Errorf("the server offers %+v, %v, want %+v", got, err, want)
	}
}

// keepsSecrets looks at the password files: nobody else can read them, and none is
// printed.
func (d *registerDesk) keepsSecrets() {
	d.t.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "*"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			d.t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			d.t.Errorf("%s has mode %o", f, info.Mode().Perm())
		}
		if data, _ := os.ReadFile(f); len(data) == 0 || strings.Contains(d.said, strings.TrimSpace(string(data))) {
			d.t.Errorf("the password in %s is empty or was printed", f)
		}
	}
}

func (d *registerDesk) missing(name string) {
	d.t.Helper()
	if _, err := os.Stat(filepath.Join(d.dir, name)); err == nil {
		d.t.Errorf("a password file of %s was left, without an account", name)
	}
}

func newRegisterDesk(t *testing.T, l *lab.Lab) *registerDesk {
	d := &registerDesk{t: t, l: l, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.dir, "admin"), []byte(lab.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRegisterOnProsody makes accounts in-band, by an admin's command and with
// invitations, and meets each refusal.
func TestRegisterOnProsody(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	d := newRegisterDesk(t, l)
	admin := []string{"--as", "admin@localhost", "--as-password-file", filepath.Join(d.dir, "admin")}

	open := l.Prosody(lab.Prosody{Register: true, RegisterMax: 4})
	open.AddUser("admin", "taken")
	d.offers(open, register.Offer{Open: true})
	d.expect(open, exitOK, `(?m)^bot@localhost\tmade\t.*bot@localhost$`, "bot@localhost")
	d.expect(open, exitOK, `(?m)^bot@localhost\tthere already\t`, "bot@localhost")
	d.expect(open, exitFailed, `the name is taken.*choose another name`, "taken@localhost")
	d.missing("taken@localhost")
	d.expect(open, exitOK, `made`, "two@localhost")
	d.ofConfig(open)
	d.expect(open, exitFailed, `asks to wait.*Too many registrations.*same command again later`, "three@localhost")
	d.missing("three@localhost")
	d.expect(open, exitFailed, `does not serve elsewhere\.example`, "bot@elsewhere.example", "--pin-sha256", open.Cert.SHA256(), "--ca-file", "")
	d.missing("bot@elsewhere.example")

	list := filepath.Join(t.TempDir(), "people")
	if err := os.WriteFile(list, []byte("# the team\nann@localhost\n\nben@localhost # him\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.expect(open, exitOK, `(?s)ann@localhost\tmade.*ben@localhost\tmade`, append([]string{"--list", list}, admin...)...)
	d.expect(open, exitFailed, `taken.*choose another`, append([]string{"taken@localhost"}, admin...)...)
	d.expect(open, exitFailed, `admin@localhost is of localhost, and can make accounts there alone`, append([]string{"eve@other.example"}, admin...)...)
	d.expect(open, exitFailed, `no such command, or not for this account.*is that account an admin`,
		"eve@localhost", "--as", "bot@localhost", "--as-password-file", filepath.Join(d.dir, "bot@localhost"))

	closed := l.Prosody(lab.Prosody{})
	d.offers(closed, register.Offer{})
	d.expect(closed, exitFailed, `makes no accounts this way.*ask who runs localhost`, "none@localhost")
	d.missing("none@localhost")

	invited := l.Prosody(lab.Prosody{Invites: true})
	d.offers(invited, register.Offer{}) // though it lists in-band registration, and gives its form
	invited.AddUser("admin", "inviter")
	d.expect(invited, exitFailed, `invitation only`, "carol@localhost")
	d.expect(invited, exitOK, `xmpp:localhost\?register;preauth=`, append([]string{"--invite", "1"}, admin...)...)
	link := regexp.MustCompile(`xmpp:\S+`).FindString(d.said)
	if link == "" {
		t.FailNow()
	}
	if !strings.Contains(d.said, "█") {
		t.Error("the link has no QR code")
	}
	d.expect(invited, exitFailed, `invitation is used up, expired or of another server`, "carol@localhost", "--invitation", link[:len(link)-4]+"AAAA")
	d.expect(invited, exitFailed, `is of localhost`, "carol@other.example", "--invitation", link)
	d.expect(invited, exitOK, `carol@localhost\tmade`, "carol@localhost", "--invitation", link)
	d.expect(invited, exitFailed, `invitation is used up`, "dave@localhost", "--invitation", link)
	d.expect(invited, exitOK, `xmpp:inviter@localhost\?roster;preauth=.*ibr=y`, "--invite", "1", "--as", "inviter@localhost", "--as-password-file", filepath.Join(d.dir, "admin"))
}

// ofConfig makes an account of a configuration that cannot be loaded before, since its
// password_file is not there.
func (d *registerDesk) ofConfig(server *lab.XMPPServer) {
	d.t.Helper()
	dir := d.t.TempDir()
	conf := filepath.Join(dir, "drawbridge.yaml")
	yaml := "accounts:\n  helper: {jid: helper@localhost/bot, server: \"" + server.Addr + "\", pin_sha256: " + server.Cert.SHA256() + ", password_file: secrets/helper}\n" +
		"  open: {jid: open@localhost, server: \"" + server.Addr + "\", tls: off, password_file: secrets/open}\n"
	if err := os.WriteFile(conf, []byte(yaml), 0o600); err != nil {
		d.t.Fatal(err)
	}
	for _, tt := range []struct {
		account, want string
		code          int
	}{
		{"helper", "helper@localhost\tmade\t" + filepath.Join(dir, "secrets/helper"), exitOK},
		{"helper", "helper@localhost\tthere already", exitOK},
		{"open", "tls: off; hint: passwords never go to a server without TLS", exitMisuse},
		{"other", `has no account "other"`, exitMisuse},
	} {
		var out, stderr bytes.Buffer
		code := run([]string{"register", "--config", conf, tt.account}, streams{strings.NewReader(""), &out, &stderr})
		if said := out.String() + stderr.String(); code != tt.code || !strings.Contains(said, tt.want) {
			d.t.Errorf("register %s: exit code %d, want %d, and to hear %q:\n%s", tt.account, code, tt.code, tt.want, said)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets/helper")); err != nil || info.Mode().Perm() != 0o600 {
		d.t.Errorf("%v, %v", info, err)
	}
}

// TestRegisterOnEjabberd makes accounts in-band, with a CAPTCHA, and by an admin's
// command.
func TestRegisterOnEjabberd(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	d := newRegisterDesk(t, l)
	admin := []string{"--as", "admin@localhost", "--as-password-file", filepath.Join(d.dir, "admin")}

	open := l.Ejabberd(lab.Ejabberd{Throttle: true})
	open.AddUser("admin", "taken")
	d.offers(open, register.Offer{Open: true})
	d.expect(open, exitFailed, `the name is taken`, "taken@localhost")
	d.expect(open, exitOK, `bot@localhost\tmade`, "bot@localhost")
	d.expect(open, exitFailed, `asks to wait`, "two@localhost")
	d.missing("two@localhost")
	d.expect(open, exitOK, `(?s)ann@localhost\tmade.*ben@localhost\tmade`, append([]string{"ann@localhost", "ben@localhost"}, admin...)...)
	d.expect(open, exitFailed, `taken.*choose another`, append([]string{"taken@localhost"}, admin...)...)
	d.expect(open, exitFailed, `no such command`, append([]string{"--invite", "1"}, admin...)...)

	asking := l.Ejabberd(lab.Ejabberd{Captcha: true})
	d.offers(asking, register.Offer{Open: true})
	d.expect(asking, exitFailed, `wants to know "ocr".*--field ocr=`, "human@localhost", "--no-input")
	d.missing("human@localhost")
	if code := d.run(asking, "wrong\n", "human@localhost"); code != exitFailed {
		t.Errorf("a wrong answer made an account:\n%s", d.said)
	}
	d.missing("human@localhost")
	d.solves(asking, "human@localhost")
}

// solves looks at the picture, and types what it shows.
func (d *registerDesk) solves(server *lab.XMPPServer, account string) {
	d.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var out bytes.Buffer
	look := watcher{match: regexp.MustCompile(`look at (\S+\.png)`), found: func(file string) {
		data, err := os.ReadFile(file)
		_ = os.Remove(file)
		if err != nil {
			d.t.Error(err)
		}
		_, _ = w.WriteString(strings.TrimSpace(string(data[8:])) + "\n")
		_ = w.Close()
	}}
	code := run([]string{"register", "--server", server.Addr, "--ca-file", d.l.CA.File, "--password-dir", d.dir, account}, streams{r, &out, &look})
	if d.said = out.String() + look.said.String(); code != exitOK || !strings.Contains(d.said, account+"\tmade") {
		d.t.Errorf("exit code %d:\n%s", code, d.said)
	}
	d.keepsSecrets()
}

// watcher calls found once with what matches in what is written to it.
type watcher struct {
	match *regexp.Regexp
	found func(string)
	said  bytes.Buffer
	done  bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.said.Write(p)
	if m := w.match.FindStringSubmatch(w.said.String()); m != nil && !w.done {
		w.done = true
		w.found(m[1])
	}
	return len(p), nil
}
