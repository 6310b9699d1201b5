package engine

import (
	//lint:ignore SA1019 OTRv2 and v3 sign with DSA alone, and nothing else in Go has it.
	"crypto/dsa"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what OTR has
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// publicBits bounds the numbers of a peer's key, which are its own choice: a
// longer one would make us calculate for seconds.
const publicBits = 3072

// subgroupBytes is the length of each half of a signature: 160 bits.
const subgroupBytes = 20

// publicKey is a DSA key that signs handshakes.
type publicKey struct{ dsa.PublicKey }

func (k *publicKey) append(out []byte) []byte {
	return appendMPI(append(out, 0, 0), k.P, k.Q, k.G, k.Y)
}

func (r *reader) publicKey() (k publicKey) {
	if r.u16() != 0 {
		r.bad = true
	}
	k.P, k.Q, k.G, k.Y = r.mpi(publicBits), r.mpi(publicBits), r.mpi(publicBits), r.mpi(publicBits)
	return k
}

func (k *publicKey) fingerprint() []byte {
	sum := sha1.Sum(k.append(nil)[2:]) //nolint:gosec // what OTR has
	return sum[:]
}

func (k *publicKey) verify(hash, sig []byte) bool {
	if len(sig) != 2*subgroupBytes || k.P.Sign() <= 0 || k.Q.Sign() <= 0 {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:subgroupBytes]), new(big.Int).SetBytes(sig[subgroupBytes:])
	return dsa.Verify(&k.PublicKey, hash, r, s)
}

func hexFingerprint(f []byte) string { return strings.ToUpper(hex.EncodeToString(f)) }

// Key is the bot's own key. It is never changed.
type Key struct {
	priv dsa.PrivateKey
	pub  publicKey
	fpr  []byte
}

// ErrKey is the error of numbers that are no DSA key.
var ErrKey = errors.New("otr: not a usable DSA key")

// NewKey makes a key of 1024 bits, which is all that OTR has. It takes about a
// tenth of a second.
func NewKey() (*Key, error) {
	var priv dsa.PrivateKey
	if err := dsa.GenerateParameters(&priv.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		return nil, fmt.Errorf("otr: make a key: %w", err)
	}
	if err := dsa.GenerateKey(&priv, rand.Reader); err != nil {
		return nil, fmt.Errorf("otr: make a key: %w", err)
	}
	return MakeKey(priv.P, priv.Q, priv.G, priv.Y, priv.X)
}

// MakeKey makes a key of its numbers, as libotr's files have them, and checks that
// they belong together. Its error is ErrKey.
func MakeKey(p, q, g, y, x *big.Int) (*Key, error) {
	for _, n := range []*big.Int{p, q, g, y, x} {
		if n == nil || n.Sign() <= 0 || n.BitLen() > publicBits {
			return nil, ErrKey
		}
	}
	if q.BitLen() != 8*subgroupBytes || p.Bit(0) == 0 || g.Cmp(groupG) < 0 || g.Cmp(p) >= 0 || x.Cmp(q) >= 0 || new(big.Int).Exp(g, x, p).Cmp(y) != 0 {
		return nil, ErrKey
	}
	k := &Key{priv: dsa.PrivateKey{PublicKey: dsa.PublicKey{Parameters: dsa.Parameters{P: p, Q: q, G: g}, Y: y}, X: x}}
	k.pub = publicKey{k.priv.PublicKey}
	k.fpr = k.pub.fingerprint()
	if sig, err := k.sign([]byte("does it sign?")); err != nil || !k.pub.verify([]byte("does it sign?"), sig) {
		return nil, ErrKey
	}
	return k, nil
}

// Numbers returns the key's numbers, the secret one last.
func (k *Key) Numbers() (p, q, g, y, x *big.Int) {
	return k.priv.P, k.priv.Q, k.priv.G, k.priv.Y, k.priv.X
}

// Fingerprint returns what people compare, in 40 upper-case hex digits.
func (k *Key) Fingerprint() string { return hexFingerprint(k.fpr) }

// String returns the fingerprint, and never more.
func (k *Key) String() string { return k.Fingerprint() }

// GoString returns the fingerprint, and never more.
func (k *Key) GoString() string { return k.Fingerprint() }

func (k *Key) sign(hash []byte) ([]byte, error) {
	r, s, err := dsa.Sign(rand.Reader, &k.priv, hash)
	if err != nil {
		return nil, fmt.Errorf("otr: sign: %w", err)
	}
	sig := make([]byte, 2*subgroupBytes)
	r.FillBytes(sig[:subgroupBytes])
	s.FillBytes(sig[subgroupBytes:])
	return sig, nil
}
