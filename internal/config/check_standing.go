package config

import (
	"slices"
	"strings"

	"drawbridge/policy"
)

// This file looks at rules that ask what somebody is in a Jabber room, or how far their
// encrypted sessions with the bot reach.

// anyOf reports whether one of the words is in list.
func anyOf(list []string, words ...string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(words, s) })
}

// checkStanding refuses what can never match, or would undo itself, and warns of rooms in
// which it never does.
func (d *decoder) checkStanding(c *Config, r *Rule, path string) {
	for _, x := range []struct {
		key   string
		words []string
	}{{"affiliation", r.If.Affiliation}, {"role", r.If.Role}} {
		if len(x.words) == 0 {
			continue
		}
		at := path + ".if." + x.key
		both := slices.ContainsFunc(c.roomsOf(r), func(room *Room) bool { return room.IRC != nil && room.XMPP != nil })
		switch {
		case !anyOf(r.Do, "join", "speak", "op", "voice", "relay-in", "relay-out"):
			d.fail(at, "remove it", "%s is done in people's own chats, where there is no %s: it can never match", strings.Join(r.Do, ", "), x.key)
		case d.checkOnXMPP(c, r, at, "there is no "+x.key+" on IRC"):
		case !both && !anyOf(r.Do, "join", "speak", "op", "voice", "relay-in"):
			d.fail(at, "do: relay-in, which is asked where they are", "who is relayed out into a Jabber room speaks elsewhere, and has no %s there: it can never match", x.key)
		}
	}
	if slices.Contains(r.If.Affiliation, "outcast") {
		d.fail(path+".if.affiliation", "remove it: a ban holds by itself", "an outcast is not in the room")
	}
	d.checkRole(r, path+".if.role")
	if i := slices.IndexFunc(c.roomsOf(r), func(room *Room) bool { return room.XMPP != nil && room.Lock.Affiliations }); i >= 0 && len(r.If.Affiliation) > 0 && r.Effect == "allow" && !slices.Contains(r.If.Affiliation, "none") {
		d.warn(path+".if.affiliation", "name people or groups, or leave out lock.affiliations", "rooms.%s.lock takes the affiliation from whom no rule names: this one is for nobody else", c.roomsOf(r)[i].Name)
	}
	if r.If.Encrypted != "" || r.If.Below != "" {
		d.checkSessions(c, r, path+".if")
	}
}

// checkOnXMPP refuses a condition on what only Jabber has where no room has that side,
// and warns of those without. It reports whether it refused.
func (d *decoder) checkOnXMPP(c *Config, r *Rule, at, what string) bool {
	var without []string
	rooms := c.roomsOf(r)
	for _, room := range rooms {
		if room.XMPP == nil {
			without = append(without, room.Name)
		}
	}
	if len(without) == 0 {
		return false
	}
	if len(without) == len(rooms) {
		d.fail(at, "remove it, or name a room with xmpp", "%s: it can never match", what)
		return true
	}
	d.warn(at, "name the rooms that it is for", "%s: in %s it never matches", what, strings.Join(without, ", "))
	return false
}

// checkRole refuses a rule that takes the role by which it matches.
func (d *decoder) checkRole(r *Rule, at string) {
	has := func(role string) bool { return slices.Contains(r.If.Role, role) }
	silences := anyOf(r.Do, "join", "speak") && (r.Effect == "devoice" || r.Effect == "quarantine") || slices.Contains(r.Do, "speak") && r.Effect == "deny"
	switch {
	case len(r.If.Role) == 0:
	case silences && !has("visitor"):
		d.fail(at, "ask for the affiliation, or for visitor, too", "who is silenced becomes a visitor, and it matches no more: they would be silenced and heard in turn for ever")
	case slices.Contains(r.Do, "op") && r.Effect == "allow" && !has("moderator"):
		d.fail(at, "ask for the affiliation, or for moderator, too", "who is given op becomes a moderator, and it matches no more: op would come and go for ever")
	}
}

// checkSessions looks at rules about the sessions of who is in a room, rather than about
// a line.
func (d *decoder) checkSessions(c *Config, r *Rule, at string) {
	lines := anyOf(r.Do, "relay-in", "relay-out", "invite", "command")
	if !anyOf(r.Do, "join", "speak", "op", "voice") {
		return
	}
	if !lines && d.checkOnXMPP(c, r, at, "nobody on IRC has an encrypted session with the bot") {
		return
	}
	talks := slices.ContainsFunc(c.Bridges, func(b Bridge) bool { return b.XMPP != nil && len(b.XMPP.People) > 0 })
	inMUC := slices.ContainsFunc(c.roomsOf(r), func(room *Room) bool { return room.XMPP != nil })
	if inMUC && !talks {
		d.warn(at, "add xmpp: {people: […]} to a bridge", "no bridge has people who write to the bot, so nobody who joins or speaks has an encrypted session with it")
	}
}

// affiliations, roles: the words as policy has them.
func (f *If) affiliations() (out policy.AffiliationSet) {
	for _, word := range f.Affiliation {
		a, _ := policy.ParseAffiliation(word)
		out |= a
	}
	return out
}

func (f *If) roles() (out policy.RoleSet) {
	for _, word := range f.Role {
		r, _ := policy.ParseRole(word)
		out |= r
	}
	return out
}
