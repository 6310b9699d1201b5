// Package scram looks at what a server says in a SCRAM login (RFC 5802) before
// mellium.im/sasl v0.3.2 does, whose client loops for ever on a field that is no
// "k=value" at the end of the server's first message, and computes as many rounds
// as it is asked for.
package scram

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Bounds of the rounds a server may ask for: RFC 7677 §4 wants 4096 at least; the
// most is about a second of work, more would be a trick to keep us busy.
const (
	MinRounds = 4096
	MaxRounds = 2_000_000
)

// What CheckServerFirst returns.
var (
	ErrMalformed = errors.New("malformed SCRAM challenge")
	ErrRounds    = fmt.Errorf("SCRAM round count is not within %d and %d", MinRounds, MaxRounds)
)

// CheckServerFirst checks a server-first-message (RFC 5802 §7).
func CheckServerFirst(challenge []byte) error {
	counted := false
	for field := range bytes.SplitSeq(challenge, []byte{','}) {
		if len(field) < 3 || field[1] != '=' {
			return ErrMalformed
		}
		if field[0] != 'i' {
			continue
		}
		n, err := strconv.Atoi(string(field[2:]))
		if err != nil || n < MinRounds || n > MaxRounds {
			return ErrRounds
		}
		counted = true
	}
	if !counted {
		return ErrMalformed
	}
	return nil
}
