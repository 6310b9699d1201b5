package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	xotr "golang.org/x/crypto/otr" // another implementation to talk to
)

// keys are made once: each takes a tenth of a second.
var keys = sync.OnceValue(func() (out [2]*Key) {
	for i := range out {
		k, err := NewKey()
		if err != nil {
			panic(err)
		}
		out[i] = k
	}
	return out
})

// end is one end of a conversation by any implementation.
type end interface {
	commit() string
	receive(t testing.TB, msg string) (Result, error)
	send(t testing.TB, text string) string
	ask(question, secret string) []string
	answer(secret string) []string
}

type ours struct {
	*Conversation
	version byte
}

func (o ours) commit() string { return o.Commit(o.version) }

func (o ours) receive(_ testing.TB, msg string) (Result, error) { return o.Receive(msg) }

func (o ours) send(t testing.TB, text string) string {
	t.Helper()
	msg, err := o.Send([]byte(text))
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	return msg
}

func (o ours) ask(question, secret string) []string {
	msg, err := o.Ask(question, []byte(secret))
	if err != nil {
		panic(err)
	}
	return []string{msg}
}

func (o ours) answer(secret string) []string {
	msg, err := o.Answer([]byte(secret))
	if err != nil {
		panic(err)
	}
	return []string{msg}
}

// theirs is golang.org/x/crypto/otr.
type theirs struct{ *xotr.Conversation }

func (x theirs) commit() string {
	_, _, _, out, _ := x.Receive([]byte("?OTRv2?"))
	return string(out[0])
}

func (x theirs) receive(_ testing.TB, msg string) (res Result, err error) {
	text, encrypted, change, reply, err := x.Receive([]byte(msg))
	res.Data = encrypted
	if encrypted {
		res.Text = text
	}
	for _, r := range reply {
		res.Reply = append(res.Reply, string(r))
	}
	switch change {
	case xotr.NewKeys:
		res.Event, res.Fingerprint = NewSession, hexFingerprint(x.TheirPublicKey.Fingerprint())
	case xotr.SMPSecretNeeded:
		res.Event, res.Question = SMPAsked, x.SMPQuestion()
	case xotr.SMPComplete:
		res.Event = SMPMatched
	case xotr.SMPFailed:
		res.Event = SMPFailed
	case xotr.ConversationEnded:
		res.Event = PeerEnded
	}
	return res, err
}

func (x theirs) send(t testing.TB, text string) string {
	t.Helper()
	out, err := x.Conversation.Send([]byte(text))
	if err != nil || len(out) != 1 {
		t.Fatalf("Send: %v", err)
	}
	return string(out[0])
}

func (x theirs) ask(question, secret string) (msgs []string) {
	out, err := x.Authenticate(question, []byte(secret))
	if err != nil {
		panic(err)
	}
	for _, m := range out {
		msgs = append(msgs, string(m))
	}
	return msgs
}

func (x theirs) answer(secret string) []string { return x.ask("", secret) }

func newOurs(i int) ours { return ours{New(keys()[i]), 3} }

func newOurs2(i int) ours { return ours{New(keys()[i]), 2} }

func newTheirs(t testing.TB) theirs {
	p, q, g, y, x := keys()[1].Numbers()
	k := new(xotr.PrivateKey)
	file := fmt.Sprintf("(p #%X#)(q #%X#)(g #%X#)(y #%X#)(x #%X#)", p.Bytes(), q.Bytes(), g.Bytes(), y.Bytes(), x.Bytes())
	if !k.Import([]byte(strings.ReplaceAll(file, "#", " #"))) && !k.Import([]byte(file)) {
		t.Fatal("x/crypto does not take our key")
	}
	return theirs{&xotr.Conversation{PrivateKey: k, Rand: rand.Reader}}
}

// talk carries msgs, which to gets first, between the ends until none is left, and
// returns the results with an event, with who had them.
func talk(t testing.TB, to, from end, msgs ...string) (events []string) {
	t.Helper()
	for n := 0; len(msgs) > 0; n++ {
		if n > 10 {
			t.Fatal("they talk for ever")
		}
		var replies []string
		for _, m := range msgs {
			res, err := to.receive(t, m)
			if err != nil {
				t.Fatalf("message %d: %v", n, err)
			}
			if res.Event != NoEvent {
				events = append(events, fmt.Sprintf("%T %d %s", to, res.Event, res.Question))
			}
			replies = append(replies, res.Reply...)
		}
		msgs = replies
		to, from = from, to
	}
	return events
}

func carry(t testing.TB, from, to end, text string) {
	t.Helper()
	res, err := to.receive(t, from.send(t, text))
	if err != nil || !res.Data || string(res.Text) != text {
		t.Fatalf("%q came as %q, data %v, %v", text, res.Text, res.Data, err)
	}
}

func pairs(t testing.TB) map[string]func() (a, b end) {
	return map[string]func() (a, b end){
		"v3, v3":     func() (a, b end) { return newOurs(0), newOurs(1) },
		"v2, v2":     func() (a, b end) { return newOurs2(0), newOurs2(1) },
		"v2, theirs": func() (a, b end) { return newOurs2(0), newTheirs(t) },
		"theirs, v2": func() (a, b end) { return newTheirs(t), newOurs2(0) },
	}
}

func TestConversation(t *testing.T) {
	for name, ends := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			a, b := ends()
			if got := talk(t, b, a, a.commit()); len(got) != 2 {
				t.Fatalf("handshake: %v", got)
			}
			for i, text := range []string{"hello", "", "ünïcödé ☃", strings.Repeat("long ", 3000), "one", "two", "three"} {
				carry(t, a, b, text)
				if i%3 != 2 { // one-way for a while
					carry(t, b, a, "re: "+text)
				}
			}
			// Keys are renewed inside of a session.
			if got := talk(t, a, b, b.commit()); len(got) != 2 {
				t.Fatalf("second handshake: %v", got)
			}
			carry(t, a, b, "with new keys")
			carry(t, b, a, "both ways")
		})
	}
}

func TestBothCommit(t *testing.T) {
	for name, ends := range map[string]func() (a, b ours){
		"v2": func() (a, b ours) { return newOurs2(0), newOurs2(1) },
		"v3": func() (a, b ours) { return newOurs(0), newOurs(1) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 6 { // whoever has the greater hash
				a, b := ends()
				bothCommit(t, a, b)
			}
		})
	}
}

func bothCommit(t *testing.T, a, b ours) {
	t.Helper()
	to := map[ours][]string{a: {b.commit()}, b: {a.commit()}}
	for n := 0; len(to[a])+len(to[b]) > 0; n++ {
		if n > 20 {
			t.Fatal("they talk for ever")
		}
		for _, x := range [][2]ours{{a, b}, {b, a}} {
			if len(to[x[0]]) == 0 {
				continue
			}
			res, err := x[0].Receive(to[x[0]][0])
			if err != nil {
				t.Fatal(err)
			}
			to[x[0]] = to[x[0]][1:]
			to[x[1]] = append(to[x[1]], res.Reply...)
		}
	}
	carry(t, a, b, "one way")
	carry(t, b, a, "and the other")
	if a.Fingerprint() != keys()[1].Fingerprint() || b.Fingerprint() != keys()[0].Fingerprint() {
		t.Error("fingerprints")
	}
	if a.Handshaking() || b.Handshaking() {
		t.Error("one of the handshakes goes on")
	}
}

func TestEnds(t *testing.T) {
	a, x := newOurs2(0), newTheirs(t)
	talk(t, x, a, a.commit())
	for _, m := range x.End() {
		if res, err := a.Receive(string(m)); err != nil || res.Event != PeerEnded {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if _, err := a.Send([]byte("x")); !errors.Is(err, ErrNoSession) || a.Established() || a.Fingerprint() != "" {
		t.Errorf("after the end: %v", err)
	}
	if _, err := a.Heartbeat(); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	hb, _ := func() (string, error) {
		b := newOurs2(1)
		c := newOurs2(0)
		talk(t, b, c, c.commit())
		return c.Heartbeat()
	}()
	if _, err := a.Receive(hb); !errors.Is(err, ErrIgnorable) {
		t.Errorf("a heartbeat of a session that is gone: %v", err)
	}
}

func TestTextCannotHoldRecords(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	res, err := b.Receive(a.send(t, "hello\x00\x00\x01\x00\x00"))
	if err != nil || res.Event != NoEvent || string(res.Text) != "hello\x01" {
		t.Errorf("%+v, %v", res, err)
	}
}
