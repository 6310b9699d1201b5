package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	domain   = "bench.local"
	mucHost  = "muc.bench.local"
	password = "bench-pass"
)

// Ports are laid out from one base.
type Ports struct{ IRC, IRCTLS, C2S, IRCProxy, C2SProxy int }

func portsFrom(b int) Ports { return Ports{b, b + 1, b + 2, b + 3, b + 4} }

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Servers are one IRC server and one XMPP server on loopback.
type Servers struct {
	Dir       string
	Ports     Ports
	IRC, XMPP *Proc
	CAFile    string
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// NewServers writes the data folders; contacts get mutual subscriptions with
// the bridge's account, so that presence (and signed presence) flows. Rooms keep
// history lines. The generational collector halves Prosody's CPU per line here,
// which leaves more room to see the bridge's.
func NewServers(dir string, p Ports, bins Bins, users []string, bridgeUser string, contacts []string, history int) (*Servers, error) {
	s := &Servers{Dir: dir, Ports: p, CAFile: filepath.Join(dir, "cert.pem")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := makeCert(s.CAFile, filepath.Join(dir, "key.pem")); err != nil {
		return nil, err
	}
	ircDir := filepath.Join(dir, "inspircd")
	// A server admin's settings for trusted local clients: no fake lag, no
	// penalty, large queues, many connections from one address.
	conf := fmt.Sprintf(`<server name="irc.bench.local" description="bench" network="bench">
<admin name="bench" nick="bench" email="bench@localhost">
<bind address="127.0.0.1" port="%d" type="clients">
<connect allow="*" timeout="30" threshold="100000000" commandrate="100000000" fakelag="no" pingfreq="120"
 hardsendq="268435456" softsendq="268435456" recvq="16777216" localmax="2000" globalmax="2000"
 maxchans="2000" resolvehostnames="no" useident="no" maxconnwarn="no">
<channels users="2000" opers="2000">
<dns server="127.0.0.1" timeout="1">
<pid file="%s/inspircd.pid">
<options prefixquit="Quit: " defaultmodes="" nosnoticestack="no">
<performance netbuffersize="65534" somaxconn="512" softlimit="4096" quietbursts="yes" timeskipwarn="0">
<security hideserver="" userstats="Pu" maxtargets="20">
<limits maxnick="31" maxchan="64" maxline="512">
<path configdir="%s" datadir="%s" logdir="%s">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="%s/ircd.log">
<module name="cap">
`, p.IRC, ircDir, ircDir, ircDir, ircDir, ircDir)
	if bins.IRCDHistory {
		conf = strings.Replace(conf, `defaultmodes=""`, `defaultmodes="H 500:1h"`, 1)
		conf += "<module name=\"chanhistory\">\n<chanhistory maxlines=\"500\" prefixmsg=\"no\">\n"
	}
	if err := writeFile(filepath.Join(ircDir, "inspircd.conf"), conf); err != nil {
		return nil, err
	}
	s.IRC = &Proc{Name: "ircd", Dir: ircDir, Args: []string{bins.InspIRCd, "--config", filepath.Join(ircDir, "inspircd.conf"), "--nofork", "--runasroot"}}

	xd := filepath.Join(dir, "prosody")
	lua := fmt.Sprintf(`pidfile = "%[1]s/prosody.pid"
data_path = "%[1]s/data"
daemonize = false
run_as_root = true
log = { warn = "%[1]s/prosody.log" }
modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "presence"; "message"; "iq"; "ping"; "posix"; "smacks"; "carbons"; "pep"; "blocklist"; "private"; "vcard4"; "vcard_legacy"; "time"; "version"; "uptime" }
modules_disabled = { "s2s"; "limits" }
interfaces = { "127.0.0.1" }
c2s_ports = { %[2]d }
legacy_ssl_ports = { }
s2s_ports = { }
http_ports = { }
https_ports = { }
component_ports = { }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
smacks_hibernation_time = 600
gc = { mode = "generational" }
ssl = { key = "%[3]s/key.pem"; certificate = "%[3]s/cert.pem" }
VirtualHost "%[4]s"
Component "%[5]s" "muc"
  muc_room_locking = false
  muc_room_default_persistent = true
  muc_room_default_public = true
  muc_room_default_history_length = %[6]d
  max_history_messages = %[6]d
  restrict_room_creation = false
`, xd, p.C2S, dir, domain, mucHost, history)
	if err := writeFile(filepath.Join(xd, "prosody.cfg.lua"), lua); err != nil {
		return nil, err
	}
	base := filepath.Join(xd, "data", strings.ReplaceAll(domain, ".", "%2e"))
	for _, u := range users {
		if err := writeFile(filepath.Join(base, "accounts", u+".dat"), fmt.Sprintf("return {\n\t[\"password\"] = \"%s\";\n};\n", password)); err != nil {
			return nil, err
		}
	}
	roster := func(owner string, others []string) error {
		var b strings.Builder
		b.WriteString("return {\n\t[false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n")
		for _, o := range others {
			fmt.Fprintf(&b, "\t[\"%s@%s\"] = { [\"subscription\"] = \"both\"; [\"groups\"] = {}; };\n", o, domain)
		}
		b.WriteString("};\n")
		return writeFile(filepath.Join(base, "roster", owner+".dat"), b.String())
	}
	if len(contacts) > 0 {
		if err := roster(bridgeUser, contacts); err != nil {
			return nil, err
		}
		for _, c := range contacts {
			if err := roster(c, []string{bridgeUser}); err != nil {
				return nil, err
			}
		}
	}
	s.XMPP = &Proc{Name: "prosody", Dir: xd, Args: []string{bins.Prosody, "--config", filepath.Join(xd, "prosody.cfg.lua"), "-F"}}
	return s, nil
}

// StartIRC starts InspIRCd and waits for its port.
func (s *Servers) StartIRC() error {
	if err := s.IRC.Start(); err != nil {
		return err
	}
	return waitPort(addr(s.Ports.IRC), s.IRC, 10*time.Second)
}

// StartXMPP starts Prosody and waits for its port.
func (s *Servers) StartXMPP() error {
	if err := s.XMPP.Start(); err != nil {
		return err
	}
	return waitPort(addr(s.Ports.C2S), s.XMPP, 10*time.Second)
}

// Start starts both.
func (s *Servers) Start() error {
	if err := s.StartIRC(); err != nil {
		return err
	}
	return s.StartXMPP()
}

// Stop ends both.
func (s *Servers) Stop() { s.IRC.Stop(); s.XMPP.Stop() }

func makeCert(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain},
		DNSNames:    []string{domain, mucHost, "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600)
}
