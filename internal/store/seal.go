package store

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// This file alone looks into message text: it seals it before it goes to the
// disk, and makes a bridge.Text of it again.

const (
	bodyVersion = 1
	maxBody     = 16 << 20
)

const (
	flagDelayed = 1 << iota
	flagSaid    // a time follows
)

var errBody = errors.New("store: a sealed body is not what it should be")

// bodyAD binds a body to its table, store, key, destination and row: moved to
// another place it does not open.
func (s *Store) bodyAD(r *bridge.Row, key int64) []byte {
	ad := make([]byte, 0, 160)
	ad = append(ad, "outbox\x00"...)
	ad = append(ad, s.id...)
	ad = binary.AppendVarint(ad, key)
	ad = appendRoom(ad, r.To)
	ad = appendRoom(ad, r.From)
	ad = appendString(ad, r.ID)
	ad = appendString(ad, r.Bridge)
	return binary.AppendVarint(ad, nanos(r.Queued))
}

// sealRow seals what was said, by whom and when.
func (s *Store) sealRow(k *dayKey, r *bridge.Row) []byte {
	text := r.Text.Reveal()
	size := len(text) + len(r.Name) + len(r.Person) + 32
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+size+k.aead.Overhead())
	_, _ = rand.Read(out) // never fails (Go 1.24)
	plain := make([]byte, 0, size)
	flags := byte(0)
	if r.Delayed {
		flags |= flagDelayed
	}
	if !r.Said.IsZero() {
		flags |= flagSaid
	}
	plain = append(plain, bodyVersion, byte(r.Kind), byte(r.Rung), byte(r.Floor.In), byte(r.Floor.Out), flags)
	if !r.Said.IsZero() {
		plain = binary.AppendVarint(plain, r.Said.UnixNano())
	}
	plain = appendString(plain, r.Person)
	plain = appendString(plain, r.Name)
	plain = append(plain, text...)
	out = k.aead.Seal(out, out, plain, s.bodyAD(r, k.id))
	clear(plain)
	return out
}

// openRow fills in what sealRow sealed. Every other field of r is set already.
func (s *Store) openRow(k *dayKey, r *bridge.Row, sealed []byte) error {
	if len(sealed) < chacha20poly1305.NonceSizeX || len(sealed) > maxBody {
		return errBody
	}
	nonce, ct := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := k.aead.Open(nil, nonce, ct, s.bodyAD(r, k.id))
	if err != nil {
		return errBody
	}
	defer clear(plain)
	return readBody(plain, r)
}

// readBody reads the plain form of a body into r.
func readBody(b []byte, r *bridge.Row) error {
	if len(b) < 6 || b[0] != bodyVersion {
		return errBody
	}
	kind, rung, flags := bridge.RowKind(b[1]), policy.Rung(b[2]), b[5]
	floor := policy.Floor{In: policy.Rung(b[3]), Out: policy.Rung(b[4])}
	if kind < bridge.RowSay || kind > bridge.RowGap || flags&^(flagDelayed|flagSaid) != 0 ||
		max(rung, floor.In, floor.Out) > policy.Verified {
		return errBody
	}
	b = b[6:]
	var said time.Time
	if flags&flagSaid != 0 {
		ns, n := binary.Varint(b)
		if n <= 0 {
			return errBody
		}
		said, b = time.Unix(0, ns), b[n:]
	}
	person, b, ok := cutString(b)
	if !ok {
		return errBody
	}
	name, b, ok := cutString(b)
	if !ok || !utf8.Valid(b) {
		return errBody
	}
	r.Kind, r.Rung, r.Floor, r.Delayed, r.Said = kind, rung, floor, flags&flagDelayed != 0, said
	r.Person, r.Name, r.Text = person, name, bridge.NewText(string(b))
	return nil
}

// sealSecret and openSecret keep what the table secret holds.
func (s *Store) sealSecret(kind, owner string, value []byte) []byte {
	return sealWith(s.master.secret, s.secretAD(kind, owner), value)
}

func (s *Store) openSecret(kind, owner string, sealed []byte) ([]byte, error) {
	v, err := openWith(s.master.secret, s.secretAD(kind, owner), sealed)
	if err != nil {
		return nil, fmt.Errorf("store: secret %s of %s: %w", kind, owner, err)
	}
	return v, nil
}

func (s *Store) secretAD(kind, owner string) []byte {
	return appendString(appendString(append([]byte("secret\x00"), s.id...), kind), owner)
}

// sealWith seals value under a random nonce, which comes first.
func sealWith(a cipher.AEAD, ad, value []byte) []byte {
	out := make([]byte, a.NonceSize(), a.NonceSize()+len(value)+a.Overhead())
	_, _ = rand.Read(out) // never fails (Go 1.24)
	return a.Seal(out, out, value, ad)
}

func openWith(a cipher.AEAD, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < a.NonceSize() {
		return nil, errBody
	}
	v, err := a.Open(nil, sealed[:a.NonceSize()], sealed[a.NonceSize():], ad)
	if err != nil {
		return nil, errBody
	}
	return v, nil
}

func appendRoom(b []byte, r bridge.Room) []byte {
	return appendString(append(appendString(b, r.Leg), byte(r.Kind)), r.Name)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, false
	}
	b = b[w:]
	return string(b[:n]), b[n:], true
}

// nanos is t for the database; the zero time is 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
