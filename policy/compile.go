package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRules is how many rules may speak of one action in one room: a decision
// carries the trace of each, without allocating.
const MaxRules = 64

// Policy is a compiled Spec. It is never changed: a new config, key or link makes
// a new one.
type Policy struct {
	rules []rule
	rooms map[string]*room
	who   map[ident]groupSet
	names map[ident]string     // identity → person, for explain
	can   map[source]groupSet  // what an unknown identity could turn out to be
	hosts map[string][]hostSet // by leg
	group map[string]int       // group → its place in a groupSet; "@name" is a person
	label []string             // and back
}

type (
	// ident is one proven identity; leg is "" for JIDs and keys.
	ident struct {
		kind       Strength
		leg, value string
	}
	source struct {
		kind Strength
		leg  string
	}
	hostSet struct {
		mask, person string
		set          groupSet
	}
	room struct {
		Room
		rules    [doCount][]uint16 // of the action, in the order of the file
		governed uint16            // actions that a rule allows to somebody
	}
)

// Compile checks spec and makes a policy of it. The error joins everything wrong.
func Compile(spec Spec) (*Policy, error) {
	p := &Policy{
		rooms: map[string]*room{}, who: map[ident]groupSet{}, names: map[ident]string{}, can: map[source]groupSet{},
		hosts: map[string][]hostSet{}, group: map[string]int{}, label: []string{"somebody", "protected"},
	}
	var errs []error
	for _, r := range spec.Rooms {
		if r.Default != Allow && r.Default != Quarantine && r.Default != Deny {
			errs = append(errs, fmt.Errorf("policy: room %s: default %s is not allow, quarantine or deny", r.Name, r.Default))
		}
		p.rooms[r.Name] = &room{Room: r}
	}
	for i := range spec.Rules {
		if err := p.addRule(&spec.Rules[i]); err != nil {
			errs = append(errs, fmt.Errorf("policy: rule %s: %w", spec.Rules[i].ID, err))
		}
	}
	if len(p.label) > maxGroups {
		errs = append(errs, fmt.Errorf("policy: rules name %d groups and people, and %d is the most", len(p.label)-2, maxGroups-2))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, person := range spec.People {
		p.addPerson(person, &spec)
	}
	for _, b := range spec.Binds {
		var set groupSet
		if b.Person == "" {
			set.add(protected)
		} else if i := slices.IndexFunc(spec.People, func(x *Person) bool { return x.Name == b.Person }); i >= 0 {
			set = p.setOf(spec.People[i], &spec)
		}
		p.bind(ident{b.Kind, b.Leg, b.Value}, b.Person, set)
	}
	return p, nil
}

func (p *Policy) addRule(r *Rule) error {
	if r.ID == "" || len(r.Do) == 0 {
		return errors.New("needs an id and something to do")
	}
	if slices.ContainsFunc(p.rules, func(x rule) bool { return x.ID == r.ID }) {
		return errors.New("there are two of this id")
	}
	words := *r
	c := rule{Rule: &words, Effect: r.Effect, For: r.For, If: compileIf(r.If), who: p.clause(&r.Who), all: r.Who.unset()}
	for i := range r.Except {
		if r.Except[i].unset() {
			return errors.New("excepts everybody, so it can never match")
		}
		c.except = append(c.except, p.clause(&r.Except[i]))
	}
	n := uint16(len(p.rules))
	p.rules = append(p.rules, c)
	rooms := r.Rooms
	if len(rooms) == 0 {
		for name := range p.rooms {
			rooms = append(rooms, name)
		}
	}
	for _, name := range rooms {
		room := p.rooms[name]
		if room == nil {
			return fmt.Errorf("there is no room %s", name)
		}
		for _, do := range r.Do {
			if slices.Contains(room.rules[do], n) {
				continue
			}
			if room.rules[do] = append(room.rules[do], n); len(room.rules[do]) > MaxRules {
				return fmt.Errorf("more than %d rules speak of %s in room %s", MaxRules, do, name)
			}
			if r.Effect == Allow {
				room.governed |= 1 << do & governs
			}
		}
	}
	return nil
}

func (p *Policy) clause(w *Who) clause {
	c := clause{named: len(w.Groups)+len(w.People) > 0, at: w.AtLeast, anonymous: w.Anonymous}
	if c.at == Nick { // a nick is nobody
		c.at = Account
	}
	for _, g := range w.Groups {
		c.want.add(p.place(g))
	}
	for _, name := range w.People {
		c.want.add(p.place("@" + name))
	}
	for _, mask := range w.Hosts {
		c.hosts = append(c.hosts, FoldMask(mask))
	}
	return c
}

// place returns where a group stands in a set. More than fit share the last
// place, and Compile refuses them.
func (p *Policy) place(name string) int {
	i, ok := p.group[name]
	if !ok {
		i = len(p.label)
		p.group[name], p.label = i, append(p.label, name)
	}
	return min(i, maxGroups-1)
}

func (p *Policy) addPerson(x *Person, spec *Spec) {
	set := p.setOf(x, spec)
	for _, j := range x.JIDs {
		p.bind(ident{RealJID, "", j}, x.Name, set)
	}
	for _, fpr := range slices.Concat(x.OpenPGP, x.OTR) {
		p.bind(ident{Key, "", fpr}, x.Name, set)
	}
	for leg, id := range x.IRC {
		for _, a := range id.Accounts {
			p.bind(ident{Account, leg, a}, x.Name, set)
		}
		for _, c := range id.CertFPs {
			p.bind(ident{Cert, leg, c}, x.Name, set)
		}
		for _, mask := range id.Hosts {
			weak := set // a host protects nobody
			weak[0] &^= 1 << protected
			p.hosts[leg] = append(p.hosts[leg], hostSet{FoldMask(mask), x.Name, weak})
		}
	}
}

// setOf returns the groups of a person that rules speak of.
func (p *Policy) setOf(x *Person, spec *Spec) groupSet {
	var set groupSet
	if slices.Contains(spec.Protected, x.Name) {
		set.add(protected)
	}
	if x.Gone {
		return set
	}
	set.add(somebody)
	in := func(name string) {
		if i, ok := p.group[name]; ok {
			set.add(i)
		}
	}
	in("@" + x.Name)
	for _, g := range x.Groups {
		in(g)
	}
	for _, g := range spec.Groups {
		for _, addr := range x.Certified {
			if _, domain, ok := strings.Cut(addr, "@"); ok && g.Domain != "" && strings.EqualFold(domain, g.Domain) {
				in(g.Name)
			}
		}
	}
	return set
}

func (p *Policy) bind(id ident, person string, set groupSet) {
	if id.kind == RealJID || id.kind == Key {
		id.leg = ""
	}
	if id.kind == Account {
		id.value = FoldAccount(id.value)
	}
	have := p.who[id]
	have.or(set)
	p.who[id] = have
	if p.names[id] == "" {
		p.names[id] = person
	}
	at := source{id.kind, id.leg}
	can := p.can[at]
	can.or(set)
	p.can[at] = can
}
