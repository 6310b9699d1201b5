package guard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Bounds of a look.
const (
	observeTime  = 30 * time.Second
	lookAgain    = 30 * time.Second // after one that failed
	roundsMax    = 6                // of a MUC, each of which reads the state anew
	repairsMax   = 10               // in repairsPer; the war breaker should have come first
	repairsPer   = time.Minute
	lockWait     = 2 * time.Second       // for ChanServ to change its mode lock
	lookTogether = 20 * time.Millisecond // changes that come together are looked at once
)

// lookAfter keeps the room's own state as the policy wants it, until ctx ends: when it
// changes, and every lookEvery.
func (sd *side) lookAfter(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sd.look:
			if !sleep(ctx, lookTogether) {
				return
			}
			drain(sd.look)
		case <-timer.C:
		}
		wait := lookEvery
		if again := sd.lookOnce(ctx); again > 0 {
			wait = again
		}
		sd.doorsDone()
		sd.tellKey()
		timer.Reset(wait)
	}
}

// doorsTime is how long those who have to go as a room is enabled wait for its doors.
const doorsTime = 15 * time.Second

// doorsFirstLocked has who has to go now wait until the lists are written and the doors
// shut: else they are back before that.
func (r *room) doorsFirstLocked(now time.Time) {
	for _, sd := range r.sides {
		for _, x := range sd.removals {
			if until := now.Add(doorsTime); x.from.Before(until) {
				x.from, x.behind = until, true
			}
		}
	}
}

// doorsDone ends that.
func (sd *side) doorsDone() {
	sd.room.mu.Lock()
	defer sd.room.mu.Unlock()
	for _, x := range sd.removals {
		if x.behind {
			x.from, x.behind = time.Time{}, false
			poke(sd.wake)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// lookOnce compares the room's state with what is wanted, and has the difference made.
// It returns when to look again before lookEvery; 0: not.
func (sd *side) lookOnce(ctx context.Context) time.Duration {
	sd.prepareKey(ctx)
	for range roundsMax {
		seen, self, ok, again := sd.observe(ctx)
		if !ok {
			return again
		}
		steps, more, later := sd.planned(&seen, self)
		for _, c := range steps {
			if err := sd.hand(ctx, c); err != nil {
				return lookAgain
			}
		}
		if len(steps) > 0 {
			sd.repaired()
		}
		if !more {
			return later
		}
	}
	return lookAgain
}

// observe reads the room's state.
func (sd *side) observe(ctx context.Context) (o bridge.Observed, self string, ok bool, again time.Duration) {
	r := sd.room
	r.mu.Lock()
	leg, ready := sd.leg, sd.ready && r.loaded
	r.mu.Unlock()
	if !ready {
		return o, "", false, 0
	}
	octx, cancel := context.WithTimeout(ctx, observeTime)
	defer cancel()
	o, err := leg.Observe(octx, sd.place)
	if ctx.Err() != nil || errors.Is(err, bridge.ErrNotReady) {
		return o, "", false, lookAgain // if it is not out of sight by then, as while a stream is resumed
	}
	self = bare(leg.Status().Self)
	now := r.g.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.alarmLocked("look "+sd.place.String(), sd.place.String()+": its state cannot be read: "+err.Error(), now)
		return o, "", false, lookAgain
	}
	r.overLocked("look " + sd.place.String())
	if !sd.ready {
		return o, "", false, 0
	}
	sd.seenLocked(&o, now)
	return o, self, true, 0
}

// seenLocked takes in what was read.
func (sd *side) seenLocked(o *bridge.Observed, now time.Time) {
	r := sd.room
	first := sd.looked.IsZero()
	sd.looked, sd.caps, sd.mucCaps = now, o.ChannelCaps, o.MUCCaps
	if first { // what the network can is known only now
		sd.markKeptLocked()
		defer sd.judgeAllLocked(now)
	}
	set := func(field string) bool { return o.MUC.Config[field] == "1" || o.MUC.Config[field] == "true" }
	sd.moderated, sd.gated = set(policy.FieldModerated), set(policy.FieldMembersOnly)
	sd.passes = o.Channel.Lists['I']
	if sd.flags = o.Channel.Flags; o.ServicesDown != sd.down {
		sd.servicesLocked(o.ServicesDown, now)
	}
	for nick, rights := range o.Channel.Present {
		if sub := sd.present[nick]; sub != nil && sub.rights != rights {
			sub.rights, sub.byOther = rights, true
			sd.judgeLocked(sub, now)
		}
	}
	if sd.holds = o.Holds; o.Holds {
		sd.regains = 0
		r.overLocked("rights " + sd.place.String())
		return
	}
	what := "has no op there"
	if !sd.channel() {
		what = "is not owner there"
	}
	r.alarmLocked("rights "+sd.place.String(), sd.place.String()+": the bot "+what+", and cannot hold it", now)
	if sd.regain.IsZero() {
		sd.regainLocked(now)
	}
}

// plannedBansLocked is what a guard does where a peer acts: it carries out the bans that
// it was ordered itself, and takes them back.
func (sd *side) plannedBansLocked(o *bridge.Observed, self string, now time.Time) (out []bridge.Changes) {
	var words []string
	if sd.channel() {
		want := policy.Channel{Name: sd.place.Name}
		sd.wantBansLocked(&want, now)
		lines, err := policy.PlanChannel(want, o.Channel, o.ChannelCaps, 0)
		if err != nil || len(lines) == 0 {
			sd.forgetMarksLocked(o)
			return nil
		}
		out = append(out, bridge.Changes{Lines: lines})
		for _, l := range lines {
			words = append(words, l.Words())
		}
	} else {
		plan, err := policy.PlanMUC(sd.wantOwnBansLocked(self, now), o.MUC, o.MUCCaps, sd.room.most.Limit(len(sd.present)))
		for i := range plan.Steps {
			if s := &plan.Steps[i]; !s.Again {
				out, words = append(out, bridge.Changes{Step: s}), append(words, describeStep(s))
			}
		}
		if err != nil || len(out) == 0 {
			sd.forgetMarksLocked(o)
			return nil
		}
	}
	sd.room.noteLocked(&Act{At: now, Room: sd.room.name, Place: sd.place.String(), Effect: policy.Alert, Acts: strings.Join(words, "; "), Actor: actorGuard, Result: "sent"})
	return out
}

// forgetMarksLocked forgets the marks of bans that ended and whose entries are gone.
func (sd *side) forgetMarksLocked(o *bridge.Observed) {
	there := map[string]bool{}
	for _, m := range o.Channel.Lists['b'] {
		there[strings.ToLower(m)] = true
	}
	live := map[entry]bool{}
	for _, sub := range sd.present {
		if sub.muted != nil {
			live[*sub.muted] = true
		}
	}
	for _, h := range o.MUC.Affiliations {
		if h.Is == policy.Outcast {
			there[strings.ToLower(h.JID)] = true
		}
	}
	var gone []mark
	for _, m := range sd.room.g.marks.of(timerMute, sd.place) {
		if e := m.entry(); !live[e] && !slices.Contains(o.Channel.Lists[e.mode], e.mask) {
			gone = append(gone, m)
		}
	}
	for _, m := range sd.room.g.marks.of(timerDoor, sd.place) {
		if e := m.entry(); !slices.Contains(o.Channel.Lists[e.mode], e.mask) {
			gone = append(gone, m)
		}
	}
	for _, m := range sd.room.g.marks.of(timerBan, sd.place) {
		if !there[strings.ToLower(m.mask)] {
			gone = append(gone, m)
		}
	}
	sd.room.g.unprojected(gone)
}

// repaired notes the marks of bans that stand now.
func (sd *side) repaired() {
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.g.now()
	for _, b := range *r.g.bans.Load() {
		if !b.Live(r.name, now) {
			continue
		}
		for _, mask := range r.g.masks(sd, &b) {
			r.g.projected(sd, &b, mask)
		}
	}
}

// hand has changes carried out, behind what is urgent, and waits for that.
func (sd *side) hand(ctx context.Context, c bridge.Changes) error {
	h := &handed{changes: c, done: make(chan error, 1)}
	sd.room.mu.Lock()
	sd.handed = h
	sd.room.mu.Unlock()
	poke(sd.wake)
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bare is a JID without its resource.
func bare(jid string) string {
	out, _, _ := strings.Cut(jid, "/")
	return out
}
