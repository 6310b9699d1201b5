package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
)

// smpState is which message of the socialist millionaires' protocol comes next.
type smpState uint8

const (
	expect1   smpState = iota
	answering          // the first one came, and waits for our secret
	expect2
	expect3
	expect4
)

// smp is one run: whether both know a secret, without telling it. Names are those
// of the specification: x and y the secrets, a and b the two sides.
type smp struct {
	state      smpState
	x          *big.Int // our side's secret
	two, three *big.Int // our a2, a3 or b2, b3
	g2, g3     *big.Int
	theirG2    *big.Int // g2a
	theirG3    *big.Int // g3a or g3b
	p, q       *big.Int // our Pb, Qb
	ratioP     *big.Int // Pa/Pb
	ratioQ     *big.Int // Qa/Qb
	exposed    bool     // something made of the secret was sent
}

func (m *smp) active() bool { return m.state != expect1 }

// smpBytes is the length of random exponents.
const smpBytes = groupBits / 8

func exponent() *big.Int {
	for {
		if n := secretInt(smpBytes); n.Mod(n, groupQ).Sign() > 0 {
			return n
		}
	}
}

func hashInts(version byte, v ...*big.Int) *big.Int {
	sum := sha256.Sum256(appendMPI([]byte{version}, v...))
	return new(big.Int).SetBytes(sum[:])
}

// less is a - b*c in the exponents.
func less(a, b, c *big.Int) *big.Int {
	n := new(big.Int).Mul(b, c)
	return n.Mod(n.Sub(a, n), groupQ)
}

// prove shows that we know x of base^x.
func prove(version byte, base, x *big.Int) (c, d *big.Int) {
	r := exponent()
	c = hashInts(version, pow(base, r))
	return c, less(r, x, c)
}

// proven checks what prove showed of v.
func proven(version byte, base, v, c, d *big.Int) bool {
	return inOrder(d) && hashInts(version, mul(pow(base, d), pow(v, c))).Cmp(c) == 0
}

// commit makes P and Q of the secret, and the proof that they were made so.
func (m *smp) commit(version byte) (p, q, c, d5, d6 *big.Int) {
	r, r5, r6 := exponent(), exponent(), exponent()
	p, q = pow(m.g3, r), mul(pow(groupG, r), pow(m.g2, m.x))
	c = hashInts(version, pow(m.g3, r5), mul(pow(groupG, r5), pow(m.g2, r6)))
	return p, q, c, less(r5, r, c), less(r6, m.x, c)
}

func (m *smp) committed(version byte, p, q, c, d5, d6 *big.Int) bool {
	return inOrder(d5, d6) &&
		hashInts(version, mul(pow(m.g3, d5), pow(p, c)), mul(mul(pow(groupG, d5), pow(m.g2, d6)), pow(q, c))).Cmp(c) == 0
}

// reveal makes R of Qa/Qb, and the proof that it was made by our key.
func (m *smp) reveal(version byte) (r, c, d7 *big.Int) {
	k := exponent()
	c = hashInts(version, pow(groupG, k), pow(m.ratioQ, k))
	return pow(m.ratioQ, m.three), c, less(k, m.three, c)
}

func (m *smp) revealed(version byte, r, c, d7 *big.Int) bool {
	return inOrder(d7) && hashInts(version, mul(pow(groupG, d7), pow(m.theirG3, c)), mul(pow(m.ratioQ, d7), pow(r, c))).Cmp(c) == 0
}

// matches reports whether the secrets are the same.
func (m *smp) matches(r *big.Int) bool { return pow(r, m.three).Cmp(m.ratioP) == 0 }

func ints(typ uint16, front []byte, v ...*big.Int) tlv {
	return tlv{typ: typ, data: appendMPI(binary.BigEndian.AppendUint32(front, uint32(len(v))), v...)}
}

// numbers reads the n numbers of a message.
func numbers(in []byte, n int) ([]*big.Int, error) {
	r := reader{in: in}
	if r.u32() != uint32(n) {
		r.bad = true
	}
	v := make([]*big.Int, n)
	for i := range v {
		v[i] = r.mpi(groupBits)
	}
	if !r.end() {
		return nil, fmt.Errorf("%w: SMP", ErrMalformed)
	}
	return v, nil
}

var errProof = fmt.Errorf("%w: SMP: a proof is wrong", ErrMalformed)

// ask begins a run.
func (m *smp) ask(question string, secret *big.Int) tlv {
	*m = smp{state: expect2, x: secret, two: exponent(), three: exponent()}
	c2, d2 := prove(1, groupG, m.two)
	c3, d3 := prove(2, groupG, m.three)
	typ, front := uint16(tlvSMP1), []byte(nil)
	if question != "" {
		typ, front = tlvSMP1Q, append([]byte(question), 0)
	}
	return ints(typ, front, pow(groupG, m.two), c2, d2, pow(groupG, m.three), c3, d3)
}

// asked takes the first message; the secret is to be given to answer.
func (m *smp) asked(in []byte) error {
	v, err := numbers(in, 6)
	if err != nil {
		return err
	}
	if !inGroup(v[0], v[3]) || !proven(1, groupG, v[0], v[1], v[2]) || !proven(2, groupG, v[3], v[4], v[5]) {
		return errProof
	}
	*m = smp{state: answering, theirG2: v[0], theirG3: v[3]}
	return nil
}

// answer makes the second message.
func (m *smp) answer(secret *big.Int) tlv {
	m.x, m.two, m.three = secret, exponent(), exponent()
	c2, d2 := prove(3, groupG, m.two)
	c3, d3 := prove(4, groupG, m.three)
	m.g2, m.g3 = pow(m.theirG2, m.two), pow(m.theirG3, m.three)
	p, q, c, d5, d6 := m.commit(5)
	m.p, m.q, m.exposed, m.state = p, q, true, expect3
	return ints(tlvSMP2, nil, pow(groupG, m.two), c2, d2, pow(groupG, m.three), c3, d3, p, q, c, d5, d6)
}

// second takes the second message and makes the third.
func (m *smp) second(in []byte) (tlv, error) {
	v, err := numbers(in, 11)
	if err != nil {
		return tlv{}, err
	}
	g2b, g3b, pb, qb := v[0], v[3], v[6], v[7]
	if !inGroup(g2b, g3b, pb, qb) || !proven(3, groupG, g2b, v[1], v[2]) || !proven(4, groupG, g3b, v[4], v[5]) {
		return tlv{}, errProof
	}
	m.g2, m.g3, m.theirG3 = pow(g2b, m.two), pow(g3b, m.three), g3b
	if !inGroup(m.g2, m.g3) || !m.committed(5, pb, qb, v[8], v[9], v[10]) {
		return tlv{}, errProof
	}
	pa, qa, c, d5, d6 := m.commit(6)
	if pa.Cmp(pb) == 0 || qa.Cmp(qb) == 0 {
		return tlv{}, errProof
	}
	m.ratioP, m.ratioQ = div(pa, pb), div(qa, qb)
	ra, cr, d7 := m.reveal(7)
	m.exposed, m.state = true, expect4
	return ints(tlvSMP3, nil, pa, qa, c, d5, d6, ra, cr, d7), nil
}

// third takes the third message and makes the last one.
func (m *smp) third(in []byte) (out tlv, same bool, err error) {
	v, err := numbers(in, 8)
	if err != nil {
		return tlv{}, false, err
	}
	pa, qa, ra := v[0], v[1], v[5]
	if !inGroup(pa, qa, ra) || pa.Cmp(m.p) == 0 || qa.Cmp(m.q) == 0 || !m.committed(6, pa, qa, v[2], v[3], v[4]) {
		return tlv{}, false, errProof
	}
	m.ratioP, m.ratioQ = div(pa, m.p), div(qa, m.q)
	if !m.revealed(7, ra, v[6], v[7]) {
		return tlv{}, false, errProof
	}
	rb, cr, d7 := m.reveal(8)
	return ints(tlvSMP4, nil, rb, cr, d7), m.matches(ra), nil
}

// fourth takes the last message.
func (m *smp) fourth(in []byte) (same bool, err error) {
	v, err := numbers(in, 3)
	if err != nil {
		return false, err
	}
	if !inGroup(v[0]) || !m.revealed(8, v[0], v[1], v[2]) {
		return false, errProof
	}
	return m.matches(v[0]), nil
}
