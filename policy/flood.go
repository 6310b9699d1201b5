package policy

import (
	"container/list"
	"slices"
	"time"
)

// FloodSet is a set of ways to flood.
type FloodSet uint8

// The ways to flood.
const (
	FloodLines      FloodSet = 1 << iota // too many lines
	FloodRepeats                         // the same line again and again
	FloodCaps                            // lines of capitals
	FloodHighlights                      // one line that names many people
	FloodCycles                          // joins and parts
	FloodClones                          // many connections of one host
	FloodNicks                           // changes of nick
)

var floodNames = []string{"lines", "repeats", "caps", "highlights", "cycles", "clones", "nicks"}

// String lists the floods by name.
func (s FloodSet) String() string { return setString(uint64(s), floodNames, ", ") }

// ParseFlood returns the flood of that name.
func ParseFlood(name string) (FloodSet, error) {
	i, err := parseName[uint8](floodNames, name)
	return FloodSet(1) << i, err
}

// Limit is how often something may happen: Count times in Per. Count zero is no
// limit.
type Limit struct {
	Count int
	Per   time.Duration
}

// FloodLimits are the limits of one room.
type FloodLimits struct {
	Lines, Repeats, Caps, Cycles, Nicks Limit
	Highlights                          int           // names in one line; zero: no limit
	Clones                              int           // connections of one host that are in the room; zero: no limit
	Calm                                time.Duration // how long a flood counts after its last sign; default 1 min
	Grace                               time.Duration // how long one who left in a netsplit may return uncounted; default 10 min
}

// Said is what a flood needs to know of a line: never the line itself.
type Said struct {
	Hash              uint64 // equal lines have equal hashes; keyed, so that nobody can aim
	Letters, Capitals int
	Highlights        int // present people it names
}

// maxTracked is how many subjects one room remembers; who was idle longest goes
// first.
const maxTracked = 4096

// Floods tells who floods a room. It is told what happens and when; a subject is
// keyed by what the caller knows it best by: person, account, JID, or source. A
// bridged line counts for the person who spoke it, not for the bot. Times must
// not run backwards. It is not safe for concurrent use.
type Floods struct {
	limits FloodLimits
	seen   map[string]*list.Element // of *talker
	idle   *list.List               // who was heard last stands first
	hosts  map[string]int           // connections in the room, by host
}

type talker struct {
	key                             string
	lines, repeats, caps, cyc, nick window
	last                            uint64
	host                            string
	floods                          FloodSet
	until                           time.Time // the floods count that long
	split                           time.Time // left in a netsplit then
}

// NewFloods returns the machine of one room.
func NewFloods(l FloodLimits) *Floods {
	if l.Calm == 0 {
		l.Calm = time.Minute
	}
	if l.Grace == 0 {
		l.Grace = 10 * time.Minute
	}
	return &Floods{limits: l, seen: map[string]*list.Element{}, idle: list.New(), hosts: map[string]int{}}
}

// Said counts a line, and returns the floods that its speaker is in.
func (m *Floods) Said(key string, s Said, now time.Time) FloodSet {
	t, l := m.talker(key), &m.limits
	var found FloodSet
	if t.lines.add(l.Lines, now) {
		found |= FloodLines
	}
	if s.Hash != t.last {
		t.repeats, t.last = window{}, s.Hash
	}
	if t.repeats.add(l.Repeats, now) {
		found |= FloodRepeats
	}
	const short = 8 // letters: "LOL" is no shouting
	if s.Letters >= short && s.Capitals*10 >= s.Letters*7 && t.caps.add(l.Caps, now) {
		found |= FloodCaps
	}
	if l.Highlights > 0 && s.Highlights >= l.Highlights {
		found |= FloodHighlights
	}
	return m.note(t, found, now)
}

// Joined counts a join, and reports whether it is a return from a netsplit, which
// is no flood. host is "" where many share one, as behind the bridge.
func (m *Floods) Joined(key, host string, now time.Time) (floods FloodSet, returned bool) {
	t := m.talker(key)
	returned = !t.split.IsZero() && now.Sub(t.split) <= m.limits.Grace
	t.split = time.Time{}
	m.leave(t)
	if t.host = host; host != "" {
		m.hosts[host]++
	}
	var found FloodSet
	if !returned && t.cyc.add(m.limits.Cycles, now) {
		found |= FloodCycles
	}
	if n := m.limits.Clones; n > 0 && !returned && m.hosts[host] > n {
		found |= FloodClones
	}
	return m.note(t, found, now), returned
}

// Left notes that somebody is gone, in a netsplit or not.
func (m *Floods) Left(key string, split bool, now time.Time) {
	t := m.talker(key)
	m.leave(t)
	if split {
		t.split = now
	}
}

// Became notes that somebody is known by another key now, as when they log in or out:
// what they did counts on, with what was done by the other key, and not by the old one. host
// is as in Joined.
func (m *Floods) Became(from, to, host string, now time.Time) FloodSet {
	old := m.talker(from)
	m.leave(old)
	t, l := m.talker(to), &m.limits
	if t.host == "" && host != "" {
		t.host = host
		m.hosts[host]++
	}
	t.lines.join(&old.lines, l.Lines)
	t.caps.join(&old.caps, l.Caps)
	t.cyc.join(&old.cyc, l.Cycles)
	t.nick.join(&old.nick, l.Nicks)
	t.last, t.repeats = old.last, old.repeats
	old.lines, old.repeats, old.caps, old.cyc, old.nick = window{}, window{}, window{}, window{}, window{}
	found := m.note(old, 0, now)
	if m.note(t, 0, now); found != 0 && t.until.Before(old.until) {
		t.until = old.until
	}
	t.floods |= found
	return t.floods
}

// Renamed counts a change of nick. Where the key itself is made of the nick, to
// is its new form.
func (m *Floods) Renamed(from, to string, now time.Time) FloodSet {
	if to != from {
		host := m.talker(from).host
		m.Became(from, to, host, now)
		m.forget(m.seen[from])
	}
	t := m.talker(to)
	var found FloodSet
	if t.nick.add(m.limits.Nicks, now) {
		found |= FloodNicks
	}
	return m.note(t, found, now)
}

// In returns the floods that somebody is in.
func (m *Floods) In(key string, now time.Time) FloodSet {
	if e := m.seen[key]; e != nil {
		return m.note(e.Value.(*talker), 0, now)
	}
	return 0
}

// Until returns when somebody's floods have passed if they stay calm; zero: they are in
// none.
func (m *Floods) Until(key string) time.Time {
	if e := m.seen[key]; e != nil && e.Value.(*talker).floods != 0 {
		return e.Value.(*talker).until
	}
	return time.Time{}
}

func (m *Floods) note(t *talker, found FloodSet, now time.Time) FloodSet {
	if !now.Before(t.until) {
		t.floods = 0
	}
	if found != 0 {
		t.floods, t.until = t.floods|found, now.Add(m.limits.Calm)
	}
	return t.floods
}

func (m *Floods) talker(key string) *talker {
	if e := m.seen[key]; e != nil {
		m.idle.MoveToFront(e)
		return e.Value.(*talker)
	}
	if len(m.seen) >= maxTracked {
		m.forget(m.idle.Back())
	}
	t := &talker{key: key}
	m.seen[key] = m.idle.PushFront(t)
	return t
}

func (m *Floods) forget(e *list.Element) {
	t := m.idle.Remove(e).(*talker)
	m.leave(t)
	delete(m.seen, t.key)
}

func (m *Floods) leave(t *talker) {
	if t.host == "" {
		return
	}
	if m.hosts[t.host]--; m.hosts[t.host] <= 0 {
		delete(m.hosts, t.host)
	}
	t.host = ""
}

// window holds the last times of something, as many as its limit counts.
type window struct {
	times []time.Time
	next  int
}

// join adds the times of another window of the same limit; the last of both count.
func (w *window) join(o *window, l Limit) {
	if len(o.times) == 0 {
		return
	}
	all := slices.SortedFunc(slices.Values(slices.Concat(w.times, o.times)), time.Time.Compare)
	*w = window{times: all[max(0, len(all)-l.Count):]}
}

// add notes one more time, and reports whether the limit is passed: Count times
// in less than Per, exactly.
func (w *window) add(l Limit, now time.Time) bool {
	if l.Count <= 0 {
		return false
	}
	if len(w.times) < l.Count {
		w.times = append(w.times, now)
		return len(w.times) == l.Count && now.Sub(w.times[0]) < l.Per
	}
	w.times[w.next] = now
	w.next = (w.next + 1) % l.Count
	return now.Sub(w.times[w.next]) < l.Per
}
