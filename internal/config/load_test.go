package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is the configuration that each row of the tables breaks in one place.
const good = `networks:
  corp:
    server: irc.corp.example:6697
    nick: bridge
    sasl: {account: bridge, password_file: secrets/irc}
  open:
    server: [irc.open.example:6697, irc2.open.example:6697]
    nick: bridge
accounts:
  dev-bot:
    jid: dev@corp.example
    password_file: secrets/xmpp
    openpgp: {key_file: secrets/bot.asc, passphrase_file: secrets/pass}
keyring:
  paths: [keys]
people:
  alice:
    jids: [alice@corp.example]
    openpgp: [A1B2 C3D4 E5F6 0718 293A  4B5C 6D7E 8F90 A1B2 C3D4]
  bob:
    jids: [bob@corp.example]
    openpgp: ["0123456789012345678901234567890123456789"]
    irc: {corp: {accounts: [bob], certfps: []}}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp:
      account: dev-bot
      people: [alice, bob]
    require: {in: sealed, out: verified}
    schemes: [openpgp]
  open:
    irc: [{network: open, channel: "#open"}, {network: corp, channel: "#open"}]
admin: {people: [alice]}
metrics: {listen: 127.0.0.1:9115}
log: {level: info, format: text}
`

// home makes a folder with everything that good names.
func home(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"secrets", "keys"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"secrets/irc": "irc pass\n", "secrets/xmpp": "xmpp pass\n", "secrets/pass": "key pass\n", "secrets/bot.asc": "armored\nkey\n",
	} {
		write(t, filepath.Join(dir, name), text, 0o600)
	}
	write(t, filepath.Join(dir, "secrets/cert.pem"), certificate(t), 0o600)
	return dir
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// load writes text to dir and loads it. Errors come as lines, with the folder
// cut from the paths.
func load(t testing.TB, dir, text string, opt Options) (*Config, []string) {
	t.Helper()
	path := filepath.Join(dir, "c.yaml")
	write(t, path, text, 0o600)
	c, err := Load(path, opt)
	return c, lines(t, dir, err)
}

func lines(t testing.TB, dir string, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var list Errors
	if !errors.As(err, &list) {
		t.Fatalf("Load returns a %T: %v", err, err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
}

// edit replaces old by new in text, once.
func edit(t testing.TB, text, old, new string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q stands %d times in the text", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, new, 1)
}
