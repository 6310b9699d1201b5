package irc

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// This file tells guards what happens in their channels.

// sawChanged tells of u, in every guarded channel it is in.
func (s *session) sawChanged(u *user, old string) {
	key := s.fold(u.nick)
	for _, c := range s.channels {
		if m := c.members[key]; m != nil && s.watched(c) {
			s.seeIn(c, bridge.Sight{Kind: bridge.SightChanged, Facts: s.facts(c, m), Old: old, Rights: s.rights(m)})
		}
	}
}

func (s *session) sawCame(c *channel, m *member) {
	m.since = s.now
	if s.merging.came(s.fold(m.nick), s.now) {
		s.merges()
	}
	s.seeIn(c, bridge.Sight{Kind: bridge.SightCame, Facts: s.facts(c, m)})
}

// sawWent tells that somebody leaves c. The channel has it still.
func (s *session) sawWent(c *channel, nick string, split bool, by bridge.By) {
	if m := c.members[s.fold(nick)]; m != nil && s.watched(c) {
		s.seeIn(c, bridge.Sight{Kind: bridge.SightWent, Facts: s.facts(c, m), Split: split, By: by})
	}
}

// sawLost tells that we are not in c any more.
func (s *session) sawLost(c *channel, why string) {
	s.seeIn(c, bridge.Sight{Kind: bridge.SightLost, Text: why})
	c.watch = nil
}

// sawShut tells that a channel does not let us in, where services could have it do so.
func (s *session) sawShut(c *channel) {
	if !s.guarded(c) || c.joined || c.refused == "" || s.services.family == policy.NoServices {
		return
	}
	caps := s.channelCaps()
	s.see(bridge.Sight{Kind: bridge.SightLost, Room: c.room, What: c.refused, Text: c.detail, Caps: &caps})
}

// sawMode tells of one change of c, which has been made.
func (s *session) sawMode(c *channel, ch change, by bridge.By) {
	if !s.watched(c) {
		return
	}
	if ch.kind != modePrefix {
		s.seeIn(c, bridge.Sight{Kind: bridge.SightMode, What: cleanText(ch.String()), By: by})
		return
	}
	if m := c.members[s.fold(ch.arg)]; m != nil {
		s.seeIn(c, bridge.Sight{Kind: bridge.SightRights, Facts: s.facts(c, m), Rights: s.rights(m), What: cleanText(ch.String()), By: by})
	}
}

// by is who made a line. A server's own says so by having no user and host.
func (s *session) by(c *channel, m *ircmsg.Message) bridge.By {
	if !strings.Contains(m.Source, "!") && c.members[s.fold(m.Source)] == nil {
		return bridge.By{Nick: strings.Clone(m.Source), Server: true}
	}
	f := s.factsOf(c, m)
	return bridge.By{Nick: f.Nick, Server: s.isService(m), Facts: f}
}

// isSplit reports whether a QUIT tells of a netsplit: the names of two servers, or
// what servers put there that hide theirs.
func isSplit(reason string) bool {
	a, b, ok := strings.Cut(reason, " ")
	return ok && serverName(a) && serverName(b)
}

func serverName(s string) bool {
	return len(s) >= 3 && strings.IndexByte(s[:len(s)-1], '.') >= 0 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*") == "" && s[len(s)-1] != '.'
}

// sawSaid tells that a line was said in c, by whom.
func (s *session) sawSaid(c *channel, by *policy.Facts, body string) {
	if s.watched(c) {
		s.seeIn(c, bridge.Sight{Kind: bridge.SightSaid, Facts: *by, Said: s.measure(c, body)})
	}
}

// measure is what floods are known by in a line: its formatting does not count.
func (s *session) measure(c *channel, body string) policy.Said {
	if command, rest, isCTCP := ctcpBody(body); isCTCP && command == "ACTION" {
		body = rest
	}
	return s.leg.gauge.Measure(stripFormat(decode(body)), func(word string) string {
		if m := c.members[s.fold(word)]; m != nil {
			return m.nick
		}
		return ""
	})
}

// Plain is text without formatting, colours and other control characters: what a
// topic is elsewhere.
func Plain(s string) string { return stripFormat(s) }

// stripFormat drops formatting, colours with their numbers, and other control characters.
func stripFormat(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == 0x03 || c == 0x04:
			i++
			n, digits := 2, "0123456789"
			if c == 0x04 {
				n, digits = 6, "0123456789abcdefABCDEF"
			}
			i += leading(s[i:], digits, n)
			if i+1 < len(s) && s[i] == ',' && strings.IndexByte(digits, s[i+1]) >= 0 {
				i += 1 + leading(s[i+1:], digits, n)
			}
		case c < ' ' || c == 0x7f:
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// leading is how many bytes at the front of s are in set, at most n.
func leading(s, set string, n int) int {
	i := 0
	for i < len(s) && i < n && strings.IndexByte(set, s[i]) >= 0 {
		i++
	}
	return i
}

// onKnock handles 710: somebody asks to be let in.
func (s *session) onKnock(m *ircmsg.Message) {
	for i, p := range m.Params {
		if c := s.channel(p); c != nil && i+1 < len(m.Params) {
			for _, who := range m.Params[i+1:] {
				if strings.Contains(who, "!") {
					s.sawKnock(c, who)
					return
				}
			}
		}
	}
}

// knockNotice reads the notice by which InspIRCd tells operators of a knock:
// "[Knock] by nick!user@host (reason)", from the server to @#channel.
func (s *session) knockNotice(m *ircmsg.Message) {
	if strings.Contains(m.Source, "!") || m.Command != "NOTICE" {
		return
	}
	target := strings.TrimLeft(m.Params[0], s.isupport.statusMsg+s.isupport.prefixSigns)
	rest, ok := strings.CutPrefix(m.Params[1], "[Knock] by ")
	if c := s.channel(target); ok && c != nil {
		who, _, _ := strings.Cut(rest, " ")
		s.sawKnock(c, who)
	}
}

// maxKnocks bounds those who knock and wait for a WHOIS to say who they are.
const maxKnocks = 16

// knock is somebody at a channel's door who is being asked for.
type knock struct {
	c   *channel
	nuh ircmsg.NUH
	at  time.Time
}

// sawKnock tells of who asks to be let in, once it is known who that is.
func (s *session) sawKnock(c *channel, who string) {
	nuh, err := ircmsg.ParseNUH(who)
	if err != nil || !cleanWord(nuh.Name) || !s.watched(c) {
		return
	}
	k := knock{c, ircmsg.NUH{Name: strings.Clone(nuh.Name), User: strings.Clone(nuh.User), Host: strings.Clone(nuh.Host)}, s.now}
	if u := s.users[s.fold(k.nuh.Name)]; u != nil && u.host == k.nuh.Host && u.account.Known == policy.Yes {
		s.seeKnock(k, u.account, u.tls, u.cert)
		return
	}
	s.knocks = slices.DeleteFunc(s.knocks, func(x knock) bool { return s.now.Sub(x.at) > 2*whoisLasts })
	if slices.ContainsFunc(s.knocks, func(x knock) bool { return x.c == c && x.nuh == k.nuh }) || len(s.knocks) >= maxKnocks || len(s.lookQueue) >= maxLookups {
		return // told twice, or too many: they may knock again
	}
	s.knocks = append(s.knocks, k)
	s.lookQueue = append(s.lookQueue, lookup{nick: k.nuh.Name})
	s.nextWhois()
}

// knocked tells of those who knocked and are known now, if they are still who they were.
func (s *session) knocked(key string, w *whois) {
	s.knocks = slices.DeleteFunc(s.knocks, func(k knock) bool {
		if s.fold(k.nuh.Name) != key {
			return false
		}
		if w.there && w.user == k.nuh.User && w.host == k.nuh.Host {
			s.seeKnock(k, w.account, w.tls, w.cert)
		}
		return true
	})
}

func (s *session) seeKnock(k knock, account, tls, cert policy.Fact) {
	f := policy.NewIRCFacts(s.cfg.Name, k.nuh.Name, k.nuh.User, k.nuh.Host)
	f.Account, f.TLS, f.Cert = s.trusted(account), tls, cert
	s.seeIn(k.c, bridge.Sight{Kind: bridge.SightInvited, Facts: f})
}
