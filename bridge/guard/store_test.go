package guard_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// badStore fails while it is told to.
type badStore struct {
	guard.Store
	mu  sync.Mutex
	bad bool
}

func (s *badStore) fail(yes bool) { s.mu.Lock(); s.bad = yes; s.mu.Unlock() }

func (s *badStore) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad {
		return errors.New("disk full")
	}
	return nil
}

func (s *badStore) Append(ctx context.Context, acts []*guard.Act) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Append(ctx, acts)
}

func (s *badStore) PutRoom(ctx context.Context, r guard.RoomState) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.PutRoom(ctx, r)
}

func (s *badStore) PutBan(ctx context.Context, b policy.BanRecord) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.PutBan(ctx, b)
}

func (s *badStore) Acts(ctx context.Context, q guard.Query) iter.Seq2[guard.Act, error] {
	return s.Store.Acts(ctx, q)
}

// The store fails: what has to be done is done, the admins are told, and the audit is
// whole once it is back.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		bad := &badStore{Store: guard.NewMemory()}
		h.store = bad
		h.start()
		defer func() { h.stop() }()
		h.ready()
		bad.fail(true)
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
		bad.fail(false)
		h.wait(time.Minute)
		h.has("audit", h.acts(guard.Query{}), "eve!eve@eve.example deny : sent", "bob ban")
		if k, _ := bad.Load(context.Background()); len(k.Bans) != 1 {
			t.Errorf("kept: %+v", k.Bans)
		}
	})
}
