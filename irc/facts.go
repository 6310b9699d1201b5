package irc

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/policy"
)

// This file keeps what is known of people, for guards. Each fact is known-in,
// known-out, unknown, or never told by this network; who cannot say yes is not taken
// for a no.

// longBefore is how long before us somebody is taken to have come whom we found in
// a channel: nobody there is a newcomer.
const longBefore = 2 * time.Minute

// evidence is what the network has shown that it tells.
type evidence struct {
	whoTLS   bool // a WHO reply had the flag s
	whoisTLS bool // a WHOIS reply had 671 or 275
	sslinfo  bool // InspIRCd has SSLINFO, and so tells TLS and certificates
	asked    bool // for SSLINFO
}

// known is what learn compares.
type known struct {
	name, host         string
	account, cert, tls knownFact
}

type knownFact struct {
	known policy.Known
	value string
}

func (u *user) known() known {
	of := func(f policy.Fact) knownFact { return knownFact{f.Known, f.Value} }
	return known{u.name, u.host, of(u.account), of(u.cert), of(u.tls)}
}

// learn has change tell something of u. Guards hear of it if it is news.
func (s *session) learn(u *user, change func()) {
	before := u.known()
	change()
	if u.known() != before {
		s.sawChanged(u, "")
	}
}

// accountFact is what an account means that a server tells, where * and 0 are none.
func accountFact(account, from string, now time.Time) policy.Fact {
	if account == "" || account == "*" || account == "0" {
		return policy.IsNot(from, now)
	}
	return policy.Is(strings.Clone(account), from, now)
}

// software is the family of the server.
func (s *state) software() policy.Software { return s.isupport.software }

// tellsAccounts reports whether the network tells who is logged in as whom.
func (s *session) tellsAccounts() bool {
	on := s.reg.enabled
	return on["extended-join"] || on["account-notify"] || on["account-tag"] || s.isupport.whox || s.services.state != servicesUnseen
}

// facts is what is known of a member of c.
func (s *session) facts(c *channel, m *member) policy.Facts {
	f := policy.NewIRCFacts(s.cfg.Name, m.nick, m.name, m.host)
	f.Account, f.Cert, f.TLS = s.trusted(m.account), m.cert, m.tls
	f.Self = s.isMe(m.nick)
	if f.Since = m.since; f.Since.IsZero() {
		f.Since = c.since.Add(-longBefore)
	}
	if f.Cert.Known == policy.Unknown && (f.TLS.Known == policy.No || s.software() == policy.NgIRCd) {
		f.Cert = s.noCert(f.TLS)
	}
	return f
}

// trusted is what an account is worth: while services are down nobody can log in,
// and "not logged in" says nothing.
func (s *session) trusted(account policy.Fact) policy.Fact {
	switch {
	case account.Known == policy.Yes:
		return account
	case !s.tellsAccounts():
		return policy.Fact{Known: policy.Never}
	case !s.servicesTrusted():
		return policy.Fact{From: account.From}
	}
	return account
}

// noCert is what it means that no certificate was told. Only InspIRCd tells the
// certificates of others to everybody; ngIRCd tells them to nobody.
func (s *session) noCert(tls policy.Fact) policy.Fact {
	switch {
	case tls.Known == policy.No, s.software() == policy.InspIRCd && s.evidence.sslinfo:
		return policy.IsNot("WHOIS", s.now)
	case s.software() == policy.InspIRCd:
		return policy.Fact{}
	}
	return policy.Fact{Known: policy.Never}
}

// factsOf is what is known of the source of a line about c, which may be nobody of it.
func (s *session) factsOf(c *channel, m *ircmsg.Message) policy.Facts {
	nuh, _ := ircmsg.ParseNUH(m.Source)
	if c != nil {
		if mem := c.members[s.fold(nuh.Name)]; mem != nil {
			return s.facts(c, mem)
		}
	}
	f := policy.NewIRCFacts(s.cfg.Name, strings.Clone(nuh.Name), strings.Clone(nuh.User), strings.Clone(nuh.Host))
	f.Self = s.isMe(nuh.Name)
	f.Account = s.trusted(policy.Fact{})
	if a := tag(m, "account"); a != "" {
		f.Account = accountFact(a, "account-tag", s.now)
	}
	return f
}

// noteAccountTag takes the account in that a line bears. One without it says
// nothing: a line may be older than a login.
func (s *session) noteAccountTag(m *ircmsg.Message) {
	a := tag(m, "account")
	if a == "" {
		return
	}
	if u := s.who(m); u != nil && (u.account.Known != policy.Yes || u.account.Value != a) {
		s.learn(u, func() { u.account = accountFact(a, "account-tag", s.now) })
	}
}

// whoFlags takes the flags of a WHO reply in: G is away, s has TLS. That there is no
// s says so only where the server is seen to tell.
func (s *session) whoFlags(u *user, flags, from string) {
	u.away = strings.HasPrefix(flags, "G")
	tells := s.software() == policy.InspIRCd || s.software() == policy.UnrealIRCd
	switch secure := strings.Contains(flags, "s"); {
	case !tells:
	case secure:
		s.evidence.whoTLS = true
		u.tls = policy.Is("", from, s.now)
	case s.evidence.whoTLS || s.evidence.sslinfo || s.software() == policy.UnrealIRCd:
		u.tls = policy.IsNot(from, s.now)
	}
}

// onWhox handles 354 for our token: token, channel, user, host, nick, flags, account.
func (s *session) onWhox(m *ircmsg.Message) {
	if len(m.Params) != 8 || m.Params[1] != whoxToken {
		return
	}
	u := s.users[s.fold(m.Params[5])]
	if u == nil {
		return
	}
	s.learn(u, func() {
		u.name, u.host = strings.Clone(m.Params[3]), strings.Clone(m.Params[4])
		s.whoFlags(u, m.Params[6], "WHOX")
		u.account = accountFact(m.Params[7], "WHOX", s.now)
	})
}

// onWho handles 352: channel, user, host, server, nick, flags.
func (s *session) onWho(m *ircmsg.Message) {
	if len(m.Params) < 8 {
		return
	}
	if u := s.users[s.fold(m.Params[5])]; u != nil {
		s.learn(u, func() {
			u.name, u.host = strings.Clone(m.Params[2]), strings.Clone(m.Params[3])
			s.whoFlags(u, m.Params[6], "WHO")
		})
	}
}

// whoLine asks who is in c.
func (s *session) whoLine(c *channel) string {
	if s.isupport.whox {
		return "WHO " + c.name + " %tcuhnfa," + whoxToken
	}
	return "WHO " + c.name
}

// probeTLS finds out whether an InspIRCd tells TLS and certificates: its module
// sslinfo may not be loaded, and then its silence would make everybody insecure.
func (s *session) probeTLS() {
	if s.evidence.asked || s.software() != policy.InspIRCd {
		return
	}
	s.evidence.asked, s.evidence.sslinfo = true, true
	_ = s.win.command("SSLINFO "+s.nick, nil) // 421 takes it back
}

// parseCertFP finds the fingerprint in the text of 276; "" is none.
func parseCertFP(text string) string {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return ""
	}
	fp := strings.ToLower(strings.ReplaceAll(fields[len(fields)-1], ":", ""))
	if raw, err := hex.DecodeString(fp); err != nil || len(raw) < 16 || len(raw) > 64 {
		return ""
	}
	return fp
}
