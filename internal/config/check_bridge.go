package config

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"drawbridge/policy"
)

// checkBridges holds what design and threat model say of bridges: floors that
// can be met, clear places owned up to, and one bridge for each contact of an
// account, because a one-to-one line carries no room name.
func (d *decoder) checkBridges(c *Config) {
	taken := map[[2]string]string{} // account, person → bridge
	rooms := map[string]string{}    // room → bridge
	owners := map[string]string{}   // JID → person
	for i := range c.People {
		for _, j := range c.People[i].JIDs {
			owners[j] = c.People[i].Name
		}
	}
	for i := range c.Bridges {
		b := &c.Bridges[i]
		path := "bridges." + b.Name
		d.checkSize(b, path)
		d.checkChannels(c, b, path, rooms)
		if b.XMPP == nil {
			continue
		}
		x := path + ".xmpp"
		if b.XMPP.Account != "" && c.Account(b.XMPP.Account) == nil {
			d.noSuch(x+".account", b.XMPP.Account, "accounts", names(c.Accounts, accountName))
		}
		d.checkRefs(x+".people", b.XMPP.People, "people", names(c.People, personName))
		d.checkOneBridge(b, x, taken)
		d.checkMUCs(b, x, owners, rooms)
		d.checkFloor(c, b, path)
	}
}

func (d *decoder) checkSize(b *Bridge, path string) {
	n := len(b.IRC)
	if b.XMPP != nil {
		n += len(b.XMPP.People) + len(b.XMPP.Rooms)
		if len(b.XMPP.People)+len(b.XMPP.Rooms) == 0 && !d.anyBroken(path+".xmpp") {
			d.fail(path+".xmpp", "add people: [NAME] or rooms: [{room: ROOM@SERVICE}]", "has neither people nor rooms")
			return
		}
	}
	switch {
	case d.anyBroken(path):
	case n == 0:
		d.fail(path, "add irc: [{network: …, channel: \"#…\"}] and xmpp: {account: …, people: […]}", "joins nothing: it is empty")
	case n == 1:
		d.fail(path, "add the other side", "joins one room to nothing")
	}
}

func (d *decoder) checkChannels(c *Config, b *Bridge, path string, rooms map[string]string) {
	for i, ch := range b.IRC {
		at := fmt.Sprintf("%s.irc[%d]", path, i)
		n := c.Network(ch.Network)
		if n == nil {
			if ch.Network != "" {
				d.noSuch(at+".network", ch.Network, "networks", names(c.Networks, networkName))
			}
			continue
		}
		if n.TLS == TLSOff && b.XMPP != nil && b.Require.Encrypted() && ch.Require != "clear" {
			d.fail(at, "remove tls: off, or own up to it: {…, require: clear}",
				"network %s has tls: off, and the bridge requires in: %s, out: %s", n.Name, b.Require.In, b.Require.Out)
		}
		if ch.Channel != "" {
			d.sameRoom(at, b, n.Name+" "+foldChannel(ch.Channel), "channel "+ch.Channel, rooms)
		}
	}
}

// foldChannel compares channels offline, where the server's casemapping is not
// known, by the widest that is in use (RFC 1459).
func foldChannel(s string) string {
	return strings.NewReplacer("[", "{", "]", "}", "\\", "|", "~", "^").Replace(strings.ToLower(s))
}

// sameRoom refuses a room twice in one bridge, and warns of one in two.
func (d *decoder) sameRoom(at string, b *Bridge, id, what string, rooms map[string]string) {
	switch first, twice := rooms[id]; {
	case !twice:
		rooms[id] = b.Name
	case first == b.Name:
		d.fail(at, "remove one", "%s stands twice in this bridge", what)
	default:
		d.warn(at, "put all of them into one bridge if everybody shall hear everybody", "%s is in bridge %s too: its lines go to both, other lines stay in their bridge", what, first)
	}
}

func (d *decoder) checkOneBridge(b *Bridge, path string, taken map[[2]string]string) {
	for i, p := range b.XMPP.People {
		pair := [2]string{b.XMPP.Account, p}
		if first, ok := taken[pair]; ok && first != b.Name {
			d.fail(fmt.Sprintf("%s.people[%d]", path, i), "give bridge "+b.Name+" its own account",
				"%s already meets bridge %s through account %s, and a one-to-one line does not say which bridge it is for", p, first, b.XMPP.Account)
			continue
		}
		taken[pair] = b.Name
	}
}

func (d *decoder) checkMUCs(b *Bridge, path string, owners, rooms map[string]string) {
	for i, r := range b.XMPP.Rooms {
		at := fmt.Sprintf("%s.rooms[%d]", path, i)
		if r.Room == "" {
			continue
		}
		if p, ok := owners[r.Room]; ok {
			d.fail(at+".room", fmt.Sprintf("write people: [%s]", p), "%s is a person, not a room", r.Room)
		}
		if b.Require.Encrypted() && r.Require != "clear" {
			d.fail(at, fmt.Sprintf("own up to it: {room: %s, require: clear}, or put its members into people", r.Room),
				"a room speaks in clear, and the bridge requires in: %s, out: %s", b.Require.In, b.Require.Out)
		}
		d.sameRoom(at, b, b.XMPP.Account+" "+r.Room, "room "+r.Room, rooms)
	}
}

// checkFloor finds people who can never meet the floor.
func (d *decoder) checkFloor(c *Config, b *Bridge, path string) {
	if len(b.Schemes) == 0 && b.Require.Encrypted() && len(b.XMPP.People) > 0 {
		d.fail(path+".schemes", "remove it, or write schemes: [openpgp]", "is empty, so nothing can reach in: %s, out: %s", b.Require.In, b.Require.Out)
	}
	if b.Trust == "tofu" && b.Require.Out > policy.Signed {
		d.fail(path+".trust", fmt.Sprintf("require: {in: %s, out: signed}, or trust: pinned", min(b.Require.In, policy.Signed)),
			"a key that was only seen first reaches signed, and the bridge requires out: %s", b.Require.Out)
	}
	var unsigned []string
	seen := map[string]bool{}
	needOpenPGP := false
	for i, name := range b.XMPP.People {
		p := c.Person(name)
		at := fmt.Sprintf("%s.xmpp.people[%d]", path, i)
		if seen[name] {
			continue
		}
		seen[name] = true
		if p == nil || d.anyBroken("people."+name) {
			continue
		}
		if len(p.JIDs) == 0 {
			d.fail(at, "add jids: [USER@DOMAIN] to people."+name, "%s has no JID", name)
		}
		if !b.Require.Encrypted() || len(b.Schemes) == 0 {
			continue
		}
		switch by := reachedBy(c, b, p); {
		case len(by) == 0:
			d.fail(at, fmt.Sprintf("add %s", missingKey(b, p)),
				"%s has no key, so nothing can reach in: %s, out: %s", name, b.Require.In, b.Require.Out)
		case b.Require.In > policy.Sealed && len(by) == 1 && by[0] == "openpgp":
			unsigned = append(unsigned, name)
			needOpenPGP = true
		case !slices.Contains(by, "otr"):
			needOpenPGP = true
		}
	}
	if len(unsigned) > 0 {
		d.fail(path+".require", fmt.Sprintf("schemes: [ox], where their clients have it, or require: {in: sealed, out: %s}", b.Require.Out),
			"%s can never reach in: %s: profanity, mcabber, Psi, Gajim and Dino do not sign XEP-0027 messages", strings.Join(unsigned, ", "), b.Require.In)
	}
	a := c.Account(b.XMPP.Account)
	if a == nil || !b.Require.Encrypted() || len(b.XMPP.People) == 0 {
		return
	}
	if needOpenPGP && a.OpenPGP == nil && !d.anyBroken("accounts."+a.Name) {
		d.fail("accounts."+a.Name, "drawbridge keys generate makes one; then add openpgp: {key_file: FILE}",
			"has no openpgp key, and bridge %s requires in: %s, out: %s", b.Name, b.Require.In, b.Require.Out)
	}
	if a.TLS == TLSOff && !loopback(a.Server) {
		d.fail("accounts."+a.Name+".tls", "remove tls: off; ca_file or pin_sha256 make a private certificate trusted",
			"off lets anybody on the way write as anybody, and bridge %s requires in: %s, out: %s", b.Name, b.Require.In, b.Require.Out)
	}
}

// reachedBy returns the schemes of a bridge by which a person may be reached, now
// or once a key of theirs is certified, seen or accepted. A key that is listed in
// one scheme rules out those in which there is none.
func reachedBy(c *Config, b *Bridge, p *Person) []string {
	open := len(p.OpenPGP) == 0 && len(p.OTR) == 0
	var out []string
	for _, s := range b.Schemes {
		ok := false
		switch s {
		case "openpgp":
			ok = len(p.OpenPGP) > 0 || open && (c.Keyring.Authority != "" || b.Trust == "tofu")
		case "ox":
			ok = len(p.OpenPGP) > 0 || open
		case "otr":
			ok = len(p.OTR) > 0 || open
		}
		if ok {
			out = append(out, s)
		}
	}
	return out
}

// missingKey says which key of a person would do.
func missingKey(b *Bridge, p *Person) string {
	if slices.Contains(b.Schemes, "otr") && !slices.ContainsFunc(b.Schemes, func(s string) bool { return s != "otr" }) {
		return fmt.Sprintf("otr: [FINGERPRINT] to people.%s; their client shows it", p.Name)
	}
	return fmt.Sprintf("openpgp: [FINGERPRINT] to people.%s; gpg --fingerprint ADDRESS shows it", p.Name)
}

// loopback reports whether an address is on this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
