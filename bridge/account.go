package bridge

import (
	"context"

	"drawbridge/policy"
)

// AccountLeg is a Leg that can ask its network's services about an account.
type AccountLeg interface {
	Leg
	// Account asks whether there is an account of that name, and which: one that was
	// dropped and registered anew is another. It is asked for a few seconds at most.
	// Errors: ErrNotReady where nobody can be asked now. Services that do not say leave
	// Known at Unknown.
	Account(ctx context.Context, name string) (AccountSeen, error)
}

// AccountSeen is what services say of an account.
type AccountSeen struct {
	Known policy.Known // Yes: it is registered; No: it is not, or has another name now
	// Mark tells an account from a later one of the same name: its entity, or when it was
	// registered, in the words of services.
	Mark string
}
