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

// assembly puts a fragmented message together (Protocol v3, "Fragmentation"): the
// pieces come in order, and one out of order starts from nothing.
type assembly struct {
	from  uint32 // the instance, by version 3
	buf   []byte
	k, n  int
	since time.Time
}

// add takes a piece, and returns the whole message with the last one, else "".
func (a *assembly) add(b body, now time.Time) (string, error) {
	switch {
	case b.k < 1 || b.n < 1 || b.k > b.n:
		*a = assembly{from: a.from}
		return "", fmt.Errorf("%w: OTR fragment", e2ee.ErrMalformed)
	case b.n > maxPieces, len(a.buf)+len(b.piece) > maxAssembly && b.k > 1, len(b.piece) > maxAssembly:
		*a = assembly{from: a.from}
		return "", fmt.Errorf("%w: OTR fragments", e2ee.ErrTooLarge)
	case b.k == 1:
		*a = assembly{from: a.from, n: b.n, since: now}
	case b.n != a.n || b.k != a.k+1 || now.Sub(a.since) > assembleFor:
		*a = assembly{from: a.from}
		return "", nil // libotr says nothing either: the rest of a lost message
	}
	a.k = b.k
	a.buf = append(a.buf, b.piece...)
	if a.k < a.n {
		return "", nil
	}
	whole := string(a.buf)
	*a = assembly{from: a.from}
	return whole, nil
}

// maxAssemblies is how many instances of one resource may send in pieces at once.
const maxAssemblies = 2

// assemblies puts together what the instances of one resource send in pieces.
type assemblies [maxAssemblies]assembly

// add takes a piece. A new instance takes the place of the one that began longest
// ago.
func (a *assemblies) add(b body, now time.Time) (string, error) {
	at := 0
	for i := range a {
		if a[i].from == b.from {
			return a[i].add(b, now)
		}
		if a[i].since.Before(a[at].since) {
			at = i
		}
	}
	a[at] = assembly{from: b.from}
	return a[at].add(b, now)
}

// sweep drops what was not finished in time.
func (a *assemblies) sweep(now time.Time) {
	for i := range a {
		if a[i].n > 0 && now.Sub(a[i].since) > assembleFor {
			a[i] = assembly{}
		}
	}
}
