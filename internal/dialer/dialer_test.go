package dialer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates in a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key, a.cert, a.file, _ = a.make("ca", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

func (a *authority) make(name string, change func(*x509.Certificate)) (*ecdsa.PrivateKey, *x509.Certificate, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	change(tmpl)
	parent, signer := tmpl, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	must(a.t, err)
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	kb, err := x509.MarshalECPrivateKey(key)
	must(a.t, err)
	certFile, keyFile := filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	must(a.t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(a.t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}), 0o600))
	return key, cert, certFile, keyFile
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// serve answers TLS handshakes with a certificate, and returns the server's
// address and what it read and whom it saw.
func serve(t *testing.T, certFile, keyFile string) (string, <-chan []byte, <-chan []*x509.Certificate) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	read, seen := make(chan []byte, 64), make(chan []*x509.Certificate, 64)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert})
				buf := make([]byte, 16)
				n, _ := s.Read(buf)
				seen <- s.ConnectionState().PeerCertificates
				read <- buf[:n]
			}()
		}
	}()
	return ln.Addr().String(), read, seen
}

func TestClient(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	local := func(c *x509.Certificate) { c.DNSNames = []string{"irc.test"} }
	_, cert, certFile, keyFile := ca.make("server", local)
	_, _, mineCert, mineKey := other.make("me", func(*x509.Certificate) {})
	addr, read, seen := serve(t, certFile, keyFile)
	colons := strings.ToUpper(pin(cert)[:2] + ":" + pin(cert)[2:])
	for _, tt := range []struct {
		name, host string
		tls        TLS
		ok         bool
		pin        bool // the error is about the pin
	}{
		{"private CA", "irc.test", TLS{CAFile: ca.file}, true, false},
		{"unknown CA", "irc.test", TLS{}, false, false},
		{"another CA", "irc.test", TLS{CAFile: other.file}, false, false},
		{"another name", "else.test", TLS{CAFile: ca.file}, false, false},
		{"the name is configured", "else.test", TLS{CAFile: ca.file, ServerName: "irc.test"}, true, false},
		{"CA and pin", "irc.test", TLS{CAFile: ca.file, PinSHA256: []string{pin(cert)}}, true, false},
		{"pin alone", "else.test", TLS{PinSHA256: []string{pin(cert)}}, true, false},
		{"pin with colons, one of two", "irc.test", TLS{PinSHA256: []string{strings.Repeat("00", 32), colons}}, true, false},
		{"CA and a wrong pin", "irc.test", TLS{CAFile: ca.file, PinSHA256: []string{strings.Repeat("00", 32)}}, false, true},
		{"a wrong pin", "irc.test", TLS{PinSHA256: []string{strings.Repeat("00", 32)}}, false, true},
		{"right pin, another CA", "irc.test", TLS{CAFile: other.file, PinSHA256: []string{pin(cert)}}, false, false},
		{"client certificate", "irc.test", TLS{CAFile: ca.file, CertFile: mineCert, KeyFile: mineKey}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := TCP(t.Context(), nil, addr)
			must(t, err)
			tc, err := Client(t.Context(), conn, tt.tls, tt.host)
			if (err == nil) != tt.ok {
				t.Fatalf("Client = %v", err)
			}
			if err != nil {
				<-seen
				if got := <-read; len(got) > 0 {
					t.Errorf("%q was sent to a server that was refused", got)
				}
				if !NotTrusted(err) || errors.Is(err, ErrPin) != tt.pin {
					t.Errorf("err = %v: not trusted %v, pin %v", err, NotTrusted(err), errors.Is(err, ErrPin))
				}
				return
			}
			_, err = tc.Write([]byte("hi"))
			must(t, err)
			peers := <-seen
			if got := <-read; !bytes.Equal(got, []byte("hi")) {
				t.Errorf("the server read %q", got)
			}
			if (len(peers) > 0) != (tt.tls.CertFile != "") {
				t.Errorf("the server saw %d certificates of ours", len(peers))
			}
			_ = tc.Close()
		})
	}
}

func TestConfigErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	must(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	for _, tt := range []struct {
		name string
		tls  TLS
		want string
	}{
		{"pin too short", TLS{PinSHA256: []string{"abcd"}}, "64 hex digits"},
		{"no CA file", TLS{CAFile: filepath.Join(dir, "none")}, "none"},
		{"no certificate in it", TLS{CAFile: empty}, "holds no certificate"},
		{"no client certificate", TLS{CertFile: empty}, "client certificate"},
	} {
		if _, err := tt.tls.Config("h"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want one about %q", tt.name, err, tt.want)
		}
	}
}

func TestPlainServerIsNoTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = ln.Close() }()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Write([]byte(":irc.test NOTICE * :hello\r\n"))
			_, _ = c.Read(make([]byte, 1024))
			_ = c.Close()
		}
	}()
	conn, err := TCP(t.Context(), nil, ln.Addr().String())
	must(t, err)
	if _, err := Client(t.Context(), conn, TLS{}, "irc.test"); !errors.Is(err, ErrNoTLS) || NotTrusted(err) {
		t.Errorf("Client = %v", err)
	}
}
