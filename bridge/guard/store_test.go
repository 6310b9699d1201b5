package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// failing is a store whose writes can fail.
type failing struct {
	guard.Store
	on     atomic.Bool
	admits atomic.Int64 // how often it was told who was admitted
}

func (f *failing) set(on bool) { f.on.Store(on) }

func (f *failing) or(put func() error) error {
	if f.on.Load() {
		return errors.New("no space left")
	}
	return put()
}

func (f *failing) PutRoom(ctx context.Context, r guard.RoomState) error {
	return f.or(func() error { return f.Store.PutRoom(ctx, r) })
}

func (f *failing) PutBan(ctx context.Context, b policy.BanRecord) error {
	return f.or(func() error { return f.Store.PutBan(ctx, b) })
}

func (f *failing) PutTimer(ctx context.Context, x guard.Timer) error {
	return f.or(func() error { return f.Store.PutTimer(ctx, x) })
}

func (f *failing) PutTicket(ctx context.Context, t guard.Ticket) error {
	return f.or(func() error { return f.Store.PutTicket(ctx, t) })
}

func (f *failing) Admit(ctx context.Context, room string, seen map[string]time.Time) error {
	f.admits.Add(1)
	return f.or(func() error { return f.Store.Admit(ctx, room, seen) })
}

func (f *failing) Drop(ctx context.Context, ids ...string) error {
	return f.or(func() error { return f.Store.Drop(ctx, ids...) })
}

func (f *failing) Append(ctx context.Context, acts []*guard.Act) error {
	return f.or(func() error { return f.Store.Append(ctx, acts) })
}

// The store fails: what has to be done is done, the admins are told, and the audit is
// whole once it is back.
func TestStoreFails(t *testing.T) {
	live(t, nil, func(h *house) {
		bad := h.store.(*failing)
		bad.set(true)
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(0)
		h.has("lines", h.irc.Lines(), "KICK #finance eve")
		if _, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "bob", By: "alice"}); !errors.Is(err, guard.ErrNotKept) {
			t.Errorf("Ban: %v, want %v", err, guard.ErrNotKept)
		}
		h.wait(time.Minute)
		h.has("alarms", h.takeAlarms(), "store fails")
		if s := h.g.Status(); s.Acts == 0 || s.Bans != 1 {
			t.Errorf("%d acts wait, %d bans", s.Acts, s.Bans)
		}
		bad.set(false)
		h.wait(time.Minute)
		h.has("audit", h.acts(guard.Query{}), "eve!eve@eve.example deny : sent", "bob ban")
		if k, _ := bad.Load(context.Background()); len(k.Bans) != 1 {
			t.Errorf("kept: %+v", k.Bans)
		}
	})
}

// While the store fails, who is let in is put together: it is written at once when it is
// back, with the room, and nobody is forgotten.
func TestAdmittedWhileTheStoreFails(t *testing.T) {
	live(t, nil, func(h *house) {
		store := h.store.(*failing)
		store.set(true)
		store.admits.Store(0)
		must(t, h.g.Reload(h.cfg))
		for i := range 100 {
			h.irc.Join(lobby, onIRC(fmt.Sprint("user", i), fmt.Sprint("u", i)))
			h.wait(time.Second)
		}
		store.set(false)
		h.wait(time.Minute)
		k, err := h.store.Load(context.Background())
		must(t, err)
		i := slices.IndexFunc(k.Rooms, func(r guard.RoomState) bool { return r.Room == "lobby" })
		if i < 0 || len(k.Rooms[i].Admitted) != 100 || store.admits.Load() > 3 {
			t.Errorf("room %d of %+v, told %d times", i, k.Rooms, store.admits.Load())
		}
	})
}
