package link_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/bridge/proof"
	"drawbridge/bridge/wording"
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
	speaks  string       // the language of the account M; "": nobody says texts
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
	var say func(context.Context, string, string, string, map[string]string) string
	if h.speaks != "" {
		say = func(_ context.Context, network, account, key string, args map[string]string) string {
			unlocked()
			lang := map[string]string{"corp/M": h.speaks}[network+"/"+account]
			return wording.Builtin().Say(lang, key, args)
		}
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
		Say:        say,
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
