package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drawbridge/policy"
)

const (
	aliceKey = "A1B2C3D4E5F60718293A4B5C6D7E8F90A1B2C3D4"
	bobKey   = "0123456789012345678901234567890123456789"
)

func generate(jid string) ([]byte, string, error) {
	return []byte("armored for " + jid), "FEDC" + bobKey[4:], nil
}

// The whole dialog: each wrong answer is told, and asked for again.
func TestInitDialog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drawbridge.yaml")
	dialog := []string{
		"irc.example.org", // the port is TLS's
		"9lives", "",      // a bad nick, then the default
		"dev#", "dev", // # is added
		"bridge", "", "irc pass", // no password, then one
		"bridge", "Bridge@Example.org",
		"  pass with blanks  ",
		"", // a key is made
		"alice", "alice@example.org", "6D7E8F90A1B2C3D4", aliceKey,
		"alice@example.org", "bridge@example.org", "bob@home.example.org", bobKey,
		"",
	}
	var out strings.Builder
	made, err := (&Init{Path: path, In: strings.NewReader(strings.Join(dialog, "\n") + "\n"), Out: &out, Generate: generate}).Run(Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"a nick cannot begin with '9'; fix: begin it with a letter", `channel "dev#" has no #`, "a password is one line",
		`"bridge" has no user; fix: write USER@DOMAIN`, "is a key ID, which anybody can forge", "alice@example.org is in the list already", "bridge@example.org is the bot itself",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the dialog does not say %q:\n%s", want, out.String())
		}
	}
	c, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	n, a, b := c.Networks[0], c.Accounts[0], c.Bridges[0]
	if n.Server[0] != "irc.example.org:6697" || n.Nick != "drawbridge" || n.SASL.Account != "bridge" || n.SASL.Password.Expose() != "irc pass" || n.TLS != TLSOn {
		t.Errorf("network is %+v %+v", n, n.SASL)
	}
	if a.JID != "bridge@example.org" || a.Password.Expose() != "  pass with blanks  " || a.OpenPGP.Key.Expose() != "armored for bridge@example.org" {
		t.Errorf("account is %+v", a)
	}
	if b.Name != "dev" || b.IRC[0].Channel != "#dev" || !slices.Equal(b.XMPP.People, []string{"alice", "bob"}) || b.Require != (policy.Floor{In: policy.Sealed, Out: policy.Verified}) {
		t.Errorf("bridge is %+v %+v", b, b.XMPP)
	}
	if got := c.Person("bob"); got.JIDs[0] != "bob@home.example.org" || got.OpenPGP[0] != bobKey {
		t.Errorf("bob is %+v", got)
	}
	var rel []string
	for _, f := range made.Files {
		info, err := os.Stat(f)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s is %v, %v", f, info.Mode(), err)
		}
		rel = append(rel, strings.TrimPrefix(f, dir+"/"))
	}
	if want := []string{"secrets/irc", "secrets/xmpp", "secrets/bot.asc", "drawbridge.yaml"}; !slices.Equal(rel, want) {
		t.Errorf("files are %q, want %q", rel, want)
	}
	if made.Fingerprint != "FEDC"+bobKey[4:] {
		t.Errorf("fingerprint of the new key is %q", made.Fingerprint)
	}
	text, _ := os.ReadFile(path)
	for _, secret := range []string{"irc pass", "pass with blanks", "armored for"} {
		if strings.Contains(string(text), secret) || strings.Contains(out.String(), secret) {
			t.Errorf("%q shows", secret)
		}
	}
}

func goodAnswers() Answers {
	return Answers{
		Server: "irc.example.org:6697", Nick: "bridge", Channel: "#dev", JID: "bridge@example.org/x y", XMPPSecret: Password{Text: NewSecret("p")},
		Key: KeyGenerate, People: []PersonAnswer{{"alice@example.org", aliceKey}},
	}
}

// Without anybody to ask, everything wrong is told at once, and nothing written.
func TestInitWithoutDialog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drawbridge.yaml")
	a := Answers{Channel: "dev x", People: []PersonAnswer{{"alice", "A1"}}}
	_, err := (&Init{Path: path, Answers: a}).Run(Options{})
	if !errors.Is(err, ErrAnswers) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"IRC server (--server) is missing; fix: write HOST:PORT", `IRC channel (--channel): "dev x" is not`, "JID of the bot (--jid) is missing",
		"Password of that JID (--password-file) is missing", "OpenPGP key of the bot (--key) is missing", "person: ", "key of alice: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told:\n%v", want, err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%v was written", files)
	}
	made, err := (&Init{Path: path, Answers: goodAnswers(), Generate: generate}).Run(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(made.Config, Options{}); err != nil {
		t.Error(err)
	}
}

// init overwrites nothing, and takes back what it made when it cannot finish.
func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drawbridge.yaml")
	write(t, path, "mine", 0o600)
	if _, err := (&Init{Path: path, Answers: goodAnswers(), Generate: generate}).Run(Options{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "secrets/bot.asc"), "mine", 0o600)
	if _, err := (&Init{Path: path, Answers: goodAnswers(), Generate: generate}).Run(Options{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "secrets/bot.asc"))
	if err != nil || string(data) != "mine" {
		t.Errorf("the key is %q, %v", data, err)
	}
	var left []string
	for _, d := range []string{".", "secrets"} {
		files, _ := os.ReadDir(filepath.Join(dir, d))
		for _, f := range files {
			left = append(left, f.Name())
		}
	}
	if !slices.Equal(left, []string{"secrets", "bot.asc"}) {
		t.Errorf("left behind: %q", left)
	}
}

// A dialog that ends early writes nothing.
func TestInitEnds(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	_, err := (&Init{Path: filepath.Join(dir, "d.yaml"), In: strings.NewReader("irc.example.org\nbridge\n"), Out: &out}).Run(Options{})
	if err == nil || !strings.Contains(err.Error(), `no answer to "IRC channel"`) {
		t.Error(err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%v was written", files)
	}
}

// A key and password that are there already are named, not copied.
func TestInitTakesFiles(t *testing.T) {
	dir, own := t.TempDir(), t.TempDir()
	key, pass := filepath.Join(own, "key.gpg"), filepath.Join(own, "pass")
	write(t, key, "\x95\x01binary", 0o640)
	write(t, pass, "xmpp pass\n", 0o600)
	a := goodAnswers()
	a.Key, a.XMPPSecret, a.Passphrase = key, Password{File: pass}, Password{Text: NewSecret("key pass")}
	in := &Init{Path: filepath.Join(dir, "d.yaml"), Answers: a}
	if _, err := in.Run(Options{}); err == nil || !strings.Contains(err.Error(), "chmod 600 "+key) {
		t.Errorf("a key open to others: %v", err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := in.Run(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(made.Config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := c.Accounts[0].OpenPGP
	if o.Key.File != key || o.Key.Expose() != "\x95\x01binary" || o.Passphrase.Expose() != "key pass" || c.Accounts[0].Password.File != pass {
		t.Errorf("key of %s, password of %s", o.Key.File, c.Accounts[0].Password.File)
	}
}

// Whatever was answered, what is rendered is what was answered.
func TestRenderQuotes(t *testing.T) {
	a := goodAnswers()
	a.Nick, a.Channel, a.IRCAccount, a.IRCSecret = "[x]`", "", "off", Password{File: "se: crets/irc"}
	a.Channel = `#a"b\{é#x`
	a.People = []PersonAnswer{{"no@example.org", aliceKey}, {"a.b@example.org", bobKey}, {"a_b@example.org", "FE" + bobKey[2:]}, {"123@example.org", "DC" + bobKey[2:]}}
	a.Key, a.XMPPSecret = "secrets/bot.asc", Password{File: "secrets/xmpp"}
	dir := home(t)
	if err := os.Mkdir(filepath.Join(dir, "se: crets"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "se: crets/irc"), "p", 0o600)
	c, errs := load(t, dir, Render(a), Options{})
	if errs != nil {
		t.Fatalf("%s\n%s", strings.Join(errs, "\n"), Render(a))
	}
	if n := c.Networks[0]; n.Nick != a.Nick || n.SASL.Account != "off" || c.Bridges[0].IRC[0].Channel != a.Channel || c.Accounts[0].JID != a.JID {
		t.Errorf("%+v %+v %+v", n, n.SASL, c.Bridges[0])
	}
	if got := names(c.People, personName); !slices.Equal(got, []string{"person", "a-b", "a_b-2", "123"}) {
		t.Errorf("people are %q", got)
	}
}
