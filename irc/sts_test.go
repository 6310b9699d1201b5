package irc

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseSTS(t *testing.T) {
	for _, tt := range []struct {
		value, port string
		duration    time.Duration
	}{
		{"port=6697", "6697", -1},
		{"duration=2592000,preload", "", 720 * time.Hour},
		{"unknown,port=06697,duration=0", "6697", 0},
		{"port=0,duration=-1", "", -1},
		{"port=70000,duration=99999999999999999999", "", -1},
		{"port=6697x,duration=9223372036854775807", "", maxSTS},
		{"", "", -1},
	} {
		if port, duration := parseSTS(tt.value); port != tt.port || duration != tt.duration {
			t.Errorf("parseSTS(%q) = %q, %s", tt.value, port, duration)
		}
	}
}

// TestSTSPolicy: it comes by TLS alone, holds over restarts and for as long as it
// says from the end of the connection on, and ends with a duration of 0.
func TestSTSPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelf{kept: map[string]string{}}
		newLeg := func() *Leg {
			leg, err := New(Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot"}, Deps{Cursors: shelf})
			if err != nil {
				t.Fatal(err)
			}
			if err := leg.mem.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			return leg
		}
		to := func(leg *Leg) string {
			l, err := leg.linkTo(leg.cfg, "IRC.test:6667", "")
			if err != nil {
				t.Fatal(err)
			}
			leg.mem.write(t.Context())
			if l.secure {
				return "tls " + l.host + ":" + l.port
			}
			return "clear " + l.host + ":" + l.port
		}
		offer := func(leg *Leg, l link, value string) *session {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			s := newSession(leg, leg.cfg, l, near, (&deadEnd{}).Prove)
			s.begin()
			s.handle([]byte(":irc.test CAP * LS :sts=" + value))
			s.remember()
			leg.mem.write(t.Context())
			_ = far.Close()
			return s
		}
		plain, tls := link{host: "irc.test", port: "6667"}, link{host: "irc.test", port: "7000", secure: true}
		leg := newLeg()
		if got := to(leg); got != "clear irc.test:6667" {
			t.Errorf("without a policy: %s", got)
		}
		if s := offer(leg, plain, "duration=1000"); s.err != nil || to(leg) != "clear irc.test:6667" {
			t.Errorf("a duration in clear counts: %v, %s", s.err, to(leg))
		}
		if s := offer(leg, plain, "port=6697"); s.err == nil || s.err.Error() != errWantsTLS.Error()+" on port 6697" || s.reg.introduced {
			t.Errorf("asked for TLS: %v", s.err)
		}
		offer(leg, tls, "duration=1000,port=6697")
		if got := to(newLeg()); got != "tls irc.test:7000" {
			t.Errorf("with a policy, after a restart: %s", got)
		}
		time.Sleep(999 * time.Second)
		offer(newLeg(), tls, "duration=1000") // at the end of the connection, too
		time.Sleep(999 * time.Second)
		if got := to(newLeg()); got != "tls irc.test:7000" {
			t.Errorf("with a renewed policy: %s", got)
		}
		time.Sleep(2 * time.Second)
		if got := to(newLeg()); got != "clear irc.test:6667" || len(shelf.kept) != 0 {
			t.Errorf("after the policy: %s, kept %v", got, shelf.kept)
		}
		leg = newLeg()
		offer(leg, tls, "duration=1000")
		offer(leg, tls, "duration=0")
		if got := to(leg); got != "clear irc.test:6667" || len(shelf.kept) != 0 {
			t.Errorf("after a duration of 0: %s, kept %v", got, shelf.kept)
		}
	})
}

// TestHelloWithoutCAP: a server that does not answer CAP LS at all is spoken to
// after a while.
func TestHelloWithoutCAP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		said := make(chan string, 8)
		go func() {
			buf := make([]byte, 512)
			for {
				n, err := far.Read(buf)
				if err != nil {
					return
				}
				said <- string(buf[:n])
			}
		}()
		leg, err := New(Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot", Password: "secret"}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s := newSession(leg, leg.cfg, link{}, near, (&deadEnd{}).Prove)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.run(ctx, &deadEnd{}) }()
		if first := <-said; first != "CAP LS 302\r\n" {
			t.Errorf("first %q", first)
		}
		if then := <-said; !strings.HasPrefix(then, "PASS :secret\r\nNICK bot\r\n") || time.Since(start) != helloTimeout {
			t.Errorf("after %s %q", time.Since(start), then)
		}
		cancel()
		<-done
		_ = far.Close()
	})
}
