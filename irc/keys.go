package irc

import (
	"slices"

	"drawbridge/bridge"
)

var _ bridge.KeyHolder = (*Leg)(nil)

// UseKeys implements bridge.KeyHolder: the channel is joined with these keys, one after
// the other, before the configured one. If a key kept us out it is joined now.
func (l *Leg) UseKeys(room bridge.Room, keys ...string) {
	var clean []string
	for _, key := range keys {
		if isKey(key) && !slices.Contains(clean, key) {
			clean = append(clean, key)
		}
	}
	l.keyMu.Lock()
	if l.keys == nil {
		l.keys = map[bridge.Room][]string{}
	}
	l.keys[room] = clean
	l.keyMu.Unlock()
	s := l.current()
	if s == nil {
		return
	}
	s.call(call{do: func() {
		for _, c := range s.channels {
			if c.room != room {
				continue
			}
			c.tried = 0
			if c.wanted && !c.joined && c.keyed && c.asked.IsZero() {
				s.join([]*channel{c})
			}
		}
	}})
}

// keyOf is the key to join with: that which the channel had when we left it, those of a
// guard, the configured one.
func (s *session) keyOf(c *channel) string {
	if c.key != "" {
		return c.key
	}
	if keys := s.leg.keysOf(c.room); c.tried < len(keys) {
		return keys[c.tried]
	}
	return c.cfg.Key
}

// wrongKey notes that the key did not open the channel, and reports whether another may.
func (s *session) wrongKey(c *channel) bool {
	c.keyed = true
	if c.key != "" {
		c.key = ""
		return true
	}
	if c.tried < len(s.leg.keysOf(c.room)) {
		c.tried++
		return true
	}
	c.tried = 0
	return false
}

func (l *Leg) keysOf(room bridge.Room) []string {
	l.keyMu.Lock()
	defer l.keyMu.Unlock()
	return l.keys[room]
}
