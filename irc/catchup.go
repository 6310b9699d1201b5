package irc

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Bounds of what a replay can make us keep, for each channel.
const (
	maxHeld     = 2000    // lines that wait for the end of a catch-up
	maxHeldSize = 1 << 20 // bytes of them
	maxOwnLines = 512     // own lines of a replay, the latest
)

// catchup is how a channel gets, after a join, to what was said while we were
// away. There are three ways: the server keeps nothing; it replays by itself when
// we join (InspIRCd's chanhistory, bouncers); or it is asked (CHATHISTORY).
type catchup struct {
	since  time.Time // when what was said began not to reach us; zero: we were never here
	joined time.Time
	skew   time.Duration // our clock less the server's
	began  time.Time     // when we first came, by the server's clock
	from   position      // of the last line taken in before
	last   position      // of the last line taken in

	lines   int       // replayed
	oldest  time.Time // of them, by the server's clock
	found   bool      // the line at from was among them
	counted int       // others' lines of from's second, where there are no msgids

	settled bool
	covered time.Time // from when on we know what was said; zero is since ever
	held    []held    // lines that wait for settled
	size    int       // bytes of their text
	req     *request  // to the server, not answered yet
	pages   int       // answers so far
	lastRef string    // what the last page was asked after

	own    []ownLine // our own lines of what was replayed, in order, until forgetOwn
	kept   time.Time // from when on own holds all; meaningful once settled
	looks  int       // answers that were looked through for own
	looked bool      // that is over: own is what the server keeps
}

// never is when a history begins that is none.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// held is a line of a channel that waits for the end of the catch-up.
type held struct {
	msg  bridge.Message
	at   time.Time
	live bool
}

// ownLine is a line of ours that the network has kept.
type ownLine struct {
	id   string // of the message, by our mark; "" where the network does not keep it
	body string
	at   time.Time // by our clock
}

// startCatchup begins to find out what was said in c while we were away.
func (s *session) startCatchup(c *channel, join *ircmsg.Message) {
	k := &catchup{joined: s.now}
	if at, ok := timeTag(join); ok {
		k.skew = s.now.Sub(at)
	}
	k.since, k.began, k.from = s.leg.mem.join(c.room.Name, s.now.Add(-k.skew))
	k.last = k.from
	if k.since.After(s.now) {
		k.since = s.now // the clock was set back
	}
	c.replay = k
	switch {
	case k.since.IsZero():
		k.settled, k.kept = true, never
	case s.canAsk():
		s.askSince(c, k)
	}
}

// keepsHistory reports whether channels of the network can have a history that
// is replayed on join: mode H with a parameter (InspIRCd, UnrealIRCd).
func (s *state) keepsHistory() bool {
	return strings.Contains(s.isupport.chanModes[1]+s.isupport.chanModes[2], "H")
}

// judge decides, once the server has handled our join, whether the replay told
// everything. It comes from the fence behind the join.
func (s *session) judge(c *channel, k *catchup) {
	if c.replay != k || k.settled || !c.joined || s.canAsk() {
		return
	}
	switch {
	case !s.keepsHistory() && k.lines == 0:
		s.settle(c, k, k.joined)
	case s.keepsHistory() && c.modes == nil: // they tell, too, whether we can answer Ask
		err := s.win.command("MODE "+c.name, func() {
			if c.modes == nil {
				c.modes = map[byte]string{} // it does not tell
			}
			s.judge(c, k)
		})
		if err != nil {
			s.settle(c, k, k.joined)
		}
	case k.found:
		s.settle(c, k, time.Time{})
	default:
		s.settle(c, k, s.reach(c, k))
	}
}

// reach is how far back a replay tells everything, by our clock.
func (s *session) reach(c *channel, k *catchup) time.Time {
	oldest := k.joined
	if k.lines > 0 {
		oldest = k.oldest.Add(k.skew)
		if k.oldest.Nanosecond() == 0 { // chanhistory keeps whole seconds: others of it may be missing
			oldest = oldest.Add(time.Second)
		}
	}
	limit, period, ok := parseHistoryMode(c.modes['H'])
	if !ok || k.lines >= limit {
		return oldest
	}
	start := s.now.Add(-period)
	if !k.found && k.from.known() && k.from.at.Add(k.skew).After(start.Add(overlap)) {
		return oldest // the last line taken in should be there: what was kept is lost
	}
	if c.created.Add(k.skew).After(start) {
		start = c.created.Add(k.skew)
	}
	return start
}

// parseHistoryMode reads the parameter of mode H: at most so many lines, of so
// long ("50:1d", "50:86400"; UnrealIRCd's plain times are minutes).
func parseHistoryMode(arg string) (lines int, period time.Duration, ok bool) {
	count, span, _ := strings.Cut(arg, ":")
	lines = number(count, 0)
	if lines == 0 {
		return 0, 0, false
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour}
	n := 0
	for i := range len(span) {
		unit, isUnit := units[span[i]]
		switch {
		case isUnit:
			period += time.Duration(n) * unit
			n = 0
		case span[i] >= '0' && span[i] <= '9' && n < 1e8:
			n = 10*n + int(span[i]-'0')
		default:
			return 0, 0, false
		}
	}
	period += time.Duration(n) * time.Second
	const never = 100 * 365 * 24 * time.Hour
	if period <= 0 || period > never {
		period = never // 0 is for ever, and what is beyond may have wrapped
	}
	return lines, period, true
}

// settle ends a catch-up: what was said from covered on is known. If that is not
// all, the rest is a gap.
func (s *session) settle(c *channel, k *catchup, covered time.Time) {
	k.settled, k.covered, k.req, k.lastRef = true, covered, nil, ""
	if covered.After(k.joined) {
		k.covered = k.joined
	}
	k.kept = never
	if _, _, ok := parseHistoryMode(c.modes['H']); ok || k.lines > 0 {
		k.kept = s.reach(c, k)
	}
	s.leg.mem.caughtUp(c.room.Name)
	if k.covered.After(k.since) {
		s.gap(c, k.since, k.covered)
	}
	s.release(c, k)
	s.answerAsks()
}

// gap tells that what was said in c may not have reached us.
func (s *session) gap(c *channel, since, until time.Time) {
	s.out = append(s.out, output{event: bridge.Event{Kind: bridge.Gap, Leg: s.cfg.Name, Room: c.room, Since: since, Time: until}})
	s.log.Warn("not connected to channel", "leg", s.cfg.Name, "room", c.name, "took", until.Sub(since).Round(time.Second))
}

// breakOff ends a catch-up that cannot go on. What waited for it comes again by the
// next one, in order; where nothing is kept it is handed out now.
func (s *session) breakOff(c *channel) {
	if k := c.replay; k != nil && !k.settled && k.lines == 0 && !s.keepsHistory() && !s.canAsk() {
		s.release(c, k)
	}
}

// release hands out what waited for the end of a catch-up.
func (s *session) release(c *channel, k *catchup) {
	held := k.held
	k.held, k.size = nil, 0
	for i := range held {
		s.emit(c, &held[i].msg, held[i].at)
	}
}

// take takes a message of c in, or lets it wait for the end of the catch-up. at is
// its server-time, zero where there is none.
func (s *session) take(c *channel, msg bridge.Message, at time.Time, live bool) {
	k := c.replay
	if k == nil || k.settled || !live && k.req != nil {
		s.emit(c, &msg, at)
		return
	}
	if len(k.held) >= maxHeld || k.size+msg.Text.Len() > maxHeldSize {
		s.settle(c, k, k.joined) // it does not end: what is missing is missing
		s.emit(c, &msg, at)
		return
	}
	k.size += msg.Text.Len()
	k.held = append(k.held, held{msg, at, live})
}

// emit hands a message of c to the Sink, with the place to go on from.
func (s *session) emit(c *channel, msg *bridge.Message, at time.Time) {
	if k := c.replay; k != nil && !at.IsZero() {
		k.last = k.last.next(msg.ID, at)
		s.leg.mem.took(c.room.Name, k.last)
		msg.Cursor = k.last.cursor(c.room.Name)
	}
	msg.Taken = s.leg.mem.untaken.add(s.now)
	s.out = append(s.out, output{message: *msg})
}

// onReplayed handles a line of a batch of history.
func (s *session) onReplayed(b *batch, m *ircmsg.Message, c *channel) {
	if c == nil || !c.joined || !c.wanted || c.replay == nil || s.fold(b.target) != s.fold(c.name) {
		return
	}
	k := c.replay
	at, ok := timeTag(m)
	if !ok {
		at = k.joined.Add(-k.skew)
	}
	id, nick := tag(m, "msgid"), sourceNick(m)
	line := position{id: id, at: at}
	asked := k.answers(b)
	if asked && k.req.repeats(line) {
		return
	}
	if asked {
		k.req.note(line)
		k.found = k.found || k.req.kind == afterID
	}
	k.lines++
	if k.oldest.IsZero() || at.Before(k.oldest) {
		k.oldest = at
	}
	if s.isMe(nick) || s.leg.mem.wasMe(nick, s.fold) {
		own := ownLine{id: strings.Clone(tag(m, markTag)), body: strings.Clone(m.Params[1]), at: at.Add(k.skew)}
		if asked && k.req.look {
			k.req.own = append(k.req.own, own)
		} else {
			k.keepOwn(own)
		}
		return
	}
	if k.isFrom(line) {
		k.found = true
		return
	}
	if asked && (k.req.look || k.req.kind == aroundID) || !k.news(line) {
		return
	}
	if asked {
		k.dropHeld(id)
	}
	kind, body, ok := s.content(m, false)
	if !ok {
		return
	}
	var by *policy.Facts
	if s.guarded(c) { // who has the nick now need not be who said it
		f := s.factsOf(nil, m)
		by = &f
	}
	msg := s.message(m, c, kind, body, by)
	msg.Delayed = true
	if msg.Time = at.Add(k.skew); msg.Time.After(s.now) {
		msg.Time = s.now
	}
	s.take(c, msg, at, false)
}

// isFrom reports whether line is the last one taken in before.
func (k *catchup) isFrom(line position) bool { return line.id != "" && line.id == k.from.id }

// news reports whether a replayed line was said while we were away. Where it
// errs, it errs towards yes: the core knows a msgid again.
func (k *catchup) news(line position) bool {
	switch {
	case k.since.IsZero():
		return false // said before we ever came
	case k.found:
		return true
	case line.at.Before(k.began):
		return false
	case !k.from.known():
		return !line.at.Before(k.since.Add(-k.skew - overlap))
	case line.id != "":
		return !line.at.Before(k.from.at.Add(-overlap))
	case sameSecond(line.at, k.from.at):
		k.counted++
		return k.counted > k.from.n
	}
	return line.at.After(k.from.at)
}

// keepOwn remembers a line of ours, for Ask.
func (k *catchup) keepOwn(own ownLine) {
	if len(k.own) >= maxOwnLines {
		k.own = slices.Delete(k.own, 0, maxOwnLines/2)
	}
	k.own = append(k.own, own)
}

// dropHeld drops a line that came live, and now in the history too.
func (k *catchup) dropHeld(id string) {
	if id == "" {
		return
	}
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.live && h.msg.ID == id })
}

// timeTag is the server-time of a line.
func timeTag(m *ircmsg.Message) (time.Time, bool) {
	v := tag(m, "time")
	if v == "" {
		return time.Time{}, false
	}
	at, err := time.Parse(serverTime, v)
	if err != nil || at.Year() < 1988 || at.Year() > 9999 {
		return time.Time{}, false
	}
	return at, true
}

// sourceNick is the nick, or the server, that a line comes from.
func sourceNick(m *ircmsg.Message) string {
	nick, _, _ := strings.Cut(m.Source, "!")
	return nick
}

// onCreated handles 329: when the channel was made.
func (s *session) onCreated(m *ircmsg.Message) {
	n, err := strconv.ParseInt(param(m, 2), 10, 64)
	if c := s.channel(param(m, 1)); c != nil && c.joined && err == nil && n > 0 {
		c.created = time.Unix(n, 0)
	}
}
