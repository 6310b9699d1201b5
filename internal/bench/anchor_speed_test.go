//go:build anchor

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/internal/dialer"
	"drawbridge/internal/lab"
)

// bareAt says, to the process that is a bare bot, how to connect: "plain ADDR" or "tls
// ADDR".
const bareAt = "BARE_BOT"

// TestBareBot is no test: it is the bot that TestAnchorSpeed compares with, in a process
// of its own. It holds #bare and kicks whose nick begins with x, and nothing more.
func TestBareBot(t *testing.T) {
	how, addr, there := strings.Cut(os.Getenv(bareAt), " ")
	if !there {
		t.Skip("TestAnchorSpeed starts it")
	}
	conn, err := dialer.TCP(context.Background(), nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	if how == "tls" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // on loopback, against ourselves
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "NICK bare\r\nUSER bare 0 * :bare\r\n")
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch f := strings.Fields(line); {
		case f[0] == "PING":
			_, _ = fmt.Fprintf(conn, "PONG %s\r\n", f[1])
		case f[1] == "001":
			_, _ = fmt.Fprintf(conn, "JOIN #bare\r\n")
		case f[1] == "JOIN" && f[0][1] == 'x':
			nick, _, _ := strings.Cut(f[0][1:], "!")
			_, _ = fmt.Fprintf(conn, "KICK #bare %s :Not here\r\n", nick)
		}
	}
}

// TestAnchorSpeed has an intruder come to Drawbridge's channel and to that of a bot which
// does nothing else than kick, in turns, two hundred times each, and prints what a third
// client sees of both: what the machine, the server and this client cost is in both. It
// judges nothing.
func TestAnchorSpeed(t *testing.T) {
	const n = 200
	for _, how := range []string{"plain", "tls"} {
		for run := range 3 {
			t.Run(fmt.Sprint(how, run), func(t *testing.T) {
				l := lab.New(t)
				s := l.InspIRCd(lab.InspIRCd{Fast: true})
				addr := s.Addr
				if how == "tls" {
					addr = s.TLSAddr
				}
				startDrawbridgeAt(t, l, s, "kick", how == "tls")
				l.Start(&lab.Proc{Name: "bare", Args: []string{os.Args[0], "-test.run=^TestBareBot$"}, Env: []string{bareAt + "=" + how + " " + addr}})
				c := watchBoth(t, s)
				l.Await(time.Minute, "both bots hold op", func() bool { c.ask(); return c.has("#lobby", "@guard") && c.has("#bare", "@bare") })
				time.Sleep(3 * time.Second)
				x := l.IRCCrowd(s, "x", 1)[0]
				took := map[string][]time.Duration{}
				for range n {
					for _, channel := range []string{"#lobby", "#bare"} {
						x.Send("JOIN " + channel)
						took[channel] = append(took[channel], c.kicked(t, channel))
						time.Sleep(15 * time.Millisecond)
					}
				}
				load, _ := os.ReadFile("/proc/loadavg")
				for _, channel := range []string{"#lobby", "#bare"} {
					d := took[channel]
					slices.Sort(d)
					t.Logf("%s, JOIN to KICK, %d: p50 %s, p95 %s, p99 %s, max %s", channel, n, d[n/2], d[n*95/100], d[n*99/100], d[n-1])
				}
				ratio := func(i int) float64 { return float64(took["#lobby"][i]) / float64(took["#bare"][i]) }
				t.Logf("Drawbridge takes %.2f of the bare bot's p50, %.2f of its p95; load %s", ratio(n/2), ratio(n*95/100), strings.TrimSpace(string(load)))
			})
		}
	}
}

// both is a client in both channels.
type both struct {
	conn  net.Conn
	lines chan timed
	names map[string]string // by channel, of the last NAMES
}

type timed struct {
	at time.Time
	f  []string
}

func watchBoth(t *testing.T, s *lab.IRCServer) *both {
	t.Helper()
	conn, err := dialer.TCP(context.Background(), nil, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &both{conn: conn, lines: make(chan timed, 4096), names: map[string]string{}}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		defer close(c.lines)
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch f := strings.Fields(line); {
			case f[0] == "PING":
				_, _ = fmt.Fprintf(conn, "PONG %s\r\n", f[1])
			case len(f) > 2:
				c.lines <- timed{time.Now(), f}
			}
		}
	}()
	_, _ = fmt.Fprintf(conn, "NICK clock\r\nUSER clock 0 * :clock\r\n")
	return c
}

// ask asks who is in the channels, and takes the answers in that have come.
func (c *both) ask() {
	_, _ = fmt.Fprintf(c.conn, "NAMES #lobby\r\nNAMES #bare\r\n")
	for {
		select {
		case l := <-c.lines:
			if l.f[1] == "353" {
				c.names[l.f[4]] = strings.Join(l.f[5:], " ")
			}
		default:
			return
		}
	}
}

// has reports whether a bot holds op in a channel. We come in behind it.
func (c *both) has(channel, op string) bool {
	if strings.Contains(c.names[channel], op) && !strings.Contains(c.names[channel], "clock") {
		_, _ = fmt.Fprintf(c.conn, "JOIN %s\r\n", channel)
	}
	return strings.Contains(c.names[channel], op) && strings.Contains(c.names[channel], "clock")
}

// kicked waits until one who came to a channel is kicked, and returns how long that took.
func (c *both) kicked(t *testing.T, channel string) time.Duration {
	t.Helper()
	var came time.Time
	for end := time.After(time.Minute); ; {
		select {
		case l := <-c.lines:
			switch {
			case l.f[1] == "JOIN" && strings.TrimPrefix(l.f[2], ":") == channel && l.f[0][1] == 'x':
				came = l.at
			case l.f[1] == "KICK" && l.f[2] == channel:
				return l.at.Sub(came)
			}
		case <-end:
			t.Fatal("nobody kicks it from", channel)
		}
	}
}
