package importer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/internal/config"
)

const aBiboumi = `# the gateway of the company
hostname=biboumi.corp.example
password=component-secret
xmpp_server_ip=127.0.0.1
port=5347
db_name=/var/lib/biboumi/biboumi.sqlite
admin=ada@corp.example:bob@corp.example
fixed_irc_server=irc.corp.example
realname_from_jid=true
log_level=1
identd_port=0
no_such_key=1
`

// answers returns what the flags tell, with a password file.
func answers(t testing.TB, pairs ...string) BiboumiAnswers {
	t.Helper()
	pw := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(pw, []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return BiboumiAnswers{Nick: "bridge", JID: "bridge@corp.example", PasswordFile: pw, Pairs: pairs}
}

func TestBiboumiCarriesServersAndAdmins(t *testing.T) {
	p, err := Biboumi("b.cfg", []byte(aBiboumi), answers(t, "#dev=dev@rooms.corp.example", "#ops=ops@rooms.corp.example"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, text := written(t, p)
	if n := c.Network("corp"); n == nil || n.Server[0] != "irc.corp.example:6697" || n.TLS != config.TLSOn || n.Nick != "bridge" {
		t.Errorf("network = %+v of %+v", n, c.Networks)
	}
	if len(c.Bridges) != 2 || c.Bridges[1].XMPP.Rooms[0].Room != "ops@rooms.corp.example" || c.Bridges[1].IRC[0].Channel != "#ops" {
		t.Errorf("bridges = %+v", c.Bridges)
	}
	if len(c.Admin.People) != 2 || c.Person("ada").JIDs[0] != "ada@corp.example" || c.Log.Level != "info" {
		t.Errorf("admin = %+v, log %+v", c.Admin, c.Log)
	}
	var told strings.Builder
	for _, e := range append(p.Left, p.Changed...) {
		told.WriteString(e.Error() + "\n")
	}
	for _, want := range []string{
		"b.cfg:2: hostname: the bot is an account", "b.cfg:6: db_name: it holds what users chose", "b.cfg:9: realname_from_jid: users have no IRC connection",
		`b.cfg:12: "no_such_key": is not known`, "b.cfg:8: fixed_irc_server: \"irc.corp.example\" is joined by TLS",
	} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("told\n%s\nwant %s", &told, want)
		}
	}
	if strings.Contains(told.String()+text, "component-secret") {
		t.Error("the component's secret is told")
	}
}

func TestBiboumiWithoutAFixedServer(t *testing.T) {
	p, err := Biboumi("b.cfg", []byte("hostname=b.example\npassword=x\n"), answers(t, "#a%irc.libera.chat=a@r.example", "#b%irc.oftc.net=b@r.example", "#c%irc.oftc.net=c@r.example"),
		Options{Environ: []string{"BIBOUMI_LOG_LEVEL=3"}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := written(t, p)
	if len(c.Networks) != 2 || c.Network("libera") == nil || c.Network("oftc") == nil || c.Log.Level != "error" {
		t.Errorf("networks = %+v, log %v", c.Networks, c.Log)
	}
}

func TestBiboumiMistakes(t *testing.T) {
	full := answers(t, "#a%irc.example=a@r.example")
	for _, tt := range []struct {
		name, in string
		a        BiboumiAnswers
		want     string
	}{
		{"nothing", "", full, "b.cfg: hostname: is missing: this is no biboumi.cfg"},
		{"no =", "hostname=b\nadmin\n", full, "b.cfg:2: has no =; fix: write option=value"},
		{"spaces", "hostname = b\n", full, `b.cfg:1: "hostname": biboumi knows no spaces around the option`},
		{"twice", "hostname=b\nhostname=c\n", full, `b.cfg:2: "hostname": stands in line 1 already`},
		{"no flags", "hostname=b\n", BiboumiAnswers{}, "b.cfg: does not tell which channel is joined to which room: its users chose that for themselves; fix: --bridge CHANNEL=ROOM"},
		{"no server", "hostname=b\n", answers(t, "#a=a@r.example"), `names no server, and fixed_irc_server is not set; fix: --bridge '#dev%irc.example.org=dev@rooms.example.org'`},
		{"no room", "hostname=b\nfixed_irc_server=i\n", answers(t, "#a"), "names no room"},
		{"a level", "hostname=b\nlog_level=9\n", full, `b.cfg:2: log_level: "9" is no level; fix: write 0, 1, 2 or 3`},
		{"an admin that is no JID", "hostname=b\nadmin=ada\n", full, "b.cfg:2: people.ada.jids[0]: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Biboumi("b.cfg", []byte(tt.in), tt.a, Options{})
			if err == nil {
				_, err = p.Write(filepath.Join(t.TempDir(), "drawbridge.yaml"), config.Options{})
			}
			var list config.Errors
			if !errors.As(err, &list) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzBiboumi(f *testing.F) {
	f.Add([]byte(aBiboumi), "#a%irc.example=a@r.example")
	f.Add([]byte("hostname=b\nca_file=/x\nlog_level=2\nadmin=:a:\n"), "#a=b")
	a := answers(f)
	f.Fuzz(func(t *testing.T, data []byte, pair string) {
		a := a
		a.Pairs = []string{pair, "#x%irc.other.example=x@r.example"}
		p, err := Biboumi("b.cfg", data, a, Options{})
		loadsOrSaysWhy(t, p, err, "b.cfg")
	})
}
