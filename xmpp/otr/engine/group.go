package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"math/big"
)

// The group of all exchanges: 1536 bits, RFC 3526 §2, generator 2.
var (
	groupP = hexInt("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD" +
		"EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
		"EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F" +
		"83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF")
	groupQ   = new(big.Int).Rsh(groupP, 1) // its order: (p-1)/2
	groupG   = big.NewInt(2)
	groupMax = new(big.Int).Sub(groupP, big.NewInt(2))
)

// groupBits bounds the numbers that peers may send: more would only cost time.
const groupBits = 1536

func hexInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic("otr: bad constant")
	}
	return n
}

// inGroup reports whether v is an element that may be used: 2 to p-2. With 1 the
// secret would drop out of everything it is raised to.
func inGroup(v ...*big.Int) bool {
	for _, n := range v {
		if n == nil || n.Cmp(groupG) < 0 || n.Cmp(groupMax) > 0 {
			return false
		}
	}
	return true
}

// inOrder reports whether v are exponents: 1 to q-1.
func inOrder(v ...*big.Int) bool {
	for _, n := range v {
		if n == nil || n.Sign() <= 0 || n.Cmp(groupQ) >= 0 {
			return false
		}
	}
	return true
}

func pow(base, exp *big.Int) *big.Int { return new(big.Int).Exp(base, exp, groupP) }

func mul(a, b *big.Int) *big.Int {
	n := new(big.Int).Mul(a, b)
	return n.Mod(n, groupP)
}

// div is a/b; b must be in the group.
func div(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, groupP)) }

// secretInt is a random number of so many bytes.
func secretInt(bytes int) *big.Int {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return new(big.Int).SetBytes(b)
}

// dhKey is a key of the exchange. The zero value is none.
type dhKey struct{ priv, pub *big.Int }

// dhBytes is the length of private keys: 320 bits.
const dhBytes = 40

func newDHKey() dhKey {
	x := secretInt(dhBytes)
	return dhKey{priv: x, pub: pow(groupG, x)}
}

// wipe overwrites the private part.
func (k dhKey) wipe() {
	if k.priv != nil {
		clear(k.priv.Bits())
	}
}

// xor encrypts or decrypts by AES-128 in counter mode, in place. The counter starts
// at the eight bytes of top followed by zeros; nil is zero.
func xor(key, top, text []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("otr: AES key of another length than 16") // only our own slices come here
	}
	var iv [aes.BlockSize]byte
	copy(iv[:], top)
	cipher.NewCTR(block, iv[:]).XORKeyStream(text, text)
}
