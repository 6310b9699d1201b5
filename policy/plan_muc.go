package policy

import (
	"fmt"
	"slices"
)

// The fields of a room's configuration that guards speak of.
const (
	FieldMembersOnly = "muc#roomconfig_membersonly"
	FieldModerated   = "muc#roomconfig_moderatedroom"
	FieldWhois       = "muc#roomconfig_whois"
	FieldSubject     = "muc#roomconfig_changesubject" // others than moderators may set the subject
)

// MUC is the state a room shall have. What it does not speak of is left alone,
// but that Locked also takes affiliations away that it does not name.
type MUC struct {
	Self         string // the bot's bare JID: never touched
	Fields       []Field
	Affiliations []Holder // by bare JID
	Locked       bool
	Peers        []string // bare JIDs of other guards, who may be owners beside the bot
	DropOwners   bool     // two admins have agreed that other owners go
	Shut         bool     // a lockdown: it is moderated, whatever comes back in by that
	Roles        []Visit
	Subject      *string // nil: any
}

// Field is one value of the room's configuration.
type Field struct{ Var, Value string }

// Holder is somebody's affiliation.
type Holder struct {
	JID    string
	Is     Affiliation
	Reason string
}

// Visit is somebody's role; Role none is a kick.
type Visit struct {
	Nick   string
	Role   Role
	Reason string
}

// Occupant is somebody who is in the room.
type Occupant struct {
	Nick, JID string // JID "": hidden
	Is        Affiliation
	Role      Role
}

// MUCSeen is the state a room has. Lists and Config must have been read whole.
type MUCSeen struct {
	Config       map[string]string
	Affiliations []Holder
	Occupants    []Occupant
	Subject      *string // nil: the room has not told it yet
}

// MUCCaps is what a MUC service lets a guard do.
type MUCCaps struct {
	// Ejabberd (23.01) lets an outcast back into a moderated room, with the role that a
	// moderator once gave or took: becoming a member gives one, and so does losing voice.
	// So a room that has outcasts is kept unmoderated, as is one of members only, and
	// every ban is looked after.
	Ejabberd bool
	Items    int // changes in one IQ; zero: 50
}

// MUCStep is one request to the room, or a look at it.
type MUCStep struct {
	Holders []Holder // set these affiliations, in one IQ
	Visits  []Visit  // set these roles
	Fields  []Field  // submit the whole form with these changed
	Subject *string  // set it; nil: leave it
	// Again: read lists and configuration, and plan again. What follows waits for
	// that, as a room turns members-only once its list has been read back.
	Again   bool
	Removes int // subjects that leave by it
}

// MUCPlan is the way to the wanted state.
type MUCPlan struct {
	Steps  []MUCStep
	Alarms []string // what a guard cannot or may not mend by itself
}

// PlanMUC returns the fewest steps from seen to want. It is ErrTooMany if more
// than most would be removed, counting those whom a members-only room evicts: then the
// plan is there to be shown.
func PlanMUC(want MUC, seen MUCSeen, caps MUCCaps, most int) (MUCPlan, error) {
	if caps.Items <= 0 {
		caps.Items = 50
	}
	p := mucPlanner{want: &want, seen: &seen, caps: caps, has: map[string]Affiliation{}, wants: map[string]Affiliation{}, gone: map[string]bool{}}
	for _, h := range seen.Affiliations {
		p.has[h.JID] = h.Is
	}
	for _, h := range want.Affiliations {
		p.wants[h.JID] = h.Is
	}
	if own := p.has[want.Self]; own != Owner {
		p.plan.Alarms = append(p.plan.Alarms, fmt.Sprintf("the bot is %s here, not owner: an owner has to restore it", orElse(string(own), string(NoOne))))
		return p.plan, nil
	}
	p.owners()
	p.unmoderate()
	p.affiliations()
	p.roles()
	p.subject()
	p.fields()
	if len(p.gone) > most {
		return p.plan, fmt.Errorf("%w: %d from a room, and %d may go", ErrTooMany, len(p.gone), most)
	}
	return p.plan, nil
}

type mucPlanner struct {
	want       *MUC
	seen       *MUCSeen
	caps       MUCCaps
	has, wants map[string]Affiliation
	plan       MUCPlan
	members    bool            // somebody is still to become a member or more
	open       bool            // it must not be moderated, whatever is wanted
	gone       map[string]bool // nicks
}

// owners tells of each other owner, known or not: any of them can strip the bot.
func (p *mucPlanner) owners() {
	for _, h := range p.seen.Affiliations {
		if h.Is == Owner && h.JID != p.want.Self && !slices.Contains(p.want.Peers, h.JID) {
			p.plan.Alarms = append(p.plan.Alarms, h.JID+" is owner too, and can take the room from the bot: people are admins at most; drop-owner needs two admins")
		}
	}
}

// unmoderate takes moderation away where bans would not hold in it, before any is set.
func (p *mucPlanner) unmoderate() {
	outcast := func(h Holder) bool { return h.Is == Outcast }
	members := slices.ContainsFunc(p.want.Fields, func(f Field) bool { return f.Var == FieldMembersOnly && boolField(f.Value) == "1" })
	p.open = p.caps.Ejabberd && (members || !p.want.Shut && (slices.ContainsFunc(p.want.Affiliations, outcast) || slices.ContainsFunc(p.seen.Affiliations, outcast)))
	if p.open && !members && boolField(p.seen.Config[FieldModerated]) == "1" {
		p.plan.Steps = append(p.plan.Steps, MUCStep{Fields: []Field{{FieldModerated, "0"}}})
	}
}

func (p *mucPlanner) affiliations() {
	var up, down []Holder
	bans := false
	change := func(h Holder) {
		switch {
		case h.JID == p.want.Self:
		case p.has[h.JID] == Owner && !p.want.DropOwners: // p.owners has raised the alarm
		case h.Is == Outcast || h.Is == NoOne:
			bans = bans || h.Is == Outcast || p.has[h.JID] == Outcast
			down = append(down, h)
		default:
			p.members = true
			up = append(up, h)
		}
	}
	for _, h := range p.want.Affiliations {
		if has := p.has[h.JID]; h.Is != has && (h.Is != NoOne || has != "") {
			change(h)
		}
	}
	if p.want.Locked {
		for _, h := range p.seen.Affiliations {
			// Bans of others are theirs to end.
			if _, named := p.wants[h.JID]; !named && h.Is != NoOne && h.Is != Outcast {
				change(Holder{h.JID, NoOne, ""})
			}
		}
	}
	for chunk := range slices.Chunk(up, p.caps.Items) {
		p.plan.Steps = append(p.plan.Steps, MUCStep{Holders: chunk})
	}
	for chunk := range slices.Chunk(down, p.caps.Items) {
		n := 0
		for _, h := range chunk {
			if o := p.occupant(h.JID); o != nil && (h.Is == Outcast || boolField(p.seen.Config[FieldMembersOnly]) == "1") {
				n += p.leaves(o)
			}
		}
		p.plan.Steps = append(p.plan.Steps, MUCStep{Holders: chunk, Removes: n})
	}
	if p.members || bans && p.caps.Ejabberd {
		p.plan.Steps = append(p.plan.Steps, MUCStep{Again: true})
	}
}

// leaves counts an occupant who goes, once.
func (p *mucPlanner) leaves(o *Occupant) int {
	if p.gone[o.Nick] {
		return 0
	}
	p.gone[o.Nick] = true
	return 1
}

func (p *mucPlanner) occupant(jid string) *Occupant {
	for i := range p.seen.Occupants {
		if p.seen.Occupants[i].JID == jid {
			return &p.seen.Occupants[i]
		}
	}
	return nil
}

// roles sets roles, and removes outcasts who are in the room all the same.
func (p *mucPlanner) roles() {
	step := MUCStep{}
	add := func(o *Occupant, v Visit) {
		if v.Role == o.Role || o.JID == p.want.Self {
			return
		}
		step.Visits = append(step.Visits, v)
		if v.Role == NoRole {
			step.Removes += p.leaves(o)
		}
	}
	named := map[string]bool{}
	for _, v := range p.want.Roles {
		named[v.Nick] = true
		for i := range p.seen.Occupants {
			if o := &p.seen.Occupants[i]; o.Nick == v.Nick {
				add(o, v)
			}
		}
	}
	for i := range p.seen.Occupants {
		if o := &p.seen.Occupants[i]; o.JID != "" && p.has[o.JID] == Outcast && p.still(o.JID) && !named[o.Nick] {
			add(o, Visit{o.Nick, NoRole, "banned"})
		}
	}
	if len(step.Visits) > 0 {
		p.plan.Steps = append(p.plan.Steps, step)
	}
}

// still reports whether somebody who is an outcast shall stay one.
func (p *mucPlanner) still(jid string) bool {
	is, named := p.wants[jid]
	return !named || is == Outcast
}

// subject sets the room's subject back.
func (p *mucPlanner) subject() {
	if want, has := p.want.Subject, p.seen.Subject; want != nil && has != nil && *want != *has {
		p.plan.Steps = append(p.plan.Steps, MUCStep{Subject: want})
	}
}

// fields changes the configuration, at last: who is no member when a room turns
// members-only is thrown out at once.
func (p *mucPlanner) fields() {
	var change []Field
	closes := false
	set := func(f Field) {
		if has, known := p.seen.Config[f.Var]; known && boolField(has) == boolField(f.Value) {
			return
		} else if !known {
			p.plan.Alarms = append(p.plan.Alarms, "the room has no "+f.Var)
			return
		}
		closes = closes || f.Var == FieldMembersOnly && boolField(f.Value) == "1"
		change = append(change, f)
	}
	members := false
	for _, f := range p.want.Fields {
		members = members || f.Var == FieldMembersOnly && boolField(f.Value) == "1"
		if !p.open || f.Var != FieldModerated {
			set(f)
		}
	}
	if p.open && members { // of an open room it was taken before
		set(Field{FieldModerated, "0"})
	}
	if len(change) == 0 || closes && p.members {
		return // read the list back first
	}
	step := MUCStep{Fields: change}
	if closes {
		for i := range p.seen.Occupants {
			o := &p.seen.Occupants[i]
			if is := p.has[o.JID]; o.JID != p.want.Self && (o.JID == "" && o.Is == NoOne || o.JID != "" && (is == "" || is == NoOne)) {
				step.Removes += p.leaves(o)
			}
		}
	}
	p.plan.Steps = append(p.plan.Steps, step, MUCStep{Again: true})
}

// boolField writes a boolean of a data form one way (XEP-0004 §3.3 has two).
func boolField(s string) string {
	switch s {
	case "true":
		return "1"
	case "false":
		return "0"
	}
	return s
}
