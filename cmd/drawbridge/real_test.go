//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// realHouse is a house on real servers, with a MUC beside the channel.
const realHouse = `networks:
  corp: {server: "IRC", nick: bridge, ca_file: CA}
accounts:
  bot:
    jid: bot@localhost
    password_file: secrets/xmpp
    server: XMPP
    ca_file: CA
    openpgp: {key_file: secrets/bot.asc, passphrase_file: secrets/pass}
keyring: {paths: [keys/]}
people:
  alice:
    jids: [alice@localhost]
    openpgp: [$ALICE]
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice], rooms: [{room: dev@rooms.localhost, nick: bridge, require: clear}]}
admin: {socket: admin.sock}
`

// TestDoctorOnRealServers makes the mistakes that only a server can tell, one at
// a time, and looks at what doctor says.
func TestDoctorOnRealServers(t *testing.T) {
	l := lab.New(t)
	irc := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	irc.Register("bridgeacc", "servicespass")
	ng := l.NgIRCd(lab.NgIRCd{NickLen: 9, Fast: true})
	xmpp := l.Prosody(lab.Prosody{})
	xmpp.AddUser("bot", "alice", "carol")
	xmpp.Befriend("bot", "alice")

	op := l.IRCUser(irc, "op", "#keyed", "#invite", "#banned", "#full", "#moderated", "#registered")
	for _, mode := range []string{"#keyed +k sesame", "#invite +i", "#banned +b bridge!*@*", "#full +l 1", "#moderated +m", "#registered +R"} {
		op.Send("MODE " + mode)
	}
	l.IRCUser(irc, "taken", "#elsewhere")
	op.Send("PING :modes-set")
	op.Expect("modes-set")
	carol := l.XMPPUser(xmpp, "carol", "")
	carol.JoinRoom("closed@rooms.localhost", "carol")
	carol.JoinRoom("nicks@rooms.localhost", "bridge")
	setRoom(carol, "closed@rooms.localhost", "muc#roomconfig_membersonly", "1")
	carol.JoinRoom("locked@rooms.localhost", "carol")
	setRoom(carol, "locked@rooms.localhost", "muc#roomconfig_roomsecret", "sesame")
	setRoom(carol, "nicks@rooms.localhost", "muc#roomconfig_publicroom", "1")

	for _, tt := range []struct {
		name, old, new string
		file           string // whose text it is; default drawbridge.yaml
		want           string // a line of doctor's answer
		ok             bool
	}{
		{name: "all is well", ok: true, want: `✓ corp: connected and logged in as bridge!`},
		{name: "well-kept IRC login", ok: true, old: "nick: bridge,", new: "nick: bridge, sasl: {account: bridgeacc, password_file: secrets/irc},", want: `✓ corp/#dev: joined`},
		{name: "wrong IRC password", old: "nick: bridge,", new: "nick: bridge, sasl: {account: bridgeacc, password_file: secrets/xmpp},", want: `✗ corp: not connected: .*(?i)(sasl|login|password)`},
		{name: "wrong Jabber password", file: "secrets/xmpp", old: lab.Password, new: "wrong", want: `✗ bot: not connected: .*password`},
		{name: "IRC certificate not trusted", old: "nick: bridge, ca_file: CA", new: "nick: bridge", want: `✗ corp: the certificate of .* is not trusted: .*; fix: ca_file`},
		{name: "Jabber certificate not trusted", old: "\n    ca_file: CA", new: "", want: `✗ bot: not connected: .*certificate is not trusted.*ca_file`},
		{name: "wrong IRC pin", old: "nick: bridge, ca_file: CA", new: "nick: bridge, pin_sha256: " + strings.Repeat("ab", 32), want: `✗ corp: the certificate of .* is not the pinned one; fix: pin_sha256: ` + irc.Cert.SHA256()},
		{name: "wrong Jabber pin", old: "\n    ca_file: CA", new: "\n    ca_file: CA\n    pin_sha256: " + strings.Repeat("ab", 32), want: `✗ bot: not connected: .*pin`},
		{name: "TLS where there is none", old: irc.TLSAddr, new: irc.Addr, want: `✗ corp: no TLS with .*; fix: does this port speak TLS`},
		{name: "unreachable server", old: irc.TLSAddr, new: "127.0.0.1:1", want: `✗ corp: 127.0.0.1:1 .* does not answer`},
		{name: "unknown name", old: irc.TLSAddr, new: "nowhere.invalid:6697", want: `✗ corp: nowhere.invalid cannot be resolved`},
		{name: "nick taken", ok: true, old: "nick: bridge,", new: "nick: taken,", want: `· corp: nick taken is taken: we are taken_`},
		{name: "nick too long for the server", ok: true, old: "\"" + irc.TLSAddr + "\", nick: bridge,", new: "\"" + ng.TLSAddr + "\", nick: drawbridge,", want: `· corp: nick drawbridge is too long for this server: we are drawbridg`},
		{name: "channel with a key", old: "#dev", new: "#keyed", want: `✗ corp/#keyed: not joined: .*key`},
		{name: "wrong channel key", old: `"#dev"`, new: `"#keyed", key_file: secrets/irc`, want: `✗ corp/#keyed: not joined: .*key`},
		{name: "invite only", old: "#dev", new: "#invite", want: `✗ corp/#invite: not joined: .*invit`},
		{name: "banned", old: "#dev", new: "#banned", want: `✗ corp/#banned: not joined: .*ban`},
		{name: "full", old: "#dev", new: "#full", want: `✗ corp/#full: not joined: .*(full|limit)`},
		{name: "for registered nicks", old: "#dev", new: "#registered", want: `✗ corp/#registered: not joined: .*(regist|account|logged)`},
		{name: "no voice", old: "#dev", new: "#moderated", want: `✗ corp/#moderated: joined, but moderated \(\+m\): give the bot voice`},
		{name: "members only", old: "dev@rooms.localhost", new: "closed@rooms.localhost", want: `✗ bot/closed@rooms.localhost: not joined: .*member`},
		{name: "room nick taken", ok: true, old: "dev@rooms.localhost", new: "nicks@rooms.localhost", want: `bot/nicks@rooms.localhost: .*nick`},
		{name: "room with a password", old: "dev@rooms.localhost", new: "locked@rooms.localhost", want: `✗ bot/locked@rooms.localhost: not joined: .*password`},
		{name: "no such room service", old: "dev@rooms.localhost", new: "dev@nowhere.localhost", want: `✗ bot/dev@nowhere.localhost: not joined: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := realDir(t, l, irc.TLSAddr, xmpp.Addr)
			if tt.old != "" {
				file := "drawbridge.yaml"
				if tt.file != "" {
					file = tt.file
				}
				if err := substitute(filepath.Join(dir, file), strings.ReplaceAll(tt.old, "CA", l.CA.File), strings.ReplaceAll(tt.new, "CA", l.CA.File)); err != nil {
					t.Fatal(err)
				}
			}
			var out, stderr strings.Builder
			code := run([]string{"doctor", "--wait", "8s", "--config", filepath.Join(dir, "drawbridge.yaml")}, streams{nil, &out, &stderr})
			if (code == exitOK) != tt.ok {
				t.Errorf("exit code %d", code)
			}
			if !regexp.MustCompile("(?m)" + tt.want).MatchString(out.String()) {
				t.Errorf("want %s in\n%s%s", tt.want, out.String(), stderr.String())
			} else {
				t.Log(out.String())
			}
		})
	}
}

// realDir makes a realHouse for these two servers.
func realDir(t *testing.T, l *lab.Lab, irc, xmpp string) string {
	t.Helper()
	dir := t.TempDir()
	fprs, err := makeHouse(dir)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer("IRC", irc, "XMPP", xmpp, "CA", l.CA.File, "$ALICE", fprs["ALICE"]).Replace(realHouse)
	for name, text := range map[string]string{"drawbridge.yaml": conf, "secrets/xmpp": lab.Password + "\n", "secrets/irc": "servicespass\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRunOnRealServers runs a bot and reloads it: what did not change keeps its
// connection, one dead leg does not stop the others, and the web server tells
// when all is ready.
func TestRunOnRealServers(t *testing.T) {
	l := lab.New(t)
	irc := l.InspIRCd(lab.InspIRCd{Fast: true})
	xmpp := l.Prosody(lab.Prosody{})
	xmpp.AddUser("bot", "alice", "dev2")
	xmpp.Befriend("bot", "alice")
	dir := realDir(t, l, irc.TLSAddr, xmpp.Addr)
	path := filepath.Join(dir, "drawbridge.yaml")
	edit := func(old, new string) {
		t.Helper()
		if err := substitute(path, old, new); err != nil {
			t.Fatal(err)
		}
	}
	port := l.Port()
	edit("admin:", fmt.Sprintf("metrics: {listen: \"127.0.0.1:%d\"}\nadmin:", port))
	edit("accounts:", "  dead: {server: \"127.0.0.1:1\", nick: bridge}\naccounts:")
	edit(`irc: [{`, `irc: [{network: dead, channel: "#dead"}, {`)
	cmd := func(args ...string) (int, string) {
		var out strings.Builder
		code := run(append(args, "--config", path), streams{nil, &out, &out})
		return code, out.String()
	}
	status := func() string { _, s := cmd("status"); return s }
	shows := func(pattern string) func() bool {
		re := regexp.MustCompile("(?m)" + pattern)
		return func() bool { return re.MatchString(status()) }
	}
	probe := func() int {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	bot := l.Start(&lab.Proc{Name: "drawbridge", Args: []string{"drawbridge", "run", "--config", path}, Out: filepath.Join(dir, "bot.log")})

	l.Await(patience, "the living legs", func() bool {
		s := status()
		return regexp.MustCompile(`(?m)^corp/#dev +up `).MatchString(s) && regexp.MustCompile(`(?m)^bot/dev@rooms.localhost +up `).MatchString(s)
	})
	if s := status(); !regexp.MustCompile(`(?m)^dead +irc +(down|opening) .*refused`).MatchString(s) || probe() != http.StatusServiceUnavailable {
		t.Errorf("a dead leg: readyz says %d\n%s", probe(), s)
	}
	edit(`{network: dead, channel: "#dead"}, `, "")
	if code, out := cmd("reload"); code != exitOK || !strings.Contains(out, "bridges.dev: - channel #dead on dead") {
		t.Errorf("reload: %d %s", code, out)
	}
	l.Await(patience, "readiness, once the dead leg is gone", func() bool { return probe() == http.StatusOK })

	edit(`channel: "#dev"}`, `channel: "#dev"}, {network: corp, channel: "#more"}`)
	edit("nick: bridge, ca_file", "nick: gate, ca_file")
	if code, out := cmd("reload"); code != exitOK || !strings.Contains(out, "+ channel #more on corp") {
		t.Errorf("reload: %d %s", code, out)
	}
	l.Await(patience, "the new channel", shows(`^corp/#more +up `))
	l.Await(patience, "the new nick", shows(`^corp +irc +up .* gate!`))
	var r report
	_, js := cmd("status", "--json")
	if err := json.Unmarshal([]byte(js), &r); err != nil {
		t.Fatal(err)
	}
	for _, leg := range r.Legs {
		if leg.Connects != 1 {
			t.Errorf("leg %s connected %d times: a reload dropped it", leg.Name, leg.Connects)
		}
	}
	if code, out := cmd("doctor"); code != exitOK || !strings.Contains(out, "✓ corp/#more: joined") {
		t.Errorf("doctor of a running bot: %d %s", code, out)
	}
	bot.Stop()
	if bot.ExitCode() != exitOK {
		t.Errorf("the bot ended with %d", bot.ExitCode())
	}
}

// setRoom sets one field of a room's configuration as its owner (XEP-0045 §10.2).
func setRoom(owner *lab.XMPPUser, room, field, value string) {
	id := fmt.Sprintf("cfg-%s-%s", room, field)
	owner.Send("<iq type='set' id='" + id + "' to='" + room + "'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>" +
		"<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field><field var='" + field + "'><value>" + value + "</value></field>" +
		fieldProtect(field) + "</x></query></iq>")
	owner.Expect(func(st string) bool { return strings.HasPrefix(st, "<iq") && lab.Attr(st, "id") == id }, "room configured")
}

// fieldProtect is the field that must go with a room's password.
func fieldProtect(field string) string {
	if field != "muc#roomconfig_roomsecret" {
		return ""
	}
	return "<field var='muc#roomconfig_passwordprotectedroom'><value>1</value></field>"
}
