package engine

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

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
