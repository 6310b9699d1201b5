package bridge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"drawbridge/policy"
)

// Defaults of a Config.
const (
	defaultHold   = 24 * time.Hour
	defaultKeep   = 24 * time.Hour
	defaultLines  = 200
	defaultLate   = 5 * time.Minute
	defaultDigest = 20
)

// table is a Config made ready for lookups: the cost of a message does not grow
// with the number of bridges. It is immutable, but for the ledgers, outboxes and
// caches it points to, which outlive it.
type table struct {
	cfg      Config
	loc      *time.Location
	people   map[string]*policy.Person
	accounts map[ircAccount]string // to the person's name
	bridges  []*bridgeState
	byName   map[string]*bridgeState
	routes   map[Room][]*member // one for each bridge that holds the room
	outboxes map[Room]*outbox
}

// ircAccount is a services account of a network, in lower case.
type ircAccount struct{ network, name string }

// identify names the person whose services account a speaker on IRC is logged in
// to. A nick proves nothing.
func (t *table) identify(m *Message) {
	if m.Room.Kind == Channel && m.From.Account != "" && m.From.Person == "" {
		m.From.Person = t.accounts[ircAccount{m.Room.Leg, policy.FoldAccount(m.From.Account)}]
	}
}

// bridgeState is one bridge of a table.
type bridgeState struct {
	cfg       BridgeConfig // defaults filled in
	irc, xmpp template
	members   []*member
	byRoom    map[Room]*member
	names     *namer
	*lasting
}

// lasting is what a bridge keeps when the table changes.
type lasting struct {
	ledger *ledger
	recent *recent // nil where no line can go round
}

// member is one room of one bridge.
type member struct {
	bridge *bridgeState
	room   Room
	floor  policy.Floor
	clear  ClearRoom
	says   bool   // the entry itself says that it is clear
	origin string // how templates name its side
	out    *outbox
	to     []*member // all others
}

// template returns how lines sent to m are shown.
func (m *member) template() template {
	if m.room.Kind == Channel {
		return m.bridge.irc
	}
	return m.bridge.xmpp
}

// newTable checks cfg and builds its table. outboxOf returns the outbox of a room,
// lastingOf what a bridge keeps; both may be from an older table.
func newTable(cfg Config, outboxOf func(Room) *outbox, lastingOf func(string) *lasting) (*table, error) {
	t := &table{
		cfg: cfg, loc: cfg.Location,
		people: map[string]*policy.Person{}, accounts: map[ircAccount]string{}, byName: map[string]*bridgeState{},
		routes: map[Room][]*member{}, outboxes: map[Room]*outbox{},
	}
	if t.loc == nil {
		t.loc = time.Local
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	legs := map[string]bool{}
	for _, l := range cfg.Legs {
		if legs[l.Name()] {
			bad("leg %q stands twice", l.Name())
		}
		legs[l.Name()] = true
	}
	for i := range cfg.People {
		p := &cfg.People[i]
		if t.people[p.Name] != nil || p.Name == "" {
			bad("person %q is empty or stands twice", p.Name)
		}
		t.people[p.Name] = p
		for network, id := range p.IRC {
			for _, name := range id.Accounts {
				t.accounts[ircAccount{network, policy.FoldAccount(name)}] = p.Name
			}
		}
	}
	marks := newPeopleMarks(cfg.People)
	for _, bc := range cfg.Bridges {
		if t.byName[bc.Name] != nil || bc.Name == "" {
			bad("bridge %q is empty or stands twice", bc.Name)
			continue
		}
		b := &bridgeState{cfg: bc.filled(), byRoom: map[Room]*member{}, lasting: lastingOf(bc.Name)}
		t.bridges = append(t.bridges, b)
		t.byName[bc.Name] = b
		var err error
		if b.irc, err = parseTemplate(b.cfg.ShowIRC); err != nil {
			bad("bridge %q: %w", bc.Name, err)
		}
		if b.xmpp, err = parseTemplate(b.cfg.ShowXMPP); err != nil {
			bad("bridge %q: %w", bc.Name, err)
		}
		b.names = newNamer(marks, b.irc.reserved+b.xmpp.reserved)
		for _, rc := range bc.Rooms {
			if why := t.addRoom(b, rc, legs); why != "" {
				bad("bridge %q: %s: %s", bc.Name, rc.Room, why)
			}
		}
		b.finish()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for room := range t.routes {
		t.outboxes[room] = outboxOf(room)
	}
	for _, b := range t.bridges {
		for _, m := range b.members {
			m.out = t.outboxes[m.room]
		}
	}
	return t, nil
}

// addRoom adds a room to b, or says why it cannot.
func (t *table) addRoom(b *bridgeState, rc RoomConfig, legs map[string]bool) string {
	m := &member{bridge: b, room: rc.Room, floor: b.cfg.Floor}
	if rc.Floor != nil {
		m.floor = *rc.Floor
		m.says = !m.floor.Encrypted()
	}
	switch rc.Room.Kind {
	case Channel:
		if rc.Floor != nil && rc.Floor.Encrypted() {
			return "a channel cannot be encrypted end to end"
		}
		m.floor = policy.Floor{}
	case MUC:
		if m.floor.Encrypted() {
			return "a MUC is clear: its entry must say so (require: clear)"
		}
	case Chat:
		if t.people[rc.Room.Name] == nil {
			return "no such person"
		}
		if len(t.routes[rc.Room]) > 0 {
			return "one account and person can be in one bridge only; give the other bridge its own account"
		}
		if b.cfg.Floor.Encrypted() && !m.floor.Encrypted() {
			return "a person of an encrypted bridge cannot be clear: one clear line switches encryption off in their client"
		}
	default:
		return "no such kind of room"
	}
	switch {
	case !legs[rc.Room.Leg]:
		return "no such leg"
	case b.byRoom[rc.Room] != nil:
		return "stands twice"
	}
	m.clear, _ = NewClearRoom(m.room, m.floor)
	b.members = append(b.members, m)
	b.byRoom[m.room] = m
	t.routes[m.room] = append(t.routes[m.room], m)
	return ""
}

// finish fills in what needs all members of b.
func (b *bridgeState) finish() {
	legs := map[bool][]string{} // by whether it is IRC
	public := 0
	for _, m := range b.members {
		irc := m.room.Kind == Channel
		if !slices.Contains(legs[irc], m.room.Leg) {
			legs[irc] = append(legs[irc], m.room.Leg)
		}
		if m.room.Kind != Chat {
			public++
		}
	}
	if public > 1 && b.recent == nil {
		b.lasting = &lasting{ledger: b.ledger, recent: newRecent()}
	}
	for _, m := range b.members {
		irc := m.room.Kind == Channel
		switch {
		case len(legs[irc]) > 1:
			m.origin = b.names.clean(m.room.Leg)
		case irc:
			m.origin = "irc"
		default:
			m.origin = "jabber"
		}
		for _, other := range b.members {
			if other != m {
				m.to = append(m.to, other)
			}
		}
	}
}

// filled returns bc with the defaults in place of zero values.
func (bc BridgeConfig) filled() BridgeConfig {
	def(&bc.WhenBlocked.Hold, defaultHold)
	def(&bc.Offline.Keep, defaultKeep)
	def(&bc.Offline.Lines, defaultLines)
	def(&bc.Late.After, defaultLate)
	def(&bc.Late.Digest, defaultDigest)
	def(&bc.ShowIRC, DefaultTemplate)
	def(&bc.ShowXMPP, DefaultTemplate)
	return bc
}

// def sets *v to d where it is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// lookup returns the member that a row goes to and the one it came from, nil
// where either is no longer in the row's bridge.
func (t *table) lookup(r *Row) (to, from *member) {
	b := t.byName[r.Bridge]
	if b == nil {
		return nil, nil
	}
	return b.byRoom[r.To], b.byRoom[r.From]
}
