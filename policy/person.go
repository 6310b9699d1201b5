package policy

import "strings"

// Person is one human with many names. Only proven identities count: an IRC
// account, a certificate, a real JID, a key; a host weakly, a nick never.
type Person struct {
	Name    string   // the config's name, unique
	JIDs    []string // bare JIDs, normalised; the first is the preferred one
	OpenPGP []string // pinned primary-key fingerprints, 40 upper-case hex digits
	OTR     []string // pinned OTR fingerprints, 40 upper-case hex digits
	IRC     map[string]IRCIdentity

	// AllowWeakKey accepts this person's old keys (DSA-1024, RSA-1024, SHA-1).
	AllowWeakKey bool

	// Groups are those that list this person. Certified are the addresses for
	// which the company's key certified a key of theirs, now: a group with a
	// domain takes its members from them.
	Groups, Certified []string

	// Gone: every key that proved this person is revoked or expired. Their identities
	// still name them, for bans, and let them in nowhere.
	Gone bool
}

// IRCIdentity is what proves a person on one IRC network.
type IRCIdentity struct {
	Accounts []string // services accounts
	CertFPs  []string // client certificate fingerprints, lower-case hex
	Hosts    []string // masks nick!user@host: weak, and never enough to be protected
}

// FoldAccount returns the name of an account in the form that is compared: with the
// capitals of ASCII in lower case, and nothing else folded. Networks fold no more, and
// what Unicode takes for a capital, as the sign of the kelvin, may be somebody else's.
func FoldAccount(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return name
	}
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// SameAccount reports whether two names are of one account.
func SameAccount(a, b string) bool { return FoldAccount(a) == FoldAccount(b) }
