package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a shutdown.
const (
	// DrainTime bounds how long Run waits for the outboxes to empty once its
	// context ended.
	DrainTime   = 10 * time.Second
	noticeTime  = 2 * time.Second  // for the notices about what could not be drained
	goodbyeTime = 15 * time.Second // for a leg to end
)

// What Run returns beside errors of legs.
var (
	ErrRunning  = errors.New("bridge: a core runs once")
	ErrLegsDead = errors.New("bridge: every leg has ended")
)

// Core joins the rooms of its bridges. Make one with New. Its goroutines are:
// the dispatcher, one for each outbox, one for each leg, the confirmer, and those
// that answer chat commands and private lines; Run starts them and waits for them.
type Core struct {
	log       *slog.Logger
	journal   Journal
	trust     Trust  // nil: nobody knows
	guard     Guard  // nil: no room is guarded
	proofs    Proofs // nil: nothing can be proven
	migrate   Guard  // nil: no bridge is on its way
	census    Census // nil: nothing is counted
	gate      Gate   // nil: there is none
	now       func() time.Time
	ids       *idSource
	confirmer *confirmer
	bounces   *bounces
	answers   chan question // to the goroutine that answers chat commands
	asides    map[string]AsideDesk
	privates  chan Private  // to the goroutine that answers them
	unheard   unheard       // private lines for which there was no room
	pauses    *askRate      // how often a pause is told; the dispatcher's own
	wake      chan struct{} // capacity 1: the dispatcher has something to do
	settled   chan struct{} // capacity 1: an outbox stopped moving
	changes   chan *change  // from Reload to Run
	stopped   chan struct{} // closed when Run no longer reads changes
	closing   atomic.Bool
	freed     atomic.Bool // an outbox that was full has room
	strays    atomic.Uint64
	started   time.Time

	marks atomic.Pointer[map[string]string] // by bridge: see SetMarks
	table atomic.Pointer[table]
	legs  atomic.Pointer[[]*legState]

	reload sync.Mutex // held by a Reload from first to last

	mu       sync.Mutex // guards all below
	state    runState
	outboxes map[Room]*outbox // retired ones too, while rows are on their wire
	lasting  map[string]*lasting
	past     map[string]Ledger // what bridges counted in earlier runs
}

type runState uint8

const (
	stateNew runState = iota
	stateRunning
	stateStopped
)

// New checks cfg and returns a core that is not running yet. Errors wrap
// ErrConfig and name everything that is wrong.
func New(cfg Config, d Deps) (*Core, error) {
	ids, err := newIDSource(d.Rand)
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Journal == nil {
		d.Journal = NewMemory()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	c := &Core{
		log: d.Log, journal: d.Journal, trust: d.Trust, guard: d.Guard, proofs: d.Proofs, migrate: d.Migrate, census: d.Census, gate: d.Gate, now: d.Now, ids: ids,
		confirmer: newConfirmer(d.Journal, d.Log),
		bounces:   newBounces(),
		answers:   make(chan question, 64), // more questions at once are dropped
		asides:    d.Asides,
		privates:  make(chan Private, maxAsides),
		pauses:    newAskRate(),
		wake:      make(chan struct{}, 1),
		settled:   make(chan struct{}, 1),
		changes:   make(chan *change),
		stopped:   make(chan struct{}),
		started:   d.Now(),
		outboxes:  map[Room]*outbox{},
		lasting:   map[string]*lasting{},
	}
	t, err := c.newTable(cfg)
	if err != nil {
		return nil, err
	}
	var legs []*legState
	for _, l := range cfg.Legs {
		legs = append(legs, newLegState(c, l))
	}
	c.table.Store(t)
	c.legs.Store(&legs)
	c.attach(t, legs)
	return c, nil
}

// newTable builds a table whose rooms and bridges keep their outboxes and
// ledgers.
func (c *Core) newTable(cfg Config) (*table, error) {
	return newTable(cfg, func(r Room) *outbox {
		o := c.outboxes[r]
		if o == nil {
			o = newOutbox(c, r)
		}
		return o
	}, func(name string) *lasting {
		if l := c.lasting[name]; l != nil {
			return l
		}
		return &lasting{ledger: &ledger{l: c.past[name]}}
	})
}

// attach makes the outboxes and ledgers of t the core's, and gives each outbox
// its leg.
func (c *Core) attach(t *table, legs []*legState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byName := map[string]*legState{}
	for _, l := range legs {
		byName[l.name] = l
	}
	for _, b := range t.bridges {
		c.lasting[b.cfg.Name] = b.lasting
	}
	for room, o := range t.outboxes {
		c.outboxes[room] = o
		o.setLeg(byName[room.Leg])
	}
}

// Run starts the legs and relays until ctx ends, then stops in order: intake,
// dispatcher, outboxes (drained for at most DrainTime), legs, journal. What a
// journal that is not durable still holds goes back to the sender's side. It
// fails with ErrLegsDead when every leg ended by itself. A second call is an
// error.
func (c *Core) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.state != stateNew {
		c.mu.Unlock()
		return ErrRunning
	}
	c.state = stateRunning
	c.mu.Unlock()
	if err := c.load(ctx); err != nil {
		close(c.stopped)
		return err
	}
	// Each part ends by its own context, in the order of stop.
	base := context.WithoutCancel(ctx)
	r := newRunner(c)
	var dispatch, confirm sync.WaitGroup
	confirmCtx, stopConfirm := context.WithCancel(base)
	defer confirm.Wait()
	defer stopConfirm()
	confirm.Go(func() { c.confirmer.run(confirmCtx) })
	legCtx, stopLegs := context.WithCancel(base)
	defer r.waitLegs()
	defer stopLegs()
	outCtx, stopOut := context.WithCancel(base)
	defer r.outboxes.Wait()
	defer stopOut()
	for _, o := range c.table.Load().outboxes {
		r.startOutbox(outCtx, o)
	}
	dispatchCtx, stopDispatch := context.WithCancel(base)
	defer dispatch.Wait()
	defer stopDispatch()
	dispatch.Go(func() { c.dispatch(dispatchCtx) })
	dispatch.Go(func() { c.answer(dispatchCtx) })
	dispatch.Go(func() { c.answerPrivate(dispatchCtx) })
	for _, l := range *c.legs.Load() {
		r.startLeg(legCtx, l)
	}
	err := r.supervise(ctx, legCtx, outCtx)

	c.mu.Lock()
	c.state = stateStopped
	c.mu.Unlock()
	close(c.stopped)
	c.closing.Store(true)
	for _, l := range *c.legs.Load() {
		l.in.setState(intakeClosing)
	}
	stopDispatch()
	dispatch.Wait()
	c.drainOutboxes(base)
	return err
}

// load takes over what an earlier run counted, and puts the rows it left back
// into their outboxes.
func (c *Core) load(ctx context.Context) error {
	past, err := c.journal.Ledgers(ctx)
	if err != nil {
		return fmt.Errorf("bridge: load the ledgers: %w", err)
	}
	c.mu.Lock()
	c.past = past
	for name, l := range c.lasting {
		l.ledger.restore(past[name])
	}
	c.mu.Unlock()
	n := 0
	now := c.now()
	err = c.journal.Load(ctx, func(r *Row) error {
		r.doubt = !r.Tried.IsZero()
		if r.Queued.After(now) {
			r.Queued = now // the clock was set back
		}
		if c.takeBack(r, (*ledger).reloaded, (*outbox).enqueue) {
			n++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bridge: load the journal: %w", err)
	}
	if past, err = c.journal.Ledgers(ctx); err != nil { // Load may have found rows that are lost
		return fmt.Errorf("bridge: load the ledgers: %w", err)
	}
	for name, l := range c.lasting {
		l.ledger.lost(past[name].Dead)
	}
	if n > 0 {
		c.log.Info("journal loaded", "n", n)
	}
	return nil
}

// Requeue sends a row once more that the journal had parked (FateDead) and has
// put back among those that wait. It comes before younger lines.
func (c *Core) Requeue(r *Row) { c.takeBack(r, (*ledger).revived, (*outbox).requeue) }

// Purge sends the rows that wait and match back to the sender's side, with the reason,
// and returns how many. A row that is in the journal alone comes without its sender.
func (c *Core) Purge(match func(*Row) bool, reason string) (n int) {
	for _, o := range c.table.Load().outboxes {
		n += o.purge(func(r *Row) bool { return r.Kind < RowOwn && match(r) }, reason)
	}
	return n
}

// takeBack puts a row of the journal into its outbox by put, counted as count does;
// one whose room is in no bridge any more goes back. It reports whether the row
// waits.
func (c *Core) takeBack(r *Row, count func(*ledger), put func(*outbox, *Row)) bool {
	to, from := c.table.Load().lookup(r)
	if to != nil && from != nil {
		r.ledger = to.bridge.ledger
		count(r.ledger)
		to.out.reserve(r.Text.Len())
		put(to.out, r)
		return true
	}
	c.mu.Lock()
	b := c.lasting[r.Bridge]
	c.mu.Unlock()
	if b != nil {
		count(b.ledger)
		b.ledger.ended(Done{Fate: FateBounced})
	}
	c.confirmer.add(Done{Seq: r.Seq, ID: r.ID, Bridge: r.Bridge, To: r.To, Fate: FateBounced}, nil)
	c.bounces.add(r, reasonRemoved, false)
	return false
}

// drainOutboxes waits until the outboxes have nothing left that moves, then
// sends what is left back, unless the journal keeps it.
func (c *Core) drainOutboxes(base context.Context) {
	c.waitSettled(base, DrainTime, false)
	if c.journal.Durable() {
		return
	}
	n := 0
	for _, o := range c.table.Load().outboxes {
		n += o.purge(func(r *Row) bool { return r.Kind != RowOwn }, reasonStopped)
	}
	if n == 0 {
		return
	}
	c.log.Warn("lines undelivered at shutdown went back", "n", n)
	c.bounces.flush(c, true)
	c.waitSettled(base, noticeTime, true)
}

// waitSettled waits until every outbox is settled, the bot's own words included
// with own, at most for limit.
func (c *Core) waitSettled(base context.Context, limit time.Duration, own bool) {
	ctx, cancel := context.WithTimeout(base, limit)
	defer cancel()
	for {
		moving := false
		now := c.now()
		for _, o := range c.table.Load().outboxes {
			if !o.isSettled(now, own) {
				moving = true
				break
			}
		}
		if !moving {
			return
		}
		select {
		case <-c.settled:
		case <-ctx.Done():
			return
		}
	}
}
