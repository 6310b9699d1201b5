package xmpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// Config is one XMPP account and the people and rooms it serves. Zero fields
// have the defaults stated. All of it can be changed live by Leg.Reconfigure.
type Config struct {
	Name     string // the account's name in the config: bridge.Room.Leg
	JID      string // full or bare; without a resource "drawbridge" is asked for
	Password string
	Server   string // host:port; "" for SRV records, then the JID's domain
	TLS      stream.TLS
	// ChannelBinding is one of stream's Binding constants; "" is auto.
	ChannelBinding string
	AllowPlain     bool // SASL PLAIN where there is no SCRAM; never without TLS

	// People are the contacts this account talks to one-to-one.
	People []policy.Person
	// Schemes are those that are listed for a person, by name, in order of preference;
	// who is not in it has all. What may be used for a message, the core says with it.
	Schemes map[string][]string
	// Rooms are the MUCs to join.
	Rooms []RoomConfig
	// Nick is the nick in rooms that name none; default the JID's local part.
	Nick string
	// Status is the text of <status/> in our presence; "" for none.
	Status string
	// Version is told to whom asks (XEP-0092); HideVersion keeps it to oneself.
	Version     string
	HideVersion bool

	// PingAfter is how long the server may be silent before it is pinged
	// (XEP-0199), default 30 s; PingTimeout how long an answer to a ping or to an
	// XEP-0198 request may take before the link counts as dead, default 10 s.
	PingAfter, PingTimeout time.Duration
	// SelfPing is how often each room is asked whether we are still in it
	// (XEP-0410), default 5 min.
	SelfPing time.Duration
	// MaxStanza is the largest message sent, in bytes; default 60000, which
	// ejabberd's stock limit of 65536 lets pass. A larger one is refused.
	MaxStanza int
}

// RoomConfig is one MUC.
type RoomConfig struct {
	JID      string // bare
	Nick     string // default Config.Nick
	Password string // default none
}

// Stream is what the leg needs of a *stream.Stream.
type Stream interface {
	JID() jid.JID
	Next() (*element.Element, error)
	Send(stanzas ...*element.Element) (last uint64, err error)
	RequestAck() error
	Handled(n int)
	SM() bool
	Close() error
	// Abort ends the stream so that it can be resumed; what follows tells of that.
	Abort(why error)
	Resumption() *stream.Resumption
	Resumed() bool
	Acked() uint64
	Leftover() stream.Leftover
	Saved(handled uint64) (stream.Saved, bool)
}

// Deps are the things of the outside world. Zero fields have the defaults
// stated.
type Deps struct {
	Log *slog.Logger // default: none
	// Schemes are the account's encryption schemes; a message is opened by the
	// first that claims it. One that is an e2ee.PresenceSigner signs our presence.
	Schemes []e2ee.Scheme
	// Dial opens a stream; default stream.Dial.
	Dial func(ctx context.Context, c stream.Config) (Stream, error)
	// Cursors tells how far the archives of rooms and account were read in earlier
	// runs, and is told where reading begins; default: nothing is known of them.
	Cursors bridge.Cursors
	// Cores is how many messages are decrypted at once; default GOMAXPROCS.
	Cores int
}

// Defaults of Config.
const (
	defaultResource    = "drawbridge"
	defaultPingAfter   = 30 * time.Second
	defaultPingTimeout = 10 * time.Second
	defaultSelfPing    = 5 * time.Minute
	defaultMaxStanza   = 60000
)

// setup is a checked Config with its defaults filled in. It is never changed.
type setup struct {
	Config
	jid  jid.JID
	bare string
}

// prepare checks c, and names all that is wrong with it at once.
func prepare(c Config) (*setup, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	s := &setup{Config: c}
	if c.Name == "" {
		bad("xmpp: an account needs a name")
	}
	own, err := jid.Parse(c.JID)
	if err != nil || own.Localpart() == "" {
		bad("xmpp: %q is not an account's JID (user@domain)", c.JID)
	} else {
		if own.Resourcepart() == "" {
			own, _ = own.WithResource(defaultResource)
		}
		s.jid, s.bare = own, own.Bare().String()
	}
	if s.Nick == "" {
		s.Nick = own.Localpart()
	}
	if clean(c.Status) != c.Status || strings.Contains(c.Status, "\n") {
		bad("xmpp: status is one line without control characters: contacts check its signature byte by byte")
	}
	s.PingAfter = orDefault(c.PingAfter, defaultPingAfter)
	s.PingTimeout = orDefault(c.PingTimeout, defaultPingTimeout)
	s.SelfPing = orDefault(c.SelfPing, defaultSelfPing)
	s.MaxStanza = orDefault(c.MaxStanza, defaultMaxStanza)

	owner := map[string]string{}
	s.People = make([]policy.Person, 0, len(c.People))
	names := map[string]bool{}
	for _, p := range c.People {
		if p.Name == "" || names[p.Name] {
			bad("xmpp: two people of account %s are called %q", c.Name, p.Name)
		}
		names[p.Name] = true
		jids := make([]string, 0, len(p.JIDs))
		for _, text := range p.JIDs {
			j, err := jid.Parse(text)
			if err != nil {
				bad("xmpp: %q is not a JID of %s: %w", text, p.Name, err)
				continue
			}
			bare := j.Bare().String()
			if other, taken := owner[bare]; taken && other != p.Name {
				bad("xmpp: %s belongs to both %s and %s", bare, other, p.Name)
			}
			owner[bare] = p.Name
			jids = append(jids, bare)
		}
		if len(jids) == 0 {
			bad("xmpp: %s has no JID", p.Name)
		}
		p.JIDs = jids
		s.People = append(s.People, p)
	}
	s.Rooms = make([]RoomConfig, 0, len(c.Rooms))
	for _, r := range c.Rooms {
		j, err := jid.Parse(r.JID)
		switch {
		case err != nil || j.Localpart() == "":
			bad("xmpp: %q is not a room's JID (room@service)", r.JID)
			continue
		case j.Resourcepart() != "":
			bad("xmpp: room %s: leave out /%s, the nick has a key of its own", j.Bare(), j.Resourcepart())
			continue
		case owner[j.String()] != "":
			bad("xmpp: %s is a room and a JID of %s", j, owner[j.String()])
		}
		owner[j.String()] = j.String()
		r.JID = j.String()
		if r.Nick == "" {
			r.Nick = s.Nick
		}
		if _, err := j.WithResource(r.Nick); err != nil || strings.TrimSpace(r.Nick) == "" {
			bad("xmpp: room %s: %q cannot be a nick", j, r.Nick)
		}
		s.Rooms = append(s.Rooms, r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
