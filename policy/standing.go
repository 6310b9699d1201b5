package policy

import "fmt"

// Affiliation is what somebody lastingly is in a MUC (XEP-0045 §5.2), by its word
// on the wire.
type Affiliation string

// The affiliations.
const (
	Outcast Affiliation = "outcast"
	NoOne   Affiliation = "none"
	Member  Affiliation = "member"
	Admin   Affiliation = "admin"
	Owner   Affiliation = "owner"
)

// Role is what somebody is during this visit (XEP-0045 §5.1).
type Role string

// The roles.
const (
	NoRole      Role = "none"
	Visitor     Role = "visitor"
	Participant Role = "participant"
	Moderator   Role = "moderator"
)

type (
	// AffiliationSet is a set of affiliations; zero: none is asked for.
	AffiliationSet uint8
	// RoleSet is a set of roles; zero: none is asked for.
	RoleSet uint8
)

var (
	affiliationNames = [...]string{string(Owner), string(Admin), string(Member), string(NoOne), string(Outcast)}
	roleNames        = [...]string{string(Moderator), string(Participant), string(Visitor), string(NoRole)}
)

// ParseAffiliation returns the set of the one affiliation of that name.
func ParseAffiliation(name string) (AffiliationSet, error) {
	return parseWord[AffiliationSet](affiliationNames[:], name)
}

// ParseRole returns the set of the one role of that name.
func ParseRole(name string) (RoleSet, error) { return parseWord[RoleSet](roleNames[:], name) }

func parseWord[T ~uint8](names []string, name string) (T, error) {
	if bit := bitOf(names, name); bit != 0 {
		return T(bit), nil
	}
	return 0, fmt.Errorf("policy: %q is not one of %v", name, names)
}

// String lists the affiliations, for people.
func (s AffiliationSet) String() string { return setString(uint64(s), affiliationNames[:], " or ") }

// String lists the roles, for people.
func (s RoleSet) String() string { return setString(uint64(s), roleNames[:], " or ") }

// bitOf is the bit of a word in a set; 0 if it is none of the names.
func bitOf(names []string, name string) uint8 {
	for i, n := range names {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// isOf reports whether a fact is one of a set of words.
func isOf(f *Fact, set uint8, names []string) Known {
	if f.Known != Yes {
		return f.Known
	}
	return boolKnown(set&bitOf(names, f.Value) != 0)
}
