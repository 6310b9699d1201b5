package bridge

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
)

// idSource makes wire ids: 80 bits of ChaCha8, seeded once. They name lines on
// both networks and tell nothing about them.
type idSource struct {
	mu  sync.Mutex // guards rng
	rng *mathrand.ChaCha8
}

func newIDSource(r io.Reader) (*idSource, error) {
	if r == nil {
		r = rand.Reader
	}
	var seed [32]byte
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		return nil, fmt.Errorf("bridge: seed the wire ids: %w", err)
	}
	return &idSource{rng: mathrand.NewChaCha8(seed)}, nil
}

// next returns 16 lower-case letters and digits.
func (s *idSource) next() string {
	var raw [16]byte
	s.mu.Lock()
	binary.BigEndian.PutUint64(raw[:], s.rng.Uint64())
	binary.BigEndian.PutUint64(raw[8:], s.rng.Uint64())
	s.mu.Unlock()
	var id [16]byte
	idEncoding.Encode(id[:], raw[:10])
	return string(id[:])
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
