//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drawbridge")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "drawbridge")
	args := []string{"build", "-o", program}
	if os.Getenv("E2E_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "drawbridge/cmd/drawbridge")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const (
	botName = "bridge" // its nick on IRC and its account on XMPP
	botJID  = botName + "@" + lab.Domain
	channel = "#dev"
	wait    = 2 * time.Minute // much, for a machine under load
	// overload is how long a server may take that works off what many kills have left
	// it, on a machine at its limit.
	overload = 5 * time.Minute
)

// house is a lab with a folder for the bot: its configuration and its keys.
type house struct {
	*lab.Lab
	t      *testing.T
	dir    string
	botKey string   // fingerprint
	env    []string // of the program, added to ours
	binary string   // another program than the one under test, "" for that
	vars   map[string]string
}

// newHouse makes the bot's key, and leaves servers and people to the test.
func newHouse(t *testing.T) *house {
	t.Helper()
	l := lab.New(t)
	h := &house{Lab: l, t: t, dir: filepath.Join(l.Dir, "bot"), vars: map[string]string{}}
	h.must(os.MkdirAll(filepath.Join(h.dir, "keys"), 0o700))
	h.botKey = h.ok("keys", "generate", "--jid", botJID, "--out", filepath.Join(h.dir, "bot.asc"))
	h.file("password", lab.Password+"\n")
	h.vars["ca"] = l.CA.File
	h.vars["socket"] = filepath.Join(h.dir, "admin.sock")
	return h
}

// botConfig is the networks and the account of the bot, without keys; what is added
// to it begins in the account.
const botConfig = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge}
accounts:
  bot:
    jid: bridge@localhost/bridge
    server: "${xmpp}"
    ca_file: "${ca}"
    password_file: password
`

// newServed is a house with an InspIRCd and a Prosody that put no limits on anybody,
// as ${irc} and ${xmpp}, and with the bot's account.
func newServed(t *testing.T) (*house, *lab.IRCServer, *lab.XMPPServer) {
	t.Helper()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	return h, ircd, prosody
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// file writes a file of the bot's folder.
func (h *house) file(name, text string) {
	h.t.Helper()
	h.must(os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600))
}

// config writes drawbridge.yaml; ${name} stands for a variable of the house. Without
// an admin: of its own it gets one.
func (h *house) config(yaml string) {
	h.t.Helper()
	if !strings.Contains(yaml, "\nadmin:") {
		yaml += "\nadmin: {socket: \"${socket}\"}\n"
	}
	h.file("drawbridge.yaml", h.expand(yaml))
}

// expand puts the variables of the house into a text.
func (h *house) expand(text string) string {
	h.t.Helper()
	return os.Expand(text, func(name string) string {
		v, ok := h.vars[name]
		if !ok {
			h.t.Fatalf("no ${%s}", name)
		}
		return v
	})
}

// try runs the program with the house's configuration to its end.
func (h *house) try(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.program(), append(args, "--config", filepath.Join(h.dir, "drawbridge.yaml"))...)
	cmd.Dir, cmd.Env = h.dir, append(os.Environ(), h.env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// ok runs the program, which must succeed, and returns its trimmed stdout.
func (h *house) ok(args ...string) string {
	h.t.Helper()
	out, errOut, code := h.try(args...)
	if code != 0 {
		h.t.Fatalf("drawbridge %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return strings.TrimSpace(out)
}

func (h *house) program() string {
	if h.binary != "" {
		return h.binary
	}
	return program
}

// start runs the bot; it ends with the test.
func (h *house) start() *lab.Proc {
	h.t.Helper()
	return h.Start(&lab.Proc{Name: "drawbridge", Dir: h.dir, Env: h.env, Args: []string{h.program(), "run", "--config", filepath.Join(h.dir, "drawbridge.yaml")}})
}

// stop ends the bot with SIGTERM, which must go well.
func (h *house) stop(bot *lab.Proc) {
	h.t.Helper()
	h.must(bot.Signal(syscall.SIGTERM))
	select {
	case <-bot.Done():
	case <-time.After(wait):
		h.t.Fatal("the bot does not end on SIGTERM")
	}
	if code := bot.ExitCode(); code != 0 {
		h.t.Errorf("the bot ended with exit code %d", code)
	}
}

// log returns what the bot has logged.
func (h *house) log() string {
	b, _ := os.ReadFile(filepath.Join(h.dir, "drawbridge.out"))
	return string(b)
}

// person is somebody with an account and a key, who has exchanged keys with the
// bot.
type person struct {
	name string
	gpg  *lab.GPG
	fpr  string
}

// person makes somebody; ${name} becomes the fingerprint.
func (h *house) person(s *lab.XMPPServer, name string, key lab.Key) *person {
	h.t.Helper()
	s.AddUser(name)
	s.Befriend(botName, name)
	return h.keyed(name, key)
}

// keyed makes somebody with a key, and without an account; ${name} becomes the
// fingerprint.
func (h *house) keyed(name string, key lab.Key) *person {
	h.t.Helper()
	p := &person{name: name, gpg: h.GPG(name)}
	key.UID = "xmpp:" + name + "@" + lab.Domain
	p.fpr = p.gpg.NewKey(key)
	h.publish(p)
	public, err := os.ReadFile(filepath.Join(h.dir, "bot.pub.asc"))
	h.must(err)
	p.gpg.Import(string(public))
	h.vars[name] = p.fpr
	return p
}

// publish puts the person's public key where the bot reads it.
func (h *house) publish(p *person) {
	h.t.Helper()
	p.gpg.WriteExport(filepath.Join(h.dir, "keys", p.name+".asc"), p.fpr)
}

// profanity starts the person's profanity with encryption to the bot.
func (h *house) profanity(s *lab.XMPPServer, p *person) *lab.Profanity {
	h.t.Helper()
	return h.Profanity(s, lab.ProfanityUser{Name: p.name, GPG: p.gpg, Key: p.fpr})
}

// mcabber starts the person's mcabber with encryption to the bot forced.
func (h *house) mcabber(s *lab.XMPPServer, p *person) *lab.Mcabber {
	h.t.Helper()
	return h.Mcabber(s, lab.McabberUser{Name: p.name, GPG: p.gpg, Key: p.fpr, Pinned: map[string]string{botJID: h.botKey}})
}

// reads waits until lines, what a client shows, holds one with all the parts.
func (h *house) reads(who string, lines func() []string, parts ...string) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool { return slices.ContainsFunc(lines(), hasAll(parts)) }) {
		h.t.Fatalf("%s never read %q, but:\n%s", who, parts, strings.Join(lines(), "\n"))
	}
}

func hasAll(parts []string) func(string) bool {
	return func(s string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
	}
}

// onIRC returns what u heard in a channel from the bot.
func onIRC(u *lab.IRCUser, channel string) func() []string {
	return func() []string {
		var out []string
		for _, s := range u.Heard(channel) {
			if s.From == botName {
				out = append(out, s.Text)
			}
		}
		return out
	}
}

// heard returns what the bot said to a client's user.
func heard(c interface{ Heard(jid string) []string }) func() []string {
	return func() []string { return c.Heard(botJID) }
}

// statusShows waits until `drawbridge status` shows all the parts, and returns it.
func (h *house) statusShows(parts ...string) string {
	h.t.Helper()
	var out string
	if !lab.Poll(overload, func() bool {
		var code int
		out, _, code = h.try("status")
		return code == 0 && hasAll(parts)(out)
	}) {
		h.t.Fatalf("status never showed %q:\n%s", parts, out)
	}
	return out
}

// legShows waits until the line of a leg, or the notes below it, show part.
func (h *house) legShows(leg, part string) {
	h.t.Helper()
	var out string
	if !lab.Poll(wait, func() bool {
		out, _, _ = h.try("status")
		_, table, _ := strings.Cut(out, "\nLEG")
		table, _, _ = strings.Cut(table, "\n\n")
		_, row, _ := strings.Cut(table, "\n"+leg+" ")
		for i, l := range strings.Split(row, "\n") {
			if i > 0 && !strings.HasPrefix(l, " ") {
				break
			}
			if strings.Contains(l, part) {
				return true
			}
		}
		return false
	}) {
		h.t.Fatalf("leg %s never showed %q:\n%s", leg, part, out)
	}
}

// joins waits until u sees the bot join, in what came after the first n lines.
func (h *house) joins(u *lab.IRCUser, n int) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool {
		return slices.ContainsFunc(u.Lines()[n:], func(l string) bool {
			return strings.HasPrefix(l, ":"+botName+"!") && strings.Contains(l, " JOIN ")
		})
	}) {
		h.t.Fatalf("the bot did not join:\n%s", strings.Join(u.Lines()[n:], "\n"))
	}
}

// localhost gives an address the name that stands in the certificate.
func localhost(addr string) string { return "localhost" + addr[strings.LastIndexByte(addr, ':'):] }

// inOrder picks the lines that hold mark, and fails unless they are, in this
// order and once each, the wanted ones.
func (h *house) inOrder(who string, lines func() []string, mark string, want []string) {
	h.t.Helper()
	pick := func() []string {
		var out []string
		for _, l := range lines() {
			if i := strings.Index(l, mark); i >= 0 {
				out = append(out, l[i:])
			}
		}
		return out
	}
	lab.Poll(3*wait, func() bool { return len(pick()) >= len(want) })
	if got := pick(); !slices.Equal(got, want) {
		h.t.Errorf("%s read %d of %d lines, or not in order:\n%s", who, len(got), len(want), strings.Join(got, "\n"))
	}
}

// numbered makes n lines that begin with mark and carry their number.
func numbered(mark string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s %03d of %d", mark, i+1, n)
	}
	return out
}

// fallbacks are the bodies that clients put beside what they encrypted.
var fallbacks = []string{
	"This message is encrypted (XEP-0027).",                                                       // profanity, and the bot
	"This message is PGP-encrypted.",                                                              // mcabber
	"[ERROR: This message is encrypted, and you are unable to decrypt it.]",                       // Psi
	"[This message is *encrypted* (See :XEP:`27`] ([This message is *encrypted* (See :XEP:`27`])", // Gajim
	scriptedBody,
}

// sealedOnly looks at what the server saw of one-to-one chats: no secret in
// clear, and no body but a fallback; and there was something to see.
func (h *house) sealedOnly(s *lab.XMPPServer, secrets ...string) {
	h.t.Helper()
	sealed := 0
	for _, st := range s.Stanzas() {
		if strings.HasPrefix(st.XML, "<message") && strings.Contains(st.XML, "jabber:x:encrypted") {
			sealed++
		}
		if body, ok := lab.Child(st.XML, "body"); ok && !slices.Contains(fallbacks, body) {
			h.t.Errorf("a body passed the server: %s", st.XML)
		}
		for _, secret := range secrets {
			if strings.Contains(st.XML, secret) || strings.Contains(st.XML, lab.Escape(secret)) {
				h.t.Errorf("%q passed the server in clear: %s", secret, st.XML)
			}
		}
	}
	if sealed == 0 {
		h.t.Error("no encrypted message passed the server")
	}
}
