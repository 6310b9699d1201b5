package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// check looks at how values fit together. Values that were already called wrong
// are left alone, so that one mistake gives one error.
func (d *decoder) check(c *Config) {
	if len(c.Bridges)+len(c.Rooms) == 0 && !d.broken["bridges"] && !d.broken["rooms"] && len(d.errs) == 0 {
		d.fail("bridges", "add one: bridges: {dev: {irc: […], xmpp: {…}}}, or rooms: for a bot that guards alone", "there is none")
	}
	d.checkNetworks(c)
	d.checkAccounts(c)
	d.checkPeople(c)
	d.checkBridges(c)
	d.checkGuard(c)
	d.checkMigration(c)
	d.checkUse(c)
	d.checkStore(&c.Store)
	d.checkRefs("admin.people", c.Admin.People, "people", names(c.People, personName))
}

func (d *decoder) checkStore(s *Store) {
	if s.Memory {
		for _, key := range []string{"path", "key", "passphrase", "retain"} {
			if _, there := d.pos["store."+key]; there {
				d.fail("store."+key, "remove it, or remove memory: true", "means nothing with memory: true")
			}
		}
		return
	}
	switch {
	case s.Key.Set() && s.Passphrase.Set():
		d.fail("store.passphrase", "keep one of them", "stands beside store.key")
	case s.Key.Set() && len(strings.TrimSpace(s.Key.value)) < MinStoreKey:
		d.fail("store.key", "make one: (umask 077; head -c 32 /dev/urandom | base64 > FILE), or use passphrase",
			"is shorter than %d bytes", MinStoreKey)
	}
}

func (d *decoder) checkNetworks(c *Config) {
	identity := map[string]string{}
	for i := range c.Networks {
		n := &c.Networks[i]
		path := "networks." + n.Name
		if n.TLS == TLSOff {
			d.noTLSKeys(path, n.CAFile, n.PinSHA256)
		} else {
			d.plainPort(path, n.Server, "6667", "6697")
		}
		d.checkSASL(n, path+".sasl")
		if n.Nick == "" || len(n.Server) == 0 {
			continue
		}
		who := strings.ToLower(n.Nick + " on " + n.Server[0])
		if other, ok := identity[who]; ok {
			d.fail(path, "give one of them another nick, or put the channels of both into one network",
				"is %s, and so is networks.%s: they would throw each other off", who, other)
		}
		identity[who] = n.Name
	}
}

// noTLSKeys tells of keys that mean nothing without TLS.
func (d *decoder) noTLSKeys(path, ca string, pins []string) {
	if ca != "" {
		d.fail(path+".ca_file", "remove it, or remove tls: off", "means nothing with tls: off")
	}
	if len(pins) > 0 {
		d.fail(path+".pin_sha256", "remove it, or remove tls: off", "means nothing with tls: off")
	}
}

// plainPort warns of a port where servers usually do not speak the TLS asked for.
func (d *decoder) plainPort(path string, servers []string, usual, better string) {
	for i, s := range servers {
		if _, port, err := net.SplitHostPort(s); err == nil && port == usual {
			at := fmt.Sprintf("%s.server[%d]", path, i)
			d.warn(at, "most servers want port "+better+" for this", "port %s usually does not speak the TLS that this wants", usual)
		}
	}
}

func (d *decoder) checkSASL(n *Network, path string) {
	s := n.SASL
	if s == nil || d.anyBroken(path) {
		return
	}
	switch {
	case s.Mechanism == "external" && s.CertFile == "":
		d.fail(path, "add cert_file: FILE", "external logs in by a client certificate, and there is none")
	case s.Mechanism == "external" && s.Password.Set():
		d.fail(path+".password", "remove it, or set mechanism: plain", "external uses no password")
	case s.Mechanism != "external" && !s.Password.Set():
		d.fail(path, "add password_file: FILE", "%s needs a password", s.Mechanism)
	case s.Mechanism == "plain" && n.TLS == TLSOff:
		d.fail(path+".mechanism", "remove tls: off, or use scram-sha-256", "plain would send the password readable to all: it is refused with tls: off")
	case s.CertFile != "" && n.TLS == TLSOff:
		d.fail(path+".cert_file", "remove tls: off", "a client certificate needs TLS")
	}
}

func (d *decoder) checkAccounts(c *Config) {
	seen := map[string]string{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		path := "accounts." + a.Name
		if c.Network(a.Name) != nil {
			d.fail(path, "rename one of them: a room is told by the name of its leg", "has the name of networks.%s", a.Name)
		}
		switch a.TLS {
		case TLSOff:
			d.noTLSKeys(path, a.CAFile, a.PinSHA256)
			if a.AllowPlain {
				d.fail(path+".allow_plain", "remove it, or remove tls: off", "would send the password readable to all: it is refused with tls: off")
			}
		case TLSDirect:
			d.serverPort(path, a.Server, "5222", "5223, or tls: starttls,")
		default:
			d.serverPort(path, a.Server, "5223", "5222, or tls: direct,")
		}
		if a.JID == "" {
			continue
		}
		bare, _, _ := strings.Cut(a.JID, "/")
		if other, ok := seen[bare]; ok {
			d.fail(path+".jid", "one account serves many bridges; use accounts."+other, "%s is accounts.%s already", bare, other)
		}
		seen[bare] = a.Name
	}
}

func (d *decoder) serverPort(path, server, usual, better string) {
	if _, port, err := net.SplitHostPort(server); err == nil && port == usual {
		d.warn(path+".server", "most servers want port "+better+" for this", "port %s usually does not speak the TLS that this wants", usual)
	}
}

func (d *decoder) checkPeople(c *Config) {
	bots := map[string]string{}
	for i := range c.Accounts {
		bare, _, _ := strings.Cut(c.Accounts[i].JID, "/")
		bots[bare] = c.Accounts[i].Name
	}
	networks := names(c.Networks, networkName)
	owner := map[string]string{} // identity → key path
	once := func(kind, value, path string) {
		if value == "" {
			return
		}
		id := kind + " " + value
		if first, twice := owner[id]; twice {
			d.fail(path, "it belongs to one person; remove it from the other", "%s %s stands at %s already", kind, value, first)
			return
		}
		owner[id] = path
	}
	for i := range c.People {
		p := &c.People[i]
		path := "people." + p.Name
		if len(p.JIDs) == 0 && len(p.IRC) == 0 && !d.anyBroken(path) {
			d.fail(path, "add jids: [USER@DOMAIN]", "has no JID")
		}
		for j, x := range p.JIDs {
			at := fmt.Sprintf("%s.jids[%d]", path, j)
			if bot, ok := bots[x]; ok && x != "" {
				d.fail(at, "write the person's own JID", "%s is the bot itself (accounts.%s)", x, bot)
			}
			once("JID", x, at)
		}
		for j, x := range p.OpenPGP {
			once("fingerprint", x, fmt.Sprintf("%s.openpgp[%d]", path, j))
		}
		for j, x := range p.OTR {
			once("OTR fingerprint", x, fmt.Sprintf("%s.otr[%d]", path, j))
		}
		for _, id := range p.IRC {
			at := path + ".irc." + id.Name
			if !slices.Contains(networks, id.Name) {
				d.noSuch(at, id.Name, "networks", networks)
			}
			for j, x := range id.Accounts {
				once("IRC account", strings.ToLower(x)+" on "+id.Name, fmt.Sprintf("%s.accounts[%d]", at, j))
			}
			for j, x := range id.CertFPs {
				once("certificate", x, fmt.Sprintf("%s.certfps[%d]", at, j))
			}
		}
	}
}

// noSuch tells of a name that stands nowhere, and of the one that was meant.
func (d *decoder) noSuch(path, name, block string, known []string) {
	if d.anyBroken(block + "." + name) {
		return // it is there, and wrong
	}
	fix := fmt.Sprintf("add it below %s", block)
	if near, ok := nearest(name, known); ok {
		fix = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 && len(known) <= 8 {
		fix += "; there are " + strings.Join(known, ", ")
	}
	d.fail(path, fix, "%s has no %s", block, quote(name))
}

// checkRefs looks up a list of names.
func (d *decoder) checkRefs(path string, list []string, block string, known []string) {
	seen := map[string]bool{}
	for i, name := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case name == "": // already told
		case !slices.Contains(known, name):
			d.noSuch(at, name, block, known)
		case seen[name]:
			d.fail(at, "remove one", "%s stands twice in this list", name)
		}
		seen[name] = true
	}
}

// checkUse warns of what stands in the file and is used nowhere.
func (d *decoder) checkUse(c *Config) {
	used := map[string]bool{}
	reach := map[string]bool{}
	for i := range c.Bridges {
		b := &c.Bridges[i]
		for _, ch := range b.IRC {
			used["networks."+ch.Network] = true
		}
		if b.XMPP != nil {
			used["accounts."+b.XMPP.Account] = true
			for _, p := range b.XMPP.People {
				reach[p] = true
			}
		}
	}
	for i := range c.Rooms {
		if x := c.Rooms[i].IRC; x != nil {
			used["networks."+x.Network] = true
		}
		if x := c.Rooms[i].XMPP; x != nil {
			used["accounts."+x.Account] = true
		}
	}
	for _, n := range names(c.Networks, networkName) {
		if !used["networks."+n] {
			d.warn("networks."+n, "remove it, or add a channel of it to a bridge or to rooms", "no bridge uses it")
		}
	}
	for _, n := range names(c.Accounts, accountName) {
		if !used["accounts."+n] {
			d.warn("accounts."+n, "remove it, or use it in a bridge or in rooms", "no bridge uses it")
		}
	}
	for i, p := range c.Admin.People {
		if !reach[p] && c.Person(p) != nil {
			d.warn(fmt.Sprintf("admin.people[%d]", i), "add them to a bridge", "%s is in no bridge, so the bot cannot tell them anything", p)
		}
	}
}

func names[T any](list []T, nameOf func(*T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = nameOf(&list[i])
	}
	return out
}
