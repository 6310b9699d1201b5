package lab

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	texttemplate "text/template"
)

//go:embed templates
var templates embed.FS

// render fills one of the templates.
func (l *Lab) render(name string, data any) string {
	l.Helper()
	t, err := texttemplate.ParseFS(templates, "templates/"+name)
	l.must(err)
	var b strings.Builder
	l.must(t.Execute(&b, data))
	return b.String()
}

// IRCServer is a running IRC server. Its operator is "oper" with the password
// "operpw".
type IRCServer struct {
	*Proc
	Addr     string // without TLS
	TLSAddr  string // with TLS; the certificate is for localhost and 127.0.0.1
	Cert     *Cert
	Services *Proc // atheme, if asked for

	lab     *Lab
	port    int
	visitor *IRCUser // who talks to services
}

// InspIRCd asks for an InspIRCd 3.15.
type InspIRCd struct {
	Fast     bool // no flood limits; else the built-in ones: 10 lines at once, then one a second
	History  bool // channel mode H: replays lines to whoever joins
	Services bool // atheme: NickServ, ChanServ, SASL PLAIN and EXTERNAL
	STS      bool // a policy of TLS alone for localhost, of five minutes
}

// NgIRCd asks for an ngIRCd 26.1. It offers no capability but multi-prefix.
type NgIRCd struct {
	Fast    bool // no penalty; else the stock one: about 3 lines a second
	NickLen int  // 30 if zero; the stock value is 9
}

type ircConf struct {
	Dir                     string
	Cert                    *Cert
	Port, TLSPort, LinkPort int
	UID, GID, NickLen       int
	Fast, History, STS      bool
	Name, ID                string // of an InspIRCd; insp.test and 000 if empty
	Peer                    string // the server it may link with
	PeerPort                int
}

// InspIRCd starts an InspIRCd, with services where asked for, and waits until
// it takes connections.
func (l *Lab) InspIRCd(o InspIRCd) *IRCServer {
	l.Helper()
	c := l.inspConf(o)
	if o.Services {
		c.LinkPort = l.Port()
	}
	return l.inspircd(o, c)
}

func (l *Lab) inspConf(o InspIRCd) ircConf {
	l.Helper()
	return ircConf{Dir: l.folder("inspircd"), Cert: l.CA.server(), Port: l.Port(), TLSPort: l.Port(), Fast: o.Fast, History: o.History, STS: o.STS}
}

func (l *Lab) inspircd(o InspIRCd, c ircConf) *IRCServer {
	l.Helper()
	conf := filepath.Join(c.Dir, "inspircd.conf")
	l.write(conf, l.render("inspircd.conf", c))
	args := []string{l.program("inspircd"), "--nofork", "--config", conf}
	if os.Geteuid() == 0 {
		args = append(args, "--runasroot")
	}
	s := l.ircServer(&Proc{Name: "inspircd", Dir: c.Dir, Args: args, Logs: []string{filepath.Join(c.Dir, "inspircd.log")}}, c)
	if o.Services {
		s.startServices(c)
	}
	return s
}

// NgIRCd starts an ngIRCd and waits until it takes connections.
func (l *Lab) NgIRCd(o NgIRCd) *IRCServer {
	l.Helper()
	c := ircConf{
		Dir: l.folder("ngircd"), Cert: l.CA.server(), Port: l.Port(), TLSPort: l.Port(),
		UID: os.Geteuid(), GID: os.Getegid(), NickLen: o.NickLen, Fast: o.Fast,
	}
	if c.NickLen == 0 {
		c.NickLen = 30
	}
	conf := filepath.Join(c.Dir, "ngircd.conf")
	l.write(conf, l.render("ngircd.conf", c))
	return l.ircServer(&Proc{Name: "ngircd", Dir: c.Dir, Args: []string{l.program("ngircd"), "--nodaemon", "--config", conf}}, c)
}

func (l *Lab) ircServer(p *Proc, c ircConf) *IRCServer {
	l.Helper()
	s := &IRCServer{Proc: p, Addr: addr(c.Port), TLSAddr: addr(c.TLSPort), Cert: c.Cert, lab: l, port: c.Port}
	l.Start(p)
	l.awaitPort(p, s.Addr)
	l.awaitPort(p, s.TLSAddr)
	return s
}

// Restart starts the server again after Stop or Kill, on the same ports.
func (s *IRCServer) Restart() {
	s.lab.Helper()
	s.lab.must(s.start())
	s.lab.awaitPort(s.Proc, s.Addr)
	s.lab.awaitPort(s.Proc, s.TLSAddr)
}

func (s *IRCServer) startServices(c ircConf) {
	l := s.lab
	l.Helper()
	dir := l.folder("atheme")
	conf := filepath.Join(dir, "atheme.conf")
	l.write(conf, l.render("atheme.conf", c))
	log := filepath.Join(dir, "atheme.log")
	s.Services = l.Start(&Proc{Name: "atheme", Dir: dir, Logs: []string{log}, Args: []string{
		l.program("atheme-services"), "-n", "-c", conf, "-D", dir, "-l", log, "-p", filepath.Join(dir, "atheme.pid"),
	}})
	s.awaitServices(true)
}

// SaveServices has atheme write down its accounts and channels, as it else does now and
// then.
func (s *IRCServer) SaveServices() {
	s.lab.Helper()
	db := filepath.Join(s.Services.Dir, "services.db")
	old, _ := os.Stat(db)
	s.lab.must(s.Services.Signal(syscall.SIGHUP))
	s.lab.Await(patience, "atheme has written its database", func() bool {
		is, err := os.Stat(db)
		return err == nil && (old == nil || is.ModTime().After(old.ModTime()))
	})
}

// StopServices ends atheme, as a crash of its machine does: who was logged in still
// is, and nobody can log in any more.
func (s *IRCServer) StopServices() {
	s.lab.Helper()
	// An InspIRCd that gets words and the end of them at once sees the end a minute later.
	s.visits().asks("PRIVMSG NickServ :INFO nobody", " NOTICE visitor :")
	s.Services.Kill()
	s.awaitServices(false) // else it takes the next atheme for a second one
}

// StartServices starts atheme again, and waits until it is linked.
func (s *IRCServer) StartServices() {
	s.lab.Helper()
	s.lab.must(s.Services.start())
	s.awaitServices(true)
}

// awaitServices waits until the server knows NickServ, or does not any more.
func (s *IRCServer) awaitServices(there bool) {
	s.lab.Helper()
	u := s.visits()
	s.lab.Await(patience, fmt.Sprint("atheme is linked: ", there), func() bool {
		return strings.Contains(u.asks("WHOIS NickServ", " 318 "), " 311 ") == there
	})
}

// visits returns the connection that talks to services. InspIRCd lets nobody in before
// its next second, so one does it all.
func (s *IRCServer) visits() *IRCUser {
	s.lab.Helper()
	if s.visitor == nil || s.visitor.Gone() {
		s.visitor = s.lab.IRCUser(s, "visitor")
	}
	return s.visitor
}

// Register makes a services account, and ties certificate fingerprints to it.
func (s *IRCServer) Register(account, password string, certfps ...string) {
	s.lab.Helper()
	u := s.visits()
	u.asks("NICK "+account, " NICK :"+account)
	u.asks("PRIVMSG NickServ :REGISTER "+password+" "+account+"@mail.example", "is now registered to")
	for _, fp := range certfps {
		u.asks("PRIVMSG NickServ :CERT ADD "+fp, "fingerprint")
	}
	u.asks("PRIVMSG NickServ :LOGOUT", " 901 ")
	u.asks("NICK visitor", " NICK :visitor")
}

// asks sends a line and waits for an answer that contains part. It returns all that came
// until then.
func (u *IRCUser) asks(line, part string) string {
	u.lab.Helper()
	n, got := len(u.Lines()), ""
	u.Send(line)
	if !Poll(patience, func() bool { got = strings.Join(u.Lines()[n:], "\n"); return strings.Contains(got, part) }) {
		u.lab.Fatalf("lab: %s on IRC never saw %q after %q, but:\n%s", u.Nick, part, strings.Fields(line)[0], got)
	}
	return got
}
