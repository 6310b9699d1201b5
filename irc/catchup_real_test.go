//go:build e2e

package irc_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/irc"
)

// journalled is an inbox that keeps cursors as a journal does.
type journalled struct {
	inbox
	proofs proofs
	mu     sync.Mutex // guards kept and seen
	kept   map[string]string
	seen   map[string]bool
}

func newJournalled() *journalled {
	return &journalled{kept: map[string]string{}, seen: map[string]bool{}}
}

// Take keeps the cursor of a message, and knows its id again.
func (j *journalled) Take(ctx context.Context, m bridge.Message) error {
	j.mu.Lock()
	if m.Cursor.Name != "" {
		j.kept[m.Cursor.Name] = m.Cursor.Value
	}
	again := m.ID != "" && j.seen[m.ID]
	j.seen[m.ID] = true
	j.mu.Unlock()
	m.Taken(true)
	if again {
		return nil
	}
	return j.inbox.Take(ctx, m)
}

func (j *journalled) Cursors(context.Context, string) (map[string]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := map[string]string{}
	for k, v := range j.kept {
		out[k] = v
	}
	return out, nil
}

func (j *journalled) SetCursor(_ context.Context, _ string, c bridge.Cursor) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept[c.Name] = c.Value
	return nil
}

func (j *journalled) gaps() []bridge.Event {
	var out []bridge.Event
	for _, e := range j.Events() {
		if e.Kind == bridge.Gap {
			out = append(out, e)
		}
	}
	return out
}

// history starts an InspIRCd whose #dev keeps lines, with alice in it.
func history(l *lab.Lab, mode string) (*lab.IRCServer, *lab.IRCUser) {
	s := l.InspIRCd(lab.InspIRCd{Fast: true, History: true})
	alice := l.IRCUser(s, "alice", "#dev")
	alice.Send("MODE #dev +H " + mode)
	alice.Expect("MODE #dev +H")
	return s, alice
}

// TestRealCatchUp: what is said while our link is cut arrives after it, once and in
// order, and so does what is said before and after; nothing is called a gap.
func TestRealCatchUp(t *testing.T) {
	for _, cut := range []string{"reset", "black hole"} {
		t.Run(cut, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			s, alice := history(l, "100:1h")
			alice.Say("#dev", "before our time")
			said := time.Now()
			l.Await(time.Minute, "another second", func() bool { return time.Since(said) > 1100*time.Millisecond })
			proxy := l.Proxy(s.Addr)
			box := newJournalled()
			leg := startLeg(t, irc.Config{
				Servers: []string{proxy.Addr}, TLSOff: true, Channels: channels("#dev"), Keepalive: 2 * time.Second,
			}, box, irc.Deps{Cursors: box})
			awaitRooms(t, l, leg)
			n := 0
			say := func(count int) {
				for range count {
					alice.Say("#dev", fmt.Sprint("line ", n))
					n++
				}
			}
			say(30)
			l.Await(time.Minute, "the first lines", func() bool { return len(box.texts()) == n })
			if cut == "reset" {
				proxy.Cut()
			} else {
				proxy.BlackHole()
			}
			say(20)
			l.Await(time.Minute, "the leg to notice", func() bool { return leg.Status().State != bridge.StateUp })
			say(20)
			proxy.Restore()
			awaitRooms(t, l, leg)
			say(20)
			l.Await(time.Minute, "all lines", func() bool { return len(box.texts()) >= n })
			for i, text := range box.texts() {
				if want := fmt.Sprint("alice: line ", i); text != want {
					t.Fatalf("message %d is %q, want %q", i, text, want)
				}
			}
			if gaps := box.gaps(); len(gaps) > 0 {
				t.Errorf("a gap was told: %+v", gaps)
			}
		})
	}
}

// TestRealCatchUpAfterRestart: a new process goes on where the old one stopped.
func TestRealCatchUpAfterRestart(t *testing.T) {
	l := lab.New(t)
	s, alice := history(l, "100:1h")
	box := newJournalled()
	cfg := irc.Config{Servers: []string{s.Addr}, TLSOff: true, Channels: channels("#dev")}
	ctx, stop := context.WithCancel(context.Background())
	leg, done := runLegIn(ctx, t, cfg, box, irc.Deps{Cursors: box})
	awaitRooms(t, l, leg)
	alice.Say("#dev", "line 0")
	l.Await(time.Minute, "the first line", func() bool { return len(box.texts()) == 1 })
	stop()
	<-done
	for i := range 10 {
		alice.Say("#dev", fmt.Sprint("line ", i+1))
	}
	leg = startLeg(t, cfg, box, irc.Deps{Cursors: box})
	awaitRooms(t, l, leg)
	alice.Say("#dev", "line 11")
	l.Await(time.Minute, "all lines", func() bool { return len(box.texts()) >= 12 })
	if got := strings.Join(box.texts(), "|"); !strings.HasPrefix(got, "alice: line 0|alice: line 1|") || !strings.HasSuffix(got, "|alice: line 10|alice: line 11") {
		t.Errorf("got %s", got)
	}
	if gaps := box.gaps(); len(gaps) > 0 {
		t.Errorf("a gap was told: %+v", gaps)
	}
}

// TestRealGap: more was said than the channel keeps, or the server keeps nothing:
// that is told, from the last byte received on.
func TestRealGap(t *testing.T) {
	for _, server := range []string{"inspircd", "ngircd", "killed"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			var s *lab.IRCServer
			var alice *lab.IRCUser
			if server == "ngircd" {
				s = ircd(l, server)
				alice = l.IRCUser(s, "alice", "#dev")
			} else {
				s, alice = history(l, "10:1h")
			}
			proxy := l.Proxy(s.Addr)
			box := newJournalled()
			leg := startLeg(t, irc.Config{Servers: []string{proxy.Addr}, TLSOff: true, Channels: channels("#dev")}, box, irc.Deps{Cursors: box})
			awaitRooms(t, l, leg)
			alice.Say("#dev", "line 0")
			l.Await(time.Minute, "the first line", func() bool { return len(box.texts()) == 1 })
			last := time.Now()
			if server == "killed" {
				s.Kill()
				s.Restart()
				alice = l.IRCUser(s, "alice2", "#dev")
			} else {
				proxy.Cut()
				for i := range 20 {
					alice.Say("#dev", fmt.Sprint("line ", i+1))
				}
				alice.Send("PING said")
				alice.Expect("PONG")
				proxy.Restore()
			}
			l.Await(time.Minute, "the gap", func() bool { return len(box.gaps()) > 0 })
			awaitRooms(t, l, leg)
			e := box.gaps()[0]
			if e.Room != irc.Room("net", "#dev") || e.Leg != "net" || e.Since.After(last) || !e.Time.After(e.Since) || len(box.gaps()) > 1 {
				t.Errorf("gaps %+v, last byte before %s", box.gaps(), last)
			}
			alice.Say("#dev", "live")
			l.Await(time.Minute, "a live line", func() bool {
				texts := box.texts()
				return strings.HasSuffix(texts[len(texts)-1], ": live")
			})
			if n := len(box.texts()); server == "inspircd" && n != 12 || server != "inspircd" && n != 2 {
				t.Errorf("%d lines: %v", n, box.texts())
			}
		})
	}
}
