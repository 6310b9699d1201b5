package engine

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/otr"
)

// publicBits bounds the numbers of a peer's key, which are its own choice: a
// longer one would make us calculate for seconds.
const publicBits = 3072

// subgroupBytes is the length of each half of a signature: 160 bits.
const subgroupBytes = 20

// publicKey takes the key off the front that signs a handshake. That its numbers are
// in bounds is seen to before otr.PublicKey reads them.
func (r *reader) publicKey() (k otr.PublicKey) {
	whole := r.in
	r.u16()
	for range 4 {
		if len(r.data()) > publicBits/8 {
			r.bad = true
		}
	}
	if r.bad {
		return k
	}
	if _, ok := k.Parse(whole[:len(whole)-len(r.in)]); !ok || !usable(&k) {
		r.bad = true
	}
	return k
}

// usable reports whether the numbers can be a DSA key as OTR has it: one of which
// everybody could make signatures has g or y outside of its group.
func usable(k *otr.PublicKey) bool {
	one := big.NewInt(1)
	return k.Q.BitLen() == 8*subgroupBytes && k.P.Bit(0) == 1 && k.P.BitLen() <= publicBits &&
		k.G.Cmp(one) > 0 && k.G.Cmp(k.P) < 0 && k.Y.Cmp(one) > 0 && k.Y.Cmp(k.P) < 0
}

func hexFingerprint(f []byte) string { return strings.ToUpper(hex.EncodeToString(f)) }

// Key is the bot's own key. It is never changed.
type Key struct {
	priv otr.PrivateKey
	fpr  []byte
}

// ErrKey is the error of numbers that are no DSA key.
var ErrKey = errors.New("otr: not a usable DSA key")

// NewKey makes a key of 1024 bits, which is all that OTR has. It takes about a
// tenth of a second.
func NewKey() (*Key, error) {
	k := new(Key)
	if err := caught(func() { k.priv.Generate(rand.Reader) }); err != nil {
		return nil, fmt.Errorf("otr: make a key: %w", err)
	}
	return k, k.check()
}

// MakeKey makes a key of its numbers, as libotr's files have them, and checks that
// they belong together. Its error is ErrKey.
func MakeKey(p, q, g, y, x *big.Int) (*Key, error) {
	for _, n := range []*big.Int{p, q, g, y, x} {
		if n == nil || n.Sign() <= 0 || n.BitLen() > publicBits {
			return nil, ErrKey
		}
	}
	k := new(Key)
	if rest, ok := k.priv.Parse(appendMPI([]byte{0, 0}, p, q, g, y, x)); !ok || len(rest) > 0 {
		return nil, ErrKey
	}
	return k, k.check()
}

// check looks whether the numbers belong together, and sign.
func (k *Key) check() error {
	p, q, g, y, x := k.Numbers()
	if !usable(k.public()) || x.Cmp(q) >= 0 || new(big.Int).Exp(g, x, p).Cmp(y) != 0 {
		return ErrKey
	}
	k.fpr = k.public().Fingerprint()
	text := []byte("does it sign?")
	sig, err := k.sign(text)
	if err != nil {
		return ErrKey
	}
	if _, ok := k.public().Verify(text, sig); !ok {
		return ErrKey
	}
	return nil
}

func (k *Key) public() *otr.PublicKey { return &k.priv.PublicKey }

// Numbers returns the key's numbers, the secret one last.
func (k *Key) Numbers() (p, q, g, y, x *big.Int) {
	pub := k.public()
	return pub.P, pub.Q, pub.G, pub.Y, k.priv.X
}

// Fingerprint returns what people compare, in 40 upper-case hex digits.
func (k *Key) Fingerprint() string { return hexFingerprint(k.fpr) }

// String returns the fingerprint, and never more.
func (k *Key) String() string { return k.Fingerprint() }

// GoString returns the fingerprint, and never more.
func (k *Key) GoString() string { return k.Fingerprint() }

func (k *Key) sign(hash []byte) (sig []byte, err error) {
	err = caught(func() { sig = k.priv.Sign(rand.Reader, hash) })
	return sig, err
}

// caught makes an error of a panic, which is how otr.PrivateKey tells what
// crypto/dsa refuses: numbers that are no key, or DSA itself in FIPS 140 mode.
func caught(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("otr: DSA: %v", v)
		}
	}()
	f()
	return nil
}
