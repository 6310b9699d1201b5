package config

import (
	"slices"
	"time"

	"drawbridge/policy"
)

// Group is a group whose members the keyring tells; others are told by
// Person.Groups.
type Group struct {
	Name string `yaml:"-"` // its key below groups
	// Keyring takes everybody in whose key the company's key certified an address
	// of the domain.
	Keyring *GroupKeyring `yaml:"keyring"`
}

// GroupKeyring says which certified keys make a member.
type GroupKeyring struct {
	Domain string `yaml:"domain" cfg:"required,word"`
}

// Room is one guarded room: a channel, a MUC, or both together.
type Room struct {
	Name string    `yaml:"-"` // its key below rooms
	IRC  *RoomIRC  `yaml:"irc"`
	XMPP *RoomXMPP `yaml:"xmpp"`
	// Default is what happens to whom no rule speaks of. Required.
	Default string   `yaml:"default" cfg:"required,oneof=allow|quarantine|deny"`
	Lock    RoomLock `yaml:"lock"`
	// Follow takes over bans that others set: off (default), or ops: those set by a
	// known person with the right, on one person.
	Follow string `yaml:"follow" cfg:"oneof=off|ops"`
	// DryRun is the state of a room the store knows nothing of: true (default) only
	// says what it would do. drawbridge guard enable ends it.
	DryRun bool   `yaml:"dry_run"`
	Flood  *Flood `yaml:"flood"` // nil: nothing is a flood
	// Joins is how many at once shut the room; nil: any number may come.
	Joins *MassJoin `yaml:"joins"`
}

// RoomIRC is the channel of a guarded room.
type RoomIRC struct {
	Network string `yaml:"network" cfg:"required"`
	Channel string `yaml:"channel" cfg:"required,channel"`
}

// RoomXMPP is the MUC of a guarded room.
type RoomXMPP struct {
	Account string `yaml:"account" cfg:"required"`
	Room    string `yaml:"room" cfg:"required,room"`
}

// RoomLock is what the guard sets back.
type RoomLock struct {
	Modes        string `yaml:"modes" cfg:"modes"` // channel modes, as "+ntsR-i"
	Topic        bool   `yaml:"topic"`
	Affiliations bool   `yaml:"affiliations"` // of the MUC: who is not named holds none
	// RotateKey gives the channel another key (+k) that often, and tells it to those who
	// may join, in their own encrypted chats; zero (default): its key is left alone.
	RotateKey time.Duration `yaml:"rotate_key" cfg:"min=10m,max=8760h,limit"`
}

// Rate is how often something may happen.
type Rate struct {
	Count int           `yaml:"count" cfg:"required,min=1,max=10000,limit"`
	Per   time.Duration `yaml:"per" cfg:"required,min=1s,max=24h,limit"`
}

// Flood says what a flood is; nil and 0: that is none. Rules say what follows.
type Flood struct {
	Lines      *Rate         `yaml:"lines"`
	Repeats    *Rate         `yaml:"repeats"`
	Caps       *Rate         `yaml:"caps"`
	Cycles     *Rate         `yaml:"cycles"`
	Nicks      *Rate         `yaml:"nicks"`
	Highlights int           `yaml:"highlights" cfg:"min=1,max=10000,limit"`
	Clones     int           `yaml:"clones" cfg:"min=1,max=10000,limit"`
	Calm       time.Duration `yaml:"calm" cfg:"min=1s,max=24h,limit"`  // default 1m
	Grace      time.Duration `yaml:"grace" cfg:"min=1s,max=24h,limit"` // default 10m
}

// MassJoin shuts a room.
type MassJoin struct {
	Count int           `yaml:"count" cfg:"required,min=1,max=10000,limit"`
	Per   time.Duration `yaml:"per" cfg:"required,min=1s,max=24h,limit"`
	For   time.Duration `yaml:"for" cfg:"min=1s,max=720h,limit"` // default 10m
}

// Rule is one line of the rules.
type Rule struct {
	ID     string        `yaml:"id" cfg:"required,name"`
	Rooms  []string      `yaml:"rooms" cfg:"one,noun=room"` // none: all
	Do     []string      `yaml:"do" cfg:"one,required,oneof=join|speak|op|voice|invite|relay-in|relay-out|command"`
	Who    Who           `yaml:"who"`
	Except []Who         `yaml:"except"`
	If     If            `yaml:"if"`
	Effect string        `yaml:"effect" cfg:"required,oneof=allow|alert|devoice|quarantine|deny|kick|ban"`
	For    time.Duration `yaml:"for" cfg:"min=1s,max=8760h,limit"`
	Reason string        `yaml:"reason" cfg:"line"`
}

// Who says of whom a rule speaks; nothing: of everybody.
type Who struct {
	Groups    []string `yaml:"groups" cfg:"one"`
	People    []string `yaml:"people" cfg:"one"`
	AtLeast   string   `yaml:"at_least" cfg:"oneof=host|account|jid|cert|key"` // default account
	Anonymous bool     `yaml:"anonymous"`
	Hosts     []string `yaml:"hosts" cfg:"one,word"`
}

// If are conditions; "" is not asked.
type If struct {
	TLS         string   `yaml:"tls" cfg:"oneof=true|false"`
	Account     string   `yaml:"account" cfg:"oneof=true|false"`
	Certificate string   `yaml:"certificate" cfg:"oneof=true|false"`
	Encrypted   string   `yaml:"encrypted" cfg:"oneof=true|false"`
	Below       string   `yaml:"below" cfg:"oneof=sealed|signed|verified"`
	Affiliation []string `yaml:"affiliation" cfg:"one,oneof=owner|admin|member|none|outcast"`
	Role        []string `yaml:"role" cfg:"one,oneof=moderator|participant|visitor"`
	Flood       []string `yaml:"flood" cfg:"one,oneof=lines|repeats|caps|highlights|cycles|clones|nicks"`
}

// Safety bounds what the guard does.
type Safety struct {
	MaxRemovals  MaxRemovals `yaml:"max_removals"`
	ServicesDown string      `yaml:"services_down" cfg:"oneof=hold"` // hold is the only choice, and the default
	Protected    []string    `yaml:"protected" cfg:"noun=person"`
	// Link says who may join an IRC account to a JID by !link: everybody (open),
	// staff (people of any group, with an admin; the default), or nobody (off).
	Link string `yaml:"link" cfg:"oneof=open|staff|off"`
	// ID names this guard among its Peers, the other bots that hold the same rooms: of
	// those in a room the one with the lowest acts, and the others watch.
	ID    string `yaml:"id" cfg:"name"`
	Peers []Peer `yaml:"peers" cfg:"named"`
	// TwoPerson lists what needs two admins. Default: all of them.
	TwoPerson []string `yaml:"two_person" cfg:"oneof=ban-mask|drop-owner|destroy"`
}

// Peer is another guard.
type Peer struct {
	Name string    `yaml:"-"`                           // its key below safety.peers: its safety.id
	IRC  []PeerIRC `yaml:"irc" cfg:"named"`             // how it is known on networks
	JIDs []string  `yaml:"jids" cfg:"barejid,noun=JID"` // and in Jabber rooms
}

// PeerIRC is how a peer is known on one network.
type PeerIRC struct {
	Name    string `yaml:"-"` // a network
	Account string `yaml:"account" cfg:"required,word"`
}

// MaxRemovals bounds removals from one room.
type MaxRemovals struct {
	Count int           `yaml:"count" cfg:"min=1,max=1000,limit"`        // default 5
	Per   time.Duration `yaml:"per" cfg:"min=1s,max=24h,limit"`          // default 1m
	Share int           `yaml:"share" cfg:"min=1,max=100,percent,limit"` // per cent of who is there; default 20
}

// completeGuard fills in the defaults of the guard.
func (d *decoder) completeGuard(c *Config) {
	for i := range c.Rooms {
		r := &c.Rooms[i]
		setDefault(&r.Follow, "off")
		if _, told := d.pos["rooms."+r.Name+".dry_run"]; !told {
			r.DryRun = true
		}
		if r.Joins != nil {
			setDefault(&r.Joins.For, 10*time.Minute)
		}
		if r.Flood != nil {
			setDefault(&r.Flood.Calm, time.Minute)
			setDefault(&r.Flood.Grace, 10*time.Minute)
		}
	}
	setDefault(&c.Safety.MaxRemovals.Count, 5)
	setDefault(&c.Safety.MaxRemovals.Per, time.Minute)
	setDefault(&c.Safety.MaxRemovals.Share, 20)
	setDefault(&c.Safety.ServicesDown, "hold")
	setDefault(&c.Safety.Link, "staff")
	if _, told := d.pos["safety.two_person"]; !told {
		c.Safety.TwoPerson = []string{"ban-mask", "drop-owner", "destroy"}
	}
}

// Limits returns what is a flood in the room.
func (r *Room) Limits() policy.FloodLimits {
	f := r.Flood
	if f == nil {
		return policy.FloodLimits{}
	}
	limit := func(r *Rate) policy.Limit {
		if r == nil {
			return policy.Limit{}
		}
		return policy.Limit{Count: r.Count, Per: r.Per}
	}
	return policy.FloodLimits{
		Lines: limit(f.Lines), Repeats: limit(f.Repeats), Caps: limit(f.Caps), Cycles: limit(f.Cycles), Nicks: limit(f.Nicks),
		Highlights: f.Highlights, Clones: f.Clones, Calm: f.Calm, Grace: f.Grace,
	}
}

// PolicySpec returns what policy.Compile takes, with these people: those of the
// config, with what the keyring certified for them.
func (c *Config) PolicySpec(people []*policy.Person) policy.Spec {
	out := policy.Spec{People: people, Protected: c.Safety.Protected}
	for _, g := range c.Groups {
		if g.Keyring != nil {
			out.Groups = append(out.Groups, policy.Group{Name: g.Name, Domain: g.Keyring.Domain})
		}
	}
	for i := range c.Rooms {
		effect, _ := policy.ParseEffect(c.Rooms[i].Default)
		out.Rooms = append(out.Rooms, policy.Room{Name: c.Rooms[i].Name, Default: effect})
	}
	for i := range c.Rules {
		out.Rules = append(out.Rules, c.Rules[i].policy())
	}
	return out
}

func (r *Rule) policy() policy.Rule {
	out := policy.Rule{ID: r.ID, Rooms: r.Rooms, Who: r.Who.policy(), For: r.For, Reason: r.Reason}
	out.Effect, _ = policy.ParseEffect(r.Effect)
	for _, word := range r.Do {
		do, _ := policy.ParseDo(word)
		out.Do = append(out.Do, do)
	}
	for i := range r.Except {
		out.Except = append(out.Except, r.Except[i].policy())
	}
	known := map[string]policy.Known{"true": policy.Yes, "false": policy.No}
	out.If = policy.If{TLS: known[r.If.TLS], Account: known[r.If.Account], Cert: known[r.If.Certificate], Encrypted: known[r.If.Encrypted]}
	out.If.Affiliations, out.If.Roles = r.If.affiliations(), r.If.roles()
	if r.If.Below != "" {
		out.If.Below, _ = policy.ParseRung(r.If.Below)
	}
	for _, word := range r.If.Flood {
		f, _ := policy.ParseFlood(word)
		out.If.Floods |= f
	}
	return out
}

func (w *Who) policy() policy.Who {
	out := policy.Who{Groups: w.Groups, People: w.People, Anonymous: w.Anonymous, Hosts: w.Hosts}
	if w.AtLeast != "" {
		out.AtLeast, _ = policy.ParseStrength(w.AtLeast)
	}
	return out
}

// unset reports whether nothing is asked.
func (w *Who) unset() bool {
	return len(w.Groups)+len(w.People)+len(w.Hosts) == 0 && !w.Anonymous && w.AtLeast == ""
}

// Room returns the guarded room with the given name, nil if there is none.
func (c *Config) Room(name string) *Room { return find(c.Rooms, name, roomName) }

func roomName(r *Room) string   { return r.Name }
func groupName(g *Group) string { return g.Name }

// groupNames lists the groups that stand in the file, below groups or with people.
func (c *Config) groupNames() []string {
	out := names(c.Groups, groupName)
	for i := range c.People {
		for _, g := range c.People[i].Groups {
			if !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}
