package bridge

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/policy"
)

// This file is about what people on IRC say to the bot alone. It is never relayed and
// never stored; what it may do is decided by whom the network says they are, which
// is their services account and never their nick.

// PrivateLeg is a Leg whose people can speak to the bot alone.
type PrivateLeg interface {
	Leg
	// Hear says who hears what is said to the bot alone; without, it is ignored. It is
	// called before Run.
	Hear(l Listener)
	// Tell answers somebody by as many notices as text needs. It does not block; where
	// too much waits already, nothing of text is sent.
	Tell(nick, text string)
}

// Listener hears what people say to the bot alone. Heard is called from the leg's
// reader, in the order of the wire: it returns at once.
type Listener interface{ Heard(p Private) }

// Private is a line that somebody said to the bot alone.
type Private struct {
	Leg string
	// From is who said it. Its Account is what the network told with this very line, or
	// was asked for it, if it can tell at all.
	From policy.Facts
	Text Text
	// Rooms are the configured channels in which both are now, by name.
	Rooms []Room
	Time  time.Time
}

// Aside is a Private whose text is a command, or an answer to what the bot asked.
type Aside struct {
	Leg   string
	From  policy.Facts
	Rooms []Room
	// Words are those of the line, split at blanks: the command first, if it is one, in
	// lower case. There is at least one.
	Words []string
}

// Account is the services account that said it; "" if there is none, or nobody can
// know.
func (a *Aside) Account() string {
	if a.From.Account.Known == policy.Yes {
		return a.From.Account.Value
	}
	return ""
}

// AsideDesk answers people who speak to the bot alone.
type AsideDesk interface {
	// Aside returns what to answer, in as many lines as it takes; "" is no answer. ctx
	// ends after 15 s. Lines of one nick come one after the other, those of others
	// meanwhile.
	Aside(ctx context.Context, a Aside) string
}

// RoomDesk is an AsideDesk for people of some channels alone.
type RoomDesk interface {
	AsideDesk
	Serves(channel Room) bool
}

// serves reports whether people of a room may ask for command alone with the bot.
func (c *Core) serves(command string, room Room) bool {
	desk, ok := c.asides[command].(RoomDesk)
	return ok && desk.Serves(room)
}

// Bounds of what is said to the bot alone.
const (
	maxAsides  = 64 // that wait; more are dropped
	maxLanes   = 32 // people who are answered at once
	laneLength = 32 // lines of one of them that wait
	asideBurst = 24 // lines of one user@host at once
	asideEvery = 2500 * time.Millisecond
	asideHosts = 4096 // that are told apart
	asideLine  = 1024 // bytes of one line that are looked at
	// unheardEvery is how often the log is told that lines were dropped.
	unheardEvery = time.Minute
)

// Heard takes a line over; more than can be answered are dropped.
func (c *Core) Heard(p Private) {
	if len(c.asides) == 0 || p.From.Self {
		return
	}
	select {
	case c.privates <- p:
	default:
		if n := c.unheard.add(p.Leg, c.now()); n > 0 {
			c.log.Warn("too many private lines at once", "leg", p.Leg, "n", n)
		}
	}
}

// unheard counts the lines that were dropped, by leg: strangers send them, and must not
// be able to fill the log.
type unheard struct {
	mu   sync.Mutex // guards legs
	legs map[string]*dropped
}

type dropped struct {
	n    int       // since the log was told
	next time.Time // not before then again
}

// add counts a line, and returns how many the log is to be told of; 0: none now.
func (u *unheard) add(leg string, now time.Time) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.legs == nil {
		u.legs = map[string]*dropped{}
	}
	d := u.legs[leg]
	if d == nil {
		d = &dropped{}
		u.legs[leg] = d
	}
	d.n++
	if now.Before(d.next) {
		return 0
	}
	n := d.n
	d.n, d.next = 0, now.Add(unheardEvery)
	return n
}

// aside answers one line.
func (c *Core) aside(ctx context.Context, p *Private) {
	defer c.contain("private")
	a := Aside{Leg: p.Leg, From: p.From, Rooms: p.Rooms, Words: strings.Fields(Shorten(p.Text.canonical().s, asideLine))}
	if len(a.Words) == 0 {
		return
	}
	key := ""
	if strings.HasPrefix(a.Words[0], "!") {
		a.Words[0] = strings.ToLower(a.Words[0])
		key = a.Words[0]
	}
	desk := c.asides[key]
	if desk == nil {
		return // a bot that answers everything can be made to talk with another
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if text := desk.Aside(ctx, a); text != "" {
		c.TellNick(p.Leg, p.From.Nick, text)
	}
}

// TellNick says text to somebody on IRC alone, by notices. Where their nick may be
// another's by now, it must hold nothing that matters. It reports whether there is such
// a leg. It may be called at any time.
func (c *Core) TellNick(leg, nick, text string) bool {
	legs := *c.legs.Load()
	i := slices.IndexFunc(legs, func(l *legState) bool { return l.name == leg })
	if i < 0 {
		return false
	}
	private, ok := legs[i].leg.(PrivateLeg)
	if ok {
		private.Tell(nick, text)
	}
	return ok
}

// hostRate allows each user@host asideBurst lines at once, and one more each asideEvery.
type hostRate map[string]hostBucket

type hostBucket struct {
	left int
	at   time.Time
	told bool // that it is empty
}

// allow reports whether a line is heard; first, that it is the first that is not.
func (h *hostRate) allow(host string, now time.Time) (ok, first bool) {
	if *h == nil {
		*h = hostRate{}
	}
	b, known := (*h)[host]
	if !known {
		if len(*h) >= asideHosts {
			h.forget(now)
		}
		if len(*h) >= asideHosts {
			return false, false
		}
		b = hostBucket{left: asideBurst, at: now}
	}
	if n := int(now.Sub(b.at) / asideEvery); n > 0 {
		b.left = min(asideBurst, b.left+n)
		b.at = b.at.Add(time.Duration(n) * asideEvery)
	}
	if ok = b.left > 0; ok {
		b.left, b.told = b.left-1, false
	} else {
		first, b.told = !b.told, true
	}
	(*h)[host] = b
	return ok, first
}

// forget lets go of those who have been silent long enough to begin anew.
func (h *hostRate) forget(now time.Time) {
	for host, b := range *h {
		if now.Sub(b.at) >= asideBurst*asideEvery {
			delete(*h, host)
		}
	}
}
