package guard

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Times of a guard.
const (
	tickEvery   = time.Second      // of what the clock does
	lookEvery   = 5 * time.Minute  // between two looks at a room's own state
	settleTime  = 5 * time.Second  // after a netsplit healed, before ops are judged that servers set
	laterTime   = 2 * time.Second  // before a change is looked for again that a server wants later
	peerTime    = 10 * time.Second // for a peer that acts here to remove somebody
	retryTime   = 15 * time.Second // after a removal was sent and somebody is still there
	awayTime    = time.Minute      // for a place to be out of sight, before the admins are told
	retriesMax  = 3                // of those, before the admins are told
	lockdownFor = 10 * time.Minute // if the config says nothing
)

// room is one guarded room on all its networks.
type room struct {
	g    *Guard
	name string

	mu       sync.Mutex // guards all below, and the sides
	table    *table
	cfg      Room
	policy   *policy.Policy
	most     policy.MaxRemovals
	loaded   bool // what the store keeps is known
	armed    bool
	sides    []*side
	lock     *policy.Lockdown
	shut     bool            // as it was carried out last
	shutWas  map[string]bool // places that others had shut before
	over     bool            // shut because the budget is used up: nobody who counts is removed
	keys     keys
	warned   bool // that came, and ended, and the same are still to go
	budget   *policy.Budget
	breaker  *policy.Breaker
	floods   *policy.Floods
	counted  uint64 // the last line that a bridge brought, by its number
	admitted map[string]time.Time
	fresh    map[string]time.Time // admitted, and not kept yet
	swept    time.Time
	guests   map[string]time.Time // by Key: when a stay ends
	told     map[string]time.Time // by Key and rule: acts that were noted, to be noted once
	did      map[string]uint64
	before   map[string]Before    // by place: how it was before a migration
	entries  map[string]time.Time // who was told where to go
	// Since the start.
	lockdowns, repairs uint64
	open               map[string]alarm // by matter
}

func newRoom(g *Guard, cfg Room) *room {
	return &room{
		g: g, name: cfg.Name, breaker: policy.NewBreaker(policy.Limit{}, 0), admitted: map[string]time.Time{}, fresh: map[string]time.Time{},
		guests: map[string]time.Time{}, told: map[string]time.Time{}, did: map[string]uint64{}, open: map[string]alarm{}, armed: !cfg.DryRun,
		entries: map[string]time.Time{}, shutWas: map[string]bool{},
	}
}

// adoptLocked takes over a config. What it does not change goes on.
func (r *room) adoptLocked(t *table, cfg Room) {
	if cfg.JoinsFor <= 0 {
		cfg.JoinsFor = lockdownFor
	}
	if r.floods == nil || r.cfg.Floods != cfg.Floods {
		r.floods = policy.NewFloods(cfg.Floods)
	}
	if r.lock == nil || r.cfg.Joins != cfg.Joins || r.cfg.JoinsFor != cfg.JoinsFor {
		until := time.Time{}
		if r.lock != nil {
			until = r.lock.Until()
		}
		r.lock = policy.NewLockdown(cfg.Joins, cfg.JoinsFor)
		r.lock.Set(until)
	}
	if r.budget == nil || r.most != t.cfg.MaxRemovals {
		r.most, r.budget = t.cfg.MaxRemovals, policy.NewBudget(t.cfg.MaxRemovals)
	}
	r.table, r.cfg, r.policy = t, cfg, t.policy
	r.sides = r.sides[:0]
	for _, place := range [...]bridge.Room{cfg.Channel, cfg.MUC} {
		sd := t.sides[place]
		if sd == nil {
			continue
		}
		if leg := t.legs[place.Leg]; sd.leg != leg {
			sd.lostLocked()
			sd.leg = leg
		}
		r.sides = append(r.sides, sd)
	}
}

// restoreLocked takes over what was kept. A lockdown far ahead of the clock, which
// was set back, lasts no longer than one begun now.
func (r *room) restoreLocked(k *RoomState, now time.Time) {
	r.armed, r.before = k.Armed, maps.Clone(k.Before)
	if !k.Shut.IsZero() {
		until := k.Shut
		if last := now.Add(max(r.cfg.JoinsFor, lockdownMost)); until.After(last) {
			until = now.Add(r.cfg.JoinsFor)
		}
		r.lock.Set(until)
		r.shut = true // so that it is opened
		for _, place := range k.ShutBefore {
			r.shutWas[place] = true
		}
	}
	r.keys = keys{now: k.Key, next: k.NextKey, at: k.KeySince, due: k.KeyDue, tell: k.KeyUntold}
	for key, at := range k.Admitted {
		r.admitted[key] = at
	}
}

// lockdownMost bounds a lockdown by hand.
const lockdownMost = 30 * 24 * time.Hour

// keepLocked has the room's state written down.
func (r *room) keepLocked() {
	r.g.scribe.keep(r.job(), r.put)
}

// job names what is kept of the room among the jobs of the scribe.
func (r *room) job() string { return "room " + r.name }

// put writes the state that the room has then: of two who have it written, the older
// must not come last.
func (r *room) put(ctx context.Context, s Store) error {
	r.mu.Lock()
	state, seen := r.stateLocked(), r.fresh
	r.fresh = map[string]time.Time{}
	r.mu.Unlock()
	err := s.PutRoom(ctx, state)
	if err == nil && len(seen) > 0 { // a room that is known is known whole, and so first
		err = s.Admit(ctx, r.name, seen)
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		maps.Copy(seen, r.fresh)
		r.fresh = seen
	}
	return err
}

// stateLocked is what is kept of the room.
func (r *room) stateLocked() RoomState {
	state := RoomState{
		Room: r.name, Armed: r.armed, Before: maps.Clone(r.before), Key: r.keys.now, NextKey: r.keys.next, KeySince: r.keys.at,
		KeyDue: r.keys.due, KeyUntold: r.keys.tell,
	}
	if r.shut {
		state.Shut, state.ShutBefore = r.lock.Until(), slices.Sorted(maps.Keys(r.shutWas))
	}
	return state
}

// giveKeysLocked tells the legs by which keys they may come in.
func (r *room) giveKeysLocked() {
	for _, sd := range r.sides {
		sd.giveKeysLocked()
	}
}

// admitLocked notes that somebody was let in.
func (r *room) admitLocked(key string, now time.Time) {
	if at, known := r.admitted[key]; known && now.Sub(at) < time.Hour {
		return
	}
	if len(r.admitted) >= MaxAdmitted { // a tenth goes at once: who comes under ever new names must not cost a look at all each time
		keys := slices.SortedFunc(maps.Keys(r.admitted), func(a, b string) int { return r.admitted[a].Compare(r.admitted[b]) })
		for _, k := range keys[:MaxAdmitted/10] {
			delete(r.admitted, k)
			delete(r.fresh, k)
		}
	}
	r.admitted[key], r.fresh[key] = now, now
}

// flushLocked has those written down who were let in since the last time.
func (r *room) flushLocked() {
	if len(r.fresh) > 0 {
		r.keepLocked()
	}
}

// alarmLocked tells the admins of something that is so until overLocked.
func (r *room) alarmLocked(matter, text string, now time.Time) {
	before, open := r.open[matter]
	r.open[matter] = alarm{text: text}
	r.g.alarms.raise(r.name+" "+matter, "Room "+r.name+": "+text, open && before.text == text, now)
}

// eventLocked tells the admins of something that happened. It is shown for a while.
func (r *room) eventLocked(matter, text string, now time.Time) {
	r.open[matter] = alarm{text, now.Add(eventShown)}
	r.g.alarms.raise(r.name+" "+matter, "Room "+r.name+": "+text, false, now)
}

func (r *room) overLocked(matter string) {
	if _, was := r.open[matter]; was {
		delete(r.open, matter)
		r.g.alarms.over(r.name + " " + matter)
	}
}

// judgeAllLocked judges everybody who is there anew.
func (r *room) judgeAllLocked(now time.Time) {
	for _, sd := range r.sides {
		sd.judgeAllLocked(now)
		poke(sd.look)
	}
}

// shutLocked begins or prolongs a lockdown.
func (r *room) shutLocked(until, now time.Time) {
	r.lock.Set(until)
	r.carryShutLocked(now)
}

// carryShutLocked has the doors follow the lockdown.
func (r *room) carryShutLocked(now time.Time) {
	shut := r.lock.Shut(now)
	if shut == r.shut {
		return
	}
	r.shut = shut
	if shut {
		r.lockdowns++
		r.noteDoorsLocked()
	} else {
		r.over, r.warned = false, r.warned || r.over
		r.lock.Set(time.Time{})
		r.overLocked("lockdown")
	}
	for _, sd := range r.sides {
		sd.doors = true
		poke(sd.wake)
		if !shut {
			sd.judgeAllLocked(now) // whoever stayed because the budget was used up
		}
	}
	r.keepLocked()
	act := &Act{At: now, Room: r.name, Acts: "lockdown until " + r.lock.Until().UTC().Format(time.DateTime), Actor: actorGuard, Effect: policy.Deny, Result: r.resultLocked("sent"), Undo: "guard lockdown " + r.name + " --off"}
	if !shut {
		act.Acts, act.Effect, act.Undo = "lockdown ends", policy.Allow, ""
	}
	r.noteLocked(act)
}

// noteDoorsLocked remembers which channels are invite-only as a lockdown begins: they are
// not opened as it ends.
func (r *room) noteDoorsLocked() {
	for _, sd := range r.sides {
		if sd.doors || sd.undone.doors { // the door is still to be opened that we shut before
			continue
		}
		if place := sd.place.String(); strings.Contains(sd.flags, "i") {
			r.shutWas[place] = true
		} else {
			delete(r.shutWas, place)
		}
	}
}

// calmLocked notes that nobody is to go any more who may not.
func (r *room) calmLocked() {
	if r.warned && !r.over {
		r.warned = false
		r.overLocked("budget")
	}
}

// resultLocked is what becomes of an act: in a dry run nothing.
func (r *room) resultLocked(sent string) string {
	if !r.armed {
		return resultDry
	}
	return sent
}

// The words of acts.
const (
	actorGuard = "guard"
	resultDry  = "dry run"
)

// noteLocked counts an act, if it is the guard's own, and has it written down.
func (r *room) noteLocked(a *Act) {
	if a.Actor == actorGuard {
		r.did[a.Effect.String()]++
	}
	r.g.scribe.note(a)
}
