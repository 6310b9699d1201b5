package guardtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Apply implements bridge.Enforcer.
func (l *Leg) Apply(ctx context.Context, room bridge.Room, c bridge.Changes) error {
	l.mu.Lock()
	hold, err, refuse := l.hold, l.err, l.refuse
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err == nil && refuse != nil && c.Step != nil {
		err = refuse(c.Step)
	}
	if err != nil {
		return err
	}
	for _, line := range c.Lines {
		if err := l.wait(ctx); err != nil {
			return err
		}
		l.line(room, line)
	}
	if c.Step != nil {
		l.step(room, c.Step)
	}
	if d := c.Destroy; d != nil {
		l.locked(func() {
			l.applied = append(l.applied, Applied{Room: room, Line: strings.TrimSpace("destroy " + d.Venue + " " + d.Reason), At: time.Now()})
		})
		l.See(bridge.Sight{Kind: bridge.SightLost, Leg: room.Leg, Room: room, Text: "the room was destroyed"})
	}
	for _, jid := range c.Invite {
		l.locked(func() { l.applied = append(l.applied, Applied{Room: room, Line: "invite " + jid, At: time.Now()}) })
	}
	return nil
}

// wait keeps the pace.
func (l *Leg) wait(ctx context.Context) error {
	l.mu.Lock()
	now := time.Now()
	d := l.free.Sub(now)
	l.free = newest(l.free, now).Add(l.pace)
	l.mu.Unlock()
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// line does what a server does with a line of an op.
func (l *Leg) line(room bridge.Room, c policy.Command) {
	var sights []bridge.Sight
	show := func(s bridge.Sight) {
		s.Leg, s.Room = room.Leg, room
		if s.By == (bridge.By{}) {
			s.By = bridge.By{Nick: l.Nick}
		}
		sights = append(sights, s)
	}
	l.mu.Lock()
	p := l.places[room]
	l.applied = append(l.applied, Applied{Room: room, Line: c.Line(), At: time.Now()})
	switch c.Verb {
	case "KICK":
		for nick := range strings.SplitSeq(c.Params[1], ",") {
			if m := p.Members[nick]; m != nil && !p.Stuck {
				delete(p.Members, nick)
				show(bridge.Sight{Kind: bridge.SightWent, Facts: m.Facts})
			}
		}
	case "MODE":
		p.modes(c.Params[1], c.Params[2:], show)
	case "TOPIC":
		p.Topic = c.Params[1]
		show(bridge.Sight{Kind: bridge.SightMode, What: "topic"})
	case "PRIVMSG":
		switch verb, _, _ := strings.Cut(c.Params[1], " "); {
		case (verb == "OP" || verb == "RECOVER") && !p.Down:
			m := p.Members[l.Nick]
			m.Rights = "o"
			s := m.sight(bridge.SightRights, room, true)
			s.By = bridge.By{Nick: "ChanServ", Server: true}
			show(s)
		case strings.HasSuffix(c.Params[1], " TOPICLOCK ON"):
			p.TopicLock = true
		case strings.Contains(c.Params[1], " ENTRYMSG "):
			_, said, _ := strings.Cut(c.Params[1], " ENTRYMSG ")
			if said == "OFF" {
				said = ""
			}
			p.EntryMsg = &said
		case verb == "FLAGS":
			f := strings.Fields(c.Params[1])
			p.Access[f[2]] = strings.Trim(f[3], "+-")
		case strings.Contains(c.Params[1], " MLOCK "):
			p.MLock = c.Params[1][strings.LastIndex(c.Params[1], " ")+1:]
		}
	}
	l.mu.Unlock()
	for _, s := range sights {
		l.See(s)
	}
}

// modes changes what a MODE line changes.
func (p *Place) modes(letters string, params []string, show func(bridge.Sight)) {
	sign := "+"
	for _, c := range letters {
		switch letter := string(c); {
		case c == '+' || c == '-':
			sign = letter
		case strings.Contains("qaohv", letter) && p.Members[params[0]] != nil:
			m := p.Members[params[0]]
			params = params[1:]
			if m.Rights = strings.ReplaceAll(m.Rights, letter, ""); sign == "+" {
				m.Rights += letter
			}
			show(bridge.Sight{Kind: bridge.SightRights, Facts: m.Facts, Rights: m.Rights, Is: m.Is, Role: m.Role})
		case letter == "k":
			// As InspIRCd: a new key over an old one is ignored, and "-k" takes the old one.
			if old := p.Key; sign == "+" && old == "" {
				p.Key = params[0]
			} else if sign == "-" && old == params[0] {
				p.Key = ""
			} else {
				params = params[1:]
				continue
			}
			show(bridge.Sight{Kind: bridge.SightMode, What: sign + "k " + params[0]})
			params = params[1:]
		case strings.Contains(p.Caps.ListModes, letter):
			p.mode(sign + letter + " " + params[0])
			show(bridge.Sight{Kind: bridge.SightMode, What: sign + letter + " " + params[0]})
			params = params[1:]
		default:
			p.mode(sign + letter)
			show(bridge.Sight{Kind: bridge.SightMode, What: sign + letter})
		}
	}
}

// mode changes one thing: "+s", "-b mask".
func (p *Place) mode(what string) {
	if what == "topic" {
		p.Topic = "changed"
		return
	}
	letter := what[1:2]
	if letter == "k" {
		if p.Key = ""; what[0] == '+' {
			p.Key = what[3:]
		}
		return
	}
	if _, mask, ok := strings.Cut(what, " "); ok {
		list := slices.DeleteFunc(p.Lists[letter[0]], func(m string) bool { return m == mask })
		if what[0] == '+' {
			list = append(list, mask)
		}
		p.Lists[letter[0]] = list
		return
	}
	if p.Flags = strings.ReplaceAll(p.Flags, letter, ""); what[0] == '+' {
		p.Flags += letter
	}
}

// step does what a MUC service does with a step of an owner.
func (l *Leg) step(room bridge.Room, s *policy.MUCStep) {
	var sights []bridge.Sight
	show := func(m *Member, kind bridge.SightKind, what string) {
		x := m.sight(kind, room, false)
		x.What, x.By = what, bridge.By{Nick: l.Nick}
		sights = append(sights, x)
	}
	l.mu.Lock()
	p := l.places[room]
	l.applied = append(l.applied, Applied{Room: room, Line: describe(s), Step: s, At: time.Now()})
	leave := func(nick, what string) {
		if m := p.Members[nick]; !p.Stuck {
			delete(p.Members, nick)
			show(m, bridge.SightWent, what)
		}
	}
	for _, h := range s.Holders {
		if p.Affs[h.JID] = h.Is; h.Is == policy.NoOne {
			delete(p.Affs, h.JID)
		}
		for nick, m := range p.Members {
			if m.Facts.JID.Value != h.JID {
				continue
			}
			if m.Is = h.Is; h.Is == policy.Outcast {
				leave(nick, bridge.WentBanned)
			} else {
				show(m, bridge.SightRights, "")
			}
		}
	}
	for _, v := range s.Visits {
		m := p.Members[v.Nick]
		if m == nil {
			continue
		}
		if v.Role == policy.NoRole {
			leave(v.Nick, bridge.WentKicked)
			continue
		}
		m.Role = v.Role
		show(m, bridge.SightRights, "")
	}
	if s.Subject != nil {
		p.Topic = *s.Subject
	}
	for _, f := range s.Fields {
		p.Config[f.Var] = f.Value
		if f.Var != policy.FieldMembersOnly || f.Value != "1" {
			continue
		}
		for nick, m := range p.Members {
			if is := p.Affs[m.Facts.JID.Value]; is == "" || is == policy.NoOne {
				leave(nick, bridge.WentMembersOnly)
			}
		}
	}
	l.mu.Unlock()
	for _, x := range sights {
		l.See(x)
	}
}

// describe writes a step on one line.
func describe(s *policy.MUCStep) string {
	var out []string
	for _, h := range s.Holders {
		out = append(out, string(h.Is)+" "+h.JID)
	}
	for _, v := range s.Visits {
		out = append(out, string(v.Role)+" "+v.Nick)
	}
	for _, f := range s.Fields {
		out = append(out, f.Var[strings.LastIndexByte(f.Var, '_')+1:]+"="+f.Value)
	}
	if s.Subject != nil {
		out = append(out, "subject "+*s.Subject)
	}
	return strings.Join(out, ", ")
}
