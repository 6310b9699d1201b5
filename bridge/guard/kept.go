package guard

import (
	"maps"
	"time"
)

// keptRoom is what is remembered of a room that is not held now: one that an earlier
// process held, or that was taken out of the configuration and may be back.
type keptRoom struct {
	state  RoomState            // without a Room: nothing was kept of it
	fresh  map[string]time.Time // admitted, and maybe not kept yet
	guests map[string]time.Time
	left   map[string]bool
}

// keptOf returns what is remembered of a room, for more to be added. g.mu is held.
func (g *Guard) keptOf(room string) *keptRoom {
	k := g.kept[room]
	if k == nil {
		k = &keptRoom{guests: map[string]time.Time{}, left: map[string]bool{}}
		g.kept[room] = k
	}
	return k
}

// park returns what is to be remembered of a room that is not held any more.
func (r *room) park() *keptRoom {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &keptRoom{state: r.stateLocked(), fresh: maps.Clone(r.fresh), guests: maps.Clone(r.guests), left: map[string]bool{}}
	k.state.Admitted = maps.Clone(r.admitted)
	for _, sd := range r.sides {
		maps.Copy(k.left, sd.left)
	}
	r.flushLocked()
	return k
}

// takeOverLocked has a room go on with what is remembered of it. g.mu is held.
func (r *room) takeOverLocked(now time.Time) {
	k := r.g.kept[r.name]
	if delete(r.g.kept, r.name); k == nil {
		r.keepLocked()
		return
	}
	if k.state.Room == "" {
		r.keepLocked()
	} else {
		r.restoreLocked(&k.state, now)
	}
	maps.Copy(r.fresh, k.fresh)
	maps.Copy(r.guests, k.guests)
	for _, sd := range r.sides {
		if !sd.channel() {
			maps.Copy(sd.left, k.left)
		}
	}
}
