package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// retag gives a message of version 3 other instance tags.
func retag(t testing.TB, msg string, from, to uint32) string {
	t.Helper()
	raw, err := dearmor(msg)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(raw[3:], from)
	binary.BigEndian.PutUint32(raw[7:], to)
	return armor(raw)
}

// two are two instances of one peer, by the same key, and one of ours.
func two(t testing.TB) (a, b1, b2 ours) {
	a, b1, b2 = newOurs(0), newOurs(1), newOurs(1)
	b2.tag = 0x12345678
	commit := a.commit()
	talk(t, b1, a, commit)
	talk(t, b2, a, commit)
	return a, b1, b2
}

// TestInstances: one commit, two that answer; each has its session, and text goes to
// the one in use.
func TestInstances(t *testing.T) {
	a, b1, b2 := two(t)
	if a.Handshaking() || a.Instance() != b1.tag {
		t.Fatalf("in use: %x; a handshake goes on: %v", a.Instance(), a.Handshaking())
	}
	for i, x := range []ours{b1, b2, b2, b1} {
		carry(t, x, a, "from it")
		if a.Instance() != b1.tag {
			t.Fatalf("%d: %x is in use", i, a.Instance())
		}
	}
	for _, x := range [][2]ours{{b1, b2}, {b2, b1}, {b1, b2}} {
		a.Use(x[0].tag)
		msg := a.send(t, "to one")
		if _, err := x[1].Receive(msg); !errors.Is(err, ErrElsewhere) {
			t.Errorf("at the other: %v", err)
		}
		if res, err := x[0].Receive(msg); err != nil || string(res.Text) != "to one" || res.Instance != a.tag {
			t.Errorf("%+v, %v", res, err)
		}
	}
	// Each renews its keys, and ends, alone.
	a.Use(b2.tag)
	talk(t, b2, a, a.Renew())
	carry(t, a, b2, "new keys")
	carry(t, b1, a, "old keys")
	bye, err := b1.Disconnect()
	if err != nil {
		t.Fatal(err)
	}
	if res, err := a.Receive(bye); err != nil || res.Event != NoEvent || !a.Established() {
		t.Errorf("the end of the one not in use: %+v, %v", res, err)
	}
	carry(t, b2, a, "still here")
	bye, _ = b2.Disconnect()
	if res, err := a.Receive(bye); err != nil || res.Event != PeerEnded || a.Established() {
		t.Errorf("the end of the one in use: %+v, %v", res, err)
	}
}

func TestInstanceAsks(t *testing.T) {
	a, b1, b2 := two(t)
	if got := talk(t, a, b2, b2.ask("q", "secret")...); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	if !a.Asking() || a.Instance() != b1.tag {
		t.Fatal("the run is with the other")
	}
	if got := talk(t, b2, a, a.answer("secret")...); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if got := talk(t, b1, a, a.ask("", "secret")...); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if _, err := a.Ask("", nil); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

// TestBothVersions: a client by version 2 and one by version 3.
func TestBothVersions(t *testing.T) {
	a, b2, b3 := newOurs(0), newOurs2(1), newOurs(1)
	talk(t, b2, a, a.Commit(2))
	talk(t, a, b3, b3.commit())
	if a.Version() != 2 {
		t.Fatalf("version %d", a.Version())
	}
	carry(t, a, b2, "two")
	carry(t, b3, a, "three")
	a.Use(b3.tag)
	carry(t, a, b3, "three")
	carry(t, b2, a, "two")
	if a.Version() != 3 {
		t.Errorf("version %d", a.Version())
	}
}

func TestTags(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	if a.tag < minTag || a.tag != New(keys()[0]).tag || a.tag == b.tag {
		t.Errorf("tags %x, %x", a.tag, b.tag)
	}
	for _, tt := range []struct {
		msg      string
		from, to uint32
		want     error
	}{
		{b.commit(), 0, 0, ErrMalformed},
		{b.commit(), 0xff, 0, ErrMalformed},
		{b.commit(), 0xff, a.tag, ErrMalformed},
		{b.commit(), b.tag, 0xff, ErrMalformed},
		{b.commit(), b.tag, 1, ErrMalformed},
		{b.commit(), a.tag, 0, ErrMalformed},
		{b.commit(), b.tag, a.tag + 1, ErrElsewhere},
		{b.commit(), b.tag, 0, nil},
		{b.commit(), 0x100, a.tag, nil},
		{b.send(t, "x"), b.tag, 0, ErrMalformed},
		{b.send(t, "x"), b.tag, a.tag + 1, ErrElsewhere},
		{b.send(t, "x"), b.tag + 1, a.tag, ErrNoSession},
		{b.send(t, "x"), b.tag, a.tag, nil},
	} {
		if _, err := a.Receive(retag(t, tt.msg, tt.from, tt.to)); !errors.Is(err, tt.want) {
			t.Errorf("%x to %x: %v, want %v", tt.from, tt.to, err, tt.want)
		}
	}
	for _, cut := range []int{3, 4, 7, 10} {
		raw, _ := dearmor(b.commit())
		if _, err := a.Receive(armor(raw[:cut])); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestTagIsCovered: a session's messages cannot be passed on as another instance's.
func TestTagIsCovered(t *testing.T) {
	a, b1, b2 := two(t)
	if res, err := a.Receive(retag(t, b1.send(t, "x"), b2.tag, a.tag)); !errors.Is(err, ErrUnreadable) || res.Data {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestManyInstances: they are bounded, and do not push out the one in use.
func TestManyInstances(t *testing.T) {
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	for i := range 50 {
		x := newOurs(1)
		x.tag = 0x1000 + uint32(i)
		if i%2 == 0 {
			_, _ = a.Receive(x.commit())
		} else {
			talk(t, a, x, x.commit())
		}
	}
	if len(a.peers) > maxInstances {
		t.Errorf("%d instances", len(a.peers))
	}
	carry(t, a, b, "still here")
	carry(t, b, a, "still here")
	a.Forget()
	a.End()
	if a.Established() || a.Handshaking() {
		t.Error("something is left")
	}
}

// TestReflection: an outsider that sends our own messages back, as those of two
// other clients, gets no session.
func TestReflection(t *testing.T) {
	const one, other = 0x1001, 0x1002
	a := newOurs(0)
	msg, from := a.commit(), uint32(one)
	for i, to := range []uint32{0, a.tag, a.tag} {
		res, err := a.Receive(retag(t, msg, from, to))
		if i == 2 {
			if err == nil || res.Event != NoEvent || a.Established() {
				t.Fatalf("%+v, %v", res, err)
			}
			return
		}
		if err != nil || len(res.Reply) != 1 {
			t.Fatalf("%d: %+v, %v", i, res, err)
		}
		msg, from = res.Reply[0], one+other-from
	}
}

// TestExtraKey: the record of version 3 about a key for something else is ignored.
func TestExtraKey(t *testing.T) {
	const tlvExtraKey = 8
	a, b := newOurs(0), newOurs(1)
	talk(t, b, a, a.commit())
	msg, err := b.data(0, []byte("text"), tlv{typ: tlvExtraKey, data: []byte("use, data")})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := a.Receive(msg); err != nil || string(res.Text) != "text" || res.Event != NoEvent || len(res.Reply) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	msg, _ = b.data(0, nil, tlv{typ: tlvExtraKey}, tlv{typ: tlvDisconnected})
	if res, err := a.Receive(msg); err != nil || res.Event != PeerEnded {
		t.Errorf("behind it: %+v, %v", res, err)
	}
}

// TestHeaders: the first bytes of each message by each version.
func TestHeaders(t *testing.T) {
	for version, ends := range map[byte]func() (a, b ours){
		2: func() (a, b ours) { return newOurs2(0), newOurs2(1) },
		3: func() (a, b ours) { return newOurs(0), newOurs(1) },
	} {
		a, b := ends()
		msg := a.commit()
		for i, typ := range []byte{typeDHCommit, typeDHKey, typeRevealSig, typeSig, typeData} {
			from, to, tag := a, b, b.tag
			if i%2 == 1 {
				from, to, tag = b, a, a.tag
			}
			if i == 0 {
				tag = 0
			}
			want := fmt.Sprintf("%04x%02x", version, typ)
			if version == 3 {
				want += fmt.Sprintf("%08x%08x", from.tag, tag)
			}
			raw, err := dearmor(msg)
			if got := fmt.Sprintf("%x", raw); err != nil || got[:len(want)] != want {
				t.Errorf("version %d: %.22s, want %s", version, got, want)
			}
			res, err := to.Receive(msg)
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Reply) > 0 {
				msg = res.Reply[0]
			} else {
				msg = a.send(t, "text")
			}
		}
	}
}
