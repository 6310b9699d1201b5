package irc

import (
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
)

// Times of joining.
const (
	joinTimeout = 30 * time.Second // for the answer to JOIN
	settled     = 10 * time.Minute // in the channel: its troubles are forgotten
)

// refusedJoin is what to make of a JOIN that was refused: what status says, and
// when to try again (the first wait, doubled up to the last; 0: not by itself).
type refusedJoin struct {
	state       bridge.State
	detail      string
	first, last time.Duration
}

// joinRefusals is keyed by numeric.
var joinRefusals = map[string]refusedJoin{
	"403": {bridge.StateRefused, "no such channel on this network", 10 * time.Minute, time.Hour},
	"405": {bridge.StateRefused, "in too many channels: the server's limit for one connection is reached", 10 * time.Minute, time.Hour},
	"437": {bridge.StateDown, "temporarily unavailable (netsplit)", 30 * time.Second, 5 * time.Minute},
	"439": {bridge.StateDown, "joining too fast", 10 * time.Second, 5 * time.Minute},
	"447": {bridge.StateRefused, "joins are not allowed now", time.Minute, 10 * time.Minute},
	"448": {bridge.StateRefused, "the network forbids this channel", time.Hour, time.Hour},
	"470": {bridge.StateRefused, "forwarded to another channel: configure that one, or get an invitation", 10 * time.Minute, time.Hour},
	"471": {bridge.StateDown, "full (+l)", 30 * time.Second, 5 * time.Minute},
	"473": {bridge.StateRefused, "invite-only (+i): /invite the bot, it joins at once", time.Minute, 10 * time.Minute},
	"474": {bridge.StateRefused, "banned (+b): lift the ban, then /invite the bot or run drawbridge reload", 0, 0},
	"475": {bridge.StateRefused, "wrong or missing channel key (+k): set key or key_file", 10 * time.Minute, time.Hour},
	"476": {bridge.StateRefused, "not a valid channel name here", 0, 0},
	"477": {bridge.StateRefused, "needs a registered nick (+R): configure sasl", time.Minute, 10 * time.Minute},
	"479": {bridge.StateRefused, "not a valid channel name here", 0, 0},
	"480": {bridge.StateRefused, "the channel's modes refuse us", time.Minute, 10 * time.Minute},
	"485": {bridge.StateRefused, "the network forbids this channel", time.Hour, time.Hour},
	"489": {bridge.StateRefused, "only for TLS connections (+z)", 10 * time.Minute, time.Hour},
	"495": {bridge.StateDown, "rejoined too soon after a kick (+J)", 30 * time.Second, 5 * time.Minute},
	"500": {bridge.StateDown, "too many joins (+j)", 30 * time.Second, 5 * time.Minute},
	"520": {bridge.StateRefused, "only for operators (+O)", time.Hour, time.Hour},
	"926": {bridge.StateRefused, "the network forbids this channel", time.Hour, time.Hour},
}

// afterKick is the policy of rejoining after KICK.
var afterKick = refusedJoin{bridge.StateDown, "", 3 * time.Second, 5 * time.Minute}

// backoff doubles first for each try after the first, up to last, with ±20 %.
func backoff(first, last time.Duration, tries int, rand func() float64) time.Duration {
	d := first
	for i := 1; i < tries && d < last; i++ {
		d *= 2
	}
	d = min(d, last)
	return d + time.Duration((rand()-0.5)*0.4*float64(d))
}

// reconfigure makes the channels what cfg says: it joins the new ones, leaves
// the others, and asks again for those that were refused.
func (s *session) reconfigure(cfg Config) {
	nick := s.cfg.Nick
	s.cfg = cfg
	if !s.up {
		return
	}
	wanted := map[string]ChannelConfig{}
	for _, ch := range cfg.Channels {
		wanted[s.fold(ch.Name)] = ch
	}
	for key, c := range s.channels {
		if _, ok := wanted[key]; ok || !c.wanted {
			continue
		}
		c.wanted = false
		if c.joined {
			s.win.close(c.room)
			c.replay = nil
			s.sawLost(c, "left by configuration")
			_ = s.win.command("PART "+c.name, nil) // a full queue: the connection is in trouble anyway
			s.notify(bridge.RoomDown, c.room, bridge.Sender{}, "left by configuration")
		} else {
			delete(s.channels, key)
		}
	}
	s.leg.mem.forget(func(room string) bool {
		return slices.ContainsFunc(cfg.Channels, func(ch ChannelConfig) bool { return roomName(ch.Name) == room })
	})
	var join []*channel
	for _, ch := range cfg.Channels {
		if c := s.want(ch); !c.joined && c.asked.IsZero() {
			c.tries = 0
			join = append(join, c)
		}
	}
	s.join(join)
	if cfg.Nick != nick {
		s.reg.short, s.regain = false, regain{}
		_ = s.win.command("NICK "+cfg.Nick, nil) // asked again by regain
		s.startRegain()
	}
}

// want notes a configured channel.
func (s *session) want(ch ChannelConfig) *channel {
	key := s.fold(ch.Name)
	c := s.channels[key]
	if c == nil {
		c = &channel{name: ch.Name, members: map[string]*member{}}
		s.channels[key] = c
	}
	if c.cfg.Key != ch.Key {
		c.key = ""
	}
	c.cfg, c.room = ch, Room(s.cfg.Name, ch.Name)
	if !c.wanted && c.joined {
		s.win.open(c.room, c.name)
		s.noteHistory(c)
		s.notify(bridge.RoomUp, c.room, bridge.Sender{}, "")
		s.leg.mem.join(c.room.Name, s.now)
		c.replay = &catchup{joined: s.now, settled: true, kept: never}
	}
	c.wanted = true
	if c.joined && c.listed && c.watch == nil {
		s.startWatch(c)
	}
	return c
}

// join sends JOIN for cs, packed; those with a key come first, as the keys of
// one line belong to its first channels.
func (s *session) join(cs []*channel) {
	slices.SortStableFunc(cs, func(a, b *channel) int {
		switch {
		case (s.keyOf(a) == "") == (s.keyOf(b) == ""):
			return strings.Compare(a.name, b.name)
		case s.keyOf(a) != "":
			return -1
		}
		return 1
	})
	limit := s.isupport.targets("JOIN")
	var names, keys []string
	size := 0
	send := func() {
		if len(names) > 0 {
			line := "JOIN " + strings.Join(names, ",")
			if len(keys) > 0 {
				line += " " + strings.Join(keys, ",")
			}
			s.sendJoin(line)
			names, keys, size = nil, nil, 0
		}
	}
	for _, c := range cs {
		key := s.keyOf(c)
		add := len(c.name) + len(key) + 2
		if size+add > maxReqLine || limit > 0 && len(names) >= limit {
			send()
		}
		names = append(names, c.name)
		if key != "" {
			keys = append(keys, key)
		}
		size += add
		c.state, c.asked, c.retry = bridge.StateOpening, s.now, time.Time{}
		s.timer(s.now.Add(joinTimeout))
	}
	send()
}

// sendJoin sends a JOIN. On a guarded network the PING behind it, which goes out anyway,
// proves the rooms, too: one more costs a second of the guard's first kick where a server
// slows us.
func (s *session) sendJoin(line string) {
	var then func()
	if s.guards != nil && len(s.guards.rooms) > 0 {
		then = func() {
			s.joining--
			s.roomsProven(s.toProve())
		}
	}
	if s.win.command(line, then) == nil && then != nil { // else joinTimeout asks again
		s.joining++
	}
}

// joinDue joins the channels whose time has come.
func (s *session) joinDue() {
	var join []*channel
	for _, c := range s.channels {
		switch {
		case !c.asked.IsZero() && !s.now.Before(c.asked.Add(joinTimeout)):
			c.asked = time.Time{}
			s.outOf(c, refusedJoin{bridge.StateDown, "the server does not answer JOIN", 30 * time.Second, 5 * time.Minute}, "")
		case !c.retry.IsZero() && !s.now.Before(c.retry):
			join = append(join, c)
		}
	}
	s.join(join)
}

// outOf notes that we are not in c, why, and when to try again.
func (s *session) outOf(c *channel, why refusedJoin, server string) {
	was := c.joined
	if was && s.now.Sub(c.since) > settled {
		c.tries = 0
	}
	reason := server
	if reason == "" {
		reason = why.detail
	}
	s.leaveRoom(c, reason)
	s.win.close(c.room)
	c.tries++
	c.state, c.detail, c.asked, c.retry = why.state, why.detail, time.Time{}, time.Time{}
	switch {
	case c.detail == "":
		c.detail = server
	case server != "":
		c.detail += "; the server says: " + server
	}
	if why.first > 0 {
		c.retry = s.now.Add(backoff(why.first, why.last, c.tries, s.deps.Rand))
		s.timer(c.retry)
	}
	if c.tries == 1 || was {
		s.notify(bridge.RoomDown, c.room, bridge.Sender{}, c.detail)
		s.log.Warn("not in channel", "leg", s.cfg.Name, "room", c.name, "err", c.detail)
	}
}

// leaveRoom forgets everybody in c, and notes since when we are out of it.
func (s *session) leaveRoom(c *channel, why string) {
	s.sawLost(c, why)
	if c.joined && c.wanted {
		s.breakOff(c)
		s.leg.mem.left(c.room.Name, s.now)
	}
	s.leave(c)
	s.answerAsks()
}

// onJoinRefused handles a numeric about a channel we asked to join. It reports
// whether it was one.
func (s *session) onJoinRefused(m *ircmsg.Message) bool {
	why, ok := joinRefusals[m.Command]
	if !ok {
		return false
	}
	c := s.channel(param(m, 1))
	if c == nil || c.joined || c.asked.IsZero() {
		return false
	}
	if m.Command == "475" && s.wrongKey(c) {
		why.first, why.last = afterKick.first, afterKick.last // with the next one
	}
	s.outOf(c, why, cleanText(param(m, -1)))
	c.refused = m.Command
	s.sawShut(c)
	return true
}

func (s *session) onJoin(m *ircmsg.Message) {
	nuh, _ := ircmsg.ParseNUH(m.Source)
	name := param(m, 0)
	c := s.channel(name)
	if s.isMe(nuh.Name) {
		s.enter(c, m, name, nuh)
		return
	}
	if c == nil || !c.joined {
		return
	}
	if u := s.add(c, nuh.Name, nuh.User, nuh.Host); u != nil {
		u.signs = ""
		if s.reg.enabled["extended-join"] && len(m.Params) >= 3 {
			u.account = accountFact(m.Params[1], "extended-join", s.now)
			u.realname = strings.Clone(m.Params[2])
		}
		s.sawCame(c, u)
	}
	s.tell(bridge.Joined, c, nuh.Name, tag(m, "account"), "")
}

// enter handles our own JOIN.
func (s *session) enter(c *channel, m *ircmsg.Message, name string, nuh ircmsg.NUH) {
	if nuh.Host != "" {
		s.name, s.host = nuh.User, nuh.Host
		s.win.setSource(s.source(), min(s.isupport.lineLen, 512))
	}
	if c == nil { // put there by the server or an operator
		if len(s.channels) >= maxModes+len(s.cfg.Channels) {
			return
		}
		c = &channel{name: name, members: map[string]*member{}, room: Room(s.cfg.Name, name)}
		s.channels[s.fold(name)] = c
	}
	was := c.replay // of a JOIN that came twice
	s.leave(c)
	c.name, c.joined, c.since, c.tried, c.keyed = name, true, s.now, 0, false
	took := s.now.Sub(c.asked)
	c.state, c.detail, c.refused, c.asked, c.retry = bridge.StateUp, "", "", time.Time{}, time.Time{}
	s.add(c, nuh.Name, nuh.User, nuh.Host)
	s.entered(c)
	if !c.wanted {
		return
	}
	s.win.open(c.room, name)
	s.noteHistory(c)
	s.unproven = true
	s.notify(bridge.RoomUp, c.room, bridge.Sender{}, "")
	s.log.Info("joined", "leg", s.cfg.Name, "room", name, "took", took)
	if c.replay = was; was == nil {
		s.startCatchup(c, m)
	}
}

// joining is a channel whose JOIN came back, and its catch-up.
type joining struct {
	c *channel
	k *catchup
}

// toProve are the channels of which it is not known yet that the server took us in.
func (s *session) toProve() (cs []joining) {
	for _, c := range s.channels {
		if c.joined && c.wanted && (!c.proven || c.replay != nil && !c.replay.settled) {
			cs = append(cs, joining{c, c.replay})
		}
	}
	return cs
}

// proveRooms asks, by one fence, whether the server has taken us into the
// channels whose JOIN came back. What it replays by itself has come by then.
func (s *session) proveRooms() {
	s.unproven = false
	cs := s.toProve()
	if len(cs) == 0 {
		return
	}
	s.proving = true
	s.win.after(func() {
		s.proving = false
		s.roomsProven(cs)
	})
}

// roomsProven goes on once a fence has passed that is behind the JOINs of cs.
func (s *session) roomsProven(cs []joining) {
	for _, j := range cs {
		j.c.proven = j.c.proven || j.c.joined
		if j.k != nil {
			s.judge(j.c, j.k)
		}
	}
}

// onNamesEnd handles 366. What the server has not told of a channel by itself is
// asked for when nothing else is to be sent.
func (s *session) onNamesEnd(m *ircmsg.Message) {
	c := s.channel(param(m, 1))
	if c == nil || !c.joined {
		return
	}
	s.namesEnd(c)
	c.listed = true
	if !c.wanted || s.watched(c) || s.startWatch(c) {
		return
	}
	s.askLater("MODE " + c.name)
	if s.isupport.whox && s.reg.enabled["extended-join"] {
		s.askLater("WHO " + c.name + " %tcuhnfa," + whoxToken)
	}
}

// How what nobody waits for is spread, where a guard may have to kick at once.
const (
	laterFirst = 20 * time.Second
	laterEvery = 5 * time.Second
	maxLater   = 256
)

// askLater asks for what is nice to know: when nothing else is to be sent; on a guarded
// network later, and one by one.
func (s *session) askLater(line string) {
	if s.guards == nil || len(s.guards.rooms) == 0 {
		s.win.whenIdle(line)
		return
	}
	if len(s.later) == 0 {
		s.laterAt = s.now.Add(laterFirst)
		s.timer(s.laterAt)
	}
	if len(s.later) < maxLater {
		s.later = append(s.later, line)
	}
}

// laterDue sends the next of those.
func (s *session) laterDue() {
	if len(s.later) == 0 || s.now.Before(s.laterAt) {
		return
	}
	s.win.whenIdle(s.later[0])
	if s.later = s.later[1:]; len(s.later) > 0 {
		s.laterAt = s.now.Add(laterEvery)
		s.timer(s.laterAt)
	}
}

func (s *session) onPart(m *ircmsg.Message) {
	nick, _, _ := strings.Cut(m.Source, "!")
	c := s.channel(param(m, 0))
	if c == nil {
		return
	}
	if s.isMe(nick) {
		s.ousted(c, "taken out of the channel: "+cleanText(param(m, 1)))
		return
	}
	s.sawWent(c, nick, false, bridge.By{})
	s.tell(bridge.Parted, c, nick, tag(m, "account"), cleanText(param(m, 1)))
	s.remove(c, nick)
}

func (s *session) onKick(m *ircmsg.Message) {
	by, _, _ := strings.Cut(m.Source, "!")
	c := s.channel(param(m, 0))
	if c == nil {
		return
	}
	if who := param(m, 1); !s.isMe(who) {
		s.sawWent(c, who, false, s.by(c, m))
		s.tell(bridge.Parted, c, who, "", "kicked by "+cleanText(by)+": "+cleanText(param(m, 2)))
		s.remove(c, who)
		return
	}
	s.ousted(c, "kicked by "+cleanText(by)+": "+cleanText(param(m, 2)))
}

// ousted handles the end of our own membership.
func (s *session) ousted(c *channel, why string) {
	if !c.wanted {
		s.leave(c)
		delete(s.channels, s.fold(c.name))
		return
	}
	s.outOf(c, afterKick, why)
}

// onInvite joins a configured channel that we are not in.
func (s *session) onInvite(m *ircmsg.Message) {
	if c := s.channel(param(m, 1)); c != nil && s.isMe(param(m, 0)) && c.wanted && !c.joined && c.asked.IsZero() {
		s.join([]*channel{c})
	}
}

// tell notifies of somebody's coming or going in a bridged channel.
func (s *session) tell(kind bridge.EventKind, c *channel, nick, account, detail string) {
	if c.wanted && c.joined {
		from := s.sender(c, nick, account)
		from.Nick = cleanText(nick)
		s.notify(kind, c.room, from, detail)
	}
}
