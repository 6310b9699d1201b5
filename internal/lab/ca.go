package lab

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
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// CA is the lab's own certificate authority. Its certificates live for a day.
type CA struct {
	File string // PEM of the authority's certificate

	lab  *Lab
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert is a certificate with its key, in PEM files.
type Cert struct {
	CertFile, KeyFile string
	Bundle            string // certificate and key in one file
	Leaf              *x509.Certificate
}

// SHA256 returns the fingerprint of the certificate, 64 hexadecimal digits.
func (c *Cert) SHA256() string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

func newCA(l *Lab) *CA {
	l.Helper()
	ca := &CA{lab: l, dir: l.folder("certs")}
	ca.File = filepath.Join(ca.dir, "ca.crt")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.must(err)
	t := template("Drawbridge lab CA")
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	l.must(err)
	ca.key = key
	ca.cert, err = x509.ParseCertificate(der)
	l.must(err)
	l.write(ca.File, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return ca
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), // some tests move the bot's clock by weeks
	}
}

// Issue makes a certificate for the given DNS names or IP addresses, good for
// servers and clients; the first name is its common name.
func (ca *CA) Issue(names ...string) *Cert {
	l := ca.lab
	l.Helper()
	t := template(names[0])
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.must(err)
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	l.must(err)
	leaf, err := x509.ParseCertificate(der)
	l.must(err)
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	l.must(err)
	dir := l.folder("certs/" + names[0])
	c := &Cert{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		Bundle: filepath.Join(dir, "bundle.pem"), Leaf: leaf,
	}
	crt := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	sec := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}))
	l.write(c.CertFile, crt)
	l.write(c.KeyFile, sec)
	l.write(c.Bundle, crt+sec)
	return c
}

// server issues the certificate of a server of this lab.
func (ca *CA) server() *Cert {
	return ca.Issue("localhost", "127.0.0.1", "rooms.localhost", "irc.localhost")
}

// Pool returns a pool that trusts this authority and no other.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// TLS returns a client configuration that trusts this authority alone.
func (ca *CA) TLS(serverName string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: serverName, MinVersion: tls.VersionTLS12}
}

// Pair loads c for a tls.Config.
func (c *Cert) Pair() (tls.Certificate, error) { return tls.LoadX509KeyPair(c.CertFile, c.KeyFile) }
