package policy

import "time"

// Fact is one thing known of a subject, or not.
type Fact struct {
	Known Known
	Value string    // where Known is Yes: the account, fingerprint, JID …
	From  string    // who says so, for explain: "extended-join", "WHOX", "presence"
	At    time.Time // since when; zero: not told
}

// Is returns a fact that is known.
func Is(value, from string, at time.Time) Fact { return Fact{Yes, value, from, at} }

// IsNot returns a fact that is known not to be.
func IsNot(from string, at time.Time) Fact { return Fact{No, "", from, at} }

// Facts are what is known of one subject in one room. The zero value knows
// nothing. A leg sets what its network can never tell to Never, as the JID on IRC.
type Facts struct {
	// Leg is the network or account that sees the subject. Nick, User and Host
	// are what it calls itself; on XMPP, Nick is the occupant's.
	Leg, Nick, User, Host string

	// What proves who it is: the services account, the fingerprint of the client
	// certificate (lower-case hex), the real bare JID, and the fingerprint of the
	// verified key by which this very action is proven (upper-case hex).
	Account, Cert, JID, Key Fact

	TLS Fact // of its connection; Value is not used

	// What it is in a MUC, by the word on the wire, and the id by which the room knows it
	// again, whatever its nick (XEP-0421).
	Affiliation, Role, Occupant Fact

	// Rung is how far the message is protected that is judged; of who comes to a MUC, or
	// is there, the best that the bot's encrypted sessions with them reach now. It counts
	// where RungKnown is Yes.
	Rung      Rung
	RungKnown Known

	// Since is when the subject came into the room; zero: it is not there.
	// Admitted says that it was once let in by a decision.
	Since    time.Time
	Admitted bool

	// Floods are those the subject is in now.
	Floods FloodSet

	// Ban is the live ban that meets the subject; nil: none. BanMissing are facts
	// that could prove somebody who is banned. FindBan sets both.
	Ban        *BanRecord
	BanMissing Missing

	// Granted is the rule by which the subject was invited, on proof of a key, and may
	// be here for now where no rule speaks against it; "": it was not.
	Granted string

	// Self marks the bot itself, and what it speaks through.
	Self bool
}

// NewIRCFacts returns facts of somebody on an IRC network, where nothing but the
// source is known yet.
func NewIRCFacts(leg, nick, user, host string) Facts {
	never := Fact{Known: Never}
	return Facts{
		Leg: leg, Nick: nick, User: user, Host: host, JID: never, Key: never,
		Affiliation: never, Role: never, Occupant: never, RungKnown: Never,
	}
}

// NewXMPPFacts returns facts of somebody on XMPP who writes in their own chat, and whose
// JID is not known yet. Their client's connection is known to their own server only.
func NewXMPPFacts(leg, nick string) Facts {
	never := Fact{Known: Never}
	return Facts{
		Leg: leg, Nick: nick, Account: never, Cert: never, TLS: never, Key: never,
		Affiliation: never, Role: never, Occupant: never, RungKnown: Never,
	}
}

// NewOccupantFacts returns facts of somebody in a MUC, or on their way in, of whom
// nothing is known yet.
func NewOccupantFacts(leg, nick string) Facts {
	f := NewXMPPFacts(leg, nick)
	f.Affiliation, f.Role, f.Occupant, f.RungKnown = Fact{}, Fact{}, Fact{}, Unknown
	return f
}

// fact returns what proves an identity of that strength.
func (f *Facts) fact(s Strength) *Fact {
	switch s {
	case Account:
		return &f.Account
	case RealJID:
		return &f.JID
	case Cert:
		return &f.Cert
	case Key:
		return &f.Key
	}
	return nil
}

// Missing is a set of facts to look up.
type Missing uint8

// The facts that can be looked up.
const (
	MissingAccount Missing = 1 << iota
	MissingJID
	MissingCert
	MissingKey
	MissingTLS
	MissingRung
	MissingAffiliation
	MissingRole
)

var missingNames = []string{"account", "jid", "certificate", "key", "tls", "encryption", "affiliation", "role"}

// String lists the facts by name.
func (m Missing) String() string { return setString(uint64(m), missingNames, ", ") }

func missing(s Strength) Missing {
	if s < Account {
		return 0
	}
	return MissingAccount << (s - Account)
}

// unknown lists all facts that could be looked up.
func (f *Facts) unknown() (out Missing) {
	for i, k := range [...]Known{f.Account.Known, f.JID.Known, f.Cert.Known, f.Key.Known, f.TLS.Known, f.RungKnown, f.Affiliation.Known, f.Role.Known} {
		if k == Unknown {
			out |= 1 << i
		}
	}
	return out
}

// BanRecord is one ban of a person or of a nameless subject. It is one record,
// projected on every room and network, and reversed everywhere.
type BanRecord struct {
	ID     string    `json:"id"`
	Person string    `json:"person,omitempty"` // "": nobody known; then Mask
	Mask   string    `json:"mask,omitempty"`
	Rooms  []string  `json:"rooms,omitempty"` // none: all
	Author string    `json:"author,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Set    time.Time `json:"set,omitzero"`
	Until  time.Time `json:"until,omitzero"` // zero: until forgiven
	// Followed: an op set it in the server's own list, and can end it there.
	Followed bool `json:"followed,omitempty"`
}

// Live reports whether the ban holds in a room at that time.
func (b *BanRecord) Live(room string, now time.Time) bool {
	if b == nil || !b.Until.IsZero() && !now.Before(b.Until) {
		return false
	}
	for _, r := range b.Rooms {
		if r == room {
			return true
		}
	}
	return len(b.Rooms) == 0
}
