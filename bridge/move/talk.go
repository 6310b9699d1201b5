package move

import (
	"slices"
	"strings"
	"time"
)

// Step is where a conversation is: what is asked for now.
type Step string

// The steps, in their order.
const (
	Account Step = "account" // which Jabber account?
	Make    Step = "make"    // one is being made
	Client  Step = "client"  // which client?
	Key     Step = "key"     // a key, and encryption required
	Link    Step = "link"    // the IRC account and the person are one
	Test    Step = "test"    // a sealed message both ways
	Rooms   Step = "rooms"   // invitations
	Done    Step = "done"
)

var steps = []Step{Account, Make, Client, Key, Link, Test, Rooms, Done}

// before is the step to which !move back goes.
func (s Step) before() Step {
	switch i := slices.Index(steps, s); {
	case s == Client, i <= 1:
		return Account
	default:
		return steps[i-1]
	}
}

// Talk is how far one person is. It is kept, sealed.
type Talk struct {
	Bridge   string `json:"bridge"`
	Language string `json:"language,omitempty"` // "" is the bridge's
	Step     Step   `json:"step"`
	JID      string `json:"jid,omitempty"` // as they said, not proven
	Client   string `json:"client,omitempty"`
	Method   string `json:"method,omitempty"` // scheme of their client
	Nick     string `json:"nick,omitempty"`   // where they were last

	// Key is the fingerprint that they named, as e2ee writes it; not proven.
	Key string `json:"key,omitempty"`

	// Invitation is the link that they were given, and until when it is good.
	Invitation string    `json:"invitation,omitempty"`
	Until      time.Time `json:"until,omitzero"`

	// Code is the SHA-256 of what the sealed test message said, Tries how often
	// something else came back; Tested is the person from whom it came back, "" before.
	Code   []byte `json:"code,omitempty"`
	Tries  int    `json:"tries,omitempty"`
	Tested string `json:"tested,omitempty"`
}

// Facts are what is known while somebody speaks.
type Facts struct {
	Account string // of IRC, and the network
	Network string
	Person  string   // whom the account is proven to be; "": nobody
	JIDs    []string // of that person
	Waits   bool     // a link is proven, and waits for an admin
	Bot     string   // the bot's bare JID
	To      string   // where people find the team from now on
	Domains []string // where people of the team have accounts; the bot's first
	Server           // what the server does for who has no account
	Schemes []string // of the bridge
	Usable  string   // the scheme by which something can be sealed to the person now; "" is none
	Own     string   // the bot's own fingerprints
	Rooms   []string // MUCs of the bridge
	Key     KeyState // of the key that they named
}

// KeyState is what is known of a key that somebody names as theirs.
type KeyState uint8

// The states of keys.
const (
	KeyNew   KeyState = iota // an admin has to accept it
	KeyGood                  // it counts for the person of the address
	KeyOther                 // it is somebody else's, or made out to another address
	KeyOwn                   // it is the bot's
	KeyEnded                 // it is revoked, expired, or cannot be used
)

// Say is one thing to be said: a key of the texts.
type Say struct {
	Key  string
	Args map[string]string
}

// Act is what a step asks to be done. What comes of it goes to After.
type Act uint8

// The acts.
const (
	Nothing    Act = iota
	Invite         // give an invitation to an account
	AskLink        // begin a link
	SendTest       // seal a test message to the person
	AskIn          // invite to the rooms
	TellAdmins     // somebody waits for them
	NoteKey        // see whose the key is that they named
)

// client is one that people use.
type client struct {
	name    string   // as people write it
	key     string   // of its texts: client_KEY_METHOD
	methods []string // schemes it speaks, best first
}

// clients are those whose steps are told, in the order of the list shown.
var clients = []client{
	{"Psi", "psi", []string{"openpgp"}},
	{"Gajim", "gajim", []string{"ox", "openpgp"}},
	{"profanity", "profanity", []string{"otr", "ox", "openpgp"}},
	{"Dino", "dino", []string{"openpgp"}},
	{"Pidgin", "pidgin", []string{"otr"}},
	{"Adium", "adium", []string{"otr"}},
	{"ChatSecure", "chatsecure", []string{"otr"}},
	{"Conversations", "conversations", []string{"openpgp"}},
	{"mcabber", "mcabber", []string{"otr", "openpgp"}},
}

// clientNames is the numbered list.
func clientNames() string {
	var out []string
	for i, c := range clients {
		out = append(out, string(rune('1'+i))+" "+c.name)
	}
	return strings.Join(out, ", ")
}

// findClient finds one by number or name; nil: there is none.
func findClient(word string) *client {
	for i := range clients {
		if word == string(rune('1'+i)) || strings.EqualFold(word, clients[i].name) {
			return &clients[i]
		}
	}
	return nil
}

// speaks lists the schemes that a client and the bridge have in common.
func (c *client) speaks(schemes []string) (out []string) {
	for _, m := range c.methods {
		if slices.Contains(schemes, m) {
			out = append(out, m)
		}
	}
	return out
}

// methodNames are schemes as people know them.
var methodNames = map[string]string{"openpgp": "OpenPGP (GPG)", "ox": "OX (OpenPGP for XMPP)", "otr": "OTR"}

// clip bounds foreign words.
func clip(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
