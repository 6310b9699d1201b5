package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// second is an order that waits for the word of another admin.
type second struct {
	by string
	at time.Time
}

const secondTime = 10 * time.Minute

// agreed reports whether an order that needs two admins has both.
func (g *Guard) agreed(kind, order, by string) error {
	need := g.table.Load().cfg.TwoPerson
	if need != nil && !slices.Contains(need, kind) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	key := kind + " " + order
	if first, ok := g.seconds[key]; ok && first.by != by && now.Sub(first.at) < secondTime && !now.Before(first.at) {
		delete(g.seconds, key)
		return nil
	}
	for k, x := range g.seconds {
		if now.Sub(x.at) >= secondTime {
			delete(g.seconds, k)
		}
	}
	g.seconds[key] = second{by, now}
	g.scribe.note(&Act{At: now, Acts: key, Actor: by, Result: "waits for a second admin"})
	return ErrSecond
}

// Ban implements Orders.
func (g *Guard) Ban(ctx context.Context, o BanOrder) (policy.BanRecord, error) {
	t, now := g.table.Load(), g.now()
	var rooms []string
	if o.Room != "" {
		r := t.room(o.Room)
		if r == nil {
			return policy.BanRecord{}, fmt.Errorf("%w: %s", ErrNoRoom, o.Room)
		}
		rooms = []string{r.name}
	}
	who, err := g.target(t, o.Who, o.Room)
	if err != nil {
		return policy.BanRecord{}, err
	}
	b := policy.BanRecord{ID: g.newID(now), Person: who.person, Mask: who.mask, Rooms: rooms, Author: o.By, Reason: o.Reason, Set: now}
	if o.For > 0 {
		b.Until = now.Add(o.For)
	}
	if why := g.refuses(t, &b); why != "" {
		g.scribe.note(&Act{At: now, Room: o.Room, Who: o.Who, Person: b.Person, Effect: policy.Ban, Acts: "ban", Actor: o.By, Result: "refused: " + why})
		return policy.BanRecord{}, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	if who.wide {
		if err := g.agreed(OrderBanMask, strings.TrimSpace(o.Who+" "+o.Room+" "+forHow(o.For)), o.By); err != nil {
			return policy.BanRecord{}, err
		}
	}
	g.putBan(b)
	g.scribe.note(&Act{At: now, Room: o.Room, Who: o.Who, Person: b.Person, Effect: policy.Ban, Basis: policy.ByBan, Rule: b.ID, Acts: "ban", Actor: o.By, Result: "done", Undo: "guard forgive " + b.ID})
	g.judgeRooms(t, rooms, now)
	return b, g.scribe.keepNow(ctx, "ban "+b.ID, func(ctx context.Context, s Store) error { return s.PutBan(ctx, b) })
}

// forHow is for how long a ban shall be: two admins have to mean the same.
func forHow(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return "for " + d.String()
}

// refusesLocked says whom of those who are there a ban of a mask would hit that it
// must not.
func (r *room) refusesLocked(b *policy.BanRecord) string {
	bans := []policy.BanRecord{*b}
	for _, sd := range r.sides {
		if why := r.policy.Hit(b.Mask, sd.factsLocked()).Refused(r.most.Limit(len(sd.present))); why != "" && !strings.HasPrefix(b.Mask, policy.MaskAccount) && !strings.HasPrefix(b.Mask, policy.MaskJID) && !strings.HasPrefix(b.Mask, policy.MaskOccupant) {
			return why
		}
		for _, sub := range sd.present {
			f := sub.facts
			if r.policy.FindBan(bans, &f, r.name, b.Set); f.Ban == nil {
				continue
			}
			if d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, b.Set); d.Protected != policy.No || sub.peer != nil {
				return "it is of " + f.Nick + ", who must not be removed"
			}
		}
	}
	return ""
}

// judgeRooms judges everybody in these rooms anew; nil: in all.
func (g *Guard) judgeRooms(t *table, rooms []string, now time.Time) {
	for _, r := range t.rooms {
		if rooms != nil && !slices.Contains(rooms, r.name) {
			continue
		}
		r.mu.Lock()
		if r.loaded {
			r.judgeAllLocked(now)
		}
		r.mu.Unlock()
	}
}

// Forgive implements Orders.
func (g *Guard) Forgive(ctx context.Context, who, by string) (int, error) {
	t, now := g.table.Load(), g.now()
	masks := []string{who, policy.MaskJID + who}
	if x, err := g.target(t, who, ""); err == nil && x.mask != "" {
		masks = append(masks, x.mask)
	}
	ended := g.endBans(func(b *policy.BanRecord) bool {
		return b.ID == who || b.Person == who || b.Person == "" && slices.ContainsFunc(masks, func(m string) bool { return strings.EqualFold(m, b.Mask) })
	})
	if len(ended) == 0 {
		return 0, fmt.Errorf("%w: no ban of %s", ErrNobody, who)
	}
	ids := make([]string, len(ended))
	for i := range ended {
		ids[i] = ended[i].ID
		g.scribe.note(&Act{At: now, Who: orElse(ended[i].Person, ended[i].Mask), Person: ended[i].Person, Basis: policy.ByBan, Rule: ended[i].ID, Acts: "forgive", Actor: by, Result: "done"})
	}
	g.judgeRooms(t, nil, now)
	return len(ended), g.scribe.keepNow(ctx, "forgive "+ids[0], func(ctx context.Context, s Store) error { return s.Drop(ctx, ids...) })
}
