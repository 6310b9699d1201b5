package irc

import (
	"testing"
	"time"
)

// TestUntaken: a line of one channel that the core holds keeps the time up to which
// all was taken in, though it takes those of other channels, over connections too.
func TestUntaken(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	m := newMemory("net", nil, nil)
	m.join("#dev", at(0))
	held, other, last := m.untaken.add(at(1)), m.untaken.add(at(2)), m.untaken.add(at(3))
	seen := func() time.Time {
		m.saw(at(10))
		m.begin()
		again := newMemory("net", nil, nil)
		again.readPresence(m.writePresence())
		if out := again.places["#dev"].out; !out.Equal(again.seen) {
			t.Errorf("out of #dev since %v, of all since %v", out, again.seen)
		}
		return again.seen
	}
	other(true)
	if got := seen(); !got.Equal(at(1)) {
		t.Errorf("all is known up to %v", got)
	}
	held(true)
	if got := seen(); !got.Equal(at(3)) {
		t.Errorf("with the first, up to %v", got)
	}
	last(false)
	if got := seen(); !got.Equal(at(10)) {
		t.Errorf("with all, up to %v", got)
	}
}
