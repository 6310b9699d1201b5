package importer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "drawbridge/bridge"
	"drawbridge/internal/config"
)

// written writes a plan and loads it.
func written(t testing.TB, p *Plan) (*config.Config, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "drawbridge.yaml")
	if _, err := p.Write(path, config.Options{CheckTemplate: core.CheckTemplate}); err != nil {
		t.Fatalf("what was read does not load: %v", err)
	}
	c, err := config.Load(path, config.Options{CheckTemplate: core.CheckTemplate})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(data)
}

func readTeam(t *testing.T, opt Options) *Plan {
	t.Helper()
	data, err := os.ReadFile("testdata/team.toml")
	if err != nil {
		t.Fatal(err)
	}
	opt.CheckTemplate = core.CheckTemplate
	p, err := Matterbridge("team.toml", data, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMatterbridgeCarriesATeam(t *testing.T) {
	c, text := written(t, readTeam(t, Options{}))
	n := c.Network("corp")
	if n == nil || n.TLS != config.TLSOn || n.Server[0] != "irc.corp.example:6697" || n.SASL == nil || n.SASL.Account != "relay" || n.SASL.Password.Expose() != "irc-secret-1" {
		t.Errorf("network corp = %+v", n)
	}
	if old := c.Network("old"); old == nil || old.TLS != config.TLSOff || old.Password.Expose() != "irc-secret-2" {
		t.Errorf("network old = %+v", old)
	}
	if a := c.Account("corp-jabber"); a == nil || a.JID != "relay@corp.example" || a.Password.Expose() != "xmpp-secret-1" {
		t.Errorf("account = %+v, of %v", a, c.Accounts)
	}
	var got []string
	for _, b := range c.Bridges {
		for _, ch := range b.IRC {
			got = append(got, b.Name+" "+ch.Network+" "+ch.Channel)
		}
		if b.XMPP != nil {
			for _, r := range b.XMPP.Rooms {
				got = append(got, b.Name+" "+r.Room+" as "+r.Nick)
			}
		}
	}
	want := []string{
		"Dev-Ops corp #dev", "Dev-Ops dev@rooms.corp.example as relay", "Dev-Ops dev@guests.corp.example as irc",
		"old old #legacy", "old corp #legacy", "one corp #one", "one old #one", "two corp #two", "two old #two",
	}
	if !slices.Equal(got, want) {
		t.Errorf("bridges:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if ch := c.Bridges[0].IRC[0]; ch.Key.Expose() != "channel-secret" {
		t.Error("the channel's key is not carried")
	}
	if s := c.Bridges[0].Show; s.IRC != "[{origin}] <{name}> {text}" || s.XMPP != "<{name}@{origin}> {text}" || s.Joins != "digest" {
		t.Errorf("show = %+v", s)
	}
	if strings.Contains(text, "secret-") || strings.Contains(text, "telegram-secret") || strings.Contains(text, "channel-secret") || strings.Contains(text, "run-secret") {
		t.Errorf("a secret stands in the configuration:\n%s", text)
	}
}

// Each thing that is not carried is told once, with its line, and no secret.
func TestMatterbridgeSaysWhatIsLeft(t *testing.T) {
	p := readTeam(t, Options{})
	golden(t, "testdata/team.notes", notes(p))
	if strings.Contains(notes(p), "secret") {
		t.Error("a secret is told")
	}
}

// golden compares with a file; UPDATE=1 writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMatterbridgeBothWays(t *testing.T) {
	c, _ := written(t, readTeam(t, Options{BothWays: true}))
	if !slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool { return b.Name == "feed" }) {
		t.Errorf("bridges = %+v, want feed among them", c.Bridges)
	}
}

func TestMatterbridgeTakesTheEnvironment(t *testing.T) {
	p := readTeam(t, Options{Environ: []string{"MATTERBRIDGE_XMPP_CORP_PASSWORD=from-env", "MATTERBRIDGE_IRC_CORP_NICKSERVPASSWORD=too"}})
	c, _ := written(t, p)
	if got := c.Account("corp-jabber").Password.Expose(); got != "from-env" {
		t.Errorf("password = %q", got)
	}
	if got := c.Network("corp").SASL.Password.Expose(); got != "too" {
		t.Errorf("sasl password = %q", got)
	}
}

const oneGateway = `
[[gateway]]
name="g"
enable=true
[[gateway.inout]]
account="irc.a"
channel="#a"
[[gateway.inout]]
account="xmpp.b"
channel="a"
`

const twoAccounts = "[irc.a]\nServer=\"irc.example:6697\"\nNick=\"n\"\nUseTLS=true\n[xmpp.b]\nJid=\"b@example.org\"\nPassword=\"pw\"\nMuc=\"rooms.example.org\"\nNick=\"b\"\n"

// mistakes are files that make no configuration, each with the line and the way out.
var mistakes = []struct{ name, in, want string }{
	{"empty", "", "m.toml: has no gateway: nothing is joined; fix: add [[gateway]]"},
	{"a value without quotes", "[irc.a]\nPassword=MATTERBRIDGE_IRC\n", "m.toml:2: is not TOML: "},
	{"its way out", "[irc.a]\nPassword=MATTERBRIDGE_IRC\n", "; fix: put the value in quotes"},
	{"a string without its end", "[irc.a]\nNick=\"open\n", "m.toml:2: is not TOML"},
	{"a key twice", "[irc.a]\nNick=\"a\"\nNick=\"b\"\n", "m.toml:3: is not TOML"},
	{"no such account", twoAccounts + strings.ReplaceAll(oneGateway, "irc.a", "irc.c"), `m.toml:14: gateway "g": there is no account "irc.c"; fix: add [irc.c]`},
	{"no protocol", twoAccounts + strings.ReplaceAll(oneGateway, "irc.a", "a"), `m.toml:14: gateway "g": account "a" has no protocol; fix: as in account = "irc.libera"`},
	{"one bracket", twoAccounts + "[gateway]\nname=\"g\"\n", "m.toml:10: gateway: must be a list of tables, but is a table; fix: write [[gateway]], in two brackets"},
	{"no server", strings.Replace(twoAccounts, "Server", "Sever", 1) + oneGateway, `m.toml:1: irc.a: has no Server; fix: add Server = "irc.example.org:6697"`},
	{"no password", strings.Replace(twoAccounts, "Password=\"pw\"\n", "", 1) + oneGateway, `m.toml:5: xmpp.b: has no Password; fix: add Password = "…"`},
	{"a switch in quotes", strings.Replace(twoAccounts, "UseTLS=true", "UseTLS=\"yes\"", 1) + oneGateway, "m.toml:4: irc.a.UseTLS: must be true or false, but is text; fix: write true or false, without quotes"},
	{"accounts without a name", "[irc]\nServer=\"a:1\"\n" + oneGateway, "m.toml:2: irc.Server: stands in [irc], not with an account of it; fix: write [irc.NAME] above it"},
	{"a name in two cases", twoAccounts + "[irc.A]\nNick=\"x\"\n" + oneGateway, "m.toml:10: irc.A: stands twice"},
	{"a nick of two words", strings.Replace(twoAccounts, `Nick="n"`, `Nick="two words"`, 1) + oneGateway, "m.toml:3: networks.a.nick: "},
	{"a channel without its sign", twoAccounts + strings.Replace(oneGateway, "#a", "a", 1), "m.toml:14: bridges.g.irc[0].channel: channel \"a\" has no #; fix: write \"#a\""},
	{"a JID without a user", strings.Replace(twoAccounts, "b@example.org", "example.org", 1) + oneGateway, `m.toml:6: accounts.b.jid: "example.org" has no user`},
	{"too large", strings.Repeat("#", maxFile+1), "m.toml: is larger than 1 MiB"},
}

func TestMatterbridgeMistakes(t *testing.T) {
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Matterbridge("m.toml", []byte(tt.in), Options{CheckTemplate: core.CheckTemplate})
			dir := t.TempDir()
			if err == nil {
				_, err = p.Write(filepath.Join(dir, "drawbridge.yaml"), config.Options{CheckTemplate: core.CheckTemplate})
			}
			var list config.Errors
			if !errors.As(err, &list) {
				t.Fatalf("err = %v, want a list", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			if strings.Contains(err.Error(), "MATTERBRIDGE") || strings.Contains(err.Error(), "pw") {
				t.Errorf("a value that may be secret is told: %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%v stays", left)
			}
		})
	}
}

// shapes are other ways to write the same, and what becomes of them.
func TestMatterbridgeShapes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"inline tables", twoAccounts + "[[gateway]]\nname=\"g\"\nenable=true\ninout=[{account=\"irc.a\",channel=\"#a\",options={key=\"k\"}},{account=\"xmpp.b\",channel=\"a\"}]\n", "channel: '#a'"},
		{"in and out of one room", twoAccounts + strings.ReplaceAll(oneGateway, "inout", "in") + "[[gateway.out]]\naccount=\"irc.a\"\nchannel=\"#a\"\n[[gateway.out]]\naccount=\"xmpp.b\"\nchannel=\"a\"\n", "room: a@rooms.example.org"},
		{"a whole JID as channel", twoAccounts + strings.Replace(oneGateway, `channel="a"`, `channel="a@other.example"`, 1), "room: a@other.example"},
		{"no TLS, with a login", strings.Replace(twoAccounts, "UseTLS=true", "UseSASL=true\nNickServNick=\"n\"\nNickServPassword=\"p\"", 1) + oneGateway, "mechanism: scram-sha-256"},
		{"direct TLS", strings.Replace(twoAccounts, "Muc=", "UseDirectTLS=true\nMuc=", 1) + oneGateway, "tls: direct"},
		{"a server without a port", strings.Replace(twoAccounts, ":6697", "", 1) + oneGateway, "server: irc.example:6697"},
		{"a format of its own", strings.Replace(twoAccounts, "UseTLS", "RemoteNickFormat=\"{GATEWAY}/{NICK}\"\nUseTLS", 1) + oneGateway, "is not a template of ours"},
		{"names that YAML or we mean otherwise", strings.ReplaceAll(twoAccounts+oneGateway, "irc.a", `irc."off"`), ""},
		{"QuakeNet", strings.Replace(twoAccounts, "UseTLS", "NickServNick=\"Q@CServe.quakenet.org\"\nNickServPassword=\"p\"\nUseTLS", 1) + oneGateway, "the login of QuakeNet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.ReplaceAll(tt.in, `account="irc."off""`, `account="irc.off"`)
			p, err := Matterbridge("m.toml", []byte(in), Options{CheckTemplate: core.CheckTemplate})
			if err != nil {
				t.Fatal(err)
			}
			if _, text := written(t, p); !strings.Contains(text, tt.want) {
				t.Errorf("got\n%s\nwant %s in it", text, tt.want)
			}
		})
	}
}

// FuzzMatterbridge: whatever the file, there is a configuration that loads, or a
// list of what is wrong that names the file.
func FuzzMatterbridge(f *testing.F) {
	for _, tt := range mistakes {
		if len(tt.in) < 1000 {
			f.Add([]byte(tt.in))
		}
	}
	team, err := os.ReadFile("testdata/team.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(team)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Matterbridge("m.toml", data, Options{CheckTemplate: core.CheckTemplate, BothWays: true})
		loadsOrSaysWhy(t, p, err, "m.toml")
	})
}

// loadsOrSaysWhy holds what both importers promise.
func loadsOrSaysWhy(t *testing.T, p *Plan, err error, file string) {
	t.Helper()
	if err == nil {
		if _, _, n := p.Counts(); n == 0 {
			return
		}
		_, err = p.Write(filepath.Join(t.TempDir(), "drawbridge.yaml"), config.Options{CheckTemplate: core.CheckTemplate})
	}
	if err == nil {
		return
	}
	var list config.Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("err = %#v, want a list", err)
	}
	for _, e := range list {
		if e.Pos.File != file || e.What == "" {
			t.Fatalf("%v does not name the file, or says nothing", e)
		}
	}
}
