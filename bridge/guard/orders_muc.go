package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// mucOrder is what two admins agreed on about a MUC.
type mucOrder struct {
	drop    string          // bare JID that loses ownership
	destroy *bridge.Destroy // nil: the room goes on
	act     *Act
	done    chan error // capacity 1
}

// mucOrderTime is how long an order may take to be carried out before it says so.
const mucOrderTime = 15 * time.Second

// DestroyOrder asks to end a MUC for good.
type DestroyOrder struct {
	Room   string
	Venue  string // bare JID of the MUC to go to; "": none
	Reason string // everybody who is there is told
	// Bridged says that the admin knows that a bridge has the room.
	Bridged bool
	By      string
}

// DropOwner implements Orders.
func (g *Guard) DropOwner(ctx context.Context, name, jid, by string) error {
	sd, err := g.owned(name)
	if err != nil {
		return err
	}
	r := sd.room
	if sd.selfJID() == jid {
		return fmt.Errorf("%w: that is the bot itself", ErrRefused)
	}
	if err := g.agreed(OrderDropOwner, r.name+" "+jid, by); err != nil {
		return err
	}
	return sd.ordered(ctx, &mucOrder{drop: jid, act: &Act{Room: r.name, Place: sd.place.String(), Who: jid, Acts: OrderDropOwner, Actor: by}})
}

// Destroy implements Orders.
func (g *Guard) Destroy(ctx context.Context, o DestroyOrder) error {
	sd, err := g.owned(o.Room)
	if err != nil {
		return err
	}
	r := sd.room
	r.mu.Lock()
	bridged := r.cfg.Bridged
	r.mu.Unlock()
	switch {
	case bridged != "" && !o.Bridged:
		return fmt.Errorf("%w: %s is in bridge %s, which ends with it for that room; say --bridged if that is meant", ErrRefused, sd.place.Name, bridged)
	case o.Venue == sd.place.Name:
		return fmt.Errorf("%w: that is the room itself", ErrRefused)
	}
	words := strings.TrimSpace(r.name + " " + o.Venue)
	if err := g.agreed(OrderDestroy, words, o.By); err != nil {
		return err
	}
	act := &Act{Room: r.name, Place: sd.place.String(), Acts: strings.TrimSpace(OrderDestroy + " " + o.Venue), Actor: o.By}
	return sd.ordered(ctx, &mucOrder{destroy: &bridge.Destroy{Venue: o.Venue, Reason: o.Reason}, act: act})
}

// owned finds the MUC of a room that the guard can change now.
func (g *Guard) owned(name string) (*side, error) {
	r := g.table.Load().room(name)
	if r == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoRoom, name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sd := range r.sides {
		if sd.channel() {
			continue
		}
		acts, peer := sd.actsLocked()
		switch {
		case !r.armed:
			return nil, fmt.Errorf("%w: %s is in dry run", ErrRefused, r.name)
		case !acts:
			return nil, fmt.Errorf("%w: guard %s acts there", ErrRefused, peer)
		case !sd.ready || !sd.holds:
			return nil, fmt.Errorf("%w: the bot is not there, or not its owner", ErrRefused)
		}
		return sd, nil
	}
	return nil, fmt.Errorf("%w: %s has no MUC", ErrRefused, name)
}

// selfJID is the bot's own bare JID.
func (sd *side) selfJID() string {
	sd.room.mu.Lock()
	leg := sd.leg
	sd.room.mu.Unlock()
	return bare(leg.Status().Self)
}

// ordered has an order carried out, and waits for that: it is noted with what came of it.
func (sd *side) ordered(ctx context.Context, o *mucOrder) error {
	o.done = make(chan error, 1)
	r := sd.room
	r.mu.Lock()
	o.act.At = r.g.now()
	sd.orders = append(sd.orders, o)
	r.mu.Unlock()
	poke(sd.wake)
	ctx, cancel := context.WithTimeout(ctx, mucOrderTime)
	defer cancel()
	select {
	case err := <-o.done:
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(sd.orders, o); i >= 0 { // it must not be carried out when nobody expects it any more
		sd.orders = slices.Delete(sd.orders, i, i+1)
		return fmt.Errorf("%w: the room is not reachable", ErrRefused)
	}
	return fmt.Errorf("%w: the room does not answer; the audit tells what becomes of it", ErrRefused)
}

// ordersLocked puts what two admins agreed on into steps of the MUC. Whatever else waits
// goes before the end of a room.
func (sd *side) ordersLocked(w *work) {
	orders := sd.orders
	sd.orders = nil
	for _, o := range orders {
		if o.drop != "" {
			step := &policy.MUCStep{Holders: []policy.Holder{{JID: o.drop, Is: policy.NoOne}}}
			w.changes = append(w.changes, change{Changes: bridge.Changes{Step: step}, order: o})
		}
	}
	for _, o := range orders {
		if o.destroy != nil {
			w.changes = append(w.changes, change{Changes: bridge.Changes{Destroy: o.destroy}, order: o})
		}
	}
}

// orderedLocked tells what became of an order.
func (sd *side) orderedLocked(o *mucOrder, err error) {
	o.act.Result = "done"
	if err != nil {
		o.act.Result = failed(err)
	}
	sd.room.noteLocked(o.act)
	o.done <- err
	poke(sd.look) // an alarm may be over
}
