package xmpp

import (
	"context"
	"fmt"
	"testing"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/xmpptest"
)

// benchLeg is a leg whose parts are driven by hand.
func benchLeg(tb testing.TB, c Config, schemes ...e2ee.Scheme) (*Leg, *xmpptest.Stream, *fakeSink) {
	tb.Helper()
	l, err := New(c, Deps{Schemes: schemes})
	if err != nil {
		tb.Fatal(err)
	}
	l.started.Store(true)
	return l, xmpptest.NewStream("bot@x.org/drawbridge", true, nil), &fakeSink{}
}

// quietStream drops what is sent, after writing it as the wire would have it.
type quietStream struct {
	*xmpptest.Stream
	buf []byte
	seq uint64
}

func (q *quietStream) Send(list ...*element.Element) (uint64, error) {
	q.buf = q.buf[:0]
	for _, e := range list {
		q.buf = element.AppendXML(q.buf, e, nsClient)
	}
	q.seq++
	return q.seq, nil
}

func (q *quietStream) Handled(int) {}

const wireLine = `<message xmlns='jabber:client' to='bot@x.org/drawbridge' from='dev@rooms.x.org/alice' type='groupchat' id='5d7f7c5e-23b1-4c0a-a6c5-9d3e1a5b9f10'><body>a line of talk, about as long as people write on an ordinary day</body><origin-id xmlns='urn:xmpp:sid:0' id='5d7f7c5e-23b1-4c0a-a6c5-9d3e1a5b9f10'/><stanza-id xmlns='urn:xmpp:sid:0' by='dev@rooms.x.org' id='aEbx2aR_1'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='abc'/></message>`

// BenchmarkRoomIn is bytes → bridge.Message of a room line, without the socket.
func BenchmarkRoomIn(b *testing.B) {
	l, st, sink := benchLeg(b, withRoom())
	s := newSession(l, &quietStream{Stream: st}, sink)
	l.up(s)
	m := l.rooms[testRoom]
	m.state, m.nick, m.settled, m.stableIDs = bridge.StateUp, "bridge", true, true
	m.occupants["alice"] = &occupant{jid: "alice@x.org", role: "participant"}
	l.pipe.pop()
	wire := []byte(wireLine)
	b.ReportAllocs()
	for b.Loop() {
		e, err := element.Parse(wire, element.Scope{Default: nsClient}, element.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		s.take(e)
		it, _ := l.pipe.pop()
		it.msg.Taken(true)
	}
}

// BenchmarkRoomOut is bridge.Outgoing → bytes of a room line, and its reflection
// → proof.
func BenchmarkRoomOut(b *testing.B) {
	l, st, sink := benchLeg(b, withRoom())
	s := newSession(l, &quietStream{Stream: st}, sink)
	s.proofs.prove = func(bridge.Proof) {}
	l.up(s)
	m := l.rooms[testRoom]
	m.state, m.nick, m.settled, m.stableIDs = bridge.StateUp, "bridge", true, true
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprintf("0123456789abcdef-%d", i)
		if err := l.Send(ctx, roomOut(id, "a line of talk, about as long as people write on an ordinary day")); err != nil {
			b.Fatal(err)
		}
		wire := `<message xmlns='jabber:client' to='bot@x.org/drawbridge' from='dev@rooms.x.org/bridge' type='groupchat' id='` + id + `'><body>a line of talk, about as long as people write on an ordinary day</body><origin-id xmlns='urn:xmpp:sid:0' id='` + id + `'/><stanza-id xmlns='urn:xmpp:sid:0' by='dev@rooms.x.org' id='aEbx2aR_1'/></message>`
		e, err := element.Parse([]byte(wire), element.Scope{Default: nsClient}, element.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		s.take(e)
	}
	if n := len(s.proofs.rooms); n != 0 {
		b.Fatalf("%d lines without a proof", n)
	}
}

// BenchmarkChatOut is bridge.Outgoing → bytes of a chat line, with a scheme that
// costs nothing.
func BenchmarkChatOut(b *testing.B) {
	l, st, sink := benchLeg(b, testConfig(), &fakeScheme{})
	s := newSession(l, &quietStream{Stream: st}, sink)
	s.proofs.prove = func(bridge.Proof) {}
	l.up(s)
	l.people["alice"].resources["alice@x.org/a"] = &resource{bare: "alice@x.org"}
	ctx := context.Background()
	m := bridge.Outgoing{
		To: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}, Floor: policy.Sealed, Schemes: []string{"openpgp"},
		Text: bridge.NewText("a line of talk, about as long as people write on an ordinary day"),
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.ID = fmt.Sprintf("0123456789abcdef-%d", i)
		if err := l.Send(ctx, m); err != nil {
			b.Fatal(err)
		}
		if i%16 == 15 {
			s.acknowledged(uint64(i))
		}
	}
}

// BenchmarkChatIn is bytes → bridge.Message of a sealed chat line, with a scheme
// that costs nothing and the worker beside.
func BenchmarkChatIn(b *testing.B) {
	l, st, sink := benchLeg(b, testConfig(), &fakeScheme{})
	s := newSession(l, &quietStream{Stream: st}, sink)
	l.up(s)
	l.people["alice"].resources["alice@x.org/psi"] = &resource{bare: "alice@x.org", client: "psi"}
	l.pipe.pop()
	done := make(chan struct{})
	go func() { defer close(done); l.work.run() }()
	defer func() { l.work.close(); <-done }()
	wire := element.AppendXML(nil, say(seal("a line of talk, about as long as people write on an ordinary day"),
		element.New(nsReceipts, "request")), nsClient)
	b.ReportAllocs()
	for b.Loop() {
		e, err := element.Parse(wire, element.Scope{Default: nsClient}, element.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		s.take(e)
		it, _ := l.pipe.pop()
		<-it.ready
		it.msg.Taken(false)
	}
}
