package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mellium.im/xmpp/jid"
)

// badValue is what is wrong with one value, and the way out.
type badValue struct{ what, fix string }

func bad(fix, format string, args ...any) *badValue {
	return &badValue{fmt.Sprintf(format, args...), fix}
}

// textRules are the rules for text values, by their word in the cfg tag. Each
// returns the value in its canonical form.
var textRules = map[string]func(d *decoder, s string) (string, *badValue){
	"addr":      func(_ *decoder, s string) (string, *badValue) { return parseAddr(s) },
	"listen":    func(_ *decoder, s string) (string, *badValue) { return parseListen(s) },
	"pin":       func(_ *decoder, s string) (string, *badValue) { return parsePin(s) },
	"nick":      func(_ *decoder, s string) (string, *badValue) { return parseNick(s) },
	"word":      func(_ *decoder, s string) (string, *badValue) { return parseWord(s) },
	"line":      func(_ *decoder, s string) (string, *badValue) { return parseLine(s) },
	"jid":       func(_ *decoder, s string) (string, *badValue) { return parseJID(s) },
	"barejid":   func(_ *decoder, s string) (string, *badValue) { return parseBareJID(s) },
	"room":      func(_ *decoder, s string) (string, *badValue) { return parseRoom(s) },
	"fpr":       func(_ *decoder, s string) (string, *badValue) { return parseFingerprint(s) },
	"otrfpr":    func(_ *decoder, s string) (string, *badValue) { return parseOTR(s) },
	"keysource": func(_ *decoder, s string) (string, *badValue) { return parseKeySource(s) },
	"certfp":    func(_ *decoder, s string) (string, *badValue) { return parseCertFP(s) },
	"channel":   func(_ *decoder, s string) (string, *badValue) { return parseChannel(s) },
	"path":      (*decoder).path,
	"template":  (*decoder).template,
	"name":      func(_ *decoder, s string) (string, *badValue) { return parseName(s) },
	"modes":     func(_ *decoder, s string) (string, *badValue) { return parseModes(s) },
	"date":      func(_ *decoder, s string) (string, *badValue) { return parseDate(s) },
	"mask":      func(_ *decoder, s string) (string, *badValue) { return parseMask(s) },
}

// fileRules look into a file that a path names.
var fileRules = map[string]func(d *decoder, path string) *badValue{
	"exists":  func(_ *decoder, path string) *badValue { return checkExists(path) },
	"pem":     func(_ *decoder, path string) *badValue { return checkPEM(path) },
	"keypair": (*decoder).keyPair,
}

// checkText applies the rules of a text value.
func (d *decoder) checkText(t tag, s string) (string, *badValue) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", bad("save the file as UTF-8", "is not text")
	}
	if t.has("oneof") {
		return s, checkOneOf(t, s)
	}
	for rule, parse := range textRules {
		if !t.has(rule) {
			continue
		}
		var err *badValue
		if s, err = parse(d, s); err != nil {
			return "", err
		}
	}
	for rule, look := range fileRules {
		if t.has(rule) {
			if err := look(d, s); err != nil {
				return "", err
			}
		}
	}
	return s, nil
}

func checkOneOf(t tag, s string) *badValue {
	words := t.words("oneof")
	for _, w := range words {
		if s == w {
			return nil
		}
	}
	if why, ok := laterWords[s]; ok && t.has("later") {
		return bad("remove it for now", "%s is not in this version (%s)", s, why)
	}
	list := strings.Join(words, ", ")
	if s == "false" && list == "on, off" || s == "false" && strings.HasSuffix(list, ", off") {
		return bad("write off", "%s is not one of %s", s, list)
	}
	if near, ok := nearest(s, words); ok {
		return bad(fmt.Sprintf("did you mean %q?", near), "%s is not one of %s", quote(s), list)
	}
	if len(words) == 1 {
		return bad("write "+list, "%s is not %s, the only choice here", quote(s), list)
	}
	return bad("", "%s is not one of %s", quote(s), list)
}

// quote shows a foreign value in an error: short, and harmless to a terminal.
func quote(s string) string { return strconv.QuoteToGraphic(clip(s)) }

func clip(s string) string {
	const most = 80
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// parseKeySource reads an entry of keyring.fetch.
func parseKeySource(s string) (string, *badValue) {
	if s == "wkd" {
		return s, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Trim(u.Path, "/") != "":
		return "", bad("write wkd, or a URL as https://keys.openpgp.org", "%s is neither wkd nor the URL of a key server", quote(s))
	case u.Scheme != "https" && u.Scheme != "hkps":
		return "", bad("write https://"+u.Host, "%s is asked without TLS", quote(s))
	}
	return s, nil
}

func goodName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '-' && r != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func parseName(s string) (string, *badValue) {
	if !goodName(s) {
		return "", bad("use letters, digits, - and _, at most 64, beginning with a letter or digit", "%s is not a name", quote(s))
	}
	return s, nil
}

var modeList = regexp.MustCompile(`^([+-][A-Za-z]+)+$`)

// parseModes reads channel modes without parameters.
func parseModes(s string) (string, *badValue) {
	if !modeList.MatchString(s) {
		return "", bad("write +nt, or +ntR-i", "%s is not a list of modes", quote(s))
	}
	if i := strings.IndexAny(s, "beIklqovha"); i >= 0 {
		return "", bad("remove it; rules say who holds op and who is banned", "mode %c has a parameter", s[i])
	}
	return s, nil
}

// parseMask reads nick!user@host; a nick alone is nobody.
func parseMask(s string) (string, *badValue) {
	nick, rest, bang := strings.Cut(s, "!")
	user, host, at := strings.Cut(rest, "@")
	if !bang || !at || nick == "" || user == "" || host == "" || strings.ContainsAny(s, " ,") || strings.ContainsFunc(s, unicode.IsControl) {
		return "", bad("write *!USER@HOST", "%s is not a mask nick!user@host", quote(s))
	}
	if strings.Trim(host, "*?.") == "" {
		return "", bad("write *!USER@HOST", "mask %s fits everybody", quote(s))
	}
	return s, nil
}

// ParseDuration reads what durations are in the file: 30s, 8h, 30d.
func ParseDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s; %s", err.what, err.fix)
	}
	return d, nil
}

// parseDuration reads 30s, 5m, 8h, 30d and sums of them, as 1h30m.
func parseDuration(s string) (time.Duration, *badValue) {
	const fix = "write a number with s, m, h or d, as 30s, 8h or 30d"
	if _, err := strconv.Atoi(s); err == nil && s != "0" {
		return 0, bad(fix, "%s has no unit", s)
	}
	text := s
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		x, err := strconv.Atoi(n)
		if err != nil || x < 0 || x > 36500 {
			return 0, bad(fix, "%s is not a duration", quote(s))
		}
		if days, text = time.Duration(x)*24*time.Hour, rest; rest == "" {
			return days, nil
		}
	}
	x, err := time.ParseDuration(text)
	if err != nil || x < 0 || x > 36500*24*time.Hour {
		return 0, bad(fix, "%s is not a duration", quote(s))
	}
	return days + x, nil
}

// parseAddr reads HOST:PORT; an IPv6 host stands in brackets.
func parseAddr(s string) (string, *badValue) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return "", bad(fmt.Sprintf("write %s: TLS is on anyway", quote(strings.TrimSuffix(rest, "/"))), "%s is a URL with %s://", quote(s), clip(scheme))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") {
			return "", bad("write [ADDRESS]:PORT", "%s is an IPv6 address without brackets and port", quote(s))
		}
		return "", bad("write HOST:PORT, as irc.example.org:6697 or xmpp.example.org:5222", "%s has no port", quote(s))
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return "", bad("", "%s is not a port (1 to 65535)", quote(port))
	}
	if host == "" || strings.ContainsAny(host, " /@\\,;") || strings.ContainsFunc(host, unicode.IsControl) {
		return "", bad("write HOST:PORT", "%s is not a host", quote(host))
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// parseListen reads an address to listen on, where the host may be missing and
// port 0 is any.
func parseListen(s string) (string, *badValue) {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		return "", bad("write HOST:PORT, as 127.0.0.1:9115", "%s is not an address to listen on", quote(s))
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

func plainHex(s string) string {
	return strings.NewReplacer(" ", "", ":", "", "\u00a0", "", "-", "").Replace(strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X"))
}

func isHex(s string) bool { _, err := hex.DecodeString(s); return err == nil }

func parsePin(s string) (string, *badValue) {
	x := strings.ToLower(plainHex(s))
	if len(x) != 64 || !isHex(x) {
		return "", bad("openssl x509 -in CERT -noout -fingerprint -sha256", "%s is not a SHA-256 fingerprint (64 hex digits)", quote(s))
	}
	return x, nil
}

func parseCertFP(s string) (string, *badValue) {
	x := strings.ToLower(plainHex(s))
	if len(x) != 40 && len(x) != 64 && len(x) != 128 || !isHex(x) {
		return "", bad("openssl x509 -in CERT -noout -fingerprint -sha256", "%s is not a certificate fingerprint (40, 64 or 128 hex digits)", quote(s))
	}
	return x, nil
}

func parseFingerprint(s string) (string, *badValue) {
	x := strings.ToUpper(plainHex(s))
	const fix = "gpg --fingerprint ADDRESS shows all 40 hex digits"
	switch {
	case strings.ContainsRune(s, '@'):
		return "", bad(fix, "%s is an address: a key is pinned by its fingerprint", quote(s))
	case !isHex(x + strings.Repeat("0", len(x)%2)):
		return "", bad(fix, "%s is not a fingerprint (40 hex digits)", quote(s))
	case len(x) == 8 || len(x) == 16:
		return "", bad(fix, "%s is a key ID, which anybody can forge", quote(s))
	case len(x) != 40:
		return "", bad(fix, "fingerprint %s has %d hex digits instead of 40", quote(s), len(x))
	}
	return x, nil
}

func parseOTR(s string) (string, *badValue) {
	x := strings.ToUpper(plainHex(s))
	if len(x) != 40 || !isHex(x) {
		return "", bad("the person's client shows it, as five groups of eight hex digits", "%s is not an OTR fingerprint (40 hex digits)", quote(s))
	}
	return x, nil
}

// parseNick lets pass whatever some server may take; what this server takes only
// `drawbridge doctor` can tell.
func parseNick(s string) (string, *badValue) {
	if s == "" || len(s) > 64 || strings.ContainsAny(s, " !@,:*?#&$") || strings.ContainsFunc(s, unicode.IsControl) {
		return "", bad("use letters, digits and -_[]{}\\|^`", "%s is not a nick", quote(s))
	}
	if c := s[0]; c == '-' || c >= '0' && c <= '9' {
		return "", bad("begin it with a letter", "a nick cannot begin with %q", c)
	}
	return s, nil
}

func parseWord(s string) (string, *badValue) {
	if s == "" || len(s) > 255 || strings.HasPrefix(s, ":") || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", bad("", "%s must be one word", quote(s))
	}
	return s, nil
}

func parseLine(s string) (string, *badValue) {
	if s == "" || len(s) > 400 || strings.ContainsFunc(s, unicode.IsControl) {
		return "", bad("", "must be one line of 1 to 400 bytes")
	}
	return s, nil
}

func parseChannel(s string) (string, *badValue) {
	switch {
	case strings.ContainsRune(s, '@'):
		return "", bad("put a Jabber room below xmpp: rooms: [{room: …}], and here the IRC channel", "%s looks like a Jabber room, not an IRC channel", quote(s))
	case strings.Trim(s, "#&+!") == "" || strings.ContainsAny(s, " ,\a") || len(s) > 200 || strings.ContainsFunc(s, unicode.IsControl):
		return "", bad(`write one channel, as "#dev"`, "%s is not a channel", quote(s))
	case !strings.ContainsRune("#&+!", rune(s[0])):
		return "", bad(fmt.Sprintf(`write "#%s"`, clip(s)), "channel %s has no #", quote(s))
	}
	return s, nil
}

func parseJID(s string) (string, *badValue) {
	if strings.HasPrefix(s, "xmpp:") {
		return "", bad("write "+quote(strings.TrimPrefix(s, "xmpp:")), "%s is a URI", quote(s))
	}
	if jidPort.MatchString(s) {
		return "", bad("remove it; the port of a server is told by server: HOST:PORT of the account", "%s has a port", quote(s))
	}
	j, err := jid.Parse(s)
	if err != nil {
		return "", bad("write USER@DOMAIN", "%s is not a JID: %v", quote(s), jidProblem(s, err))
	}
	if j.Localpart() == "" {
		return "", bad("write USER@DOMAIN", "%s has no user", quote(s))
	}
	return j.String(), nil
}

var jidPort = regexp.MustCompile(`^[^/]*[^:/]:[0-9]+(/|$)`)

func jidProblem(s string, err error) error {
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return errors.New("it has a space")
	}
	return err
}

func parseBareJID(s string) (string, *badValue) {
	out, err := parseJID(s)
	if err == nil && strings.ContainsRune(out, '/') {
		bare, _, _ := strings.Cut(out, "/")
		return "", bad("write "+quote(bare), "%s has a resource", quote(s))
	}
	return out, err
}

func parseRoom(s string) (string, *badValue) {
	if strings.HasPrefix(s, "#") {
		return "", bad("put an IRC channel below irc: [{channel: …}], and here a room as dev@rooms.example.org", "%s is an IRC channel, not a Jabber room", quote(s))
	}
	out, err := parseJID(s)
	if err != nil {
		err.fix = strings.ReplaceAll(err.fix, "USER@DOMAIN", "ROOM@SERVICE, as dev@rooms.example.org")
		return "", err
	}
	if bare, nick, full := strings.Cut(out, "/"); full {
		return "", bad(fmt.Sprintf("write room: %s, and nick: %s beside it", clip(bare), clip(nick)), "%s has a nick", quote(s))
	}
	return out, nil
}

// path returns s below the config's folder, or below systemd's credentials.
func (d *decoder) path(s string) (string, *badValue) {
	const name = "CREDENTIALS_DIRECTORY"
	if rest, ok := strings.CutPrefix(strings.NewReplacer("${"+name+"}", "$"+name).Replace(s), "$"+name); ok && (rest == "" || rest[0] == '/') {
		dir := d.env[name]
		if dir == "" {
			return "", bad("set LoadCredential= in the unit, or name a file", "$%s is not set", name)
		}
		return filepath.Join(dir, rest), nil
	}
	switch {
	case s == "" || strings.ContainsFunc(s, unicode.IsControl):
		return "", bad("", "is not a path")
	case s[0] == '$':
		return "", bad("write the path itself; only $"+name+" is known", "%s begins with a variable", quote(s))
	case s == "~" || strings.HasPrefix(s, "~/"):
		return "", bad("write the whole path", "~ has no meaning here")
	case filepath.IsAbs(s):
		return filepath.Clean(s), nil
	}
	return filepath.Join(d.dir, s), nil
}

func (d *decoder) template(s string) (string, *badValue) {
	if s, err := parseLine(s); err != nil {
		return s, err
	}
	if d.opt.CheckTemplate != nil {
		if err := d.opt.CheckTemplate(s); err != nil {
			return "", bad(`as in "<{name}@{origin}> {text}"`, "%s", strings.TrimPrefix(err.Error(), "bridge: "))
		}
		return s, nil
	}
	if !strings.Contains(s, "{text}") {
		return "", bad(`as in "<{name}@{origin}> {text}"`, "has no {text}")
	}
	return s, nil
}

func fileProblem(err error) *badValue {
	var p *os.PathError
	if errors.As(err, &p) {
		return bad("", "%s: %v", clip(p.Path), p.Err)
	}
	return bad("", "%v", err)
}

func checkExists(path string) *badValue {
	if _, err := os.Stat(path); err != nil {
		return fileProblem(err)
	}
	return nil
}

func checkPEM(path string) *badValue {
	data, _, err := readFile(path, maxFile)
	if err != nil {
		return fileProblem(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return bad("it wants -----BEGIN CERTIFICATE-----", "%s holds no PEM certificate", clip(path))
	}
	return nil
}

// keyPair looks at a client certificate; its file holds a secret key.
func (d *decoder) keyPair(path string) *badValue {
	data, mode, err := readFile(path, maxFile)
	if err != nil {
		return fileProblem(err)
	}
	if d.open(path, mode) {
		return bad("chmod 600 "+clip(path), "%s holds a secret key and is open to others (mode %04o)", clip(path), mode.Perm())
	}
	if _, err := tls.X509KeyPair(data, data); err != nil {
		return bad("it wants the certificate and its key in one PEM file", "%s: %v", clip(path), strings.TrimPrefix(err.Error(), "tls: "))
	}
	return nil
}
