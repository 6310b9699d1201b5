package engine

import (
	"bytes"
	"errors"
	"testing"
)

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
