// Package trust keeps what is known of people's keys: which were seen, which were
// accepted, by whom, how and when. It is the e2ee.Trust of a running bot, for
// OpenPGP, OX and OTR alike.
//
// What was decided against a key wins over everything that speaks for it. A key of
// the config or certified by the company counts as long as that is so; what an
// admin, SMP or the person's own verified session accepted is kept in the store. The
// first key of a person is kept without asking (TOFU) only where the bridge says
// so, nothing better is known of them, and nothing was ever revoked.
package trust

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Config is what the configuration says. It is not changed once given to a Book.
type Config struct {
	People []*policy.Person
	// TOFU holds the persons of bridges that trust on first use, by account.
	TOFU map[string]map[string]bool
	// Secrets are the shared secrets for SMP, by person.
	Secrets map[string]string
}

// Certifier tells which OpenPGP keys the company's key has certified for a person.
type Certifier interface {
	// Certified returns the fingerprints of the keys that carry a valid certification
	// on a user id of the person at now. It is cheap.
	Certified(p *policy.Person, now time.Time) []string
}

// Deps are what a Book takes from outside. Zero fields have defaults.
type Deps struct {
	Keeper    e2ee.TrustKeeper // nil: nothing outlives the process
	Certifier Certifier        // nil: nothing is certified
	// Own reports whether a key is the bot's: it is nobody else's, or what the bot
	// writes could come back as theirs. It must not call the Book. nil: none is.
	Own func(kind e2ee.KeyKind, fpr string) bool
	Now func() time.Time // time.Now
	Log *slog.Logger     // silent
	// Tell is called by Run, and by nothing else, with what people should hear.
	Tell func(Notice)
	// Changed is called by Run when another key of a person counts: what is held for
	// want of one can be tried again.
	Changed func(person string)
}

const (
	// maxWaiting bounds the undecided keys of one kind that are remembered of a
	// person: a server that makes keys up fills no more.
	maxWaiting = 8
	// maxNotices bounds what waits to be told. More is counted, and only logged.
	maxNotices = 64
	// noticeBurst notices of keys that came, and one more each noticeEvery, are told
	// of one person. Of others only how many there were: servers can make keys up.
	noticeBurst = 8
	noticeEvery = 30 * time.Minute
	// maxTold bounds what is remembered of having been told.
	maxTold = 4096
	// againEvery is how often a blocked key that keeps coming is told of again.
	againEvery = 24 * time.Hour
	// keepTimeout bounds one commit.
	keepTimeout = 10 * time.Second
	// keepAgain is when a commit that failed is tried again.
	keepAgain = 10 * time.Second
)

// id names a key.
type id struct {
	person string
	kind   e2ee.KeyKind
	fpr    string
}

func idOf(k *e2ee.Key) id { return id{k.Person, k.Kind, k.Fingerprint} }

// Book implements e2ee.Trust and e2ee.SMP. It is safe for concurrent use.
type Book struct {
	deps Deps
	log  *slog.Logger
	now  func() time.Time
	wake chan struct{} // capacity 1: Run has work

	// deciding is held while a decision is committed: one after the other.
	deciding sync.Mutex

	mu      sync.Mutex // guards all below
	people  map[string]*policy.Person
	tofu    map[string]map[string]bool
	secrets map[string]string
	keys    map[string][]*e2ee.Key // by person: what was seen or decided
	dirty   map[id]bool            // to be kept by Run
	notices []Notice
	dropped int // notices beyond maxNotices
	changed map[string]bool
	told    map[id]time.Time // when a blocked key was last told of
	budgets map[string]*budget
	tries   map[string]*tries
}

var (
	_ e2ee.Trust = (*Book)(nil)
	_ e2ee.SMP   = (*Book)(nil)
)

// New reads what was kept and returns a Book for cfg.
func New(ctx context.Context, cfg Config, deps Deps) (*Book, error) {
	b := &Book{
		deps: deps, log: deps.Log, now: deps.Now, wake: make(chan struct{}, 1),
		keys: map[string][]*e2ee.Key{}, dirty: map[id]bool{}, changed: map[string]bool{}, told: map[id]time.Time{},
		budgets: map[string]*budget{}, tries: map[string]*tries{},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	if deps.Keeper != nil {
		kept, err := deps.Keeper.TrustKeys(ctx)
		if err != nil {
			return nil, err
		}
		for i := range kept {
			b.keys[kept[i].Person] = append(b.keys[kept[i].Person], &kept[i])
		}
		all, err := deps.Keeper.SMPTries(ctx)
		if err != nil {
			return nil, err
		}
		for person, t := range all {
			b.tries[person] = &tries{SMPTries: t}
			if err := b.closeSMP(ctx, person); err != nil {
				return nil, err
			}
		}
	}
	b.Apply(cfg)
	return b, nil
}

// Apply changes to another configuration. A key that is new in it is noted, so that
// its age can be told.
func (b *Book) Apply(cfg Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.people = make(map[string]*policy.Person, len(cfg.People))
	b.tofu, b.secrets = cfg.TOFU, cfg.Secrets
	now := b.now()
	for _, p := range cfg.People {
		b.people[p.Name] = p
		for _, kind := range e2ee.KeyKinds() {
			for _, fpr := range e2ee.ConfigPins(p, kind) {
				b.list(p.Name, kind, fpr, now)
			}
		}
		b.changed[p.Name] = true
	}
	b.poke()
}

// list notes a key that the config lists. b.mu is held.
func (b *Book) list(person string, kind e2ee.KeyKind, fpr string, now time.Time) {
	k := b.find(person, kind, fpr)
	switch {
	case k == nil:
		k = &e2ee.Key{Person: person, Kind: kind, Fingerprint: fpr, First: now}
		b.keys[person] = append(b.keys[person], k)
	case k.State != e2ee.KeyWaiting || k.How == e2ee.HowConfig:
		return // what was decided says more
	}
	k.State, k.How, k.Who, k.Since = e2ee.KeyWaiting, e2ee.HowConfig, "", now
	b.dirty[idOf(k)] = true
}

// Person returns a configured person, nil if there is none of that name.
func (b *Book) Person(name string) *policy.Person {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.people[name]
}

// find returns the record of a key, or nil. b.mu is held.
func (b *Book) find(person string, kind e2ee.KeyKind, fpr string) *e2ee.Key {
	for _, k := range b.keys[person] {
		if k.Kind == kind && k.Fingerprint == fpr {
			return k
		}
	}
	return nil
}

// standing is what one key counts on an account now; rec is its record, or nil. It
// leaves Rung at clear where the key alone gives none. b.mu is held.
func (b *Book) standing(person *policy.Person, kind e2ee.KeyKind, fpr string, rec *e2ee.Key, account string, certified []string) e2ee.Key {
	k := e2ee.Key{Person: person.Name, Kind: kind, Fingerprint: fpr}
	if rec != nil {
		k = *rec
	}
	k.Rung = policy.Clear
	listed := slices.Contains(e2ee.ConfigPins(person, kind), fpr)
	switch {
	case k.State == e2ee.KeyRevoked:
	case b.own(kind, fpr):
		k.State, k.How = e2ee.KeyWaiting, e2ee.HowSeen
	case listed:
		if k.State != e2ee.KeyTrusted { // else who accepted it says more
			k.State, k.How, k.Who = e2ee.KeyTrusted, e2ee.HowConfig, ""
		}
		k.Rung = policy.Verified
	case k.State == e2ee.KeyTrusted:
		k.Rung = policy.Verified
	case kind == e2ee.KeyOpenPGP && slices.Contains(certified, fpr):
		k.State, k.How, k.Who, k.Rung = e2ee.KeyTrusted, e2ee.HowAuthority, "", policy.Verified
	case k.How == e2ee.HowConfig: // it is listed no more, and was never seen
		k.State, k.How = e2ee.KeyUnknown, ""
	case k.State == e2ee.KeyKept && b.tofu[account][person.Name]:
		k.Rung = policy.Signed
	case k.State == e2ee.KeyKept: // this bridge does not trust on first use
		k.State = e2ee.KeyWaiting
	}
	return k
}

func (b *Book) own(kind e2ee.KeyKind, fpr string) bool {
	return b.deps.Own != nil && b.deps.Own(kind, fpr)
}

// all returns the keys of one kind that are known of a person, or said to be
// theirs, as they stand on an account now: those of the config first, then as they
// came. b.mu is held.
func (b *Book) all(person *policy.Person, kind e2ee.KeyKind, account string) []e2ee.Key {
	var certified []string
	if kind == e2ee.KeyOpenPGP && b.deps.Certifier != nil {
		certified = b.deps.Certifier.Certified(person, b.now())
	}
	pins, records := e2ee.ConfigPins(person, kind), b.keys[person.Name]
	out := make([]e2ee.Key, 0, len(pins)+len(certified)+len(records))
	add := func(fpr string, rec *e2ee.Key) {
		if !slices.ContainsFunc(out, func(k e2ee.Key) bool { return k.Fingerprint == fpr }) {
			out = append(out, b.standing(person, kind, fpr, rec, account, certified))
		}
	}
	for _, fpr := range pins {
		add(fpr, b.find(person.Name, kind, fpr))
	}
	for _, rec := range records {
		if rec.Kind == kind {
			add(rec.Fingerprint, rec)
		}
	}
	for _, fpr := range certified {
		add(fpr, nil)
	}
	return out
}

// Keys implements e2ee.Trust.
func (b *Book) Keys(p e2ee.Peer, kind e2ee.KeyKind) []e2ee.Key {
	if p.Person == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := b.all(p.Person, kind, p.Account)
	keys = slices.DeleteFunc(keys, func(k e2ee.Key) bool { return k.Rung == policy.Clear })
	slices.SortStableFunc(keys, func(x, y e2ee.Key) int { return cmp.Compare(y.Rung, x.Rung) })
	return keys
}

// Rung implements e2ee.Trust.
func (b *Book) Rung(p e2ee.Peer, kind e2ee.KeyKind, fpr string) (policy.Rung, error) {
	if p.Person == nil {
		return policy.Clear, e2ee.ErrNoKey
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rung, _, err := b.judge(p, kind, fpr)
	return rung, err
}

// judge returns what a key is worth in a conversation, and whether nothing at all
// is known that speaks against keeping it as the person's first. b.mu is held.
func (b *Book) judge(p e2ee.Peer, kind e2ee.KeyKind, fpr string) (rung policy.Rung, first bool, err error) {
	if b.own(kind, fpr) {
		return policy.Clear, false, e2ee.ErrKeyChanged
	}
	keys := b.all(p.Person, kind, p.Account)
	for _, k := range keys {
		switch {
		case k.Fingerprint != fpr:
		case k.State == e2ee.KeyRevoked:
			return policy.Clear, false, e2ee.ErrKeyRevoked
		case k.Rung > policy.Clear:
			return k.Rung, false, nil
		}
	}
	better, revoked := b.better(p, kind, keys)
	if better {
		return policy.Clear, false, e2ee.ErrKeyChanged
	}
	// Nothing better is known: the one that came first will do where sealed does.
	var earliest *e2ee.Key
	for i := range keys {
		if k := &keys[i]; k.State == e2ee.KeyWaiting && (earliest == nil || k.First.Before(earliest.First)) {
			earliest = k
		}
	}
	switch {
	case earliest == nil:
		return policy.Clear, !revoked, e2ee.ErrNoKey
	case earliest.Fingerprint != fpr:
		return policy.Clear, false, e2ee.ErrKeyChanged
	}
	return policy.Sealed, !revoked, nil
}

// better reports whether more is known of a person than that some key came: one of
// keys, which are those of one kind, counts or was revoked, or one of another kind is
// pinned or counts; and whether one of another kind was revoked. b.mu is held.
func (b *Book) better(p e2ee.Peer, kind e2ee.KeyKind, keys []e2ee.Key) (better, revoked bool) {
	for _, k := range keys {
		better = better || k.Rung > policy.Clear || k.State == e2ee.KeyRevoked
	}
	for _, other := range e2ee.KeyKinds() {
		better = better || b.pinned(p.Person, other)
		if other == kind {
			continue
		}
		for _, k := range b.all(p.Person, other, p.Account) {
			better = better || k.Rung > policy.Clear
			revoked = revoked || k.State == e2ee.KeyRevoked
		}
	}
	return better, revoked
}

// Pinned implements e2ee.Trust.
func (b *Book) Pinned(person *policy.Person, kind e2ee.KeyKind) bool {
	if person == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pinned(person, kind)
}

func (b *Book) pinned(person *policy.Person, kind e2ee.KeyKind) bool {
	return len(e2ee.ConfigPins(person, kind)) > 0 ||
		slices.ContainsFunc(b.all(person, kind, ""), func(k e2ee.Key) bool { return k.State == e2ee.KeyTrusted })
}

// Meet implements e2ee.Trust.
func (b *Book) Meet(p e2ee.Peer, kind e2ee.KeyKind, fpr string) (policy.Rung, error) {
	if p.Person == nil {
		return policy.Clear, e2ee.ErrNoKey
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rung, first, err := b.judge(p, kind, fpr)
	if rung > policy.Sealed {
		return rung, nil
	}
	rec, now := b.find(p.Person.Name, kind, fpr), b.now()
	fresh := rec == nil || rec.State == e2ee.KeyUnknown || rec.How == e2ee.HowConfig && rec.State == e2ee.KeyWaiting
	if fresh {
		rec = b.note(p.Person.Name, kind, fpr, now)
	}
	if first && b.tofu[p.Account][p.Person.Name] && rec.State == e2ee.KeyWaiting {
		rec.State, rec.How, rec.Since = e2ee.KeyKept, e2ee.HowTOFU, now
		fresh = true
	}
	if fresh {
		b.dirty[idOf(rec)] = true
		rung, _, err = b.judge(p, kind, fpr)
	}
	b.announce(p, rec, fresh, rung, err, now)
	return rung, err
}

// Hint implements e2ee.Trust.
func (b *Book) Hint(p e2ee.Peer, kind e2ee.KeyKind, fpr string) {
	if p.Person == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now, key := b.now(), id{p.Person.Name, kind, fpr}
	_, _, err := b.judge(p, kind, fpr)
	if last, told := b.told[key]; err == nil || errors.Is(err, e2ee.ErrNoKey) || told && now.Sub(last) < againEvery {
		return
	}
	b.pushKey(p, Notice{What: Hinted, Key: e2ee.Key{Person: key.person, Kind: kind, Fingerprint: fpr}, Expected: b.expected(p, kind)}, now)
}

// note makes the record of a key that came, in the place of the oldest of too many
// that nobody decided about; the very first stays. b.mu is held.
func (b *Book) note(person string, kind e2ee.KeyKind, fpr string, now time.Time) *e2ee.Key {
	rec := b.find(person, kind, fpr)
	if rec == nil {
		rec = &e2ee.Key{Person: person, Kind: kind, Fingerprint: fpr}
		b.keys[person] = append(b.keys[person], rec)
	}
	rec.State, rec.How, rec.Who, rec.First, rec.Since = e2ee.KeyWaiting, e2ee.HowSeen, "", now, now
	var waiting []*e2ee.Key
	for _, k := range b.keys[person] {
		if k != rec && !k.First.Before(rec.First) { // which came first must stay clear
			rec.First = k.First.Add(1)
		}
		if k.Kind == kind && k.State == e2ee.KeyWaiting && k.How == e2ee.HowSeen {
			waiting = append(waiting, k)
		}
	}
	if len(waiting) > maxWaiting {
		b.forget(waiting[1])
	}
	return rec
}

// forget drops a record, also from what is kept. b.mu is held.
func (b *Book) forget(k *e2ee.Key) {
	b.keys[k.Person] = slices.DeleteFunc(b.keys[k.Person], func(o *e2ee.Key) bool { return o == k })
	b.dirty[idOf(k)] = true
	delete(b.told, idOf(k))
}

// List returns every key that is known of the named persons, as it stands on the
// bridge of each that knows it best; without names of all, in the order of their names.
func (b *Book) List(persons ...string) []e2ee.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(persons) == 0 {
		persons = slices.Sorted(maps.Keys(b.people))
	}
	var out []e2ee.Key
	for _, name := range persons {
		p := b.people[name]
		if p == nil {
			continue
		}
		account := b.tofuAccount(name)
		for _, kind := range e2ee.KeyKinds() {
			for _, k := range b.all(p, kind, account) {
				if k.State != e2ee.KeyUnknown {
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// tofuAccount returns an account on which the person is trusted on first use, or "".
// b.mu is held.
func (b *Book) tofuAccount(person string) string {
	for _, account := range slices.Sorted(maps.Keys(b.tofu)) {
		if b.tofu[account][person] {
			return account
		}
	}
	return ""
}

// poke wakes Run. b.mu may be held.
func (b *Book) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run keeps what was noted, and tells of it, until ctx ends; then it keeps what is
// left. Somebody must run it, once.
func (b *Book) Run(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			_ = b.work(context.WithoutCancel(ctx))
			return
		case <-b.wake:
		case <-again:
		}
		again = nil
		if b.work(ctx) != nil {
			again = time.After(keepAgain)
		}
	}
}

// Flush keeps what was noted now, for who does not Run the book.
func (b *Book) Flush(ctx context.Context) error { return b.keepDirty(ctx) }

// work does what waits. The error is that something could not be kept.
func (b *Book) work(ctx context.Context) error {
	b.mu.Lock()
	notices, changed, dropped := b.notices, slices.Sorted(maps.Keys(b.changed)), b.dropped
	b.notices, b.dropped = nil, 0
	clear(b.changed)
	b.mu.Unlock()
	err := b.keepDirty(ctx)
	if err != nil {
		b.log.Error("trust: not kept yet", "err", err)
	}
	if dropped > 0 {
		b.log.Warn("trust: more happened than can be told", "n", dropped)
	}
	for _, n := range notices {
		if b.deps.Tell != nil {
			b.deps.Tell(n)
		}
	}
	for _, person := range changed {
		if b.deps.Changed != nil {
			b.deps.Changed(person)
		}
	}
	return err
}

// keepDirty commits the records that changed.
func (b *Book) keepDirty(ctx context.Context) error {
	b.deciding.Lock()
	defer b.deciding.Unlock()
	b.mu.Lock()
	dirty := maps.Clone(b.dirty)
	clear(b.dirty)
	batch := make([]e2ee.Key, 0, len(dirty))
	for x := range dirty {
		if k := b.find(x.person, x.kind, x.fpr); k != nil {
			batch = append(batch, *k)
		} else {
			batch = append(batch, e2ee.Key{Person: x.person, Kind: x.kind, Fingerprint: x.fpr})
		}
	}
	b.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := b.keep(ctx, batch...)
	if err != nil {
		b.mu.Lock()
		maps.Copy(b.dirty, dirty)
		b.mu.Unlock()
	}
	return err
}

// keep commits records.
func (b *Book) keep(ctx context.Context, keys ...e2ee.Key) error {
	if b.deps.Keeper == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	return b.deps.Keeper.KeepKeys(ctx, keys)
}
