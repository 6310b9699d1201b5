package guard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

var _ Orders = (*Guard)(nil)

// Status implements Orders.
func (g *Guard) Status() Status {
	t, now := g.table.Load(), g.now()
	s := Status{Now: now, Bans: len(*g.bans.Load())}
	s.Acts, s.Lost = g.scribe.waiting()
	for _, r := range t.rooms {
		r.mu.Lock()
		s.Rooms = append(s.Rooms, r.statusLocked())
		r.mu.Unlock()
	}
	return s
}

func (r *room) statusLocked() RoomStatus {
	out := RoomStatus{Name: r.name, Armed: r.armed, Did: map[string]uint64{}}
	if r.shut {
		out.Shut = r.lock.Until()
	}
	maps.Copy(out.Did, r.did)
	out.Lockdowns, out.Repairs = r.lockdowns, r.repairs
	for _, a := range r.open {
		out.Alarms = append(out.Alarms, a.text)
	}
	slices.Sort(out.Alarms)
	for _, sd := range r.sides {
		_, peer := sd.actsLocked()
		p := PlaceStatus{
			Room: sd.place, Ready: sd.ready, Holds: sd.holds, Looked: sd.looked, ServicesDown: sd.down, Present: len(sd.present),
			Acts: peer, Cannot: slices.Clone(sd.cannot), Plan: slices.Clone(sd.plan),
		}
		for _, sub := range sd.present {
			if sub.quiet {
				p.Quarantined++
			}
		}
		p.Never = sd.neverToldLocked()
		out.Places = append(out.Places, p)
	}
	return out
}

// neverToldLocked lists the facts that the channel's network tells of nobody who is
// there. What a MUC never tells is known before.
func (sd *side) neverToldLocked() policy.Missing {
	if sd.place.Kind != bridge.Channel || len(sd.present) == 0 {
		return 0
	}
	never := policy.MissingAccount | policy.MissingCert | policy.MissingTLS
	for _, sub := range sd.present {
		for m, f := range map[policy.Missing]*policy.Fact{policy.MissingAccount: &sub.facts.Account, policy.MissingCert: &sub.facts.Cert, policy.MissingTLS: &sub.facts.TLS} {
			if f.Known != policy.Never {
				never &^= m
			}
		}
	}
	return never
}

// Explain implements Orders.
func (g *Guard) Explain(who, name string, do policy.Do) (string, error) {
	t, now := g.table.Load(), g.now()
	r := t.room(name)
	if r == nil {
		return "", fmt.Errorf("%w: %s", ErrNoRoom, name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := policy.Event{Room: r.name, Do: do}
	for _, sd := range r.sides {
		sub := sd.findLocked(who)
		if sub == nil || strings.Contains(name, "/") && sd.place.String() != name {
			continue
		}
		f := sub.facts
		sd.fillLocked(&f, sub.key, now)
		told := policy.Told{Place: sd.place.String()}
		if x := sub.removal; x != nil {
			told.Result, told.Undo = x.act.Result, x.act.Undo
		}
		return policy.Explain(r.policy, &f, e, policy.Decide(r.policy, &f, e, now), now, told), nil
	}
	for _, sd := range r.sides {
		f, ok := sd.imagine(t, who)
		if !ok {
			continue
		}
		sd.fillLocked(&f, "", now)
		return policy.Explain(r.policy, &f, e, policy.Decide(r.policy, &f, e, now), now, policy.Told{Place: sd.place.String(), Result: "not there now"}), nil
	}
	return "", fmt.Errorf("%w: %s", ErrNobody, who)
}

// room finds a room by its name or place.
func (t *table) room(name string) *room {
	if r := t.byName[name]; r != nil {
		return r
	}
	for place, sd := range t.sides {
		if place.String() == name {
			return sd.room
		}
	}
	return nil
}

// findLocked finds somebody who is there by nick, source, account, JID or person.
func (sd *side) findLocked(who string) *subject {
	if sub := sd.present[who]; sub != nil {
		return sub
	}
	for _, sub := range sd.present {
		f := &sub.facts
		for _, name := range [...]string{f.Nick, source(f), f.Account.Value, f.JID.Value, sub.person} {
			if name != "" && strings.EqualFold(name, who) {
				return sub
			}
		}
	}
	return nil
}

// imagine makes facts of somebody who is not there: a person of the config, a source
// or a JID.
func (sd *side) imagine(t *table, who string) (policy.Facts, bool) {
	p, leg := t.people[who], sd.place.Leg
	if !sd.channel() {
		f := policy.NewOccupantFacts(leg, who)
		f.Occupant.Known = policy.Never
		switch {
		case p != nil && len(p.JIDs) > 0:
			f.JID = policy.Is(p.JIDs[0], "config", time.Time{})
		case strings.Contains(who, "@") && !strings.Contains(who, "!"):
			f.JID = policy.Is(who, "you", time.Time{})
		default:
			return f, false
		}
		t.reach(&f)
		return f, true
	}
	if p != nil {
		id := p.IRC[leg]
		f := policy.NewIRCFacts(leg, who, "", "")
		if len(id.Accounts) > 0 {
			f.Account = policy.Is(id.Accounts[0], "config", time.Time{})
		}
		if len(id.CertFPs) > 0 {
			f.Cert = policy.Is(id.CertFPs[0], "config", time.Time{})
		}
		return f, len(id.Accounts)+len(id.CertFPs) > 0
	}
	nick, rest, ok := strings.Cut(who, "!")
	user, host, at := strings.Cut(rest, "@")
	return policy.NewIRCFacts(leg, nick, user, host), ok && at
}

// Simulate implements Orders.
func (g *Guard) Simulate(ctx context.Context, q Query, other policy.Spec) (Simulation, error) {
	out, err := Replay(other, g.scribe.store.Acts(ctx, q))
	if err != nil && !errors.Is(err, ErrChain) {
		return out, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return out, err
}

// Enable implements Orders.
func (g *Guard) Enable(ctx context.Context, name, by string) error {
	return g.arm(ctx, name, by, true)
}

// Disable implements Orders.
func (g *Guard) Disable(ctx context.Context, name, by string) error {
	return g.arm(ctx, name, by, false)
}

func (g *Guard) arm(ctx context.Context, name, by string, armed bool) error {
	r, now := g.table.Load().room(name), g.now()
	if r == nil {
		return fmt.Errorf("%w: %s", ErrNoRoom, name)
	}
	r.mu.Lock()
	word := "enable"
	if !armed {
		word = "disable"
	}
	changed := r.armed != armed
	r.armed = armed
	if changed {
		for _, sd := range r.sides {
			sd.plan = nil
		}
		clear(r.told)
		r.keepLocked()
		r.noteLocked(&Act{At: now, Room: r.name, Acts: word, Actor: by, Result: "done", Undo: "guard " + map[bool]string{true: "disable ", false: "enable "}[armed] + r.name})
		for _, sd := range r.sides {
			if !armed {
				for _, sub := range sd.present {
					sub.removal = nil
				}
				sd.removals, sd.status, sd.lists, sd.invites, sd.members, sd.asks = nil, nil, nil, nil, nil, nil
			}
			for _, sub := range sd.present {
				sub.queued = false
			}
			sd.doors, sd.undone = r.shut, undone{}
		}
		r.judgeAllLocked(now)
		r.doorsFirstLocked(now)
	}
	r.mu.Unlock()
	return g.scribe.keepNow(ctx, r.job(), r.put)
}

// refuses says why a ban may not be set; "": it may.
func (g *Guard) refuses(t *table, b *policy.BanRecord) string {
	if b.Person != "" {
		return t.refuses(b.Person)
	}
	if f, ok := identified(b.Mask); ok && t.policy.Protects(&f) {
		return b.Mask + " is of the bot, a peer, or somebody who is protected"
	}
	for _, r := range t.rooms {
		if len(b.Rooms) > 0 && !slices.Contains(b.Rooms, r.name) {
			continue
		}
		r.mu.Lock()
		why := r.refusesLocked(b)
		r.mu.Unlock()
		if why != "" {
			return why
		}
	}
	return ""
}

// Lockdown implements Orders.
func (g *Guard) Lockdown(ctx context.Context, name string, last time.Duration, by string) (time.Time, error) {
	r, now := g.table.Load().room(name), g.now()
	if r == nil {
		return time.Time{}, fmt.Errorf("%w: %s", ErrNoRoom, name)
	}
	r.mu.Lock()
	if last == 0 {
		last = r.cfg.JoinsFor
	}
	until := time.Time{}
	if last > 0 {
		until = now.Add(min(last, lockdownMost))
	}
	r.shutLocked(until, now)
	word := "lockdown"
	if until.IsZero() {
		word = "lockdown --off"
	}
	r.noteLocked(&Act{At: now, Room: r.name, Acts: word, Actor: by, Result: r.resultLocked("done")})
	r.mu.Unlock()
	return until, g.scribe.keepNow(ctx, r.job(), r.put)
}

// Audit implements Orders.
func (g *Guard) Audit(ctx context.Context, q Query) iter.Seq2[Act, error] {
	return g.scribe.store.Acts(ctx, q)
}
