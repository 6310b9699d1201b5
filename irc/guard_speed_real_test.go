//go:build e2e

package irc_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/dialer"
	"drawbridge/internal/lab"
	"drawbridge/irc"
	"drawbridge/policy"
)

// bouncer removes everybody whose nick begins with "x", all that wait in one plan.
type bouncer struct {
	leg  *irc.Leg
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	pending []string
	plans   int
	lines   int
}

func (b *bouncer) came(nick string) {
	if !strings.HasPrefix(nick, "x") {
		return
	}
	b.mu.Lock()
	b.pending = append(b.pending, nick)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *bouncer) run(ctx context.Context, t *testing.T, caps policy.ChannelCaps) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		nicks := b.pending
		b.pending = nil
		b.mu.Unlock()
		want, seen := policy.Channel{Name: "#dev"}, policy.ChannelSeen{Present: map[string]string{}}
		for _, n := range nicks {
			want.Remove = append(want.Remove, policy.Removal{Nick: n, Reason: "log in, then come back"})
			seen.Present[n] = ""
		}
		lines, err := policy.PlanChannel(want, seen, caps, len(nicks))
		if err != nil {
			t.Error(err)
			return
		}
		b.mu.Lock()
		b.plans++
		b.lines += len(lines)
		b.mu.Unlock()
		if err := b.leg.Apply(ctx, dev, bridge.Changes{Lines: lines}); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

// post puts a bouncer in #dev, which holds op.
func post(t *testing.T, l *lab.Lab, s *lab.IRCServer) *bouncer {
	t.Helper()
	b := &bouncer{wake: make(chan struct{}, 1)}
	e := &eyes{came: b.came}
	b.leg = guardLeg(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e)
	awaitOp(l, e)
	caps := observe(t, b.leg).ChannelCaps
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.run(ctx, t, caps) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return b
}

// clocked is a client that notes when the lines of a channel came.
type clocked struct {
	conn net.Conn
	mu   sync.Mutex // guards seen
	seen map[string]time.Time
}

func watchClock(t *testing.T, s *lab.IRCServer) *clocked {
	t.Helper()
	conn, err := dialer.TCP(context.Background(), nil, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &clocked{conn: conn, seen: map[string]time.Time{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			now := time.Now()
			f := strings.Fields(line)
			if f[0] == "PING" {
				_, _ = fmt.Fprintf(conn, "PONG %s\r\n", f[1])
				continue
			}
			c.mu.Lock()
			nick, _, _ := strings.Cut(strings.TrimPrefix(f[0], ":"), "!")
			switch {
			case f[1] == "JOIN":
				c.seen["join "+nick] = now
			case f[1] == "KICK":
				c.seen["kick "+strings.TrimPrefix(f[3], ":")] = now
			case f[1] == "001" || f[1] == "366":
				c.seen[f[1]] = now
			}
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	_, _ = fmt.Fprintf(conn, "NICK clock\r\nUSER clock 0 * :clock\r\n")
	lab.Poll(time.Minute, func() bool { return !c.at("001").IsZero() })
	_, _ = fmt.Fprintf(conn, "JOIN #dev\r\n")
	lab.Poll(time.Minute, func() bool { return !c.at("366").IsZero() })
	return c
}

func (c *clocked) at(what string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[what]
}

// TestRealGuardJoinToKick removes one joiner after the other, and prints how long a
// third client saw each of them.
func TestRealGuardJoinToKick(t *testing.T) {
	for _, name := range []string{"inspircd", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			var s *lab.IRCServer
			if name == "inspircd" {
				s = l.InspIRCd(lab.InspIRCd{Fast: true})
			} else {
				s = l.NgIRCd(lab.NgIRCd{Fast: true})
			}
			post(t, l, s)
			clock := watchClock(t, s)
			u := l.IRCUser(s, "x")
			var took []time.Duration
			for i := range 50 {
				nick := fmt.Sprint("x", i)
				u.Send("NICK " + nick)
				u.Send("JOIN #dev")
				l.Await(time.Minute, nick+" is kicked", func() bool { return !clock.at("kick " + nick).IsZero() })
				took = append(took, clock.at("kick "+nick).Sub(clock.at("join "+nick)))
			}
			slices.Sort(took)
			t.Logf("JOIN to KICK: p50 %s, p95 %s, max %s", took[25], took[47], took[49])
		})
	}
}

// TestRealGuardMassJoin: a hundred come at once; the bot is an ordinary client, which
// the server slows down.
func TestRealGuardMassJoin(t *testing.T) {
	for _, name := range []string{"inspircd", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			var s *lab.IRCServer
			if name == "inspircd" {
				s = l.InspIRCd(lab.InspIRCd{})
			} else {
				s = l.NgIRCd(lab.NgIRCd{})
			}
			b := post(t, l, s)
			clock := watchClock(t, s)
			const many = 100
			users := l.IRCCrowd(s, "x", many)
			start := time.Now()
			for _, u := range users {
				u.Send("JOIN #dev")
			}
			gone := func() int {
				n := 0
				for i := range users {
					if !clock.at(fmt.Sprint("kick x", i)).IsZero() {
						n++
					}
				}
				return n
			}
			ok := lab.Poll(time.Minute, func() bool { return gone() == many })
			b.mu.Lock()
			defer b.mu.Unlock()
			var joined, kicked []time.Duration
			for i := range users {
				joined = append(joined, clock.at(fmt.Sprint("join x", i)).Sub(start))
				kicked = append(kicked, clock.at(fmt.Sprint("kick x", i)).Sub(start))
			}
			t.Logf("%d of %d are gone: the last came after %s and went after %s, by %d lines of %d plans",
				gone(), many, slices.Max(joined), slices.Max(kicked), b.lines, b.plans)
			if !ok {
				t.Errorf("%d of %d are gone", gone(), many)
			}
		})
	}
}
