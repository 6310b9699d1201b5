package irc

import (
	"strings"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
)

// This file keeps the state up to date from what the server tells.

// who returns the user of a line's source, or nil.
func (s *state) who(m *ircmsg.Message) *user {
	nick, _, _ := strings.Cut(m.Source, "!")
	return s.users[s.fold(nick)]
}

func (s *session) onQuit(m *ircmsg.Message) {
	nick, _, _ := strings.Cut(m.Source, "!")
	if s.isMe(nick) {
		return
	}
	s.forgetHeard(nick)
	split := isSplit(param(m, 0))
	if split {
		s.merging.left(s.fold(nick), s.now)
	}
	for _, c := range s.channels {
		if c.members[s.fold(nick)] != nil {
			s.sawWent(c, nick, split, bridge.By{})
			s.tell(bridge.Quit, c, nick, tag(m, "account"), cleanText(param(m, 0)))
			s.remove(c, nick)
		}
	}
	s.freed(nick)
}

func (s *session) tellRenamed(from, to string) {
	for _, c := range s.channels {
		if c.members[s.fold(from)] != nil {
			s.tell(bridge.Renamed, c, from, "", cleanText(to))
		}
	}
}

func (s *session) onMode(m *ircmsg.Message) {
	c := s.channel(param(m, 0))
	if c == nil || !c.joined || len(m.Params) < 2 {
		return
	}
	by := s.by(c, m)
	for ch := range s.isupport.changes(m.Params[1], m.Params[2:]) {
		s.change(c, ch)
		s.sawMode(c, ch, by)
	}
	s.noteHistory(c)
	if by.Server && by.Facts.Nick == "" && s.watched(c) { // not services, which have nicks
		s.merges()
	}
}

// onChannelModes handles 324, the answer to MODE #channel.
func (s *session) onChannelModes(m *ircmsg.Message) {
	if c := s.channel(param(m, 1)); c != nil && c.joined && len(m.Params) > 2 {
		c.modes = nil
		s.mode(c, m.Params[2], m.Params[3:])
		s.noteHistory(c)
	}
}

func (s *session) onTopic(m *ircmsg.Message) {
	if c := s.channel(param(m, 0)); c != nil && c.joined {
		by, _, _ := strings.Cut(m.Source, "!")
		c.topic, c.topicBy = strings.Clone(param(m, 1)), strings.Clone(by)
		topic := c.topic
		s.seeIn(c, bridge.Sight{Kind: bridge.SightMode, What: "topic", Topic: &topic, By: s.by(c, m)})
	}
}

func (s *session) onTopicIs(m *ircmsg.Message) {
	if c := s.channel(param(m, 1)); c != nil && c.joined {
		c.topic = param(m, 2)
	}
}

func (s *session) onTopicBy(m *ircmsg.Message) {
	if c := s.channel(param(m, 1)); c != nil && c.joined {
		c.topicBy, _, _ = strings.Cut(param(m, 2), "!")
	}
}

func (s *session) onNoTopic(m *ircmsg.Message) {
	if c := s.channel(param(m, 1)); c != nil {
		c.topic, c.topicBy = "", ""
	}
}

func (s *session) onNames(m *ircmsg.Message) {
	if c := s.channel(param(m, 2)); c != nil && c.joined {
		s.names(c, param(m, 3))
	}
}

func (s *session) onAccount(m *ircmsg.Message) {
	if u := s.who(m); u != nil {
		s.learn(u, func() { u.account = accountFact(param(m, 0), "ACCOUNT", s.now) })
	}
}

func (s *session) onAway(m *ircmsg.Message) {
	if u := s.who(m); u != nil {
		u.away = len(m.Params) > 0
	}
}

func (s *session) onSetname(m *ircmsg.Message) {
	if u := s.who(m); u != nil {
		u.realname = param(m, 0)
	}
}

func (s *session) onChghost(m *ircmsg.Message) {
	if len(m.Params) < 2 {
		return
	}
	nick, _, _ := strings.Cut(m.Source, "!")
	if s.isMe(nick) {
		s.name, s.host = m.Params[0], m.Params[1]
		s.win.setSource(s.source(), min(s.isupport.lineLen, 512))
	}
	if u := s.users[s.fold(nick)]; u != nil {
		s.learn(u, func() { u.name, u.host = strings.Clone(m.Params[0]), strings.Clone(m.Params[1]) })
	}
}

// onOwnHost handles 396: our host as others see it, or user@host.
func (s *session) onOwnHost(m *ircmsg.Message) {
	host := param(m, 1)
	if name, h, ok := strings.Cut(host, "@"); ok {
		s.name, host = name, h
	}
	if host != "" {
		s.host = host
		s.win.setSource(s.source(), min(s.isupport.lineLen, 512))
	}
}
