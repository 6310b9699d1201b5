package importer

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"drawbridge/internal/config"
)

// BiboumiAnswers are what a biboumi.cfg does not tell: it serves users who join
// what they like, and Drawbridge is one bot that joins what is listed.
type BiboumiAnswers struct {
	Nick         string // of the bot on IRC
	JID          string // of the bot's account
	PasswordFile string // with its password; relative to the working directory
	// Pairs are what to join, "CHANNEL=ROOM" as "#dev=dev@rooms.example.org". Where
	// fixed_irc_server is not set the channel is told as users of biboumi do:
	// "#dev%irc.example.org".
	Pairs []string
}

// biboumiKeys are the settings of biboumi.cfg that are not carried, and why.
var biboumiKeys = map[string]keyNote{
	"hostname": keyRead, "password": keyRead, "fixed_irc_server": keyRead, "admin": keyRead, "ca_file": keyRead, "log_level": keyRead,
	"xmpp_server_ip":         {"not needed: the bot is an account and finds its server by DNS", "server: HOST:PORT of the account says otherwise"},
	"port":                   {"it is the component's port; the bot is an account", ""},
	"db_name":                {"it holds what users chose for themselves; it is not read", "list the rooms that a team uses by --bridge"},
	"persistent_by_default":  {"not needed: the bot is always there", ""},
	"realname_customization": {"users have no IRC connection of their own", ""},
	"realname_from_jid":      {"users have no IRC connection of their own", ""},
	"webirc_password":        {"users have no IRC connection of their own", ""},
	"identd_port":            {"users have no IRC connection of their own", ""},
	"log_file":               {"the log goes to standard error, and systemd keeps it", ""},
	"outgoing_bind":          {"the address to connect from is the system's choice", ""},
	"policy_directory":       {"TLS is 1.2 or newer, and certificates are always checked", "ca_file or pin_sha256 of the network, for a certificate of the server's own making"},
}

// biboumi is one import.
type biboumi struct {
	*Plan
	opt    Options
	errs   config.Errors
	values map[string]string
	lines  map[string]int
}

// Biboumi reads a biboumi.cfg. The error is a config.Errors with all that makes it
// unusable, by line, and all that the answers lack.
func Biboumi(file string, data []byte, a BiboumiAnswers, opt Options) (*Plan, error) {
	b := &biboumi{
		Plan: &Plan{program: "biboumi", file: file, places: map[string]config.Pos{}}, opt: opt,
		values: map[string]string{}, lines: map[string]int{},
	}
	if len(data) > maxFile {
		return nil, config.Errors{{Pos: config.Pos{File: file}, What: "is larger than 1 MiB"}}
	}
	b.parse(data)
	b.tell()
	b.build(a)
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	b.Plan.sort()
	return b.Plan, nil
}

func (b *biboumi) fail(line int, key, fix, format string, args ...any) {
	b.errs = append(b.errs, problem(b.file, line, key, fix, format, args...))
}

// parse reads option=value lines; # begins a comment line.
func (b *biboumi) parse(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimRight(line, "\r")
		if text := bytes.TrimSpace(line); len(text) == 0 || text[0] == '#' {
			continue
		}
		key, value, ok := bytes.Cut(line, []byte("="))
		name := string(key)
		switch {
		case !ok:
			b.fail(i+1, "", "write option=value", "has no =")
		case strings.TrimSpace(name) != name || name == "":
			b.fail(i+1, quote(strings.TrimSpace(name)), "write option=value", "biboumi knows no spaces around the option")
		case !utf8.Valid(line):
			b.fail(i+1, quote(name), "save the file as UTF-8", "is not text")
		case b.lines[name] != 0:
			b.fail(i+1, quote(name), "keep one of them", "stands in line %d already", b.lines[name])
		default:
			b.values[name], b.lines[name] = string(value), i+1
		}
	}
	for _, e := range b.opt.Environ {
		if rest, ok := strings.CutPrefix(e, "BIBOUMI_"); ok {
			if name, value, ok := strings.Cut(rest, "="); ok && value != "" {
				b.values[strings.ToLower(name)] = value
			}
		}
	}
	if b.values["hostname"] == "" {
		b.fail(0, "hostname", "hostname=biboumi.example.com", "is missing: this is no biboumi.cfg")
	}
}

// tell notes what is not carried.
func (b *biboumi) tell() {
	names := make([]string, 0, len(b.values))
	for name := range b.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n, known := biboumiKeys[name]
		if n.why != "" && b.values[name] != "" {
			b.left(b.lines[name], name, n.fix, "%s", n.why)
		}
		if !known && b.lines[name] > 0 {
			b.left(b.lines[name], quote(name), "is it spelt right?", "is not known to this importer")
		}
	}
	b.left(b.lines["hostname"], "hostname", "take the component out of the server once nobody uses it",
		"the bot is an account of its own, no component: people talk in one room with the channel, not through a connection each")
	if b.values["password"] != "" {
		b.left(b.lines["password"], "password", "", "it is the component's, which is not needed")
	}
}

// build makes the configuration.
func (b *biboumi) build(a BiboumiAnswers) {
	for _, need := range []struct {
		have bool
		flag string
		what string
	}{
		{a.Nick != "", "--nick NICK", "the bot's nick on IRC"},
		{a.JID != "", "--jid JID", "the bot's Jabber account"},
		{a.PasswordFile != "", "--password-file FILE", "the password of that account"},
		{len(a.Pairs) > 0, "--bridge CHANNEL=ROOM", "which channel is joined to which room: its users chose that for themselves"},
	} {
		if !need.have {
			b.fail(0, "", need.flag, "does not tell %s", need.what)
		}
	}
	if len(b.errs) > 0 {
		return
	}
	name := "jabber"
	b.doc.Accounts = named[account]{{name, &account{JID: a.JID, PasswordFile: a.PasswordFile}}}
	for _, pair := range a.Pairs {
		b.pair(a, name, pair)
	}
	b.admins()
	levels := map[string]string{"0": "debug", "1": "info", "2": "warn", "3": "error"}
	if v := b.values["log_level"]; v != "" {
		level, ok := levels[v]
		if !ok {
			b.fail(b.lines["log_level"], "log_level", "write 0, 1, 2 or 3", "%s is no level", quote(v))
			return
		}
		b.doc.Log = &logging{level}
		b.from("log.level", b.lines["log_level"])
	}
}

// pair makes one bridge of "#dev%irc.example.org=dev@rooms.example.org".
func (b *biboumi) pair(a BiboumiAnswers, account, pair string) {
	at := "--bridge " + quote(pair)
	where, room, ok := strings.Cut(pair, "=")
	if !ok || room == "" {
		b.fail(0, at, "--bridge '#dev=dev@rooms.example.org'", "names no room")
		return
	}
	ch, server := where, b.values["fixed_irc_server"]
	if server == "" {
		i := strings.LastIndexByte(where, '%')
		if i < 0 || i == len(where)-1 {
			b.fail(0, at, "--bridge '#dev%irc.example.org=dev@rooms.example.org'", "names no server, and fixed_irc_server is not set")
			return
		}
		ch, server = where[:i], where[i+1:]
	}
	network := b.network(a, server)
	name := config.Name(strings.Trim(ch, "#&+!"), "bridge", b.doc.Bridges.has)
	b.doc.Bridges = append(b.doc.Bridges, entry[bridge]{name, &bridge{
		IRC: []channel{{Network: network, Channel: ch}}, XMPP: &bridgeXMPP{Account: account, Rooms: []muc{{Room: room}}}, Require: "clear",
	}})
}

// network returns our network for a server, made at its first use.
func (b *biboumi) network(a BiboumiAnswers, server string) string {
	addr := address(server, "6697")
	for _, e := range b.doc.Networks {
		if e.val.Server == addr {
			return e.name
		}
	}
	host, _, _ := net.SplitHostPort(addr)
	labels := strings.Split(host, ".")
	called := labels[0]
	if len(labels) > 1 && (called == "irc" || called == "chat") {
		called = labels[1]
	}
	taken := func(name string) bool { return b.doc.Networks.has(name) || b.doc.Accounts.has(name) }
	name := config.Name(called, "irc", taken)
	n := &network{Server: addr, Nick: a.Nick}
	line := b.lines["fixed_irc_server"]
	b.changed(line, "fixed_irc_server", "", "%s is joined by TLS, with its certificate checked; biboumi went on without where that failed", quote(server))
	if ca := b.values["ca_file"]; ca != "" {
		if _, err := os.Stat(ca); err == nil {
			n.CAFile = ca
			b.from("networks."+name+".ca_file", b.lines["ca_file"])
		} else if len(b.doc.Networks) == 0 {
			b.left(b.lines["ca_file"], "ca_file", "", "%s is not there; the system's authorities are used", quote(ca))
		}
	}
	b.from("networks."+name, line)
	b.doc.Networks = append(b.doc.Networks, entry[network]{name, n})
	return name
}

// admins makes people of the admins.
func (b *biboumi) admins() {
	var names []string
	for jid := range strings.SplitSeq(b.values["admin"], ":") {
		if jid = strings.TrimSpace(jid); jid == "" {
			continue
		}
		local, _, _ := strings.Cut(jid, "@")
		name := config.Name(local, "admin", b.doc.People.has)
		b.doc.People = append(b.doc.People, entry[person]{name, &person{JIDs: []string{jid}}})
		b.from("people."+name, b.lines["admin"])
		names = append(names, name)
	}
	if len(names) == 0 {
		return
	}
	b.doc.Admin = &admin{names}
	b.changed(b.lines["admin"], "admin", fmt.Sprintf("add openpgp: [FINGERPRINT] to people.%s", names[0]), "orders are taken in an encrypted chat only, so admins need a key")
}
