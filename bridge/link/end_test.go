package link_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/policy"
)

// Links end by themselves: not used for 30 days, or the account is another.
func TestLapses(t *testing.T) {
	begin := func(t *testing.T, test func(h *house)) {
		live(t, link.Open, func(h *house) {
			h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
			h.heard()
			test(h)
		})
	}
	begin(t, func(h *house) {
		time.Sleep(29 * 24 * time.Hour)
		h.linked("bob=corp/M")
		h.Used("corp", "m")
		time.Sleep(29 * 24 * time.Hour)
		h.linked("bob=corp/M")
		h.open()
		h.linked("bob=corp/M")
	})
	begin(t, func(h *house) {
		h.set(func() { h.there = true })
		time.Sleep(40 * 24 * time.Hour)
		h.linked("bob=corp/M")
		h.set(func() { h.there = false })
		time.Sleep(link.Unused + time.Minute)
		h.linked()
		has(t, "bob", h.heard(), "does not act as you any more: it was not used for 30 days")
	})
	for _, tt := range []struct {
		name string
		services
		ends string
	}{
		{"services are away", services{err: bridge.ErrNotReady}, ""},
		{"services say nothing", services{}, ""},
		{"dropped", services{seen: bridge.AccountSeen{Known: policy.No}}, "dropped, or has another name"},
		{"registered anew", services{seen: bridge.AccountSeen{Known: policy.Yes, Mark: "entity B"}}, "registered anew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin(t, func(h *house) {
				h.set(func() { h.services = tt.services })
				time.Sleep(2 * time.Hour)
				if tt.ends == "" {
					h.linked("bob=corp/M")
					return
				}
				h.linked()
				has(t, "bob", h.heard(), tt.ends)
			})
			begin(t, func(h *house) { // sooner, when it comes back after a while
				time.Sleep(15 * time.Minute)
				h.set(func() { h.services = tt.services })
				h.Used("corp", "M")
				time.Sleep(2 * time.Minute)
				if tt.ends != "" {
					h.linked()
				}
			})
		})
	}
}

// Who leaves loses links and what is open; what the configuration names is not linked.
func TestLeavers(t *testing.T) {
	live(t, link.Open, func(h *house) {
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.says("bob", "!link "+h.code("N", "bob"), policy.Signed)
		h.says("carol", "!link "+h.code("C", "carol"), policy.Signed)
		code := h.code("O", "bob")
		if accounts, open := h.EndOf("bob"); !slices.Equal(accounts, []string{"corp/M", "corp/N"}) || open != 1 {
			t.Errorf("ended %q and %d", accounts, open)
		}
		h.linked("carol=corp/C")
		has(t, "the code of who left", h.says("bob", "!link "+code, policy.Verified), "is over")
		if kept, err := h.store.Load(h.ctx); err != nil || len(kept.Tickets) != 0 {
			t.Errorf("%d tickets are kept (%v)", len(kept.Tickets), err)
		}
		named := *people[1]
		named.IRC = map[string]policy.IRCIdentity{"corp": {Accounts: []string{"c"}}}
		h.Reload(link.Config{Mode: link.Open, People: []*policy.Person{&named, people[2]}})
		h.linked()
	})
}

// What the configuration took back while no bot ran ends with the next start: links of
// who is nobody any more, and of accounts that it names for others.
func TestLeftWhileDown(t *testing.T) {
	live(t, link.Open, func(h *house) {
		for _, account := range []string{"M", "N"} {
			h.says("bob", "!link "+h.code(account, "bob"), policy.Signed)
		}
		h.says("carol", "!link "+h.code("C", "carol"), policy.Signed)
		h.linked("bob=corp/M", "bob=corp/N", "carol=corp/C")
		named, gone := *people[1], *people[2]
		named.IRC, gone.Gone = map[string]policy.IRCIdentity{"corp": {Accounts: []string{"m"}}}, true
		h.cfg.People = []*policy.Person{people[1], people[2]}
		h.open()
		h.linked("bob=corp/M", "bob=corp/N", "carol=corp/C")
		h.cfg.People = []*policy.Person{&named, &gone}
		h.open()
		h.linked("bob=corp/N")
		if got := h.Bind(&named).IRC["corp"].Accounts; !slices.Equal(got, []string{"m", "N"}) {
			t.Errorf("bob has the accounts %q", got)
		}
		h.cfg.People = nil
		h.open()
		h.linked()
		h.set(func() { h.acts = nil })
		ctx, stop := context.WithCancel(h.ctx)
		stop()
		h.Run(ctx)
		h.set(func() {
			if want := []string{"unlink corp/N bob by guard: bob is not in the configuration any more"}; !slices.Equal(h.acts, want) {
				t.Errorf("audit %q", h.acts)
			}
		})
	})
}

// A link ends with the key that proved it, and with no other: as it is revoked, and where
// that was done while no bot ran. Of old rows it is not known which key that was.
func TestEndsWithItsKey(t *testing.T) {
	begin := func(t *testing.T, test func(h *house)) {
		live(t, link.Open, func(h *house) {
			h.cfg.Keys = map[string][]string{"bob": {"A", "B"}, "carol": {"C"}}
			h.Reload(h.cfg)
			for _, key := range []string{"A", "B"} {
				text := "!link " + h.code("by"+key, "bob")
				has(t, "link", h.Prove(h.ctx, &bridge.Claim{Text: text, Person: "bob", Leg: "bot", Rung: policy.Signed, Key: key}), "Done")
			}
			_ = h.store.PutLink(h.ctx, guard.Link{ID: "old", Person: "bob", Network: "corp", Account: "old", Made: time.Now(), Used: time.Now()})
			h.open()
			h.linked("bob=corp/byA", "bob=corp/byB", "bob=corp/old")
			test(h)
		})
	}
	day := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly) // where synctest begins
	begin(t, func(h *house) {
		has(t, "list", h.says("bob", "!link list", policy.Sealed), "corp/byA since "+day+", proven by key A", "corp/old since "+day)
		h.set(func() {
			if want := "link corp/byA bob by bob: done by key A"; !slices.Contains(h.acts, want) {
				t.Errorf("audit %q", h.acts)
			}
		})
		if accounts, _ := h.EndProven("bob", []string{"A"}); !slices.Equal(accounts, []string{"corp/byA", "corp/old"}) {
			t.Errorf("ended %q", accounts)
		}
		h.linked("bob=corp/byB")
	})
	begin(t, func(h *house) {
		h.cfg.Keys = map[string][]string{"bob": {"B"}}
		h.Reload(h.cfg)
		h.linked("bob=corp/byB", "bob=corp/old")
		h.set(func() {
			if want := "unlink corp/byA bob by guard: the key that proved it was revoked, expired or taken out: A"; !slices.Contains(h.acts, want) {
				t.Errorf("audit %q", h.acts)
			}
		})
	})
	begin(t, func(h *house) {
		h.cfg.Keys = map[string][]string{"bob": {"A"}}
		h.open() // another process
		h.linked("bob=corp/byA", "bob=corp/old")
	})
	begin(t, func(h *house) { // revoked between the message and the word of it
		text := "!link " + h.code("late", "bob")
		h.cfg.Keys = map[string][]string{"bob": {"B"}}
		h.Reload(h.cfg)
		has(t, "link", h.Prove(h.ctx, &bridge.Claim{Text: text, Person: "bob", Leg: "bot", Rung: policy.Signed, Key: "A"}), "Not done")
		h.linked("bob=corp/byB", "bob=corp/old")
	})
}

// Whoever has an account that was away, however shortly, may be another: services are
// asked.
func TestAskedAboutWhoComesBack(t *testing.T) {
	live(t, link.Open, func(h *house) {
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.set(func() { h.there = true })
		time.Sleep(3 * time.Minute)
		h.set(func() { h.there = false })
		time.Sleep(2 * time.Minute)
		h.set(func() { h.there, h.seen = true, bridge.AccountSeen{Known: policy.Yes, Mark: "entity B"} })
		time.Sleep(2 * time.Minute)
		h.linked()
	})
}
