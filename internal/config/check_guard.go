package config

import (
	"fmt"
	"slices"
	"strings"

	"drawbridge/policy"
)

// checkGuard holds rooms and rules to what can be kept: a guard that seems to
// stand and does nothing is worse than none.
func (d *decoder) checkGuard(c *Config) {
	d.checkGroups(c)
	d.checkRooms(c)
	ids := map[string]int{}
	for i := range c.Rules {
		r, path := &c.Rules[i], fmt.Sprintf("rules[%d]", i)
		if first, twice := ids[r.ID]; twice && r.ID != "" {
			d.fail(path+".id", "give it another", "%s is rules[%d] already", r.ID, first)
		}
		ids[r.ID] = i
		before := len(d.errs)
		d.checkRule(c, r, path)
		if len(d.errs) == before && !d.anyBroken(path) {
			d.checkMatch(c, r, path)
		}
	}
	for i := range c.Rooms {
		d.checkHeld(c, &c.Rooms[i])
	}
	d.checkProtected(c)
	d.checkPeers(c)
	if len(d.errs) == 0 && len(c.Rooms) > 0 {
		if _, err := policy.Compile(c.PolicySpec(nil)); err != nil {
			d.fail("rules", "", "%s", strings.ReplaceAll(err.Error(), "policy: ", ""))
		}
	}
}

func (d *decoder) checkGroups(c *Config) {
	for i := range c.Groups {
		g := &c.Groups[i]
		path := "groups." + g.Name
		switch {
		case d.anyBroken(path):
		case g.Keyring == nil:
			d.fail(path, "add keyring: {domain: DOMAIN}, or remove it: people.NAME.groups makes a group by itself", "has no keyring")
		case c.Keyring.Authority == "":
			d.fail(path+".keyring", "add keyring: {authority: FINGERPRINT}", "takes whom the company's key certified, and there is no keyring.authority")
		}
	}
}

func (d *decoder) checkRooms(c *Config) {
	held := map[string]string{}
	once := func(id, what, path string) {
		if first, twice := held[id]; twice {
			d.fail(path, "put the rules of both into one room", "%s is rooms.%s already", what, first)
			return
		}
		held[id] = strings.Split(path, ".")[1]
	}
	for i := range c.Rooms {
		r := &c.Rooms[i]
		path := "rooms." + r.Name
		if r.IRC == nil && r.XMPP == nil && !d.anyBroken(path) {
			d.fail(path, "add irc: {network: …, channel: \"#…\"} or xmpp: {account: …, room: …}", "is held by nobody: it names no channel and no Jabber room")
		}
		if x := r.IRC; x != nil && x.Network != "" && x.Channel != "" {
			if n := c.Network(x.Network); n == nil {
				d.noSuch(path+".irc.network", x.Network, "networks", names(c.Networks, networkName))
			} else if n.SASL == nil && r.Default != "allow" {
				d.warn(path+".irc", "add sasl to the network", "the bot logs in to no account on %s: once the channel is shut for strangers, somebody has to invite it after each restart", x.Network)
			}
			once(x.Network+" "+foldChannel(x.Channel), "channel "+x.Channel, path+".irc")
		}
		if x := r.XMPP; x != nil && x.Account != "" && x.Room != "" {
			if c.Account(x.Account) == nil {
				d.noSuch(path+".xmpp.account", x.Account, "accounts", names(c.Accounts, accountName))
			}
			once(x.Room, "room "+x.Room, path+".xmpp")
		}
		if r.Lock.Modes != "" && r.IRC == nil {
			d.fail(path+".lock.modes", "remove it", "means nothing without irc")
		}
		if r.Lock.RotateKey > 0 && r.IRC == nil {
			d.fail(path+".lock.rotate_key", "remove it", "means nothing without irc")
		}
		if r.Lock.Affiliations && r.XMPP == nil {
			d.fail(path+".lock.affiliations", "remove it", "means nothing without xmpp")
		}
	}
}

// checkRule looks at the names and words of one rule.
func (d *decoder) checkRule(c *Config, r *Rule, path string) {
	d.checkRefs(path+".rooms", r.Rooms, "rooms", names(c.Rooms, roomName))
	if len(c.Rooms) == 0 && !d.anyBroken("rooms") {
		d.fail(path, "add rooms: {NAME: {…}}", "no room is guarded, so it can never match")
	}
	d.checkWho(c, &r.Who, path+".who")
	for i := range r.Except {
		at := fmt.Sprintf("%s.except[%d]", path, i)
		if r.Except[i].unset() && !d.anyBroken(at) {
			d.fail(at, "name groups, people, hosts or anonymous: true", "excepts everybody, so the rule can never match")
		}
		d.checkWho(c, &r.Except[i], at)
	}
	if r.For > 0 && slices.Contains([]string{"alert", "deny", "kick"}, r.Effect) {
		d.fail(path+".for", "remove it, or effect: ban", "means how long a ban or a guest's stay lasts, and the effect is %s", r.Effect)
	}
	if r.If.Encrypted == "true" && r.If.Below == "sealed" || r.If.Encrypted == "false" && r.If.Below != "" {
		d.fail(path+".if", "keep one of them", "encrypted: %s and below: %s: it can never match, or one says it all", r.If.Encrypted, r.If.Below)
	}
}

func (d *decoder) checkWho(c *Config, w *Who, path string) {
	groups := c.groupNames()
	d.checkRefs(path+".groups", w.Groups, "people.*.groups", groups)
	d.checkRefs(path+".people", w.People, "people", names(c.People, personName))
	named := len(w.Groups)+len(w.People) > 0
	switch {
	case w.Anonymous && named:
		d.fail(path+".anonymous", "remove it, or the groups and people", "nobody is anonymous and known: it can never match")
	case w.AtLeast != "" && !named && !w.Anonymous:
		d.fail(path+".at_least", "add groups or people", "proves nobody: no groups and no people are named")
	}
}

// neverTold lists what a Jabber room never tells.
var neverTold = []struct {
	key  string
	asks func(*Rule) bool
	what string
}{
	{".if.tls", func(r *Rule) bool { return r.If.TLS != "" }, "whether clients use TLS"},
	{".if.account", func(r *Rule) bool { return r.If.Account != "" }, "services accounts"},
	{".if.certificate", func(r *Rule) bool { return r.If.Certificate != "" }, "client certificates"},
	{".who.hosts", func(r *Rule) bool { return len(r.Who.Hosts) > 0 }, "hosts"},
}

// checkMatch refuses a rule that can never match, and warns of rooms where a
// part of it never can.
func (d *decoder) checkMatch(c *Config, r *Rule, path string) {
	irc, xmpp := false, false
	for _, room := range c.roomsOf(r) {
		irc, xmpp = irc || room.IRC != nil, xmpp || room.XMPP != nil
	}
	for _, x := range neverTold {
		if !x.asks(r) {
			continue
		}
		switch {
		case !irc:
			d.fail(path+x.key, "remove it, or name a room with irc", "a Jabber room never tells %s: it can never match", x.what)
		case xmpp:
			d.warn(path+x.key, "let the Jabber server see to that", "a Jabber room never tells %s: the rule is for the IRC side alone", x.what)
		}
	}
	d.checkStanding(c, r, path)
	if len(r.If.Flood) > 0 && !slices.ContainsFunc(c.roomsOf(r), func(room *Room) bool { return room.limits(r.If.Flood) }) {
		d.fail(path+".if.flood", fmt.Sprintf("add flood: {%s: …} to one of its rooms", r.If.Flood[0]), "none of its rooms limits %s: it can never match", strings.Join(r.If.Flood, ", "))
	}
	if len(r.Who.Groups)+len(r.Who.People) > 0 {
		d.checkProof(c, r, path)
	}
}

// limits reports whether one of the floods has a limit in the room.
func (r *Room) limits(floods []string) bool {
	l := r.Limits()
	has := map[string]bool{
		"lines": l.Lines.Count > 0, "repeats": l.Repeats.Count > 0, "caps": l.Caps.Count > 0, "cycles": l.Cycles.Count > 0, "nicks": l.Nicks.Count > 0,
		"highlights": l.Highlights > 0, "clones": l.Clones > 0,
	}
	return slices.ContainsFunc(floods, func(f string) bool { return has[f] })
}

// roomsOf lists the rooms of a rule.
func (c *Config) roomsOf(r *Rule) (out []*Room) {
	for i := range c.Rooms {
		if len(r.Rooms) == 0 || slices.Contains(r.Rooms, c.Rooms[i].Name) {
			out = append(out, &c.Rooms[i])
		}
	}
	return out
}

// checkProof looks whether anybody named can prove it in any of the rooms.
func (d *decoder) checkProof(c *Config, r *Rule, path string) {
	at, _ := policy.ParseStrength(r.Who.AtLeast)
	at = max(at, policy.Account)
	if r.Who.AtLeast == "host" {
		at = policy.Host
	}
	acts := slices.ContainsFunc(r.Do, func(do string) bool { return !slices.Contains([]string{"join", "op", "voice"}, do) })
	if at == policy.Key && !acts {
		d.fail(path+".who.at_least", "at_least: account, or do: invite for who proves a key to the bot", "nobody shows a key by %s: it can never match", strings.Join(r.Do, ", "))
		return
	}
	for i := range c.People {
		p := &c.People[i]
		in := slices.Contains(r.Who.People, p.Name) || slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(r.Who.Groups, g) })
		if !in {
			continue
		}
		for _, room := range c.roomsOf(r) {
			if p.proves(at, room, acts) || c.mayLink(p, room, at) {
				return
			}
		}
	}
	if slices.ContainsFunc(r.Who.Groups, func(name string) bool { return find(c.Groups, name, groupName) != nil }) {
		return // the keyring tells
	}
	who := strings.Join(append(slices.Clone(r.Who.Groups), r.Who.People...), ", ")
	d.fail(path+".who", "add what proves them to people: irc: {NETWORK: {accounts: [NAME]}}, or jids", "nobody of %s can prove it by %s in its rooms: it can never match", who, at)
}

// mayLink reports whether a person may have an account of the room's network act as them
// one day, by !link.
func (c *Config) mayLink(p *Person, room *Room, at policy.Strength) bool {
	if room.IRC == nil || at > policy.Account || len(p.JIDs) == 0 || c.Safety.Link == "off" || c.Safety.Link != "open" && len(p.Groups) == 0 {
		return false
	}
	return slices.ContainsFunc(c.Bridges, func(b Bridge) bool {
		return b.XMPP != nil && b.Require.Encrypted() && slices.Contains(b.XMPP.People, p.Name)
	})
}

// proves reports whether a person has an identity of that strength in a room.
func (p *Person) proves(at policy.Strength, room *Room, byKey bool) bool {
	if room.XMPP != nil && at <= policy.RealJID && len(p.JIDs) > 0 || byKey && len(p.OpenPGP)+len(p.OTR) > 0 {
		return true
	}
	if room.IRC == nil {
		return false
	}
	id := find(p.IRC, room.IRC.Network, func(x *IRCIdentity) string { return x.Name })
	if id == nil {
		return false
	}
	return at <= policy.Cert && len(id.CertFPs) > 0 || at <= policy.Account && len(id.Accounts) > 0 || at <= policy.Host && len(id.Hosts) > 0
}

// checkHeld refuses a closed room that lets nobody in, and warns of one where
// nobody may speak.
func (d *decoder) checkHeld(c *Config, room *Room) {
	path := "rooms." + room.Name
	if room.Default != "deny" || d.anyBroken(path) || d.anyBroken("rules") {
		return
	}
	lets := func(do string) bool {
		return slices.ContainsFunc(c.Rules, func(r Rule) bool {
			in := len(r.Rooms) == 0 || slices.Contains(r.Rooms, room.Name)
			return in && slices.Contains(r.Do, do) && (r.Effect == "allow" || r.Effect == "quarantine")
		})
	}
	switch {
	case !lets("join"):
		d.fail(path+".default", fmt.Sprintf("add a rule: {id: …, rooms: [%s], do: [join, speak], who: {groups: […]}, effect: allow}", room.Name), "denies, and no rule lets anybody in")
	case !lets("speak"):
		d.warn(path+".default", "add speak to do of the rule that lets people in", "denies, and no rule lets anybody speak")
	}
}

func (d *decoder) checkProtected(c *Config) {
	d.checkRefs("safety.protected", c.Safety.Protected, "people", names(c.People, personName))
	for i, name := range c.Safety.Protected {
		p := c.Person(name)
		if p == nil || d.anyBroken("people."+name) {
			continue
		}
		if len(p.JIDs) == 0 && !slices.ContainsFunc(p.IRC, func(id IRCIdentity) bool { return len(id.Accounts)+len(id.CertFPs) > 0 }) {
			d.fail(fmt.Sprintf("safety.protected[%d]", i), "add accounts or certfps to people."+name, "%s can prove who they are nowhere, and a host or nick protects nobody", name)
		}
	}
}

// checkPeers holds guards to be told apart: two that both think that they act would
// fight.
func (d *decoder) checkPeers(c *Config) {
	for i := range c.Safety.Peers {
		p := &c.Safety.Peers[i]
		path := "safety.peers." + p.Name
		switch {
		case d.anyBroken(path):
			continue
		case c.Safety.ID == "":
			d.fail(path, "add safety: {id: NAME}, as the other guard lists this one", "means nothing while this guard has no id")
		case c.Safety.ID == p.Name:
			d.fail(path, "give one of them another", "is this guard's own id")
		case len(p.IRC)+len(p.JIDs) == 0:
			d.fail(path, "add irc: {NETWORK: {account: NAME}} or jids", "can be told from nobody: it has neither account nor JID")
		}
		for _, n := range p.IRC {
			if c.Network(n.Name) == nil {
				d.noSuch(path+".irc."+n.Name, n.Name, "networks", names(c.Networks, networkName))
			}
		}
	}
}

// GuardDoubts lists the rules that ask what a network never tells, once it is
// connected and that is known: as accounts, where there are no services.
func (c *Config) GuardDoubts(network string, never policy.Missing) (out []Error) {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !slices.ContainsFunc(c.roomsOf(r), func(room *Room) bool { return room.IRC != nil && room.IRC.Network == network }) {
			continue
		}
		for _, x := range []struct {
			fact policy.Missing
			asks bool
			key  string
		}{
			{policy.MissingTLS, r.If.TLS != "", ".if.tls"},
			{policy.MissingAccount, r.If.Account != "", ".if.account"},
			{policy.MissingCert, r.If.Certificate != "", ".if.certificate"},
			{policy.MissingAccount, len(r.Who.Groups)+len(r.Who.People) > 0 && (r.Who.AtLeast == "" || r.Who.AtLeast == "account"), ".who"},
		} {
			if x.asks && never&x.fact != 0 {
				out = append(out, c.Errorf(fmt.Sprintf("rules[%d]%s", i, x.key), "ask for what it tells: certificates or hosts, or leave its channel out", "network %s never tells of anybody's %s", network, x.fact))
			}
		}
	}
	return out
}
