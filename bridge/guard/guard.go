package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// Guard holds rooms. Make one with New, and start Run before the legs. It is the
// bridge.Watcher of its legs and the bridge.Gate of a core. Its goroutines are two
// for each channel or MUC (who carries out what was decided, and who looks after the
// room's own state), the scribe that writes to the store, and the clock; Run starts
// them and waits for them.
type Guard struct {
	log    *slog.Logger
	now    func() time.Time
	scribe *scribe
	alarms *alarms
	gauge  *bridge.Gauge
	tell   func(person, text string) bool
	verify func(c *bridge.Claim) (Signed, error)
	purge  func(match func(*bridge.Row) bool, reason string) int

	// table and bans are read without a lock: by See and by the gate.
	table atomic.Pointer[table]
	bans  atomic.Pointer[[]policy.BanRecord]
	// moving is what migrations ask of places.
	moving atomic.Pointer[map[bridge.Room]Moving]

	banning sync.Mutex // held while bans is changed
	marks   marks
	stays   stays
	tickets tickets
	serial  atomic.Uint64 // of IDs

	ready  chan struct{} // closed once it has loaded what was kept
	reload sync.Mutex    // held by a Reload from first to last

	mu      sync.Mutex // guards all below
	state   runState
	loaded  bool
	start   func(*side)          // starts its goroutines, while Run runs
	seconds map[string]second    // orders that wait for a second admin
	kept    map[string]*keptRoom // of rooms that are not held now: as loaded, or as they were last
}

type runState uint8

const (
	stateNew runState = iota
	stateRunning
	stateStopped
)

var (
	_ bridge.Watcher = (*Guard)(nil)
	_ bridge.Gate    = (*Guard)(nil)
)

// table is a Config made ready for look-ups. It is never changed.
type table struct {
	cfg    Config
	policy *policy.Policy
	people map[string]*policy.Person
	legs   map[string]bridge.Enforcer
	// tellers are the legs that tell how far sessions with people reach.
	tellers []bridge.SessionTeller
	rooms   []*room // in the order of the config
	byName  map[string]*room
	sides   map[bridge.Room]*side
	byLeg   map[string][]*side
}

// New checks cfg, returns a guard that is not running yet, and has its legs watch.
func New(cfg Config, d Deps) (*Guard, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Store == nil {
		d.Store = NewMemory()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Verify == nil {
		d.Verify = func(*bridge.Claim) (Signed, error) { return Signed{}, errNoVerify }
	}
	if d.Tell == nil {
		d.Tell = func(string, string) bool { return false }
	}
	if d.Purge == nil {
		d.Purge = func(func(*bridge.Row) bool, string) int { return 0 }
	}
	g := &Guard{
		log: d.Log, now: d.Now, purge: d.Purge, tell: d.Tell, gauge: bridge.NewGauge(),
		alarms: &alarms{tell: d.Alarm, log: d.Log, told: map[string]time.Time{}},
		marks:  marks{set: map[string]mark{}}, stays: stays{places: map[string][]Timer{}}, tickets: tickets{book: proof.NewBook(d.Rand)},
		verify: d.Verify, seconds: map[string]second{}, kept: map[string]*keptRoom{},
	}
	g.ready = make(chan struct{})
	g.scribe = newScribe(d.Store, d.Log, func(matter, text string) { g.alarms.raise(matter, text, matter == matterLost, g.now()) }, g.alarms.over)
	g.bans.Store(&[]policy.BanRecord{})
	t, err := g.newTable(cfg, nil)
	if err != nil {
		return nil, err
	}
	g.table.Store(t)
	g.adopt(t)
	g.watch(t, nil)
	return g, nil
}

// newTable checks a config. What rooms remember goes on from an older table.
func (g *Guard) newTable(cfg Config, old *table) (*table, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	t := &table{
		cfg: cfg, people: map[string]*policy.Person{}, legs: map[string]bridge.Enforcer{}, byName: map[string]*room{},
		sides: map[bridge.Room]*side{}, byLeg: map[string][]*side{},
	}
	for _, l := range cfg.Legs {
		t.legs[l.Name()] = l
	}
	t.tellers = tellersOf(cfg.Legs)
	for _, p := range cfg.Policy.People {
		t.people[p.Name] = p
	}
	var err error
	if t.policy, err = policy.Compile(withPeers(cfg)); err != nil {
		bad("%w", err)
	}
	inPolicy := map[string]bool{}
	for _, r := range cfg.Policy.Rooms {
		inPolicy[r.Name] = true
	}
	for _, rc := range cfg.Rooms {
		if t.byName[rc.Name] != nil || !inPolicy[rc.Name] {
			bad("room %q stands twice, or is none of the policy", rc.Name)
			continue
		}
		r := (*room)(nil)
		if old != nil {
			r = old.byName[rc.Name]
		}
		if r == nil {
			r = newRoom(g, rc)
		}
		t.rooms, t.byName[rc.Name] = append(t.rooms, r), r
		for _, place := range [...]bridge.Room{rc.Channel, rc.MUC} {
			switch {
			case place == bridge.Room{}:
				continue
			case t.legs[place.Leg] == nil:
				bad("room %q: no leg %q can hold it", rc.Name, place.Leg)
				continue
			case t.sides[place] != nil:
				bad("room %q: %s is held already", rc.Name, place)
				continue
			}
			sd := (*side)(nil)
			if old != nil {
				sd = old.sides[place]
			}
			if before := sd; before == nil || before.room != r {
				if sd = newSide(r, place); before != nil {
					sd.inherit(before)
				}
			}
			t.sides[place] = sd
			t.byLeg[place.Leg] = append(t.byLeg[place.Leg], sd)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// withPeers returns the policy with the other guards as protected helpers.
func withPeers(cfg Config) policy.Spec {
	spec := cfg.Policy
	spec.Binds = append([]policy.Bind(nil), spec.Binds...)
	for _, p := range cfg.Peers {
		for leg, account := range p.Accounts {
			spec.Binds = append(spec.Binds, policy.Bind{Kind: policy.Account, Leg: leg, Value: account})
		}
		for _, jid := range p.JIDs {
			spec.Binds = append(spec.Binds, policy.Bind{Kind: policy.RealJID, Value: jid})
		}
	}
	return spec
}

// adopt gives the rooms of t their config and policy, and their sides their legs.
func (g *Guard) adopt(t *table) {
	for _, rc := range t.cfg.Rooms {
		r := t.byName[rc.Name]
		r.mu.Lock()
		r.adoptLocked(t, rc)
		r.mu.Unlock()
	}
}

// watch tells the legs which rooms to show; those that are left, of old, none.
func (g *Guard) watch(t, old *table) {
	rooms := map[string][]bridge.Room{}
	for _, rc := range t.cfg.Rooms {
		for _, place := range [...]bridge.Room{rc.Channel, rc.MUC} {
			if place != (bridge.Room{}) {
				rooms[place.Leg] = append(rooms[place.Leg], place)
			}
		}
	}
	for _, l := range t.cfg.Legs {
		l.Watch(g, rooms[l.Name()])
	}
	if old == nil {
		return
	}
	for name, l := range old.legs {
		if t.legs[name] == nil {
			l.Watch(g, nil)
		}
	}
}

// Loaded is closed once Run has taken over what an earlier process kept: before that the
// guard holds nothing, and its legs should not run.
func (g *Guard) Loaded() <-chan struct{} { return g.ready }

// Run loads what is kept, holds the rooms until ctx ends, and writes what is left to
// the store before it returns. A second call is an error.
func (g *Guard) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.state != stateNew {
		g.mu.Unlock()
		return ErrRunning
	}
	g.state = stateRunning
	g.mu.Unlock()
	if err := g.load(ctx); err != nil {
		return err
	}
	close(g.ready)
	var sides, scribe sync.WaitGroup
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer scribe.Wait()
	defer stopWriting()
	scribe.Go(func() { g.scribe.run(writing) })
	defer sides.Wait()

	g.mu.Lock()
	g.start = func(sd *side) {
		ctx, cancel := context.WithCancel(ctx)
		sd.stop = cancel
		sides.Go(func() { sd.carryOut(ctx) })
		sides.Go(func() { sd.lookAfter(ctx) })
	}
	for _, sd := range g.table.Load().sides {
		g.start(sd)
	}
	g.mu.Unlock()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			g.mu.Lock()
			g.state, g.start = stateStopped, nil
			g.mu.Unlock()
			return nil
		case <-tick.C:
			g.tick(g.now())
		}
	}
}

// load takes over what an earlier process kept.
func (g *Guard) load(ctx context.Context) error {
	k, err := g.scribe.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("guard: load: %w", err)
	}
	now := g.now()
	g.mu.Lock()
	g.loaded = true
	for _, x := range k.Timers {
		if m, ok := parseMark(x.ID); ok {
			g.marks.set[x.ID] = m
		}
	}
	g.stays.load(k.Timers)
	g.tickets.load(g, k.Tickets, now)
	bans := make([]policy.BanRecord, 0, len(k.Bans))
	bans = append(bans, k.Bans...)
	g.bans.Store(&bans)
	for _, state := range k.Rooms {
		g.keptOf(state.Room).state = state
	}
	for _, x := range k.Timers {
		switch x.Kind {
		case timerGuest:
			g.keptOf(x.Room).guests[x.Who] = x.Due
		case timerLeft:
			g.keptOf(x.Room).left[x.Who] = true
		}
	}
	t := g.table.Load()
	for _, r := range t.rooms {
		r.mu.Lock()
		r.takeOverLocked(now)
		for _, sd := range r.sides {
			sd.takeKeptLocked(k.Bans)
		}
		r.loaded = true
		r.giveKeysLocked()
		r.judgeAllLocked(now)
		r.mu.Unlock()
	}
	g.mu.Unlock()
	return nil
}

// Reload changes to cfg, whole or not at all. Rooms that are in both go on as they
// are, and everybody in them is judged anew. Those who leave with it (OffBoard comes
// next) are shown out whatever the removal budget.
func (g *Guard) Reload(cfg Config, leave ...Leaver) error {
	g.reload.Lock()
	defer g.reload.Unlock()
	old := g.table.Load()
	t, err := g.newTable(cfg, old)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.table.Store(t)
	g.adopt(t)
	for _, r := range old.rooms {
		if t.byName[r.name] == nil && g.loaded {
			g.kept[r.name] = r.park()
		}
	}
	for place, sd := range t.sides {
		if old.sides[place] != sd && g.start != nil {
			g.start(sd)
		}
	}
	for place, sd := range old.sides {
		if t.sides[place] != sd && sd.stop != nil {
			sd.stop()
		}
	}
	loaded, now := g.loaded, g.now()
	for _, r := range t.rooms {
		r.mu.Lock()
		if loaded && !r.loaded {
			r.takeOverLocked(now)
		}
		for i := range leave {
			r.leaveLocked(&leave[i], now)
		}
		if r.loaded = loaded; loaded {
			r.giveKeysLocked()
			r.judgeAllLocked(now)
		}
		r.mu.Unlock()
	}
	g.mu.Unlock()
	g.watch(t, old)
	return nil
}
