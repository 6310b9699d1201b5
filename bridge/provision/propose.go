package provision

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drawbridge/policy"
)

// Options are what a proposal takes beside the two rooms.
type Options struct {
	Network string // the channel's leg
	Self    string // bare JID of the bot
	Account string // services account of the bot, "" for none
	// People and Binds are who is known, with the accounts that were linked.
	People []*policy.Person
	Binds  []policy.Bind
	// Members are people who become members whatever the channel says: those of the
	// bridge.
	Members []string
	// Archive keeps an archive on the server (MAM), where it has one. Else it is
	// switched off.
	Archive bool
	Title   string // of the room, where it has none
	// ListKept says that a guard keeps the room's affiliations: they are left alone.
	ListKept bool
}

// Fields of a room's configuration beside those of policy.
const (
	fieldPersistent = "muc#roomconfig_persistentroom"
	fieldPublic     = "muc#roomconfig_publicroom"
	fieldName       = "muc#roomconfig_roomname"
)

// inviteFields let members invite, and who is invited into a members-only room becomes
// a member: of ejabberd, and of Prosody, which has both.
var inviteFields = []string{"muc#roomconfig_allowinvites", "{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites"}

// archiveFields are the fields for MAM: of Prosody, and of ejabberd.
var archiveFields = []string{"muc#roomconfig_enablearchiving", "muc#roomconfig_mam", "mam"}

// Proposal is the wanted room.
type Proposal struct {
	Want policy.MUC
	Why  map[string]string // JID → what made it so
	Left []string          // what of the channel is not carried, for people
}

// Propose says what room the channel makes. topic is the channel's, without
// formatting. The answer is in a fixed order.
func Propose(ch policy.ChannelSeen, topic string, seen policy.MUCSeen, o Options) Proposal {
	p := proposer{o: o, has: map[string]policy.Affiliation{}, out: Proposal{Want: policy.MUC{Self: o.Self}, Why: map[string]string{}}}
	for _, h := range seen.Affiliations {
		p.has[h.JID] = h.Is
	}
	p.fields(ch, seen)
	if topic != "" {
		p.out.Want.Subject = &topic
	}
	if o.ListKept {
		p.left("the guard keeps the list of this room by its rules (lock: affiliations), so nobody is added")
		return p.out
	}
	p.access(ch)
	p.present(ch)
	for _, name := range o.Members {
		p.grant(name, policy.Member, "is of the bridge")
	}
	p.holders()
	return p.out
}

type proposer struct {
	o     Options
	has   map[string]policy.Affiliation
	wants map[string]grant // by person
	out   Proposal
}

// grant is what one person gets.
type grant struct {
	is  policy.Affiliation
	why string
}

func (p *proposer) left(format string, args ...any) {
	p.out.Left = append(p.out.Left, fmt.Sprintf(format, args...))
}

func (p *proposer) fields(ch policy.ChannelSeen, seen policy.MUCSeen) {
	set := func(name, value string) {
		p.out.Want.Fields = append(p.out.Want.Fields, policy.Field{Var: name, Value: value})
	}
	there := func(name string) bool { _, ok := seen.Config[name]; return ok }
	set(fieldPersistent, "1")
	set(policy.FieldWhois, "anyone")
	set(policy.FieldMembersOnly, "1")
	for _, f := range inviteFields {
		if there(f) {
			set(f, "0")
		}
	}
	if strings.ContainsAny(ch.Flags, "sp") && there(fieldPublic) {
		set(fieldPublic, "0")
	}
	if strings.Contains(ch.Flags, "t") && there(policy.FieldSubject) {
		set(policy.FieldSubject, "0")
	}
	if name, ok := seen.Config[fieldName]; ok && name == "" && p.o.Title != "" {
		set(fieldName, p.o.Title)
	}
	value := map[bool]string{true: "1", false: "0"}[p.o.Archive]
	archives := false
	for _, f := range archiveFields {
		if there(f) {
			set(f, value)
			archives = true
		}
	}
	if p.o.Archive && !archives {
		p.left("the server keeps no archive of rooms, or does not let the bot switch it on")
	}
}

// access takes what ChanServ keeps.
func (p *proposer) access(ch policy.ChannelSeen) {
	if ch.AccessHidden {
		p.left("ChanServ does not show its list to the bot: /msg ChanServ FLAGS CHANNEL BOT +A lets it be read")
	}
	for _, who := range slices.SortedFunc(maps.Keys(ch.Access), byFold) {
		flags := ch.Access[who]
		is, what := affiliationOf(flags)
		switch {
		case strings.EqualFold(who, p.o.Account):
		case strings.ContainsAny(who, "!@*"):
			p.left("%s (+%s) is a mask, which proves nobody", who, flags)
		case is == policy.Outcast:
			p.left("%s (+%s) is banned from the channel, and gets nothing here", who, flags)
		default:
			name := p.person(who)
			if name == "" {
				p.left("%s (+%s) is nobody's account: people: {NAME: {jids: […], irc: {%s: {accounts: [%s]}}}}", who, flags, p.o.Network, who)
				continue
			}
			p.grant(name, is, fmt.Sprintf("%s, %s (+%s)", what, who, flags))
		}
	}
}

// affiliationOf says what the flags of Atheme make of somebody.
func affiliationOf(flags string) (is policy.Affiliation, what string) {
	for _, x := range []struct {
		letters string
		is      policy.Affiliation
		what    string
	}{
		{"b", policy.Outcast, "banned"},
		{"F", policy.Admin, "founder"},
		{"SR", policy.Admin, "successor"},
		{"qaoOsf", policy.Admin, "op"},
		{"hH", policy.Member, "halfop"},
		{"vV", policy.Member, "voice"},
	} {
		if strings.ContainsAny(flags, x.letters) {
			return x.is, x.what
		}
	}
	return policy.Member, "on the list"
}

// present takes who is there: ops, voices, and others who are known.
func (p *proposer) present(ch policy.ChannelSeen) {
	for _, nick := range slices.SortedFunc(maps.Keys(ch.Present), byFold) {
		rights, account := ch.Present[nick], ch.Accounts[nick]
		is, what := policy.Member, "is there"
		switch {
		case strings.ContainsAny(rights, "qao"):
			is, what = policy.Admin, "has op"
		case rights != "":
			what = "has voice"
		}
		switch {
		case account != "" && strings.EqualFold(account, p.o.Account):
		case account == "" && rights != "":
			p.left("%s %s and is not logged in: a nick proves nobody", nick, what)
		case account == "" || p.banned(ch, account):
		default:
			if name := p.person(account); name != "" {
				p.grant(name, is, fmt.Sprintf("%s as %s (%s)", what, nick, account))
			} else if _, listed := folded(ch.Access, account); rights != "" && !listed {
				p.left("%s (%s) %s and is nobody's account", account, nick, what)
			}
		}
	}
}

func (p *proposer) banned(ch policy.ChannelSeen, account string) bool {
	flags, ok := folded(ch.Access, account)
	is, _ := affiliationOf(flags)
	return ok && is == policy.Outcast
}

func folded(m map[string]string, key string) (string, bool) {
	for k, v := range m {
		if strings.EqualFold(k, key) {
			return v, true
		}
	}
	return "", false
}

// person is whose account it is, "" if nobody's.
func (p *proposer) person(account string) string {
	for _, who := range p.o.People {
		if slices.ContainsFunc(who.IRC[p.o.Network].Accounts, func(a string) bool { return strings.EqualFold(a, account) }) {
			return who.Name
		}
	}
	for _, b := range p.o.Binds {
		if b.Kind == policy.Account && b.Leg == p.o.Network && strings.EqualFold(b.Value, account) {
			return b.Person
		}
	}
	return ""
}

// grant notes what a person gets, if it is more than before.
func (p *proposer) grant(name string, is policy.Affiliation, why string) {
	if p.wants == nil {
		p.wants = map[string]grant{}
	}
	if rank(is) > rank(p.wants[name].is) {
		p.wants[name] = grant{is, why}
	}
}

// rank orders affiliations.
func rank(is policy.Affiliation) int {
	return slices.Index([]policy.Affiliation{policy.Outcast, policy.NoOne, policy.Member, policy.Admin, policy.Owner}, is)
}

// holders makes affiliations of the grants: more than somebody has, never less.
func (p *proposer) holders() {
	for _, name := range slices.Sorted(maps.Keys(p.wants)) {
		g := p.wants[name]
		i := slices.IndexFunc(p.o.People, func(who *policy.Person) bool { return who.Name == name })
		if i < 0 || len(p.o.People[i].JIDs) == 0 {
			p.left("%s (%s) has no JID", name, g.why)
			continue
		}
		for _, jid := range p.o.People[i].JIDs {
			has := p.has[jid]
			if has == policy.Outcast {
				p.left("%s (%s) is banned from the room: drawbridge guard forgive %s, or an owner, ends that", jid, g.why, name)
				continue
			}
			if has != "" && rank(has) >= rank(g.is) {
				continue
			}
			p.out.Want.Affiliations = append(p.out.Want.Affiliations, policy.Holder{JID: jid, Is: g.is})
			p.out.Why[jid] = name + ": " + g.why
		}
	}
}

func byFold(a, b string) int {
	if c := strings.Compare(strings.ToLower(a), strings.ToLower(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
