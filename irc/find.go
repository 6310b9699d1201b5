package irc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
)

var _ bridge.Finder = (*Leg)(nil)

// Errors of Find, beside those of bridge.
var (
	errNick   = errors.New("irc: not a nick")
	errSilent = errors.New("irc: WHOIS was not answered")
)

// maxFinds bounds those who wait for a WHOIS of somebody.
const maxFinds = 32

// find is somebody who waits to hear who has a nick.
type find struct {
	key   string // folded
	reply chan found
}

type found struct {
	facts policy.Facts
	err   error
}

// Find asks by WHOIS who has a nick now, wherever they are. It waits for the answer, 30 s
// at most.
func (l *Leg) Find(ctx context.Context, nick string) (policy.Facts, error) {
	if !cleanWord(nick) || !isNick(nick) {
		return policy.Facts{}, errNick
	}
	s := l.current()
	if s == nil {
		return policy.Facts{}, bridge.ErrNotReady
	}
	reply := make(chan found, 1)
	gone := func() { reply <- found{err: bridge.ErrNotReady} }
	if !s.call(call{do: func() { s.find(nick, reply) }, drop: gone}) {
		return policy.Facts{}, bridge.ErrNotReady
	}
	select {
	case f := <-reply:
		return f.facts, f.err
	case <-ctx.Done():
		return policy.Facts{}, ctx.Err()
	}
}

// isNick reports whether a word can be a nick: no mask, no channel, no list.
func isNick(word string) bool {
	for i := range len(word) {
		if c := word[i]; c < 0x80 && !isNickByte(c) {
			return false
		}
	}
	return len(word) <= 64
}

// find begins to ask for somebody.
func (s *session) find(nick string, reply chan found) {
	if len(s.finds) >= maxFinds || len(s.lookQueue) >= maxLookups || !s.up {
		reply <- found{err: bridge.ErrNotReady}
		return
	}
	s.finds = append(s.finds, find{s.fold(nick), reply})
	s.lookQueue = append(s.lookQueue, lookup{nick: nick})
	s.nextWhois()
}

// foundOut tells those who waited for this WHOIS what it said.
func (s *session) foundOut(key string, w *whois) {
	s.finds = slices.DeleteFunc(s.finds, func(x find) bool {
		if x.key != key {
			return false
		}
		var out found
		switch {
		case w.there:
			out.facts = policy.NewIRCFacts(s.cfg.Name, w.nick, w.user, w.host)
			if out.facts.Account = w.account; w.account.Known == policy.Unknown {
				out.facts.Account = policy.IsNot("WHOIS", s.now)
			}
			out.facts.Account = s.trusted(out.facts.Account)
			out.facts.TLS, out.facts.Cert, out.facts.Self = w.tls, w.cert, s.isMe(w.nick)
		case w.ended:
			out.err = bridge.ErrNobody
		default:
			out.err = errSilent
		}
		x.reply <- out
		return true
	})
}

// endFinds turns away who waits.
func (s *session) endFinds() {
	for _, x := range s.finds {
		x.reply <- found{err: bridge.ErrNotReady}
	}
	s.finds = nil
}

// isNickByte reports whether a nick may hold b (RFC 2812 §2.3.1).
func isNickByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-_[]\\`^{}|", b) >= 0
}
