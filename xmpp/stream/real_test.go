//go:build e2e

package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/internal/dialer"
	"drawbridge/internal/lab"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// onBoth runs a test against a real Prosody and a real ejabberd, each with the
// accounts alice and bot.
func onBoth(t *testing.T, test func(t *testing.T, s *lab.XMPPServer, ca string)) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			var s *lab.XMPPServer
			if name == "prosody" {
				s = l.Prosody(lab.Prosody{})
			} else {
				s = l.Ejabberd(lab.Ejabberd{})
			}
			s.AddUser("alice", "bot")
			test(t, s, l.CA.File)
		})
	}
}

func config(s *lab.XMPPServer, ca, full string) stream.Config {
	return stream.Config{
		JID: jid.MustParse(full), Password: lab.Password, Server: s.Addr,
		TLS: stream.TLS{CAFile: ca}, Timeout: 20 * time.Second,
	}
}

func dial(t *testing.T, c stream.Config) *stream.Stream {
	t.Helper()
	s, err := stream.Dial(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func chat(to, id, body string) *element.Element {
	return element.New("jabber:client", "message", "to", to, "type", "chat", "id", id).
		Add(element.New("jabber:client", "body").SetText(body), element.New("urn:xmpp:hints", "no-store"))
}

// bodies reads n chat messages and returns their bodies.
func bodies(t *testing.T, s *stream.Stream, n int) []string {
	t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { _ = s.Close() })
	defer timer.Stop()
	var out []string
	for len(out) < n {
		e, err := s.Next()
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(out), n, err)
		}
		s.Handled(1)
		if b := e.Child("jabber:client", "body"); b != nil {
			out = append(out, b.Text)
		}
	}
	return out
}

func TestRealTalk(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		for _, direct := range []bool{false, true} {
			c := config(srv, ca, "bot@localhost/drawbridge")
			if direct {
				c.Server, c.TLS.Mode = srv.TLSAddr, stream.DirectTLS
			}
			acks := make(chan uint64, 100)
			c.OnAck = func(n uint64) { acks <- n }
			bot := dial(t, c)
			if got := bot.JID().String(); got != "bot@localhost/drawbridge" {
				t.Errorf("bound %s", got)
			}
			if !bot.SM() {
				t.Error("no stream management")
			}
			alice := dial(t, config(srv, ca, "alice@localhost/phone"))
			last, err := bot.Send(chat("alice@localhost/phone", "1", "příšerně <žluťoučký> & 🐎"), chat("alice@localhost/phone", "2", "b"), stream.AckRequest())
			if err != nil || last != 2 {
				t.Fatalf("Send = %d, %v", last, err)
			}
			if got := bodies(t, alice, 2); got[0] != "příšerně <žluťoučký> & 🐎" || got[1] != "b" {
				t.Errorf("alice got %q", got)
			}
			if _, err := alice.Send(chat("bot@localhost/drawbridge", "3", "hello")); err != nil {
				t.Fatal(err)
			}
			bodies(t, bot, 1)
			// The acknowledgement came before or after alice's line; RequestAck brings
			// one for sure.
			if err := bot.RequestAck(); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = bot.Next() }()
			for n := uint64(0); n != 2; {
				select {
				case n = <-acks:
				case <-time.After(10 * time.Second):
					t.Fatalf("acknowledged %d of 2", n)
				}
			}
			if err := bot.Close(); err != nil {
				t.Error(err)
			}
			if _, err := bot.Next(); !errors.Is(err, stream.ErrClosed) {
				t.Errorf("Next after Close: %v", err)
			}
			_ = alice.Close()
		}
	})
}

var (
	_ = tls.VersionTLS12
	_ = dialer.ErrPin
	_ = fmt.Sprint
	_ = io.EOF
	_ = slog.Default
	_ = strings.Contains
	_ sync.Mutex
	_ atomic.Int64
)
