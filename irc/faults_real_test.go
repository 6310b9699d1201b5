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

// sender sends lines to #dev as the core does: what is in doubt is asked about, and
// sent again unless it is there.
type sender struct {
	leg *irc.Leg
	box *journalled
	// what it met
	doubts, present, absent, unanswered int
}

// send sends lines first to first+n-1, in one SendAll, until all are delivered. It
// reports false when it gave up.
func (s *sender) send(first, n int) bool {
	var wait []bridge.Outgoing
	for i := range n {
		wait = append(wait, bridge.Outgoing{
			ID: fmt.Sprint("id-", first+i), To: irc.Room("net", "#dev"), Said: time.Now(), Prefix: "<bob> ",
			Text: bridge.NewText(fmt.Sprint("<bob> out ", first+i)),
		})
	}
	for limit := time.Now().Add(2 * time.Minute); len(wait) > 0 && time.Now().Before(limit); {
		for _, m := range wait {
			s.box.forgetProof(m.ID)
		}
		n, err := s.leg.SendAll(context.Background(), wait)
		if err != nil && n == 0 {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if !lab.Poll(time.Minute, func() bool {
			for _, m := range wait[:n] {
				if s.box.proofOf(m.ID) == 0 {
					return false
				}
			}
			return true
		}) {
			return false
		}
		var again []bridge.Outgoing
		for _, m := range wait[:n] {
			switch s.box.proofOf(m.ID) {
			case bridge.Doubt:
				again = append(again, m)
			case bridge.Failed:
				return false
			}
		}
		wait = append(s.ask(again), wait[n:]...)
	}
	return len(wait) == 0
}

// ask returns what is to be sent again.
func (s *sender) ask(ms []bridge.Outgoing) (again []bridge.Outgoing) {
	if len(ms) == 0 {
		return nil
	}
	s.doubts += len(ms)
	var answers []bridge.Answer
	if !lab.Poll(time.Minute, func() bool {
		var err error
		answers, err = s.leg.Ask(context.Background(), ms)
		return err == nil
	}) {
		return ms
	}
	for i, a := range answers {
		switch a {
		case bridge.Present:
			s.present++
			continue
		case bridge.Absent:
			s.absent++
		default:
			s.unanswered++
		}
		again = append(again, ms[i])
	}
	return again
}

// proofs are told apart by attempt: the last one counts.
type proofs struct {
	mu   sync.Mutex // guards last
	last map[string]bridge.Outcome
}

// Prove notes the latest outcome.
func (j *journalled) Prove(p bridge.Proof) {
	j.proofs.mu.Lock()
	defer j.proofs.mu.Unlock()
	if j.proofs.last == nil {
		j.proofs.last = map[string]bridge.Outcome{}
	}
	j.proofs.last[p.ID] = p.Outcome
	j.inbox.Prove(p)
}

func (j *journalled) proofOf(id string) bridge.Outcome {
	j.proofs.mu.Lock()
	defer j.proofs.mu.Unlock()
	return j.proofs.last[id]
}

func (j *journalled) forgetProof(id string) {
	j.proofs.mu.Lock()
	defer j.proofs.mu.Unlock()
	delete(j.proofs.last, id)
}

var _ bridge.Sink = (*journalled)(nil)

// TestRealFaults: lines go both ways while the bot is kicked, or its link breaks.
// Where the network keeps history, each arrives once and in order. Where it does
// not, what we send may come twice only where it was in doubt, and the gap is told.
func TestRealFaults(t *testing.T) {
	const lines, atOnce, ahead = 240, 4, 50
	for _, server := range []string{"inspircd", "ngircd"} {
		for _, fault := range []string{"kick", "reset", "black hole"} {
			t.Run(server+" "+fault, func(t *testing.T) {
				t.Parallel()
				l := lab.New(t)
				var s *lab.IRCServer
				var alice *lab.IRCUser
				if server == "inspircd" {
					s, alice = history(l, "1000:1h")
				} else {
					s = ircd(l, server)
					alice = l.IRCUser(s, "alice", "#dev")
				}
				proxy := l.Proxy(s.Addr)
				box := newJournalled()
				leg := startLeg(t, irc.Config{
					Servers: []string{proxy.Addr}, TLSOff: true, Channels: channels("#dev"), Keepalive: 2 * time.Second,
				}, box, irc.Deps{Cursors: box})
				awaitRooms(t, l, leg)

				stop := make(chan struct{})
				var wg sync.WaitGroup
				said := 0
				wg.Go(func() { // alice, never more ahead of the bridge than the channel keeps
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
						}
						if server == "ngircd" || said-len(box.texts()) < ahead {
							alice.Say("#dev", fmt.Sprint("in ", said))
							said++
						}
					}
				})
				out := &sender{leg: leg, box: box}
				for i := 0; i < lines; i += atOnce {
					if i == lines/2 {
						switch fault {
						case "kick":
							alice.Send("KICK #dev bridge :out")
						case "reset":
							wg.Go(proxy.Reset)
						default:
							proxy.BlackHole()
							wg.Go(func() {
								lab.Poll(time.Minute, func() bool { return leg.Status().State != bridge.StateUp })
								proxy.Restore()
							})
						}
					}
					if !out.send(i, atOnce) {
						t.Errorf("line %d was not sent", i)
						break
					}
				}
				close(stop)
				wg.Wait()
				alice.Say("#dev", "in the end")
				l.Await(time.Minute, "the last line", func() bool {
					texts := box.texts()
					return len(texts) > 0 && texts[len(texts)-1] == "alice: in the end"
				})
				t.Logf("%d lines in, %d out: %d in doubt, of them %d present, %d absent, %d unanswered", said, lines, out.doubts, out.present, out.absent, out.unanswered)
				checkIn(t, box, said, server == "inspircd")
				l.Await(time.Minute, "the last line sent", func() bool {
					heard := alice.Heard("#dev")
					return len(heard) > 0 && heard[len(heard)-1].Text == fmt.Sprint("<bob> out ", lines-1)
				})
				checkOut(t, alice, lines, out.unanswered)
				if gaps := len(box.gaps()); server == "inspircd" && gaps > 0 || server == "ngircd" && gaps != 1 {
					t.Errorf("gaps told: %+v", box.gaps())
				}
			})
		}
	}
}

// checkIn wants what alice said in order and once; all of it, if the network keeps it.
func checkIn(t *testing.T, box *journalled, said int, all bool) {
	t.Helper()
	texts := box.texts()
	last := -1
	for _, text := range texts[:len(texts)-1] {
		var n int
		if _, err := fmt.Sscanf(text, "alice: in %d", &n); err != nil || n <= last || all && n != last+1 {
			t.Fatalf("after line %d came %q", last, text)
		}
		last = n
	}
	if all && last != said-1 {
		t.Errorf("%d of %d lines came in", last+1, said)
	}
}

// checkOut wants what was sent in order; twice at most as many as nobody could tell
// of.
func checkOut(t *testing.T, alice *lab.IRCUser, lines, unanswered int) {
	t.Helper()
	seen := map[string]bool{}
	last, dupes := -1, 0
	for _, h := range alice.Heard("#dev") {
		if !strings.HasPrefix(h.Text, "<bob> out ") {
			continue
		}
		if seen[h.Text] {
			dupes++
			continue
		}
		seen[h.Text] = true
		var n int
		if _, err := fmt.Sscanf(h.Text, "<bob> out %d", &n); err != nil || n != last+1 {
			t.Errorf("after line %d alice heard %q", last, h.Text)
		}
		last = n
	}
	if last != lines-1 || dupes > unanswered {
		t.Errorf("%d of %d lines went out, %d of them twice (%d could not be asked about)", last+1, lines, dupes, unanswered)
	}
}
