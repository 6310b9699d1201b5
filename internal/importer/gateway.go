package importer

import (
	"fmt"
	"strings"

	"drawbridge/internal/config"
)

// place is one end of a gateway.
type place struct {
	s       *section
	id      string // account, as it is written
	channel string
	key     string
	line    int
	in, out bool
}

// gateways makes bridges of the gateways.
func (m *matterbridge) gateways(root *table) {
	n := 0
	for _, block := range []string{"gateway", "samechannelgateway"} {
		i := root.get(block)
		if i == nil {
			continue
		}
		list, ok := i.val.([]*table)
		if !ok {
			m.fail(i.line, i.key, fmt.Sprintf("write [[%s]], in two brackets", block), "must be a list of tables, but is %s", kind(i.val))
			continue
		}
		for _, t := range list {
			n++
			g := &section{m: m, id: fmt.Sprintf("%s[%d]", block, n-1), kind: block, t: t}
			if name := g.text("name"); name != "" {
				g.name = name
				g.id = block + " " + quote(name)
			}
			m.note(g, gatewayKeys)
			switch {
			case !g.yes("enable"):
				m.left(t.line, g.id, "enable = true", "is switched off")
			case block == "gateway":
				m.bridge(g, m.ends(g), g.name)
			default:
				m.sameChannel(g)
			}
		}
	}
	if n == 0 {
		m.fail(0, "", "add [[gateway]]", "has no gateway: nothing is joined")
	}
}

// sameChannel makes one bridge for each channel of a samechannelgateway.
func (m *matterbridge) sameChannel(g *section) {
	accounts := m.list(g, "accounts")
	for _, ch := range m.list(g, "channels") {
		var places []place
		for _, a := range accounts {
			places = append(places, place{id: a, channel: ch, line: g.line("channels"), in: true, out: true})
		}
		m.bridge(g, places, strings.TrimLeft(ch, "#&+!"))
	}
}

// list returns a list of texts.
func (m *matterbridge) list(s *section, key string) []string {
	i := s.t.get(key)
	if i == nil {
		m.fail(s.t.line, s.id, "add "+key+" = [\"…\"]", "has no %s", key)
		return nil
	}
	list, ok := i.val.([]any)
	if !ok {
		m.fail(i.line, s.id+"."+key, "write "+key+" = [\"…\"]", "must be a list, but is %s", kind(i.val))
		return nil
	}
	var out []string
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			m.fail(i.line, s.id+"."+key, "put the values in quotes", "must be a list of texts, but holds %s", kind(v))
			return nil
		}
		out = append(out, text)
	}
	return out
}

// ends returns the ends of a gateway. What is both in in and in out is one.
func (m *matterbridge) ends(g *section) []place {
	var out []place
	for _, dir := range []string{"inout", "in", "out"} {
		i := g.t.get(dir)
		if i == nil || empty(i.val) {
			continue
		}
		list, ok := i.val.([]*table)
		if !ok {
			m.fail(i.line, g.id+"."+dir, fmt.Sprintf("write [[gateway.%s]], in two brackets", dir), "must be a list of tables, but is %s", kind(i.val))
			continue
		}
		for _, t := range list {
			e := &section{m: m, id: g.id + "." + dir, t: t}
			p := place{id: e.need("account", "irc.NAME"), channel: e.need("channel", "#dev"), line: t.line, in: dir != "out", out: dir != "in"}
			if o := t.get("options"); o != nil {
				if ot, ok := o.val.(*table); ok {
					p.key = (&section{m: m, id: e.id + ".options", t: ot}).text("key")
				}
			}
			merged := false
			for j := range out {
				if strings.EqualFold(out[j].id, p.id) && out[j].channel == p.channel {
					out[j].in, out[j].out = out[j].in || p.in, out[j].out || p.out
					merged = true
				}
			}
			if !merged {
				out = append(out, p)
			}
		}
	}
	return out
}

// usable returns the places that can be carried, and says why others cannot.
func (m *matterbridge) usable(g *section, places []place) []place {
	var out []place
	for _, p := range places {
		protocol, name, dotted := strings.Cut(p.id, ".")
		s := m.sections[strings.ToLower(p.id)]
		switch {
		case p.id == "":
		case !dotted || name == "":
			m.fail(p.line, g.id, `as in account = "irc.libera"`, "account %s has no protocol", quote(p.id))
		case s == nil:
			m.fail(p.line, g.id, fmt.Sprintf("add [%s]", p.id), "there is no account %s", quote(p.id))
		case s.kind != "irc" && s.kind != "xmpp":
			m.left(p.line, g.id, "", "%s of %s: %s is not spoken", quote(p.channel), quote(p.id), strings.ToLower(protocol))
		case p.in != p.out && !m.opt.BothWays:
			m.left(p.line, g.id, "--both-ways carries it as one that reads and writes",
				"%s of %s is relayed one way, and a bridge of ours relays both ways", quote(p.channel), quote(p.id))
		default:
			if p.in != p.out {
				m.changed(p.line, g.id, "", "%s of %s was relayed one way, and is relayed both ways now", quote(p.channel), quote(p.id))
			}
			p.s = s
			out = append(out, p)
		}
	}
	return out
}

// bridge makes one bridge.
func (m *matterbridge) bridge(g *section, all []place, called string) {
	places := m.usable(g, all)
	if len(m.errs) > 0 {
		return
	}
	if len(places) < 2 {
		m.left(g.t.line, g.id, "", "%s of it can be carried, and a bridge joins two", map[int]string{0: "no room", 1: "only one room"}[len(places)])
		return
	}
	name := config.Name(called, "bridge", m.doc.Bridges.has)
	b := &bridge{Require: "clear"}
	path := "bridges." + name
	m.from(path, g.t.line)
	var shown show
	joins, silent := false, false
	for _, p := range places {
		p.s.used = true
		joins = joins || p.s.yes("ShowJoinPart")
		silent = silent || p.s.yes("NoSendJoinPart")
		if p.s.kind == "irc" {
			m.addChannel(b, p, path)
			m.format(&shown.IRC, p.s)
		} else {
			m.addRoom(b, p, path)
			m.format(&shown.XMPP, p.s)
		}
	}
	if joins && !silent {
		shown.Joins = "digest"
		m.changed(g.t.line, g.id, "", "joins and parts are told once a minute, not each in a line")
	}
	if shown != (show{}) {
		b.Show = &shown
	}
	m.doc.Bridges = append(m.doc.Bridges, entry[bridge]{name, b})
}

func (m *matterbridge) addChannel(b *bridge, p place, path string) {
	c := channel{Network: m.network(p.s), Channel: p.channel}
	for _, other := range b.IRC {
		if other.Network == c.Network && strings.EqualFold(other.Channel, c.Channel) {
			return
		}
	}
	m.from(fmt.Sprintf("%s.irc[%d]", path, len(b.IRC)), p.line)
	if p.key != "" {
		c.KeyFile = m.secret(p.s.name+"-"+strings.Trim(p.channel, "#&+!")+"-key", p.key)
	}
	b.IRC = append(b.IRC, c)
}

func (m *matterbridge) addRoom(b *bridge, p place, path string) {
	if b.XMPP == nil {
		b.XMPP = &bridgeXMPP{Account: m.account(p.s)}
	} else if b.XMPP.Account != m.known(p.s) {
		m.changed(p.line, p.id, "let that account into the room", "a bridge has one account: %s is joined by account %s", quote(p.channel), b.XMPP.Account)
	}
	r := muc{Room: p.channel, Nick: p.s.text("Nick")}
	if !strings.ContainsRune(r.Room, '@') {
		r.Room += "@" + p.s.need("Muc", "conference.example.org")
	}
	for _, other := range b.XMPP.Rooms {
		if strings.EqualFold(other.Room, r.Room) {
			return
		}
	}
	m.from(fmt.Sprintf("%s.xmpp.rooms[%d]", path, len(b.XMPP.Rooms)), p.line)
	if p.key != "" {
		r.PasswordFile = m.secret(b.XMPP.Account+"-"+p.channel+"-password", p.key)
	}
	b.XMPP.Rooms = append(b.XMPP.Rooms, r)
}

// format keeps the first template of one side.
func (m *matterbridge) format(kept *string, s *section) {
	if *kept == "" {
		*kept = m.template(s)
	}
}
