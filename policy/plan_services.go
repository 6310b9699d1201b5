package policy

import (
	"fmt"
	"strings"
)

// services asks ChanServ to hold modes, topic and rights: what it refuses itself
// needs no war.
func (p *planner) services() {
	say := func(format string, args ...any) {
		p.out = append(p.out, Command{Verb: "PRIVMSG", Params: []string{"ChanServ", fmt.Sprintf(format, args...)}})
	}
	name := p.want.Name
	if lock := p.want.MLock; lock != "" && !sameLock(lock, p.seen.MLock) {
		switch p.caps.Services {
		case Atheme:
			say("SET %s MLOCK %s", name, lock)
		case Anope:
			say("MODE %s LOCK SET %s", name, lock)
		}
	}
	if p.want.TopicLock && !p.seen.TopicLock {
		switch p.caps.Services {
		case Atheme:
			say("SET %s TOPICLOCK ON", name)
		case Anope:
			say("TOPIC %s LOCK", name)
		}
	}
	if m := p.want.EntryMsg; m != nil && p.seen.EntryMsg != nil && *m != *p.seen.EntryMsg && p.caps.Services == Atheme {
		if *m == "" {
			say("SET %s ENTRYMSG OFF", name)
		} else {
			say("SET %s ENTRYMSG %s", name, *m)
		}
	}
	for _, a := range p.want.Access {
		if diff := flagDiff(p.seen.Access[a.Account], a.Flags); diff != "" && p.caps.Services == Atheme {
			say("FLAGS %s %s %s", name, a.Account, diff)
		}
	}
}

// sameLock compares mode locks: services write the modes in an order of their own.
func sameLock(a, b string) bool {
	signed := func(lock string) (out [128]byte) {
		sign := byte('+')
		for i := range len(lock) {
			switch c := lock[i]; {
			case c == '+' || c == '-':
				sign = c
			case c < 128:
				out[c] = sign
			}
		}
		return out
	}
	return signed(a) == signed(b)
}

// flagDiff returns "+x-y", in the order of the letters given.
func flagDiff(has, wants string) string {
	add, drop := "", ""
	for _, c := range wants {
		if !strings.ContainsRune(has, c) {
			add += string(c)
		}
	}
	for _, c := range has {
		if !strings.ContainsRune(wants, c) {
			drop += string(c)
		}
	}
	out := ""
	if add != "" {
		out = "+" + add
	}
	if drop != "" {
		out += "-" + drop
	}
	return out
}
