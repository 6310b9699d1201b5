package irc

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
)

// Names of the leg's cursors. Those of channels and of STS policies end with the
// channel's room name, or the host.
const (
	presenceCursor = "presence"
	lineCursor     = "line "
	stsCursor      = "sts "
)

// seenEvery is how often the time of the last byte received is written down: a
// gap that begins with a crash is told up to that much too long.
const seenEvery = 15 * time.Second

// maxOwnNicks bounds the nicks remembered as having been ours.
const maxOwnNicks = 8

// place is what is known of a channel that we have been in.
type place struct {
	// out is since when what is said there does not reach us; zero: it does, or did
	// until memory.seen.
	out   time.Time
	began time.Time // when we first came, in whole seconds by the server's clock
	last  position  // of the last line taken in
}

// memory is what the leg knows beyond one connection, and by its cursors beyond
// one process. It never waits for the disk: keep does.
type memory struct {
	cursors bridge.Cursors // nil: nothing outlives the process
	leg     string
	log     *slog.Logger
	untaken untaken
	wake    chan struct{} // of keep; capacity 1

	mu       sync.Mutex // guards what follows
	seen     time.Time  // when the last byte came
	places   map[string]*place
	nicks    []string             // ours, the latest last
	policies map[string]stsPolicy // by host
	partial  map[string]int       // lines of a message that the channel has already, by its id
	dirty    map[string]string    // cursors to be written
}

func newMemory(leg string, cursors bridge.Cursors, log *slog.Logger) *memory {
	return &memory{
		cursors: cursors, leg: leg, log: log, wake: make(chan struct{}, 1), places: map[string]*place{},
		policies: map[string]stsPolicy{}, partial: map[string]int{}, dirty: map[string]string{},
	}
}

// load reads what an earlier process has kept.
func (m *memory) load(ctx context.Context) error {
	if m.cursors == nil {
		return nil
	}
	kept, err := m.cursors.Cursors(ctx, m.leg)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readPresence(kept[presenceCursor])
	for name, value := range kept {
		if room, ok := strings.CutPrefix(name, lineCursor); ok && m.places[room] != nil {
			m.places[room].last = parsePosition(value)
		}
		if host, ok := strings.CutPrefix(name, stsCursor); ok {
			if p, ok := parseStoredPolicy(value); ok {
				m.policies[host] = p
			}
		}
	}
	return nil
}

// The presence cursor is text, a line each: "s" and when the last byte came, "n"
// and a nick of ours, "r", since when we are out of it (0: we are not), when we
// first came, and a channel. Times are in milliseconds since 1970.
func (m *memory) readPresence(value string) {
	for line := range strings.SplitSeq(value, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "s":
			m.seen = parseMillis(f[1])
		case len(f) == 2 && f[0] == "n" && len(m.nicks) < maxOwnNicks:
			m.nicks = append(m.nicks, f[1])
		case len(f) == 4 && f[0] == "r":
			m.places[f[3]] = &place{out: parseMillis(f[1]), began: parseMillis(f[2])}
		}
	}
}

// writePresence writes it. What the core has not taken in counts as not received: it
// dies with the process.
func (m *memory) writePresence() string {
	var b strings.Builder
	b.WriteString("s " + millis(m.untaken.until(m.seen)))
	for _, nick := range m.nicks {
		b.WriteString("\nn " + nick)
	}
	for _, room := range slices.Sorted(maps.Keys(m.places)) {
		p := m.places[room]
		b.WriteString("\nr " + millis(m.untaken.until(p.out)) + " " + millis(p.began) + " " + room)
	}
	return b.String()
}

// keep writes what has changed until ctx ends, and then once more.
func (m *memory) keep(ctx context.Context) {
	const patience = 2 * time.Second // of the last time
	for {
		select {
		case <-m.wake:
			m.write(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			m.write(last)
			return
		}
	}
}

// write writes the dirty cursors. What fails is tried again with the next change:
// it is newer then.
func (m *memory) write(ctx context.Context) {
	m.mu.Lock()
	dirty := m.dirty
	m.dirty = map[string]string{}
	m.mu.Unlock()
	for name, value := range dirty {
		if err := m.cursors.SetCursor(ctx, m.leg, bridge.Cursor{Name: name, Value: value}); err != nil {
			if ctx.Err() == nil {
				m.log.Warn("cursor not kept", "leg", m.leg, "id", name, "err", err)
			}
			m.mu.Lock()
			if _, newer := m.dirty[name]; !newer {
				m.dirty[name] = value
			}
			m.mu.Unlock()
		}
	}
}

// set has a cursor written; "" forgets it. mu is held.
func (m *memory) set(name, value string) {
	if m.cursors == nil {
		return
	}
	m.dirty[name] = value
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// saw notes when the last byte came, and writes it down.
func (m *memory) saw(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = at
	m.set(presenceCursor, m.writePresence())
}

// begin notes that a new connection has begun: what was said in any channel since
// the last byte came has not reached us, until caughtUp.
func (m *memory) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.places {
		if p.out.IsZero() {
			p.out = m.seen
		}
	}
}

// join notes that we are in a channel, now by the server's clock. It returns since
// when what was said there has not reached us, which is zero where we never were,
// when we first came, and the last line taken in.
func (m *memory) join(room string, now time.Time) (since, began time.Time, last position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.places[room]
	if p == nil {
		p = &place{began: now.Truncate(time.Second)}
		m.places[room] = p
		m.set(presenceCursor, m.writePresence())
		return time.Time{}, p.began, position{}
	}
	return p.out, p.began, p.last
}

// caughtUp notes that from now on what is said in a channel reaches us.
func (m *memory) caughtUp(room string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.places[room]; p != nil && !p.out.IsZero() {
		p.out = time.Time{}
		m.set(presenceCursor, m.writePresence())
	}
}

// left notes that what is said in a channel does not reach us any more.
func (m *memory) left(room string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.places[room]; p != nil && p.out.IsZero() {
		p.out = at
		m.set(presenceCursor, m.writePresence())
	}
}

// forget drops the channels that are not in the config any more.
func (m *memory) forget(wanted func(room string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.places)
	for room := range m.places {
		if !wanted(room) {
			delete(m.places, room)
			m.set(lineCursor+room, "")
		}
	}
	if len(m.places) != before {
		m.set(presenceCursor, m.writePresence())
	}
}

// took notes the last line taken in. The core writes it down, together with the
// line.
func (m *memory) took(room string, at position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.places[room]; p != nil {
		p.last = at
	}
}

// callMe remembers a nick as ours.
func (m *memory) callMe(nick string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.nicks, nick) || !cleanWord(nick) {
		return
	}
	if len(m.nicks) == maxOwnNicks {
		m.nicks = m.nicks[1:]
	}
	m.nicks = append(m.nicks, nick)
	m.set(presenceCursor, m.writePresence())
}

// wasMe reports whether a nick has been ours.
func (m *memory) wasMe(nick string, fold func(string) string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.nicks, func(n string) bool { return fold(n) == fold(nick) })
}

// untaken is when the lines came that the core has not taken in yet, in order. Once
// it stops it takes none: they count as not received. It may hold those of one channel
// while it takes those of others.
type untaken struct {
	mu    sync.Mutex // guards what follows
	first uint64     // number of open[0]
	open  []arrival
}

type arrival struct {
	at    time.Time
	taken bool
}

// add notes a line, and returns what the core is to call once it has taken it.
func (u *untaken) add(at time.Time) (taken func(bool)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) >= 2*bridge.IntakeMessages { // no core lets so many wait
		return func(bool) {}
	}
	u.open = append(u.open, arrival{at: at})
	n := u.first + uint64(len(u.open)) - 1
	return func(bool) { u.take(n) }
}

func (u *untaken) take(n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n < u.first {
		return
	}
	u.open[n-u.first].taken = true
	for len(u.open) > 0 && u.open[0].taken {
		u.open = u.open[1:]
		u.first++
	}
}

// until is up to when everything was taken in, at most at.
func (u *untaken) until(at time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) > 0 && u.open[0].at.Before(at) {
		return u.open[0].at
	}
	return at
}

func millis(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// parseMillis is the reverse of millis; what is no number is the zero time.
func parseMillis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
