package xmpp

import (
	"hash/maphash"
	"slices"
	"time"
)

// recent remembers the last lines of a room: where it gives them no ids, what was
// said meanwhile is asked for by the time, which servers tell by the second, and
// lines that we had come again.
type recent struct {
	keys [256]uint64
	next int
	n    int
}

// overlap is how much of what we had is asked for again.
const overlap = 2 * time.Second

var lineSeed = maphash.MakeSeed()

// lineKey tells lines apart by who said them, and by the sender's id or the words.
func lineKey(nick, id, body string) uint64 {
	if id == "" {
		id = body
	}
	return maphash.String(lineSeed, nick)*31 + maphash.String(lineSeed, id)
}

func (r *recent) add(k uint64) {
	r.keys[r.next] = k
	r.next = (r.next + 1) % len(r.keys)
	r.n = min(r.n+1, len(r.keys))
}

func (r *recent) has(k uint64) bool { return slices.Contains(r.keys[:r.n], k) }

// since is from when on to ask, where only the time is known.
func (r *recent) since(at time.Time) time.Time {
	if r.n > 0 {
		return at.Add(-overlap)
	}
	return at
}
