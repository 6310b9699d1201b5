package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// Times of links.
const (
	// Unused is after how long without use a link ends.
	Unused = 30 * 24 * time.Hour
	// WaitsFor is how long one waits for an admin.
	WaitsFor = 7 * 24 * time.Hour

	runFirst   = 10 * time.Second // until Run does something
	runEvery   = time.Minute      // and again
	keepEvery  = 24 * time.Hour   // how often it is written down that a link is used
	checkEvery = 15 * time.Minute // how often services are asked whether an account is the same
	checkAfter = 10 * time.Minute // and who was not seen for so long, when they are back
	checkAtOne = 4                // accounts that are asked about in one run
	checkTime  = 12 * time.Second
	storeTime  = 5 * time.Second
)

// Mode says who may link.
type Mode uint8

// The modes. People of a group need an admin in each of them.
const (
	Staff Mode = iota // people of any group
	Open              // everybody
	Off               // nobody
)

// Errors of a Book, with what to tell people.
var (
	ErrOff       = errors.New("link: accounts are not linked here: an admin writes them into the configuration")
	ErrNoAccount = errors.New("link: you are not logged in to a services account, and a nick is nobody's: log in first (/msg NickServ IDENTIFY), then ask again")
	ErrLinked    = errors.New("link: the account is linked already")
	ErrNothing   = errors.New("link: nothing of that kind is there")
	ErrSelf      = errors.New("link: another admin has to agree, or the machine")
	ErrProof     = errors.New("link: the message proves too little")
	ErrStale     = errors.New("link: the message was long on its way, or its author's clock is slow: write it again")
	ErrGone      = errors.New("link: services know no such account")
	ErrNotKept   = errors.New("link: it cannot be written down, the store fails")
	// ErrComesBack: a link has ended, and that could not be written down.
	ErrComesBack = errors.New("link: it has ended, but that cannot be written down: the store fails, and a restart would bring it back. I go on trying")
)

// Config is who may link, and whom. The zero value lets people of groups.
type Config struct {
	Mode Mode
	// People are those of the configuration, with the keys that prove them now, and
	// without what this book has linked; Groups those with a domain.
	People []*policy.Person
	Groups []policy.Group
	// Keys are the fingerprints by which each person is known now, at signed and above.
	// A link that was proven by another ends. nil: nobody can know.
	Keys map[string][]string
}

// Store keeps links and tickets. guard.Store is one.
type Store interface {
	PutLink(ctx context.Context, l guard.Link) error
	PutTicket(ctx context.Context, t proof.Ticket) error
	Drop(ctx context.Context, ids ...string) error
}

// Deps are what a book needs from outside. A nil function does nothing, and finds
// nobody. But for Note and Present they are called without a lock held: who is asked may
// ask the book.
type Deps struct {
	Log   *slog.Logger // nil is silence
	Store Store        // nil keeps nothing
	Kept  guard.Kept   // what an earlier process kept
	Now   func() time.Time
	Rand  io.Reader // of codes; nil is crypto/rand

	// Chat returns the encrypted chat of a person: the account's name in the config, and
	// the bot's JID. false: they have none.
	Chat func(person string) (leg, bot string, ok bool)
	// Tell says something to a person in that chat, sealed or not at all, TellAdmins to
	// all admins, TellNick to a nick on IRC, in clear.
	Tell       func(leg, person, text string)
	TellAdmins func(text string)
	TellNick   func(network, nick, text string)
	// Say writes a text of package wording for who has an account of a network, or claims
	// to, in their language; nil says it in the program's own English. An empty account is
	// somebody of whom none is known.
	Say func(ctx context.Context, network, account, key string, args map[string]string) string
	// Note writes an act into the audit.
	Note func(*guard.Act)
	// Verify checks a clear-signed text, as guard.Deps.Verify does.
	Verify func(c *bridge.Claim) (guard.Signed, error)
	// Account asks services about an account, as bridge.AccountLeg does.
	Account func(ctx context.Context, network, account string) (bridge.AccountSeen, error)
	// Present reports whether an account is in a guarded channel now.
	Present func(network, account string) bool
	// Changed is called, without a lock, after links came or went.
	Changed func()
}

// Book is all links there are. Its methods are safe for concurrent use.
type Book struct {
	log    *slog.Logger
	now    func() time.Time
	d      Deps
	used   atomic.Pointer[map[account]*atomic.Int64] // when, in nanoseconds; read without a lock
	failed chan struct{}                             // capacity 1: something could not be written down
	disk   sync.Mutex                                // held while something is written, before mu
	mu     sync.Mutex                                // guards all below
	cfg    Config
	asked  *proof.Book
	links  map[account]*entry
	serial uint64
	leaves uint64       // how many have left: what was proven before counts no more
	unsaid []*guard.Act // of links that ended before there was an audit
	words  []string     // that Run tells the admins
	// unsaved are the IDs of which the disk may not hold what the book does, each with
	// the mark of when it changed last.
	unsaved map[string]uint64
	marks   uint64
}

// account is a services account of a network, as policy.FoldAccount has it.
type account struct{ network, name string }

func accountOf(network, name string) account { return account{network, policy.FoldAccount(name)} }

// entry is a link, with what this process knows of it.
type entry struct {
	guard.Link
	last    *atomic.Int64 // in Book.used
	kept    time.Time     // the Used that is to be on disk
	checked time.Time     // when services were asked
	again   bool          // they are to be asked now
	there   bool          // the account was in a guarded channel as that was looked at
}

// New returns a book of what was kept.
func New(cfg Config, d Deps) *Book {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	b := &Book{
		log: d.Log, now: d.Now, d: d, cfg: cfg, asked: proof.NewBook(d.Rand), failed: make(chan struct{}, 1),
		links: map[account]*entry{}, unsaved: map[string]uint64{},
	}
	now := b.now()
	for _, l := range d.Kept.Links {
		if why := b.endedLocked(&l); why != "" { // the configuration changed while no bot ran
			b.unsavedLocked(l.ID)
			b.unsaid = append(b.unsaid, unlinked(&l, "guard", why))
			continue
		}
		if b.needsAdminLocked(&l, now) {
			b.unsavedLocked(l.ID)
			b.unsaid = append(b.unsaid, waits(&l))
		}
		b.links[accountOf(l.Network, l.Account)] = &entry{Link: l, kept: l.Used, last: &atomic.Int64{}}
	}
	b.publishLocked()
	var tickets []proof.Ticket
	for _, t := range d.Kept.Tickets {
		if t.Kind == proof.Link {
			tickets = append(tickets, t)
		}
	}
	b.unsavedLocked(b.asked.Load(tickets, now)...)
	b.d.Kept = guard.Kept{}
	_ = b.save(context.Background()) // Run tries again, and tells
	return b
}

// Reload changes to cfg. A link of an account that the configuration names now ends, and
// one of a person who is nobody any more; who leaves is named to EndOf by the caller. It
// does not call Changed.
func (b *Book) Reload(cfg Config) {
	b.mu.Lock()
	b.cfg = cfg
	for _, e := range b.links {
		if why := b.endedLocked(&e.Link); why != "" {
			b.endLocked(e, "guard", why)
		} else if b.needsAdminLocked(&e.Link, b.now()) {
			b.unsavedLocked(e.ID)
			b.note(waits(&e.Link))
		}
	}
	b.mu.Unlock()
	_ = b.save(context.Background()) // Run tries again, and tells
}

// endedLocked says why a link does not hold by the configuration; "": it may.
func (b *Book) endedLocked(l *guard.Link) string {
	if owner := b.ownerLocked(l.Network, l.Account); owner != "" {
		return "the configuration names it, for " + owner
	}
	p := b.personLocked(l.Person)
	switch {
	case p == nil:
		return l.Person + " is not in the configuration any more"
	case p.Gone:
		return "every key of " + l.Person + " was revoked or expired"
	case l.Key != "" && b.cfg.Keys != nil && !slices.Contains(b.cfg.Keys[l.Person], l.Key):
		return "the key that proved it was revoked, expired or taken out: " + l.Key
	}
	return ""
}

// needsAdminLocked has a link wait for an admin whose person has come into a group since
// they made it, and reports whether it does so from now on: the group is trusted, and
// nobody of it has looked at the account.
func (b *Book) needsAdminLocked(l *guard.Link, now time.Time) bool {
	p := b.personLocked(l.Person)
	if p == nil || l.By != "" || !l.Waits.IsZero() || !b.inGroupLocked(p) {
		return false
	}
	l.Waits = now.Add(WaitsFor)
	b.words = append(b.words, fmt.Sprintf("%s is of a group now, and has linked the IRC account %s on %s before: it does not act as them until an admin agrees. %s",
		l.Person, l.Account, l.Network, howToAgree(l)))
	return true
}

// ownerLocked is the person to whom the configuration gives an account, or "".
func (b *Book) ownerLocked(network, name string) string {
	for _, p := range b.cfg.People {
		if slices.ContainsFunc(p.IRC[network].Accounts, func(a string) bool { return policy.SameAccount(a, name) }) {
			return p.Name
		}
	}
	return ""
}

// Bind returns a person with the accounts that are linked to them: p itself where
// there are none.
func (b *Book) Bind(p *policy.Person) *policy.Person {
	b.mu.Lock()
	defer b.mu.Unlock()
	var mine []*entry
	for _, e := range b.links {
		if e.Person == p.Name && e.Waits.IsZero() {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 {
		return p
	}
	out := *p
	out.IRC = map[string]policy.IRCIdentity{}
	for network, id := range p.IRC {
		out.IRC[network] = id
	}
	slices.SortFunc(mine, func(x, y *entry) int { return strings.Compare(x.Account, y.Account) })
	for _, e := range mine {
		id := out.IRC[e.Network]
		id.Accounts = append(slices.Clone(id.Accounts), e.Account)
		out.IRC[e.Network] = id
	}
	return &out
}

// List returns all links, also those that wait for an admin, by person and account.
func (b *Book) List() []guard.Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []guard.Link{}
	for _, e := range b.links {
		out = append(out, e.Link)
	}
	slices.SortFunc(out, func(x, y guard.Link) int {
		return strings.Compare(x.Person+"\x00"+x.Network+"\x00"+x.Account, y.Person+"\x00"+y.Network+"\x00"+y.Account)
	})
	return out
}

// Of returns the link of an account; false: it has none that holds.
func (b *Book) Of(network, name string) (guard.Link, bool) {
	l, ok := b.At(network, name)
	return l, ok && l.Waits.IsZero()
}

// At returns what there is of an account: a link, or what waits for an admin (Waits is
// set); false: neither.
func (b *Book) At(network, name string) (guard.Link, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.links[accountOf(network, name)]
	if e == nil {
		return guard.Link{}, false
	}
	return e.Link, true
}

// Used notes that an account did something as the person. It waits for nothing.
func (b *Book) Used(network, name string) {
	if last := (*b.used.Load())[accountOf(network, name)]; last != nil {
		last.Store(b.now().UnixNano())
	}
}

// publishLocked has Used see the links that there are.
func (b *Book) publishLocked() {
	used := make(map[account]*atomic.Int64, len(b.links))
	for key, e := range b.links {
		used[key] = e.last
	}
	b.used.Store(&used)
}

// use notes a use. Who was away for a while may be another now: services are asked.
func (e *entry) use(at time.Time) {
	if at.Sub(e.Used) >= checkAfter {
		e.again = true
	}
	if at.After(e.Used) {
		e.Used = at
	}
}

func (b *Book) note(a *guard.Act) {
	if a.At = b.now(); b.d.Note != nil {
		b.d.Note(a)
	}
}

func (b *Book) changed() {
	if b.d.Changed != nil {
		b.d.Changed()
	}
}

// tell says something to a person in their encrypted chat.
func (b *Book) tell(person, text string) {
	if leg, _, ok := b.chat(person); ok && b.d.Tell != nil {
		b.d.Tell(leg, person, text)
	}
}

// chat is Deps.Chat.
func (b *Book) chat(person string) (leg, bot string, ok bool) {
	if b.d.Chat == nil {
		return "", "", false
	}
	return b.d.Chat(person)
}
