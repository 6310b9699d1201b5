package policy

import (
	"errors"
	"fmt"
)

// Rung says how far a message is protected on its way between a person and the
// bot. Rungs are ordered; a bridge's floor is the lowest rung it accepts.
type Rung uint8

// The rungs, lowest first. Outgoing they say what we know of the key we seal
// to; incoming they say what the message itself proves.
const (
	// Clear: no end-to-end encryption.
	Clear Rung = iota
	// Sealed: encrypted, but nothing proves for (out) or by (in) whom.
	Sealed
	// Signed: out to a key seen first and kept (TOFU), in signed by a known key.
	Signed
	// Verified: the key is pinned, certified, or checked with its owner.
	Verified
)

var rungNames = [...]string{"clear", "sealed", "signed", "verified"}

// ErrRung is returned by ParseRung for a word that names no rung.
var ErrRung = errors.New("policy: not a rung (clear, sealed, signed, verified)")

// ParseRung returns the rung with the given name.
func ParseRung(name string) (Rung, error) {
	for i, n := range rungNames {
		if n == name {
			return Rung(i), nil
		}
	}
	return Clear, fmt.Errorf("%w: %q", ErrRung, name)
}

// String returns the name that ParseRung reads.
func (r Rung) String() string {
	if int(r) < len(rungNames) {
		return rungNames[r]
	}
	return fmt.Sprintf("rung(%d)", uint8(r))
}

// Floor is the lowest rung accepted in each direction, seen from the bot.
type Floor struct{ In, Out Rung }

// Encrypted reports whether the floor asks for encryption in any direction. To
// people of such a bridge nothing is ever sent in clear.
func (f Floor) Encrypted() bool { return f.In > Clear || f.Out > Clear }
