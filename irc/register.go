package irc

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
)

// wantedCaps are the capabilities asked for where they are offered.
var wantedCaps = []string{
	"account-notify", "account-tag", "away-notify", "batch", "cap-notify", "chghost", "echo-message",
	"draft/chathistory", "extended-join", "invite-notify", "labeled-response", "message-tags", "multi-prefix", "server-time",
	"setname", "standard-replies", "userhost-in-names",
}

// Bounds of capability negotiation.
const (
	maxCaps    = 256
	maxReqLine = 400 // bytes of names in one CAP REQ
	maxAsked   = 32  // requests under way
	maxNicks   = 12  // nicks tried before giving up
	// rfcNickLen is what a server holds to that says nothing else (ngIRCd's stock
	// limit too).
	rfcNickLen = 9
)

// registration is how far the handshake is.
type registration struct {
	deadline time.Time
	hello    time.Time // when to introduce ourselves though CAP LS was not answered
	// introduced is set once NICK and USER were sent: without TLS not before we know
	// that the server does not want it.
	introduced bool
	offered    map[string]string
	enabled    map[string]bool
	asked      [][]string // capability names of each REQ under way
	lsDone     bool
	capsOver   bool // CAP END was sent
	login      *saslExchange
	loggedIn   bool
	welcomed   bool
	nick       string // the one being tried
	nicks      int    // tried so far
	short      bool   // the configured nick is too long here
}

// begin starts the handshake.
func (s *session) begin() {
	s.reg = registration{
		deadline: s.now.Add(s.cfg.RegisterTimeout), offered: map[string]string{}, enabled: map[string]bool{}, nick: s.cfg.Nick,
	}
	s.nick = s.cfg.Nick
	s.win.raw("CAP LS 302")
	s.reg.hello = s.now.Add(helloTimeout)
	if s.link.secure {
		s.introduce()
	}
}

// introduce says who we are.
func (s *session) introduce() {
	if s.reg.introduced {
		return
	}
	s.reg.introduced = true
	if s.cfg.Password != "" {
		s.win.raw("PASS :" + s.cfg.Password)
	}
	s.win.raw("NICK " + s.cfg.Nick)
	s.win.raw("USER " + s.cfg.user() + " 0 * :" + s.cfg.realname())
}

// helloDue introduces us to a server that does not answer CAP LS.
func (s *session) helloDue() {
	if !s.up && !s.reg.introduced && !s.now.Before(s.reg.hello) {
		s.introduce()
	}
}

// onUnknown handles 421 and 451: of interest before we are registered, as the
// answer of a server that does not know CAP.
func (s *session) onUnknown(m *ircmsg.Message) {
	if !s.up && !s.reg.introduced {
		s.introduce()
		return
	}
	s.onError(m)
}

// refuse ends the session: the server does not want us, or we not it.
func (s *session) refuse(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: "+format, append([]any{errRefusedUs}, args...)...)
	}
}

func (s *session) onCap(m *ircmsg.Message) {
	list := param(m, -1)
	switch strings.ToUpper(param(m, 1)) {
	case "LS":
		s.offer(list)
		if s.reg.lsDone || len(m.Params) > 3 && m.Params[2] == "*" {
			return
		}
		s.reg.lsDone = true
		if s.offersSTS(); s.err != nil {
			return
		}
		s.introduce()
		s.requestCaps(wantedCaps)
		s.capsSettled()
	case "NEW":
		s.offer(list)
		if len(s.reg.asked) >= maxAsked {
			return // it offers, and answers nothing
		}
		var names []string
		for item := range strings.FieldsSeq(list) {
			name, _, _ := strings.Cut(item, "=")
			names = append(names, name)
		}
		if slices.Contains(names, "sts") {
			s.offersSTS()
		}
		s.requestCaps(slices.DeleteFunc(slices.Clone(wantedCaps), func(c string) bool { return !slices.Contains(names, c) }))
		if s.up && slices.Contains(names, "sasl") && !s.reg.loggedIn && s.reg.login == nil {
			s.requestSASL() // services are back
		}
	case "DEL":
		for name := range strings.FieldsSeq(list) {
			delete(s.reg.offered, name)
			delete(s.reg.enabled, name)
			if name == "sasl" {
				s.saslGone()
			}
		}
		s.useCaps()
	case "ACK":
		s.capAnswer(list, true)
	case "NAK":
		s.capAnswer(list, false)
	}
}

func (s *session) offersSTS() {
	if value, ok := s.reg.offered["sts"]; ok {
		s.onSTS(value)
	}
}

func (s *session) offer(list string) {
	for item := range strings.FieldsSeq(list) {
		name, value, _ := strings.Cut(item, "=")
		if len(s.reg.offered) < maxCaps {
			s.reg.offered[strings.Clone(name)] = strings.Clone(value)
		}
	}
}

// requestCaps asks for those of names that are offered and not on yet, packed
// into as few lines as they fit.
func (s *session) requestCaps(names []string) {
	var pack []string
	size := 0
	send := func() {
		if len(pack) > 0 {
			s.reg.asked = append(s.reg.asked, pack)
			s.win.raw("CAP REQ :" + strings.Join(pack, " "))
			pack, size = nil, 0
		}
	}
	for _, name := range names {
		if _, ok := s.reg.offered[name]; !ok || s.reg.enabled[name] {
			continue
		}
		if size+len(name)+1 > maxReqLine {
			send()
		}
		pack = append(pack, name)
		size += len(name) + 1
	}
	send()
	if !s.up && len(names) == len(wantedCaps) && s.cfg.SASL.Mechanism != SASLNone {
		s.requestSASL()
	}
}

// requestSASL asks for the sasl capability alone, so that no other one that is
// refused takes the login with it.
func (s *session) requestSASL() {
	if s.cfg.SASL.Mechanism == SASLNone {
		return
	}
	if _, ok := s.reg.offered["sasl"]; !ok {
		s.loginFailed(fmt.Errorf("%w: the server offers no sasl (are services down?)", ErrSASL))
		return
	}
	s.reg.asked = append(s.reg.asked, []string{"sasl"})
	s.win.raw("CAP REQ :sasl")
}

// capAnswer takes the answer to the oldest REQ in. A refused pack is asked for
// name by name.
func (s *session) capAnswer(list string, ack bool) {
	names := strings.Fields(list)
	var pack []string
	for i, p := range s.reg.asked {
		if len(names) > 0 && slices.Contains(p, strings.TrimLeft(names[0], "-~=")) || i == len(s.reg.asked)-1 {
			pack = p
			s.reg.asked = slices.Delete(s.reg.asked, i, i+1)
			break
		}
	}
	switch {
	case ack:
		for _, name := range names {
			if off, ok := strings.CutPrefix(name, "-"); ok {
				delete(s.reg.enabled, off)
			} else if len(s.reg.enabled) < maxCaps {
				s.reg.enabled[strings.TrimLeft(name, "~=")] = true
			}
		}
		if slices.Contains(names, "sasl") {
			s.startLogin()
		}
		s.useCaps()
	case len(pack) == 1 && pack[0] == "sasl":
		s.loginFailed(fmt.Errorf("%w: the server refused the sasl capability", ErrSASL))
	case len(pack) > 1:
		for _, name := range pack {
			s.reg.asked = append(s.reg.asked, []string{name})
			s.win.raw("CAP REQ :" + name)
		}
	}
	s.capsSettled()
}

// capsSettled ends the negotiation when nothing is under way any more.
func (s *session) capsSettled() {
	if s.reg.lsDone && len(s.reg.asked) == 0 && s.reg.login == nil && !s.reg.capsOver && s.err == nil {
		s.reg.capsOver = true
		s.win.raw("CAP END")
	}
}

// useCaps tells the window what it can count on.
func (s *session) useCaps() {
	if s.up {
		on := s.reg.enabled
		s.win.start(on["labeled-response"] && on["batch"], on["echo-message"], on["message-tags"] && s.isupport.clientTags)
	}
}

func (s *session) startLogin() {
	login := s.cfg.SASL
	login.Account = s.cfg.account()
	x, err := newSASL(login, s.reg.offered["sasl"])
	if err != nil {
		s.loginFailed(err)
		return
	}
	s.reg.login = x
	s.win.raw("AUTHENTICATE " + x.mechanism)
}

func (s *session) onAuthenticate(m *ircmsg.Message) {
	if s.reg.login == nil {
		return // nothing is said to who was not asked
	}
	answer, err := s.reg.login.step(param(m, 0))
	if err != nil {
		s.win.raw("AUTHENTICATE *")
		s.loginFailed(err)
		return
	}
	for _, a := range answer {
		s.win.raw("AUTHENTICATE " + a)
	}
}

// onSASL handles 902 to 908.
func (s *session) onSASL(m *ircmsg.Message) {
	switch x := s.reg.login; {
	case x == nil:
		return
	case m.Command == "903" && !x.proven():
		s.loginFailed(fmt.Errorf("%w: the server ended %s before proving itself", ErrSASL, x.mechanism))
	case m.Command == "903" || m.Command == "907":
		s.reg.login, s.reg.loggedIn = nil, true
		s.note("sasl", "")
		s.saslBack()
		s.capsSettled()
	case m.Command == "908":
		s.loginFailed(fmt.Errorf("%w: the server does not take %s, only %s", ErrSASL, x.mechanism, cleanText(param(m, 1))))
	default:
		s.loginFailed(fmt.Errorf("%w: %s: %s", ErrSASL, saslFailure(m.Command, x.mechanism), cleanText(param(m, -1))))
	}
}

// loginFailed ends the session before it has begun; a login that was lost and
// cannot be renewed later is only noted.
func (s *session) loginFailed(err error) {
	s.reg.login = nil
	if s.up {
		s.note("sasl", err.Error())
		s.log.Warn("login lost", "leg", s.cfg.Name, "err", err)
		return
	}
	s.refuse("%w", err)
}

// onLoggedOut handles 901. The login is renewed when services offer it again.
func (s *session) onLoggedOut(*ircmsg.Message) {
	s.reg.loggedIn = false
	s.saslGone()
	if s.up && s.cfg.SASL.Mechanism != SASLNone {
		s.note("sasl", "logged out by services")
	}
}

// onWelcome handles 001.
func (s *session) onWelcome(m *ircmsg.Message) {
	if s.cfg.SASL.Mechanism != SASLNone && !s.reg.loggedIn {
		s.refuse("%w: the server let us in without a login", ErrSASL)
		return
	}
	s.reg.welcomed = true
	s.nick = param(m, 0)
	words := strings.Fields(param(m, -1))
	if len(words) > 0 {
		if nuh, err := ircmsg.ParseNUH(words[len(words)-1]); err == nil && nuh.Host != "" && s.isMe(nuh.Name) {
			s.name, s.host = nuh.User, nuh.Host
		}
	}
	s.win.setSource(s.source(), s.isupport.lineLen)
}

func (s *session) onISupport(m *ircmsg.Message) {
	if len(m.Params) < 3 {
		return
	}
	before := s.isupport.casemapping
	for _, token := range m.Params[1 : len(m.Params)-1] {
		s.isupport.apply(token)
	}
	if s.isupport.casemapping != before {
		s.refold()
	}
	s.win.setSource(s.source(), min(s.isupport.lineLen, 512))
	s.useCaps()
}

// onMotdEnd handles 376 and 422: we are in.
func (s *session) onMotdEnd(*ircmsg.Message) {
	if s.up || !s.reg.welcomed {
		return
	}
	s.up = true
	s.useCaps()
	s.leg.mem.begin()
	s.leg.mem.callMe(s.nick)
	s.leg.setState(bridge.StateUp, "")
	s.log.Info("connected", "leg", s.cfg.Name, "nick", s.nick, "server", s.conn.RemoteAddr().String())
	s.notify(bridge.LegUp, bridge.Room{}, bridge.Sender{}, "")
	s.guard()
	if s.isupport.bot != "" {
		s.askLater("MODE " + s.nick + " +" + s.isupport.bot)
	}
	s.beginGuard()
	s.reconfigure(s.cfg)
	s.startRegain()
}
