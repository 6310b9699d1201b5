package policy

import "time"

// Spec is what a policy is made of. Compile checks it.
type Spec struct {
	People []*Person
	Groups []Group // those with a domain; others come from Person.Groups
	Rooms  []Room
	Rules  []Rule
	// Protected are people whom no rule and no ban removes, if they prove who they
	// are by an account or better.
	Protected []string
	// Binds are identities beside those of People: linked accounts, accepted keys,
	// peers and relays.
	Binds []Bind
}

// Group is everybody with a certified address of a domain.
type Group struct{ Name, Domain string }

// Room is one guarded room.
type Room struct {
	Name    string
	Default Effect // of join and speak where no rule matches: Allow, Quarantine or Deny
}

// Rule is one line of the rules. It matches where who, if and not except do.
type Rule struct {
	ID     string
	Rooms  []string // none: all
	Do     []Do
	Who    Who // zero: everybody
	Except []Who
	If     If
	Effect Effect
	// For is how long a ban lasts, zero: until forgiven. Of any other rule it is how
	// long the rule matches, counted from when the subject came: a guest's stay.
	For    time.Duration
	Reason string // told to the subject: what to do next
}

// Who says of whom a rule speaks. All that is set must fit; Groups and People
// together name people, any of whom fits.
type Who struct {
	Groups, People []string
	AtLeast        Strength // how well it must be proven; Nick (zero): Account
	Anonymous      bool     // only who is nobody we know
	Hosts          []string // masks nick!user@host, any of them; IRC only
}

// If are conditions on the facts. All that are set must fit; Unknown: not asked.
type If struct {
	TLS, Account, Cert Known
	Encrypted          Known // Yes: Sealed or better
	Below              Rung  // protected less than this; Clear: not asked
	Affiliations       AffiliationSet
	Roles              RoleSet
	Floods             FloodSet // in any of these; none: not asked
}

// Bind is one more identity of a person, or of a protected helper (Person "").
type Bind struct {
	Person string
	Kind   Strength // Account, RealJID, Cert or Key
	Leg    string   // of accounts and certificates
	Value  string
}

// unset reports whether the clause fits everybody.
func (w *Who) unset() bool {
	return len(w.Groups) == 0 && len(w.People) == 0 && !w.Anonymous && len(w.Hosts) == 0
}

// governs lists the actions whose default is deny as soon as one rule allows them
// to somebody: a right that is given is not everybody's.
const governs = 1<<Op | 1<<Voice | 1<<RelayIn | 1<<RelayOut

// groupSet is a set of groups, and of people whom rules name. Two of its members
// are ours: somebody and protected.
type groupSet [2]uint64

const (
	somebody  = 0 // everybody we know
	protected = 1
	maxGroups = 128
)

func (s *groupSet) add(i int)            { s[i/64] |= 1 << (i % 64) }
func (s *groupSet) or(o groupSet)        { s[0] |= o[0]; s[1] |= o[1] }
func (s groupSet) meets(o groupSet) bool { return s[0]&o[0]|s[1]&o[1] != 0 }

// clause is a compiled Who.
type clause struct {
	want      groupSet
	named     bool // want is asked
	at        Strength
	anonymous bool
	hosts     []string
}

// rule is a compiled Rule: what each decision reads lies together, the words
// elsewhere.
type rule struct {
	*Rule
	Effect Effect
	For    time.Duration
	If     conditions
	who    clause
	all    bool // who fits everybody
	except []clause
}
