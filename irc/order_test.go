package irc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// talk queues n lines of chat.
func (c *wire) talk(n int) {
	c.w.mu.Lock()
	defer c.w.unlock()
	for i := range n {
		c.w.enqueue(roomOf(0), &job{id: fmt.Sprint("m", i), lines: []string{fmt.Sprint("line ", i)}})
	}
}

// count is how many lines on the wire begin so.
func (c *wire) count(verb string) int {
	n := 0
	for _, line := range c.all {
		if strings.HasPrefix(line, verb) {
			n++
		}
	}
	return n
}

// ordered sends lines as an order, in a goroutine, and returns where its end comes.
func (c *wire) ordered(ctx context.Context, lines ...string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.w.order(ctx, roomOf(0), lines) }()
	synctest.Wait()
	return done
}

func TestOrderEnds(t *testing.T) {
	eight := slices.Repeat([]string{"MODE #c0 +b *!*@10.0.0.1"}, windowLines)
	for _, tt := range []struct {
		name string
		end  func(c *wire, cancel func())
		want error
	}{
		{"it is written", func(c *wire, _ func()) {
			for range 40 {
				c.handle(false)
			}
		}, nil},
		{"its caller gives up", func(_ *wire, cancel func()) { cancel() }, context.Canceled},
		{"the channel closes", func(c *wire, _ func()) { c.w.close(roomOf(0)) }, bridge.ErrNotReady},
		{"the link ends", func(c *wire, _ func()) { c.w.kill(errLost) }, bridge.ErrNotReady},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newWire(false, false)
				c.w.open(roomOf(0), "#c0")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := c.ordered(ctx, append(eight, "KICK #c0 eve")...)
				if n := c.count("MODE"); n != windowLines || len(done) != 0 {
					t.Fatalf("%d of the first lines are out, ended: %d", n, len(done))
				}
				tt.end(c, cancel)
				synctest.Wait()
				if err := <-done; !errors.Is(err, tt.want) {
					t.Errorf("order = %v", err)
				}
				if kicked := c.count("KICK") == 1; kicked != (tt.want == nil) {
					t.Errorf("the rest was sent: %v", kicked)
				}
				if len(c.w.orders) != 0 {
					t.Errorf("%d orders are left", len(c.w.orders))
				}
			})
		})
	}
}

// The time of an order ends while its lines are being written, by another's goroutine: it
// is not told as done, for nobody knows how much of it the server will have.
func TestOrderCutOffAsItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWire(false, false)
		c.w.open(roomOf(0), "#c0")
		c.gate = make(chan struct{})
		written := make(chan struct{})
		go func() { defer close(written); c.talk(1) }()
		synctest.Wait() // a line of chat is being written
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := c.ordered(ctx, "KICK #c0 eve")
		c.gate <- struct{}{}
		synctest.Wait() // and now the order
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("order = %v", err)
			}
		default:
			t.Error("it waits on, past its time")
		}
		close(c.gate)
		<-written
		if c.count("KICK") != 1 || len(c.w.orders) != 0 {
			t.Errorf("sent %q, %d orders are left", c.all, len(c.w.orders))
		}
	})
}

func TestOrderNeedsARoom(t *testing.T) {
	c := newWire(false, false)
	if err := c.w.order(t.Context(), roomOf(0), []string{"MODE #c0 +i"}); !errors.Is(err, bridge.ErrNotReady) || len(c.all) != 0 {
		t.Errorf("order = %v, sent %q", err, c.all)
	}
}

// TestTalkYields: while the server delays us for our talk, a guarded network's window
// is left free, so that what is ordered is soon done.
func TestTalkYields(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newWire(false, true)
			c.w.setGuarded(guarded)
			c.w.open(roomOf(0), "#c0")
			c.talk(30)
			if n := c.count("PRIVMSG"); n != windowLines-guardLines {
				t.Fatalf("%d lines at once", n)
			}
			for range 20 { // the server takes a line in two seconds
				time.Sleep(2 * time.Second)
				c.handle(false)
			}
			want := windowLines - guardLines
			if guarded {
				want = slowLines
			}
			if len(c.pending) != want {
				t.Errorf("guarded %v: %d lines lie at the server, want %d", guarded, len(c.pending), want)
			}
			for range 40 { // it is quick again
				c.handle(false)
			}
			if n := c.count("PRIVMSG"); n != 30 {
				t.Errorf("%d of 30 lines were sent", n)
			}
		})
	}
}

func TestWhispersTakeTurns(t *testing.T) {
	c := newWire(false, true)
	c.w.open(roomOf(0), "#c0")
	c.talk(40)
	for i := range maxWhispers + 10 {
		c.w.whisper("eve", fmt.Sprint("words ", i, strings.Repeat(" more", 200)))
	}
	if n := c.w.unwhispered(); n != 10 {
		t.Errorf("%d were left out, want 10", n)
	}
	for range 24 {
		c.handle(false)
	}
	if said, told := c.count("PRIVMSG"), c.count("NOTICE"); said < 12 || told < 6 {
		t.Errorf("%d lines of talk and %d whispers went", said, told)
	}
	for range 400 {
		c.handle(false)
	}
	if said, told := c.count("PRIVMSG"), c.count("NOTICE"); said != 40 || told != maxWhispers {
		t.Errorf("%d lines of talk and %d whispers went in the end", said, told)
	}
	for _, line := range c.all {
		if len(line) > maxSent {
			t.Errorf("%d bytes: %.40q", len(line), line)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	room := Room("net", "#dev")
	for _, tt := range []struct {
		name string
		c    bridge.Changes
		want error
	}{
		{"no connection", bridge.Changes{Lines: nil}, bridge.ErrNotReady},
		{"a line too long", bridge.Changes{Lines: append(bridge.Changes{}.Lines, parseCommand("KICK #dev eve :"+strings.Repeat("x", 600)))}, errLong},
	} {
		if err := leg.Apply(t.Context(), room, tt.c); !errors.Is(err, tt.want) {
			t.Errorf("%s: Apply = %v", tt.name, err)
		}
	}
	leg.Lookup(room, "eve", 0) // nothing to ask, and nothing to say
	leg.Whisper(room, "eve", "x")
	if _, err := leg.Observe(t.Context(), room); !errors.Is(err, bridge.ErrNotReady) {
		t.Errorf("Observe = %v", err)
	}
}
