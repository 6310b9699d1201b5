package guard

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// applyTime bounds one Apply: a leg that does not answer must not hold a room for ever.
const applyTime = time.Minute

// carryOut has the leg do what was decided, until ctx ends. It takes all that waits at
// once: while the leg waits for its send window, what comes is put together.
func (sd *side) carryOut(ctx context.Context) {
	for {
		for ctx.Err() == nil && sd.gather(ctx) && sd.round(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-sd.wake:
		}
	}
}

// The first who has to go goes at once. Who follows on the heels is waited for, for a
// moment: a hundred who join together come one by one, and each line costs a second.
const (
	heels   = 5 * time.Millisecond
	moment  = 4 * time.Millisecond
	moments = 12 // at most, while more come
)

// gather waits a moment where many may be about to go. It reports whether ctx goes on.
func (sd *side) gather(ctx context.Context) bool {
	d, n := sd.sinceKicked()
	if n == 0 || d < 0 || d >= heels {
		return true
	}
	for range moments {
		if !sleep(ctx, moment) {
			return false
		}
		_, more := sd.sinceKicked()
		if more == n {
			break
		}
		n = more
	}
	return true
}

// sinceKicked is how long ago the last were taken who had to go, and how many have to now.
func (sd *side) sinceKicked() (d time.Duration, n int) {
	sd.room.mu.Lock()
	defer sd.room.mu.Unlock()
	return sd.room.g.now().Sub(sd.kicked), len(sd.removals)
}

// work is what one round carries out.
type work struct {
	leg      bridge.Enforcer
	changes  []change
	removals []*removal
	status   []*subject
	muted    []*entry // by which those of status were silenced before
	acts     []*Act   // noted once it is done
	late     []*Act   // noted whatever becomes of it
	lookups  []lookup
	words    []whisper
	handed   *handed
	again    tasks // of what is carried out now, what no look and no judgement would make good soon
}

// change is what one Apply carries out.
type change struct {
	bridge.Changes
	order *mucOrder // that it carries out; nil: none
	err   error
}

func (w *work) add(c bridge.Changes) { w.changes = append(w.changes, change{Changes: c}) }

// round carries out what waits, and reports whether there was anything.
func (sd *side) round(ctx context.Context) bool {
	g := sd.room.g
	w := sd.take(g.now())
	if w == nil {
		return false
	}
	actx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	err := w.apply(actx, sd.place)
	if w.handed != nil {
		w.handed.done <- err
	}
	for _, l := range w.lookups {
		w.leg.Lookup(sd.place, l.nick, l.missing)
	}
	for _, x := range w.words {
		w.leg.Whisper(sd.place, x.nick, x.words)
	}
	sd.carriedOut(w, err, ctx.Err() != nil)
	return true
}

// apply carries the changes out, and returns the first error. What a service refuses does
// not stop what has nothing to do with it; but a room does not end before all else is done.
func (w *work) apply(ctx context.Context, place bridge.Room) (err error) {
	for i := range w.changes {
		c := &w.changes[i]
		if err != nil && (c.Destroy != nil || ctx.Err() != nil || errors.Is(err, bridge.ErrNotReady)) {
			c.err = err
			continue
		}
		if c.err = w.leg.Apply(ctx, place, c.Changes); err == nil {
			err = c.err
		}
	}
	return err
}

// take takes what waits: first what is urgent, else one thing that lookAfter handed
// over. nil: nothing.
func (sd *side) take(now time.Time) *work {
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return nil
	}
	w := &work{leg: sd.leg, lookups: sd.lookups, words: sd.words}
	sd.lookups, sd.words = nil, nil
	if sd.ready {
		if w.removals = sd.goingLocked(w, now); len(w.removals) > 0 {
			sd.kicked = now
			w.removals = sd.banThoseLocked(w, now)
		}
		w.status, sd.status = sd.status, nil
		for _, sub := range w.status {
			sub.queued = false
		}
		if sd.channel() {
			sd.channelChangesLocked(w)
		} else {
			sd.mucChangesLocked(w)
		}
	} else if lines := sd.asksLocked(); len(lines) > 0 {
		w.add(bridge.Changes{Lines: lines})
	}
	if len(w.changes) == 0 && sd.handed != nil {
		w.handed, sd.handed = sd.handed, nil
		w.add(w.handed.changes)
	}
	if len(w.changes)+len(w.lookups)+len(w.words)+len(w.acts)+len(w.late) == 0 {
		return nil
	}
	return w
}

// channelChangesLocked puts all that waits into the fewest lines.
func (sd *side) channelChangesLocked(w *work) {
	want := policy.Channel{Name: sd.place.Name}
	seen := policy.ChannelSeen{Flags: sd.flags, Lists: map[byte][]string{}, Present: map[string]string{}}
	doors := sd.doors
	if sd.doors = false; doors {
		sd.lockdownLocked(&want, &seen)
	}
	if acts, _ := sd.actsLocked(); !sd.room.armed || !acts {
		doors, want, sd.lists, sd.invites, sd.asks = false, policy.Channel{Name: sd.place.Name}, nil, nil, nil
	} else if want.Clear != "" { // our i is asked away: what is seen from now on is not ours
		sd.flags = strings.ReplaceAll(sd.flags, want.Clear, "")
	}
	for _, x := range w.removals {
		if x.gone {
			continue
		}
		seen.Present[x.nick] = x.sub.rights
		want.Remove = append(want.Remove, policy.Removal{Nick: x.nick, Reason: x.reason})
	}
	bans := sd.bansLocked(w)
	// Many at once: the kicks first, and the bans behind them.
	if !sd.room.shut {
		addWanted(&want, bans)
		bans = nil
	}
	w.again = tasks{doors: doors, lists: sd.lists[:len(sd.lists):len(sd.lists)], invites: sd.invites}
	for _, sub := range w.status {
		w.muted = append(w.muted, sub.muted)
		if sd.present[sub.facts.Nick] != sub || sub.removal != nil && !sub.removal.held {
			continue
		}
		seen.Present[sub.facts.Nick] = sub.rights
		if sub.give+sub.take != "" {
			want.Status = append(want.Status, policy.Status{Nick: sub.facts.Nick, Give: sub.give, Take: sub.take})
			w.acts = append(w.acts, sd.rightsAct(sub))
		}
		sd.muteEntryLocked(sub)
	}
	for _, e := range sd.lists {
		if e.drop {
			seen.Lists[e.mode] = append(seen.Lists[e.mode], e.mask)
		}
		addEntry(&want, e)
	}
	sd.lists, sd.invites = nil, nil
	lines, _ := policy.PlanChannel(want, seen, sd.caps, len(want.Remove))
	if len(bans) > 0 {
		later := policy.Channel{Name: want.Name}
		addWanted(&later, bans)
		more, _ := policy.PlanChannel(later, policy.ChannelSeen{}, sd.caps, 0)
		lines = append(lines, more...)
	}
	for _, nick := range w.again.invites {
		line := policy.Command{Verb: "INVITE", Params: []string{nick, want.Name}}
		if sd.caps.Software == policy.InspIRCd { // where it ends by itself, if nobody comes
			line.Params = append(line.Params, strconv.Itoa(int(inviteIn/time.Second)))
		}
		lines = append(lines, line)
	}
	lines = append(lines, sd.asksLocked()...)
	if len(lines) > 0 {
		w.add(bridge.Changes{Lines: lines})
	}
}

// asksLocked takes what services are asked for.
func (sd *side) asksLocked() (lines []policy.Command) {
	for _, ask := range sd.asks {
		lines = append(lines, policy.Command{Verb: "PRIVMSG", Params: []string{"ChanServ", ask + " " + sd.place.Name}})
	}
	sd.asks = nil
	return lines
}

// lockdownLocked shuts the door of a channel, or opens it again as the policy wants it.
func (sd *side) lockdownLocked(want *policy.Channel, seen *policy.ChannelSeen) {
	caps := sd.caps
	if caps.FlagModes != "" && !strings.Contains(caps.FlagModes, "i") {
		sd.cannot = append(sd.cannot, "this network cannot shut a channel")
		return
	}
	if sd.room.shut {
		want.Set = "i"
		return
	}
	if !sd.closed && !sd.room.shutWas[sd.place.String()] {
		want.Clear, seen.Flags = "i", sd.flags+"i"
	}
}

// bansLocked returns the entries that keep out who is banned and goes now.
func (sd *side) bansLocked(w *work) (out []string) {
	var facts []policy.Facts
	for _, x := range w.removals {
		if x.ban == nil {
			continue
		}
		if facts == nil {
			facts = sd.factsLocked()
		}
		for _, mask := range sd.room.g.masks(sd, x.ban) {
			if sd.hitsLocked(x.ban, mask, facts, sd.room.g.now()) != "" {
				poke(sd.look) // which tells
				continue
			}
			out = append(out, mask)
			sd.room.g.projected(sd, x.ban, mask)
		}
	}
	return out
}

func addWanted(c *policy.Channel, masks []string) {
	for _, m := range masks {
		addEntry(c, entry{'b', m, false})
	}
}

func addEntry(c *policy.Channel, e entry) {
	for i := range c.Lists {
		if c.Lists[i].Mode == e.mode {
			if e.drop {
				c.Lists[i].Drop = append(c.Lists[i].Drop, e.mask)
			} else {
				c.Lists[i].Want = append(c.Lists[i].Want, e.mask)
			}
			return
		}
	}
	l := policy.List{Mode: e.mode}
	if e.drop {
		l.Drop = []string{e.mask}
	} else {
		l.Want = []string{e.mask}
	}
	c.Lists = append(c.Lists, l)
}

// muteEntryLocked silences somebody by an entry of a list, or takes that back.
func (sd *side) muteEntryLocked(sub *subject) {
	switch e, ok := sd.muteOf(sub); {
	case sub.mute && sub.muted == nil && ok:
		sub.muted = &e
		sd.lists = append(sd.lists, e)
		sd.room.g.mark(sd.room.name, sd.muteMark(e), time.Time{})
	case !sub.mute && sub.muted != nil:
		sd.lists = append(sd.lists, entry{sub.muted.mode, sub.muted.mask, true})
		sub.muted = nil
	}
}

// muteOf is the entry that silences somebody; false where the network has none.
func (sd *side) muteOf(sub *subject) (entry, bool) {
	who, narrow := sd.narrowLocked(&sub.facts)
	if !narrow { // others sit behind the same host
		who = policy.FoldMask(source(&sub.facts))
	}
	list, mask, ok := sd.caps.Mute(who)
	return entry{list, mask, false}, ok
}
