package irc

import (
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Bounds of what a server can make us remember.
const (
	maxMembers = 20_000 // of one channel
	maxUsers   = 60_000 // of the network
	maxModes   = 64
)

// user is somebody who shares a channel with us.
type user struct {
	nick, name, host   string      // name and host are "" while unknown
	account, cert, tls policy.Fact // as told; facts says what that is worth
	realname           string
	away               bool
	channels           int // shared with us
}

// channel is a channel of the config, or one we were put into.
type channel struct {
	cfg     ChannelConfig
	wanted  bool   // in the config
	name    string // as the network writes it
	room    bridge.Room
	state   bridge.State
	detail  string
	refused string // the numeric that keeps us out
	joined  bool
	proven  bool
	since   time.Time // of joined

	members map[string]*member // by folded nick
	listing map[string]bool    // nicks seen in NAMES so far; nil outside
	modes   map[byte]string
	topic   string
	topicBy string

	created time.Time // by the server's clock; zero while unknown
	replay  *catchup  // since the last join; nil before
	watch   *watch    // since the last join; nil: no guard holds it
	listed  bool      // NAMES has come to its end

	entry entryMsg

	// key is what opened it last, where that is not the config's: somebody, or our
	// guard, has set another.
	key string
	// tried is how many of the guard's keys did not open it; keyed says that a key kept
	// us out.
	tried int
	keyed bool

	tries int       // joins refused or ended in a row
	retry time.Time // when to join again; zero: not by itself
	asked time.Time // when JOIN was sent; zero: no answer is due
}

// member is a user in a channel.
type member struct {
	*user
	signs string    // status prefixes, highest first
	since time.Time // when we saw it come; zero: it was there before us
}

// state is what a session knows of the network. The session's reader alone
// changes it, holding session.mu; others read it holding that.
type state struct {
	isupport isupport
	nick     string
	name     string // our user, as others see it
	host     string
	users    map[string]*user    // by folded nick
	channels map[string]*channel // by folded name
}

func newState() state {
	return state{isupport: newISupport(), users: map[string]*user{}, channels: map[string]*channel{}}
}

func (s *state) fold(name string) string { return s.isupport.casemapping.fold(name) }

func (s *state) isMe(nick string) bool { return s.fold(nick) == s.fold(s.nick) }

// source is the length of our nick!user@host, with room for what is not known.
func (s *state) source() int {
	name, host := len(s.name), len(s.host)
	if name == 0 {
		name = 11 // "~" and ten
	}
	if host == 0 {
		host = 63
	}
	return len(s.nick) + 1 + name + 1 + host
}

// self is our source as far as it is known.
func (s *state) self() string {
	if s.host == "" {
		return s.nick
	}
	return s.nick + "!" + s.name + "@" + s.host
}

// refold keys everything anew after CASEMAPPING changed.
func (s *state) refold() {
	users, channels := s.users, s.channels
	s.users, s.channels = make(map[string]*user, len(users)), make(map[string]*channel, len(channels))
	for _, u := range users {
		s.users[s.fold(u.nick)] = u
	}
	for _, c := range channels {
		s.channels[s.fold(c.name)] = c
		members := c.members
		c.members = make(map[string]*member, len(members))
		for _, m := range members {
			c.members[s.fold(m.nick)] = m
		}
	}
}

// channel returns a channel by any spelling, or nil.
func (s *state) channel(name string) *channel { return s.channels[s.fold(name)] }

// muted reports whether c is moderated and we have no sign that lets us speak.
func (s *state) muted(c *channel) bool {
	_, moderated := c.modes['m']
	me := c.members[s.fold(s.nick)]
	return moderated && me != nil && me.signs == ""
}

// add puts a user into c and returns the membership; nil when a bound is hit.
func (s *state) add(c *channel, nick, name, host string) *member {
	key := s.fold(nick)
	u := s.users[key]
	if u == nil {
		if len(s.users) >= maxUsers {
			return nil
		}
		u = &user{}
		s.users[key] = u
	}
	if u.nick != nick {
		u.nick = strings.Clone(nick) // a line may bring 8 KiB of tags
	}
	if host != "" && (u.name != name || u.host != host) {
		u.name, u.host = strings.Clone(name), strings.Clone(host)
	}
	m := c.members[key]
	if m == nil {
		if len(c.members) >= maxMembers {
			s.drop(u)
			return nil
		}
		m = &member{user: u}
		c.members[key] = m
		u.channels++
	}
	return m
}

// remove takes a user out of c.
func (s *state) remove(c *channel, nick string) {
	key := s.fold(nick)
	if m := c.members[key]; m != nil {
		delete(c.members, key)
		m.channels--
		s.drop(m.user)
	}
}

// drop forgets a user who shares no channel with us any more.
func (s *state) drop(u *user) {
	if u.channels <= 0 {
		delete(s.users, s.fold(u.nick))
	}
}

// leave forgets everybody in c.
func (s *state) leave(c *channel) {
	for _, m := range c.members {
		m.channels--
		s.drop(m.user)
	}
	if key, ok := c.modes['k']; ok && isKey(key) {
		c.key = key
	}
	c.members, c.listing, c.modes = map[string]*member{}, nil, nil
	c.topic, c.topicBy, c.joined, c.proven = "", "", false, false
	c.created, c.replay, c.watch, c.listed = time.Time{}, nil, nil, false
}

// rename gives a user another nick, everywhere.
func (s *state) rename(from, to string) {
	a, b := s.fold(from), s.fold(to)
	u := s.users[a]
	if u == nil {
		return
	}
	u.nick = strings.Clone(to)
	if a == b {
		return
	}
	delete(s.users, a)
	s.users[b] = u
	for _, c := range s.channels {
		if m := c.members[a]; m != nil {
			delete(c.members, a)
			c.members[b] = m
		}
	}
}

// setSign gives or takes a status prefix, keeping signs in the server's order.
func (s *state) setSign(m *member, sign byte, on bool) {
	has := strings.IndexByte(m.signs, sign) >= 0
	switch {
	case on && !has:
		all := m.signs + string(rune(sign))
		var b strings.Builder
		for i := range len(s.isupport.prefixSigns) {
			if c := s.isupport.prefixSigns[i]; strings.IndexByte(all, c) >= 0 {
				b.WriteByte(c)
			}
		}
		m.signs = b.String()
	case !on && has:
		m.signs = strings.ReplaceAll(m.signs, string(rune(sign)), "")
	}
}

// mode applies the changes of a MODE line of c.
func (s *state) mode(c *channel, modes string, params []string) {
	for ch := range s.isupport.changes(modes, params) {
		s.change(c, ch)
	}
}

// change applies one change of modes.
func (s *state) change(c *channel, ch change) {
	switch {
	case ch.kind == modePrefix:
		if m := c.members[s.fold(ch.arg)]; m != nil {
			s.setSign(m, s.isupport.prefixSigns[strings.IndexByte(s.isupport.prefixModes, ch.mode)], ch.on)
		}
	case ch.kind == modeList: // not kept: guards ask for the lists they need
	case ch.on && (len(c.modes) < maxModes || c.modes[ch.mode] != ""):
		if c.modes == nil {
			c.modes = map[byte]string{}
		}
		c.modes[ch.mode] = strings.Clone(ch.arg)
	case !ch.on:
		delete(c.modes, ch.mode)
	}
}

// names takes one 353 in: "[@+]nick[!user@host] …".
func (s *state) names(c *channel, list string) {
	if c.listing == nil {
		c.listing = make(map[string]bool)
	}
	for item := range strings.FieldsSeq(list) {
		signs, who := s.isupport.signs(item)
		nick, rest, _ := strings.Cut(who, "!")
		name, host, _ := strings.Cut(rest, "@")
		if nick == "" {
			continue
		}
		if m := s.add(c, nick, name, host); m != nil {
			m.signs = signs
			c.listing[s.fold(nick)] = true
		}
	}
}

// namesEnd removes whom NAMES did not list.
func (s *state) namesEnd(c *channel) {
	if c.listing == nil {
		return
	}
	for key, m := range c.members {
		if !c.listing[key] {
			delete(c.members, key)
			m.channels--
			s.drop(m.user)
		}
	}
	c.listing = nil
}

// sender describes who said something in c; account is the line's tag.
func (s *state) sender(c *channel, nick, account string) bridge.Sender {
	from := bridge.Sender{Nick: nick, Account: account}
	if c == nil {
		return from
	}
	if m := c.members[s.fold(nick)]; m != nil {
		from.Op = m.signs != "" && s.isupport.isOp(m.signs)
		if account == "" {
			from.Account = m.account.Value
		}
	}
	return from
}

// nicks lists the members of c but us, sorted.
func (s *state) nicks(c *channel) []string {
	out := make([]string, 0, len(c.members))
	for _, m := range c.members {
		if !s.isMe(m.nick) {
			out = append(out, m.nick)
		}
	}
	slices.Sort(out)
	return out
}

// accounts are those of the members of c who are known to be logged in, by nick.
func (s *state) accounts(c *channel) map[string]string {
	out := map[string]string{}
	for _, m := range c.members {
		if m.account.Known == policy.Yes {
			out[m.nick] = m.account.Value
		}
	}
	return out
}

// isKey reports whether a word can be sent as the key of a channel.
func isKey(key string) bool {
	return cleanWord(key) && !strings.ContainsRune(key, ',') && key[0] != ':'
}
