package link_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// house is a book with all around it played.
type house struct {
	t     *testing.T
	ctx   context.Context
	cfg   link.Config
	store *disk
	*link.Book
	running sync.WaitGroup
	run     func() // until the test ends

	mu      sync.Mutex // guards all below
	told    []string   // "alice: …", "admins: …", "corp/nick: …"
	acts    []string
	changes int
	signed  guard.Signed // of the next clear-signed text
	services
}

// disk is a store that tests have fail, or look into while it writes.
type disk struct {
	*guard.Memory
	mu    sync.Mutex // guards all below
	fails error
	onPut func() // called once, while a link or a ticket is being written
	wrote int    // rows, tickets too
}

// broken has the store fail, or work again.
func (d *disk) broken(err error) { d.mu.Lock(); d.fails = err; d.mu.Unlock() }

func (d *disk) meanwhile(do func()) { d.mu.Lock(); d.onPut = do; d.mu.Unlock() }

func (d *disk) writes(row bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if do := d.onPut; row && do != nil {
		d.onPut = nil
		d.mu.Unlock()
		do()
		d.mu.Lock()
	}
	if row {
		d.wrote++
	}
	return d.fails
}

// PutLink writes it even where it says that it did not: nobody can know.
func (d *disk) PutLink(ctx context.Context, l guard.Link) error {
	err := d.writes(true)
	return errors.Join(err, d.Memory.PutLink(ctx, l))
}

func (d *disk) PutTicket(ctx context.Context, t proof.Ticket) error {
	err := d.writes(true)
	return errors.Join(err, d.Memory.PutTicket(ctx, t))
}

func (d *disk) Drop(ctx context.Context, ids ...string) error {
	if err := d.writes(false); err != nil {
		return err
	}
	return d.Memory.Drop(ctx, ids...)
}

type services struct {
	seen  bridge.AccountSeen
	err   error
	there bool // the account is in a guarded channel

	during func() // called once, while they are asked
	asked  int
}

var people = []*policy.Person{
	{Name: "alice", JIDs: []string{"alice@corp.example"}, Groups: []string{"staff"}},
	{Name: "bob", JIDs: []string{"bob@corp.example"}},
	{Name: "carol", JIDs: []string{"carol@corp.example"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"carolacct"}}}},
	{Name: "dave", JIDs: []string{"dave@corp.example"}, Certified: []string{"dave@corp.example"}},
	{Name: "gone", JIDs: []string{"gone@corp.example"}, Gone: true},
	{Name: "mute", JIDs: []string{"mute@corp.example"}}, // has no encrypted chat
}

// live runs a test in fake time.
func live(t *testing.T, mode link.Mode, test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, ctx: t.Context(), store: &disk{Memory: guard.NewMemory()}, cfg: link.Config{Mode: mode, People: people, Groups: []policy.Group{{Name: "staff", Domain: "corp.example"}}}}
		h.services = services{seen: bridge.AccountSeen{Known: policy.Yes, Mark: "entity A"}}
		ctx, stop := context.WithCancel(t.Context())
		h.open()
		h.run = func() {
			book := h.Book
			h.running.Go(func() { book.Run(ctx) })
		}
		h.run()
		test(h)
		stop()
		h.running.Wait()
	})
}

// open makes a book of what is kept.
func (h *house) open() {
	kept, err := h.store.Load(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	var book *link.Book
	unlocked := func() { book.List() } // it would wait for ever if the book held its lock
	tell := func(whom, text string) {
		unlocked()
		h.set(func() { h.told = append(h.told, whom+": "+text) })
	}
	book = link.New(h.cfg, link.Deps{
		Store: h.store, Kept: kept,
		Chat: func(person string) (string, string, bool) {
			unlocked()
			return "bot", "bot@corp.example", person != "mute"
		},
		Tell:       func(_, person, text string) { tell(person, text) },
		TellAdmins: func(text string) { tell("admins", text) },
		TellNick:   func(network, nick, text string) { tell(network+"/"+nick, text) },
		Note: func(a *guard.Act) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.acts = append(h.acts, fmt.Sprintf("%s %s %s by %s: %s", a.Acts, a.Who, a.Person, a.Actor, a.Result))
		},
		Verify: func(*bridge.Claim) (guard.Signed, error) {
			unlocked()
			if h.signed.Fingerprint == "" {
				return guard.Signed{}, errors.New("bad signature")
			}
			return h.signed, nil
		},
		Account: func(context.Context, string, string) (bridge.AccountSeen, error) {
			unlocked()
			h.mu.Lock()
			seen, err, during := h.seen, h.err, h.during
			h.during = nil
			h.asked++
			h.mu.Unlock()
			if during != nil {
				during()
			}
			return seen, err
		},
		Present: func(string, string) bool { h.mu.Lock(); defer h.mu.Unlock(); return h.there },
		Changed: func() { unlocked(); h.set(func() { h.changes++ }) },
	})
	h.Book = book
}

func (h *house) set(f func()) { h.mu.Lock(); f(); h.mu.Unlock() }

// other does something beside that ends what the book has, which it waits for: the disk
// is written to by one at a time.
func (h *house) other(do func()) {
	h.running.Go(do)
	for len(h.List()) > 0 {
		runtime.Gosched()
	}
}

// heard takes what was told since.
func (h *house) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := strings.Join(h.told, "\n")
	h.told = nil
	return out
}

// on asks alone with the bot, as an account of corp.
func (h *house) on(account, words string) string {
	a := bridge.Aside{Leg: "corp", From: policy.NewIRCFacts("corp", "nick", "u", "h"), Words: strings.Fields(words)}
	if account != "" {
		a.From.Account = policy.Is(account, "account-tag", time.Now())
	}
	return h.Aside(h.ctx, a)
}

// code asks for a link, and returns the code that is shown.
func (h *house) code(account, whom string) string {
	h.t.Helper()
	answer := h.on(account, "!link "+whom)
	_, code, ok := strings.Cut(answer, " is ")
	code, _, _ = strings.Cut(code, "\n")
	if !ok || !proof.IsCode(code) {
		h.t.Fatalf("no code in %q", answer)
	}
	return code
}

// says is what a person writes in their own chat, at a rung.
func (h *house) says(person, text string, rung policy.Rung) string {
	return h.Prove(h.ctx, &bridge.Claim{Text: text, Person: person, JID: person + "@corp.example", Leg: "bot", Rung: rung})
}

func (h *house) linked(want ...string) {
	h.t.Helper()
	var got []string
	for _, l := range h.List() {
		word := l.Person + "=" + l.Network + "/" + l.Account
		if !l.Waits.IsZero() {
			word += " waits"
		}
		got = append(got, word)
	}
	if !slices.Equal(got, want) {
		h.t.Errorf("links %q, want %q", got, want)
	}
	kept, err := h.store.Load(h.ctx)
	if err != nil || len(kept.Links) != len(want) {
		h.t.Errorf("%d links are kept, want %d (%v)", len(kept.Links), len(want), err)
	}
}

func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: no %q in %q", what, p, text)
		}
	}
}

// Both sides have to say so: the account is shown a code, and the person sends it.
func TestLink(t *testing.T) {
	live(t, link.Open, func(h *house) {
		code := h.code("M", "bob@corp.example")
		has(t, "bob is asked", h.heard(), "bob: IRC account M on corp wants to act as you (nick nick)", "!link CODE", "gpg --clearsign")
		h.linked()
		has(t, "answer", h.says("bob", "!link "+code, policy.Signed), "Done: what the IRC account M on corp does counts as yours")
		h.linked("bob=corp/M")
		has(t, "IRC hears", h.heard(), "corp/nick: The account M and bob")
		if got := h.Bind(people[1]).IRC["corp"].Accounts; !slices.Equal(got, []string{"M"}) {
			t.Errorf("bob has the accounts %q", got)
		}
		if people[1].IRC != nil {
			t.Error("the person of the config was changed")
		}
		if l, ok := h.Of("corp", "m"); !ok || l.Person != "bob" || l.Mark != "entity A" {
			t.Errorf("link %+v", l)
		}
		has(t, "once", h.says("bob", "!link "+code, policy.Signed), "used already")
		has(t, "twice", h.on("M", "!link carol"), "linked already")
		has(t, "standing", h.on("M", "!link"), "acts as bob")
		has(t, "list", h.says("bob", "!link list", policy.Signed), "corp/M since")
		has(t, "another's", h.says("carol", "!link off corp/M", policy.Signed), "linked to nobody")
		h.linked("bob=corp/M")
		has(t, "off", h.says("bob", "!link off corp/M", policy.Signed), "Done")
		h.linked()
		if h.changes != 2 {
			t.Errorf("%d changes were told", h.changes)
		}
		h.set(func() {
			if want := []string{
				"link corp/M bob by corp/M: asked for", "link corp/M bob by bob: done", "unlink corp/M bob by bob: you asked for that",
			}; !slices.Equal(h.acts, want) {
				t.Errorf("audit %q", h.acts)
			}
		})
		h.says("bob", "!link "+h.code("M", "bob"), policy.Verified)
		h.linked("bob=corp/M")
		has(t, "off on IRC", h.on("m", "!link off"), "does not act as bob any more")
		h.linked()
	})
}

// What proves too little, too late, or by somebody else, links nothing.
func TestRefusals(t *testing.T) {
	live(t, link.Open, func(h *house) {
		has(t, "no account", h.on("", "!link bob"), "not logged in", "a nick is nobody's")
		has(t, "an account of the config", h.on("CAROLacct", "!link bob"), "linked already", "carol")
		for _, whom := range []string{"zoe", "mute", "gone"} { // a code like any other, and nobody hears
			code := h.code("eve"+whom, whom)
			if told := h.heard(); told != "" {
				t.Errorf("%s: %s", whom, told)
			}
			for _, p := range people {
				has(t, whom, h.says(p.Name, "!link "+code, policy.Verified), "no such code")
			}
		}
		code := h.code("M", "bob")
		has(t, "unsigned", h.says("bob", "!link "+code, policy.Sealed), "proves too little", "clear-sign")
		has(t, "clear", h.says("bob", "!link "+code, policy.Clear), "proves too little")
		has(t, "stale", h.Prove(h.ctx, &bridge.Claim{Text: "!link " + code, Person: "bob", Rung: policy.Verified, Stale: true}), "long on its way")
		has(t, "another person", h.says("carol", "!link "+code, policy.Verified), "no such code")
		has(t, "wrong", h.says("bob", "!link aaaa-bbbb-cccc-dddd-eeee", policy.Verified), "no such code")
		time.Sleep(proof.Life)
		has(t, "late", h.says("bob", "!link "+code, policy.Verified), "time of this code is over")
		h.set(func() { h.seen = bridge.AccountSeen{Known: policy.No} })
		has(t, "no such account", h.says("bob", "!link "+h.code("M", "bob"), policy.Verified), "services know no such account")
		h.linked()
	})
	live(t, link.Off, func(h *house) {
		has(t, "off", h.on("M", "!link bob"), "accounts are not linked here")
	})
	live(t, link.Staff, func(h *house) {
		code := h.code("M", "bob") // who is in no group
		if told := h.heard(); told != "" {
			t.Error(told)
		}
		has(t, "no staff", h.says("bob", "!link "+code, policy.Verified), "no such code")
	})
}

// Of people in a group an admin has to agree, and not the same.
func TestAdminAgrees(t *testing.T) {
	for _, mode := range []link.Mode{link.Open, link.Staff} {
		for _, person := range []string{"alice", "dave"} { // by list, by the company's key
			live(t, mode, func(h *house) {
				code := h.code("M", person)
				h.heard()
				has(t, "answer", h.says(person, "!link "+code, policy.Signed), "An admin has to agree")
				has(t, "admins", h.heard(), "admins: "+person+" has proven", "!guard link "+person+" corp/M")
				h.linked(person + "=corp/M waits")
				if _, ok := h.Of("corp", "M"); ok || h.Bind(people[0]) != people[0] {
					t.Error("it holds before anybody agreed")
				}
				h.open() // a new process
				if _, err := h.Accept(h.ctx, person, "corp", "M", person); !errors.Is(err, link.ErrSelf) {
					t.Errorf("agreed to oneself: %v", err)
				}
				if _, err := h.Accept(h.ctx, "bob", "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
					t.Errorf("agreed to another person: %v", err)
				}
				if _, err := h.Accept(h.ctx, person, "corp", "M", "root"); err != nil {
					t.Error(err)
				}
				has(t, "person", h.heard(), person+": An admin agreed")
				h.linked(person + "=corp/M")
				if _, err := h.Accept(h.ctx, person, "corp", "M", "root"); !errors.Is(err, link.ErrNothing) {
					t.Errorf("agreed twice: %v", err)
				}
			})
		}
	}
	live(t, link.Staff, func(h *house) { // refused, and forgotten
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		if _, err := h.End("corp", "M", "root", "an admin ended it"); err != nil {
			t.Error(err)
		}
		h.linked()
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		h.linked("alice=corp/M waits")
		time.Sleep(link.WaitsFor + time.Minute)
		h.linked()
	})
}

// Who cannot sign messages clear-signs the sentence: all of it, nothing else, in time.
func TestClearSigned(t *testing.T) {
	const block = "-----BEGIN PGP SIGNED MESSAGE-----\nI want the IRC\naccount nonce "
	for _, tt := range []struct {
		name   string
		change func(s *guard.Signed, t proof.Ticket, code string)
		want   string
	}{
		{"good", func(*guard.Signed, proof.Ticket, string) {}, "Done"},
		{"text around it", func(s *guard.Signed, _ proof.Ticket, _ string) { s.Text += " And pay eve." }, "not the sentence"},
		{"signed before", func(s *guard.Signed, _ proof.Ticket, _ string) { s.At = s.At.Add(-time.Hour) }, "another time"},
		{"signed after", func(s *guard.Signed, _ proof.Ticket, _ string) { s.At = s.At.Add(time.Hour) }, "another time"},
		{"another account", func(s *guard.Signed, t proof.Ticket, code string) {
			t.Account = "eve"
			s.Text = proof.Sentence(&t, code)
		}, "not the sentence"},
		{"another code", func(s *guard.Signed, t proof.Ticket, _ string) {
			s.Text = proof.Sentence(&t, "aaaa-bbbb-cccc-dddd-eeee")
		}, "no such code"},
		{"a key that is not known", func(s *guard.Signed, _ proof.Ticket, _ string) { s.Rung = policy.Sealed }, "not known as yours"},
		{"bad signature", func(s *guard.Signed, _ proof.Ticket, _ string) { *s = guard.Signed{} }, "bad signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, link.Open, func(h *house) {
				code := h.code("M", "bob")
				kept, err := h.store.Load(h.ctx)
				if err != nil || len(kept.Tickets) != 1 {
					t.Fatalf("%d tickets are kept (%v)", len(kept.Tickets), err)
				}
				ticket := kept.Tickets[0]
				h.signed = guard.Signed{Text: proof.Sentence(&ticket, code), Fingerprint: "F", At: time.Now(), Rung: policy.Verified}
				tt.change(&h.signed, ticket, code)
				text := block + code + "\n-----END PGP SIGNATURE-----"
				if !h.Claims("bob", text) || h.Claims("carol", text) {
					t.Error("it is not bob's to answer, or carol's, too")
				}
				has(t, "answer", h.says("bob", text, policy.Sealed), tt.want)
				if tt.want == "Done" {
					h.linked("bob=corp/M")
				} else {
					h.linked()
				}
			})
		})
	}
}

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

// Who comes into a group has no account in it that no admin has looked at: not one that
// was linked before, nor one that is being linked, nor after a restart.
func TestGroupComesLater(t *testing.T) {
	staff := *people[1]
	staff.Groups = []string{"staff"}
	now := []*policy.Person{people[0], &staff}
	live(t, link.Open, func(h *house) {
		h.says("alice", "!link "+h.code("A", "alice"), policy.Signed)
		if _, err := h.Accept(h.ctx, "alice", "corp", "A", "root"); err != nil {
			t.Error(err)
		}
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.heard()
		h.cfg.People = now
		h.Reload(h.cfg)
		h.linked("alice=corp/A", "bob=corp/M waits")
		if h.Bind(&staff) != &staff {
			t.Error("it holds before anybody agreed")
		}
		time.Sleep(2 * time.Minute)
		has(t, "admins", h.heard(), "admins: bob is of a group now", "!guard link bob corp/M")
		h.open()
		h.linked("alice=corp/A", "bob=corp/M waits")
		if _, err := h.Accept(h.ctx, "bob", "corp", "M", "root"); err != nil {
			t.Error(err)
		}
		h.Reload(h.cfg)
		h.linked("alice=corp/A", "bob=corp/M")
	})
	live(t, link.Open, func(h *house) {
		h.says("bob", "!link "+h.code("M", "bob"), policy.Signed)
		h.cfg.People = now
		h.open()
		h.linked("bob=corp/M waits")
	})
	live(t, link.Open, func(h *house) {
		code := h.code("M", "bob")
		h.store.meanwhile(func() { go h.Reload(link.Config{Mode: link.Open, People: now}); runtime.Gosched() })
		h.says("bob", "!link "+code, policy.Signed)
		synctest.Wait()
		if _, holds := h.Of("corp", "M"); holds {
			t.Error("it holds, and nobody agreed")
		}
	})
}

// People whose names differ in capitals are two: what is judged of one is not of the
// other.
func TestNamesInCapitals(t *testing.T) {
	live(t, link.Staff, func(h *house) {
		h.cfg.People = []*policy.Person{{Name: "Dora"}, {Name: "dora", Groups: []string{"staff"}}}
		h.Reload(h.cfg)
		h.says("dora", "!link "+h.code("M", "dora"), policy.Signed)
		h.linked("dora=corp/M waits")
		h.code("N", "Dora")
		if told := h.heard(); strings.Contains(told, "Dora: ") {
			t.Errorf("who is in no group is asked: %s", told)
		}
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

// An admin's word for who leaves at that moment links nothing.
func TestAgreedAsTheyLeave(t *testing.T) {
	live(t, link.Open, func(h *house) {
		h.says("alice", "!link "+h.code("M", "alice"), policy.Signed)
		h.linked("alice=corp/M waits")
		h.store.meanwhile(func() { h.other(func() { h.EndOf("alice") }) })
		if l, err := h.Accept(h.ctx, "alice", "corp", "M", "carol"); !errors.Is(err, link.ErrNothing) {
			t.Errorf("%+v: %v", l, err)
		}
		h.linked()
		h.Reload(link.Config{Mode: link.Open, People: people[1:]})
		h.linked()
	})
}

// What people are to paste into a shell is one word there, whatever an account is called.
func TestNothingForTheShell(t *testing.T) {
	command := ""
	live(t, link.Open, func(h *house) {
		h.code("x';reboot;'", "bob")
		_, command, _ = strings.Cut(h.heard(), "echo ")
	})
	command, _, ok := strings.Cut(command, " | gpg")
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf '[%s]' "+command).Output()
	if want := "[I want the IRC account x';reboot;' on corp to act as bob for bot@corp.example: nonce CODE, good once, until "; !ok || err != nil || !strings.HasPrefix(string(out), want) || strings.Count(string(out), "[") != 1 {
		t.Errorf("the shell takes %s for %q (%v)", command, out, err)
	}
}

// An account may ask so often, a person guess so often.
func TestBounds(t *testing.T) {
	live(t, link.Open, func(h *house) {
		for range proof.MaxAsks {
			h.code("M", "bob")
		}
		has(t, "often", h.on("M", "!link bob"), "too often")
		for range proof.MaxTries {
			h.says("carol", "!link aaaa-bbbb-cccc-dddd-eeee", policy.Verified)
		}
		has(t, "guesses", h.says("carol", "!link "+h.code("C", "carol"), policy.Verified), "too often")
		has(t, "words", h.on("M", "!link a b"), "!link NAME")
		name := strings.Repeat("ä", 40)
		if answer := h.on("N", "!link "+name); !utf8.ValidString(answer) || !strings.Contains(answer, "If "+name[:60]+"… is known here") {
			t.Errorf("a long name is said back as %q", answer)
		}
		h.linked()
	})
}
