package store

import (
	"errors"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
)

// TestReplay: a message is known as a replay in the next process if it was taken
// in, and only then: one that the crash swallowed may come again.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	clock := newTestClock()
	now, deps := clock.now(), Deps{Now: clock.now}
	s := openTest(t, Config{Dir: dir, RetainIDs: time.Hour}, deps)
	memory := func() e2ee.Replay {
		t.Helper()
		m, err := s.Replay(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := memory()
	entry := func(what, id string) *bridge.Entry {
		e := testEntry(id)
		e.At = now
		_, e.Seen = m.Mark([]byte(what), "a@x", id, now)
		return e
	}
	taken, short, swallowed := entry("taken", "id-1"), entry("without an id", ""), entry("swallowed", "id-2")
	mustIngest(t, s, taken, short)
	failed := errors.New("failed")
	if err := s.w.do(t.Context(), "fail", func(w *writer) error { return errors.Join(w.addSeen(swallowed), failed) }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	_ = s.Close()
	s = openTest(t, Config{Dir: dir, RetainIDs: time.Hour}, deps)
	m = memory()
	for _, tt := range []struct {
		what, id string
		want     e2ee.Verdict
	}{
		{"taken", "id-1", e2ee.Redelivery},
		{"taken", "id-9", e2ee.Replayed},
		{"without an id", "", e2ee.Replayed},
		{"swallowed", "id-2", e2ee.Fresh},
	} {
		if got, _ := m.Mark([]byte(tt.what), "a@x", tt.id, now.Add(time.Minute)); got != tt.want {
			t.Errorf("%s under %q: %v, want %v", tt.what, tt.id, got, tt.want)
		}
	}
	if h := m.Horizon(now); !h.Equal(now.Add(-time.Hour)) {
		t.Errorf("horizon %v", h)
	}
	now = clock.add(61 * time.Minute)
	if err := s.sweep(t.Context(), now.Add(-s.retain)); err != nil {
		t.Fatal(err)
	}
	n := -1
	if err := s.read.QueryRow("SELECT count(*) FROM replay").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d kept after their time, %v", n, err)
	}
}

func TestCursors(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	first, second, other := testEntry("1"), testEntry("2"), testEntry("3")
	first.Cursor = bridge.Cursor{Name: "#dev", Value: "msgid-1"}
	second.Cursor = bridge.Cursor{Name: "#dev", Value: "msgid-2"}
	other.Room.Leg, other.Cursor = "bot", bridge.Cursor{Name: "muc", Value: "stanza-1"}
	mustIngest(t, s, first, second, other, testEntry("4"))
	for _, c := range []bridge.Cursor{{Name: "session", Value: "old"}, {Name: "session", Value: "new"}, {Name: "gone", Value: "x"}, {Name: "gone"}} {
		if err := s.SetCursor(t.Context(), "bot", c); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	s = openTest(t, Config{Dir: dir}, Deps{})
	for leg, want := range map[string]map[string]string{
		"corp": {"#dev": "msgid-2"}, "bot": {"muc": "stanza-1", "session": "new"}, "unknown": {},
	} {
		got, err := s.Cursors(t.Context(), leg)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", leg, got, err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %q, want %q", leg, k, got[k], v)
			}
		}
	}
}
