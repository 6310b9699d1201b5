package irc

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Bounds of looking people up.
const (
	maxLookups = 128 // that wait; beyond, whole channels are asked
	maxWhois   = 2   // at once
	whoisLasts = 30 * time.Second
	manyWho    = 4 // so many of one channel: the channel is asked, if WHO tells enough
)

// lookup is somebody whom a guard wants to know more of.
type lookup struct {
	room    bridge.Room
	nick    string
	missing policy.Missing
}

// lookups are those that the reader has not seen yet.
type lookups struct {
	mu      sync.Mutex // guards what follows
	waiting []lookup
	beyond  map[bridge.Room]bool // rooms of those left out
}

// whois is one WHOIS under way.
type whois struct {
	nick               string
	asked              time.Time
	there, ended       bool
	user, host         string
	account, cert, tls policy.Fact
}

// Lookup asks the network for what is missing of somebody: by WHOIS, two at a time;
// by one WHO where many of a channel are asked for and it tells enough.
func (l *Leg) Lookup(room bridge.Room, nick string, missing policy.Missing) {
	s := l.current()
	if s == nil || !cleanWord(nick) {
		return
	}
	q := &s.lookups
	q.mu.Lock()
	if len(q.waiting) < maxLookups {
		q.waiting = append(q.waiting, lookup{room, nick, missing})
	} else {
		if q.beyond == nil {
			q.beyond = map[bridge.Room]bool{}
		}
		q.beyond[room] = true
	}
	q.mu.Unlock()
	s.call(call{})
}

// lookUp begins what waits.
func (s *session) lookUp() {
	q := &s.lookups
	q.mu.Lock()
	waiting, beyond := q.waiting, q.beyond
	q.waiting, q.beyond = nil, nil
	q.mu.Unlock()
	for room := range beyond {
		if c := s.inRoom(room); c != nil {
			s.whoAll(c)
		}
	}
	count := map[bridge.Room]int{}
	for _, l := range waiting {
		if l.missing&^(policy.MissingAccount|policy.MissingTLS) == 0 {
			count[l.room]++
		}
	}
	who := map[bridge.Room]bool{}
	for _, l := range waiting {
		c := s.inRoom(l.room)
		switch {
		case c == nil || c.members[s.fold(l.nick)] == nil: // gone
		case !s.stillMissing(c, l):
			s.sawKnown(l)
		case count[l.room] >= manyWho && s.whoTells(l.missing):
			who[l.room] = true
		case len(s.lookQueue) < maxLookups:
			s.lookQueue = append(s.lookQueue, l)
		default:
			who[l.room] = true
		}
	}
	for room := range who {
		s.whoAll(s.inRoom(room))
	}
	s.nextWhois()
}

// stillMissing reports whether what l asks for is not known meanwhile.
func (s *session) stillMissing(c *channel, l lookup) bool {
	f := s.facts(c, c.members[s.fold(l.nick)])
	return l.missing&policy.MissingAccount != 0 && f.Account.Known == policy.Unknown ||
		l.missing&policy.MissingTLS != 0 && f.TLS.Known == policy.Unknown ||
		l.missing&policy.MissingCert != 0 && f.Cert.Known == policy.Unknown
}

// whoTells reports whether a WHO answers what is missing.
func (s *session) whoTells(missing policy.Missing) bool {
	if missing&policy.MissingAccount != 0 && !s.isupport.whox {
		return false
	}
	return missing&policy.MissingTLS == 0 || s.software() == policy.InspIRCd && s.evidence.sslinfo || s.software() == policy.UnrealIRCd
}

// whoAll asks for everybody in c, and tells of all then.
func (s *session) whoAll(c *channel) {
	_ = s.win.reads([]string{s.whoLine(c)}, func() { // a full queue: the guard asks again
		for _, key := range slices.Sorted(maps.Keys(c.members)) {
			m := c.members[key]
			s.seeIn(c, bridge.Sight{Kind: bridge.SightChanged, Facts: s.facts(c, m), Rights: s.rights(m)})
		}
	})
}

// nextWhois asks for the next in line.
func (s *session) nextWhois() {
	for len(s.lookQueue) > 0 && len(s.whois) < maxWhois {
		l := s.lookQueue[0]
		s.lookQueue = s.lookQueue[1:]
		key := s.fold(l.nick)
		if s.whois[key] != nil {
			continue // under way: the answer is told in every channel
		}
		if s.win.reads([]string{"WHOIS " + l.nick}, nil) != nil {
			s.foundOut(key, &whois{})
			continue
		}
		if s.whois == nil {
			s.whois = map[string]*whois{}
		}
		w := &whois{nick: l.nick, asked: s.now}
		s.whois[key] = w
		s.timer(w.asked.Add(whoisLasts))
	}
}

// whoisDue gives up what was not answered: some servers refuse to be asked often.
func (s *session) whoisDue() {
	for key, w := range s.whois {
		if !s.now.Before(w.asked.Add(whoisLasts)) {
			s.whoisDone(key, w)
		}
	}
}

// whoisOf is the WHOIS under way that a numeric answers, or nil.
func (s *session) whoisOf(m *ircmsg.Message) *whois { return s.whois[s.fold(param(m, 1))] }

func (s *session) onWhoisUser(m *ircmsg.Message) {
	if s.asksServices(m) {
		s.services.seen = whoServices{host: strings.Clone(param(m, 3))}
	}
	if w := s.whoisOf(m); w != nil {
		w.there, w.nick, w.user, w.host = true, strings.Clone(param(m, 1)), strings.Clone(param(m, 2)), strings.Clone(param(m, 3))
	}
}

// onWhoisServer handles 312: the server that somebody is on.
func (s *session) onWhoisServer(m *ircmsg.Message) {
	if s.asksServices(m) {
		s.services.seen.server = strings.Clone(param(m, 2))
		s.services.seen.far = m.Source != "" && !strings.EqualFold(m.Source, param(m, 2))
	}
}

// onWhoisOper handles 313, operators and services, and 310, services on InspIRCd.
func (s *session) onWhoisOper(m *ircmsg.Message) {
	if s.asksServices(m) {
		s.services.seen.called = true
	}
}

// asksServices reports whether a numeric of WHOIS is about NickServ.
func (s *session) asksServices(m *ircmsg.Message) bool {
	return !s.builtIn() && s.fold(param(m, 1)) == s.fold(nickServ)
}

func (s *session) onWhoisAccount(m *ircmsg.Message) {
	if w := s.whoisOf(m); w != nil {
		w.account = accountFact(param(m, 2), "WHOIS", s.now)
	}
}

func (s *session) onWhoisSecure(m *ircmsg.Message) {
	s.evidence.whoisTLS = true
	if w := s.whoisOf(m); w != nil {
		w.tls = policy.Is("", "WHOIS", s.now)
	}
}

func (s *session) onWhoisCert(m *ircmsg.Message) {
	if w := s.whoisOf(m); w != nil {
		if fp := parseCertFP(param(m, -1)); fp != "" {
			w.cert = policy.Is(fp, "WHOIS", s.now)
		}
	}
}

func (s *session) onWhoisEnd(m *ircmsg.Message) {
	if s.asksServices(m) {
		s.metServices()
	}
	if w := s.whoisOf(m); w != nil {
		w.ended = true
		s.whoisDone(s.fold(w.nick), w)
	}
}

// whoisDone takes the answer in, with what its silence means.
func (s *session) whoisDone(key string, w *whois) {
	if s.whois[key] != w {
		return
	}
	delete(s.whois, key)
	defer s.nextWhois()
	defer s.heardOf(key, w)
	defer s.foundOut(key, w)
	defer s.knocked(key, w)
	u := s.users[key]
	if !w.there {
		if u != nil {
			s.sawChanged(u, "") // nothing more could be learnt
		}
		return
	}
	if w.account.Known == policy.Unknown {
		w.account = policy.IsNot("WHOIS", s.now)
	}
	if w.tls.Known == policy.Unknown && s.whoisTells() {
		w.tls = policy.IsNot("WHOIS", s.now)
	}
	if w.cert.Known == policy.Unknown {
		w.cert = s.noCert(w.tls)
	}
	if u != nil {
		u.account, u.tls, u.cert = w.account, w.tls, w.cert
		s.sawChanged(u, "")
	}
}

// whoisTells reports whether a WHOIS without 671 says that there is no TLS.
func (s *session) whoisTells() bool {
	switch s.software() {
	case policy.InspIRCd:
		return s.evidence.sslinfo
	case policy.Other:
		return s.evidence.whoisTLS
	}
	return true
}

// sawKnown tells what is known of somebody who was asked for.
func (s *session) sawKnown(l lookup) {
	if c := s.inRoom(l.room); c != nil {
		if m := c.members[s.fold(l.nick)]; m != nil {
			s.seeIn(c, bridge.Sight{Kind: bridge.SightChanged, Facts: s.facts(c, m), Rights: s.rights(m)})
		}
	}
}
