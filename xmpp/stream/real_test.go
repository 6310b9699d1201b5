//go:build e2e

package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
				case <-time.After(time.Minute):
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

// TestRealSendersAndContexts is the regression of mellium's worst trap: there, a
// cancelled context could set a deadline in the past under another goroutine's
// write, and the session was dead (2 of 10 sessions). Here no context reaches a
// write.
func TestRealSendersAndContexts(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		const senders, each = 4, 500
		alice := dial(t, config(srv, ca, "alice@localhost/phone"))
		var acked atomic.Uint64
		c := config(srv, ca, "bot@localhost/drawbridge")
		c.OnAck = acked.Store
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		bot, err := stream.Dial(ctx, c)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := bot.Next(); err != nil {
					ended <- err
					return
				}
				bot.Handled(1)
			}
		}()
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for j := range each {
					_, cancel := context.WithTimeout(ctx, time.Millisecond)
					id := fmt.Sprintf("%d-%d", i, j)
					if _, err := bot.Send(chat("alice@localhost/phone", id, id)); err != nil {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		got := bodies(t, alice, senders*each)
		wg.Wait()
		next := map[byte]int{}
		for _, b := range got {
			if want := fmt.Sprintf("%c-%d", b[0], next[b[0]]); b != want {
				t.Fatalf("got %s where %s belongs", b, want)
			}
			next[b[0]]++
		}
		if err := bot.RequestAck(); err != nil {
			t.Fatal(err)
		}
		if !lab.Poll(10*time.Second, func() bool { return acked.Load() == senders*each }) {
			t.Errorf("acknowledged %d of %d", acked.Load(), senders*each)
		}
		_ = bot.Close()
		if err := <-ended; !errors.Is(err, stream.ErrClosed) {
			t.Errorf("the session ended: %v", err)
		}
	})
}

func TestRealRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		good := config(srv, ca, "bot@localhost/drawbridge")
		good.TLS.Pins = []string{srv.Cert.SHA256()}
		_ = dial(t, good).Close()

		wrong := good
		wrong.Password = "wrong"
		_, err := stream.Dial(t.Context(), wrong)
		var auth *stream.AuthError
		if !errors.As(err, &auth) || auth.Condition != "not-authorized" || auth.Temporary() {
			t.Errorf("wrong password: %v", err)
		}

		stranger := config(srv, ca, "nobody@localhost/x")
		if _, err = stream.Dial(t.Context(), stranger); !errors.As(err, &auth) {
			t.Errorf("no such account: %v", err)
		}

		untrusted := good
		untrusted.TLS = stream.TLS{}
		_, err = stream.Dial(t.Context(), untrusted)
		var cert *tls.CertificateVerificationError
		if !errors.As(err, &cert) || !dialer.NotTrusted(err) {
			t.Errorf("unknown CA: %v", err)
		}

		pinned := good
		pinned.TLS.Pins = []string{strings.Repeat("ab", 32)}
		if _, err = stream.Dial(t.Context(), pinned); !errors.Is(err, stream.ErrPin) || !strings.Contains(err.Error(), srv.Cert.SHA256()) {
			t.Errorf("wrong pin: %v", err)
		}

		otherHost := config(srv, ca, "bot@rooms.localhost/x")
		if _, err = stream.Dial(t.Context(), otherHost); err == nil {
			t.Error("an account of a domain without accounts")
		} else {
			t.Logf("not a host of accounts: %v", err)
		}
	})
}

// TestRealConflict: a second client with the same resource replaces the first.
func TestRealConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		first := dial(t, config(srv, ca, "bot@localhost/drawbridge"))
		second := dial(t, config(srv, ca, "bot@localhost/drawbridge"))
		timer := time.AfterFunc(20*time.Second, func() { _ = first.Close() })
		defer timer.Stop()
		for {
			if _, err := first.Next(); err != nil {
				var se *stream.StreamError
				if !errors.As(err, &se) || se.Condition != "conflict" {
					t.Errorf("the first ended with %v", err)
				}
				break
			}
		}
		if got := second.JID().String(); got != "bot@localhost/drawbridge" {
			t.Errorf("the second is %s", got)
		}
		if _, err := second.Send(chat("bot@localhost/drawbridge", "1", "to myself")); err != nil {
			t.Fatal(err)
		}
		bodies(t, second, 1)
	})
}

// TestRealHandled: a server that asks gets what the leg has taken in, and keeps
// the rest for later.
func TestRealHandled(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		bot := dial(t, config(srv, ca, "bot@localhost/drawbridge"))
		if _, err := bot.Send(element.New("jabber:client", "presence")); err != nil {
			t.Fatal(err)
		}
		alice := dial(t, config(srv, ca, "alice@localhost/phone"))
		const n = 20
		for i := range n {
			m := element.New("jabber:client", "message", "to", "bot@localhost", "type", "chat", "id", fmt.Sprint(i)).
				Add(element.New("jabber:client", "body").SetText(fmt.Sprint(i)))
			if _, err := alice.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		// All are read, half are taken in.
		for seen := 0; seen < n; {
			e, err := bot.Next()
			if err != nil {
				t.Fatal(err)
			}
			isBody := e.Child("jabber:client", "body") != nil
			if !isBody || seen < n/2 {
				bot.Handled(1)
			}
			if isBody {
				seen++
			}
		}
		// What was not taken in comes again to the next session, from the offline
		// store; what was does not.
		_ = bot.Close()
		again := dial(t, config(srv, ca, "bot@localhost/drawbridge"))
		if _, err := again.Send(element.New("jabber:client", "presence")); err != nil {
			t.Fatal(err)
		}
		got := bodies(t, again, n/2)
		for i, b := range got {
			if b != fmt.Sprint(n/2+i) {
				t.Fatalf("redelivered %q", got)
			}
		}
	})
}

// TestRealFallback: ejabberd 23.01 offers SCRAM-SHA-256-PLUS on TLS 1.3 and then
// refuses tls-exporter; Prosody 0.12 offers no PLUS there.
func TestRealFallback(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		var log logBuffer
		c := config(srv, ca, "bot@localhost/drawbridge")
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		_ = dial(t, c).Close()
		fell := strings.Contains(log.String(), "trying without")
		if want := strings.HasSuffix(t.Name(), "ejabberd"); fell != want {
			t.Errorf("fell back: %v, want %v: %s", fell, want, log.String())
		}
		c.ChannelBinding = stream.BindingRequired
		if _, err := stream.Dial(t.Context(), c); err == nil {
			t.Error("binding is required, and it logged in without")
		}
		c.ChannelBinding = stream.BindingOff
		_ = dial(t, c).Close()
	})
}

// TestRealServerDies: the reader wakes at once, and the error says so.
func TestRealServerDies(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		bot := dial(t, config(srv, ca, "bot@localhost/drawbridge"))
		next := make(chan error, 1)
		go func() {
			_, err := bot.Next()
			next <- err
		}()
		srv.Kill()
		select {
		case err := <-next:
			if err == nil {
				t.Error("a stanza from a dead server")
			}
		case <-time.After(time.Minute):
			t.Error("Next did not notice")
		}
		if _, err := stream.Dial(t.Context(), config(srv, ca, "bot@localhost/drawbridge")); !dialer.Unreachable(err) {
			t.Errorf("err = %v", err)
		}
	})
}

// TestRealLargeStanza: what is above the limit is skipped, and the session goes on.
func TestRealLargeStanza(t *testing.T) {
	onBoth(t, func(t *testing.T, srv *lab.XMPPServer, ca string) {
		c := config(srv, ca, "bot@localhost/drawbridge")
		c.MaxStanza = 10000
		bot := dial(t, c)
		alice := dial(t, config(srv, ca, "alice@localhost/phone"))
		big := chat("bot@localhost/drawbridge", "big", strings.Repeat("x", 30000))
		if _, err := alice.Send(big, chat("bot@localhost/drawbridge", "small", "small")); err != nil {
			t.Fatal(err)
		}
		var large *stream.TooLargeError
		if _, err := bot.Next(); !errors.As(err, &large) || large.Head.Get("from") != "alice@localhost/phone" {
			t.Fatalf("err = %v", err)
		}
		if got := bodies(t, bot, 1); got[0] != "small" {
			t.Errorf("then %q", got)
		}
	})
}
