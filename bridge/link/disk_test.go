package link_test

import (
	"errors"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/policy"
)

var errDisk = errors.New("the disk is full")

// linkedBob begins with bob, who has linked M.
func linkedBob(t *testing.T, test func(h *house)) {
	t.Helper()
	live(t, link.Open, func(h *house) {
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.heard()
		test(h)
	})
}

// What ended has ended at once; that it could not be written down is said, and tried
// again until it is.
func TestEndsThoughTheStoreFails(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		end          func(h *house) string
	}{
		{"by the person", "Done, for now: it has ended, but that cannot be written down", func(h *house) string {
			return h.says("bob", "!link off corp/M", policy.Signed)
		}},
		{"by the account", "Done, for now: it has ended, but that cannot be written down", func(h *house) string { return h.on("M", "!link off") }},
		{"by an admin", "it has ended, but that cannot be written down", func(h *house) string {
			l, err := h.End("corp", "M", "root", "an admin ended it")
			if !errors.Is(err, link.ErrComesBack) || l.Person != "bob" {
				t.Errorf("%+v: %v", l, err)
			}
			return err.Error()
		}},
		{"off-boarding", "", func(h *house) string {
			if accounts, _ := h.EndOf("bob"); len(accounts) != 1 {
				t.Errorf("ended %q", accounts)
			}
			return ""
		}},
		{"the configuration", "", func(h *house) string {
			h.Reload(link.Config{Mode: link.Open, People: people[2:]})
			return ""
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			linkedBob(t, func(h *house) {
				h.store.broken(errDisk)
				has(t, "answer", tt.end(h), tt.answer)
				if _, ok := h.Of("corp", "M"); ok || h.Bind(people[1]) != people[1] {
					t.Error("it still holds")
				}
				time.Sleep(10 * time.Minute)
				has(t, "admins", h.heard(), "admins: Links between accounts of IRC and people cannot be written down")
				h.store.broken(nil)
				time.Sleep(2 * time.Minute)
				h.linked()
				if told := h.heard(); told != "" {
					t.Errorf("told again: %q", told)
				}
			})
		})
	}
}

// A link that the store refused does not come into being later, though the row may have
// been written.
func TestNotMadeWhereTheStoreFails(t *testing.T) {
	live(t, link.Open, func(h *house) {
		code := h.code("M", "bob")
		h.store.broken(errDisk)
		has(t, "answer", h.says("bob", "!link "+code, policy.Signed), "Not done: it cannot be written down")
		h.store.broken(nil)
		time.Sleep(2 * time.Minute)
		h.linked()
		has(t, "the code is used", h.says("bob", "!link "+code, policy.Signed), "used already")
		code = h.code("M", "bob")
		h.store.meanwhile(func() { h.store.broken(errDisk) }) // fails from the link on: the code's end is written
		has(t, "answer", h.says("bob", "!link "+code, policy.Signed), "Not done: it cannot be written down")
		h.store.broken(nil)
		time.Sleep(2 * time.Minute)
		h.linked()
	})
	live(t, link.Staff, func(h *house) { // an admin's word
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		h.store.broken(errDisk)
		if l, err := h.Accept(h.ctx, "alice", "corp", "M", "root"); !errors.Is(err, link.ErrNotKept) {
			t.Errorf("%+v: %v", l, err)
		}
		h.store.broken(nil)
		time.Sleep(2 * time.Minute)
		h.open()
		h.linked("alice=corp/M waits")
	})
}

// Who takes it back while an admin agrees has taken it back.
func TestEndedWhileAnAdminAgrees(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(h *house)
	}{
		{"by the person", func(h *house) { h.says("alice", "!link off corp/M", policy.Sealed) }},
		{"by the account", func(h *house) { h.on("M", "!link off") }},
		{"by another admin", func(h *house) { _, _ = h.End("corp", "M", "carol", "an admin ended it") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, link.Staff, func(h *house) {
				h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
				h.store.meanwhile(func() { h.other(func() { tt.end(h) }) })
				if l, err := h.Accept(h.ctx, "alice", "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
					t.Errorf("%+v: %v", l, err)
				}
				time.Sleep(time.Second) // what ended it has said so
				h.linked()
				h.open()
				h.linked()
			})
		})
	}
	live(t, link.Staff, func(h *house) { // who waits too long, though nobody has looked yet
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		kept, _ := h.store.Load(h.ctx)
		kept.Links[0].Waits = time.Now()
		_ = h.store.PutLink(h.ctx, kept.Links[0])
		h.open()
		if l, err := h.Accept(h.ctx, "alice", "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
			t.Errorf("%+v: %v", l, err)
		}
	})
}

// Whether a name is known does not show by what is written for it.
func TestNobodyIsWrittenDownToo(t *testing.T) {
	live(t, link.Open, func(h *house) {
		for _, whom := range []string{"bob", "zoe", "mute", "gone"} {
			before := h.store.wrote
			h.code("acct"+whom, whom)
			if n := h.store.wrote - before; n != 1 {
				t.Errorf("%s: %d rows are written", whom, n)
			}
		}
		h.open() // and nothing comes of them
		for _, p := range people {
			has(t, p.Name, h.says(p.Name, "!link aaaa-bbbb-cccc-dddd-eeee", policy.Verified), "no such code")
		}
		time.Sleep(time.Hour)
		if kept, err := h.store.Load(h.ctx); err != nil || len(kept.Tickets) != 0 {
			t.Errorf("%d tickets are kept for ever (%v)", len(kept.Tickets), err)
		}
	})
}

// What services say of a link is not taken for one that was made of the account since.
func TestAskedAboutTheOldLink(t *testing.T) {
	linkedBob(t, func(h *house) {
		h.set(func() {
			h.services = services{err: bridge.ErrNotReady, during: func() {
				h.on("M", "!link off")
				h.set(func() { h.services = services{seen: bridge.AccountSeen{Known: policy.Yes, Mark: "entity A"}} })
				h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
				h.set(func() { h.err, h.asked = bridge.ErrNotReady, 0 })
			}}
		})
		time.Sleep(25 * time.Minute) // the first is asked about after a quarter of an hour
		h.set(func() {
			if h.during != nil || h.asked != 0 {
				t.Errorf("the new link is asked about %d times within its first minutes", h.asked)
			}
		})
		h.linked("bob=corp/M")
	})
}

// A clock that was set back makes no link last longer.
func TestClockSetBack(t *testing.T) {
	live(t, link.Staff, func(h *house) {
		now := time.Now()
		for _, l := range []guard.Link{
			{ID: "1", Person: "bob", Network: "corp", Account: "M", Made: now.AddDate(1, 0, 0), Used: now.AddDate(1, 0, 0)},
			{ID: "2", Person: "alice", Network: "corp", Account: "N", Waits: now.AddDate(1, 0, 0)},
		} {
			_ = h.store.PutLink(h.ctx, l)
		}
		h.open()
		h.run()
		h.linked("alice=corp/N waits", "bob=corp/M")
		time.Sleep(link.WaitsFor + time.Hour)
		h.linked("bob=corp/M")
		time.Sleep(link.Unused)
		h.linked()
	})
}
