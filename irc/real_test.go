//go:build e2e

package irc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/internal/lab"
	"drawbridge/irc"
)

// inbox is a core that takes everything in and remembers it.
type inbox struct{ bridgetest.Sink }

func (b *inbox) proof(id string) bridge.Outcome { return b.Proof(id).Outcome }

func (b *inbox) texts() []string {
	var out []string
	for _, m := range b.Messages() {
		out = append(out, m.From.Nick+": "+m.Text.Reveal())
	}
	return out
}

// ircd starts the named server, without limits on speed.
func ircd(l *lab.Lab, name string) *lab.IRCServer {
	if name == "inspircd" {
		return l.InspIRCd(lab.InspIRCd{Fast: true})
	}
	return l.NgIRCd(lab.NgIRCd{Fast: true})
}

// runLeg starts a leg that ends with the test.
func runLeg(t *testing.T, cfg irc.Config) (*irc.Leg, *inbox) {
	t.Helper()
	box := &inbox{}
	return startLeg(t, cfg, box, irc.Deps{}), box
}

// startLeg starts a leg with a core of its own that ends with the test.
func startLeg(t *testing.T, cfg irc.Config, sink bridge.Sink, deps irc.Deps) *irc.Leg {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	leg, done := runLegIn(ctx, t, cfg, sink, deps)
	t.Cleanup(func() { cancel(); <-done })
	return leg
}

// runLegIn runs a leg until ctx ends, and closes done then.
func runLegIn(ctx context.Context, t *testing.T, cfg irc.Config, sink bridge.Sink, deps irc.Deps) (_ *irc.Leg, done <-chan struct{}) {
	t.Helper()
	cfg.Name = "net"
	if cfg.Nick == "" {
		cfg.Nick = "bridge"
	}
	deps.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	leg, err := irc.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = leg.Run(ctx, sink)
	}()
	return leg, ended
}

func awaitRooms(t *testing.T, l *lab.Lab, leg *irc.Leg) {
	t.Helper()
	l.Await(20*time.Second, "joined and proven", func() bool {
		st := leg.Status()
		for _, r := range st.Rooms {
			if r.State != bridge.StateUp || !r.Proven {
				return false
			}
		}
		return st.State == bridge.StateUp
	})
}

func channels(names ...string) []irc.ChannelConfig {
	var out []irc.ChannelConfig
	for _, n := range names {
		out = append(out, irc.ChannelConfig{Name: n})
	}
	return out
}

// flood sends n lines and waits until all are proven and seen in order.
func flood(t *testing.T, l *lab.Lab, leg *irc.Leg, box *inbox, u *lab.IRCUser, n int, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	for i := range n {
		text := fmt.Sprintf("<alice@jabber> line %04d of a flood that is as long as lines are", i)
		if err := leg.Send(ctx, bridge.Outgoing{ID: fmt.Sprint("m", i), To: irc.Room("net", "#dev"), Text: bridge.NewText(text), Prefix: "<alice@jabber> "}); err != nil {
			t.Fatalf("line %d after %s: %v; %+v", i, time.Since(start), err, leg.Status())
		}
	}
	l.Await(limit, "all proven", func() bool {
		for i := range n {
			if box.proof(fmt.Sprint("m", i)) != bridge.Delivered {
				return false
			}
		}
		return true
	})
	t.Logf("%d lines in %s", n, time.Since(start))
	lab.Poll(10*time.Second, func() bool { return len(u.Heard("#dev")) >= n })
	heard := u.Heard("#dev")
	if len(heard) != n {
		t.Fatalf("%d of %d lines arrived", len(heard), n)
	}
	for i, h := range heard {
		if !strings.Contains(h.Text, fmt.Sprintf("line %04d", i)) {
			t.Fatalf("line %d is %q", i, h.Text)
		}
	}
}

func TestRealRelay(t *testing.T) {
	for _, server := range []string{"inspircd", "ngircd"} {
		t.Run(server, func(t *testing.T) {
			l := lab.New(t)
			s := ircd(l, server)
			u := l.IRCUser(s, "alice", "#dev")
			start := time.Now()
			leg, box := runLeg(t, irc.Config{Servers: []string{s.Addr}, TLSOff: true, Channels: channels("#Dev", "#other")})
			awaitRooms(t, l, leg)
			t.Logf("joined after %s: %+v", time.Since(start), leg.Status())
			u.Say("#dev", "grüße \x02bold\x02")
			u.Say("#dev", "\x01ACTION waves\x01")
			l.Await(time.Minute, "two messages", func() bool { return len(box.texts()) == 2 })
			if got := strings.Join(box.texts(), "|"); got != "alice: grüße *bold*|alice: waves" {
				t.Errorf("got %q", got)
			}
			flood(t, l, leg, box, u, 2000, 30*time.Second)
			long := strings.Repeat("Zwölf große Boxkämpfer jagen Viktor quer über den Sylter Deich 👩‍👩‍👧‍👦. ", 20) + "end"
			if err := leg.Send(context.Background(), bridge.Outgoing{ID: "long", To: irc.Room("net", "#dev"), Text: bridge.NewText("<b> " + long), Prefix: "<b> "}); err != nil {
				t.Fatal(err)
			}
			l.Await(time.Minute, "long line", func() bool { return box.proof("long") == bridge.Delivered })
			l.Await(time.Minute, "its last piece, which alice reads by herself", func() bool {
				heard := u.Heard("#dev")
				return strings.HasSuffix(heard[len(heard)-1].Text, "end")
			})
			var joined strings.Builder
			for _, h := range u.Heard("#dev")[2000:] {
				joined.WriteString(strings.TrimPrefix(h.Text, "<b> "))
			}
			if joined.String() != long {
				t.Errorf("got %q", joined.String())
			}
		})
	}
}

func TestRealFloodAtStockLimits(t *testing.T) {
	t.Run("ngircd", func(t *testing.T) {
		t.Parallel()
		l := lab.New(t)
		s := l.NgIRCd(lab.NgIRCd{})
		u := l.IRCUser(s, "alice", "#dev")
		leg, box := runLeg(t, irc.Config{Servers: []string{s.Addr}, TLSOff: true, Channels: channels("#dev")})
		awaitRooms(t, l, leg)
		flood(t, l, leg, box, u, 500, 4*time.Minute)
	})
	t.Run("inspircd", func(t *testing.T) {
		t.Parallel()
		l := lab.New(t)
		s := l.InspIRCd(lab.InspIRCd{})
		u := l.IRCUser(s, "alice", "#dev")
		leg, box := runLeg(t, irc.Config{Servers: []string{s.Addr}, TLSOff: true, Channels: channels("#dev")})
		awaitRooms(t, l, leg)
		flood(t, l, leg, box, u, 60, 2*time.Minute)
	})
}

// TestRealServerKilled: a server that is away for ten seconds is found again at once,
// and the gap is told.
func TestRealServerKilled(t *testing.T) {
	for _, server := range []string{"inspircd", "ngircd"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			s := ircd(l, server)
			box := newJournalled()
			leg := startLeg(t, irc.Config{Servers: []string{s.Addr}, TLSOff: true, Channels: channels("#dev")}, box, irc.Deps{Cursors: box})
			awaitRooms(t, l, leg)
			s.Kill()
			l.Await(time.Minute, "down", func() bool { return leg.Status().State != bridge.StateUp })
			if err := leg.Send(context.Background(), bridge.Outgoing{ID: "x", To: irc.Room("net", "#dev"), Text: bridge.NewText("x")}); !errors.Is(err, bridge.ErrNotReady) {
				t.Errorf("Send while down: %v", err)
			}
			<-time.After(10 * time.Second)
			s.Restart()
			start := time.Now()
			awaitRooms(t, l, leg)
			t.Logf("recovered after %s", time.Since(start))
			l.Await(time.Minute, "the gap", func() bool { return len(box.gaps()) == 1 })
			if e := box.gaps()[0]; e.Time.Sub(e.Since) < 10*time.Second {
				t.Errorf("the gap is told as %s", e.Time.Sub(e.Since))
			}
			u := l.IRCUser(s, "alice", "#dev")
			flood(t, l, leg, &box.inbox, u, 10, time.Minute)
		})
	}
}

func TestRealLogin(t *testing.T) {
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	cert := l.CA.Issue("bridge")
	s.Register("bridge", "sekrit", cert.SHA256())
	base := irc.Config{Servers: []string{strings.Replace(s.TLSAddr, "127.0.0.1", "localhost", 1)}, CAFile: l.CA.File, PinSHA256: []string{s.Cert.SHA256()}, Channels: channels("#dev")}
	for _, tt := range []struct {
		name string
		sasl irc.SASLConfig
		cert bool
		ok   bool
	}{
		{"plain", irc.SASLConfig{Mechanism: irc.SASLPlain, Account: "bridge", Password: "sekrit"}, false, true},
		{"plain, wrong password", irc.SASLConfig{Mechanism: irc.SASLPlain, Account: "bridge", Password: "wrong"}, false, false},
		{"external", irc.SASLConfig{Mechanism: irc.SASLExternal, Account: "bridge"}, true, true},
		{"scram is not offered", irc.SASLConfig{Mechanism: irc.SASLScramSHA256, Account: "bridge", Password: "sekrit"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := base
			cfg.SASL, cfg.Nick = tt.sasl, "bot"
			if tt.cert {
				cfg.CertFile, cfg.KeyFile = cert.CertFile, cert.KeyFile
			}
			leg, _ := runLeg(t, cfg)
			if !tt.ok {
				l.Await(time.Minute, "refused", func() bool { return strings.Contains(leg.Status().Detail, "sasl") })
				t.Log(leg.Status().Detail)
				return
			}
			awaitRooms(t, l, leg)
			u := l.IRCUser(s, "asker")
			defer u.Quit()
			u.Send("WHOIS bot")
			u.Expect(" 330 asker bot bridge ")
		})
	}
}

func TestRealTLS(t *testing.T) {
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true})
	host := strings.Replace(s.TLSAddr, "127.0.0.1", "localhost", 1)
	other := l.CA.Issue("other")
	for _, tt := range []struct {
		name, want string
		cfg        irc.Config
	}{
		{"private CA", "", irc.Config{CAFile: l.CA.File}},
		{"private CA and pin", "", irc.Config{CAFile: l.CA.File, PinSHA256: []string{s.Cert.SHA256()}}},
		{"pin alone", "", irc.Config{PinSHA256: []string{s.Cert.SHA256()}}},
		{"wrong pin", "not the pinned one", irc.Config{CAFile: l.CA.File, PinSHA256: []string{other.SHA256()}}},
		{"system CAs", "certificate", irc.Config{}},
		{"TLS to a plain port", "does not speak TLS", irc.Config{Servers: []string{strings.Replace(s.Addr, "127.0.0.1", "localhost", 1)}, CAFile: l.CA.File}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			cfg.Channels = channels("#dev")
			if cfg.Servers == nil {
				cfg.Servers = []string{host}
			}
			leg, _ := runLeg(t, cfg)
			if tt.want == "" {
				awaitRooms(t, l, leg)
				return
			}
			l.Await(20*time.Second, "refused", func() bool { return strings.Contains(leg.Status().Detail, tt.want) })
			t.Log(leg.Status().Detail)
		})
	}
}

// TestRealLinkCut: what was proven before the link broke has arrived, nothing
// arrives twice, and the rest is in doubt or was never sent.
func TestRealLinkCut(t *testing.T) {
	for _, server := range []string{"inspircd", "ngircd"} {
		t.Run(server, func(t *testing.T) {
			l := lab.New(t)
			s := ircd(l, server)
			proxy := l.Proxy(s.Addr)
			u := l.IRCUser(s, "alice", "#dev")
			leg, box := runLeg(t, irc.Config{Servers: []string{proxy.Addr}, TLSOff: true, Channels: channels("#dev")})
			awaitRooms(t, l, leg)
			sent := 0
			for ; ; sent++ {
				if sent == 500 {
					go proxy.Reset()
				}
				err := leg.Send(context.Background(), bridge.Outgoing{ID: fmt.Sprint("m", sent), To: irc.Room("net", "#dev"), Text: bridge.NewText(fmt.Sprint("line ", sent))})
				if err != nil {
					break
				}
			}
			l.Await(time.Minute, "a verdict on every line", func() bool {
				for i := range sent {
					if box.proof(fmt.Sprint("m", i)) == 0 {
						return false
					}
				}
				return true
			})
			awaitRooms(t, l, leg)
			// alice may have lines yet to read: what is said now comes behind all of them.
			l.IRCUser(s, "last", "#dev").Say("#dev", "that was all")
			u.Expect("that was all")
			heard := map[string]int{}
			for _, h := range u.Heard("#dev") {
				if heard[h.Text]++; heard[h.Text] > 1 {
					t.Errorf("%q came twice", h.Text)
				}
			}
			doubt := 0
			for i := range sent {
				switch text := fmt.Sprint("line ", i); box.proof(fmt.Sprint("m", i)) {
				case bridge.Delivered:
					if heard[text] == 0 {
						t.Errorf("%q was proven and never came", text)
					}
				case bridge.Doubt:
					doubt++
				default:
					t.Errorf("%q failed", text)
				}
			}
			t.Logf("%d sent, %d in doubt, %d heard", sent, doubt, len(heard))
			if doubt > 8 {
				t.Errorf("%d lines are in doubt: the window is 8", doubt)
			}
		})
	}
}
