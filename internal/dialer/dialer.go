// Package dialer opens connections to servers: TCP with the settings chat needs,
// and TLS that always verifies.
package dialer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// DialFunc opens a TCP connection; net.Dialer's DialContext is one.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// TCP dials addr (host:port) and sets TCP_NODELAY and, on Linux, TCP_QUICKACK,
// re-armed after each read: servers that leave Nagle on wait up to 40 ms for an
// acknowledgement otherwise. dial nil means net.Dialer with 20 s.
func TCP(ctx context.Context, dial DialFunc, addr string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 20 * time.Second}).DialContext
	}
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dialer: %w", err)
	}
	return QuickAck(conn), nil
}

// handshakeTimeout is how long a server may take to answer a TLS handshake. One
// that expects plain text often waits in silence.
const handshakeTimeout = 15 * time.Second

// ErrNoTLS is returned by Client for a server that does not answer in TLS.
var ErrNoTLS = errors.New("dialer: the server does not speak TLS on this port")

// Client does the TLS handshake on conn with the server called host, within
// ctx, and closes conn when it fails. Errors: ErrPin, ErrNoTLS, and those that
// NotTrusted knows.
func Client(ctx context.Context, conn net.Conn, t TLS, host string) (*tls.Conn, error) {
	cfg, err := t.Config(host)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	tc := tls.Client(conn, cfg)
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(hctx); err != nil {
		_ = conn.Close()
		var record tls.RecordHeaderError
		if errors.As(err, &record) || ctx.Err() == nil && hctx.Err() != nil {
			err = errors.Join(ErrNoTLS, err)
		}
		return nil, fmt.Errorf("dialer: TLS with %s: %w", host, err)
	}
	return tc, nil
}

// NotTrusted reports whether err says that the server's certificate was refused:
// trying again will not help.
func NotTrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	var auth x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.Is(err, ErrPin) || errors.As(err, &cert) || errors.As(err, &auth) || errors.As(err, &name)
}

// Unreachable reports whether err says that nobody listened or answered at all:
// worth trying again soon, nobody was bothered.
func Unreachable(err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
