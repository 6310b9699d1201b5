package ox

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/openpgp"
)

// gpg is a GnuPG with a key of its own.
type gpg struct {
	t   *testing.T
	dir string
	fpr string
}

func newGPG(t *testing.T, uid, algo string) *gpg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed: interoperation with GnuPG is not tested")
	}
	dir, err := os.MkdirTemp("", "dbox") // not t.TempDir: the agent's socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	g := &gpg{t: t, dir: dir}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", dir, "--kill", "gpg-agent").Run()
		_ = os.RemoveAll(dir)
	})
	sign, encrypt := "ed25519", "cv25519"
	if algo != "" {
		sign, encrypt = algo, algo
	}
	g.run("", "--passphrase", "", "--quick-gen-key", uid, sign, "sign,cert", "never")
	for line := range strings.Lines(g.run("", "--with-colons", "--list-keys")) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && g.fpr == "" {
			g.fpr = f[9]
		}
	}
	g.run("", "--passphrase", "", "--quick-add-key", g.fpr, encrypt, "encr", "never")
	return g
}

func (g *gpg) run(stdin string, args ...string) string {
	g.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", g.dir, "--batch", "--quiet", "--trust-model", "always", "--status-fd", "2"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg %q: %v\n%s", args, err, errs.String())
	}
	if i := len(args) - 1; i >= 0 && args[i] == "--decrypt" {
		return string(out) + "\x00" + errs.String()
	}
	return string(out)
}

// TestGnuPG exchanges messages with gpg, as clients drive it, both ways.
func TestGnuPG(t *testing.T) {
	for name, algo := range map[string]string{"curve25519": "", "rsa2048": "rsa2048"} {
		t.Run(name, func(t *testing.T) {
			g := newGPG(t, "xmpp:"+aliceJID, algo)
			b := ourKey(t, "bot")
			g.run(string(b.Public), "--import")
			bot := newScheme(b.secret, ring(t, []byte(g.run("", "--armor", "--export", g.fpr))), Deps{})
			p := seen(botJID, aliceJID, g.fpr)

			out, err := bot.Seal(t.Context(), p, e2eetest.Text("grüß <dich> & 日本語"))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := base64.StdEncoding.DecodeString(out.Children[0].Text)
			if err != nil {
				t.Fatal(err)
			}
			plain, status, _ := strings.Cut(g.run(string(raw), "--decrypt"), "\x00")
			if !strings.Contains(status, "GOODSIG") || !strings.Contains(status, "VALIDSIG") || !strings.Contains(status, b.Fingerprint) || !strings.Contains(status, "GOODMDC") {
				t.Errorf("gpg sees no good signature:\n%s", status)
			}
			sc, err := parseSignCrypt([]byte(plain))
			if body, _ := sc.body(); err != nil || body != "grüß <dich> & 日本語" || !sc.isFor(aliceJID) {
				t.Errorf("gpg reads %q, %v", plain, err)
			}

			for i, args := range [][]string{
				{"-s", "-e", "-u", g.fpr, "-r", b.Fingerprint, "-r", g.fpr}, // profanity, Gajim
				{"-s", "-e", "-u", g.fpr, "-r", b.Fingerprint, "--compress-algo", "none"},
				{"-s", "-e", "-u", g.fpr, "-r", b.Fingerprint, "--textmode"},
			} {
				msg := g.run(content(botJID, stamp(0), hello), args...)
				got, err := open(bot, p, incoming(base64.StdEncoding.EncodeToString([]byte(msg)), ""))
				if err != nil || got.Reveal() != "hello" || got.Rung != policy.Verified || got.Fingerprint != g.fpr {
					t.Errorf("%d: opened %q, rung %v by %q, %v", i, got.Reveal(), got.Rung, got.Fingerprint, err)
				}
			}
			msg := g.run(content(botJID, stamp(0), hello), "-e", "-r", b.Fingerprint)
			if _, err := open(bot, p, incoming(base64.StdEncoding.EncodeToString([]byte(msg)), "")); err == nil {
				t.Error("an unsigned one opened")
			}
			// What profanity publishes: the binary export.
			key := g.run("", "--export", g.fpr)
			empty := newScheme(b.secret, ring(t, b.Public), Deps{})
			if changed, err := empty.keyring.Learn([]byte(key), g.fpr, time.Now()); err != nil || !changed {
				t.Errorf("Learn = %v, %v", changed, err)
			}
		})
	}
}

// TestGolden opens a message that gpg 2.2.40 has made with keys that are kept: what
// could be read once must be readable for ever.
func TestGolden(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	secret, err := openpgp.ParseSecret([]byte(read("bot.asc")), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 4, 19, 0, 0, time.UTC)
	s := newScheme(secret, ring(t, []byte(read("alice.pub.asc"))), Deps{Now: func() time.Time { return at.Add(time.Hour) }})
	fpr := strings.TrimSpace(read("alice.fpr"))
	in := incoming(strings.TrimSpace(read("message.b64")), "")
	in.Stamp = at
	got, err := open(s, seen(botJID, aliceJID, fpr), in)
	if err != nil || got.Reveal() != "grüß <dich> & 日本語" || got.Fingerprint != fpr {
		t.Errorf("opened %q by %q, %v", got.Reveal(), got.Fingerprint, err)
	}
}

// TestGajimReads makes the checks of Gajim 1.7.3 with its plugin openpgp 1.5.0
// (nbxmpp 4.2.2) on what the bot publishes and sends, with gpg as they do: a list with
// dates; a key that imports, whose user id is xmpp:JID and no more; exactly one
// signature, made by a key of the list itself (not by a subkey); a <signcrypt/> with
// recipients that are JIDs, one of them theirs, a time, and a payload that is not empty.
func TestGajimReads(t *testing.T) {
	g := newGPG(t, "xmpp:"+aliceJID, "")
	b := ourKey(t, "bot")
	bot := newScheme(b.secret, ring(t, []byte(g.run("", "--armor", "--export", g.fpr))), Deps{})
	items, err := bot.Announce(botJID)
	if err != nil {
		t.Fatal(err)
	}
	listed := ""
	for _, it := range items {
		switch it.Node {
		case "urn:xmpp:openpgp:0:public-keys":
			for _, m := range it.Payload.Children {
				listed = m.Get("v4-fingerprint")
				if _, err := time.Parse(time.RFC3339, m.Get("date")); err != nil || listed != strings.ToUpper(listed) {
					t.Errorf("listed: %s, %v", listed, err)
				}
			}
			continue
		case "urn:xmpp:openpgp:0:public-keys:" + b.Fingerprint:
		default:
			t.Errorf("published at %s", it.Node)
		}
		key, err := base64.StdEncoding.DecodeString(it.Payload.Child(NS, "data").Text)
		if err != nil {
			t.Fatal(err)
		}
		g.run(string(key), "--import")
	}
	uid, fpr := "", ""
	for line := range strings.Lines(g.run("", "--with-colons", "--list-keys", b.Fingerprint)) {
		switch f := strings.Split(line, ":"); {
		case f[0] == "fpr" && fpr == "":
			fpr = f[9]
		case f[0] == "uid":
			uid = strings.ReplaceAll(f[9], `\x3a`, ":")
		}
	}
	if uid != "xmpp:"+botJID || fpr != listed {
		t.Errorf("imported %s of %q, listed %s", fpr, uid, listed)
	}

	p := seen(botJID, aliceJID, g.fpr)
	for name, text := range map[string]e2ee.Plain{"a line": e2eetest.Text("hello"), "a receipt": nil} {
		out, err := bot.SealWith(t.Context(), p, text, element.New("urn:xmpp:receipts", "received", "id", "1"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(out.Children[0].Text)
		if err != nil || len(out.Children) != 1 || !out.Children[0].Is(NS, "openpgp") {
			t.Fatal(err)
		}
		plain, status, _ := strings.Cut(g.run(string(raw), "--decrypt"), "\x00")
		var signers []string
		for line := range strings.Lines(status) {
			if rest, ok := strings.CutPrefix(line, "[GNUPG:] VALIDSIG "); ok {
				signers = append(signers, strings.Fields(rest)[0])
			}
		}
		if len(signers) != 1 || signers[0] != listed {
			t.Errorf("%s is signed by %q, listed is %s", name, signers, listed)
		}
		sc, err := element.Parse([]byte(plain), element.Scope{}, limits)
		if err != nil || !sc.Is(NS, "signcrypt") {
			t.Fatalf("%s: %v", name, err)
		}
		to := sc.Child(NS, "to").Get("jid")
		stamp, _ := time.Parse("2006-01-02T15:04:05Z", sc.Child(NS, "time").Get("stamp"))
		if to != aliceJID || time.Since(stamp).Abs() > time.Minute || len(sc.Child(NS, "payload").Children) == 0 {
			t.Errorf("%s: %s", name, plain)
		}
	}
}
