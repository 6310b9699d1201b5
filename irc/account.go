package irc

import (
	"context"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// This file asks NickServ about accounts.

var _ bridge.AccountLeg = (*Leg)(nil)

// accountAsked is one question about an account.
type accountAsked struct {
	name     string
	reply    chan *bridge.AccountSeen // capacity 1; nil: nobody can be asked
	seen     bridge.AccountSeen
	sent     bool // or services are met first
	begun    bool // what comes is about that account: not the late answer to an older question
	deadline time.Time
}

// Account asks NickServ about an account. One account of a leg is asked about at a time.
func (l *Leg) Account(ctx context.Context, name string) (bridge.AccountSeen, error) {
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return bridge.AccountSeen{}, ctx.Err()
	}
	s := l.current()
	if s == nil || !cleanWord(name) {
		return bridge.AccountSeen{}, bridge.ErrNotReady
	}
	reply := make(chan *bridge.AccountSeen, 1)
	if !s.call(call{do: func() { s.askAccount(name, reply) }, drop: func() { reply <- nil }}) {
		return bridge.AccountSeen{}, bridge.ErrNotReady
	}
	select {
	case seen := <-reply:
		if seen == nil {
			return bridge.AccountSeen{}, bridge.ErrNotReady
		}
		return *seen, nil
	case <-ctx.Done():
		return bridge.AccountSeen{}, ctx.Err()
	}
}

// askAccount asks NickServ. An older question was given up.
func (s *session) askAccount(name string, reply chan *bridge.AccountSeen) {
	s.account = nil
	if !s.up {
		reply <- nil
		return
	}
	s.watchServices() // where no guard has them watched: who answers must be known
	s.account = &accountAsked{name: name, reply: reply, deadline: s.now.Add(servicesPatience)}
	s.timer(s.account.deadline)
	if s.services.told || s.builtIn() {
		s.sendAccount()
	}
}

// sendAccount sends the question, if one waits and services are there.
func (s *session) sendAccount() {
	a := s.account
	if a == nil || a.sent {
		return
	}
	v := &s.services
	away := v.told && v.state != servicesUp && v.state != servicesBack
	if away || s.win.reads([]string{"PRIVMSG " + nickServ + " :INFO " + a.name}, func() {}) != nil {
		a.reply <- nil
		s.account = nil
		return
	}
	a.sent = true
}

// accountDue ends the wait for NickServ.
func (s *session) accountDue() {
	if a := s.account; a != nil && !s.now.Before(a.deadline) {
		s.answerAccount()
	}
}

func (s *session) answerAccount() {
	s.account.reply <- &s.account.seen
	s.account = nil
}

// line takes a line of NickServ in. Texts are Atheme 7.2's, or Anope 2.0's, in
// English; what else services say tells nothing.
func (a *accountAsked) line(text string) (done bool) {
	text = strings.TrimSpace(stripFormat(decode(text)))
	if strings.HasSuffix(text, " is not registered.") || strings.HasSuffix(text, " isn't registered.") {
		words := strings.Fields(strings.TrimPrefix(text, "Nick "))
		if !strings.EqualFold(words[0], a.name) {
			return false
		}
		a.seen = bridge.AccountSeen{Known: policy.No}
		return true
	}
	switch about, rest, atheme := strings.Cut(text, "Information on "); {
	case atheme && about == "":
		name, account, _ := strings.Cut(strings.TrimRight(rest, "):"), " (account ")
		if a.begun = strings.EqualFold(name, a.name); !a.begun {
			return false
		}
		a.seen.Known = policy.Yes
		if account != "" && !strings.EqualFold(account, a.name) { // the name is a nick of another account now
			a.seen.Known = policy.No
		}
		return false
	case len(text) > len(a.name) && strings.EqualFold(text[:len(a.name)], a.name) && strings.HasPrefix(text[len(a.name):], " is "):
		a.begun = true
		return false
	case !a.begun:
		return false
	case strings.HasPrefix(text, "*** End of Info"):
		return true
	}
	key, value, ok := strings.Cut(text, ":")
	if !ok {
		return false
	}
	value, _, _ = strings.Cut(value, " (") // how long ago
	switch strings.TrimSpace(key) {
	case "Entity ID":
		a.seen.Mark = "entity " + strings.TrimSpace(value)
	case "Registered", "Account registered":
		if a.seen.Known == policy.Unknown {
			a.seen.Known = policy.Yes
		}
		if a.seen.Mark == "" {
			a.seen.Mark = "registered " + strings.TrimSpace(value)
		}
	}
	return false
}
