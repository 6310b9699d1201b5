package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what OTR has
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// sent is a data message taken apart.
type sent struct {
	mine, theirs uint32
	counter      uint64
	covered, mac []byte
	revealed     []byte
}

func takeApart(t testing.TB, msg string) (m sent) {
	t.Helper()
	raw, err := dearmor(msg)
	if err != nil {
		t.Fatal(err)
	}
	r := reader{in: raw}
	if r.u16(); raw[1] == 3 {
		r.bytes(8)
	}
	r.bytes(2)
	m.mine, m.theirs = r.u32(), r.u32()
	r.data()
	m.counter = binary.BigEndian.Uint64(r.bytes(8))
	r.data()
	m.covered = raw[:len(raw)-len(r.in)]
	m.mac, m.revealed = r.bytes(macBytes), r.data()
	if !r.end() {
		t.Fatal("not a data message")
	}
	return m
}

func versions() map[string]func() (a, b ours) {
	return map[string]func() (a, b ours){
		"v2": func() (a, b ours) { return newOurs2(0), newOurs2(1) },
		"v3": func() (a, b ours) { return newOurs(0), newOurs(1) },
	}
}

// TestCounterAndKeys: no counter comes twice with a key, counters only rise, both
// sides go on to new keys with every change of direction, and keys that are used up
// are overwritten.
func TestCounterAndKeys(t *testing.T) {
	for name, ends := range versions() {
		t.Run(name, func(t *testing.T) {
			a, b := ends()
			talk(t, b, a, a.commit())
			seen := map[string]bool{}
			last := map[ours]uint64{}
			firstKey := a.cur().last.priv
			for i, x := range []ours{a, a, b, a, b, b, b, a, a, b, a, b} {
				msg := x.send(t, fmt.Sprint(i))
				m := takeApart(t, msg)
				id := fmt.Sprint(x.tag, m.mine, m.theirs, m.counter)
				if seen[id] || m.counter <= last[x] {
					t.Fatalf("%d: counter %d after %d", i, m.counter, last[x])
				}
				seen[id], last[x] = true, m.counter
				to := b
				if x == b {
					to = a
				}
				if res, err := to.Receive(msg); err != nil || string(res.Text) != fmt.Sprint(i) {
					t.Fatal(err)
				}
				if n := len(a.cur().slots); n > 4 {
					t.Fatalf("%d pairs of keys are kept", n)
				}
			}
			if a.cur().myID < 4 || b.cur().myID < 4 {
				t.Errorf("keys %d and %d: they do not go on", a.cur().myID, b.cur().myID)
			}
			for _, w := range firstKey.Bits()[:cap(firstKey.Bits())] {
				if w != 0 {
					t.Fatal("a private key that is used up was not overwritten")
				}
			}
			s := a.cur()
			a.End()
			for _, sl := range s.slots {
				if !bytes.Equal(sl.sendAES, make([]byte, 16)) || !bytes.Equal(sl.recvMAC, make([]byte, macBytes)) {
					t.Error("keys of a session that ended were not overwritten")
				}
			}
		})
	}
}

// TestOldMACs: the keys that messages were verified with are published once they
// are used up, so that anybody could have made those messages; not before.
func TestOldMACs(t *testing.T) {
	for name, ends := range versions() {
		t.Run(name, func(t *testing.T) {
			a, b := ends()
			talk(t, b, a, a.commit())
			var fromA []sent
			proven := 0
			published := map[string]bool{}
			for range 6 {
				msg := a.send(t, "x")
				fromA = append(fromA, takeApart(t, msg))
				if _, err := b.Receive(msg); err != nil {
					t.Fatal(err)
				}
				msg = b.send(t, "y")
				keys := takeApart(t, msg).revealed
				for len(keys) >= macBytes {
					if published[string(keys[:macBytes])] {
						t.Error("a key is published twice")
					}
					published[string(keys[:macBytes])] = true
					for i, m := range fromA {
						h := hmac.New(sha1.New, keys[:macBytes])
						h.Write(m.covered)
						if !hmac.Equal(h.Sum(nil), m.mac) {
							continue
						}
						proven++
						if sl := b.cur().slotFor(m.theirs, m.mine); sl != nil {
							t.Errorf("message %d: its key is published and still taken", i)
						}
					}
					keys = keys[macBytes:]
				}
				if len(keys) != 0 {
					t.Error("half a key")
				}
				if _, err := a.Receive(msg); err != nil {
					t.Fatal(err)
				}
			}
			if proven < 3 {
				t.Errorf("the keys of %d messages of 6 were published", proven)
			}
		})
	}
}

// badElements are numbers that no exchange may be made with.
func badElements() []*big.Int {
	one := big.NewInt(1)
	return []*big.Int{new(big.Int), one, new(big.Int).Sub(groupP, one), groupP, new(big.Int).Add(groupP, one), new(big.Int).Lsh(one, groupBits)}
}

func TestGroupOfHandshake(t *testing.T) {
	for _, bad := range badElements() {
		a, b := newOurs(0), newOurs(1)
		res, err := b.Receive(a.commit())
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := dearmor(res.Reply[0])
		msg := armor(appendMPI(raw[:headerLen+8:headerLen+8], bad))
		if res, err := a.Receive(msg); !errors.Is(err, ErrMalformed) || res.Reply != nil {
			t.Errorf("gy = %.10x…: %+v, %v", bad, res, err)
		}
		// gx comes hidden, and is seen with the third message.
		a, b = newOurs(0), newOurs(1)
		c := &handshake{state: awaitDHKey, mine: dhKey{priv: big.NewInt(2), pub: bad}}
		w := wire{version: 3, mine: a.tag}
		honest := handshake{}
		_ = honest.commit(w)
		c.r = honest.r
		gx := appendMPI(nil, bad)
		sum := sha256Sum(gx)
		xor(c.r[:], nil, gx)
		if res, err = b.Receive(armor(appendData(appendData(w.header(typeDHCommit), gx), sum))); err != nil {
			continue // longer than any element: refused at once
		}
		raw, _ = dearmor(res.Reply[0])
		w.theirs = b.tag
		reveal, err := c.onDHKey(raw[headerLen+8:], keys()[0], w)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := b.Receive(armor(reveal)); !errors.Is(err, ErrMalformed) || !strings.HasSuffix(err.Error(), ": value") || b.Established() || res.Reply != nil {
			t.Errorf("gx = %.10x…: %+v, %v", bad, res, err)
		}
	}
}

func TestGroupOfAnnouncedKeys(t *testing.T) {
	for _, bad := range badElements() {
		a, b := newOurs(0), newOurs(1)
		talk(t, b, a, a.commit())
		good := b.cur().next
		b.cur().next = dhKey{pub: bad}
		if res, err := a.Receive(b.send(t, "x")); !errors.Is(err, ErrMalformed) || res.Data {
			t.Errorf("y = %.10x…: %+v, %v", bad, res, err)
		}
		b.cur().next = good
		carry(t, b, a, "goes on")
		carry(t, a, b, "both ways")
	}
}

// TestNumbersOfSMP: in each message of a run each number is made bad in turn. Each is
// refused by who gets it, at once; the other messages are those of one honest run.
func TestNumbersOfSMP(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	elements := map[uint16][]int{tlvSMP1: {0, 3}, tlvSMP2: {0, 3, 6, 7}, tlvSMP3: {0, 1, 5}, tlvSMP4: {0}}
	counts := map[uint16]int{tlvSMP1: 6, tlvSMP2: 11, tlvSMP3: 8, tlvSMP4: 3}
	exponents := map[uint16][]int{tlvSMP1: {2, 5}, tlvSMP2: {2, 5, 9, 10}, tlvSMP3: {3, 4, 7}, tlvSMP4: {2}}
	ma, mb := &a.cur().smp, &b.cur().smp
	// passes tells whether a message is taken by who gets it.
	passes := map[uint16]func(tlv) bool{
		tlvSMP1: func(m tlv) bool {
			t.Helper()
			msg, err := a.data(flagIgnore, nil, m)
			if err != nil {
				t.Fatal(err)
			}
			res, err := b.Receive(msg)
			if err != nil {
				t.Fatal(err)
			}
			return res.Event == SMPAsked
		},
		tlvSMP2: func(m tlv) bool { _, err := ma.second(m.data); return err == nil },
		tlvSMP3: func(m tlv) bool { _, same, err := mb.third(m.data); return err == nil && same },
		tlvSMP4: func(m tlv) bool { same, err := ma.fourth(m.data); return err == nil && same },
	}
	secret := big.NewInt(12345)
	honest, before := map[uint16]tlv{}, map[uint16][2]smp{} // by message: it, and the two sides before it
	note := func(m tlv) { honest[m.typ], before[m.typ] = m, [2]smp{*ma, *mb} }
	note(ma.ask("", secret))
	if !passes[tlvSMP1](honest[tlvSMP1]) {
		t.Fatal("message 1 of an honest run is refused")
	}
	note(mb.answer(secret)) // by hand from here, so that each can be spoiled
	third, err := ma.second(honest[tlvSMP2].data)
	if err != nil {
		t.Fatal(err)
	}
	note(third)
	fourth, _, err := mb.third(third.data)
	if err != nil {
		t.Fatal(err)
	}
	note(fourth)
	run := func(typ uint16, edit func([]*big.Int)) bool {
		t.Helper()
		*ma, *mb = before[typ][0], before[typ][1]
		v, err := numbers(honest[typ].data, counts[typ])
		if err != nil {
			t.Fatal(err)
		}
		edit(v)
		return passes[typ](ints(typ, nil, v...))
	}
	defer func() {
		for typ := range counts {
			if !run(typ, func([]*big.Int) {}) {
				t.Errorf("message %d of an honest run is refused", typ)
			}
		}
	}()
	for typ, at := range elements {
		for _, i := range at {
			for _, bad := range badElements()[:4] {
				if run(typ, func(v []*big.Int) { v[i] = bad }) {
					t.Errorf("message %d, number %d = %.10x…: passed", typ, i, bad)
				}
			}
		}
		for _, i := range exponents[typ] {
			for _, bad := range []*big.Int{new(big.Int), groupQ, new(big.Int).Add(groupQ, big.NewInt(1))} {
				if run(typ, func(v []*big.Int) { v[i] = bad }) {
					t.Errorf("message %d, exponent %d = %.10x…: passed", typ, i, bad)
				}
			}
			// The same value modulo the order: a proof that is right, written otherwise.
			if run(typ, func(v []*big.Int) { v[i] = new(big.Int).Add(v[i], groupQ) }) {
				t.Errorf("message %d, exponent %d above the order: passed", typ, i)
			}
		}
		for i := range counts[typ] {
			if run(typ, func(v []*big.Int) { v[i] = new(big.Int).Add(v[i], big.NewInt(1)) }) {
				t.Errorf("message %d, number %d + 1: passed", typ, i)
			}
		}
	}
}

func sha256Sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
