package guard

import (
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// What compiling a policy asks: would somebody like this be let in, or heard?
type asker struct {
	p     *policy.Policy
	room  string
	now   time.Time
	never policy.Missing // what the network tells of nobody: no door is shut by it
}

func (a *asker) effect(f policy.Facts, do policy.Do) policy.Effect {
	for m, fact := range map[policy.Missing]*policy.Fact{policy.MissingAccount: &f.Account, policy.MissingCert: &f.Cert, policy.MissingTLS: &f.TLS} {
		if a.never&m != 0 {
			*fact = policy.Fact{Known: policy.Never}
		}
	}
	d := policy.Decide(a.p, &f, policy.Event{Room: a.room, Do: do}, a.now)
	return d.Effect
}

// strangerOnIRC is somebody nobody knows, all about whom is known.
func strangerOnIRC(leg string, account, tls policy.Known) policy.Facts {
	f := policy.NewIRCFacts(leg, "\x00", "\x00", "\x00") // fits no mask but *
	f.Account, f.Cert, f.TLS = policy.Fact{Known: account, Value: "\x00"}, policy.Fact{Known: policy.No}, policy.Fact{Known: tls}
	return f
}

// asPerson is a person who has proven an account, on a good connection.
func asPerson(leg, account string) policy.Facts {
	f := strangerOnIRC(leg, policy.Yes, policy.Yes)
	f.Account.Value = account
	return f
}

// fromHost is somebody without an account whom a mask fits: its own letters do.
func fromHost(leg, mask string) policy.Facts {
	nick, rest, _ := strings.Cut(policy.FoldMask(mask), "!")
	user, host, _ := strings.Cut(rest, "@")
	f := policy.NewIRCFacts(leg, nick, user, host)
	f.Account, f.Cert, f.TLS = policy.Fact{Known: policy.No}, policy.Fact{Known: policy.No}, policy.Fact{Known: policy.Yes}
	return f
}

// doorsLocked compiles who may come in, and be heard, into what a channel does by
// itself.
func (sd *side) doorsLocked(now time.Time) (d policy.Doors, others bool) {
	r := sd.room
	a := &asker{p: r.policy, room: r.name, now: now, never: sd.neverToldLocked()}
	leg := sd.place.Leg
	anyone := a.effect(strangerOnIRC(leg, policy.No, policy.Yes), policy.Join)
	member := a.effect(strangerOnIRC(leg, policy.Yes, policy.Yes), policy.Join)
	closed := func(e policy.Effect) bool { return e >= policy.Deny }
	var hosts []string
	for _, p := range r.table.cfg.Policy.People {
		id := p.IRC[leg]
		for _, account := range id.Accounts {
			f := asPerson(leg, account)
			r.g.banned(r.policy, &f, r.name, now) // an entry of +e would open the door to who is banned
			if !closed(a.effect(f, policy.Join)) {
				d.Accounts = append(d.Accounts, account)
			}
		}
		if len(id.Accounts) == 0 {
			for _, fp := range id.CertFPs {
				f := strangerOnIRC(leg, policy.No, policy.Yes)
				f.Cert = policy.Fact{Known: policy.Yes, Value: fp}
				others = others || !closed(a.effect(f, policy.Join))
			}
			hosts = append(hosts, id.Hosts...)
		}
	}
	for i := range r.table.cfg.Policy.Rules {
		hosts = append(hosts, r.table.cfg.Policy.Rules[i].Who.Hosts...)
	}
	for _, mask := range hosts {
		f := fromHost(leg, mask)
		others = others || !closed(a.effect(f, policy.Join))
	}
	d.InviteOnly = closed(anyone) && closed(member)
	d.Registered = closed(anyone) && !closed(member)
	if !d.InviteOnly {
		d.Accounts = nil // nobody has to be let through a door that is open
	}
	known := func(tls policy.Known) bool {
		for _, account := range d.Accounts {
			f := asPerson(leg, account)
			f.TLS.Known = tls
			if !closed(a.effect(f, policy.Join)) {
				return true
			}
		}
		return !closed(a.effect(strangerOnIRC(leg, policy.Yes, tls), policy.Join))
	}
	d.TLS = known(policy.Yes) && !known(policy.No)
	heard := func(account policy.Known) bool {
		f := strangerOnIRC(leg, account, policy.Yes)
		e := a.effect(f, policy.Join)
		return closed(e) || e < policy.Devoice && a.effect(f, policy.Speak) < policy.Devoice
	}
	switch unheard, unheardMember := !heard(policy.No), !heard(policy.Yes); {
	case unheard && unheardMember, unheardMember:
		d.Moderated = true
	case unheard:
		d.RegisteredSpeak = true
	}
	return d, others
}

// wantChannelLocked compiles the state that the channel shall have.
func (sd *side) wantChannelLocked(seen *policy.ChannelSeen, now time.Time) (policy.Channel, []string) {
	return sd.wantLocked(seen, sd.room.g.movingOf(sd.place), false, now)
}

// wantLocked is wantChannelLocked while a migration asks mv; with only, nothing is noted.
func (sd *side) wantLocked(seen *policy.ChannelSeen, mv Moving, only bool, now time.Time) (policy.Channel, []string) {
	r := sd.room
	c := policy.Channel{Name: sd.place.Name}
	sign := byte('+')
	for _, m := range []byte(r.cfg.Modes) {
		switch {
		case m == '+' || m == '-':
			sign = m
		case sign == '+':
			c.Set += string(m)
		default:
			c.Clear += string(m)
		}
	}
	doors, others := sd.doorsLocked(now)
	// Who may come by a certificate or host alone would be shut out with no list to
	// name them in: such a channel stays open, and is held by hand.
	byHand := false
	if _, lists := sd.caps.AccountMask("x"); doors.InviteOnly && (!lists || others) {
		doors.Registered = doors.Registered || !others && len(doors.Accounts) > 0
		doors.InviteOnly, doors.Accounts, byHand = false, nil, !doors.Registered
	}
	own := sd.ownAccountLocked()
	if doors.InviteOnly && own != "" && !slices.Contains(doors.Accounts, own) {
		doors.Accounts = append(doors.Accounts, own)
	}
	for _, p := range r.table.cfg.Peers {
		if account := p.Accounts[sd.place.Leg]; doors.InviteOnly && account != "" && !slices.Contains(doors.Accounts, account) {
			doors.Accounts = append(doors.Accounts, account)
		}
	}
	if !only {
		sd.closed = doors.InviteOnly || strings.Contains(c.Set, "i") || mv.Closed
	}
	cannot := sd.caps.Open(doors, &c)
	if byHand {
		cannot = append(cannot, "the door: no list here can name all who may come, so strangers are removed after they came")
	}
	if own == "" && (doors.InviteOnly || doors.Registered) {
		cannot = append(cannot, "the way back in for the bot itself, which has no account here: an operator has to invite it after each restart")
	}
	c.Set = unique(c.Set)
	server := c
	// ChanServ keeps what it is asked to in channels that are registered with it.
	keeps := sd.caps.Services != policy.NoServices && len(seen.Access) > 0
	if r.shut && !strings.Contains(c.Set, "i") {
		c.Set += "i"
	}
	if sd.mess {
		c.Clear += "im"
	}
	c.Clear = strings.Map(func(m rune) rune {
		if strings.ContainsRune(c.Set, m) {
			return -1
		}
		return m
	}, c.Clear)
	if r.cfg.Topic {
		if !only { // else seen may be what a plan would lead to
			sd.keepTopicLocked(&seen.Topic)
		}
		c.Topic, c.TopicLock = sd.topic, keeps
	}
	sd.wantMovingLocked(&c, seen, mv, only)
	sd.wantBansLocked(&c, now)
	sd.wantMutesLocked(&c)
	sd.wantInvexLocked(&c, now)
	sd.dropDoorsLocked(&c)
	sd.wantKeyLocked(&c, seen, only, now)
	if keeps && server.Set+server.Clear != "" {
		clear := strings.Map(func(m rune) rune {
			if strings.ContainsRune(mv.modes(), m) {
				return -1
			}
			return m
		}, server.Clear)
		c.MLock = mlock(unique(server.Set+mv.modes()), clear)
		sd.wantAccessLocked(&c, seen, now)
	}
	return c, cannot
}

// doorLists are those that name who may pass the doors.
const doorLists = "eI"

// markDoorsLocked remembers the entries of those lists that this guard sets.
func (sd *side) markDoorsLocked() {
	for _, l := range sd.want.Lists {
		if !strings.ContainsRune(doorLists, rune(l.Mode)) {
			continue
		}
		for _, mask := range l.Want {
			sd.room.g.mark(sd.room.name, mark{timerDoor, string(l.Mode), sd.place.String(), mask}, time.Time{})
		}
	}
}

// dropDoorsLocked takes the entries back that it set for somebody who may not come in
// any more.
func (sd *side) dropDoorsLocked(c *policy.Channel) {
	for _, m := range sd.room.g.marks.of(timerDoor, sd.place) {
		e := m.entry()
		if !slices.ContainsFunc(c.Lists, func(l policy.List) bool {
			return l.Mode == e.mode && (slices.Contains(l.Want, e.mask) || slices.Contains(l.Drop, e.mask))
		}) {
			e.drop = true
			addEntry(c, e)
		}
	}
}

// ownAccountLocked is the account that the bot is logged in to, or "".
func (sd *side) ownAccountLocked() string {
	if me := sd.present[sd.self]; me != nil && me.facts.Account.Known == policy.Yes {
		return me.facts.Account.Value
	}
	return ""
}

// wantBansLocked adds the bans that hold here, and takes back those that ended.
func (sd *side) wantBansLocked(c *policy.Channel, now time.Time) {
	r := sd.room
	live := map[string]bool{}
	var unset []string
	facts := sd.factsLocked()
	for _, b := range *r.g.bans.Load() {
		if !b.Live(r.name, now) {
			continue
		}
		for _, mask := range r.g.masks(sd, &b) {
			if why := sd.hitsLocked(&b, mask, facts, now); why != "" {
				unset = append(unset, "the ban of "+mask+" is not set: "+why)
				continue
			}
			live[strings.ToLower(mask)] = true
			addEntry(c, entry{'b', mask, false})
		}
	}
	sd.standLocked("mask", unset, now)
	sd.wantMergedLocked(c, live)
	for _, m := range r.g.marks.of(timerBan, sd.place) {
		if r.orphanLocked(m.ban, now) {
			addEntry(c, entry{'b', m.mask, false})
		} else if !live[strings.ToLower(m.mask)] {
			addEntry(c, entry{'b', m.mask, true})
		}
	}
}

// wantMutesLocked adds the entries by which some cannot speak now, and takes back those
// of others: also such as an earlier process set, or whose subject went unseen.
func (sd *side) wantMutesLocked(c *policy.Channel) {
	live := map[entry]bool{}
	for _, sub := range sd.present {
		if e, ok := sd.muteOf(sub); ok && sub.mute && !live[e] {
			live[e] = true
			addEntry(c, e)
		}
	}
	for _, m := range sd.room.g.marks.of(timerMute, sd.place) {
		if e := m.entry(); !live[e] {
			e.drop = true
			addEntry(c, e)
		}
	}
}

// orphanLocked reports whether a ban holds of somebody whom the config knows no more:
// what was set for it stays.
func (r *room) orphanLocked(ban string, now time.Time) bool {
	for _, b := range *r.g.bans.Load() {
		if b.ID == ban {
			return b.Live(r.name, now) && b.Person != "" && r.table.people[b.Person] == nil
		}
	}
	return false
}

// wantAccessLocked lets ChanServ give op to those who have it by a rule.
func (sd *side) wantAccessLocked(c *policy.Channel, seen *policy.ChannelSeen, now time.Time) {
	r := sd.room
	for _, p := range r.table.cfg.Policy.People {
		for _, account := range p.IRC[sd.place.Leg].Accounts {
			f := asPerson(sd.place.Leg, account)
			d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Op}, now)
			if d.Effect <= policy.Alert && d.Basis == policy.ByRule {
				c.Access = append(c.Access, policy.Access{Account: account, Flags: unique(seen.Access[account] + "o")})
			}
		}
	}
}

// mlock writes a mode lock.
func mlock(set, clear string) (lock string) {
	if set != "" {
		lock = "+" + set
	}
	if clear != "" {
		lock += "-" + clear
	}
	return lock
}

// unique keeps the first of each letter.
func unique(s string) string {
	out := ""
	for _, c := range s {
		if !strings.ContainsRune(out, c) {
			out += string(c)
		}
	}
	return out
}

// keepTopicLocked takes the topic that is to be kept, unless there is one: in a dry run
// the one of now.
func (sd *side) keepTopicLocked(seen *string) {
	if seen != nil && (sd.topic == nil || !sd.room.armed) {
		topic := *seen
		if b := sd.room.before[sd.place.String()]; b.Topic != nil { // a migration's is there now
			topic = *b.Topic
		}
		sd.topic = &topic
	}
}

// endedLocked are the entries of bans that ended: who has one still loses it.
func (sd *side) endedLocked(now time.Time) (out []string) {
	for _, m := range sd.room.g.marks.of(timerBan, sd.place) {
		if !sd.room.orphanLocked(m.ban, now) {
			out = append(out, m.mask)
		}
	}
	return out
}
