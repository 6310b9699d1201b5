package engine

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"runtime"
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

func TestSMP(t *testing.T) {
	for name, ends := range pairs(t) {
		for _, tt := range []struct {
			name, question, x, y string
			want                 Event
		}{
			{"same", "", "secret", "secret", SMPMatched},
			{"same, with a question", "where?", "ünder", "ünder", SMPMatched},
			{"different", "", "secret", "Secret", SMPFailed},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				a, b := ends()
				talk(t, b, a, a.commit())
				for round := range 2 { // a run leaves nothing behind
					got := talk(t, b, a, a.ask(tt.question, tt.x)...)
					if want := fmt.Sprintf("%T %d %s", b, SMPAsked, tt.question); len(got) != 1 || got[0] != want {
						t.Fatalf("asked: %v, want %s", got, want)
					}
					got = talk(t, a, b, b.answer(tt.y)...)
					mine := fmt.Sprintf("%T %d ", a, tt.want)
					if _, ok := a.(ours); ok && (len(got) == 0 || got[len(got)-1] != mine) {
						t.Fatalf("round %d: %v, want %s last", round, got, mine)
					}
					if _, ok := b.(ours); ok && (len(got) == 0 || got[0] != fmt.Sprintf("%T %d ", b, tt.want)) {
						t.Fatalf("round %d: %v, want %d first", round, got, tt.want)
					}
					if _, ok := a.(theirs); ok && tt.want == SMPFailed {
						return // x/crypto stays in its last state after a failure
					}
					if _, ok := b.(theirs); ok && tt.want == SMPFailed {
						return
					}
				}
				carry(t, a, b, "and the talk goes on")
			})
		}
	}
}

// TestSMPNeedsTheSecret: with 1 as a group element the secret drops out, and who
// does not know it passes; x/crypto lets that through.
func TestSMPNeedsTheSecret(t *testing.T) {
	for _, two := range []int64{0, 1} { // g^0 = 1 is refused; with g^1 the run is an honest one, and fails
		a, b := newOurs(0), newOurs(1)
		talk(t, b, a, a.commit())
		talk(t, b, a, a.ask("", "what only the person knows")...)
		m := &b.cur().smp
		// What answer does, with our b2.
		m.x, m.two, m.three = big.NewInt(1), big.NewInt(two), exponent()
		c2, d2 := prove(3, groupG, m.two)
		c3, d3 := prove(4, groupG, m.three)
		m.g2, m.g3 = pow(m.theirG2, m.two), pow(m.theirG3, m.three)
		p, q, c, d5, d6 := m.commit(5)
		m.p, m.q, m.state = p, q, expect3
		msg, err := b.data(flagIgnore, nil, ints(tlvSMP2, nil, pow(groupG, m.two), c2, d2, pow(groupG, m.three), c3, d3, p, q, c, d5, d6))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range talk(t, a, b, msg) {
			if strings.Contains(e, fmt.Sprint(" ", SMPMatched, " ")) {
				t.Errorf("exponent %d: %s", two, e)
			}
		}
		if two == 0 && a.Asking() {
			t.Error("the run goes on")
		}
	}
}

func TestSMPEndsInOrder(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	if _, err := a.Answer([]byte("x")); !errors.Is(err, ErrNoSession) {
		t.Errorf("answer to nothing: %v", err)
	}
	ask := a.ask("q", "x")
	if _, err := a.Ask("", nil); !errors.Is(err, ErrBusy) {
		t.Errorf("asked twice: %v", err)
	}
	talk(t, b, a, ask...)
	if a.Exposed() || b.Exposed() {
		t.Error("nothing made of the secret was sent yet")
	}
	msg, err := b.Abort()
	if err != nil {
		t.Fatal(err)
	}
	if got := talk(t, a, b, msg); len(got) != 1 || !strings.Contains(got[0], fmt.Sprint(SMPAbandoned)) {
		t.Errorf("abort before the secret: %v", got)
	}
	talk(t, b, a, a.ask("", "x")...)
	res, err := a.Receive(b.answer("x")[0])
	if err != nil || !a.Exposed() || !b.Exposed() || len(res.Reply) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	msg, _ = b.Abort()
	if got := talk(t, a, b, msg); len(got) != 1 || !strings.Contains(got[0], fmt.Sprint(SMPFailed)) {
		t.Errorf("abort after it: %v", got)
	}
}

func TestOutsidersChangeNothing(t *testing.T) {
	a, b, m := newOurs(0), newOurs(1), newOurs(1)
	talk(t, b, a, a.commit())
	before := b.send(t, "made before")
	for _, msg := range []string{
		m.commit(), "?OTR:AAICAQ==.", m.commit(), "?OTR:.", "?OTR:AAI=.", "?OTR:AAIK.", "?OTR:AAIR.", "?OTR:AAIS.", "?OTR:AAID.", "?OTR:AAMD.",
		"?OTR:AAIDAAAAAAEAAAABAAAAAA==.",
	} {
		_, _ = a.Receive(msg)
		if !a.Established() {
			t.Fatalf("%.40q ended the session", msg)
		}
		carry(t, a, b, "still here")
	}
	if res, err := a.Receive(before); err != nil || string(res.Text) != "made before" {
		t.Errorf("%q, %v", res.Text, err)
	}
	if _, err := a.Receive(before); !errors.Is(err, ErrReplay) {
		t.Errorf("again: %v", err)
	}
	// What is under way while keys are renewed is still read; not for ever.
	late := b.send(t, "made with the old keys")
	talk(t, a, b, b.commit())
	if res, err := a.Receive(late); err != nil || !res.Old || string(res.Text) != "made with the old keys" {
		t.Errorf("late: %+v, %v", res, err)
	}
	a.ForgetOld()
	if _, err := a.Receive(late); !errors.Is(err, ErrUnreadable) {
		t.Errorf("too late: %v", err)
	}
}

func TestTruncatedAndFlipped(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	whole, err := dearmor(a.send(t, "text"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if res, err := b.Receive(armor(whole[:i])); err == nil {
			t.Fatalf("cut at %d: %+v", i, res)
		}
	}
	// The keys at the end are not covered by the MAC; the rest is.
	for i := 3; i < len(whole)-4; i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x40
		if res, err := b.Receive(armor(bad)); err == nil {
			t.Fatalf("flipped at %d of %d: %+v", i, len(whole), res)
		}
	}
	if res, err := b.Receive(armor(whole)); err != nil || string(res.Text) != "text" {
		t.Fatalf("%+v, %v", res, err)
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

func TestMakeKey(t *testing.T) {
	p, q, g, y, x := keys()[0].Numbers()
	one := big.NewInt(1)
	for _, n := range [][5]*big.Int{
		{p, q, g, y, new(big.Int).Add(x, one)},
		{p, q, g, new(big.Int).Add(y, one), x},
		{nil, q, g, y, x},
		{p, new(big.Int), g, y, x},
		{new(big.Int).Lsh(one, 5000), q, g, y, x},
		{p, q, one, one, x},
	} {
		if _, err := MakeKey(n[0], n[1], n[2], n[3], n[4]); !errors.Is(err, ErrKey) {
			t.Errorf("%v", err)
		}
	}
	k := keys()[0]
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, x.String()) || strings.Contains(s, fmt.Sprintf("%x", x)) {
		t.Error("prints its secret")
	}
}

// TestMemory: what 500 conversations weigh, each in use by both sides.
func TestMemory(t *testing.T) {
	for name, ends := range versions() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			all := make([]ours, 0, 500)
			for range 500 {
				c, peer := ends()
				talk(t, peer, c, c.commit())
				carry(t, c, peer, "x")
				carry(t, peer, c, "x")
				all = append(all, c)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(len(all))
			t.Logf("%d bytes each", each)
			if each > 60<<20/500 {
				t.Errorf("500 of them are more than 60 MiB: %d bytes each", each)
			}
			runtime.KeepAlive(all)
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			talk(b, y, x, x.commit())
		}
	})
}

func BenchmarkOneWay(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			carry(b, x, y, line)
		}
	})
}

// BenchmarkInTurns is of two lines, with new keys for each.
func BenchmarkInTurns(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			carry(b, x, y, line)
			carry(b, y, x, line)
		}
	})
}

var line = strings.Repeat("a line ", 21)

func byVersion(b *testing.B, f func(b *testing.B, x, y ours)) {
	for _, name := range []string{"v2", "v3"} {
		b.Run(name, func(b *testing.B) {
			x, y := versions()[name]()
			talk(b, y, x, x.commit())
			f(b, x, y)
		})
	}
}

// FuzzReceive mutates the messages of a handshake, a talk and SMP: nothing panics,
// no text comes out that the peer did not write, and an outsider ends no session.
func FuzzReceive(f *testing.F) {
	for _, ends := range versions() {
		a, b := ends()
		msgs := []string{"?OTR:AAICAQ==.", a.commit()}
		for i := 1; i < len(msgs) && i < 6; i++ {
			to := []ours{b, a}[(i+1)%2]
			res, err := to.Receive(msgs[i])
			if err != nil {
				f.Fatal(err)
			}
			msgs = append(msgs, res.Reply...)
		}
		msgs = append(msgs, a.send(f, "text"))
		for i, m := range msgs {
			raw, err := dearmor(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw, uint8(i)+4*(a.version-2))
			f.Add(raw[:len(raw)/2], uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, state uint8) {
		x, y := versions()[[]string{"v2", "v3"}[state/4%2]]()
		switch state % 4 {
		case 1:
			x.commit()
		case 2:
			_, _ = x.Receive(y.commit())
		case 3:
			talk(t, y, x, x.commit())
		}
		was := x.Established()
		for range 2 {
			res, _ := x.Receive(armor(raw))
			if res.Data || x.Established() != was {
				t.Fatalf("%+v of an outsider's message", res)
			}
		}
		if was {
			carry(t, x, y, "still here")
			carry(t, y, x, "still here")
		}
	})
}

// FuzzRecords feeds a peer's own records, SMP above all, into a session.
func FuzzRecords(f *testing.F) {
	f.Add(uint16(tlvSMP1Q), []byte("q\x00\x00\x00\x00\x06"), uint8(0))
	f.Add(uint16(tlvSMP2), []byte{0, 0, 0, 11, 0, 0, 0, 1, 1}, uint8(2))
	f.Add(uint16(tlvSMP4), []byte{0, 0, 0, 3}, uint8(1))
	f.Add(uint16(tlvDisconnected), []byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, typ uint16, data []byte, state uint8) {
		if len(data) > 1<<15 {
			return
		}
		x, y := versions()[[]string{"v2", "v3"}[state/3%2]]()
		talk(t, y, x, x.commit())
		if state%3 > 0 {
			msg := x.ask("", "secret")
			if state%3 > 1 {
				talk(t, y, x, msg...)
				_, _ = x.Receive(y.answer("secret")[0])
			}
		}
		msg, err := y.data(0, []byte("text"), tlv{typ, data})
		if err != nil {
			t.Fatal(err)
		}
		res, err := x.Receive(msg)
		if err != nil || string(res.Text) != "text" || res.Event == SMPMatched {
			t.Fatalf("%+v, %v", res, err)
		}
	})
}

// TestPeerKeys: keys by which anybody could sign, and such as cost seconds.
func TestPeerKeys(t *testing.T) {
	p, q, g, y, _ := keys()[0].Numbers()
	one, long := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), publicBits)
	for name, n := range map[string][4]*big.Int{
		"g = 1":          {p, q, one, y},
		"y = 1":          {p, q, g, one},
		"y = 0":          {p, q, g, new(big.Int)},
		"y = p":          {p, q, g, p},
		"p even":         {new(big.Int).Add(p, one), q, g, y},
		"p = 0":          {new(big.Int), q, g, y},
		"q of 161 bits":  {p, new(big.Int).Lsh(q, 1), g, y},
		"q = 0":          {p, new(big.Int), g, y},
		"p of 3073 bits": {long.SetBit(long, 0, 1), q, g, y},
	} {
		r := reader{in: appendMPI([]byte{0, 0}, n[0], n[1], n[2], n[3])}
		if r.publicKey(); !r.bad {
			t.Errorf("%s: taken", name)
		}
	}
	whole := appendMPI([]byte{0, 0}, p, q, g, y)
	for i := range whole {
		r := reader{in: whole[:i]}
		if r.publicKey(); !r.bad {
			t.Errorf("cut at %d: taken", i)
		}
	}
	r := reader{in: append(whole, "rest"...)}
	if k := r.publicKey(); r.bad || string(r.in) != "rest" || hexFingerprint(k.Fingerprint()) != keys()[0].Fingerprint() {
		t.Errorf("a good one: %v, %q left", r.bad, r.in)
	}
	r = reader{in: append([]byte{0, 1}, whole[2:]...)}
	if r.publicKey(); !r.bad {
		t.Error("a key of another kind: taken")
	}
}
