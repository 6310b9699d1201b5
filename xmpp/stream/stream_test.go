package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

const (
	mechanisms  = `<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256</mechanism></mechanisms></stream:features>`
	bindFeature = `<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>`
	bindRequest = `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>drawbridge</resource></bind></iq>`
	bindResult  = `<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>bot@corp.example/drawbridge</jid></bind></iq>`
	enable      = `<enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>`
	enabled     = `<enabled xmlns='urn:xmpp:sm:3'/>`
)

// negotiate plays the server up to a session with stream management.
func (f *fake) negotiate() error {
	return f.negotiateWith(enabled)
}

// login2 plays the server up to the features behind the login.
func (f *fake) login2() error {
	if err := f.expect(plainHeader); err != nil {
		return err
	}
	f.send(header + mechanisms)
	if _, err := f.login(nil, ""); err != nil {
		return err
	}
	if err := f.expect(plainHeader); err != nil {
		return err
	}
	f.send(header + bindFeature)
	return nil
}

func (f *fake) negotiateWith(enabled string) error {
	if err := f.login2(); err != nil {
		return err
	}
	if err := f.expect(bindRequest); err != nil {
		return err
	}
	f.send(bindResult)
	if err := f.expect(enable); err != nil {
		return err
	}
	f.send(enabled)
	return nil
}

func clearConfig(conn net.Conn) stream.Config {
	return stream.Config{
		JID: jid.MustParse("bot@corp.example/drawbridge"), Password: "secret", Server: "127.0.0.1",
		TLS: stream.TLS{Mode: stream.NoTLS}, Dial: dialPipe(conn),
	}
}

// ready returns a negotiated stream and its server.
func ready(t testing.TB, change func(*stream.Config)) (*stream.Stream, *fake) {
	t.Helper()
	f, conn := newFake(t)
	c := clearConfig(conn)
	if change != nil {
		change(&c)
	}
	out := dialing(c)
	if err := f.negotiate(); err != nil {
		t.Fatal(err)
	}
	d := <-out
	if d.err != nil {
		t.Fatal(d.err)
	}
	t.Cleanup(func() {
		f.hangUp()
		_ = d.s.Close()
	})
	return d.s, f
}

func message(id string) *element.Element { return element.New("jabber:client", "message", "id", id) }

func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		f := serve(t, server)
		out := dialing(clearConfig(client))
		if err := f.negotiate(); err != nil {
			t.Fatal(err)
		}
		d := <-out
		if d.err != nil {
			t.Fatal(d.err)
		}
		f.stall()
		start := time.Now()
		next := make(chan error, 1)
		go func() {
			_, err := d.s.Next()
			next <- err
		}()
		_, err := d.s.Send(message("1"))
		if took := time.Since(start); err == nil || took != 20*time.Second {
			t.Errorf("Send returned %v after %v, want an error after 20s", err, took)
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("err = %v, want a timeout", err)
		}
		if got := <-next; got != err {
			t.Errorf("Next returned %v, Send %v", got, err)
		}
		if _, again := d.s.Send(message("2")); !errors.Is(again, err) || !errors.Is(again, stream.ErrNotSent) {
			t.Errorf("the second Send returned %v", again)
		}
		_ = d.s.Close()
	})
}

func TestCloseDoesNotWaitForADeadServer(t *testing.T) {
	for _, reading := range []bool{false, true} {
		t.Run(fmt.Sprintf("reading %v", reading), func(t *testing.T) {
			t.Parallel()
			s, f := ready(t, nil)
			next := make(chan error, 1)
			if reading {
				go func() {
					_, err := s.Next()
					next <- err
				}()
			}
			f.stall()
			stuck := make(chan error, 1)
			go func() {
				_, err := s.Send(message("stuck"))
				stuck <- err
			}()
			// In vain, it would be the 20 s of a write, or for ever.
			start := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("Close took %v", took)
			}
			if err := <-stuck; !errors.Is(err, stream.ErrClosed) {
				t.Errorf("Send returned %v", err)
			}
			if reading {
				if err := <-next; !errors.Is(err, stream.ErrClosed) {
					t.Errorf("Next returned %v", err)
				}
			}
			if _, err := s.Next(); !errors.Is(err, stream.ErrClosed) {
				t.Errorf("Next after Close returned %v", err)
			}
			if _, err := s.Send(message("late")); !errors.Is(err, stream.ErrClosed) {
				t.Errorf("Send after Close returned %v", err)
			}
		})
	}
}

func TestCloseSaysGoodbye(t *testing.T) {
	s, f := ready(t, nil)
	f.send(`<message id='1'/>`)
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	s.Handled(1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := f.expect(`<a xmlns='urn:xmpp:sm:3' h='1'/></stream:stream>`); err != nil {
		t.Fatal(err)
	}
	f.send(`<message id='2'/></stream:stream>`)
	start := time.Now()
	if err := <-closed; err != nil || time.Since(start) > time.Second {
		t.Errorf("Close returned %v after %v", err, time.Since(start))
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestDialHonoursItsContextAndOnlyThen(t *testing.T) {
	t.Run("cancelled", func(t *testing.T) {
		f, conn := newFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan error, 1)
		go func() {
			_, err := stream.Dial(ctx, clearConfig(conn))
			out <- err
		}()
		if err := f.expect(plainHeader); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-out; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "opening the stream") {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			f := serve(t, server)
			defer f.hangUp()
			start := time.Now()
			c := clearConfig(client)
			c.Timeout = 7 * time.Second
			_, err := stream.Dial(t.Context(), c)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
				t.Errorf("err = %v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("cancelled later", func(t *testing.T) {
		f, conn := newFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan dialed, 1)
		go func() {
			s, err := stream.Dial(ctx, clearConfig(conn))
			out <- dialed{s, err}
		}()
		if err := f.negotiate(); err != nil {
			t.Fatal(err)
		}
		d := <-out
		if d.err != nil {
			t.Fatal(d.err)
		}
		cancel()
		for i := range 100 {
			if _, err := d.s.Send(message(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			if err := f.expect(fmt.Sprintf("<message id='%d'/>", i)); err != nil {
				t.Fatal(err)
			}
		}
		f.hangUp()
		_ = d.s.Close()
	})
}

// TestSendIsWhole lets many send at once: every call's stanzas stay together, and the
// numbers are those of the wire.
func TestSendIsWhole(t *testing.T) {
	s, f := ready(t, nil)
	const senders, each = 8, 50
	var mu sync.Mutex
	number := map[string]uint64{}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				id := fmt.Sprintf("%d-%d", i, j)
				last, err := s.Send(message(id+"a"), message(id+"b"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				number[id] = last
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n := range uint64(senders * each) {
		found := ""
		for id, last := range number {
			if last == 2*n+2 {
				found = id
			}
		}
		if err := f.expect(fmt.Sprintf("<message id='%sa'/><message id='%sb'/>", found, found)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadsWhileTheServerDoesNot: a server that reads nothing does not stop us
// from reading, even if it asks for acknowledgements.
func TestReadsWhileTheServerDoesNot(t *testing.T) {
	t.Parallel()
	s, f := ready(t, nil)
	f.stall()
	stuck := make(chan error, 1)
	go func() {
		_, err := s.Send(message("stuck"))
		stuck <- err
	}()
	for i := range 100 {
		f.send(fmt.Sprintf("<r xmlns='urn:xmpp:sm:3'/><message id='%d'/>", i))
		// If Next waited for a write, that would fail after 20 s, and Next with it.
		e, err := s.Next()
		if err != nil || e.Get("id") != fmt.Sprint(i) {
			t.Fatalf("Next = %v, %v", e, err)
		}
		s.Handled(1)
	}
	_ = s.Close()
	if err := <-stuck; !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Send returned %v", err)
	}
}

// TestEveryAcknowledgementIsTold: that of nothing new says that the server is
// alive.
func TestEveryAcknowledgementIsTold(t *testing.T) {
	var told []uint64
	s, f := ready(t, func(c *stream.Config) { c.OnAck = func(n uint64) { told = append(told, n) } })
	if _, err := s.Send(message("1"), message("2")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.RequestAck(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.expect("<message id='1'/><message id='2'/><r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>"); err != nil {
		t.Fatal(err)
	}
	f.send("<a xmlns='urn:xmpp:sm:3' h='1'/><a xmlns='urn:xmpp:sm:3' h='2'/><a xmlns='urn:xmpp:sm:3' h='2'/><presence/>")
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(told) != "[1 2 2]" {
		t.Errorf("told %v", told)
	}
}

func TestFloodOfPresences(t *testing.T) {
	s, f := ready(t, nil)
	var b strings.Builder
	const n = 20000
	for i := range n {
		fmt.Fprintf(&b, "<presence from='room@rooms.corp.example/user%d'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x></presence>", i)
	}
	f.send(b.String())
	for i := range n {
		e, err := s.Next()
		if err != nil || e.Get("from") != fmt.Sprintf("room@rooms.corp.example/user%d", i) {
			t.Fatalf("presence %d: %v, %v", i, e, err)
		}
	}
}

func TestAHostileChallengeEndsTheLogin(t *testing.T) {
	for _, challenge := range []string{
		"", "r=,s=,i=", "x", "r=abc,s=c2FsdA==,i=4096,x", // these loop for ever in mellium.im/sasl v0.3.2
		"r=abc,s=c2FsdA==,i=2147483647", "r=abc,s=c2FsdA==,i=1", "r=abc,s=c2FsdA==", "r=abc,s=c2FsdA==,i=4096", "m=x,r=abc,s=c2FsdA==,i=4096",
	} {
		t.Run(challenge, func(t *testing.T) {
			f, conn := newFake(t)
			out := dialing(clearConfig(conn))
			if err := f.expect(plainHeader); err != nil {
				t.Fatal(err)
			}
			f.send(header + mechanisms)
			if _, err := f.take("<auth/>", func(in string) int { return len(authPattern.FindString(in)) }); err != nil {
				t.Fatal(err)
			}
			f.send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(challenge) + "</challenge>")
			if d := <-out; d.err == nil || !strings.Contains(d.err.Error(), "logging in (SCRAM-SHA-256)") {
				t.Errorf("err = %v", d.err)
			}
		})
	}
}

// TestTheServerMustProveItself: SCRAM is mutual (RFC 5802 §3).
func TestTheServerMustProveItself(t *testing.T) {
	for _, success := range []string{"", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "e=other-error"} {
		for _, at := range []string{"at once", "behind the proof"} {
			t.Run(at+" "+success, func(t *testing.T) {
				f, conn := newFake(t)
				out := dialing(clearConfig(conn))
				if err := f.expect(plainHeader); err != nil {
					t.Fatal(err)
				}
				f.send(header + mechanisms)
				auth, err := f.take("<auth/>", func(in string) int { return len(authPattern.FindString(in)) })
				if err != nil {
					t.Fatal(err)
				}
				if at == "behind the proof" {
					first, err := (&scram{mechanism: "SCRAM-SHA-256"}).first(unb64(t, authPattern.FindStringSubmatch(auth)[2]))
					if err != nil {
						t.Fatal(err)
					}
					f.send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(first) + "</challenge>")
					if _, err := f.take("<response/>", func(in string) int { return len(responsePattern.FindString(in)) }); err != nil {
						t.Fatal(err)
					}
				}
				f.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(success) + "</success>")
				// Whoever went on would open a new stream, and wait for it in vain.
				if d := <-out; d.err == nil || !strings.Contains(d.err.Error(), "logging in (SCRAM-SHA-256)") {
					t.Errorf("to a server that does not know the password: %v", d.err)
				}
			})
		}
	}
}

func TestTooLargeTellsWhose(t *testing.T) {
	s, f := ready(t, func(c *stream.Config) { c.MaxStanza = 1000 })
	f.send(`<message from='eve@x.example/a&gt;b' id='7'><body>` + strings.Repeat("x", 100000) + `</body></message><presence/>`)
	_, err := s.Next()
	var large *stream.TooLargeError
	if !errors.As(err, &large) || large.Head.Get("from") != "eve@x.example/a>b" || large.Size < 100000 || large.Max != 1000 {
		t.Fatalf("err = %#v", err)
	}
	if e, err := s.Next(); err != nil || e.Local != "presence" {
		t.Errorf("then %v, %v", e, err)
	}
}

// TestLongLists: where a stanza may be long, it may have as many short elements, as the
// list of ten thousand members with reasons does.
func TestLongLists(t *testing.T) {
	const n = 10000
	s, f := ready(t, func(c *stream.Config) { c.MaxStanza = 2 << 20 })
	item := "<item affiliation='member' jid='somebody.with.a.long.name@conference.example.org'><reason>staff of the company</reason></item>"
	f.send("<iq type='result'><query xmlns='http://jabber.org/protocol/muc#admin'>" + strings.Repeat(item, n) + "</query></iq>")
	e, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(e.Child("http://jabber.org/protocol/muc#admin", "query").Children); got != n {
		t.Errorf("%d items", got)
	}
}

func BenchmarkSend(b *testing.B) {
	client, server := net.Pipe()
	f := serve(b, server)
	out := dialing(clearConfig(client))
	if err := f.negotiate(); err != nil {
		b.Fatal(err)
	}
	d := <-out
	if d.err != nil {
		b.Fatal(d.err)
	}
	f.forget()
	m := message("7c1f2c4e-8f1d-4a7e-9d0b-2f1f6c6a9b11").Add(element.New("jabber:client", "body").SetText("the build is green again"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.s.Send(m); err != nil {
			b.Fatal(err)
		}
	}
	f.hangUp()
	_ = d.s.Close()
}
