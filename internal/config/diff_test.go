package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "", "", nil},
		{"a comment", "networks:\n", "# hello\nnetworks:\n", nil},
		{"a person leaves a bridge", "people: [alice, bob]", "people: [alice]", []string{"bridges.dev: - person bob"}},
		{"a person is replaced", "people: [alice, bob]", "people: [alice, carol]", []string{"+ people.carol", "bridges.dev: + person carol", "bridges.dev: - person bob"}},
		{"a channel more", `"#dev"}]`, `"#dev"}, {network: open, channel: "#dev"}]`, []string{"bridges.dev: + channel #dev on open"}},
		{"a channel's key", `"#dev"}]`, `"#dev", key: hunter2}]`, []string{"bridges.dev.irc[#dev on corp].key: changed"}},
		{"a room", "people: [alice, bob]", "people: [alice, bob]\n      rooms: [{room: dev@rooms.corp.example, require: clear}]", []string{"bridges.dev: + room dev@rooms.corp.example"}},
		{"the floor", "in: sealed, out: verified", "in: clear, out: sealed", []string{"bridges.dev.require: {in: sealed, out: verified} → {in: clear, out: sealed}"}},
		{"a secret", "password_file: secrets/xmpp", "password: hunter2", []string{"accounts.dev-bot.password: changed"}},
		{"a value", "level: info", "level: debug", []string{"log.level: info → debug"}},
		{"a value that was not there", "    schemes: [openpgp]", "    show: {irc: \"<{name}> {text}\"}", []string{"bridges.dev.show.irc: (none) → <{name}> {text}"}},
		{"a block goes", "    sasl: {account: bridge, password_file: secrets/irc}\n", "", []string{"- networks.corp.sasl"}},
		{"a bridge goes", "  open:\n    irc: [{network: open, channel: \"#open\"}, {network: corp, channel: \"#open\"}]\n", "", []string{"- bridges.open"}},
		{
			"servers in another order", "[irc.open.example:6697, irc2.open.example:6697]", "[irc2.open.example:6697, irc.open.example:6697]",
			[]string{"networks.open.server: irc.open.example:6697, irc2.open.example:6697 → irc2.open.example:6697, irc.open.example:6697"},
		},
		{
			"a key is replaced", "0123456789012345678901234567890123456789", "9876543210987654321098765432109876543210",
			[]string{"people.bob: + key 9876543210987654321098765432109876543210", "people.bob: - key 0123456789012345678901234567890123456789"},
		},
		{"a duration", "    schemes: [openpgp]", "    offline: {keep: 8h}", []string{"bridges.dev.offline.keep: 24h0m0s → 8h0m0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t)
			before := edit(t, good, "bridges:\n", "  carol: {jids: [carol@corp.example], openpgp: [00112233445566778899AABBCCDDEEFF00112233]}\nbridges:\n")
			after := before
			if tt.name == "a person is replaced" {
				before = good
			}
			if tt.old != "" {
				after = edit(t, after, tt.old, tt.new)
			}
			a, errs := load(t, dir, before, Options{})
			if errs != nil {
				t.Fatal(errs)
			}
			b, errs := load(t, dir, after, Options{})
			if errs != nil {
				t.Fatal(errs)
			}
			if got := Diff(a, b); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A secret's file with another content is a change too: the account logs in anew.
func TestDiffSecretFile(t *testing.T) {
	dir := home(t)
	a, _ := load(t, dir, good, Options{})
	write(t, filepath.Join(dir, "secrets/irc"), "hunter2", 0o600)
	b, _ := load(t, dir, good, Options{})
	if got := Diff(a, b); !slices.Equal(got, []string{"networks.corp.sasl.password: changed"}) {
		t.Errorf("got %q", got)
	}
}
