package xmpp

import (
	"time"

	"drawbridge/bridge"
)

// stuck is an archive that could not be read, or that may get something in later.
// Until it is read, the place in it stays where it was: what is said meanwhile comes
// live, and is known when it comes again.
type stuck struct {
	next  time.Time
	tries int
}

const (
	unstickFirst = 15 * time.Second
	unstickLast  = 10 * time.Minute
)

// stick notes that the archive of owner could not be read.
func (l *Leg) stick(owner string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stuck[owner]
	st.next = now.Add(jitter(min(unstickFirst<<min(st.tries, 10), unstickLast)))
	st.tries++
	l.stuck[owner] = st
	delete(l.trails, owner)
}

// stickAll has all archives read again in a while.
func (l *Leg) stickAll(now time.Time) {
	l.mu.Lock()
	var owners []string
	for owner := range l.places {
		conf, m := l.conf.Load(), l.rooms[owner]
		if owner == conf.bare && len(conf.People) > 0 || m != nil && m.mam {
			owners = append(owners, owner)
		}
	}
	l.mu.Unlock()
	for _, owner := range owners {
		l.stick(owner, now)
	}
}

// unstick lets the place in the archive of owner move again, as it is read.
func (l *Leg) unstick(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if st, ok := l.stuck[owner]; ok {
		st.next = time.Time{}
		l.stuck[owner] = st
	}
	delete(l.trails, owner)
}

// wasRead notes that the archive of owner was read to its end.
func (l *Leg) wasRead(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.stuck, owner)
}

// isStuck reports whether the place in the archive of owner stays. l.mu is held.
func (l *Leg) isStuck(owner string) bool { return !l.stuck[owner].next.IsZero() }

// rereadArchives tries the archives again that could not be read.
func (l *Leg) rereadArchives(s *session, now time.Time) {
	type job struct {
		owner string
		m     *muc
		from  place
	}
	var jobs []job
	l.mu.Lock()
	for owner, st := range l.stuck {
		if st.next.IsZero() || now.Before(st.next) {
			continue
		}
		m := l.rooms[owner]
		if owner != s.bare && (m == nil || m.state != bridge.StateUp || !m.mam) {
			continue // a join reads it
		}
		st.next = now.Add(pageTimeout) // until the reader has begun
		l.stuck[owner] = st
		jobs = append(jobs, job{owner, m, l.places[owner]})
	}
	l.mu.Unlock()
	for _, j := range jobs {
		s.later(func() {
			if s.archives[j.owner] == nil {
				s.catchUpFrom(j.owner, j.m, j.from, true)
			}
		})
	}
}

// gap tells of lines that nothing keeps for us: said in m after we had left it, and
// before until (now, if it is zero).
func (l *Leg) gap(m *muc, until time.Time) {
	l.mu.Lock()
	since := m.left
	if p := l.places[m.room.Name]; since.IsZero() {
		since = p.at
	}
	m.left = time.Time{}
	l.mu.Unlock()
	if now := time.Now(); until.IsZero() || until.After(now) {
		until = now
	}
	if since.IsZero() {
		return
	}
	if until.Before(since) { // it was told by the second
		until = since
	}
	l.log.Warn("what was said in the room meanwhile is not to be had", "leg", l.name, "room", m.room.Name, "took", until.Sub(since))
	l.notify(bridge.Event{Kind: bridge.Gap, Room: m.room, Since: since, Time: until})
}

// shortName is the cursor that remembers a history that was too short.
const shortName = "history-too-short"

// tooShort reports whether the history of a room has not reached back to where we
// were, ever: only sessions that are resumed help there.
func (l *Leg) tooShort() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, short := l.places[shortName]
	return short
}

// fewLines is a history that no room cuts off: whatever it does not hold was not
// said.
const fewLines = 5

// cutOff reports whether the history that m has shown may not reach back to what we
// had. l.mu is held.
func (m *muc) cutOff() bool {
	if !m.history || m.overlaps || m.lines < fewLines {
		return false
	}
	return m.hadLines || m.from.After(m.since.at.Add(time.Second)) // servers tell the second
}
