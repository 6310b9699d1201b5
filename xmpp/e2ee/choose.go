package e2ee

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"drawbridge/policy"
)

// Pinner is an optional interface of a Scheme: whether the peer's person has a
// pinned or accepted key in it. Without it the person's config entry decides.
type Pinner interface{ Pinned(p Peer) bool }

// Try is what one scheme said when it was asked for a peer.
type Try struct {
	Scheme string
	Rung   policy.Rung // what it reaches, if Err is nil
	Err    error       // why it is not used
}

// ChoiceError is returned by Choose when no scheme can be used. It is ErrFloor,
// and every error of Tries as well: errors.Is finds ErrKeyExpired in it.
type ChoiceError struct {
	Floor policy.Rung
	Tries []Try // in order of preference
}

// Error names each scheme and why it is not used.
func (e *ChoiceError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "e2ee: no scheme reaches %s", e.Floor)
	for i, t := range e.Tries {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, t.Scheme, strings.TrimPrefix(t.Err.Error(), "e2ee: "))
	}
	return b.String()
}

// Unwrap returns ErrFloor and the error of each try.
func (e *ChoiceError) Unwrap() []error {
	errs := []error{ErrFloor}
	for _, t := range e.Tries {
		errs = append(errs, t.Err)
	}
	return errs
}

// Why a scheme is passed over without being asked.
var (
	// ErrNotListed is set where the bridge does not list the scheme.
	ErrNotListed = errors.New("e2ee: scheme is not listed for this bridge")
	// ErrOtherPinned is set where the person has a pinned key in another scheme
	// and none in this one: it is used in neither direction.
	ErrOtherPinned = errors.New("e2ee: the person's pinned key is of another scheme")
	// ErrAsking is set where the peer's account was asked whether they read the scheme,
	// another one would do, and the answer has not come.
	ErrAsking = errors.New("e2ee: not known yet whether they read it")
	// ErrNotBuilt is set for a listed scheme the account does not have.
	ErrNotBuilt = errors.New("e2ee: the account has no such scheme")
)

// Choose returns the scheme to write to p with: the first of order, the bridge's
// preference, that reaches floor right now, and the rung it reaches. A scheme in
// which the person has no pinned key is passed over once they have one in any
// other. An Announcer that the peer is not known to read gives way to a scheme behind
// it that reaches the floor as well, once the peer's account was asked. Otherwise
// presence and capabilities have no say. Where none reaches the floor, the first
// Session that has yet to agree on keys is returned with a rung of clear: its Seal
// begins that, and seals nothing. The error is a *ChoiceError.
func Choose(schemes []Scheme, order []string, floor policy.Rung, p Peer) (Scheme, policy.Rung, error) {
	p.Floor = floor
	fail := &ChoiceError{Floor: floor}
	var doubtful, waits Scheme
	var doubt policy.Rung
	asking := false
	for _, name := range order {
		s, rung, err := reach(schemes, name, floor, p)
		if err != nil {
			if errors.Is(err, ErrHandshake) && waits == nil {
				waits = s
			}
			fail.Tries = append(fail.Tries, Try{Scheme: name, Rung: rung, Err: err})
			continue
		}
		a, ok := s.(Announcer)
		if !ok || a.Ability(p) == Able {
			if asking {
				fail.Tries = append(fail.Tries, Try{Scheme: doubtful.Name(), Rung: doubt, Err: ErrAsking})
				return nil, policy.Clear, fail
			}
			return s, rung, nil
		}
		if doubtful == nil {
			doubtful, doubt, asking = s, rung, a.Ability(p) == Unasked
		}
	}
	if doubtful != nil {
		return doubtful, doubt, nil
	}
	if waits != nil {
		return waits, policy.Clear, nil
	}
	return nil, policy.Clear, fail
}

// reach returns the scheme called name and the rung it reaches for p, or why it
// cannot be used.
func reach(schemes []Scheme, name string, floor policy.Rung, p Peer) (Scheme, policy.Rung, error) {
	s := byName(schemes, name)
	switch {
	case s == nil:
		return nil, policy.Clear, ErrNotBuilt
	case !allowed(schemes, s, p):
		return nil, policy.Clear, ErrOtherPinned
	}
	rung, err := s.Reach(p)
	if err == nil && (rung < floor || rung <= policy.Clear) {
		err = fmt.Errorf("%w: reaches only %s", ErrFloor, rung)
	}
	return s, rung, err
}

// Claim returns the scheme that in, from p, is a message of, or nil if it is of
// none. With ErrNotListed or ErrOtherPinned the scheme must not be used for this
// person, with ErrClear the message is in clear where a Session is established: it
// is refused as one that could not be opened.
func Claim(schemes []Scheme, order []string, p Peer, in Incoming) (Scheme, error) {
	for _, s := range schemes {
		if !s.Claims(in) {
			continue
		}
		switch {
		case !slices.Contains(order, s.Name()):
			return s, ErrNotListed
		case !allowed(schemes, s, p):
			return s, ErrOtherPinned
		}
		return s, nil
	}
	if s := clearInside(schemes, p, in); s != nil {
		return s, ErrClear
	}
	return nil, nil
}

// Sessions returns the best rung that what the peer's clients have shown of themselves
// reaches now, and clear where that is nothing. A session reaches what its key does. A
// key without a session, however well it is known, reaches signed at most, and only
// while a client announces it (an Announcer that is Able) or has signed its presence
// with it (signed): that the key stands in the config tells nothing of who is there.
func Sessions(schemes []Scheme, order []string, p Peer, signed bool) (best policy.Rung) {
	for _, name := range order {
		s := byName(schemes, name)
		if s == nil || !allowed(schemes, s, p) {
			continue
		}
		most := policy.Signed
		if _, ok := s.(Session); ok {
			most = policy.Verified
		} else if a, ok := s.(Announcer); ok && a.Ability(p) != Able {
			continue
		} else if _, signs := s.(PresenceSigner); !ok && !(signs && signed) {
			continue
		}
		for p.Floor = policy.Verified; p.Floor > best; p.Floor-- { // of several sessions the best
			if rung, err := s.Reach(p); err == nil && rung >= p.Floor {
				best = max(best, min(rung, most))
				break
			}
		}
	}
	return best
}

// Prefers reports whether s is the scheme to write to p with, once it has agreed
// on keys: it may be used for the person, and none before it in order reaches
// sealed.
func Prefers(schemes []Scheme, order []string, s Scheme, p Peer) bool {
	if !allowed(schemes, s, p) {
		return false
	}
	for _, name := range order {
		if name == s.Name() {
			return true
		}
		if o := byName(schemes, name); o != nil && allowed(schemes, o, p) {
			if rung, err := o.Reach(p); err == nil && rung > policy.Clear {
				return false
			}
		}
	}
	return false
}

func byName(schemes []Scheme, name string) Scheme {
	for _, s := range schemes {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

// allowed holds the rule of pins: who has a key pinned somewhere uses no scheme
// in which they have none.
func allowed(schemes []Scheme, s Scheme, p Peer) bool {
	if pinned(s, p) {
		return true
	}
	if p.Person != nil && (len(p.Person.OpenPGP) > 0 || len(p.Person.OTR) > 0) {
		return false
	}
	return !slices.ContainsFunc(schemes, func(o Scheme) bool { return pinned(o, p) })
}

func pinned(s Scheme, p Peer) bool {
	if o, ok := s.(Pinner); ok {
		return o.Pinned(p)
	}
	return Pinned(s.Name(), p.Person)
}

// Pinned reports whether the config pins a key of the person for a scheme.
func Pinned(scheme string, person *policy.Person) bool {
	return Pins{}.Pinned(person, KindOf(scheme))
}
