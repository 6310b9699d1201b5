package importer

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"drawbridge/internal/config"
)

// Options are what an import takes beside the file.
type Options struct {
	// Environ is the environment, as os.Environ returns it: both programs take
	// settings from it, and they count for more than the file.
	Environ []string
	// BothWays carries what is relayed one way as relayed both ways. Without it, it
	// is left out: nothing may be read where it was not.
	BothWays bool
	// CheckTemplate tells what is wrong with a show.irc or show.xmpp; nil: nothing.
	CheckTemplate func(template string) error
}

// Matterbridge reads a matterbridge.toml, or its YAML or JSON, by the ending of the file.
// The error is a config.Errors with all
// that makes it unusable, by line.
func Matterbridge(file string, data []byte, opt Options) (*Plan, error) {
	if len(data) > maxFile {
		return nil, config.Errors{{Pos: config.Pos{File: file}, What: "is larger than 1 MiB"}}
	}
	root, err := parse(file, data)
	if err != nil {
		return nil, asProblem(err)
	}
	m := &matterbridge{
		Plan: &Plan{program: "matterbridge", file: file, places: map[string]config.Pos{}},
		opt:  opt, networks: map[string]string{}, accounts: map[string]string{}, sections: map[string]*section{},
	}
	m.read(root)
	if len(m.errs) > 0 {
		slices.SortStableFunc(m.errs, func(a, b config.Error) int { return a.Pos.Line - b.Pos.Line })
		return nil, m.errs
	}
	m.Plan.sort()
	return m.Plan, nil
}

// matterbridge is one import.
type matterbridge struct {
	*Plan
	opt      Options
	errs     config.Errors
	general  *section
	sections map[string]*section // "irc.libera" in lower case
	order    []*section
	networks map[string]string // section → our network
	accounts map[string]string // section → our account
}

// section is the table of one account of matterbridge, or [general].
type section struct {
	m    *matterbridge
	id   string // "irc.libera", as it is written
	kind string // "irc", "xmpp", another protocol, "general"
	name string
	t    *table
	used bool // by a gateway that is carried
}

func (m *matterbridge) fail(line int, key, fix, format string, args ...any) {
	m.errs = append(m.errs, problem(m.file, line, key, fix, format, args...))
}

func (m *matterbridge) read(root *table) {
	m.general = &section{m: m, id: "general", kind: "general", t: &table{line: 1}}
	for _, i := range root.items {
		kind := strings.ToLower(i.key)
		switch {
		case kind == "gateway" || kind == "samechannelgateway":
		case kind == "general":
			if t, ok := m.asTable(i, i.key); ok {
				m.general.t = t
				m.note(m.general, nil)
			}
		case kind == "tengo":
			m.left(i.line, i.key, "", "scripts are not run")
		case kind == "irc" || kind == "xmpp" || protocols[kind]:
			m.protocol(i, kind)
		default:
			m.left(i.line, i.key, "", "is not known to this importer")
		}
	}
	m.gateways(root)
	for _, s := range m.order {
		if !s.used && len(m.errs) == 0 && (s.kind == "irc" || s.kind == "xmpp") {
			m.left(s.t.line, s.id, "", "no gateway that was carried uses it")
		}
	}
}

// asTable returns the value of an item as a table, or says that it is none.
func (m *matterbridge) asTable(i item, key string) (*table, bool) {
	t, ok := i.val.(*table)
	if !ok {
		m.fail(i.line, key, fmt.Sprintf("write [%s]", key), "must be a table, but is %s", kind(i.val))
	}
	return t, ok
}

// protocol takes the accounts of one protocol.
func (m *matterbridge) protocol(i item, kind string) {
	t, ok := m.asTable(i, i.key)
	if !ok {
		return
	}
	for _, sub := range t.items {
		id := i.key + "." + sub.key
		st, ok := sub.val.(*table)
		if !ok {
			m.fail(sub.line, id, fmt.Sprintf("write [%s.NAME] above it", kind), "stands in [%s], not with an account of it", i.key)
			continue
		}
		s := &section{m: m, id: id, kind: kind, name: sub.key, t: st}
		if _, twice := m.sections[strings.ToLower(id)]; twice {
			m.fail(st.line, id, "keep one of them", "stands twice: matterbridge does not mind the case of names")
			continue
		}
		m.sections[strings.ToLower(id)] = s
		m.order = append(m.order, s)
		switch kind {
		case "irc":
			m.note(s, ircKeys)
		case "xmpp":
			m.note(s, xmppKeys)
		default:
			m.left(st.line, id, "", "%s is not spoken: Drawbridge joins IRC and Jabber", kind)
		}
	}
}

// note tells of the keys of a section that are not carried.
func (m *matterbridge) note(s *section, keys map[string]keyNote) {
	for _, i := range s.t.items {
		k := strings.ToLower(i.key)
		n, known := keys[k]
		if !known {
			n, known = commonKeys[k]
		}
		switch {
		case !known:
			m.left(i.line, s.id+"."+i.key, "is it spelt right? matterbridge ignores what it does not know", "is not known to this importer")
		case n.why != "" && !empty(i.val):
			m.left(i.line, s.id+"."+i.key, n.fix, "%s", n.why)
		}
	}
}

// line returns where a key of the section stands, else the section.
func (s *section) line(key string) int {
	if i := s.t.get(key); i != nil {
		return i.line
	}
	return s.t.line
}

// text returns a text of the section: the environment counts for more.
func (s *section) text(key string) string {
	env := "MATTERBRIDGE_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.id+"_"+key)) + "="
	for _, e := range s.m.opt.Environ {
		if v, ok := strings.CutPrefix(e, env); ok && v != "" {
			return v
		}
	}
	i := s.t.get(key)
	if i == nil {
		return ""
	}
	v, ok := i.val.(string)
	if !ok {
		s.m.fail(i.line, s.id+"."+key, "put the value in quotes", "must be text, but is %s", kind(i.val))
	}
	return v
}

// yes returns a switch of the section.
func (s *section) yes(key string) bool {
	i := s.t.get(key)
	if i == nil {
		return false
	}
	v, ok := i.val.(bool)
	if !ok {
		s.m.fail(i.line, s.id+"."+key, "write true or false, without quotes", "must be true or false, but is %s", kind(i.val))
	}
	return v
}

// need returns a text that must be there.
func (s *section) need(key, example string) string {
	v := s.text(key)
	if i := s.t.get(key); v == "" && (i == nil || i.val == "") {
		s.m.fail(s.line(key), s.id, fmt.Sprintf("add %s = %q", key, example), "has no %s", key)
	}
	return v
}

// taken reports whether a leg has the name: networks and accounts share them.
func (m *matterbridge) taken(name string) bool {
	return m.doc.Networks.has(name) || m.doc.Accounts.has(name)
}

// network returns our network for a section of irc, made at its first use.
func (m *matterbridge) network(s *section) string {
	if name, ok := m.networks[s.id]; ok {
		return name
	}
	tls := s.yes("UseTLS")
	n := &network{
		Server: address(s.need("Server", "irc.example.org:6697"), map[bool]string{true: "6697", false: "6667"}[tls]),
		Nick:   s.need("Nick", "bridge"), Username: s.text("UserName"), Realname: s.text("RealName"),
	}
	for _, e := range m.doc.Networks {
		if e.val.Server == n.Server && strings.EqualFold(e.val.Nick, n.Nick) && n.Server != "" {
			m.changed(s.t.line, s.id, "", "is one connection with network %s: the same nick on the same server", e.name)
			m.networks[s.id] = e.name
			return e.name
		}
	}
	name := config.Name(s.name, "irc", m.taken)
	m.networks[s.id] = name
	path := "networks." + name
	for ours, theirs := range map[string]string{"": "", ".server": "Server", ".nick": "Nick", ".username": "UserName", ".realname": "RealName", ".password": "Password", ".sasl": "NickServPassword"} {
		m.from(path+ours, s.line(theirs))
	}
	if !tls {
		n.TLS = "off"
		m.changed(s.line("UseTLS"), s.id, "use the server's TLS port (6697) and remove tls: off", "has no TLS: carried as tls: off, and everybody on the way can read along")
	}
	m.skipVerify(s, tls)
	if pw := s.text("Password"); pw != "" {
		n.PasswordFile = m.secret(name, pw)
	}
	n.SASL = m.login(s, name, tls)
	if c := s.text("Charset"); c != "" && !slices.Contains([]string{"utf-8", "utf8", "autodetect"}, strings.ToLower(c)) {
		m.left(s.line("Charset"), s.id+".Charset", "", "lines go out as UTF-8; what comes in and is none is read as Windows-1252")
	}
	m.doc.Networks = append(m.doc.Networks, entry[network]{name, n})
	return name
}

// login returns the login to services of a section of irc, nil without one.
func (m *matterbridge) login(s *section, name string, tls bool) *sasl {
	if s.text("TLSClientCertificate") != "" {
		m.left(s.line("TLSClientCertificate"), s.id+".TLSClientCertificate", "sasl: {mechanism: external, cert_file: FILE}, with certificate and key in one PEM file", "a client certificate is not taken over")
	}
	pw := s.text("NickServPassword")
	who := s.text("NickServNick")
	if pw == "" {
		if s.yes("UseSASL") {
			m.left(s.line("UseSASL"), s.id+".UseSASL", "add sasl: to the network", "there is no NickServPassword to log in with")
		}
		return nil
	}
	at := s.id + ".NickServPassword"
	if strings.ContainsRune(who, '@') {
		m.left(s.line("NickServNick"), s.id+".NickServNick", "", "the login of QuakeNet (Q) is not known here")
		return nil
	}
	out := &sasl{Account: who}
	if !s.yes("UseSASL") {
		if strings.EqualFold(who, "nickserv") {
			out.Account = ""
		}
		m.changed(s.line("NickServPassword"), at, "set sasl: account: if the account has another name than the nick", "login to NickServ by message is done by SASL, before the bot joins")
	}
	if !tls {
		out.Mechanism = "scram-sha-256"
		m.changed(s.line("NickServPassword"), at, "use TLS", "without TLS the login is by SCRAM, which does not show the password; the server must have it")
	}
	out.PasswordFile = m.secret(name+"-sasl", pw)
	return out
}

// skipVerify tells of certificates that were not checked.
func (m *matterbridge) skipVerify(s *section, tls bool) {
	if s.yes("SkipTLSVerify") && tls {
		m.left(s.line("SkipTLSVerify"), s.id+".SkipTLSVerify", "ca_file or pin_sha256, where the server has a certificate of its own making", "certificates are always checked")
	}
}

// known returns our account for a section of xmpp, "" if there is none yet.
func (m *matterbridge) known(s *section) string {
	if name, ok := m.accounts[s.id]; ok {
		return name
	}
	bare, _, _ := strings.Cut(s.text("Jid"), "/")
	for _, e := range m.doc.Accounts {
		if other, _, _ := strings.Cut(e.val.JID, "/"); strings.EqualFold(other, bare) && bare != "" {
			m.changed(s.t.line, s.id, "", "is account %s: one account is in rooms of any service", e.name)
			m.accounts[s.id] = e.name
			return e.name
		}
	}
	return ""
}

// account returns our account for a section of xmpp, made at its first use.
func (m *matterbridge) account(s *section) string {
	if name := m.known(s); name != "" {
		return name
	}
	a := &account{JID: s.need("Jid", "bridge@example.org"), Server: address(s.text("Server"), "5222")}
	called := s.name
	if m.taken(config.Name(called, "jabber", func(string) bool { return false })) {
		called += "-jabber"
	}
	name := config.Name(called, "jabber", m.taken)
	m.accounts[s.id] = name
	if name != s.name {
		m.changed(s.t.line, s.id, "", "is called account %s here: networks and accounts share their names", name)
	}
	path := "accounts." + name
	for ours, theirs := range map[string]string{"": "", ".jid": "Jid", ".server": "Server", ".password": "Password"} {
		m.from(path+ours, s.line(theirs))
	}
	switch off := s.yes("NoTLS") || s.yes("NoStartTLS"); {
	case s.yes("UseDirectTLS"):
		a.TLS = "direct"
	case off:
		a.TLS = "off"
		m.changed(s.t.line, s.id, "remove tls: off", "has no TLS: carried as tls: off, and everybody on the way can read along")
	}
	m.skipVerify(s, a.TLS != "off")
	if strings.EqualFold(s.text("Mechanism"), "PLAIN") && a.TLS != "off" {
		a.AllowPlain = true
	}
	if pw := s.need("Password", "…"); pw != "" {
		a.PasswordFile = m.secret(name, pw)
	}
	m.doc.Accounts = append(m.doc.Accounts, entry[account]{name, a})
	return name
}

// address adds a port to an address that has none.
func address(s, port string) string {
	if s == "" {
		return ""
	}
	if _, _, err := net.SplitHostPort(s); err == nil || strings.Count(s, ":") == 1 {
		return s
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), port)
}

// template makes a template of ours from a RemoteNickFormat.
func (m *matterbridge) template(s *section) string {
	from := s
	f := s.text("RemoteNickFormat")
	if f == "" {
		from, f = m.general, m.general.text("RemoteNickFormat")
	}
	if f == "" {
		return ""
	}
	out := strings.NewReplacer("{NICK}", "{name}", "{NOPINGNICK}", "{name}", "{BRIDGE}", "{origin}", "{PROTOCOL}", "{origin}",
		"{LABEL}", "{origin}", "{NETWORK}", "{origin}").Replace(f)
	once := func(field string) {
		if head, tail, found := strings.Cut(out, field); found {
			out = head + field + strings.ReplaceAll(tail, field, "")
		}
	}
	once("{name}")
	once("{origin}")
	if !strings.Contains(out, "{origin}") {
		out = strings.Replace(out, "{name}", "{name}@{origin}", 1)
	}
	out += "{text}"
	at, line := from.id+".RemoteNickFormat", from.line("RemoteNickFormat")
	if strings.ContainsAny(strings.NewReplacer("{name}", "", "{origin}", "", "{text}", "").Replace(out), "{}") || m.opt.CheckTemplate != nil && m.opt.CheckTemplate(out) != nil {
		m.left(line, at, "show: of the bridge", "%s is not a template of ours: it must show name and network once, with a sign between; the default is used", quote(f))
		return ""
	}
	if strings.Replace(strings.Replace(out, "{name}", "{NICK}", 1), "{text}", "", 1) != f && !strings.Contains(f, "{PROTOCOL}") && !strings.Contains(f, "{BRIDGE}") {
		m.changed(line, at, "", "%s is %s here: a line always shows where it comes from", quote(f), quote(out))
	}
	return out
}

// quote shows a foreign value: short, and harmless to a terminal.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.QuoteToGraphic(strings.ToValidUTF8(s, "?"))
}
