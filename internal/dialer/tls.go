package dialer

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// TLS says how a server is checked and how we show who we are. Its zero value
// checks the server against the system's CAs.
type TLS struct {
	CAFile string // PEM file of a private CA, used instead of the system's
	// PinSHA256 holds hex SHA-256 sums of the server's own (leaf) certificate,
	// colons and blanks ignored; one must match. Without CAFile the pin takes the
	// place of the CA and of the name (for self-signed certificates); with CAFile
	// both must hold.
	PinSHA256 []string
	CertFile  string // PEM client certificate
	KeyFile   string // its key; default: CertFile
	// ServerName is the name the certificate must bear; default: the host dialled.
	ServerName string
	// NextProtos is ALPN, for direct TLS of XMPP ("xmpp-client").
	NextProtos []string
}

// ErrPin is returned by a handshake when the server's certificate has another
// SHA-256 than the pinned one. Nothing was sent to that server.
var ErrPin = errors.New("dialer: the server's certificate is not the pinned one")

// PinError is an ErrPin that tells which certificate was seen.
type PinError struct {
	Got string // hex SHA-256 of the certificate shown
}

func (e *PinError) Error() string { return ErrPin.Error() + ": it is " + e.Got }

// Unwrap returns ErrPin.
func (e *PinError) Unwrap() error { return ErrPin }

// Config returns a TLS configuration for the server called host. Verification is
// always on; the pin is checked at the end of the handshake, before the first
// byte is sent (resumed sessions too). It also serves STARTTLS.
func (t TLS) Config(host string) (*tls.Config, error) {
	pins, err := parsePins(t.PinSHA256)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12, NextProtos: t.NextProtos}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.CAFile != "" {
		if c.RootCAs, err = loadCAs(t.CAFile); err != nil {
			return nil, err
		}
	}
	if t.CertFile != "" {
		key := t.KeyFile
		if key == "" {
			key = t.CertFile
		}
		cert, err := tls.LoadX509KeyPair(t.CertFile, key)
		if err != nil {
			return nil, fmt.Errorf("dialer: client certificate %s: %w", t.CertFile, err)
		}
		// Not Certificates: those are shown only to a server that names our issuer
		// among its CAs, and IRC servers go by the fingerprint alone.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	if len(pins) > 0 {
		// The exact certificate is a stronger proof than any chain, so the pin
		// may stand alone; VerifyConnection runs in every handshake.
		c.InsecureSkipVerify = t.CAFile == ""
		c.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(pins, s.PeerCertificates) }
	}
	return c, nil
}

func checkPin(pins [][sha256.Size]byte, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return ErrPin
	}
	got := sha256.Sum256(chain[0].Raw)
	for _, p := range pins {
		if p == got {
			return nil
		}
	}
	return &PinError{Got: hex.EncodeToString(got[:])}
}

func parsePins(in []string) ([][sha256.Size]byte, error) {
	var pins [][sha256.Size]byte
	for _, s := range in {
		b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(s))
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("dialer: %q is not a SHA-256 sum of 64 hex digits", s)
		}
		pins = append(pins, [sha256.Size]byte(b))
	}
	return pins, nil
}

func loadCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("dialer: CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("dialer: CA file %s holds no certificate in PEM", file)
	}
	return pool, nil
}
