package otr

import (
	"context"
	"fmt"

	"drawbridge/xmpp/e2ee"
)

// Seal implements e2ee.Scheme. Errors: ErrHandshake while there is no session, with
// the query to send where one is due; ErrTooLarge; and those of Trust for a key
// that must not be used.
func (s *Scheme) Seal(ctx context.Context, p e2ee.Peer, text e2ee.Plain) (e2ee.Payload, error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Payload{}, err
	}
	t, rung, err := s.pick(p)
	if err == nil {
		pay, err := s.seal(t, p, text.Reveal())
		pay.Rung = rung
		return pay, err
	}
	if t := s.ask(p); t != nil {
		defer t.mu.Unlock()
		return t.payload(query), fmt.Errorf("otr: no session with %s: %w", p.Bare, err)
	}
	return e2ee.Payload{}, fmt.Errorf("otr: no session with %s: %w", p.Bare, err)
}

func (s *Scheme) seal(t *talk, p e2ee.Peer, text string) (e2ee.Payload, error) {
	if len(text) > maxText {
		return e2ee.Payload{}, fmt.Errorf("%w: %d bytes for OTR, at most %d", e2ee.ErrTooLarge, len(text), maxText)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live() { // it ended since it was picked
		return e2ee.Payload{}, fmt.Errorf("otr: no session with %s: %w", p.Bare, e2ee.ErrHandshake)
	}
	msg, err := s.write(t, text)
	if err != nil {
		return e2ee.Payload{}, err
	}
	return t.payload(msg), nil
}

// write seals text as the client wants it.
func (s *Scheme) write(t *talk, text string) (msg string, err error) {
	text = encode(s.formatOf(t), text)
	if perr := s.guarded(t, func() { msg, err = t.conv.Send([]byte(text)) }); perr != nil {
		err = perr
	}
	if err != nil {
		return "", fmt.Errorf("otr: seal for %s: %w: %w", t.peer.Bare, e2ee.ErrHandshake, err)
	}
	t.sent = s.now()
	return msg, nil
}

// formatOf returns how the client of a talk writes: as configured, by its name, or
// as it showed last; literal if nothing is known.
func (s *Scheme) formatOf(t *talk) Format {
	for _, f := range []Format{s.format(t.peer.Person), t.client, t.shown} {
		if f != FormatAuto {
			return f
		}
	}
	return FormatLiteral
}

// ask notes that something waits for a session with the peer, and returns the
// talk, locked, that a query is to go to now: the resource that the leg writes to,
// else any that is there. Due asks the others.
func (s *Scheme) ask(p e2ee.Peer) *talk {
	if p.Resource != "" {
		if t, err := s.open(p); err == nil {
			t.here = true
			t.mu.Unlock()
		}
	}
	var to *talk
	now := s.now()
	for _, t := range s.of(p.Bare) {
		t.mu.Lock()
		t.wants = true
		ok := !t.dead && t.here && !t.live() && !t.busy(now) && s.starts() != StartPeer
		if ok && (to == nil || t.resource == p.Resource) {
			to = t
		}
		t.mu.Unlock()
	}
	if to == nil {
		return nil
	}
	to.mu.Lock()
	if to.dead || to.live() || !to.mayAsk(now) {
		to.mu.Unlock()
		return nil
	}
	return to
}
