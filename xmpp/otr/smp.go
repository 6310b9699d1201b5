package otr

import (
	"fmt"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr/engine"
)

// noSMP is the SMP of a scheme that was given none.
type noSMP struct{}

func (noSMP) BeginSMP(e2ee.Peer, string) ([]byte, func(e2ee.SMPOutcome), error) {
	return nil, nil, e2ee.ErrNoSecret
}

// AskSMP implements e2ee.SMPAsker.
func (s *Scheme) AskSMP(p e2ee.Peer, question string) (e2ee.Payload, error) {
	t := s.latest(p)
	if t == nil {
		return e2ee.Payload{}, fmt.Errorf("otr: no session with %s: %w", p.Bare, e2ee.ErrHandshake)
	}
	defer t.mu.Unlock()
	if t.finish != nil || t.conv.Asking() {
		return e2ee.Payload{}, e2ee.ErrSMPBusy
	}
	secret, end, err := s.smp.BeginSMP(t.asPeer(p), t.fpr)
	if err != nil {
		return e2ee.Payload{}, err
	}
	var msg string
	if perr := s.guarded(t, func() { msg, err = t.conv.Ask(question, secret) }); perr != nil {
		err = perr
	}
	if err != nil {
		end(e2ee.SMPAbandoned)
		return e2ee.Payload{}, fmt.Errorf("otr: ask %s: %w", p.Bare, err)
	}
	t.finish, t.smpAt, t.sent = end, s.now(), s.now()
	return t.payload(msg), nil
}

// latest returns the talk, locked, with the live session that spoke last, whatever
// its key is worth, or that of the peer's resource.
func (s *Scheme) latest(p e2ee.Peer) (best *talk) {
	var last turn
	for _, t := range s.of(p.Bare) {
		t.mu.Lock()
		if t.live() && (p.Resource == "" || p.Resource == t.resource) && (best == nil || t.turn().after(last)) {
			best, last = t, t.turn()
		}
		t.mu.Unlock()
	}
	if best == nil {
		return nil
	}
	best.mu.Lock()
	if !best.live() {
		best.mu.Unlock()
		return nil
	}
	return best
}

// event handles what a data message brought besides text, and returns what to
// answer.
func (s *Scheme) event(t *talk, res engine.Result, run e2ee.SMPOutcome, changes *[]e2ee.Change, now time.Time) []e2ee.Payload {
	switch res.Event {
	case engine.PeerEnded:
		t.endSMP(run)
		t.fpr, t.ended = "", true
		t.asked, t.pause = now, askAgain // they may want to be alone for a while
		*changes = append(*changes, e2ee.Ended)
		s.log.Info("the peer ended the session", "leg", s.account, "from", t.peer.Bare, "scheme", Name)
	case engine.SMPAsked:
		return s.answer(t, res.Fingerprint, now)
	case engine.SMPMatched:
		t.endSMP(e2ee.SMPMatched)
		*changes = append(*changes, e2ee.Established) // its key may reach more now
	case engine.SMPFailed:
		t.endSMP(e2ee.SMPFailed)
	case engine.SMPAbandoned:
		t.endSMP(e2ee.SMPAbandoned)
	}
	return nil
}

// answer answers the question of the peer with that key with the person's secret,
// or ends the run.
func (s *Scheme) answer(t *talk, fpr string, now time.Time) []e2ee.Payload {
	if t.finish != nil { // a run with another instance is under way
		return s.refuse(t)
	}
	secret, end, err := s.smp.BeginSMP(t.asPeer(t.peer), fpr)
	if err != nil {
		s.log.Info("the shared secret was asked for, and not given", "leg", s.account, "from", t.peer.Bare, "err", err)
		return s.refuse(t)
	}
	t.finish, t.smpAt = end, now
	msg, err := t.conv.Answer(secret)
	if err != nil {
		t.endSMP(broken(t.conv.Exposed()))
		return nil
	}
	return []e2ee.Payload{t.payload(msg)}
}

// refuse ends the run that the peer has begun.
func (s *Scheme) refuse(t *talk) []e2ee.Payload {
	msg, err := t.conv.Abort()
	if err != nil {
		return nil
	}
	return []e2ee.Payload{t.payload(msg)}
}
