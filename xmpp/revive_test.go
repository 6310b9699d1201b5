package xmpp

import (
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/stream"
)

// TestRevival: of an earlier process' cursors, the session and the highest count of
// it; a count of another session, or an account that has changed, resumes nothing.
func TestRevival(t *testing.T) {
	own := jid.MustParse("bot@x.org/drawbridge")
	v := stream.Saved{ID: "sm 1", JID: own, Location: "h:1"}
	at := func(id string, h uint32) string {
		return withCount(place{time.Unix(1e9, 0), "A"}.String(), stream.Saved{ID: id, Handled: h})
	}
	for _, tt := range []struct {
		name  string
		known map[string]string
		own   jid.JID
		want  uint32
		ok    bool
	}{
		{"counted", map[string]string{sessionName: savedString(v), "a": at("sm 1", 7), "b": at("sm 1", 9), "c": at("sm 0", 99), "d": "2001-09-09T01:46:40.000Z A"}, own, 9, true},
		{"over 2^32", map[string]string{sessionName: savedString(v), "a": at("sm 1", 1<<32-2), "b": at("sm 1", 3)}, own, 3, true},
		{"no count", map[string]string{sessionName: savedString(v), "a": at("sm 0", 7)}, own, 0, false},
		{"another account", map[string]string{sessionName: savedString(v), "a": at("sm 1", 7)}, jid.MustParse("bot@x.org/other"), 0, false},
		{"no session", map[string]string{"a": at("sm 1", 7)}, own, 0, false},
		{"nonsense", map[string]string{sessionName: "sm 1", "a": "x\ny\nz"}, own, 0, false},
	} {
		if v, ok := revival(tt.known, tt.own); ok != tt.ok || ok && (v.Handled != tt.want || v.ID != "sm 1" || v.Location != "h:1") {
			t.Errorf("%s: %+v, %v", tt.name, v, ok)
		}
	}
	if h, ok := countOf(at("sm 1", 1<<32-2), "sm 1"); !ok || h != 1<<32-2 {
		t.Errorf("%d, %v", h, ok)
	}
	if p, ok := parsePlace(at("sm 1", 7)); !ok || p.id != "A" {
		t.Errorf("the place in it: %+v", p)
	}
}

// TestHandedPrefix: the count that goes into the journal with a message covers what
// is done or before it in the pipe, and never a stanza that is still held.
func TestHandedPrefix(t *testing.T) {
	reported := 0
	tk := &tickets{report: func(n int) { reported += n }}
	var all []uint64
	for range 6 {
		all = append(all, tk.take())
	}
	for _, step := range []struct {
		hand uint64
		want uint64
	}{{0, 1}, {2, 1}, {1, 3}} {
		if got := tk.hand(all[step.hand]); got != step.want {
			t.Errorf("hand %d: %d, not %d", step.hand, got, step.want)
		}
	}
	tk.done(all[3]) // a presence
	if got := tk.hand(all[4]); got != 5 {
		t.Errorf("behind a presence: %d", got)
	}
	for _, n := range all[:5] {
		tk.done(n)
	}
	if reported != 5 || len(tk.handed) != 0 {
		t.Errorf("%d reported, %d remembered", reported, len(tk.handed))
	}
	if got := tk.hand(all[5]); got != 6 {
		t.Errorf("the last: %d", got)
	}
}
