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

// lockedYet reports whether ChanServ still keeps a mode with that sign, and is about to be
// asked for another lock: until it has answered, servers refuse the change (742).
func (p *planner) lockedYet(c rune, sign byte) bool {
	if p.want.MLock == "" || p.caps.Services == NoServices || c >= 128 || sameLock(p.want.MLock, p.seen.MLock) {
		return false
	}
	return signs(p.seen.MLock)[c] == sign && signs(p.want.MLock)[c] != sign
}

// LockHolds reports whether PlanChannel leaves a mode as it is, because ChanServ keeps it
// until it has taken the new lock.
func LockHolds(want Channel, seen ChannelSeen, caps ChannelCaps) bool {
	p := planner{want: &want, seen: &seen, caps: &caps}
	held := func(letters string, is bool, sign byte) bool {
		return strings.ContainsFunc(letters, func(c rune) bool { return strings.ContainsRune(seen.Flags, c) == is && p.lockedYet(c, sign) })
	}
	return held(want.Set, false, '-') || held(want.Clear, true, '+')
}

// sameLock compares mode locks: services write the modes in an order of their own.
func sameLock(a, b string) bool { return signs(a) == signs(b) }

// signs are those of the modes of a lock.
func signs(lock string) (out [128]byte) {
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
