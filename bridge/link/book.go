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
	checkEvery = time.Hour        // how often services are asked whether an account is the same
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
	ErrNotKept   = errors.New("link: not done: the store fails")
)

// Config is who may link, and whom. The zero value lets people of groups.
type Config struct {
	Mode Mode
	// People are those of the configuration, with the keys that prove them now, and
	// without what this book has linked; Groups those with a domain.
	People []*policy.Person
	Groups []policy.Group
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
	mu     sync.Mutex                                // guards all below; held while something is written to disk
	cfg    Config
	asked  *proof.Book
	links  map[account]*entry
	serial uint64
	leaves uint64       // how many have left: what was proven before counts no more
	unsaid []*guard.Act // of links that ended before there was an audit
}

// account is a services account of a network, as policy.FoldAccount has it.
type account struct{ network, name string }

func accountOf(network, name string) account { return account{network, policy.FoldAccount(name)} }

// entry is a link, with what this process knows of it.
type entry struct {
	guard.Link
	last    *atomic.Int64 // in Book.used
	kept    time.Time     // the Used that is on disk
	checked time.Time     // when services were asked
	again   bool          // they are to be asked now
}

// New returns a book of what was kept.
func New(cfg Config, d Deps) *Book {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	b := &Book{log: d.Log, now: d.Now, d: d, cfg: cfg, asked: proof.NewBook(d.Rand), links: map[account]*entry{}}
	now := b.now()
	for _, l := range d.Kept.Links {
		if why := b.endedLocked(&l); why != "" { // the configuration changed while no bot ran
			b.drop(l.ID)
			b.unsaid = append(b.unsaid, unlinked(&l, "guard", why))
			continue
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
	b.drop(b.asked.Load(tickets, now)...)
	b.d.Kept = guard.Kept{}
	return b
}

// Reload changes to cfg. A link of an account that the configuration names now ends, and
// one of a person who is nobody any more; who leaves is named to EndOf by the caller. It
// does not call Changed.
func (b *Book) Reload(cfg Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg = cfg
	for _, e := range b.links {
		if why := b.endedLocked(&e.Link); why != "" {
			b.endLocked(e, "guard", why)
		}
	}
}

// endedLocked says why a link does not hold by the configuration; "": it may.
func (b *Book) endedLocked(l *guard.Link) string {
	if owner := b.ownerLocked(l.Network, l.Account); owner != "" {
		return "the configuration names it, for " + owner
	}
	i := slices.IndexFunc(b.cfg.People, func(p *policy.Person) bool { return p.Name == l.Person })
	switch {
	case i < 0:
		return l.Person + " is not in the configuration any more"
	case b.cfg.People[i].Gone:
		return "every key of " + l.Person + " was revoked or expired"
	}
	return ""
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
func (e *entry) use(now time.Time) {
	if now.Sub(e.Used) >= checkAfter {
		e.again = true
	}
	e.Used = now
}

// Accept has an admin agree to what a person has proven. Errors: ErrNothing, ErrSelf,
// ErrNotKept.
func (b *Book) Accept(ctx context.Context, person, network, name, by string) (guard.Link, error) {
	b.mu.Lock()
	e := b.links[accountOf(network, name)]
	if e == nil || e.Person != person || e.Waits.IsZero() {
		b.mu.Unlock()
		return guard.Link{}, fmt.Errorf("%w: %s has not proven that %s/%s is theirs, or that was agreed to", ErrNothing, person, network, name)
	}
	if by == person {
		b.mu.Unlock()
		return guard.Link{}, ErrSelf
	}
	l, leaves := e.Link, b.leaves
	b.mu.Unlock()
	l.Waits, l.By, l.Made, l.Used = time.Time{}, by, b.now(), b.now()
	if err := b.put(ctx, &l, leaves); err != nil {
		return guard.Link{}, err
	}
	b.made(&l, by)
	b.tell(l.Person, fmt.Sprintf("An admin agreed: what the IRC account %s on %s does counts as yours from now on. !link off %s/%s ends that.", l.Account, l.Network, l.Network, l.Account))
	return l, nil
}

// put keeps a link, first on disk. One that the account has by now is not replaced.
// leaves is what Book.leaves was as it was judged: of who left since, nothing is kept.
func (b *Book) put(ctx context.Context, l *guard.Link, leaves uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leaves != leaves || b.endedLocked(l) != "" {
		return ErrNothing
	}
	if l.ID == "" {
		b.serial++
		l.ID = fmt.Sprintf("l%x.%d", b.now().UnixNano(), b.serial)
	}
	key := accountOf(l.Network, l.Account)
	if e := b.links[key]; e != nil && e.ID != l.ID {
		return ErrLinked
	}
	if b.d.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		if err := b.d.Store.PutLink(ctx, *l); err != nil {
			b.log.Error("a link cannot be kept", "err", err)
			return ErrNotKept
		}
	}
	b.links[key] = &entry{Link: *l, kept: l.Used, checked: b.now(), last: &atomic.Int64{}}
	b.publishLocked()
	return nil
}

// made tells of a link that holds from now on.
func (b *Book) made(l *guard.Link, by string) {
	b.note(&guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "link", Actor: by, Result: "done", Undo: "guard unlink " + l.Network + "/" + l.Account})
	b.changed()
	if b.d.TellNick != nil && l.Nick != "" {
		b.d.TellNick(l.Network, l.Nick, "The account "+l.Account+" and "+l.Person+" on Jabber are one person now. !link off ends that.")
	}
}

// End ends the link of an account, or what waits for an admin. Errors: ErrNothing.
func (b *Book) End(network, name, by, why string) (guard.Link, error) {
	return b.endTold(network, name, by, why, func(*guard.Link) bool { return true })
}

// endTold is endIf, and the person hears of it.
func (b *Book) endTold(network, name, by, why string, fits func(*guard.Link) bool) (guard.Link, error) {
	l, err := b.endIf(network, name, by, why, fits)
	if err == nil {
		b.tell(l.Person, fmt.Sprintf("The IRC account %s on %s does not act as you any more: %s.", l.Account, l.Network, why))
	}
	return l, err
}

// endIf ends the link of an account that fits.
func (b *Book) endIf(network, name, by, why string, fits func(*guard.Link) bool) (guard.Link, error) {
	b.mu.Lock()
	e := b.links[accountOf(network, name)]
	if e == nil || !fits(&e.Link) {
		b.mu.Unlock()
		return guard.Link{}, fmt.Errorf("%w: %s/%s is linked to nobody", ErrNothing, network, name)
	}
	b.endLocked(e, by, why)
	b.mu.Unlock()
	b.changed()
	return e.Link, nil
}

// endLocked ends a link, with a line in the audit.
func (b *Book) endLocked(e *entry, by, why string) {
	delete(b.links, accountOf(e.Network, e.Account))
	b.publishLocked()
	b.drop(e.ID)
	b.note(unlinked(&e.Link, by, why))
}

func unlinked(l *guard.Link, by, why string) *guard.Act {
	return &guard.Act{Who: l.Network + "/" + l.Account, Person: l.Person, Acts: "unlink", Actor: by, Result: why}
}

// EndOf ends all links and open proofs of a person who leaves, and returns the accounts,
// as "corp/alice", and how many proofs were open. What is said about that, in the audit
// and to people, is the caller's; Changed is not called.
func (b *Book) EndOf(person string) (accounts []string, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaves++
	var ids []string
	for key, e := range b.links {
		if e.Person == person {
			accounts = append(accounts, e.Network+"/"+e.Account)
			ids = append(ids, e.ID)
			delete(b.links, key)
		}
	}
	b.publishLocked()
	slices.Sort(accounts)
	tickets := b.asked.End(func(t *proof.Ticket) bool { return t.Person == person }, b.now())
	b.drop(append(ids, tickets...)...)
	return accounts, len(tickets)
}

// drop forgets what was kept.
func (b *Book) drop(ids ...string) {
	if len(ids) == 0 || b.d.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := b.d.Store.Drop(ctx, ids...); err != nil {
		b.log.Error("a link that ended comes back with the next start", "err", err)
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
