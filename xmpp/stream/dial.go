package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/idna"

	"drawbridge/internal/dialer"
)

// Dial connects, logs in and binds a resource. ctx bounds that alone: once Dial
// has returned, it has no effect on the stream.
//
// Errors: *AuthError, *StreamError, ErrNoTLS, ErrNoMechanism, what
// dialer.NotTrusted and dialer.Unreachable know, and others, each saying what to look at.
func Dial(ctx context.Context, c Config) (*Stream, error) {
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	first := c.Resume.location()
	s, err := dialOnce(ctx, c, first)
	if errors.Is(err, errBindingRefused) {
		// The server also closed the connection on the refused channel binding.
		c.ChannelBinding = BindingOff
		if s, err = dialOnce(ctx, c, first); err == nil {
			c.OnBindingRefused()
		}
	}
	var moved *StreamError
	if errors.As(err, &moved) && moved.Condition == "see-other-host" && moved.Host != "" {
		c.Log.Info("server sends us elsewhere", "to", moved.Host)
		c.Server = withPort(moved.Host)
		s, err = dialOnce(ctx, c, "")
	}
	return s, err
}

// dialOnce dials first, if it is not "", and else what c says.
func dialOnce(ctx context.Context, c Config, first string) (*Stream, error) {
	conn, secure, err := connect(ctx, c, first)
	if err != nil {
		return nil, explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	n := &negotiation{c: c, conn: conn, secure: secure}
	s, err := n.run(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = n.conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w while %s", context.Cause(ctx), n.doing)
		}
		return nil, explain(err)
	}
	return s, nil
}

// candidate is an address to try.
type candidate struct {
	addr   string // host:port
	direct bool   // TLS before the stream
}

// connect opens a connection to the first candidate that answers.
func connect(ctx context.Context, c Config, first string) (conn net.Conn, secure bool, err error) {
	list, err := candidates(ctx, c)
	if err != nil {
		return nil, false, err
	}
	if first != "" {
		list = slices.Insert(list, 0, candidate{withPort(first), c.TLS.Mode == DirectTLS})
	}
	var errs []error
	for _, to := range list {
		conn, err := dialer.TCP(ctx, c.Dial, to.addr)
		if err == nil && to.direct {
			conn, err = handshake(ctx, conn, c, "xmpp-client")
		}
		if err == nil {
			return conn, to.direct, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, false, errors.Join(errs...)
}

// handshake makes conn a TLS connection that is verified for the JID's domain.
func handshake(ctx context.Context, conn net.Conn, c Config, alpn ...string) (net.Conn, error) {
	t := dialer.TLS{CAFile: c.TLS.CAFile, PinSHA256: c.TLS.Pins, NextProtos: alpn}
	tc, err := dialer.Client(ctx, conn, t, asciiDomain(c))
	if err != nil {
		return nil, err
	}
	return tc, nil
}

// candidates lists where to connect: the configured server, or what the SRV
// records say (RFC 6120 §3.2, XEP-0368), or the domain.
func candidates(ctx context.Context, c Config) ([]candidate, error) {
	domain := asciiDomain(c)
	switch {
	case c.Server != "":
		return []candidate{{withPort(c.Server), c.TLS.Mode == DirectTLS}}, nil
	case c.TLS.Mode == DirectTLS:
		return []candidate{{net.JoinHostPort(domain, "5223"), true}}, nil
	case net.ParseIP(domain) != nil:
		return []candidate{{net.JoinHostPort(domain, "5222"), false}}, nil
	}
	type record struct {
		candidate
		priority uint16
	}
	var found []record
	refused := false
	for _, service := range []string{"xmpps-client", "xmpp-client"} {
		direct := service == "xmpps-client"
		if direct && c.TLS.Mode == NoTLS {
			continue
		}
		_, srvs, err := c.LookupSRV(ctx, service, "tcp", domain)
		if err != nil {
			// No record, or no DNS: the domain itself is tried below, and tells.
			continue
		}
		for _, r := range srvs {
			if r.Target == "." {
				refused = refused || !direct
				continue
			}
			addr := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
			found = append(found, record{candidate{addr, direct}, r.Priority})
		}
	}
	if len(found) == 0 && refused {
		return nil, fmt.Errorf("xmpp stream: %s says in DNS that it has no XMPP service; hint: set server", domain)
	}
	if len(found) == 0 {
		return []candidate{{net.JoinHostPort(domain, "5222"), false}}, nil
	}
	slices.SortStableFunc(found, func(a, b record) int { return int(a.priority) - int(b.priority) })
	var list []candidate
	for _, r := range found {
		list = append(list, r.candidate)
	}
	return list, nil
}

// asciiDomain returns the JID's domain as DNS and certificates write it.
func asciiDomain(c Config) string {
	domain := strings.Trim(c.JID.Domainpart(), "[]")
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}

// withPort adds the port of RFC 6120 §3.2.2 to a bare host.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "5222")
}

// explain adds what to look at to errors that come before the login.
func explain(err error) error {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	hint := ""
	switch {
	case errors.Is(err, dialer.ErrPin):
		hint = "compare with the fingerprint the server's admin gives you, then change the pin"
	case errors.As(err, &cert):
		hint = "if the server has a private CA, name its file; or pin the certificate"
	case errors.As(err, &record):
		hint = "the port does not speak TLS at once; use STARTTLS or the direct TLS port, often 5223"
	case errors.As(err, &dns):
		hint = "check the domain of the JID, or set server to host:port"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nothing listens there: is the server up, and is the port right?"
	}
	if !strings.HasPrefix(err.Error(), "xmpp stream: ") {
		err = fmt.Errorf("xmpp stream: %w", err)
	}
	if hint != "" {
		err = fmt.Errorf("%w; hint: %s", err, hint)
	}
	return err
}
