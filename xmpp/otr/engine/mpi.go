package engine

import (
	"encoding/binary"
	"math/big"
	"slices"
)

// reader takes the fields of a message off its front. After the first that is not
// there all are empty, and bad is set.
type reader struct {
	in  []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.in) {
		r.bad = true
		return nil
	}
	out := r.in[:n]
	r.in = r.in[n:]
	return out
}

func (r *reader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// data is a DATA field: a length and as many bytes.
func (r *reader) data() []byte {
	n := r.u32()
	if n > uint32(len(r.in)) {
		r.bad = true
		return nil
	}
	return r.bytes(int(n))
}

// mpi is a number of at most limit bits; zero if the field is not there.
func (r *reader) mpi(limit int) *big.Int {
	b := r.data()
	if len(b) > (limit+7)/8 {
		r.bad = true
		b = nil
	}
	return new(big.Int).SetBytes(b)
}

// end reports whether everything was there, and nothing is left.
func (r *reader) end() bool { return !r.bad && len(r.in) == 0 }

func appendData(out, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(out, uint32(len(v))), v...)
}

func appendMPI(out []byte, v ...*big.Int) []byte {
	for _, n := range v {
		size := (n.BitLen() + 7) / 8
		out = binary.BigEndian.AppendUint32(out, uint32(size))
		out = slices.Grow(out, size)
		n.FillBytes(out[len(out) : len(out)+size])
		out = out[:len(out)+size]
	}
	return out
}
