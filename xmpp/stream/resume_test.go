package stream_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"drawbridge/xmpp/stream"
)

const resumable = `<enabled xmlns='urn:xmpp:sm:3' resume='true' id='sm1'/>`

// smServer is a server's side of one session over many connections: it counts,
// keeps what is not acknowledged, and loses what was on the wire at a cut.
type smServer struct {
	got     []string // ids of the messages it has handled
	out     []string // ids of those to the client that are not acknowledged
	acked   int      // of its own
	next    int      // id of its next message
	f       *fake
	session bool
}

var inboundPattern = regexp.MustCompile(`^(?:<message id='([^']*)'/>|<r xmlns='urn:xmpp:sm:3'/>|<a xmlns='urn:xmpp:sm:3' h='(\d+)'/>)`)

// open negotiates, with a resumption if the client has something to resume.
func (s *smServer) open(f *fake) error {
	s.f = f
	if !s.session {
		s.session = true
		return f.negotiateWith(resumable)
	}
	if err := f.login2(); err != nil {
		return err
	}
	resume := regexp.MustCompile(`^<resume xmlns='urn:xmpp:sm:3' previd='sm1' h='(\d+)'/>`)
	text, err := f.take("<resume/>", func(in string) int { return len(resume.FindString(in)) })
	if err != nil {
		return err
	}
	h, _ := strconv.Atoi(resume.FindStringSubmatch(text)[1])
	if err := s.ack(h); err != nil {
		return err
	}
	f.send(fmt.Sprintf("<resumed xmlns='urn:xmpp:sm:3' previd='sm1' h='%d'/>", len(s.got)))
	for _, id := range s.out {
		f.send("<message id='" + id + "'/>")
	}
	return nil
}

func (s *smServer) ack(h int) error {
	if h < s.acked || h-s.acked > len(s.out) {
		return fmt.Errorf("the client acknowledges %d where %d..%d is possible", h, s.acked, s.acked+len(s.out))
	}
	s.out = s.out[h-s.acked:]
	s.acked = h
	return nil
}

// say sends a message; torn sends only a part of it.
func (s *smServer) say(torn bool) {
	id := fmt.Sprint("s", s.next)
	s.next++
	s.out = append(s.out, id)
	text := "<message id='" + id + "'/>"
	if torn {
		text = text[:1+rand.IntN(len(text)-1)]
	}
	s.f.send(text)
}

// handle takes elements of the client until n messages were handled.
func (s *smServer) handle(n int) error {
	for n > 0 {
		text, err := s.f.take("a stanza", func(in string) int { return len(inboundPattern.FindString(in)) })
		if err != nil {
			return err
		}
		m := inboundPattern.FindStringSubmatch(text)
		switch {
		case m[1] != "":
			s.got = append(s.got, m[1])
			n--
		case m[2] != "":
			h, _ := strconv.Atoi(m[2])
			if err := s.ack(h); err != nil {
				return err
			}
		case rand.IntN(2) == 0:
			s.f.send(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", len(s.got)))
		}
	}
	return nil
}

// TestResumeProperty cuts a session again and again, at any place, while both
// sides talk: each has everything of the other once and in order.
func TestResumeProperty(t *testing.T) {
	for round := range 40 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			srv := &smServer{}
			var sent, got []string
			var mu sync.Mutex // guards got
			var left *stream.Resumption
			cuts := 1 + rand.IntN(6)
			for cut := range cuts + 1 {
				last := cut == cuts
				f, conn := newFake(t)
				c := clearConfig(conn)
				c.Resume = left
				out := dialing(c)
				if err := srv.open(f); err != nil {
					t.Fatal(err)
				}
				d := <-out
				if d.err != nil {
					t.Fatal(d.err)
				}
				if d.s.Resumed() != (cut > 0) {
					t.Fatal("not resumed")
				}
				var wg, sending sync.WaitGroup
				wg.Go(func() {
					pending := 0
					for {
						e, err := d.s.Next()
						if err != nil {
							if rand.IntN(2) == 0 {
								d.s.Handled(pending) // after the end: for the next stream
								pending = 0
							}
							late := pending
							defer d.s.Handled(late)
							return
						}
						mu.Lock()
						got = append(got, e.Get("id"))
						mu.Unlock()
						if pending++; rand.IntN(3) == 0 {
							d.s.Handled(pending)
							pending = 0
						}
					}
				})
				n := rand.IntN(150)
				sending.Go(func() {
					for range n {
						id := fmt.Sprint("c", len(sent))
						if _, err := d.s.Send(message(id)); err != nil {
							if !errors.Is(err, stream.ErrNotSent) {
								t.Errorf("Send: %v", err)
							}
							return
						}
						sent = append(sent, id)
					}
				})
				for range rand.IntN(20) {
					srv.say(false)
				}
				if !last {
					if err := srv.handle(rand.IntN(n + 1)); err != nil {
						t.Fatal(err)
					}
					srv.say(true)
					f.hangUp()
					wg.Wait()
					sending.Wait()
					_ = d.s.Close()
					if left = d.s.Resumption(); left == nil {
						t.Fatal("cannot be resumed")
					}
					continue
				}
				srv.say(false)
				sending.Wait()
				if err := srv.handle(len(sent) - len(srv.got)); err != nil {
					t.Fatal(err)
				}
				for done := false; !done; {
					mu.Lock()
					done = len(got) >= srv.next
					mu.Unlock()
					if !done {
						srv.f.send("<r xmlns='urn:xmpp:sm:3'/>")
						if _, err := f.take("<a/>", func(in string) int { return len(inboundPattern.FindString(in)) }); err != nil {
							t.Fatal(err)
						}
					}
				}
				f.hangUp()
				wg.Wait()
				_ = d.s.Close()
			}
			if !slices.Equal(srv.got, sent) {
				t.Errorf("the server got %d of %d", len(srv.got), len(sent))
			}
			var want []string
			for i := range srv.next {
				want = append(want, fmt.Sprint("s", i))
			}
			if !slices.Equal(got, want) {
				t.Errorf("the client got %d of %d", len(got), len(want))
			}
		})
	}
}

// TestUnackedIsBounded: a server that never acknowledges costs the resumption,
// not the memory.
func TestUnackedIsBounded(t *testing.T) {
	var log logBuffer
	f, conn := newFake(t)
	c := clearConfig(conn)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	first := dialing(c)
	if err := f.negotiateWith(resumable); err != nil {
		t.Fatal(err)
	}
	s := (<-first).s
	f.forget()
	big := message(strings.Repeat("x", 60000))
	for range 300 {
		if _, err := s.Send(big); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(log.String(), "cannot be resumed any more") {
		t.Error("16 MiB are kept")
	}
	f.hangUp()
	if _, err := s.Next(); err == nil {
		t.Fatal("no end")
	}
	_ = s.Close()
	c.Resume = s.Resumption()
	next, g := newFake(t)
	c.Dial = dialPipe(g)
	out := dialing(c)
	if err := next.negotiate(); err != nil { // without <resume/>
		t.Fatal(err)
	}
	d := <-out
	if d.err != nil {
		t.Fatal(d.err)
	}
	next.hangUp()
	_ = d.s.Close()
}
