package otr

import (
	"fmt"
	"time"

	"drawbridge/xmpp/e2ee"
)

// Limits of a message that comes in pieces.
const (
	maxPieces   = 64
	maxAssembly = 128 << 10
	assembleFor = time.Minute // from the first piece to the last
)

// assembly puts a fragmented message together (Protocol v2, "Fragmentation"): the
// pieces come in order, and one out of order starts from nothing.
type assembly struct {
	buf   []byte
	k, n  int
	since time.Time
}

// add takes a piece, and returns the whole message with the last one, else "".
func (a *assembly) add(b body, now time.Time) (string, error) {
	switch {
	case b.k < 1 || b.n < 1 || b.k > b.n:
		*a = assembly{}
		return "", fmt.Errorf("%w: OTR fragment", e2ee.ErrMalformed)
	case b.n > maxPieces, len(a.buf)+len(b.piece) > maxAssembly && b.k > 1, len(b.piece) > maxAssembly:
		*a = assembly{}
		return "", fmt.Errorf("%w: OTR fragments", e2ee.ErrTooLarge)
	case b.k == 1:
		*a = assembly{n: b.n, since: now}
	case b.n != a.n || b.k != a.k+1 || now.Sub(a.since) > assembleFor:
		*a = assembly{}
		return "", nil // libotr says nothing either: the rest of a lost message
	}
	a.k = b.k
	a.buf = append(a.buf, b.piece...)
	if a.k < a.n {
		return "", nil
	}
	whole := string(a.buf)
	*a = assembly{}
	return whole, nil
}
