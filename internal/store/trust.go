package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/xmpp/e2ee"
)

// What is known of people's keys lies among the secrets. It is none, but sealed like
// one it cannot be made up, or moved to another person, by who can write to the
// database and has not the master key.
const (
	trustKind = "trust" // owner: person/kind/fingerprint
	smpKind   = "smp"   // owner: person
)

var _ e2ee.TrustKeeper = (*Store)(nil)

// keptKey is a key as it is kept.
type keptKey struct {
	State string    `json:"state"`
	How   e2ee.How  `json:"how"`
	Who   string    `json:"who,omitempty"`
	First time.Time `json:"first,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

func trustOwner(k *e2ee.Key) string {
	return k.Person + "/" + string(k.Kind) + "/" + k.Fingerprint
}

// TrustKeys implements e2ee.TrustKeeper, in the order in which the keys were first
// seen.
func (s *Store) TrustKeys(ctx context.Context) ([]e2ee.Key, error) {
	var out []e2ee.Key
	err := s.eachSecret(ctx, trustKind, func(owner string, value []byte) error {
		var kept keptKey
		if err := json.Unmarshal(value, &kept); err != nil {
			return err
		}
		parts := strings.Split(owner, "/")
		state, ok := e2ee.ParseKeyState(kept.State)
		if len(parts) != 3 || !ok {
			return errors.New("not a key")
		}
		out = append(out, e2ee.Key{
			Person: parts[0], Kind: e2ee.KeyKind(parts[1]), Fingerprint: parts[2],
			State: state, How: kept.How, Who: kept.Who, First: kept.First, Since: kept.Since,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b e2ee.Key) int { return a.First.Compare(b.First) })
	return out, nil
}

// KeepKeys implements e2ee.TrustKeeper.
func (s *Store) KeepKeys(ctx context.Context, keys []e2ee.Key) error {
	return s.w.do(ctx, "trust", func(w *writer) error {
		for i := range keys {
			if err := s.keepKey(w, &keys[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) keepKey(w *writer, k *e2ee.Key) error {
	owner := trustOwner(k)
	if k.State == e2ee.KeyUnknown {
		_, err := w.delSecret.exec(trustKind, owner)
		return err
	}
	value, err := json.Marshal(keptKey{k.State.String(), k.How, k.Who, k.First, k.Since})
	if err != nil {
		return err
	}
	_, err = w.setSecret.exec(trustKind, owner, s.sealSecret(trustKind, owner, value))
	return err
}

// SMPTries implements e2ee.TrustKeeper.
func (s *Store) SMPTries(ctx context.Context) (map[string]e2ee.SMPTries, error) {
	out := map[string]e2ee.SMPTries{}
	err := s.eachSecret(ctx, smpKind, func(person string, value []byte) error {
		var t e2ee.SMPTries
		err := json.Unmarshal(value, &t)
		out[person] = t
		return err
	})
	return out, err
}

// KeepTries implements e2ee.TrustKeeper.
func (s *Store) KeepTries(ctx context.Context, person string, t e2ee.SMPTries) error {
	value, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("store: trust: %w", err)
	}
	return s.SetSecret(ctx, smpKind, person, value)
}

// eachSecret hands out what is kept under kind. One that cannot be opened or read is
// an error: what it said against a key must not be lost in silence.
func (s *Store) eachSecret(ctx context.Context, kind string, use func(owner string, value []byte) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT owner, value FROM secret WHERE kind = ? ORDER BY owner", kind)
	if err != nil {
		return fmt.Errorf("store: read %s: %w", kind, classify(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var owner string
		var sealed []byte
		if err := rows.Scan(&owner, &sealed); err != nil {
			return fmt.Errorf("store: read %s: %w", kind, classify(err))
		}
		value, err := s.openSecret(kind, owner, sealed)
		if err != nil {
			return err
		}
		if err := use(owner, value); err != nil {
			return fmt.Errorf("store: %s of %s: %w: %w", kind, owner, ErrCorrupt, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: read %s: %w", kind, classify(err))
	}
	return nil
}
