package irc

import (
	"fmt"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"
)

// regainEvery is how often we ask for our nick where the server cannot tell us
// that it is free.
const regainEvery = time.Minute

// regain is the way back to the configured nick.
type regain struct {
	at       time.Time // when to ask next; zero: nothing to regain, or the server tells
	watching bool      // MONITOR is on for it
	asked    bool      // services were asked
}

// startRegain sees to it that we get the configured nick when it is free.
func (s *session) startRegain() {
	want := s.cfg.Nick
	if want == s.nick {
		s.note("nick", "")
		s.regain.at = time.Time{}
		return
	}
	if s.tooLong() {
		s.note("nick", "nick "+want+" is too long for this server: we are "+s.nick)
		return
	}
	s.note("nick", "nick "+want+" is taken: we are "+s.nick+" until it is free")
	switch {
	case s.fold(want) == s.fold(s.nick):
		_ = s.win.command("NICK "+want, nil) // asked again in regainEvery
	case s.isupport.monitor && !s.regain.watching:
		s.regain.watching = true
		_ = s.win.command("MONITOR + "+want, nil)
	}
	if s.reg.loggedIn && !s.regain.asked {
		s.regain.asked = true
		_ = s.win.command("PRIVMSG NickServ :REGAIN "+want, nil)
	}
	s.regain.at = s.now.Add(regainEvery)
	s.timer(s.regain.at)
}

func (s *session) tooLong() bool {
	return s.reg.short && s.isupport.nickLen == 0 || s.isupport.nickLen > 0 && len(s.cfg.Nick) > s.isupport.nickLen
}

// regainDue asks whether the nick is free.
func (s *session) regainDue() {
	if s.regain.at.IsZero() || s.now.Before(s.regain.at) {
		return
	}
	s.regain.at = s.now.Add(regainEvery)
	if s.cfg.Nick == s.nick {
		s.regain.at = time.Time{}
		return
	}
	s.win.whenIdle(s.ison())
}

// regainRefused handles 433 and its kin after registration.
func (s *session) regainRefused() {
	s.regain.at = s.now.Add(regainEvery)
	s.timer(s.regain.at)
}

// freed takes the nick that somebody left, if it is ours.
func (s *session) freed(nick string) {
	if s.up && s.nick != s.cfg.Nick && s.fold(nick) == s.fold(s.cfg.Nick) && !s.isMe(nick) {
		_ = s.win.command("NICK "+s.cfg.Nick, nil)
	}
}

func (s *session) onNick(m *ircmsg.Message) {
	nuh, _ := ircmsg.ParseNUH(m.Source)
	to := param(m, 0)
	if to == "" {
		return
	}
	me := s.isMe(nuh.Name)
	if !me {
		s.tellRenamed(nuh.Name, to)
	}
	s.forgetHeard(nuh.Name)
	s.rename(nuh.Name, to)
	if me {
		s.nick = strings.Clone(to)
	}
	if u := s.users[s.fold(to)]; u != nil {
		s.sawChanged(u, strings.Clone(nuh.Name))
	}
	if !me {
		s.freed(nuh.Name)
		return
	}
	s.leg.mem.callMe(to)
	s.win.setSource(s.source(), min(s.isupport.lineLen, 512))
	if to != s.cfg.Nick {
		s.startRegain()
		return
	}
	s.note("nick", "")
	s.regain.at = time.Time{}
	if s.regain.watching {
		s.regain.watching = false
		s.win.whenIdle("MONITOR - " + to)
	}
}

// onNickRefused handles 432, 433, 436 and 437 for a nick.
func (s *session) onNickRefused(m *ircmsg.Message) {
	if s.reg.welcomed {
		s.regainRefused()
		return
	}
	s.reg.nicks++
	switch {
	case s.reg.nicks > maxNicks:
		s.refuse("no nick is free: %s", cleanText(param(m, -1)))
		return
	case m.Command == "432" && (s.reg.short || len(s.cfg.Nick) <= rfcNickLen):
		s.refuse("nick %q is not accepted: %s", s.cfg.Nick, cleanText(param(m, -1)))
		return
	case m.Command == "432":
		s.reg.short = true
		s.reg.nick = s.cfg.Nick[:rfcNickLen]
	default:
		s.reg.nick = alternative(s.cfg.Nick, s.reg.nicks, s.reg.short, s.deps.Rand)
	}
	s.nick = s.reg.nick
	s.win.raw("NICK " + s.reg.nick)
}

// alternative returns another nick: with one underscore, with two, then with
// digits; short where only nine characters fit.
func alternative(nick string, try int, short bool, rand func() float64) string {
	tail := "_"
	switch {
	case try == 2:
		tail = "__"
	case try > 2:
		tail = fmt.Sprintf("%03d", int(rand()*1000))
	}
	if short {
		nick = nick[:min(len(nick), rfcNickLen-len(tail))]
	}
	return nick + tail
}
