package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"drawbridge/internal/config"
)

// guide is docs/migration.md.
func guide(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// guideCommand finds what the guide says to type: in backticks, or on a line of its own.
var guideCommand = regexp.MustCompile("(?m)`(drawbridge [^`]+)`|^    (drawbridge .+)$")

// TestGuideCommands: each command of the guide is one, with flags that there are and as
// many arguments as it takes.
func TestGuideCommands(t *testing.T) {
	text := strings.ReplaceAll(guide(t), "\\\n", " ")
	n := 0
	for _, m := range guideCommand.FindAllStringSubmatch(text, -1) {
		line, _, _ := strings.Cut(m[1]+m[2], "   ") // what follows is a remark
		line, _, _ = strings.Cut(line, " > ")
		args := strings.Fields(strings.NewReplacer("[", "", "]", "", "'", "").Replace(line))[1:]
		root := newRoot(&globals{})
		cmd, rest, err := root.Find(args)
		if err != nil || cmd == root {
			t.Errorf("%s: %v", line, err)
			continue
		}
		n++
		if len(args) == 2 && cmd.HasParent() && cmd.Args != nil && len(rest) == 0 {
			continue // a verb that is spoken of
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if n < 15 {
		t.Errorf("only %d commands were found", n)
	}
}

// guideHouse is what the guide begins with: a bridge between a channel and a room.
const guideHouse = `
networks:
  corp: {server: "irc.corp.example:6697", nick: bridge}
accounts:
  bot: {jid: bridge@corp.example, password: hunter2}
store: {path: store}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, rooms: [{room: dev@rooms.example.org, require: clear}]}
    require: clear
`

// TestGuideConfiguration: the blocks of the guide make a configuration, as they stand.
func TestGuideConfiguration(t *testing.T) {
	yaml, text := guideHouse, guide(t)
	for _, key := range []string{"rooms", "migration"} {
		block := regexp.MustCompile(`(?m)^       ` + key + `:\n(?:       .*\n)+`).FindString(text)
		if block == "" {
			t.Fatalf("the guide has no %s:", key)
		}
		yaml += strings.ReplaceAll(block, "\n       ", "\n")[7:]
	}
	path := filepath.Join(t.TempDir(), "drawbridge.yaml")
	// The guide's dates are those of its time.
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(yaml, "2027-", "2099-")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, loadOptions())
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	if len(c.Migration) != 1 || len(c.Rooms) != 1 || len(c.PastDates(noon)) > 0 {
		t.Errorf("%+v", c.Migration)
	}
}
