package irc

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// network is a server that takes every connection: it welcomes, joins, answers
// PING, ISON and NICK, and notes what it was told.
type network struct {
	mu     sync.Mutex // guards what follows
	conns  []net.Conn
	dialed []string
	lines  []string
	taken  string // a nick somebody has
}

func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	near, far := net.Pipe()
	n.mu.Lock()
	n.conns, n.dialed = append(n.conns, far), append(n.dialed, addr)
	n.mu.Unlock()
	go n.serve(far)
	return near, nil
}

func (n *network) serve(conn net.Conn) {
	out := make(chan string, 256)
	defer close(out)
	go func() {
		for line := range out {
			_, _ = io.WriteString(conn, line+"\r\n")
		}
		_ = conn.Close()
	}()
	nick := "?"
	for sc := bufio.NewScanner(conn); sc.Scan(); {
		line := sc.Text()
		verb, rest, _ := strings.Cut(line, " ")
		n.mu.Lock()
		n.lines = append(n.lines, line)
		taken := n.taken
		n.mu.Unlock()
		switch verb {
		case "CAP":
			if rest == "LS 302" {
				out <- ":irc.test CAP * LS :"
			}
		case "NICK":
			switch {
			case rest == taken:
				out <- ":irc.test 433 * " + rest + " :taken"
			case nick == "?":
				nick = rest
				out <- ":irc.test 001 " + nick + " :Welcome " + nick + "!b@h"
				out <- ":irc.test 376 " + nick + " :End"
			default:
				out <- ":" + nick + "!b@h NICK " + rest
				nick = rest
			}
		case "JOIN":
			for ch := range strings.SplitSeq(strings.Fields(rest)[0], ",") {
				out <- ":" + nick + "!b@h JOIN " + ch
			}
		case "PING":
			out <- "PONG irc.test :" + rest
		case "ISON":
			if strings.Fields(rest)[0] == taken {
				out <- ":irc.test 303 " + nick + " :" + taken
			} else {
				out <- ":irc.test 303 " + nick + " :"
			}
		case "QUIT":
			out <- "ERROR :bye"
			return
		}
	}
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.conns[len(n.conns)-1].Close()
}

func (n *network) told(part string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, l := range n.lines {
		if strings.Contains(l, part) {
			count++
		}
	}
	return count
}

// inNetwork runs test with a leg that has joined #dev of a network.
func inNetwork(t *testing.T, n *network, test func(leg *Leg, cfg Config, rec *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Name: "net", Servers: []string{"a:1", "b:2"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}}
		leg, err := New(cfg, Deps{Dial: n.dial, Rand: func() float64 { return 0.5 }})
		if err != nil {
			t.Fatal(err)
		}
		rec := newRecorder()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = leg.Run(ctx, rec) }()
		rec.expect(t, "leg up", "room up #dev")
		test(leg, cfg, rec)
		cancel()
		<-done
		if n.told("QUIT :bye") == 0 {
			t.Error("the leg left without QUIT")
		}
	})
}

// expect wants events that begin so: what a broken link looked like depends on
// who noticed first, the reader or the writer.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, _ := r.nextWithin(10 * time.Minute); !strings.HasPrefix(got, w) {
			t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func TestReconnects(t *testing.T) {
	n := &network{}
	inNetwork(t, n, func(leg *Leg, _ Config, rec *recorder) {
		if st := leg.Status(); st.Rooms[0].State != bridge.StateUp || leg.Window(st.Rooms[0].Room) != 6 || leg.Name() != "net" {
			t.Errorf("status %+v", st)
		}
		start := time.Now()
		n.cut()
		rec.expect(t, "leg down irc: connection lost", "leg up", "room up #dev")
		if took := time.Since(start); took > time.Second {
			t.Errorf("back after %s", took)
		}
		if got := strings.Join(n.dialed, " "); got != "a:1 b:2" {
			t.Errorf("dialled %s: the other server is next", got)
		}
	})
}

func TestReconfigureConnection(t *testing.T) {
	n := &network{}
	inNetwork(t, n, func(leg *Leg, cfg Config, rec *recorder) {
		cfg.Servers = []string{"c:3"}
		if err := leg.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		rec.expect(t, "leg down reconnecting: the configuration changed", "leg up", "room up #dev")
		if got := n.dialed[len(n.dialed)-1]; got != "c:3" {
			t.Errorf("dialled %s", got)
		}
		cfg.Name = "other"
		if err := leg.Reconfigure(cfg); err == nil {
			t.Error("another name is no error")
		}
		cfg.Name, cfg.Nick = "net", ""
		if err := leg.Reconfigure(cfg); err == nil {
			t.Error("a bad config is no error")
		}
		if leg.Status().State != bridge.StateUp {
			t.Error("a refused config changed something")
		}
	})
}

// TestRegainByISON: the server cannot tell us that the nick is free: we ask.
func TestRegainByISON(t *testing.T) {
	n := &network{taken: "bot"}
	inNetwork(t, n, func(leg *Leg, _ Config, _ *recorder) {
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if self := leg.Status().Self; self != "bot_!b@h" || n.told("ISON bot") < 4 || len(leg.Status().Notes) != 1 {
			t.Errorf("we are %s after %d questions: %v", self, n.told("ISON bot"), leg.Status().Notes)
		}
		n.mu.Lock()
		n.taken = ""
		n.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if self := leg.Status().Self; self != "bot!b@h" || len(leg.Status().Notes) != 0 {
			t.Errorf("the nick is free, and we are %s: %v", self, leg.Status().Notes)
		}
	})
}

// TestGapBeginsWithTheLastLineTaken: a core that stops takes no more lines in: they
// count as not received.
func TestGapBeginsWithTheLastLineTaken(t *testing.T) {
	for _, takes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, rec := &network{}, newRecorder()
			leg, err := New(Config{Name: "net", Servers: []string{"a:1"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}},
				Deps{Dial: n.dial, Cursors: rec.shelf})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			sink := &stopping{recorder: rec, takes: takes}
			go func() { defer close(done); _ = leg.Run(ctx, sink) }()
			rec.expect(t, "leg up", "room up #dev")
			time.Sleep(time.Minute)
			said := time.Now()
			n.mu.Lock()
			conn := n.conns[0]
			n.mu.Unlock()
			go func() { _, _ = io.WriteString(conn, ":alice!a@h PRIVMSG #dev :hi\r\n") }()
			rec.expect(t, "say #dev alice: hi")
			time.Sleep(10 * time.Second)
			cancel()
			<-done
			synctest.Wait()
			m := newMemory("net", nil, nil)
			m.readPresence(rec.shelf.get(presenceCursor))
			if m.seen.Equal(said) == takes {
				t.Errorf("takes %v: everything until %s came, the line came at %s", takes, m.seen, said)
			}
		})
	}
}

// stopping is a core that takes lines in, or has stopped to.
type stopping struct {
	*recorder
	takes bool
}

func (s *stopping) Take(ctx context.Context, m bridge.Message) error {
	if s.takes {
		m.Taken(true)
	}
	return s.recorder.Take(ctx, m)
}
