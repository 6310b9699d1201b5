package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// TestEarly: nothing is asked before TLS, and what is asked ends with the context.
func TestEarly(t *testing.T) {
	c := stream.Config{JID: jid.MustParse("bot@corp.example")}
	clear := c
	clear.TLS.Mode = stream.NoTLS
	if _, err := stream.DialEarly(t.Context(), clear); !errors.Is(err, stream.ErrClear) {
		t.Errorf("without TLS: %v", err)
	}

	f, conn := newFake(t)
	c.Server = "127.0.0.1:1"
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	f.send(header + "<stream:features><register xmlns='http://jabber.org/features/iq-register'/></stream:features>")
	if _, err := stream.DialEarly(t.Context(), c); !errors.Is(err, stream.ErrNoTLS) {
		t.Errorf("a server without STARTTLS: %v", err)
	}

	cert, ca, _ := certificate(t, "corp.example")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	asked := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = serveEarly(t, conn, cert)
		}
		asked <- err
	}()
	c = stream.Config{JID: jid.MustParse("bot@corp.example"), Server: l.Addr().String(), TLS: stream.TLS{CAFile: ca}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e, err := stream.DialEarly(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !e.Offers("http://jabber.org/features/iq-register", "register") || e.Offers("x", "register") {
		t.Error("what the server offers is not told")
	}
	ask := func(id string) (*element.Element, error) {
		return e.IQ(element.New("jabber:client", "iq", "type", "get", "id", id).Add(element.New("jabber:iq:register", "query")))
	}
	if a, err := ask("1"); err != nil || a.Get("type") != "error" {
		t.Errorf("%v, %v", a, err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := ask("2"); err == nil {
		t.Error("asked after the end of the context")
	}
}

// serveEarly plays a server that offers registration, and refuses the first question.
func serveEarly(t *testing.T, conn net.Conn, cert tls.Certificate) error {
	if err := (&secureServer{t: t}).upgrade(conn); err != nil {
		return err
	}
	tc := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := tc.Handshake(); err != nil {
		return err
	}
	f := serve(t, tc)
	if err := f.expect(secureHeader); err != nil {
		return err
	}
	f.send(header + "<stream:features><register xmlns='http://jabber.org/features/iq-register'/></stream:features>")
	if err := f.expect("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"); err != nil {
		return err
	}
	f.send("<message from='corp.example'><body>news</body></message><iq type='error' id='1'><error type='cancel'/></iq>")
	return nil
}
