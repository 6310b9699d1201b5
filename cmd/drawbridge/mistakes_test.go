package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakes makes one mistake at a time in a working house and looks at what
// `drawbridge check` prints: the place, what is wrong, the way out, and exit code 2.
func TestMistakes(t *testing.T) {
	const file = "drawbridge.yaml"
	for _, tt := range []struct {
		name           string
		in, old, new   string // the edit
		prepare        func(t *testing.T, dir string) error
		line           string // where
		what, fix, not string
		code           int
	}{
		{name: "misspelt password key", in: file, old: "password_file: secrets/xmpp", new: "pasword_file: secrets/xmpp", line: ":6: accounts.bot.pasword_file", fix: "password_file"},
		{name: "misspelt template key", in: file, old: "    xmpp: {account", new: "    sohw: {irc: \"{text}\"}\n    xmpp: {account", line: ":20: bridges.dev.sohw", fix: "show"},
		{name: "full room JID as channel", in: file, old: `"#dev"`, new: `"dev@rooms.corp.example"`, line: ":19: bridges.dev.irc[0].channel", fix: "rooms"},
		{name: "IRC channel without #", in: file, old: `"#dev"`, new: `dev`, line: ":19: bridges.dev.irc[0].channel", fix: "#dev"},
		{name: "typo in account", in: file, old: "account: bot", new: "account: bto", line: ":20: bridges.dev.xmpp.account", fix: `"bot"`},
		{name: "no bridge", in: file, old: houseConfig[strings.Index(houseConfig, "bridges:"):strings.Index(houseConfig, "admin:")], new: "", line: file, what: "bridge"},
		{name: "YAML syntax", in: file, old: "accounts:", new: "accounts: {", line: file + ":"},
		{name: "wrong type", in: file, old: "people: [alice, bob]", new: "people: {alice: 1}", line: ":20: bridges.dev.xmpp.people"},
		{name: "duplicate bridge", in: file, old: "bridges:", new: "bridges:\n  dev: {irc: [{network: corp, channel: \"#x\"}, {network: corp, channel: \"#y\"}]}", line: file + ":", what: "dev"},
		{name: "person without a scheme for the floor", in: file, old: "    xmpp: {account", new: "    require: signed\n    xmpp: {account", line: file + ":", what: "alice", fix: "sealed"},
		{name: "person in two bridges of one account", in: file, old: "bridges:", new: "bridges:\n  two: {irc: [{network: corp, channel: \"#x\"}], xmpp: {account: bot, people: [alice]}}", line: file + ":", what: "alice", fix: "account"},
		{name: "plain MUC under a floor", in: file, old: "people: [alice, bob]}", new: "people: [alice, bob], rooms: [{room: dev@rooms.corp.example}]}", line: ":20: bridges.dev.xmpp.rooms[0]", fix: "require: clear"},
		{name: "tls off under a floor", in: file, old: `nick: bridge}`, new: `nick: bridge, tls: off}`, line: file + ":", fix: "require: clear"},
		{name: "key file unreadable", in: file, old: "secrets/bot.asc", new: "secrets/nobot.asc", line: ":8: accounts.bot.openpgp.key_file"},
		{name: "wrong passphrase", in: "secrets/pass", old: "open sesame", new: "close sesame", line: ":8: accounts.bot.openpgp.key", what: "wrong passphrase", fix: "passphrase_file"},
		{name: "no passphrase", in: file, old: ", passphrase_file: secrets/pass", new: "", line: ":8: accounts.bot.openpgp.key", what: "protected", fix: "passphrase_file"},
		{
			name: "public key where the secret one is needed", in: file, old: "secrets/bot.asc", new: "secrets/bot.pub.asc", line: ":8: accounts.bot.openpgp.key", what: "public key where the secret key is needed", fix: "gpg --export-secret-keys",
			prepare: func(_ *testing.T, dir string) error {
				return os.Chmod(filepath.Join(dir, "secrets/bot.pub.asc"), 0o600)
			},
		},
		{name: "no key at all", in: "secrets/bot.asc", old: "PRIVATE KEY BLOCK", new: "RUBBISH", line: ":8: accounts.bot.openpgp.key", what: "no OpenPGP key"},
		{
			name: "own key expired", in: file, old: "secrets/bot.asc", new: "secrets/old.asc", line: ":8: accounts.bot.openpgp.key", what: "expired", fix: "gpg --quick-set-expire",
			prepare: func(_ *testing.T, dir string) error {
				_, err := makeKey(filepath.Join(dir, "secrets/old.asc"), "bot@corp.example", nil, 400*day)
				return err
			},
		},
		{name: "person's key expired", in: file, old: "$ALICE", new: "$OLD", line: ":13: people.alice.openpgp[0]", what: "expired", fix: "gpg --quick-set-expire"},
		{name: "fingerprint not in the keyring", in: file, old: "$ALICE", new: "0123456789012345678901234567890123456789", line: ":13: people.alice.openpgp[0]", what: "not in the keyring", fix: "drawbridge keys import FILE"},
		{
			name: "world-readable secret", in: file, old: "admin:", new: "# admin:", line: ":6: accounts.bot.password_file", what: "others", fix: "chmod",
			prepare: func(_ *testing.T, dir string) error { return os.Chmod(filepath.Join(dir, "secrets/xmpp"), 0o644) },
		},
		{
			name: "rubbish in the keyring", in: file, old: "[keys/]", new: "[keys/, bad.asc]", line: ":9: keyring.paths", what: "bad.asc: holds no OpenPGP key",
			prepare: func(_ *testing.T, dir string) error {
				return os.WriteFile(filepath.Join(dir, "bad.asc"), []byte("rubbish"), 0o600)
			},
		},
		{name: "keyring folder missing", in: file, old: "[keys/]", new: "[kyes/]", line: ":9: keyring.paths[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fprs, err := makeHouse(dir)
			if err != nil {
				t.Fatal(err)
			}
			if tt.new == "$OLD" {
				if fprs["OLD"], err = makeKey(filepath.Join(dir, "keys/old"), "alice@corp.example", nil, 400*day); err != nil {
					t.Fatal(err)
				}
			}
			if tt.prepare != nil {
				if err := tt.prepare(t, dir); err != nil {
					t.Fatal(err)
				}
			}
			expand := func(s string) string { return os.Expand(s, func(k string) string { return fprs[k] }) }
			if err := substitute(filepath.Join(dir, tt.in), expand(tt.old), expand(tt.new)); err != nil {
				t.Fatal(err)
			}
			var out, stderr strings.Builder
			path := filepath.Join(dir, file)
			if code := run([]string{"check", "--config", path}, streams{nil, &out, &stderr}); code != exitMisuse {
				t.Errorf("exit code %d", code)
			}
			for l := range strings.Lines(out.String()) {
				rest, ok := strings.CutPrefix(l, dir+"/"+strings.TrimPrefix(tt.line, ":"))
				if !ok && strings.HasPrefix(tt.line, ":") {
					rest, ok = strings.CutPrefix(l, path+tt.line)
				}
				what, fix, _ := strings.Cut(rest, "; fix: ")
				if ok && strings.Contains(what, tt.what) && strings.Contains(fix, tt.fix) {
					return
				}
			}
			t.Errorf("want %q … %q; fix: %q in\n%s%s", tt.line, tt.what, tt.fix, out.String(), stderr.String())
		})
	}
}
