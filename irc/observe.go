package irc

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Bounds of looking at a channel.
const (
	maxListed = 2000 // entries of one list
	// servicesPatience is how long ChanServ may take to tell what it keeps.
	servicesPatience = 10 * time.Second
)

// guardLists are the lists a guard reads, where the server has them.
const guardLists = "beIq"

// listNumerics are the entries of lists, and their ends, by mode.
var listNumerics = map[string]struct {
	mode byte
	end  bool
}{
	"367": {'b', false}, "368": {'b', true}, "348": {'e', false}, "349": {'e', true},
	"346": {'I', false}, "347": {'I', true}, "728": {'q', false}, "729": {'q', true},
}

// observation is one look at a channel.
type observation struct {
	c     *channel
	reply chan *bridge.Observed // capacity 1; nil: we are not there

	lists map[byte][]string
	read  map[byte]bool // lists whose end came
	again bool          // they were asked for one by one

	keeps    keptByServices
	deadline time.Time // for ChanServ; zero: not yet
	waits    bool      // to hear what services are
}

// Observe reads a channel anew: its modes, lists and topic, who is there, and what
// ChanServ keeps, where it is Atheme's and answers in time. One channel of a leg is
// looked at at a time.
func (l *Leg) Observe(ctx context.Context, room bridge.Room) (bridge.Observed, error) {
	select {
	case l.observing <- struct{}{}:
		defer func() { <-l.observing }()
	case <-ctx.Done():
		return bridge.Observed{}, ctx.Err()
	}
	s := l.current()
	if s == nil {
		return bridge.Observed{}, bridge.ErrNotReady
	}
	reply := make(chan *bridge.Observed, 1)
	if !s.call(call{do: func() { s.observe(room, reply) }, drop: func() { reply <- nil }}) {
		return bridge.Observed{}, bridge.ErrNotReady
	}
	select {
	case o := <-reply:
		if o == nil {
			return bridge.Observed{}, bridge.ErrNotReady
		}
		return *o, nil
	case <-ctx.Done():
		return bridge.Observed{}, ctx.Err()
	}
}

// observe begins to look. What a caller has given up is forgotten.
func (s *session) observe(room bridge.Room, reply chan *bridge.Observed) {
	c := s.inRoom(room)
	if c == nil {
		reply <- nil
		return
	}
	o := &observation{c: c, reply: reply, lists: map[byte][]string{}, read: map[byte]bool{}}
	s.observing = o
	s.watchServices() // where no guard has them watched
	var lines []string
	known := c.watch != nil && s.now.Before(c.watch.fresh)
	if !known {
		lines = append(lines, "MODE "+c.name)
	}
	if lists := s.lists(); lists != "" {
		lines = append(lines, "MODE "+c.name+" +"+lists)
	}
	if !known {
		lines = append(lines, "TOPIC "+c.name, s.whoLine(c))
	} else {
		c.watch.fresh = time.Time{} // once
	}
	s.inquireOf(o, lines, s.listed)
}

// inquireOf asks the server, and goes on with then.
func (s *session) inquireOf(o *observation, lines []string, then func(*observation)) {
	err := s.win.reads(lines, func() {
		if s.observing == o {
			then(o)
		}
	})
	if err != nil {
		s.observed(o, nil)
	}
}

// lists are those of guardLists that the server has.
func (s *state) lists() string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(s.isupport.chanModes[0], r) {
			return r
		}
		return -1
	}, guardLists)
}

// onList handles an entry of a list, or its end.
func (s *session) onList(m *ircmsg.Message) {
	n, o := listNumerics[m.Command], s.observing
	if o == nil || s.channel(param(m, 1)) != o.c {
		return
	}
	if n.end {
		o.read[n.mode] = true
		return
	}
	entry := param(m, 2)
	if n.mode == 'q' && entry == "q" { // 728 names the mode
		entry = param(m, 3)
	}
	if entry != "" && len(o.lists[n.mode]) < maxListed {
		o.lists[n.mode] = append(o.lists[n.mode], strings.Clone(entry))
	}
}

// listed goes on once the server has answered. Some servers take one list a line.
func (s *session) listed(o *observation) {
	var lines []string
	for i := range len(s.lists()) {
		if mode := s.lists()[i]; !o.read[mode] {
			lines = append(lines, "MODE "+o.c.name+" +"+string(rune(mode)))
		}
	}
	if len(lines) > 0 && !o.again {
		o.again = true
		s.inquireOf(o, lines, s.listed)
		return
	}
	if !o.c.joined {
		s.observed(o, nil)
		return
	}
	o.keeps.name = o.c.name
	o.deadline = s.now.Add(servicesPatience)
	s.timer(o.deadline)
	if o.waits = s.servicesUnmet(); !o.waits {
		s.askChanServ(o)
	}
}

// askChanServ asks what it keeps, if it is Atheme's and there.
func (s *session) askChanServ(o *observation) {
	o.waits = false
	if s.services.family != policy.Atheme || s.services.state == servicesDown {
		s.finish(o)
		return
	}
	ask := "PRIVMSG " + chanServ + " :"
	if s.win.reads([]string{ask + "INFO " + o.c.name, ask + "FLAGS " + o.c.name}, func() {}) != nil {
		s.finish(o)
	}
}

// chanServ takes a line of ChanServ in.
func (o *observation) chanServ(s *session, line string) {
	if o.deadline.IsZero() || o.waits {
		return
	}
	if o.keeps.line(line); o.keeps.done() {
		s.finish(o)
	}
}

// observeDue ends the wait for ChanServ.
func (s *session) observeDue() {
	if o := s.observing; o != nil && !o.deadline.IsZero() && !s.now.Before(o.deadline) {
		s.finish(o)
	}
}

// finish answers with all that is known now.
func (s *session) finish(o *observation) {
	c := o.c
	if s.inRoom(c.room) != c {
		s.observed(o, nil)
		return
	}
	seen := policy.ChannelSeen{
		Lists: o.lists, Params: map[byte]string{}, Present: map[string]string{}, Topic: c.topic, Key: c.modes['k'],
		MLock: o.keeps.mlock, TopicLock: o.keeps.topicLock, Access: o.keeps.access, AccessHidden: o.keeps.hidden,
		EntryMsg: s.entryMsg(c, o.keeps.infoDone),
		Accounts: map[string]string{},
	}
	var flags []byte
	for mode, value := range c.modes {
		switch s.isupport.modeKind(mode) {
		case modeFlag:
			flags = append(flags, mode)
		case modeSet, modeParam:
			if mode != 'k' {
				seen.Params[mode] = value
			}
		}
	}
	slices.Sort(flags)
	seen.Flags = string(flags)
	for _, m := range c.members {
		seen.Present[m.nick] = s.rights(m)
		if m.account.Known == policy.Yes {
			seen.Accounts[m.nick] = m.account.Value
		}
		seen.PlainText = seen.PlainText || m.tls.Known == policy.No
	}
	s.observed(o, &bridge.Observed{Channel: seen, ChannelCaps: s.channelCaps(), Holds: s.holdsOp(c), ServicesDown: s.servicesGone()})
}

func (s *session) observed(o *observation, out *bridge.Observed) {
	s.observing = nil
	o.reply <- out
}

// holdsOp reports whether we can change c.
func (s *state) holdsOp(c *channel) bool {
	me := c.members[s.fold(s.nick)]
	return me != nil && s.isupport.isOp(me.signs)
}
