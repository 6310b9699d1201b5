package importer

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	core "drawbridge/bridge"
	"drawbridge/internal/config"
)

// sampleFile is matterbridge.toml.sample of matterbridge 1.26.0, as it was published: what
// most configurations were made from. (Apache License 2.0: testdata/LICENSE-matterbridge.)
const sampleFile = "matterbridge-1.26.0.toml"

// notes are all that is told of an import.
func notes(p *Plan) string {
	var out strings.Builder
	for _, list := range [][]config.Error{p.Changed, p.Left} {
		for _, e := range list {
			fmt.Fprintln(&out, e)
		}
		out.WriteString("--\n")
	}
	return out.String()
}

// TestMatterbridgeSample: the sample, which has a value without quotes, says where; and
// with a room of its Jabber server in its gateway it makes a bridge.
func TestMatterbridgeSample(t *testing.T) {
	data, err := os.ReadFile("testdata/" + sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Matterbridge(sampleFile, data, Options{}); err == nil || !strings.HasPrefix(err.Error(), sampleFile+":1564: is not TOML: ") || !strings.HasSuffix(err.Error(), "; fix: put the value in quotes") {
		t.Errorf("as it is: %v", err)
	}
	text := string(data)
	for _, edit := range [][2]string{
		{"TLSCACertificate=mumble-ca.crt", `TLSCACertificate="mumble-ca.crt"`},
		{"    [[gateway.inout]]\n    account=\"mattermost.work\"\n    channel=\"off-topic\"\n", "    [[gateway.inout]]\n    account=\"xmpp.jabber\"\n    channel=\"testing\"\n"},
	} {
		if strings.Count(text, edit[0]) != 1 {
			t.Fatalf("%q is not there", edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	p, err := Matterbridge(sampleFile, []byte(text), Options{CheckTemplate: core.CheckTemplate})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/matterbridge-1.26.0.notes", notes(p))
	c, written := written(t, p)
	n, a := c.Network("libera"), c.Account("jabber")
	if n == nil || a == nil || len(c.Bridges) != 1 {
		t.Fatalf("made\n%s", written)
	}
	if n.Server[0] != "irc.libera.chat:6667" || n.TLS != config.TLSOff || n.Nick != "matterbot" || a.JID != "user@example.com" || a.Server != "jabber.example.com:5222" {
		t.Errorf("%+v, %+v", n, a)
	}
	if b := &c.Bridges[0]; b.Name != "gateway1" || b.IRC[0].Channel != "#testing" || b.XMPP.Rooms[0].Room != "testing@conference.jabber.example.com" {
		t.Errorf("bridge %+v", b)
	}
	for _, secret := range []string{"yourpass", "yourkey", `"secret"`} {
		if strings.Contains(written+notes(p), secret) {
			t.Errorf("%s stands in the file, or is told", secret)
		}
	}
}

// The samples of biboumi: conf/biboumi.cfg and docker/biboumi/biboumi.cfg of its repository
// (zlib licence).
const (
	biboumiSample = "hostname=biboumi.example.com\npassword=secret\ndb_name=/var/lib/biboumi/biboumi.sqlite\nlog_file=/var/log/biboumi/biboumi.log\nlog_level=0\nadmin=\nport=5347\n"
	biboumiDocker = "xmpp_server_ip=127.0.0.1\nport=5347\ndb_name=/var/lib/biboumi/biboumi.sqlite\nhostname=xmpp\npassword=\nadmin=\n"
)

func TestBiboumiSamples(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		told     []string
	}{
		{"conf", biboumiSample, []string{"b.cfg:1: hostname", "b.cfg:2: password", "b.cfg:3: db_name", "b.cfg:4: log_file", "b.cfg:7: port"}},
		{"docker", biboumiDocker, []string{"b.cfg:1: xmpp_server_ip", "b.cfg:2: port", "b.cfg:3: db_name", "b.cfg:4: hostname"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Biboumi("b.cfg", []byte(tt.in), BiboumiAnswers{}, Options{}); err == nil || !strings.Contains(err.Error(), "--bridge CHANNEL=ROOM") {
				t.Errorf("without flags: %v", err)
			}
			p, err := Biboumi("b.cfg", []byte(tt.in), answers(t, "#biboumi%irc.libera.chat=biboumi@rooms.corp.example"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			c, _ := written(t, p)
			if n := c.Network("libera"); n == nil || len(c.Bridges) != 1 || c.Bridges[0].IRC[0].Channel != "#biboumi" {
				t.Errorf("%+v", c.Bridges)
			}
			for _, want := range tt.told {
				if !strings.Contains(notes(p), want) {
					t.Errorf("nothing about %s in\n%s", want, notes(p))
				}
			}
			if strings.Contains(notes(p), "is not known") {
				t.Errorf("a setting of the sample is not known:\n%s", notes(p))
			}
		})
	}
}

// forms are one configuration in the three forms that matterbridge reads.
var forms = map[string]string{
	"m.toml": `[irc.corp]
Server="irc.corp.example:6697"
Nick="relay"
UseTLS=true
[xmpp.corp]
Server="xmpp.corp.example:5222"
Jid="relay@corp.example"
Password="secret"
Muc="rooms.corp.example"
Nick="relay"
[[gateway]]
name="dev"
enable=true
[[gateway.inout]]
account="irc.corp"
channel="#dev"
[[gateway.inout]]
account="xmpp.corp"
channel="dev"
`,
	"m.yaml": `irc:
  corp: {Server: "irc.corp.example:6697", Nick: &nick relay, UseTLS: true}
xmpp:
  corp:
    Server: xmpp.corp.example:5222
    Jid: relay@corp.example
    Password: secret
    Muc: rooms.corp.example
    Nick: *nick
    Label: null
gateway:
  - name: dev
    enable: true
    inout:
      - {account: irc.corp, channel: "#dev"}
      - {account: xmpp.corp, channel: dev}
`,
	"m.json": `{"irc": {"corp": {"Server": "irc.corp.example:6697", "Nick": "relay", "UseTLS": true}},
"xmpp": {"corp": {"Server": "xmpp.corp.example:5222", "Jid": "relay@corp.example", "Password": "secret", "Muc": "rooms.corp.example", "Nick": "relay"}},
"gateway": [{"name": "dev", "enable": true, "inout": [{"account": "irc.corp", "channel": "#dev"}, {"account": "xmpp.corp", "channel": "dev"}]}]}
`,
}

// TestMatterbridgeForms: TOML, YAML and JSON make the same configuration.
func TestMatterbridgeForms(t *testing.T) {
	var made []string
	for _, name := range []string{"m.toml", "m.yaml", "m.json"} {
		p, err := Matterbridge(name, []byte(forms[name]), Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, text := written(t, p)
		made = append(made, text[strings.Index(text, "networks:"):]) // not the comments, which name lines of the file
	}
	if len(slices.Compact(made)) != 1 {
		t.Errorf("not the same:\n%s", strings.Join(made, "\n----\n"))
	}
}

func TestMatterbridgeYAMLMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"m.yaml", "irc:\n  corp: {Server: [\n", "m.yaml:2: is not YAML"},
		{"m.json", `{"irc": }` + "\n{", "m.json"},
		{"m.yaml", "- a\n", "m.yaml:1: must be a mapping of keys to values, but is a list"},
		{"m.yaml", "irc: {corp: {Nick: a, Nick: b}}\n", "m.yaml:1: a key stands twice"},
		{"m.yaml", strings.Replace(forms["m.yaml"], "Password: secret", "Password: 12345", 1), "m.yaml:7: xmpp.corp.Password: must be text, but is a number; fix: put the value in quotes"},
		{"m.yaml", strings.Replace(forms["m.yaml"], "UseTLS: true", "UseTLS: yes", 1), "m.yaml:2: irc.corp.UseTLS: must be true or false, but is text"},
		{"m.yml", "a: &a [*a]\n", "m.yml"},
		{"m.yaml", "", "m.yaml: has no gateway"},
		{"m.yaml", "irc: {corp: {Password: !!binary c2VjcmV0}}\n", "m.yaml:1: is no text, number, true or false"},
	} {
		_, err := Matterbridge(tt.name, []byte(tt.in), Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.in, err, tt.want)
		}
	}
}

func FuzzMatterbridgeYAML(f *testing.F) {
	f.Add([]byte(forms["m.yaml"]))
	f.Add([]byte(forms["m.json"]))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Matterbridge("m.yaml", data, Options{CheckTemplate: core.CheckTemplate, BothWays: true})
		loadsOrSaysWhy(t, p, err, "m.yaml")
	})
}
