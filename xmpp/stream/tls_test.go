package stream_test

import (
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
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/internal/dialer"
	"drawbridge/xmpp/stream"
)

// certificate returns a self-signed one, its PEM file and its SHA-256.
func certificate(t *testing.T, name string) (cert tls.Certificate, file, sum string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file, hex.EncodeToString(h[:])
}

const (
	header       = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='corp.example' id='s1' version='1.0'>`
	plainHeader  = `<?xml version='1.0'?><stream:stream to='corp.example' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	secureHeader = `<?xml version='1.0'?><stream:stream to='corp.example' from='bot@corp.example' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	startTLS     = `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`
	proceed      = `<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`
)

// secureServer plays a server with TLS over one connection after the other.
type secureServer struct {
	t       *testing.T
	cert    tls.Certificate
	max     uint16 // TLS version
	direct  bool
	offered []string
	refuse  func(mechanism string) string // the condition, or ""
	dies    bool                          // close after a refused login
	used    []string                      // mechanisms
	inTLS   int                           // bytes of application data received before the login
}

// serve plays on conn until the login is over or the client is gone.
func (s *secureServer) serve(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if !s.direct {
		if err := s.upgrade(conn); err != nil {
			return err
		}
	}
	tc := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}, MaxVersion: s.max, NextProtos: []string{"xmpp-client"}})
	if err := tc.Handshake(); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	f := serve(s.t, tc)
	defer func() { s.inTLS += len(f.sent()) }()
	if err := f.expect(secureHeader); err != nil {
		return err
	}
	f.send(header + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>" +
		strings.Join(s.offered, "</mechanism><mechanism>") + "</mechanism></mechanisms></stream:features>")
	state := tc.ConnectionState()
	for {
		_ = f.mechanism(&s.used)
		refuse := ""
		if s.refuse != nil {
			refuse = s.refuse(s.used[len(s.used)-1])
		}
		if _, err := f.login(&state, refuse); err != nil {
			return err
		}
		if refuse == "" {
			break
		}
		if s.dies {
			f.hangUp()
			_, err := f.take("the end", func(string) int { return 0 })
			return err
		}
	}
	if err := f.expect(secureHeader); err != nil {
		return err
	}
	f.send(header + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
	if err := f.expect("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>drawbridge</resource></bind></iq>"); err != nil {
		return err
	}
	f.send("<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>bot@corp.example/drawbridge</jid></bind></iq>")
	return f.expect("</stream:stream>")
}

func (s *secureServer) upgrade(conn net.Conn) error {
	buf := make([]byte, len(plainHeader))
	if _, err := readFull(conn, buf); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(header + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")); err != nil {
		return err
	}
	if _, err := readFull(conn, buf[:len(startTLS)]); err != nil {
		return err
	}
	_, err := conn.Write([]byte(proceed))
	return err
}

func readFull(conn net.Conn, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = conn.Read(buf[n:])
		n += m
	}
	return n, err
}

// mechanism waits for <auth/> and notes its mechanism, without taking it.
func (f *fake) mechanism(used *[]string) error {
	_, err := f.take("<auth/>", func(in string) int {
		if m := authPattern.FindStringSubmatch(in); m != nil {
			*used = append(*used, m[1])
			return 1 // put back below
		}
		return 0
	})
	if err == nil {
		f.mu.Lock()
		f.in = append([]byte("<"), f.in...)
		f.mu.Unlock()
	} else {
		*used = append(*used, "none")
	}
	return err
}

// dialSecure dials a secureServer, and closes what comes of it.
func dialSecure(t *testing.T, s *secureServer, c stream.Config) error {
	t.Helper()
	s.t = t
	served := make(chan error, 2)
	c.JID, c.Password = jid.MustParse("bot@corp.example/drawbridge"), "secret"
	// Not a pipe: both sides of a failed handshake may write at once.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served <- s.serve(conn)
		}
	})
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	c.Server = l.Addr().String()
	st, err := stream.Dial(t.Context(), c)
	if err == nil {
		err = st.Close()
	}
	serverErr := <-served
	if err == nil && serverErr != nil && len(served) == 0 && !s.dies {
		t.Errorf("the server says: %v", serverErr)
	}
	return err
}

func TestTLS(t *testing.T) {
	good, ca, pin := certificate(t, "corp.example")
	other, otherCA, otherPin := certificate(t, "other.example")
	var untrusted *tls.CertificateVerificationError
	for _, tt := range []struct {
		name string
		cert tls.Certificate
		tls  stream.TLS
		want func(error) bool // nil: it works
		text string
	}{
		{"private CA", good, stream.TLS{CAFile: ca}, nil, ""},
		{"pin alone", good, stream.TLS{Pins: []string{pin}}, nil, ""},
		{"pin with colons, second of two", good, stream.TLS{Pins: []string{otherPin, strings.ToUpper(pin[:2]) + ":" + pin[2:]}}, nil, ""},
		{"CA and pin", good, stream.TLS{CAFile: ca, Pins: []string{pin}}, nil, ""},
		{"unknown CA", good, stream.TLS{}, func(err error) bool { return errors.As(err, &untrusted) }, "private CA"},
		{"other CA", good, stream.TLS{CAFile: otherCA}, func(err error) bool { return errors.As(err, &untrusted) }, "private CA"},
		{"other name", other, stream.TLS{CAFile: otherCA}, func(err error) bool { return errors.As(err, &untrusted) }, "corp.example"},
		{"wrong pin", good, stream.TLS{Pins: []string{otherPin}}, func(err error) bool { return errors.Is(err, stream.ErrPin) }, pin},
		{"CA and wrong pin", good, stream.TLS{CAFile: ca, Pins: []string{otherPin}}, func(err error) bool { return errors.Is(err, stream.ErrPin) }, "change the pin"},
	} {
		for _, mode := range []stream.TLSMode{stream.StartTLS, stream.DirectTLS} {
			t.Run(tt.name+map[stream.TLSMode]string{stream.StartTLS: "/starttls", stream.DirectTLS: "/direct"}[mode], func(t *testing.T) {
				s := &secureServer{cert: tt.cert, direct: mode == stream.DirectTLS, offered: []string{"SCRAM-SHA-256"}}
				tt.tls.Mode = mode
				err := dialSecure(t, s, stream.Config{TLS: tt.tls})
				if tt.want == nil {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if err == nil || !tt.want(err) || !dialer.NotTrusted(err) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("err = %v", err)
				}
				if s.inTLS > 0 {
					t.Errorf("%d bytes were sent to a server that is not trusted", s.inTLS)
				}
			})
		}
	}
}

func TestChannelBinding(t *testing.T) {
	cert, ca, _ := certificate(t, "corp.example")
	all := []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
	noPlus := func(m string) string {
		if strings.HasSuffix(m, "-PLUS") {
			return "not-authorized"
		}
		return ""
	}
	for _, tt := range []struct {
		name    string
		offered []string
		config  stream.Config
		refuse  func(string) string
		dies    bool
		used    []string
		err     string
	}{
		{"best first", all, stream.Config{}, nil, false, []string{"SCRAM-SHA-256-PLUS"}, ""},
		{"off", all, stream.Config{ChannelBinding: stream.BindingOff}, nil, false, []string{"SCRAM-SHA-256"}, ""},
		{"not offered", []string{"SCRAM-SHA-1", "SCRAM-SHA-256"}, stream.Config{}, nil, false, []string{"SCRAM-SHA-256"}, ""},
		{"SHA-1 without binding beats nothing", []string{"SCRAM-SHA-1", "PLAIN"}, stream.Config{}, nil, false, []string{"SCRAM-SHA-1"}, ""},
		{"SHA-256 beats SHA-1 with binding", []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"}, stream.Config{}, nil, false, []string{"SCRAM-SHA-256"}, ""},
		{"required", all, stream.Config{ChannelBinding: stream.BindingRequired}, nil, false, []string{"SCRAM-SHA-256-PLUS"}, ""},
		{"required, not offered", []string{"SCRAM-SHA-256"}, stream.Config{ChannelBinding: stream.BindingRequired}, nil, false, []string{"none"}, "channel_binding"},
		{"refused, once without", all, stream.Config{}, noPlus, false, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, ""},
		{"refused and closed, again without", all, stream.Config{}, noPlus, true, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, ""},
		{"refused where required", all, stream.Config{ChannelBinding: stream.BindingRequired}, noPlus, false, []string{"SCRAM-SHA-256-PLUS", "none"}, "not-authorized"},
		{"wrong password", all, stream.Config{}, func(string) string { return "not-authorized" }, false, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "none"}, "login refused (SCRAM-SHA-256): not-authorized"},
		{"disabled: no second try", all, stream.Config{}, func(string) string { return "account-disabled" }, false, []string{"SCRAM-SHA-256-PLUS", "none"}, "account-disabled"},
		{"PLAIN not allowed", []string{"PLAIN"}, stream.Config{}, nil, false, []string{"none"}, "PLAIN"},
		{"PLAIN allowed", []string{"PLAIN"}, stream.Config{AllowPlain: true}, nil, false, []string{"PLAIN"}, ""},
		{"PLAIN is the last", all, stream.Config{AllowPlain: true, ChannelBinding: stream.BindingOff}, nil, false, []string{"SCRAM-SHA-256"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &secureServer{cert: cert, offered: tt.offered, refuse: tt.refuse, dies: tt.dies}
			var log logBuffer
			tt.config.TLS.CAFile = ca
			tt.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			err := dialSecure(t, s, tt.config)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("err = %v", err)
			}
			if !slices.Equal(s.used, tt.used) {
				t.Errorf("used %v, want %v", s.used, tt.used)
			}
			if fell := strings.Contains(log.String(), "trying without"); fell != (len(tt.used) > 1 && tt.used[1] == "SCRAM-SHA-256") {
				t.Errorf("the log is %q", log.String())
			}
		})
	}
}

func TestSTARTTLSIsNotOptional(t *testing.T) {
	for _, tt := range []struct{ name, features, answer, text string }{
		{"not offered", `<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>`, "", "does not offer STARTTLS"},
		{"refused", `<stream:features>` + startTLS + `</stream:features>`, `<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`, "does not offer STARTTLS"},
		{"injection behind proceed", `<stream:features>` + startTLS + `</stream:features>`, proceed + `<presence/>`, "data behind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, conn := newFake(t)
			out := dialing(stream.Config{
				JID: jid.MustParse("bot@corp.example/drawbridge"), Password: "secret", Server: "127.0.0.1", AllowPlain: true,
				Dial: dialPipe(conn),
			})
			if err := f.expect(plainHeader); err != nil {
				t.Fatal(err)
			}
			f.send(header + tt.features)
			if tt.answer != "" {
				if err := f.expect(startTLS); err != nil {
					t.Fatal(err)
				}
				f.send(tt.answer)
			}
			if d := <-out; d.err == nil || !strings.Contains(d.err.Error(), tt.text) {
				t.Errorf("err = %v", d.err)
			}
			if strings.Contains(f.sent(), "auth") {
				t.Error("it tried to log in in clear")
			}
		})
	}
}
