package store

import (
	"context"
	"encoding/binary"
	"fmt"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
)

// The parts of what a Replay gives out: two HMACs of 16 bytes and a time.
const (
	seenMark   = 16
	seenSender = 32
)

// Replay returns a memory of replays that knows what the entries of this and
// earlier runs brought in their Seen, back to RetainIDs ago, at most size. It
// learns nothing from the store later: one is enough for a process.
func (s *Store) Replay(ctx context.Context, size int) (e2ee.Replay, error) {
	c, err := s.replay(ctx, size)
	if err != nil {
		return nil, fmt.Errorf("store: replays: %w", classify(err))
	}
	return c, nil
}

func (s *Store) replay(ctx context.Context, size int) (*e2ee.ReplayCache, error) {
	raw, err := s.Secret(ctx, "hmac", "replay")
	if err != nil {
		return nil, err
	}
	var key [32]byte
	if copy(key[:], raw) != len(key) {
		return nil, fmt.Errorf("%w: a key is missing", ErrCorrupt)
	}
	clear(raw)
	if size <= 0 {
		size = e2ee.DefaultReplaySize
	}
	c := e2ee.OpenReplayCache(s.retain, size, key)
	rows, err := s.read.QueryContext(ctx, "SELECT mark, sender, at FROM replay WHERE at >= ? ORDER BY at", s.now().Add(-s.retain).Unix())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var mark, sender []byte
		var at int64
		if err := rows.Scan(&mark, &sender, &at); err != nil {
			return nil, err
		}
		seen := append(append(make([]byte, 0, e2ee.SeenSize), mark...), sender...)
		c.Know(binary.BigEndian.AppendUint64(seen, uint64(at)*1e9))
	}
	return c, rows.Err()
}

// addSeen keeps what e brought for the memory of replays.
func (w *writer) addSeen(e *bridge.Entry) error {
	if len(e.Seen) != e2ee.SeenSize {
		return nil
	}
	at := int64(binary.BigEndian.Uint64(e.Seen[seenSender:])) / 1e9
	_, err := w.addReplay.exec(e.Seen[:seenMark], e.Seen[seenMark:seenSender], at)
	return err
}
