package guardtest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/policy"
)

// Leg is a bridge.Enforcer without a network: it plays the server, too. What Apply
// changes is shown to the watcher at once, as a server's echo is.
type Leg struct {
	*bridgetest.Leg
	Nick string // the bot's

	mu       sync.Mutex // guards all below
	watcher  bridge.Watcher
	rooms    []bridge.Room
	places   map[bridge.Room]*Place
	keys     map[bridge.Room][]string
	applied  []Applied
	lookups  []string
	whispers []string
	online   map[string]policy.Facts // who can be found, by nick
	sessions map[string]session      // by bare JID
	pace     time.Duration           // a line; 0: none
	free     time.Time               // when the next line may leave
	err      error
	refuse   func(*policy.MUCStep) error
	hold     chan struct{} // Apply waits for it
	stall    chan struct{} // Observe waits for it
}

// Applied is one line or step that was carried out.
type Applied struct {
	Room bridge.Room
	Line string
	Step *policy.MUCStep
	At   time.Time
}

// Place is the state of a channel or MUC. Tests may change it before it is ready.
type Place struct {
	Flags     string
	Topic     string
	Key       string
	MLock     string
	TopicLock bool
	EntryMsg  *string // nil: not known
	Lists     map[byte][]string
	Access    map[string]string
	Members   map[string]*Member
	Config    map[string]string
	Affs      map[string]policy.Affiliation
	Caps      policy.ChannelCaps
	MUCCaps   policy.MUCCaps
	Down      bool // services are
	Stuck     bool // nobody can be removed
}

// session is how far the sessions with somebody reach.
type session struct {
	rung  policy.Rung
	known policy.Known
}

// Member is somebody who is there.
type Member struct {
	Facts  policy.Facts
	Rights string
	Is     policy.Affiliation
	Role   policy.Role
}

var (
	_ bridge.Finder        = (*Leg)(nil)
	_ bridge.KeyHolder     = (*Leg)(nil)
	_ bridge.SessionTeller = (*Leg)(nil)
)

// NewLeg returns a leg of that name; proto is "irc" or "xmpp".
func NewLeg(name, proto string) *Leg {
	return &Leg{Leg: bridgetest.NewLeg(name, proto), Nick: "bridge", places: map[bridge.Room]*Place{}}
}

// InspIRCd are the capabilities of a server of that name, with atheme.
func InspIRCd() policy.ChannelCaps {
	return policy.ChannelCaps{
		Software: policy.InspIRCd, ListModes: "IXbegw", FlagModes: "ACMNOQRSTcimnprstz", Extban: true, ExtbanTypes: "ACMNOQRSTUacmnprz",
		Modes: 20, KickTargets: 20, MaxList: 100, Services: policy.Atheme,
	}
}

// Open makes a place of which the bot is op, or owner.
func (l *Leg) Open(room bridge.Room) *Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Place{
		Lists: map[byte][]string{}, Access: map[string]string{"bridge": "F"}, Members: map[string]*Member{}, Config: map[string]string{policy.FieldMembersOnly: "0", policy.FieldModerated: "0", policy.FieldWhois: "moderators"},
		Affs: map[string]policy.Affiliation{}, Caps: InspIRCd(),
	}
	self := &Member{Rights: "o", Is: policy.Owner, Role: policy.Moderator}
	if room.Kind == bridge.Channel {
		self.Facts = policy.NewIRCFacts(room.Leg, l.Nick, "b", "bot.example")
	} else {
		self.Facts = policy.NewXMPPFacts(room.Leg, l.Nick)
		self.Facts.JID = policy.Is(l.self(), "", time.Time{})
		p.Affs[l.self()] = policy.Owner
	}
	self.Facts.Self = true
	p.Members[l.Nick] = self
	l.places[room] = p
	return p
}

func (l *Leg) self() string { return l.Nick + "@corp.example" }

// Status implements bridge.Leg.
func (l *Leg) Status() bridge.LegStatus {
	s := l.Leg.Status()
	s.Self = l.self() + "/here"
	return s
}

// Ready shows everybody who is there, and that the place is joined.
func (l *Leg) Ready(room bridge.Room) {
	l.mu.Lock()
	p := l.places[room]
	var sights []bridge.Sight
	for _, nick := range slices.Sorted(maps.Keys(p.Members)) {
		sights = append(sights, p.Members[nick].sight(bridge.SightHere, room, nick == l.Nick))
	}
	l.mu.Unlock()
	for i := range sights {
		l.See(sights[i])
	}
	l.See(bridge.Sight{Kind: bridge.SightReady, Leg: room.Leg, Room: room})
}

func (m *Member) sight(kind bridge.SightKind, room bridge.Room, self bool) bridge.Sight {
	s := bridge.Sight{Kind: kind, Leg: room.Leg, Room: room, Facts: m.Facts, Rights: m.Rights, Is: m.Is, Role: m.Role, Self: self, Time: time.Now()}
	if room.Kind == bridge.MUC {
		s.Facts.Affiliation, s.Facts.Role = policy.Is(string(m.Is), "presence", time.Time{}), policy.Is(string(m.Role), "presence", time.Time{})
	}
	return s
}

// Session sets how far the sessions with a bare JID reach, and shows it. Of who was
// never named it is clear.
func (l *Leg) Session(jid string, rung policy.Rung, known policy.Known) {
	l.locked(func() {
		if l.sessions == nil {
			l.sessions = map[string]session{}
		}
		l.sessions[jid] = session{rung, known}
	})
	f := policy.NewXMPPFacts(l.Name(), "")
	f.JID = policy.Is(jid, "stream", time.Time{})
	l.See(bridge.Sight{Kind: bridge.SightSessions, Leg: l.Name(), Facts: f})
}

// Sessions implements bridge.SessionTeller.
func (l *Leg) Sessions(jid string) (policy.Rung, policy.Known) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, named := l.sessions[jid]
	if !named {
		s.known = policy.Yes
	}
	return s.rung, s.known
}

// Join lets somebody in, and shows it.
func (l *Leg) Join(room bridge.Room, f policy.Facts) {
	l.mu.Lock()
	m := &Member{Facts: f}
	if room.Kind == bridge.MUC {
		m.Role = policy.Participant
		if m.Is = l.places[room].Affs[f.JID.Value]; m.Is == "" {
			m.Is = policy.NoOne
		}
	}
	l.places[room].Members[f.Nick] = m
	s := m.sight(bridge.SightCame, room, false)
	l.mu.Unlock()
	l.See(s)
}

// Part lets somebody go, and shows it.
func (l *Leg) Part(room bridge.Room, nick string, split bool) {
	l.mu.Lock()
	m := l.places[room].Members[nick]
	delete(l.places[room].Members, nick)
	l.mu.Unlock()
	if m != nil {
		l.See(bridge.Sight{Kind: bridge.SightWent, Leg: room.Leg, Room: room, Facts: m.Facts, Split: split})
	}
}

// Learn shows that more is known of somebody.
func (l *Leg) Learn(room bridge.Room, nick string, change func(*policy.Facts)) {
	l.mu.Lock()
	m := l.places[room].Members[nick]
	if m == nil {
		l.mu.Unlock()
		return
	}
	change(&m.Facts)
	delete(l.places[room].Members, nick)
	l.places[room].Members[m.Facts.Nick] = m
	s := m.sight(bridge.SightChanged, room, false)
	if s.Facts.Nick != nick {
		s.Old = nick
	}
	l.mu.Unlock()
	l.See(s)
}

// Give changes somebody's rights by somebody else, and shows it.
func (l *Leg) Give(room bridge.Room, nick, rights string, by bridge.By) {
	l.mu.Lock()
	m := l.places[room].Members[nick]
	m.Rights = rights
	s := m.sight(bridge.SightRights, room, nick == l.Nick)
	s.By = by
	l.mu.Unlock()
	l.See(s)
}

// Mode changes the place by somebody else, as "-s" or "+b mask", and shows it.
func (l *Leg) Mode(room bridge.Room, what string, by bridge.By) {
	l.mu.Lock()
	l.places[room].mode(what)
	l.mu.Unlock()
	l.See(bridge.Sight{Kind: bridge.SightMode, Leg: room.Leg, Room: room, What: what, By: by})
}

// See hands a sight to the watcher.
func (l *Leg) See(s bridge.Sight) {
	l.mu.Lock()
	w := l.watcher
	l.mu.Unlock()
	if w != nil {
		w.See(&s)
	}
}

// Pace makes each line take that long.
func (l *Leg) Pace(d time.Duration) { l.locked(func() { l.pace = d }) }

// Fail makes Apply fail; nil ends that.
func (l *Leg) Fail(err error) { l.locked(func() { l.err = err }) }

// Refuse has a MUC refuse the steps for which f has an error.
func (l *Leg) Refuse(f func(*policy.MUCStep) error) { l.locked(func() { l.refuse = f }) }

// Hold makes Apply wait until the function that it returns is called.
func (l *Leg) Hold() (release func()) {
	c := make(chan struct{})
	l.locked(func() { l.hold = c })
	return func() { l.locked(func() { l.hold = nil }); close(c) }
}

// Stall makes Observe wait until the function that it returns is called.
func (l *Leg) Stall() (release func()) {
	c := make(chan struct{})
	l.locked(func() { l.stall = c })
	return func() { l.locked(func() { l.stall = nil }); close(c) }
}

// Change changes a place without a word, as while nobody looked.
func (l *Leg) Change(room bridge.Room, f func(p *Place)) { l.locked(func() { f(l.places[room]) }) }

func (l *Leg) locked(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// Lines returns what was carried out since the last call.
func (l *Leg) Lines() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.applied {
		out = append(out, a.Line)
	}
	l.applied = nil
	return out
}

// Applied returns what was carried out since the last call of Lines.
func (l *Leg) Applied() []Applied {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.applied)
}

// Whispers returns what was whispered, and Lookups what was looked up, since the last
// call.
func (l *Leg) Whispers() []string { return l.drained(&l.whispers) }

// Lookups returns what was looked up since the last call, as "nick: missing".
func (l *Leg) Lookups() []string { return l.drained(&l.lookups) }

func (l *Leg) drained(from *[]string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := *from
	*from = nil
	return out
}

// Nicks returns who is in a place beside the bot, sorted.
func (l *Leg) Nicks(room bridge.Room) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Sorted(maps.Keys(l.places[room].Members))
	return slices.DeleteFunc(out, func(n string) bool { return n == l.Nick })
}

// Watch implements bridge.Enforcer.
func (l *Leg) Watch(w bridge.Watcher, rooms []bridge.Room) {
	l.locked(func() { l.watcher, l.rooms = w, slices.Clone(rooms) })
}

// Watched returns the rooms that are watched.
func (l *Leg) Watched() []bridge.Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.rooms)
}

// Lookup implements bridge.Enforcer.
func (l *Leg) Lookup(_ bridge.Room, nick string, m policy.Missing) {
	l.locked(func() { l.lookups = append(l.lookups, nick+": "+m.String()) })
}

// Online has somebody on the network, in none of its channels; facts without a nick: not
// any more.
func (l *Leg) Online(nick string, f policy.Facts) {
	l.locked(func() {
		if l.online == nil {
			l.online = map[string]policy.Facts{}
		}
		l.online[nick] = f
	})
}

// Find implements bridge.Finder.
func (l *Leg) Find(_ context.Context, nick string) (policy.Facts, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, f := range l.online {
		if f.Nick != "" && strings.EqualFold(name, nick) {
			return f, nil
		}
	}
	return policy.Facts{}, bridge.ErrNobody
}

// Whisper implements bridge.Enforcer.
func (l *Leg) Whisper(_ bridge.Room, nick, words string) {
	l.locked(func() { l.whispers = append(l.whispers, nick+": "+words) })
}

// Observe implements bridge.Enforcer.
func (l *Leg) Observe(ctx context.Context, room bridge.Room) (bridge.Observed, error) {
	l.mu.Lock()
	stall := l.stall
	l.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return bridge.Observed{}, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[room]
	if p == nil || ctx.Err() != nil {
		return bridge.Observed{}, bridge.ErrNotReady
	}
	o := bridge.Observed{ChannelCaps: p.Caps, MUCCaps: p.MUCCaps, ServicesDown: p.Down}
	self := p.Members[l.Nick]
	if room.Kind == bridge.Channel {
		o.Holds = self != nil && strings.Contains(self.Rights, "o")
		o.Channel = policy.ChannelSeen{Flags: p.Flags, Key: p.Key, Topic: p.Topic, MLock: p.MLock, TopicLock: p.TopicLock, EntryMsg: p.EntryMsg, Lists: map[byte][]string{}, Present: map[string]string{}, Access: maps.Clone(p.Access)}
		for mode, list := range p.Lists {
			o.Channel.Lists[mode] = slices.Clone(list)
		}
		for nick, m := range p.Members {
			o.Channel.Present[nick] = m.Rights
		}
		return o, nil
	}
	topic := p.Topic
	o.Holds = p.Affs[l.self()] == policy.Owner
	o.MUC.Config, o.MUC.Subject = maps.Clone(p.Config), &topic
	for _, jid := range slices.Sorted(maps.Keys(p.Affs)) {
		o.MUC.Affiliations = append(o.MUC.Affiliations, policy.Holder{JID: jid, Is: p.Affs[jid]})
	}
	for _, nick := range slices.Sorted(maps.Keys(p.Members)) {
		m := p.Members[nick]
		o.MUC.Occupants = append(o.MUC.Occupants, policy.Occupant{Nick: nick, JID: m.Facts.JID.Value, Is: m.Is, Role: m.Role})
	}
	return o, nil
}

// UseKeys implements bridge.KeyHolder.
func (l *Leg) UseKeys(room bridge.Room, keys ...string) {
	l.locked(func() {
		if l.keys == nil {
			l.keys = map[bridge.Room][]string{}
		}
		l.keys[room] = slices.Clone(keys)
	})
}

// Keys returns by which keys the bot may come in.
func (l *Leg) Keys(room bridge.Room) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.keys[room])
}
