package guard

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drawbridge/policy"
)

// banned notes the live ban that meets somebody.
func (g *Guard) banned(p *policy.Policy, f *policy.Facts, room string, now time.Time) {
	bans := *g.bans.Load()
	if len(bans) == 0 {
		f.Ban, f.BanMissing = nil, 0
		return
	}
	p.FindBan(bans, f, room, now)
}

// hitsLocked says whom an entry of a ban would keep out, of those who are there, that it
// must not: somebody protected, or many others than the ban is of. "": it may be set.
func (sd *side) hitsLocked(b *policy.BanRecord, mask string, facts []policy.Facts, now time.Time) string {
	r := sd.room
	if !strings.Contains(mask, "@") { // of an account: it fits nobody else
		return ""
	}
	bans, others := []policy.BanRecord{*b}, []policy.Facts(nil)
	for i := range facts {
		hit, f := r.policy.Hit(mask, facts[i:i+1]), facts[i]
		if hit.Present == 0 {
			continue
		}
		if r.policy.FindBan(bans, &f, r.name, now); f.Ban == nil || len(hit.Protected) > 0 {
			others = append(others, f)
		}
	}
	return r.policy.Hit(mask, others).Refused(r.most.Limit(len(sd.present)))
}

// masks are what keeps somebody banned out of a place by its own lists: entries of a
// channel, bare JIDs of a MUC.
func (g *Guard) masks(sd *side, b *policy.BanRecord) []string {
	p := sd.room.table.people[b.Person]
	if !sd.channel() {
		if jid, ok := strings.CutPrefix(b.Mask, policy.MaskJID); ok && b.Person == "" {
			return []string{jid}
		}
		if p != nil {
			return p.JIDs
		}
		return nil
	}
	if b.Person != "" {
		if p == nil {
			return nil
		}
		masks := p.BanMasks(sd.place.Leg, sd.caps)
		for i, m := range masks {
			masks[i] = completed(m)
		}
		return masks
	}
	if account, ok := strings.CutPrefix(b.Mask, policy.MaskAccount); ok {
		leg, name, _ := strings.Cut(account, "/")
		if mask, can := sd.caps.AccountMask(name); can && leg == sd.place.Leg {
			return []string{mask}
		}
		return nil
	}
	if strings.HasPrefix(b.Mask, policy.MaskJID) || strings.HasPrefix(b.Mask, policy.MaskOccupant) {
		return nil
	}
	return []string{completed(b.Mask)}
}

// completed is a host mask as servers write it, so that it is found again in their
// lists. An entry that is no host mask stays as it is.
func completed(mask string) string {
	if strings.Contains(mask, "!") || strings.Contains(mask, "@") && !(len(mask) > 2 && mask[1] == ':') {
		return policy.FoldMask(mask)
	}
	return mask
}

// putBan begins a ban. It does not wait for the store.
func (g *Guard) putBan(b policy.BanRecord) *policy.BanRecord {
	g.banning.Lock()
	bans := append(slices.Clone(*g.bans.Load()), b)
	g.bans.Store(&bans)
	g.banning.Unlock()
	g.scribe.add("ban "+b.ID, func(ctx context.Context, s Store) error { return s.PutBan(ctx, b) })
	return &bans[len(bans)-1]
}

// nameBan makes the ban of an occupant whose JID was hidden one of who it is, now that
// this is seen: so that it holds in every place, and in the server's own list.
func (g *Guard) nameBan(b *policy.BanRecord, sub *subject) *policy.BanRecord {
	g.banning.Lock()
	bans := slices.Clone(*g.bans.Load())
	i := slices.IndexFunc(bans, func(x policy.BanRecord) bool { return x.ID == b.ID })
	if i < 0 { // forgiven just now
		g.banning.Unlock()
		return b
	}
	if bans[i].Mask = policy.MaskJID + sub.facts.JID.Value; sub.person != "" {
		bans[i].Person, bans[i].Mask = sub.person, ""
	}
	named := bans[i]
	g.bans.Store(&bans)
	g.banning.Unlock()
	g.scribe.keep("ban "+named.ID, func(ctx context.Context, s Store) error { return s.PutBan(ctx, named) })
	return &bans[i]
}

// endBans ends the bans that match, and returns them.
func (g *Guard) endBans(match func(*policy.BanRecord) bool) (ended []policy.BanRecord) {
	g.banning.Lock()
	var left []policy.BanRecord
	for _, b := range *g.bans.Load() {
		if match(&b) {
			ended = append(ended, b)
		} else {
			left = append(left, b)
		}
	}
	if len(ended) > 0 {
		g.bans.Store(&left)
	}
	g.banning.Unlock()
	for _, b := range ended {
		g.scribe.drop("ban "+b.ID, b.ID)
	}
	return ended
}

// next numbers things within a process.
func (g *Guard) next() uint64 { return g.serial.Add(1) }

// newID returns an ID for a ban: no two processes give the same.
func (g *Guard) newID(now time.Time) string {
	return "b" + strconv.FormatInt(now.UnixMilli(), 36) + strconv.FormatUint(g.next(), 36)
}

// maxBans bounds the bans that rules make: each join is held against all of them, and
// names cost an intruder nothing. Admins may set more.
const maxBans = 2000

// banThoseLocked bans those who go by a rule that bans, and returns who is to be removed
// or banned. Who is kept by the budget is not banned, either: a ban would remove them past
// it. Who left before is banned all the same, and there is nothing else to do.
func (sd *side) banThoseLocked(w *work, now time.Time) []*removal {
	left := w.removals[:0]
	for _, x := range w.removals {
		if x.makes != nil && x.ban == nil {
			x.ban = sd.banByRule(x, now)
		}
		switch {
		case x.ban != nil && x.makes != nil:
			x.act.Undo = "guard forgive " + x.ban.ID
		case x.gone:
			x.act.Result = "gone"
			w.late = append(w.late, x.act)
			continue
		}
		left = append(left, x)
	}
	return left
}

// banByRule makes the ban that a rule asks for, of the strongest identity that is
// known: nil where only a host is, behind which others are too.
func (sd *side) banByRule(x *removal, now time.Time) *policy.BanRecord {
	r, sub, d := sd.room, x.sub, x.makes
	known := sub.facts
	if r.g.banned(r.policy, &known, r.name, now); known.Ban != nil {
		return known.Ban // they came and went more than once
	}
	if len(*r.g.bans.Load()) >= maxBans {
		r.eventLocked("bans", fmt.Sprintf("%d bans are in force: rules make no more, and only kick", maxBans), now)
		return nil
	}
	b := policy.BanRecord{ID: r.g.newID(now), Rooms: []string{r.name}, Author: "rule " + d.Rule, Reason: d.Reason, Set: now, Until: d.Until}
	f := &sub.facts
	switch {
	case sub.person != "":
		b.Person = sub.person
	case f.Account.Known == policy.Yes:
		b.Mask = policy.MaskAccount + f.Leg + "/" + f.Account.Value
	case f.JID.Known == policy.Yes:
		b.Mask = policy.MaskJID + f.JID.Value
	default:
		if b.Mask = f.OccupantMask(); b.Mask != "" {
			break
		}
		mask, ok := sd.narrowLocked(f)
		if !ok || x.gone && sd.room.policy.Hit(mask, sd.factsLocked()).Present > 0 {
			return nil
		}
		b.Mask = mask
	}
	return r.g.putBan(b)
}

// narrowLocked returns a mask that fits one who is there, and nobody else.
func (sd *side) narrowLocked(f *policy.Facts) (string, bool) {
	if f.Host == "" {
		return "", false
	}
	mask := "*!" + f.User + "@" + f.Host
	hit := sd.room.policy.Hit(mask, sd.factsLocked())
	return mask, hit.Refused(1) == ""
}

// factsLocked returns what is known of all who are there.
func (sd *side) factsLocked() (out []policy.Facts) {
	for _, sub := range sd.present {
		out = append(out, sub.facts)
	}
	return out
}

// refuses says why a person may not be banned; "": they may.
func (t *table) refuses(person string) string {
	if slices.Contains(t.cfg.Policy.Protected, person) {
		return person + " is protected"
	}
	return ""
}

// target is what a ban is of.
type target struct {
	person, mask string
	wide         bool // a mask that an admin wrote
}

// identified is what is known of somebody by the identity that a ban is of; false: it
// is of a host mask.
func identified(mask string) (f policy.Facts, ok bool) {
	if account, yes := strings.CutPrefix(mask, policy.MaskAccount); yes {
		leg, name, _ := strings.Cut(account, "/")
		f = policy.NewIRCFacts(leg, "", "", "")
		f.Account = policy.Is(name, "", time.Time{})
		return f, true
	}
	if jid, yes := strings.CutPrefix(mask, policy.MaskJID); yes {
		f = policy.NewXMPPFacts("", "")
		f.JID = policy.Is(jid, "", time.Time{})
		return f, true
	}
	return f, false
}

// target finds out whom an order means.
func (g *Guard) target(t *table, who, room string) (target, error) {
	switch {
	case who == "":
		return target{}, ErrNobody
	case strings.HasPrefix(who, policy.MaskAccount):
		leg, account, ok := strings.Cut(strings.TrimPrefix(who, policy.MaskAccount), "/")
		if !ok || leg == "" || account == "" {
			return target{}, fmt.Errorf("%w: write account:NETWORK/ACCOUNT", ErrNobody)
		}
		return g.bound(t, func(f *policy.Facts) { f.Leg, f.Account = leg, policy.Is(account, "", time.Time{}) }, target{mask: who}), nil
	case strings.ContainsAny(who, "!*?"):
		return target{mask: policy.FoldMask(who), wide: true}, nil
	case t.people[who] != nil:
		return target{person: who}, nil
	}
	for _, r := range t.rooms {
		if room != "" && r.name != room {
			continue
		}
		r.mu.Lock()
		x, ok := r.presentLocked(who)
		r.mu.Unlock()
		if ok {
			return x, nil
		}
	}
	jid := strings.ToLower(strings.TrimPrefix(who, policy.MaskJID))
	if strings.Contains(jid, "@") && !strings.Contains(jid, "/") {
		return g.bound(t, func(f *policy.Facts) { f.JID = policy.Is(jid, "", time.Time{}) }, target{mask: policy.MaskJID + jid}), nil
	}
	return target{}, fmt.Errorf("%w: %s", ErrNobody, who)
}

// bound returns the person to whom an identity belongs, or else what stands for it.
func (g *Guard) bound(t *table, set func(*policy.Facts), or target) target {
	var f policy.Facts
	set(&f)
	if who := t.policy.Who(&f); len(who) > 0 {
		return target{person: who[0]}
	}
	return or
}

// presentLocked finds somebody who is there by nick. Where nicks differ in case alone, as
// those of a MUC may, only the one that is written so is meant.
func (r *room) presentLocked(nick string) (target, bool) {
	for _, sd := range r.sides {
		sub := sd.present[nick]
		if sub == nil {
			var like []*subject
			for name, other := range sd.present {
				if strings.EqualFold(name, nick) {
					like = append(like, other)
				}
			}
			if len(like) != 1 {
				continue
			}
			sub = like[0]
		}
		f := &sub.facts
		switch {
		case sub.person != "":
			return target{person: sub.person}, true
		case f.Account.Known == policy.Yes:
			return target{mask: policy.MaskAccount + f.Leg + "/" + f.Account.Value}, true
		case f.JID.Known == policy.Yes:
			return target{mask: policy.MaskJID + f.JID.Value}, true
		}
		if mask := f.OccupantMask(); mask != "" {
			return target{mask: mask}, true
		}
		if mask, ok := sd.narrowLocked(f); ok {
			return target{mask: mask}, true
		}
	}
	return target{}, false
}
