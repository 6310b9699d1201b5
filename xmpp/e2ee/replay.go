package e2ee

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// Verdict says what a Replay thinks of a message.
type Verdict uint8

// The verdicts.
const (
	Fresh      Verdict = iota // never seen: it is remembered now
	Redelivery                // seen from the same peer under the same stanza id
	Replayed                  // seen, under another id or without one, or from another peer
)

// Replay remembers messages by a secret inside of them (for OpenPGP the session
// key: the bytes of a ciphertext can be altered and still decrypt).
type Replay interface {
	// Mark remembers what, seen at now from bare under the stanza id, and tells
	// whether it was known. Of a Fresh one it returns what makes the Replay of a
	// later process know it: Opened.Seen, to be kept together with the message. Kept
	// without it, or before it, the message would be lost by a crash between. It is
	// safe for concurrent use.
	Mark(what []byte, bare, id string, now time.Time) (v Verdict, seen []byte)
	// Horizon returns the time before which nothing is remembered any more: a
	// message that says it is older is refused.
	Horizon(now time.Time) time.Time
}

// Defaults of NewReplayCache.
const (
	DefaultReplaySpan = 30 * 24 * time.Hour
	DefaultReplaySize = 1 << 16
	// RedeliverySpan is how long the same stanza id counts as a redelivery: links
	// are mended by then, and the core may have forgotten the id later.
	RedeliverySpan = 24 * time.Hour
)

// SeenSize is the length of what Mark of a ReplayCache returns.
const SeenSize = 2*len(mark{}) + 8

// ReplayCache is a Replay in memory. When the process ends it forgets everything
// that nobody kept for Know. It holds at most size messages for at most span; where more come, the
// oldest go first and the horizon moves up with them. About 120 bytes each.
type ReplayCache struct {
	span time.Duration
	size int
	key  [32]byte // of the HMAC: nothing kept here opens a message

	mu    sync.Mutex // guards what follows
	seen  map[mark]entry
	queue []mark // ring of the marks in seen, oldest at head
	head  int
	floor time.Time // when the newest mark pushed out by size had come
}

type (
	mark  [16]byte
	entry struct {
		from mark // HMAC of peer and stanza id, zero for no id
		at   int64
	}
)

// NewReplayCache returns an empty cache. Zero means the default.
func NewReplayCache(span time.Duration, size int) *ReplayCache {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (Go 1.24)
	return OpenReplayCache(span, size, key)
}

// OpenReplayCache returns an empty cache that can be told by Know what another
// cache with the same key has seen.
func OpenReplayCache(span time.Duration, size int, key [32]byte) *ReplayCache {
	if span <= 0 {
		span = DefaultReplaySpan
	}
	if size <= 0 {
		size = DefaultReplaySize
	}
	return &ReplayCache{span: span, size: size, key: key, seen: make(map[mark]entry)}
}

func (c *ReplayCache) mac(parts ...string) (m mark) {
	h := hmac.New(sha256.New, c.key[:])
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	var sum [sha256.Size]byte
	copy(m[:], h.Sum(sum[:0]))
	return m
}

// Mark implements Replay.
func (c *ReplayCache) Mark(what []byte, bare, id string, now time.Time) (v Verdict, seen []byte) {
	m := c.mac("what", string(what))
	var from mark
	if id != "" {
		from = c.mac("from", bare, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(now)
	if e, ok := c.seen[m]; ok {
		if id != "" && e.from == from && now.UnixNano()-e.at < int64(RedeliverySpan) {
			return Redelivery, nil
		}
		return Replayed, nil
	}
	c.add(m, entry{from, now.UnixNano()})
	seen = append(append(make([]byte, 0, SeenSize), m[:]...), from[:]...)
	return Fresh, binary.BigEndian.AppendUint64(seen, uint64(now.UnixNano()))
}

// Know makes the cache know what Mark of another one with the same key returned.
// The oldest come first. It reports whether seen is such a thing.
func (c *ReplayCache) Know(seen []byte) bool {
	if len(seen) != SeenSize {
		return false
	}
	var m mark
	var e entry
	n := copy(m[:], seen)
	n += copy(e.from[:], seen[n:])
	e.at = int64(binary.BigEndian.Uint64(seen[n:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.seen[m]; !known {
		c.add(m, e)
	}
	return true
}

// add remembers m, and forgets the oldest if there are too many. c.mu is held.
func (c *ReplayCache) add(m mark, e entry) {
	if len(c.seen) >= c.size {
		c.floor = time.Unix(0, c.seen[c.queue[c.head]].at)
		c.drop()
	}
	c.seen[m] = e
	c.queue = append(c.queue, m)
}

// Horizon implements Replay.
func (c *ReplayCache) Horizon(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := now.Add(-c.span); t.After(c.floor) {
		return t
	}
	return c.floor
}

// Len returns how many messages are remembered.
func (c *ReplayCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func (c *ReplayCache) forget(now time.Time) {
	old := now.Add(-c.span).UnixNano()
	for c.head < len(c.queue) && c.seen[c.queue[c.head]].at < old {
		c.drop()
	}
}

func (c *ReplayCache) drop() {
	delete(c.seen, c.queue[c.head])
	c.head++
	if c.head > 1024 && c.head*2 > len(c.queue) {
		c.queue = append(c.queue[:0], c.queue[c.head:]...)
		c.head = 0
	}
}
