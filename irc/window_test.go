package irc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"drawbridge/bridge"
)

// wire is the far side of a window: what was written and not yet handled.
type wire struct {
	w       *window
	pending []string
	all     []string
	proofs  map[string][]bridge.Proof
	rest    []byte
	gate    chan struct{} // nil, or each write waits for one of it
}

func (c *wire) Write(p []byte) (int, error) {
	if c.gate != nil {
		<-c.gate
	}
	c.rest = append(c.rest, p...)
	for {
		line, rest, ok := bytes.Cut(c.rest, []byte("\r\n"))
		if !ok {
			return len(p), nil
		}
		c.pending, c.all, c.rest = append(c.pending, string(line)), append(c.all, string(line)), rest
	}
}

func newWire(labels, echoes bool) *wire {
	c := &wire{proofs: map[string][]bridge.Proof{}}
	c.w = newWindow(c, time.Now, func(error) {}, func(p bridge.Proof) { c.proofs[p.ID] = append(c.proofs[p.ID], p) })
	c.w.setSource(40, 512)
	c.w.start(labels, echoes, false)
	return c
}

func roomOf(n int) bridge.Room { return Room("net", fmt.Sprint("#c", n)) }

// handle is the server handling the oldest line: it proves it, or refuses it.
func (c *wire) handle(refuse bool) {
	if len(c.pending) == 0 {
		return
	}
	line := c.pending[0]
	c.pending = c.pending[1:]
	label := ""
	if tags, rest, ok := strings.Cut(line, " "); ok && tags[0] == '@' {
		label, line = strings.TrimPrefix(tags, "@label="), rest
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case verb == "PING":
		c.w.pong(rest)
	case verb != "PRIVMSG":
	case refuse && label != "":
		c.w.labelled(label, "", errRefused)
	case refuse:
		target, _, _ := strings.Cut(rest, " ")
		c.w.refused(Room("net", target), errRefused)
	case label != "":
		c.w.labelled(label, "id", nil)
	case c.w.echoes:
		target, body, _ := strings.Cut(rest, " :")
		c.w.echoed(Room("net", target), body, "id")
	}
	c.w.flush()
}

// TestWindowInvariants plays random traffic over several channels with every
// kind of proof, refusals, closed channels and a broken link.
func TestWindowInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.Bool().Draw(t, "labels")
		echoes := rapid.Bool().Draw(t, "echoes")
		c := newWire(labels, echoes)
		jobs := map[string]*job{}
		refusals := 0
		for n := range 3 {
			c.w.open(roomOf(n), fmt.Sprint("#c", n))
		}
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2, 3:
				id, room := fmt.Sprint("m", i), roomOf(rapid.IntRange(0, 2).Draw(t, "room"))
				var lines []string
				for k := range rapid.IntRange(1, 9).Draw(t, "lines") {
					lines = append(lines, fmt.Sprintf("%s.%d %s", id, k, strings.Repeat("x", rapid.IntRange(0, 400).Draw(t, "size"))))
				}
				c.w.mu.Lock()
				j, more := &job{id: id, lines: lines}, &job{id: id + "b", lines: []string{id + "b.0"}}
				if c.w.enqueue(room, j, more) {
					jobs[id], jobs[more.id] = j, more
				}
				c.w.unlock()
			case 4:
				_ = c.w.command("MODE #c0 +b x", nil)
				c.w.flush()
			case 5:
				if rapid.IntRange(0, 3).Draw(t, "refuse") == 0 {
					refusals++
					c.handle(true)
				}
			case 6:
				if rapid.IntRange(0, 9).Draw(t, "close") == 0 {
					n := rapid.IntRange(0, 2).Draw(t, "room")
					c.w.close(roomOf(n))
					c.w.flush()
					c.w.open(roomOf(n), fmt.Sprint("#c", n))
				}
			default:
				c.handle(false)
			}
			if c.w.lines > windowLines || c.w.bytes > windowBytes+5*20 {
				t.Fatalf("%d lines and %d bytes are unconfirmed", c.w.lines, c.w.bytes)
			}
			if len(c.w.flight) != c.w.lines {
				t.Fatalf("%d lines counted, %d in flight", c.w.lines, len(c.w.flight))
			}
		}
		if rapid.Bool().Draw(t, "broken link") {
			c.w.kill(errLost)
		}
		for range 2000 {
			if len(c.pending) == 0 {
				break
			}
			c.handle(false)
		}
		c.w.flush()
		for id, j := range jobs {
			want := 1
			if errors.Is(j.err, bridge.ErrNotReady) {
				want = 0
			}
			if !j.ended || len(c.proofs[id]) != want {
				t.Fatalf("%s: ended %v (%v), %d proofs", id, j.ended, j.err, len(c.proofs[id]))
			}
			if want == 0 && slices.ContainsFunc(c.all, func(l string) bool { return strings.Contains(l, ":"+id+".") }) {
				t.Fatalf("%s was sent, and its Send failed", id)
			}
			if want == 1 && c.proofs[id][0].Outcome == bridge.Failed && refusals == 0 {
				t.Fatalf("%s failed, and nothing was refused", id)
			}
		}
		c.checkOrder(t)
	})
}

// checkOrder: the lines of a channel leave in the order of Send, each message
// in one piece.
func (c *wire) checkOrder(t *rapid.T) {
	last := map[string]int{}
	for _, l := range c.all {
		_, rest, ok := strings.Cut(l, "PRIVMSG ")
		if !ok {
			continue
		}
		if len(l) > 512 && !strings.HasPrefix(l, "@") {
			t.Fatalf("a line of %d bytes", len(l))
		}
		var m, k int
		target, body, _ := strings.Cut(rest, " :")
		if _, err := fmt.Sscanf(body, "m%d.%d", &m, &k); err != nil {
			continue
		}
		if at := m*100 + k; at <= last[target] && last[target] != 0 {
			t.Fatalf("%s left after %d", body[:8], last[target])
		}
		last[target] = m*100 + k
	}
}

func TestChannelsTakeTurns(t *testing.T) {
	c := newWire(true, true)
	c.w.open(roomOf(0), "#c0")
	c.w.open(roomOf(1), "#c1")
	c.w.mu.Lock()
	for i := range 20 {
		c.w.enqueue(roomOf(0), &job{id: fmt.Sprint("a", i), lines: []string{"busy"}})
	}
	c.w.enqueue(roomOf(1), &job{id: "b", lines: []string{"quiet"}})
	c.w.unlock()
	for range 2 {
		c.handle(false)
	}
	if got := c.all[len(c.all)-2:]; !strings.Contains(strings.Join(got, ""), "quiet") {
		t.Errorf("the quiet channel waits behind the busy one: %q", c.all)
	}
}

func TestCommandsPassAFullWindow(t *testing.T) {
	c := newWire(true, true)
	c.w.open(roomOf(0), "#c0")
	c.w.mu.Lock()
	for i := range 20 {
		c.w.enqueue(roomOf(0), &job{id: fmt.Sprint("a", i), lines: []string{strings.Repeat("x", 200)}})
	}
	c.w.unlock()
	for range guardLines {
		if err := c.w.command("KICK #c0 eve", nil); err != nil {
			t.Fatal(err)
		}
	}
	c.w.raw("PONG :x")
	c.w.flush()
	var got []string
	for _, l := range c.all {
		if !strings.Contains(l, "PRIVMSG") && !strings.HasPrefix(l, "PING") {
			got = append(got, l)
		}
	}
	if want := []string{"PONG :x", "KICK #c0 eve", "KICK #c0 eve"}; !slices.Equal(got, want) {
		t.Errorf("sent %q behind a full window, want %q", got, want)
	}
}

func TestSendIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWire(true, true)
		c.w.open(roomOf(0), "#c0")
		six := make([]string, windowLines-guardLines)
		for i := range six {
			six[i] = "line"
		}
		if _, err := c.w.send(t.Context(), roomOf(0), &job{id: "full", lines: six}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.w.send(ctx, roomOf(0), &job{id: "unsent", lines: []string{"x"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing of it was sent: Send = %v", err)
		}
		for len(c.pending) > 3 {
			c.handle(false)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		half, after := &job{id: "half", lines: []string{"1", "2", "3", "4", "5", "6"}}, &job{id: "after", lines: []string{"x"}}
		if n, err := c.w.send(ctx, roomOf(0), half, after); n != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("half of the first was sent: Send = %d, %v", n, err)
		}
		for len(c.pending) > 0 {
			c.handle(false)
		}
		if p := c.proofs["half"]; len(p) != 1 || p[0].Outcome != bridge.Doubt {
			t.Errorf("a message that was cut short: %+v", p)
		}
		if p := append(c.proofs["unsent"], c.proofs["after"]...); len(p) != 0 {
			t.Errorf("messages that were not sent: %+v", p)
		}
	})
}

// TestLongerSource: we were given a longer host between splitting and sending.
func TestLongerSource(t *testing.T) {
	c := newWire(true, true)
	c.w.open(roomOf(0), "#c0")
	text := strings.Repeat("word ", 88)
	c.w.held = true
	c.w.mu.Lock()
	c.w.enqueue(roomOf(0), &job{id: "m", lines: []string{text}})
	c.w.unlock()
	c.w.setSource(140, 512)
	c.w.start(false, true, false)
	c.w.flush()
	var got string
	for _, l := range c.all {
		_, body, ok := strings.Cut(l, " :")
		if ok {
			got += body
		}
		if len(l)+2+140+2 > 512 {
			t.Errorf("%d bytes with our source", len(l)+2+140+2)
		}
	}
	if got != text || len(c.all) != 2 {
		t.Errorf("%d lines: %q", len(c.all), got)
	}

	// Each piece says who said it.
	const prefix = "<eve@jabber> "
	c.all = nil
	c.w.setSource(40, 512)
	c.w.held = true
	c.w.mu.Lock()
	c.w.enqueue(roomOf(0), &job{id: "n", lines: []string{prefix + text}, prefix: prefix})
	c.w.unlock()
	c.w.setSource(200, 512)
	c.w.start(false, true, false)
	c.w.flush()
	got = ""
	for _, l := range c.all {
		if _, body, ok := strings.Cut(l, " :"); ok {
			rest, ok := strings.CutPrefix(body, prefix)
			if !ok {
				t.Errorf("a line without its prefix: %q", body)
			}
			got += rest
		}
	}
	if got != text {
		t.Errorf("%q", got)
	}
}

func BenchmarkSend(b *testing.B) {
	c := newWire(true, true)
	c.w.open(roomOf(0), "#c0")
	line := []string{"<alice@jabber> " + strings.Repeat("ninety bytes ", 6)}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.w.send(ctx, roomOf(0), &job{id: "m", lines: line}); err != nil {
			b.Fatal(err)
		}
		c.handle(false)
		c.all = c.all[:0]
	}
}
