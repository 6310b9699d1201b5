package move

import (
	"context"
	"sync"
)

// turns has each conversation go on one line at a time, and none wait for another: a
// server that does not answer holds up who asked it alone.
type turns struct {
	mu sync.Mutex // guards by and each wanted
	by map[string]*gate
}

// gate is one conversation that goes on now.
type gate struct {
	full   chan struct{} // holds one element while somebody is in
	wanted int           // how many are in, or wait
}

// enter waits until the conversation is free; leave ends the turn. ok is false where ctx
// ended before.
func (t *turns) enter(ctx context.Context, id string) (leave func(), ok bool) {
	t.mu.Lock()
	g := t.by[id]
	if g == nil {
		g = &gate{full: make(chan struct{}, 1)}
		t.by[id] = g
	}
	g.wanted++
	t.mu.Unlock()
	done := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if g.wanted--; g.wanted == 0 {
			delete(t.by, id)
		}
	}
	select {
	case g.full <- struct{}{}:
		return func() { <-g.full; done() }, true
	case <-ctx.Done():
		done()
		return nil, false
	}
}
