package lab

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The domains that both XMPP servers serve.
const (
	Domain = "localhost"
	Rooms  = "rooms.localhost" // XEP-0045
)

// Password is the password of every account that AddUser makes.
const Password = "correct horse"

// XMPPServer is a running XMPP server.
type XMPPServer struct {
	*Proc
	Addr    string // STARTTLS required
	TLSAddr string // TLS from the first byte (XEP-0368)
	Cert    *Cert

	lab     *Lab
	http    string // ejabberd's API, "" for Prosody
	data    string // Prosody's data of the domain
	stanzas string
	rosters map[string][]string
}

// Prosody asks for a Prosody 0.12.
type Prosody struct {
	Stock   bool // Debian's limits: 10 kB/s for a client
	Archive bool // XEP-0313 for accounts and rooms
	Remade  bool // a room that was destroyed can be made again; else nobody can for a month
	// Register lets everybody make an account in-band (XEP-0077); Invites those who have
	// an invitation, which every user may give (XEP-0401). "admin" is admin of the server.
	Register, Invites bool
	RegisterMax       int // accounts from one address in ten minutes; 0: any number
}

// Ejabberd asks for an ejabberd 23.01.
type Ejabberd struct {
	Stock bool // Debian's shaper: 3000 B/s for a client
	Trace bool // a debug log, which Stanzas reads
	// Captcha asks who makes an account in-band for what a picture shows. The lab's
	// picture is the answer itself, behind the head of a PNG. "admin" is admin of the server.
	Captcha  bool
	Throttle bool // one account from one address in ten minutes, as stock
}

type xmppConf struct {
	Dir, Stanzas, CAFile    string
	Cert                    *Cert
	Port, TLSPort, HTTPPort int
	Stock, Archive, Trace   bool
	Remade                  bool
	Register, Invites       bool
	RegisterMax             int
	Captcha, Throttle       bool
}

// Prosody starts a Prosody and waits until it takes connections. It records
// every stanza in clear; see Stanzas.
func (l *Lab) Prosody(o Prosody) *XMPPServer {
	l.Helper()
	c := xmppConf{
		Dir: l.folder("prosody"), Cert: l.CA.server(), Port: l.Port(), TLSPort: l.Port(), Stock: o.Stock, Archive: o.Archive, Remade: o.Remade,
		Register: o.Register, Invites: o.Invites, RegisterMax: o.RegisterMax,
	}
	c.Stanzas = filepath.Join(c.Dir, "stanzas.log")
	conf := filepath.Join(c.Dir, "prosody.cfg.lua")
	l.write(conf, l.render("prosody.cfg.lua", c))
	l.write(filepath.Join(c.Dir, "modules", "mod_lab_stanzas.lua"), l.render("mod_lab_stanzas.lua", nil))
	l.must(os.MkdirAll(filepath.Join(c.Dir, "data"), 0o700))
	s := &XMPPServer{
		Addr: addr(c.Port), TLSAddr: addr(c.TLSPort), Cert: c.Cert, lab: l,
		data: filepath.Join(c.Dir, "data", Domain), stanzas: c.Stanzas, rosters: map[string][]string{},
	}
	s.Proc = &Proc{Name: "prosody", Dir: c.Dir, Args: []string{l.program("prosody"), "--config", conf, "-F"}, Logs: []string{filepath.Join(c.Dir, "prosody.log")}}
	l.Start(s.Proc)
	s.await()
	return s
}

// Ejabberd starts an ejabberd, without its control script, epmd or Erlang
// distribution, and waits until it takes connections.
func (l *Lab) Ejabberd(o Ejabberd) *XMPPServer {
	l.Helper()
	c := xmppConf{
		Dir: l.folder("ejabberd"), Cert: l.CA.server(), CAFile: l.CA.File, Port: l.Port(), TLSPort: l.Port(), HTTPPort: l.Port(),
		Stock: o.Stock, Trace: o.Trace, Captcha: o.Captcha, Throttle: o.Throttle,
	}
	if o.Captcha {
		l.write(filepath.Join(c.Dir, "captcha.sh"), "#!/bin/sh\nprintf '\\211PNG\\r\\n\\032\\n%s' \"$1\"\n")
		l.must(os.Chmod(filepath.Join(c.Dir, "captcha.sh"), 0o700))
	}
	conf := filepath.Join(c.Dir, "ejabberd.yml")
	l.write(conf, l.render("ejabberd.yml", c))
	for _, d := range []string{"db", "log"} {
		l.must(os.MkdirAll(filepath.Join(c.Dir, d), 0o700))
	}
	found, _ := filepath.Glob("/usr/lib/*/ejabberd-*")
	if len(found) == 0 {
		l.Fatalf("lab: ejabberd is not installed; run `make deps`")
	}
	l.run(l.program("sqlite3"), filepath.Join(c.Dir, "mam.sqlite"), ".read /usr/share/ejabberd/sql/lite.sql")
	log := filepath.Join(c.Dir, "log", "ejabberd.log")
	s := &XMPPServer{Addr: addr(c.Port), TLSAddr: addr(c.TLSPort), Cert: c.Cert, lab: l, http: "http://" + addr(c.HTTPPort), stanzas: log}
	s.Proc = &Proc{
		Name: "ejabberd", Dir: c.Dir, Logs: []string{log},
		Args: []string{
			l.program("erl"), "-noinput", "+K", "true", "+P", "250000", "-boot", "start_sasl", "-sasl", "sasl_error_logger", "false",
			"-mnesia", "dir", `"` + filepath.Join(c.Dir, "db") + `"`, "-s", "ejabberd",
		},
		Env: []string{
			"EJABBERD_CONFIG_PATH=" + conf, "EJABBERD_LOG_PATH=" + log, "SPOOL_DIR=" + filepath.Join(c.Dir, "db"), "HOME=" + c.Dir,
			"ERL_CRASH_DUMP=" + filepath.Join(c.Dir, "log", "erl_crash.dump"), "ERL_EPMD_ADDRESS=127.0.0.1",
			"ERL_LIBS=" + found[0] + ":" + filepath.Dir(found[0]),
		},
	}
	l.Start(s.Proc)
	s.await()
	return s
}

func (s *XMPPServer) await() {
	s.lab.Helper()
	s.lab.awaitPort(s.Proc, s.Addr)
	s.lab.awaitPort(s.Proc, s.TLSAddr)
	if s.http != "" {
		s.lab.awaitPort(s.Proc, strings.TrimPrefix(s.http, "http://"))
	}
}

// Restart starts the server again after Stop or Kill, on the same ports and
// with its data.
func (s *XMPPServer) Restart() {
	s.lab.Helper()
	s.lab.must(s.start())
	s.await()
}

// AddUser makes an account with the given name and Password.
func (s *XMPPServer) AddUser(names ...string) {
	l := s.lab
	l.Helper()
	for _, n := range names {
		if s.http != "" {
			s.api("register", map[string]any{"user": n, "host": Domain, "password": Password})
			continue
		}
		l.write(filepath.Join(s.data, "accounts", n+".dat"), scramAccount(Password))
	}
}

// scramAccount is how Prosody's internal_hashed keeps a password (RFC 5802 §3
// with SHA-256).
func scramAccount(password string) string {
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	hexSalt := hex.EncodeToString(salt) // Prosody takes the salt as text
	salted, err := pbkdf2.Key(sha256.New, password, []byte(hexSalt), iterations, sha256.Size)
	if err != nil {
		panic(err) // the sizes are constants
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	return fmt.Sprintf("return {\n\t[\"iteration_count\"] = %d;\n\t[\"salt\"] = %q;\n\t[\"stored_key\"] = %q;\n\t[\"server_key\"] = %q;\n};\n",
		iterations, hexSalt, hex.EncodeToString(stored[:]), hex.EncodeToString(mac("Server Key")))
}

// Befriend makes two accounts subscribe to each other's presence. With Prosody
// neither may have logged in yet.
func (s *XMPPServer) Befriend(a, b string) {
	s.lab.Helper()
	for _, p := range [][2]string{{a, b}, {b, a}} {
		if s.http != "" {
			s.api("add_rosteritem", map[string]any{
				"localuser": p[0], "localhost": Domain, "user": p[1], "host": Domain, "nick": p[1], "group": "lab", "subs": "both",
			})
			continue
		}
		s.rosters[p[0]] = append(s.rosters[p[0]], p[1])
		var r strings.Builder
		r.WriteString("return {\n\t[false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n")
		for _, o := range s.rosters[p[0]] {
			fmt.Fprintf(&r, "\t[\"%s@%s\"] = { [\"subscription\"] = \"both\"; [\"groups\"] = {}; };\n", o, Domain)
		}
		r.WriteString("};\n")
		s.lab.write(filepath.Join(s.data, "roster", p[0]+".dat"), r.String())
	}
}

// api calls ejabberd's mod_http_api. 24.12 has changed some arguments, and takes
// the old ones as version 0, which 23.01 does not know by that name.
func (s *XMPPServer) api(command string, args map[string]any) {
	s.lab.Helper()
	status, ans := s.post("/api/"+command, args)
	if status == http.StatusBadRequest {
		status, ans = s.post("/api/"+command+"/v0", args)
	}
	if status != http.StatusOK {
		s.lab.Fatalf("lab: ejabberd %s: %d: %s", command, status, ans)
	}
}

func (s *XMPPServer) post(path string, args map[string]any) (status int, answer []byte) {
	s.lab.Helper()
	body, err := json.Marshal(args)
	s.lab.must(err)
	cl := http.Client{Timeout: patience}
	res, err := cl.Post(s.http+path, "application/json", bytes.NewReader(body))
	s.lab.must(err)
	defer func() { _ = res.Body.Close() }()
	answer, _ = io.ReadAll(res.Body)
	return res.StatusCode, answer
}

// Stanza is one stanza as the server saw it, free of TLS.
type Stanza struct {
	In  bool   // from the client to the server
	JID string // the client's full JID; "" where the server's log does not tell
	XML string
}

// erlangXML finds what ejabberd's debug log says about its streams: a quoted
// text, or the bytes as numbers where one is outside ASCII.
var erlangXML = regexp.MustCompile(`(?s)(Received|Send) XML on stream = <<(".*?"|[\d,\s]+)(?:/utf8)?>>\n`)

var erlangText = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "&#10;", `\r`, "&#13;")

func erlangBinary(s string) string {
	if strings.HasPrefix(s, `"`) {
		return erlangText.Replace(strings.Trim(s, `"`))
	}
	var b []byte
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(f)
		b = append(b, byte(n))
	}
	return string(b)
}

// log returns the log of stanzas. ejabberd writes it up to two seconds late, and
// leaves lines out where there are too many at once: a question with a mark in it is
// asked until it is there.
func (s *XMPPServer) log() (b []byte) {
	s.lab.Helper()
	mark, asked := "", time.Time{}
	if s.http != "" {
		mark = "mark-" + rand.Text()
	}
	if !Poll(time.Minute, func() bool {
		if mark != "" && time.Since(asked) > 2*time.Second {
			asked = time.Now()
			s.post("/api/check_account", map[string]any{"user": mark, "host": Domain})
		}
		var err error
		if b, err = os.ReadFile(s.stanzas); err != nil {
			s.lab.Fatalf("lab: no stanza log: %v", err)
		}
		return bytes.Contains(b, []byte(mark))
	}) {
		s.lab.Logf("lab: the log of stanzas stays behind")
	}
	return b
}

// Stanzas returns every stanza that the server exchanged with its clients so
// far, in order. On ejabberd it needs Trace.
func (s *XMPPServer) Stanzas() []Stanza {
	s.lab.Helper()
	b := s.log()
	var out []Stanza
	if s.http != "" {
		for _, m := range erlangXML.FindAllStringSubmatch(string(b), -1) {
			out = append(out, Stanza{In: m[1] == "Received", XML: erlangBinary(m[2])})
		}
		return out
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3); len(f) == 3 {
			out = append(out, Stanza{In: f[0] == "in", JID: f[1], XML: f[2]})
		}
	}
	return out
}
