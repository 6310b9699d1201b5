package bridge

import (
	"context"
	"sync"
)

// Core joins the rooms of its bridges. Make one with New.
type Core struct {
	mu  sync.Mutex // guards cfg
	cfg Config
	d   Deps
}

// New checks c and returns a core that is not running yet. Errors wrap
// ErrConfig and name everything that is wrong.
func New(c Config, d Deps) (*Core, error) {
	return &Core{cfg: c, d: d}, nil
}

// Run starts the legs and relays until ctx ends, then stops in order: intake,
// dispatcher, outboxes (drained for at most DrainTime), legs. What the journal
// does not keep goes back to the sender's side. It fails when every leg ended
// by itself. A second call is an error.
func (c *Core) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Reload changes to cfg while Run is running, whole or not at all. Legs and
// rooms that are in both configs are not disturbed; what waited for a removed
// room goes back to the sender's side.
func (c *Core) Reload(cfg Config) (Diff, error) {
	return Diff{}, nil
}

// Status returns a snapshot. It may be called at any time.
func (c *Core) Status() Status {
	return Status{}
}
