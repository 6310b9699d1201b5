package irc

import (
	"strings"
	"time"
)

// ctcpLimit bounds the answers to CTCP requests: ctcpBurst at once, then one
// each ctcpEvery. What is over it is not answered.
type ctcpLimit struct {
	spent int
	since time.Time
}

const (
	ctcpBurst = 3
	ctcpEvery = 10 * time.Second
)

func (l *ctcpLimit) allow(now time.Time) bool {
	if n := int(now.Sub(l.since) / ctcpEvery); n > 0 {
		l.spent, l.since = max(l.spent-n, 0), now
	}
	if l.spent >= ctcpBurst {
		return false
	}
	l.spent++
	return true
}

// ctcpBody cuts the body of a CTCP out of a PRIVMSG: its command and the rest.
func ctcpBody(body string) (command, rest string, ok bool) {
	body, ok = strings.CutPrefix(body, "\x01")
	if !ok {
		return "", "", false
	}
	command, rest, _ = strings.Cut(strings.TrimSuffix(body, "\x01"), " ")
	return strings.ToUpper(command), rest, true
}

// answerCTCP answers what is safe to answer. NOTICEs never come here.
func (s *session) answerCTCP(nick, command, rest string) {
	var answer string
	switch command {
	case "VERSION":
		answer = s.cfg.Version
	case "PING":
		answer = rest[:min(len(rest), 64)]
	case "CLIENTINFO":
		answer = "ACTION CLIENTINFO PING VERSION"
	default:
		return
	}
	if !s.up || !cleanWord(nick) || !s.ctcp.allow(s.now) {
		return
	}
	_ = s.win.command("NOTICE "+nick+" :\x01"+command+" "+oneLine(answer)+"\x01", nil) // not worth more than a try
}
