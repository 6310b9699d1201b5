package irc

import (
	"slices"
	"strings"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

var _ bridge.PrivateLeg = (*Leg)(nil)

// maxTold bounds the lines of answers that wait. What is left of the whispers is the
// guard's.
const maxTold = maxWhispers - 16

// maxHeard bounds the private lines that wait for a WHOIS to say whose they are.
const maxHeard = 32

// heard is a private line whose author's account is being asked for.
type heard struct {
	key  string         // folded nick
	line bridge.Private // its Time is when it came
}

// Hear says who hears what people say to the bot alone.
func (l *Leg) Hear(by bridge.Listener) { l.listener.Store(&by) }

// Tell says text to somebody by notices, one for each line and piece of a line. Where
// more than 48 would wait, none is sent.
func (l *Leg) Tell(nick, text string) {
	s := l.current()
	if s == nil || !cleanWord(nick) || nick[0] == ':' {
		return
	}
	s.win.tell(nick, text)
}

// tell queues the notices of a text.
func (w *window) tell(nick, text string) {
	w.mu.Lock()
	defer w.unlock()
	var lines []string
	for line := range strings.Lines(text) {
		for _, piece := range splitText(oneLine(strings.TrimRight(line, "\r\n")), max(w.limit(nick), 64)) {
			lines = append(lines, "NOTICE "+nick+" :"+piece)
		}
	}
	if w.err != nil || len(w.whispers)+len(lines) > maxTold {
		w.unsaid += uint64(len(lines))
		return
	}
	w.whispers = append(w.whispers, lines...)
	w.pump()
}

// onPrivate handles a line said to us alone.
func (s *session) onPrivate(m *ircmsg.Message, body string) {
	by := s.leg.listener.Load()
	if by == nil || m.Command != "PRIVMSG" || !s.isMe(m.Params[0]) || s.isService(m) {
		return
	}
	if botMode, _ := m.GetTag("bot"); botMode {
		return
	}
	p := bridge.Private{
		Leg: s.cfg.Name, From: s.factsOf(nil, m), Text: bridge.NewText(strings.Clone(toStyling(decode(body)))), Time: s.now,
	}
	key := s.fold(p.From.Nick)
	for _, c := range s.channels {
		if c.wanted && c.joined && c.members[key] != nil {
			p.Rooms = append(p.Rooms, c.room)
		}
	}
	slices.SortFunc(p.Rooms, func(a, b bridge.Room) int { return strings.Compare(a.Name, b.Name) })
	switch {
	case p.From.Account.Known == policy.Yes:
	case s.reg.enabled["account-tag"]: // the server says it with each line of who is logged in
		p.From.Account = policy.IsNot("account-tag", s.now)
	default:
		s.askWhose(key, p)
		return
	}
	if u := s.users[key]; u != nil {
		p.From.TLS, p.From.Cert = u.tls, u.cert
	}
	s.privates = append(s.privates, p)
}

// askWhose asks the network who says p, and hands it out then.
func (s *session) askWhose(key string, p bridge.Private) {
	s.heard = slices.DeleteFunc(s.heard, func(h heard) bool { return s.now.Sub(h.line.Time) > 2*whoisLasts })
	if len(s.heard) >= maxHeard || len(s.lookQueue) >= maxLookups || !cleanWord(p.From.Nick) {
		return
	}
	s.heard = append(s.heard, heard{key, p})
	s.lookQueue = append(s.lookQueue, lookup{nick: p.From.Nick})
	s.nextWhois()
}

// heardOf hands the lines out that waited for this WHOIS. A line of somebody who may be
// another than who is asked about now is not.
func (s *session) heardOf(key string, w *whois) {
	s.heard = slices.DeleteFunc(s.heard, func(h heard) bool {
		if h.key != key {
			return false
		}
		if p := h.line; w.there && w.user == p.From.User && w.host == p.From.Host {
			p.From.Account, p.From.TLS, p.From.Cert = w.account, w.tls, w.cert
			s.privates = append(s.privates, p)
		}
		return true
	})
}

// forgetHeard drops what waits of somebody who is another now, or gone.
func (s *session) forgetHeard(nick string) {
	key := s.fold(nick)
	s.heard = slices.DeleteFunc(s.heard, func(h heard) bool { return h.key == key })
}

// showPrivates hands out what was said to us alone. The reader holds no lock here.
func (s *session) showPrivates() {
	by := s.leg.listener.Load()
	for _, p := range s.privates {
		(*by).Heard(p)
	}
	clear(s.privates)
	s.privates = s.privates[:0]
}
