package irc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"drawbridge/bridge"
)

var _ bridge.Enforcer = (*Leg)(nil)

// Errors of Apply.
var (
	errNoChannel = errors.New("irc: not a change of a channel")
	errLong      = errors.New("irc: a command is longer than a line")
)

// guards says which rooms are guarded, and who hears of them.
type guards struct {
	watcher bridge.Watcher
	rooms   map[bridge.Room]bool
}

// freshFor is how long the answers to a JOIN are taken for the present state.
const freshFor = 10 * time.Second

// watch is a guarded channel that we are in.
type watch struct {
	ready bool // all who are there are known, and the guard has been told
	// fresh is until when modes, topic and who is there need not be asked for again by
	// the first look: each line costs a second of the first kick, where a server slows us.
	fresh time.Time
}

// Watch says which of the configured channels are guarded, and who hears of them.
// Those that we are in are told anew.
func (l *Leg) Watch(w bridge.Watcher, rooms []bridge.Room) {
	g := &guards{watcher: w, rooms: make(map[bridge.Room]bool, len(rooms))}
	for _, r := range rooms {
		g.rooms[r] = true
	}
	l.guards.Store(g)
	if s := l.current(); s != nil {
		s.call(call{})
	}
}

// current is the session, or nil.
func (l *Leg) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// Apply sends commands to a channel, before everything else but PONG. It returns
// once they are on the wire, or when ctx ends, the room closes (ErrNotReady) or a
// line is too long; the rest is not sent then. What is said to ChanServ alone goes out
// of a room, too: it may be what lets the bot in.
func (l *Leg) Apply(ctx context.Context, room bridge.Room, c bridge.Changes) error {
	if c.Step != nil {
		return errNoChannel
	}
	lines := make([]string, 0, len(c.Lines))
	asks := true
	for _, command := range c.Lines {
		asks = asks && command.Verb == "PRIVMSG" && command.Params[0] == chanServ
		line := oneLine(command.Line())
		if len(line) > maxSent {
			return fmt.Errorf("%w: %s of %d bytes", errLong, command.Verb, len(line))
		}
		lines = append(lines, line)
	}
	s := l.current()
	if s == nil {
		return bridge.ErrNotReady
	}
	if asks {
		room = bridge.Room{}
	}
	return s.win.order(ctx, room, lines)
}

// Whisper sends words to somebody as a NOTICE, cut to one line. At most 64 wait.
func (l *Leg) Whisper(_ bridge.Room, nick, words string) {
	s := l.current()
	if s == nil || !cleanWord(nick) || nick[0] == ':' {
		return
	}
	s.win.whisper(nick, oneLine(words))
}

// call is something that the reader is to do, holding mu.
type call struct {
	do   func() // nil: it has only to look
	drop func() // instead, where the session ended before; may be nil
}

// maxCalls bounds the calls that wait.
const maxCalls = 256

// call has the reader do c; false: it cannot any more.
func (s *session) call(c call) bool {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	if s.calls.over || len(s.calls.waiting) >= maxCalls {
		return false
	}
	if c.do != nil {
		s.calls.waiting = append(s.calls.waiting, c)
	}
	s.called.Store(true)
	s.wake()
	return true
}

// doCalls does what others asked for.
func (s *session) doCalls() {
	s.called.Store(false)
	s.calls.mu.Lock()
	waiting := s.calls.waiting
	s.calls.waiting = nil
	s.calls.mu.Unlock()
	for _, c := range waiting {
		c.do()
	}
	s.lookUp()
}

// endCalls turns away who waits.
func (s *session) endCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.over = true
	for _, c := range s.calls.waiting {
		if c.drop != nil {
			c.drop()
		}
	}
	s.calls.waiting = nil
	if s.observing != nil {
		s.observing.reply <- nil
		s.observing = nil
	}
	s.endFinds()
	if s.account != nil {
		s.account.reply <- nil
		s.account = nil
	}
}

// guard follows what Watch says. The reader calls it before each line.
func (s *session) guard() {
	g := s.leg.guards.Load()
	if g == s.guards {
		return
	}
	s.guards = g
	s.win.setGuarded(len(g.rooms) > 0)
	if len(g.rooms) == 0 || !s.up {
		return
	}
	if s.beginGuard(); s.services.told && s.servicesGone() {
		s.see(bridge.Sight{Kind: bridge.SightServices, Down: true})
	}
	for _, key := range slices.Sorted(maps.Keys(s.channels)) {
		if c := s.channels[key]; c.joined && c.listed {
			s.startWatch(c)
		}
	}
}

// beginGuard asks what a guard of any channel has to know of the network.
func (s *session) beginGuard() {
	if s.guards != nil && len(s.guards.rooms) > 0 {
		s.watchServices()
		s.probeTLS()
	}
}

// guarded reports whether guards hold c.
func (s *session) guarded(c *channel) bool {
	return c != nil && c.wanted && s.guards != nil && s.guards.rooms[c.room]
}

// startWatch asks who is in c and tells the guard, if one holds c.
func (s *session) startWatch(c *channel) bool {
	c.watch = nil
	if !s.guarded(c) {
		return false
	}
	w := &watch{}
	c.watch = w
	_ = s.win.command("MODE "+c.name, nil) // ready waits for the line behind it
	if s.win.command(s.whoLine(c), func() { s.ready(c, w) }) != nil {
		s.ready(c, w)
	}
	return true
}

// ready tells who is in c, and that this is all.
func (s *session) ready(c *channel, w *watch) {
	if c.watch != w || !c.joined {
		return
	}
	w.ready, w.fresh = true, s.now.Add(freshFor)
	for _, key := range slices.Sorted(maps.Keys(c.members)) {
		s.seeIn(c, bridge.Sight{Kind: bridge.SightHere, Facts: s.facts(c, c.members[key]), Rights: s.rights(c.members[key])})
	}
	caps := s.channelCaps()
	s.seeIn(c, bridge.Sight{Kind: bridge.SightReady, Caps: &caps})
}

// see tells the guard something, once the line at hand is done with.
func (s *session) see(g bridge.Sight) {
	if s.guards == nil || s.guards.watcher == nil || len(s.guards.rooms) == 0 {
		return
	}
	g.Leg, g.Time, g.Self = s.cfg.Name, s.now, g.Self || g.Facts.Self
	s.sights = append(s.sights, g)
}

// seeIn tells of c, if guards hold it and have been told who is there.
func (s *session) seeIn(c *channel, g bridge.Sight) {
	if s.watched(c) {
		g.Room = c.room
		s.see(g)
	}
}

// watched reports whether the guard is told what happens in c.
func (s *session) watched(c *channel) bool { return c != nil && c.watch != nil && c.watch.ready }

// showSights hands the sights of the last line out. The reader holds no lock here.
func (s *session) showSights() {
	if len(s.sights) == 0 {
		return
	}
	for i := range s.sights {
		s.guards.watcher.See(&s.sights[i])
	}
	clear(s.sights)
	s.sights = s.sights[:0]
	runtime.Gosched() // who has to kick somebody goes first, before the rest of our own work
}
