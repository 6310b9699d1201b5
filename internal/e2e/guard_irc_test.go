//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// onIRCAlone is a bot without Jabber: it bridges two channels that do not matter here,
// and guards what follows. carl and bob have accounts.
const onIRCAlone = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge${login}}
store: {path: store}
people:
  carl: {irc: {corp: {accounts: [carlacct]}}}
  bob: {irc: {corp: {accounts: [bobacct]}}}${people}
bridges:
  dev: {irc: [{network: corp, channel: "#dev"}, {network: corp, channel: "#dev2"}], announce: off}
`

// sesame is the password of every account at services.
const sesame = "sesame"

// newIRCHouse is a house with an IRC server, as ${irc}. Where it has services the bot,
// carl and bob have accounts there.
func newIRCHouse(t *testing.T, ircd func(*house) *lab.IRCServer) (*house, *lab.IRCServer) {
	t.Helper()
	h := newHouse(t)
	s := ircd(h)
	h.vars["irc"], h.vars["login"], h.vars["people"] = localhost(s.TLSAddr), "", ""
	if s.Services != nil {
		h.vars["login"] = ", sasl: {mechanism: plain, account: bridgeacct, password_file: services}"
		h.file("services", sesame+"\n")
		for _, account := range []string{"bridgeacct", "carlacct", "bobacct"} {
			s.Register(account, sesame)
		}
	}
	return h, s
}

// withServices is an InspIRCd without limits, with atheme.
func withServices(h *house) *lab.IRCServer {
	return h.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
}

// member connects somebody, logged in to nick+"acct".
func (h *house) member(s *lab.IRCServer, nick string) *lab.IRCUser {
	h.t.Helper()
	u := h.IRCUser(s, nick)
	logIn(u, nick+"acct")
	return u
}

// members connects several at once, each logged in to nick+"acct".
func (h *house) members(s *lab.IRCServer, nicks ...string) []*lab.IRCUser {
	h.t.Helper()
	users := h.IRCUsers(s, nicks...)
	for _, u := range users {
		logIn(u, u.Nick+"acct")
	}
	return users
}

func logIn(u *lab.IRCUser, account string) {
	u.Send("PRIVMSG NickServ :IDENTIFY " + account + " " + sesame)
	u.Expect(" 900 ")
}

// found has carl make a channel, and register it, with what services let the bot do.
func (h *house) found(carl *lab.IRCUser, channel string) {
	h.t.Helper()
	carl.Join(channel)
	carl.Send("PRIVMSG ChanServ :REGISTER " + channel)
	carl.Expect("is now registered to")
	carl.Send("PRIVMSG ChanServ :FLAGS " + channel + " bridgeacct +oOiAsrR")
	carl.Expect("were set on")
}

// held waits until the bot holds a channel and has nothing to change there.
func (h *house) held(place string) {
	h.t.Helper()
	h.guardSays([]string{"status"}, place+": held, ")
}

// answer is what a command of u is answered with first that holds one of the parts.
func (h *house) answer(u *lab.IRCUser, command string, parts ...string) string {
	h.t.Helper()
	seen, found := len(u.Lines()), ""
	u.Send(command)
	if !lab.Poll(wait, func() bool {
		for _, l := range u.Lines()[seen:] {
			if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(l, p) }) {
				found = l
				return true
			}
		}
		return false
	}) {
		h.t.Fatalf("%s: %s is never answered with one of %q, but\n%s", u.Nick, command, parts, strings.Join(u.Lines()[seen:], "\n"))
	}
	return found
}

// answers is all that a command of u is answered with, up to a line that holds end.
func (h *house) answers(u *lab.IRCUser, command, end string) string {
	h.t.Helper()
	seen := len(u.Lines())
	h.answer(u, command, end)
	return strings.Join(u.Lines()[seen:], "\n")
}

// asksUntil has u ask again until it is answered with part.
func (h *house) asksUntil(u *lab.IRCUser, command, part, end string) {
	h.t.Helper()
	last := ""
	if !lab.Poll(wait, func() bool {
		last = h.answer(u, command, part, end)
		return strings.Contains(last, part)
	}) {
		h.t.Fatalf("%s: %s is always answered with %s, never %q", u.Nick, command, last, part)
	}
}

// never fails if u has seen a line with part.
func (h *house) never(u *lab.IRCUser, part string) {
	h.t.Helper()
	for _, l := range u.Lines() {
		if strings.Contains(l, part) {
			h.t.Errorf("%s saw %s", u.Nick, l)
		}
	}
}

// door is what somebody is answered who wants in: "in", or the numeric that refuses.
func (h *house) door(u *lab.IRCUser, channel string) string {
	h.t.Helper()
	refusals := []string{"471", "473", "474", "475", "477", "489", "490", "520"}
	parts := []string{" 366 " + u.Nick + " " + channel + " "}
	for _, n := range refusals {
		parts = append(parts, " "+n+" "+u.Nick+" "+channel+" ")
	}
	l := h.answer(u, "JOIN "+channel, parts...)
	for _, n := range refusals {
		if strings.Contains(l, " "+n+" ") {
			return n
		}
	}
	return "in"
}

// doorSays waits until somebody who tries to come in is answered so.
func (h *house) doorSays(u *lab.IRCUser, channel, want string) {
	h.t.Helper()
	got := ""
	if !lab.Poll(wait, func() bool {
		if got = h.door(u, channel); got == "in" && want != "in" {
			u.Send("PART " + channel)
		}
		return got == want
	}) {
		h.t.Fatalf("%s is answered %s at the door of %s, not %s", u.Nick, got, channel, want)
	}
}

// kicks counts how often somebody was kicked, as u saw it.
func kicks(u *lab.IRCUser, channel, nick string) int {
	n := 0
	for _, l := range u.Lines() {
		if strings.Contains(l, " KICK "+channel+" "+nick+" ") {
			n++
		}
	}
	return n
}

// sees waits until u sees a line with all the parts, after the first n lines.
func (h *house) sees(u *lab.IRCUser, n int, parts ...string) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool { return slices.ContainsFunc(u.Lines()[n:], hasAll(parts)) }) {
		out, _, _ := h.try("guard", "status")
		h.t.Fatalf("%s never saw %q, but\n%s\n%s", u.Nick, parts, strings.Join(u.Lines()[n:], "\n"), out)
	}
}
