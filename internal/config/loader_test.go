package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"

	"gopkg.in/yaml.v3"
)

func TestLoadGood(t *testing.T) {
	dir := home(t)
	c, errs := load(t, dir, good, Options{})
	if errs != nil {
		t.Fatal(errs)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if got := names(c.Networks, networkName); !slices.Equal(got, []string{"corp", "open"}) {
		t.Errorf("networks are %v, want them in the order of the file", got)
	}
	a := c.Account("dev-bot")
	if a.Password.Expose() != "xmpp pass" || a.Password.File != filepath.Join(dir, "secrets/xmpp") {
		t.Errorf("password %q of %s", a.Password.Expose(), a.Password.File)
	}
	if got := a.OpenPGP.Key.Expose(); got != "armored\nkey\n" {
		t.Errorf("a key is taken as it is, not %q", got)
	}
	if got := c.Person("alice").OpenPGP[0]; got != "A1B2C3D4E5F60718293A4B5C6D7E8F90A1B2C3D4" {
		t.Errorf("fingerprint %s", got)
	}
	if got := c.Person("bob").Policy().IRC["corp"].Accounts; !slices.Equal(got, []string{"bob"}) {
		t.Errorf("bob's IRC accounts are %v", got)
	}
	if c.Network("nobody") != nil || c.Account("nobody") != nil {
		t.Error("a name that stands nowhere is found")
	}
}

// The defaults that config.example.yaml and the doc comments promise.
func TestDefaults(t *testing.T) {
	text := edit(t, good, "    require: {in: sealed, out: verified}\n    schemes: [openpgp]\n", "")
	text = edit(t, text, "admin: {people: [alice]}\nmetrics: {listen: 127.0.0.1:9115}\nlog: {level: info, format: text}\n", "")
	c, errs := load(t, home(t), text, Options{Environ: []string{"XDG_RUNTIME_DIR=/run/user/7"}})
	if errs != nil {
		t.Fatal(errs)
	}
	want := Bridge{
		Name: "dev", IRC: c.Bridges[0].IRC, XMPP: c.Bridges[0].XMPP,
		Require: policy.Floor{In: policy.Sealed, Out: policy.Verified}, Schemes: []string{"openpgp"}, Trust: "pinned",
		WhenBlocked: WhenBlocked{24 * time.Hour, "bounce"}, Offline: Offline{24 * time.Hour, 200}, Late: Late{5 * time.Minute, 20},
		OnDoubt: "resend", Show: Show{Joins: "off"}, Announce: DefaultAnnounce,
	}
	if got := c.Bridges[0]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("bridge is\n%+v, want\n%+v", got, want)
	}
	if c.Networks[0].TLS != TLSOn || c.Accounts[0].TLS != TLSStartTLS {
		t.Errorf("TLS is %s and %s", c.Networks[0].TLS, c.Accounts[0].TLS)
	}
	if s := c.Networks[0].SASL; s.Mechanism != "plain" || s.Account != "bridge" {
		t.Errorf("SASL is %s %s", s.Mechanism, s.Account)
	}
	if c.Log.Level != "info" || c.Log.Format != "text" || c.Metrics.Listen != "" || c.Admin.Socket != "/run/user/7/drawbridge/admin.sock" {
		t.Errorf("%+v %+v %+v", c.Log, c.Metrics, c.Admin)
	}
}

func TestSettings(t *testing.T) {
	text := edit(t, good, "    schemes: [openpgp]\n", "    when_blocked: {hold: 1h30m}\n    offline: {keep: 7d}\n    announce: off\n    on_doubt: skip\n    show: {joins: digest}\n")
	text = edit(t, text, "{in: sealed,", "{")
	text = edit(t, text, "keep: 7d", "keep: 7d, lines: 0")
	c, errs := load(t, home(t), text, Options{})
	if errs != nil {
		t.Fatal(errs)
	}
	b := c.Bridges[0]
	if b.WhenBlocked.Hold != 90*time.Minute || b.Offline.Keep != 7*24*time.Hour || b.Offline.Lines != 0 || b.Announce != "" || b.OnDoubt != "skip" || b.Show.Joins != "digest" {
		t.Errorf("%+v", b)
	}
	if b.Require != defaultFloor {
		t.Errorf("a floor for one direction leaves the other at its default, not %+v", b.Require)
	}
}

func TestFloors(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
	}{
		{"clear says so for all", "require: {in: sealed, out: verified}", "require: clear"},
		{"a plain room that owns up", "people: [alice, bob]", "people: [alice, bob]\n      rooms: [{room: dev@rooms.corp.example, require: clear}]"},
		{"a plain network that owns up", `{network: corp, channel: "#dev"}`, `{network: corp, channel: "#dev", require: clear}`},
		{"in clear, out sealed", "require: {in: sealed, out: verified}", "require: {in: clear, out: sealed}"},
		{"an account without TLS on this machine", "    jid: dev@corp.example\n", "    jid: dev@corp.example\n    server: 127.0.0.1:5222\n    tls: off\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, errs := load(t, home(t), edit(t, good, tt.old, tt.new), Options{}); errs != nil {
				t.Error(errs)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"plain port", "irc.corp.example:6697", "irc.corp.example:6667", "c.yaml:3: networks.corp.server[0]: port 6667 usually does not speak the TLS that this wants; fix: most servers want port 6697 for this"},
		{"direct TLS port", "jid: dev@corp.example", "jid: dev@corp.example\n    server: xmpp.corp.example:5223", "c.yaml:12: accounts.dev-bot.server: port 5223 usually does not speak the TLS that this wants; fix: most servers want port 5222, or tls: direct, for this"},
		{"a network without use", `{network: open, channel: "#open"}`, `{network: corp, channel: "#two"}`, "c.yaml:6: networks.open: no bridge uses it; fix: remove it, or add a channel of it to a bridge or to rooms"},
		{"one channel in two bridges", `{network: open, channel: "#open"}`, `{network: corp, channel: "#dev"}, {network: open, channel: "#open"}`, "c.yaml:33: bridges.open.irc[0]: channel #dev is in bridge dev too: its lines go to both, other lines stay in their bridge; fix: put all of them into one bridge if everybody shall hear everybody"},
		{"an admin out of reach", "people: [alice, bob]", "people: [bob]", "c.yaml:34: admin.people[0]: alice is in no bridge, so the bot cannot tell them anything; fix: add them to a bridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t)
			c, errs := load(t, dir, edit(t, good, tt.old, tt.new), Options{})
			if errs != nil {
				t.Fatal(errs)
			}
			if len(c.Warnings) != 1 {
				t.Fatalf("warnings: %v", c.Warnings)
			}
			if got := strings.ReplaceAll(c.Warnings[0].Error(), dir+"/", ""); got != tt.want {
				t.Errorf("warning is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestPos(t *testing.T) {
	c, _ := load(t, home(t), good, Options{})
	for key, line := range map[string]int{
		"networks.corp.server":            3,
		"bridges.dev.xmpp":                27,
		"bridges.dev.xmpp.people[1]":      29,
		"bridges.dev.irc[0].channel":      26,
		"accounts.dev-bot.password":       12,
		"accounts.dev-bot.openpgp.key":    13,
		"accounts.dev-bot.tls":            10, // not there: the block
		"people.bob.irc.corp.accounts[0]": 23,
		"people.bob.openpgp[0]":           22,
		"nowhere":                         0,
	} {
		if got := c.Pos(key).Line; got != line {
			t.Errorf("Pos(%q) is line %d, want %d", key, got, line)
		}
	}
	if got := c.Errorf("bridges.dev.xmpp.people[1]", "do this", "is %s", "wrong").Error(); got != c.File+":29: bridges.dev.xmpp.people[1]: is wrong; fix: do this" {
		t.Errorf("Errorf gives %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	const pw = "DRAWBRIDGE_ACCOUNTS_DEV_BOT_PASSWORD"
	for _, tt := range []struct {
		name, old, new string
		env            []string
		flags          map[string]string
		want           func(c *Config) string
		is             string // what want returns
		errs           []string
	}{
		{name: "a secret over its file", env: []string{pw + "=from env"}, want: func(c *Config) string { return c.Account("dev-bot").Password.Expose() }, is: "from env"},
		{name: "a secret's file over its file", env: []string{pw + "_FILE=secrets/pass"}, want: func(c *Config) string { return c.Account("dev-bot").Password.Expose() }, is: "key pass"},
		{name: "a secret over a missing one", old: "    password_file: secrets/xmpp\n", env: []string{pw + "=from env"}, want: func(c *Config) string { return c.Account("dev-bot").Password.Expose() }, is: "from env"},
		{name: "a channel's key", env: []string{"DRAWBRIDGE_BRIDGES_DEV_IRC_0_KEY=k"}, want: func(c *Config) string { return c.Bridges[0].IRC[0].Key.Expose() }, is: "k"},
		{name: "a list of servers", env: []string{"DRAWBRIDGE_NETWORKS_CORP_SERVER=a.example:1, b.example:2"}, want: func(c *Config) string { return strings.Join(c.Network("corp").Server, " ") }, is: "a.example:1 b.example:2"},
		{name: "a block that is not there", old: "metrics: {listen: 127.0.0.1:9115}\n", env: []string{"DRAWBRIDGE_METRICS_LISTEN=:0"}, want: func(c *Config) string { return c.Metrics.Listen }, is: ":0"},
		{name: "a flag over all", env: []string{"DRAWBRIDGE_LOG_LEVEL=warn"}, flags: map[string]string{"log.level": "debug"}, want: func(c *Config) string { return c.Log.Level }, is: "debug"},
		{name: "log", env: []string{"DRAWBRIDGE_LOG_LEVEL=warn"}, want: func(c *Config) string { return c.Log.Level }, is: "warn"},
		{name: "others are left alone", env: []string{"DRAWBRIDGE_CONFIG=x", "DRAWBRIDGE_E2E=1", "HOME=/x"}, want: func(c *Config) string { return c.Log.Level }, is: "info"},

		{name: "both", env: []string{pw + "=a", pw + "_FILE=b"}, errs: []string{pw + ": accounts.dev-bot.password: " + pw + "_FILE is set too; fix: unset one of them"}},
		{name: "empty", env: []string{pw + "="}, errs: []string{pw + ": accounts.dev-bot.password: is empty; fix: unset it, or give it a value"}},
		{name: "misspelt", env: []string{"DRAWBRIDGE_ACCOUNTS_DEV_BOT_PASWORD=hunter2"}, errs: []string{"DRAWBRIDGE_ACCOUNTS_DEV_BOT_PASWORD: this variable names no value of c.yaml; fix: did you mean " + pw + "?"}},
		{name: "of another file", env: []string{"DRAWBRIDGE_PEOPLE_X=hunter2"}, errs: []string{"DRAWBRIDGE_PEOPLE_X: this variable names no value of c.yaml; fix: unset it; secrets, servers, listen addresses and log can be given this way"}},
		{name: "wrong value", env: []string{"DRAWBRIDGE_LOG_LEVEL=loud"}, errs: []string{`DRAWBRIDGE_LOG_LEVEL: log.level: "loud" is not one of debug, info, warn, error`}},
		{name: "wrong flag", flags: map[string]string{"log.level": "loud"}, errs: []string{`--log-level: log.level: "loud" is not one of debug, info, warn, error`}},
		{name: "no such flag", flags: map[string]string{"log.colour": "red"}, errs: []string{`--log-colour: log.colour: no such value to override`}},
		{name: "file not there", env: []string{pw + "_FILE=none"}, errs: []string{pw + "_FILE: accounts.dev-bot.password: none: no such file or directory; fix: write the secret into it: (umask 077; cat > none)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := good
			if tt.old != "" {
				text = edit(t, good, tt.old, tt.new)
			}
			c, errs := load(t, home(t), text, Options{Environ: tt.env, Flags: tt.flags})
			if !slices.Equal(errs, tt.errs) {
				t.Fatalf("errors\n%s\nwant\n%s", strings.Join(errs, "\n"), strings.Join(tt.errs, "\n"))
			}
			if tt.want != nil {
				if got := tt.want(c); got != tt.is {
					t.Errorf("got %q, want %q", got, tt.is)
				}
			}
		})
	}
}

// A secret that others can read is refused, wherever it stands.
func TestOpenSecrets(t *testing.T) {
	dir := home(t)
	path := filepath.Join(dir, "c.yaml")
	inline := edit(t, good, "password_file: secrets/xmpp", "password: hunter2")
	for _, tt := range []struct {
		name, text string
		config     os.FileMode
		secret     os.FileMode
		want       []string
	}{
		{"config without secrets, for all", good, 0o644, 0o600, nil},
		{"config with a secret, for the owner", inline, 0o400, 0o600, nil},
		{"config with a secret, for the group", inline, 0o640, 0o600, []string{"c.yaml:12: accounts.dev-bot.password: is a secret in a file open to others (mode 0640); fix: chmod 600 c.yaml, or use password_file"}},
		{"secret for the group", good, 0o600, 0o640, []string{"c.yaml:12: accounts.dev-bot.password_file: secrets/xmpp is open to others (mode 0640); fix: chmod 600 secrets/xmpp"}},
		{"secret for all", good, 0o600, 0o604, []string{"c.yaml:12: accounts.dev-bot.password_file: secrets/xmpp is open to others (mode 0604); fix: chmod 600 secrets/xmpp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			write(t, path, tt.text, tt.config)
			write(t, filepath.Join(dir, "secrets/xmpp"), "pass", tt.secret)
			_, err := Load(path, Options{})
			if got := lines(t, dir, err); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	dir := home(t)
	text := edit(t, good, "{account: bridge, password_file: secrets/irc}", "{cert_file: secrets/cert.pem}")
	path := filepath.Join(dir, "secrets/cert.pem")
	write(t, path, certificate(t), 0o600)
	c, errs := load(t, dir, text, Options{})
	if errs != nil {
		t.Fatal(errs)
	}
	if s := c.Networks[0].SASL; s.Mechanism != "external" || s.CertFile != path || s.Account != "" {
		t.Errorf("SASL is %+v", s)
	}
	write(t, path, certificate(t), 0o644)
	_, errs = load(t, dir, text, Options{})
	if want := []string{"c.yaml:5: networks.corp.sasl.cert_file: secrets/cert.pem holds a secret key and is open to others (mode 0644); fix: chmod 600 secrets/cert.pem"}; !slices.Equal(errs, want) {
		t.Errorf("got %q", errs)
	}
	cert, _, _ := strings.Cut(certificate(t), "-----BEGIN EC")
	write(t, path, cert, 0o600)
	_, errs = load(t, dir, text, Options{})
	if len(errs) != 1 || !strings.Contains(errs[0], "it wants the certificate and its key in one PEM file") {
		t.Errorf("got %q", errs)
	}
}

// systemd gives credentials in a folder of its own, with a group bit that is an
// access list.
func TestCredentials(t *testing.T) {
	dir, creds := home(t), t.TempDir()
	write(t, filepath.Join(creds, "xmpp"), "from systemd", 0o440)
	for _, path := range []string{"$CREDENTIALS_DIRECTORY/xmpp", "${CREDENTIALS_DIRECTORY}/xmpp"} {
		c, errs := load(t, dir, edit(t, good, "secrets/xmpp", `"`+path+`"`), Options{Environ: []string{"CREDENTIALS_DIRECTORY=" + creds}})
		if errs != nil {
			t.Fatal(errs)
		}
		if got := c.Account("dev-bot").Password.Expose(); got != "from systemd" {
			t.Errorf("password is %q", got)
		}
	}
	write(t, filepath.Join(creds, "cert"), certificate(t), 0o440)
	text := edit(t, good, "{account: bridge, password_file: secrets/irc}", "{cert_file: $CREDENTIALS_DIRECTORY/cert}")
	if _, errs := load(t, dir, text, Options{Environ: []string{"CREDENTIALS_DIRECTORY=" + creds}}); errs != nil {
		t.Error(errs)
	}
	write(t, filepath.Join(creds, "xmpp"), "from systemd", 0o444)
	_, errs := load(t, dir, edit(t, good, "secrets/xmpp", "$CREDENTIALS_DIRECTORY/xmpp"), Options{Environ: []string{"CREDENTIALS_DIRECTORY=" + creds}})
	if len(errs) != 1 || !strings.Contains(errs[0], "is open to others (mode 0444)") {
		t.Errorf("a credential for all: %q", errs)
	}
}

func TestFileProblems(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, text, want string
		mode             os.FileMode
	}{
		{"empty.yaml", "# only a comment\n", "empty.yaml: is empty; fix: drawbridge init writes one to start from", 0o600},
		{"list.yaml", "- a\n", "list.yaml:1: must be a mapping of networks, accounts, people, bridges …, but is a list; fix: see config.example.yaml", 0o600},
		{"two.yaml", "log: {}\n---\nlog: {}\n", "two.yaml:2: has more than one YAML document; fix: remove the line ---, and what follows", 0o600},
		{"large.yaml", strings.Repeat("#", maxFile+1), "large.yaml: is larger than 1 MiB", 0o600},
	} {
		write(t, filepath.Join(dir, tt.name), tt.text, tt.mode)
		_, err := Load(filepath.Join(dir, tt.name), Options{})
		if got := strings.Join(lines(t, dir, err), "\n"); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	_, err := Load(filepath.Join(dir, "none.yaml"), Options{})
	if got := lines(t, dir, err)[0]; got != "none.yaml: no such file or directory; fix: drawbridge init writes one, --config names another" {
		t.Error(got)
	}
	_, err = Load(dir, Options{})
	if got := err.Error(); got != dir+": is not a file" {
		t.Error(got)
	}
}

// Aliases that would fill the memory, and depth that would fill the stack, are
// errors, quickly.
func TestBombs(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("people:\n  a0: &a0 {jids: [" + strings.Repeat("a@b.c,", 2000) + "]}\n")
	for i := 1; i < 5000; i++ {
		fmt.Fprintf(&laughs, "  a%d: *a0\n", i)
	}
	for name, text := range map[string]string{
		"aliases": laughs.String(),
		"loop":    "people: &p\n  a: *p\n",
		"depth":   "log: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"keys":    strings.Repeat("k: 1\n", 100_000),
		"errors":  "people:\n" + strings.Repeat(" ? \"\"\n", 50_000),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := parse("c.yaml", []byte(text), 0o600, Options{})
			if err == nil {
				t.Fatal("no error")
			}
			if n := len(err.(Errors)); n > maxErrors+1 {
				t.Errorf("%d errors", n)
			}
			t.Log(time.Since(start), strings.SplitN(err.Error(), "\n", 2)[0])
		})
	}
}

// However a secret is printed, it does not show.
func TestSecretIsRedacted(t *testing.T) {
	s := NewSecret("hunter2")
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", Account{Password: s})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", s, "in", Account{Password: s})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "in", Account{Password: s})
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(struct{ S Secret }{s})
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the secret shows:\n%s", out.String())
	}
	if strings.Count(out.String(), "redacted") < 20 {
		t.Errorf("redacted stands too seldom:\n%s", out.String())
	}
}

func TestNearest(t *testing.T) {
	known := []string{"networks", "accounts", "keyring", "people", "bridges", "admin", "metrics", "log"}
	for word, want := range map[string]string{
		"network": "networks", "Network": "networks", "acounts": "accounts", "briges": "bridges", "pepole": "people",
		"logs": "log", "lgo": "log", "zzz": "", "": "", "storage": "", strings.Repeat("x", 1000): "",
	} {
		if got, _ := nearest(word, known); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "abc", 0}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// Whatever the file holds, the loader ends, and what it says is one line for
// each error, with a place and without control characters.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	for _, m := range readMistakes(f) {
		f.Add([]byte(strings.Replace(good, strings.Join(m.old, "\n"), strings.Join(m.new, "\n"), 1)))
	}
	f.Add([]byte("people: &p\n  a: *p\n"))
	breaks := regexp.MustCompile(`[\n\r\x{85}\x{2028}\x{2029}]`) // what YAML counts as lines
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("/nowhere/c.yaml", data, 0o600, Options{})
		if err == nil {
			if d := Diff(c, c); len(d) > 0 {
				t.Fatalf("differs from itself: %q", d)
			}
			return
		}
		if c != nil {
			t.Fatal("a config and an error")
		}
		for _, e := range err.(Errors) {
			if e.What == "" || e.Pos.File == "" || e.Pos.Line > 1+len(breaks.FindAll(data, -1)) {
				t.Fatalf("bad error %+v", e)
			}
			if s := e.Error(); strings.ContainsAny(s, "\n\r\x00\x1b") || len(s) > 2000 {
				t.Fatalf("bad line %q", s)
			}
		}
	})
}
