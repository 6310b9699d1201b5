package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// talker is a fakeScheme with a session with alice's resource "a", if there is one.
type talker struct {
	*fakeScheme

	mu      sync.Mutex // guards all below
	session bool
	wants   bool // a query is due to "a"
	told    []string
}

func (s *talker) says(what string) e2ee.Payload {
	return e2ee.Payload{Children: []*element.Element{element.New(nsFake, what)}, NoCopy: true, Resource: "a"}
}

func (s *talker) Seal(ctx context.Context, p e2ee.Peer, text e2ee.Plain) (e2ee.Payload, error) {
	if !s.Established(p) {
		return s.says("query"), e2ee.ErrHandshake
	}
	pay, err := s.fakeScheme.Seal(ctx, p, text)
	pay.Resource, pay.NoCopy, pay.Store = "a", true, false
	return pay, err
}

func (s *talker) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	o, err := s.fakeScheme.Open(ctx, p, in)
	if err == nil && !o.Silent {
		o.Reply, o.Changes = []e2ee.Payload{s.says("answer")}, []e2ee.Change{e2ee.Established}
	}
	return o, err
}

func (s *talker) Established(e2ee.Peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

func (s *talker) Arrive(p e2ee.Peer, client string, talk bool) []e2ee.Payload {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s/%s came, %s, %v", p.Bare, p.Resource, client, talk))
	return []e2ee.Payload{{Children: []*element.Element{element.New(nsFake, "hello")}}}
}

func (s *talker) Leave(p e2ee.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s/%s left", p.Bare, p.Resource))
}

func (s *talker) Quit(p e2ee.Peer) []e2ee.Payload { return []e2ee.Payload{s.says("bye")} }

func (s *talker) Due(time.Time) []e2ee.Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wants {
		return nil
	}
	s.wants = false
	return []e2ee.Letter{{To: e2ee.Peer{Bare: "alice@x.org"}, Payload: s.says("due")}, {To: e2ee.Peer{Bare: "alice@x.org"}, Payload: e2ee.Payload{Body: "to nobody"}}}
}

func (s *talker) set(session, wants bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.wants = session, wants
}

// TestSessionsOfOneResource: what a scheme with sessions makes goes to the resource
// that it is for and to no other, in its order; what comes in clear inside of a session
// is refused.
func TestSessionsOfOneResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := testConfig()
		r := newRig(t, conf)
		s := &talker{fakeScheme: r.scheme}
		r.leg.deps.Schemes = []e2ee.Scheme{s}
		r.leg.talks = talking(r.leg.deps.Schemes)
		r.start()
		defer r.stop()
		r.skipStart()
		// sent are the messages since the last look: to whom, what, and whether for others.
		sent := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Local != "message" || len(e.Children) == 0 {
					continue
				}
				what := ""
				for _, c := range e.Children {
					if c.Space == nsFake {
						what = c.Local
					}
				}
				got = append(got, fmt.Sprintf("%s to %s, private %v", what, e.Get("to"), e.Child(nsCarbons, "private") != nil))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: sent %q, want %q", when, got, want)
			}
		}
		r.push("<presence from='alice@x.org/b'><priority>5</priority></presence>")
		r.push("<presence from='alice@x.org/a'><c xmlns='http://jabber.org/protocol/caps' node='https://pidgin.im/' ver='x' hash='sha-1'/></presence>")
		sent("they come", "hello to alice@x.org/b, private false", "hello to alice@x.org/a, private false")
		if want := []string{"alice@x.org/b came, , true", "alice@x.org/a came, pidgin, true"}; !slices.Equal(s.told, want) {
			t.Errorf("told %q, want %q", s.told, want)
		}

		var held *bridge.HoldError
		if err := r.leg.Send(context.Background(), chatOut("m1", "one")); !errors.As(err, &held) || !held.Soon {
			t.Errorf("without a session: %v", err)
		}
		sent("it asks for a session", "query to alice@x.org/a, private true")
		s.set(true, false)
		if err := r.leg.Send(context.Background(), chatOut("m1", "one")); err != nil {
			t.Error(err)
		}
		sent("in the session", "x to alice@x.org/a, private true")

		s.set(true, true)
		time.Sleep(2 * time.Second)
		sent("in time", "due to alice@x.org/a, private true")

		r.lines(&r.sink.events)
		r.push(`<message from='alice@x.org/a' type='chat'><x xmlns='test:sealed'>6869</x></message>`)
		sent("an answer at once", "answer to alice@x.org/a, private true")
		if got := r.lines(&r.sink.events); len(got) != 1 {
			t.Errorf("what waits is tried again: %q", got)
		}
		r.push("<message from='alice@x.org/a' type='chat'><body>in clear</body></message>")
		if got, want := r.lines(&r.sink.messages), []string{
			"alice say sealed/openpgp from alice person=alice jid=alice@x.org client=pidgin | hi",
			"alice unreadable clear/openpgp from alice person=alice jid=alice@x.org client=pidgin problem=" + e2ee.ErrClear.Error() + " | ",
		}; !slices.Equal(got, want) {
			t.Errorf("messages %q, want %q", got, want)
		}

		conf.People = conf.People[1:]
		if err := r.leg.Reconfigure(conf); err != nil {
			t.Fatal(err)
		}
		sent("they are taken out", "bye to alice@x.org/a, private true")
	})
}
