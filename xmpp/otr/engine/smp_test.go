package engine

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

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
