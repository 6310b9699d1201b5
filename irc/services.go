package irc

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// This file knows whether the network's services are there. While they are not,
// everybody who comes looks as if not registered. The nick NickServ alone proves nothing:
// while services are away anybody may have it. Whoever has it is asked about (WHOIS), and
// is services if they come from where the configuration says, or services were in this
// connection; if the server calls them a service (310, 313); or if they are on another
// server, and have its name for a host, as the clients of services have. Anybody else is
// not, and services count as away. ISON does not tell that the nick changed hands between
// two answers: there, who has it is asked each time.

const (
	nickServ, chanServ = "NickServ", "ChanServ"
	// servicesSettle is how long after their return people may take to log in again
	// before "not logged in" counts.
	servicesSettle = time.Minute
	// servicesEvery is how often we ask for them where the server cannot tell by itself.
	servicesEvery = time.Minute
)

// serviceNames are who speaks for services.
var serviceNames = []string{nickServ, chanServ, "OperServ", "BotServ", "HostServ", "services"}

// servicesState is how services are.
type servicesState uint8

const (
	servicesUnseen servicesState = iota // none was ever there, or nobody has told yet
	servicesUp
	servicesDown
	servicesBack // they are, and who was logged in may not be again
)

// services is what is known of the network's services.
type services struct {
	state    servicesState
	told     bool      // the server has answered
	watching bool      // MONITOR is on for them
	meeting  bool      // somebody has the nick, and it is asked who that is,
	met      time.Time // since then
	ask      time.Time // when to ask next, without MONITOR, or while who has the nick is not them; zero: not at all
	fresh    time.Time // when to ask who is logged in, after their return
	host     string    // "" while unknown
	home     string    // where they were first; it outlasts their absence
	seen     whoServices
	stranger string // the host of who had the nick and was not them, as the log was told
	family   policy.Services
	unnamed  bool // they were asked what they are, and have not answered
	// elsewhere: no NickServ is there, and yet somebody logged us in. The network's services
	// have other names, and what tells of them is SASL: CAP DEL, CAP NEW, 901.
	elsewhere bool
}

// whoServices is who has the nick NickServ, of a WHOIS under way.
type whoServices struct {
	host, server string
	far          bool // the server is not ours
	called       bool // a service, or an operator, by the server
}

// builtIn reports whether services are part of the server, and so never away.
func (s *state) builtIn() bool { return s.software() == policy.Ergo }

// servicesTrusted reports whether "not logged in" is true of somebody.
func (s *session) servicesTrusted() bool { return s.services.state == servicesUp || s.builtIn() }

// servicesKnown reports whether they were met, and have not been seen to go since.
func (s *session) servicesKnown() bool {
	v := &s.services
	return !v.elsewhere && (v.state == servicesUp || v.state == servicesBack)
}

// servicesGone reports whether they should be there and are not.
func (s *session) servicesGone() bool {
	return s.services.told && !s.servicesTrusted() && s.tellsAccounts()
}

// watchServices begins to watch for services.
func (s *session) watchServices() {
	switch {
	case s.builtIn() || s.services.watching || !s.services.ask.IsZero():
	case s.isupport.monitor:
		s.services.watching = true
		_ = s.win.command("MONITOR + "+nickServ, nil)
	default:
		s.askServices()
	}
}

func (s *session) askServices() {
	s.services.ask = s.now.Add(servicesEvery)
	s.timer(s.services.ask)
	_ = s.win.command(s.ison(), nil)
}

// servicesDue asks whether they are there, and, a while after their return, who is
// logged in.
func (s *session) servicesDue() {
	if at := s.services.ask; !at.IsZero() && !s.now.Before(at) {
		s.askServices()
	}
	if at := s.services.fresh; !at.IsZero() && !s.now.Before(at) {
		s.services.fresh = time.Time{}
		s.refresh()
	}
}

// servicesAre notes whether somebody has the nick NickServ. Who that is, is asked first.
func (s *session) servicesAre(there bool) {
	v := &s.services
	switch {
	case !there:
		if v.meeting = false; v.watching {
			v.ask = time.Time{}
		}
		s.servicesFound(false)
	case v.meeting && s.now.Before(v.met.Add(servicesPatience)), v.watching && s.servicesKnown():
	default:
		v.meeting, v.met = true, s.now
		if v.watching { // a server may not answer who asks often
			v.ask = s.now.Add(servicesEvery)
			s.timer(v.ask)
		}
		s.meetServices()
	}
}

// servicesFound notes whether services are there.
func (s *session) servicesFound(there bool) {
	v, was := &s.services, s.services.state
	first := !v.told
	v.told = true
	defer s.sendAccount()
	switch {
	case !there && first && s.reg.loggedIn:
		v.elsewhere, v.state = true, servicesUp
		s.accountsChanged(policy.Unknown, policy.No)
		return
	case v.elsewhere && !there:
		return
	case v.elsewhere: // there is one, after all
		v.elsewhere = false
	}
	switch {
	case there && was == servicesUnseen && first:
		v.state = servicesUp
		s.accountsChanged(policy.Unknown, policy.No)
	case there && (was == servicesDown || was == servicesUnseen):
		v.state, v.fresh = servicesBack, s.now.Add(servicesSettle)
		s.timer(v.fresh)
	case !there && (was == servicesUp || was == servicesBack):
		v.state, v.fresh, v.host, v.unnamed = servicesDown, time.Time{}, "", false
		for _, c := range s.channels {
			c.entry.quiet = false
		}
		if was == servicesUp {
			s.seeServices(true)
			s.accountsChanged(policy.No)
		}
	case !there && first && s.tellsAccounts():
		s.seeServices(true)
	}
	if o := s.observing; o != nil && o.waits && !s.servicesUnmet() {
		s.askChanServ(o)
	}
}

// servicesUnmet reports whether it is still to be heard if services are there, and
// what they are.
func (s *session) servicesUnmet() bool {
	return !s.builtIn() && (!s.services.told || s.services.unnamed)
}

// saslGone and saslBack tell of services that have no NickServ.
func (s *session) saslGone() {
	if v := &s.services; v.elsewhere && v.state != servicesDown {
		was := v.state
		v.state, v.fresh = servicesDown, time.Time{}
		if was == servicesUp {
			s.seeServices(true)
			s.accountsChanged(policy.No)
		}
	}
}

func (s *session) saslBack() {
	if v := &s.services; v.elsewhere && v.state == servicesDown {
		v.state, v.fresh = servicesBack, s.now.Add(servicesSettle)
		s.timer(v.fresh)
	}
}

// meetServices asks who has the nick, and what they are.
func (s *session) meetServices() {
	_ = s.win.command("WHOIS "+nickServ, nil)
	if s.services.family == policy.NoServices && !s.servicesKnown() {
		s.services.unnamed = true
		_ = s.win.command("PRIVMSG "+chanServ+" :\x01VERSION\x01", nil)
	}
}

// metServices takes the answer in to who has the nick NickServ.
func (s *session) metServices() {
	v := &s.services
	who := v.seen
	v.seen = whoServices{}
	if !v.meeting {
		return
	}
	v.meeting = false
	switch {
	case who.host == "": // they went meanwhile
		v.unnamed = false
		s.servicesFound(false)
	case s.areServices(&who):
		if v.home, v.host = who.host, who.host; v.watching {
			v.ask = time.Time{}
		}
		s.servicesFound(true)
	default:
		if v.stranger != who.host {
			v.stranger = who.host
			s.log.Warn("somebody has the nick NickServ who is not known to be services; hint: networks.NAME.services names their host or server", "leg", s.cfg.Name, "from", who.host)
		}
		v.unnamed = false
		s.servicesFound(false)
		v.ask = s.now.Add(servicesEvery) // services may take the nick without our being told
		s.timer(v.ask)
	}
}

// areServices reports whether who has the nick NickServ is services.
func (s *session) areServices(who *whoServices) bool {
	fold := func(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
	if conf := s.cfg.Services; conf != "" {
		return fold(conf, who.host) || fold(conf, who.server) && who.far
	}
	return fold(s.services.home, who.host) || who.called || who.far && fold(who.server, who.host)
}

// refresh asks who is logged in, channel by channel, and trusts it then.
func (s *session) refresh() {
	var lines []string
	for _, c := range s.channels {
		if c.watch != nil && c.joined && s.isupport.whox {
			lines = append(lines, s.whoLine(c))
		}
	}
	slices.Sort(lines)
	err := s.win.reads(lines, func() {
		if s.services.state == servicesBack {
			s.services.state = servicesUp
			s.seeServices(false)
			s.accountsChanged(policy.No)
		}
	})
	if err != nil {
		s.services.fresh = s.now.Add(servicesSettle)
	}
}

func (s *session) seeServices(down bool) {
	s.log.Warn("services", "leg", s.cfg.Name, "down", down)
	s.see(bridge.Sight{Kind: bridge.SightServices, Down: down})
}

// accountsChanged tells of everybody whose account is told as one of these: it means
// something else now.
func (s *session) accountsChanged(told ...policy.Known) {
	for _, key := range slices.Sorted(maps.Keys(s.users)) {
		if u := s.users[key]; slices.Contains(told, u.account.Known) {
			s.sawChanged(u, "")
		}
	}
}

// onMonOnline handles 730, and onMonOffline 731: nicks, perhaps with user and host.
func (s *session) onMonOnline(m *ircmsg.Message) {
	for nick := range monitored(m) {
		if s.fold(nick) == s.fold(nickServ) {
			s.servicesAre(true)
		}
	}
}

func (s *session) onMonOffline(m *ircmsg.Message) {
	for nick := range monitored(m) {
		if s.fold(nick) == s.fold(nickServ) {
			s.servicesAre(false)
		}
		s.freed(nick)
	}
}

func monitored(m *ircmsg.Message) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(param(m, 1), ",") {
			if nick, _, _ := strings.Cut(item, "!"); nick != "" && !yield(nick) {
				return
			}
		}
	}
}

// ison asks whether the nick we want is taken, and whether services are there: the
// answer does not say what was asked, so it is always both.
func (s *session) ison() string { return "ISON " + s.cfg.Nick + " " + nickServ }

// onIson handles 303, the answer to ISON: who of those asked for is there.
func (s *session) onIson(m *ircmsg.Message) {
	if !s.up {
		return
	}
	there := strings.Fields(param(m, -1))
	is := func(nick string) bool {
		return slices.ContainsFunc(there, func(n string) bool { return s.fold(n) == s.fold(nick) })
	}
	if !s.services.ask.IsZero() {
		s.servicesAre(is(nickServ))
	}
	if !is(s.cfg.Nick) {
		s.freed(s.cfg.Nick)
	}
}

// isService reports whether a line comes from services: the server marks it, or it
// comes from their host. A nick alone would prove nothing while they are away.
func (s *session) isService(m *ircmsg.Message) bool {
	nuh, err := ircmsg.ParseNUH(m.Source)
	if err != nil || nuh.Host == "" {
		return false
	}
	if marked, _ := m.GetTag("inspircd.org/service"); marked {
		return true
	}
	return s.services.host != "" && nuh.Host == s.services.host &&
		slices.ContainsFunc(serviceNames, func(n string) bool { return strings.EqualFold(n, nuh.Name) })
}

// fromServices handles what services tell us in private.
func (s *session) fromServices(m *ircmsg.Message) {
	s.greeted(m)
	if len(m.Params) < 2 || !s.isMe(m.Params[0]) || !s.isService(m) {
		return
	}
	if command, rest, isCTCP := ctcpBody(m.Params[1]); isCTCP {
		if m.Command == "NOTICE" && command == "VERSION" {
			s.services.family, s.services.unnamed = servicesFamily(rest), false
			for _, key := range slices.Sorted(maps.Keys(s.channels)) {
				s.sawShut(s.channels[key])
			}
			if o := s.observing; o != nil && o.waits {
				s.askChanServ(o)
			}
		}
		return
	}
	if o := s.observing; o != nil && strings.EqualFold(sourceNick(m), chanServ) {
		o.chanServ(s, m.Params[1])
	}
	if a := s.account; a != nil && strings.EqualFold(sourceNick(m), nickServ) && a.line(m.Params[1]) {
		s.answerAccount()
	}
}

func servicesFamily(version string) policy.Services {
	switch v := strings.ToLower(version); {
	case strings.Contains(v, "atheme"):
		return policy.Atheme
	case strings.Contains(v, "anope"):
		return policy.Anope
	}
	return policy.NoServices
}
