package otr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr/engine"
)

// What the bot says inside of a session by itself.
const pleaseRepeat = "Your last message could not be read: the encrypted session it belonged to is gone. Please send it again."

// delayedFor is how old a message may be that was kept on its way: what a resumed
// stream brings again belongs to the session; what was kept while we were away does
// not, and what is older is never opened.
const delayedFor = 5 * time.Minute

// Open implements e2ee.Scheme. Opened.Reply and Opened.Changes count with an error,
// too. Errors: ErrHandshake for a message of a session that is not there any more,
// ErrOffline for one that was kept on its way, ErrReplay, ErrClear for text in
// clear inside of a session, ErrMalformed, ErrTooLarge, and those of Trust.
func (s *Scheme) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	if err := ctx.Err(); err != nil {
		return e2ee.Opened{}, err
	}
	if len(in.Body) > maxAssembly {
		return e2ee.Opened{}, fmt.Errorf("%w: OTR message", e2ee.ErrTooLarge)
	}
	b := parse(in.Body)
	if b.form == formPlain {
		return e2ee.Opened{}, fmt.Errorf("%w: no OTR message", e2ee.ErrMalformed)
	}
	t, err := s.open(p)
	if err != nil {
		return e2ee.Opened{}, err
	}
	defer t.mu.Unlock()
	now := s.now()
	if !in.Delayed {
		t.here = true
	}
	switch b.form {
	case formTagged:
		return s.tagged(t, b, in, now)
	case formQuery:
		return s.queried(t, b, in, now), nil
	case formError:
		return s.failed(t, in, now), nil
	case formFragment:
		if b.to != 0 && b.to != s.key.Tag() {
			return silent(), nil // for another client by our account
		}
		whole, err := t.parts.add(b, now)
		if err != nil || whole == "" {
			return silent(), err
		}
		return s.encoded(t, whole, in, now)
	default:
		return s.encoded(t, b.text, in, now)
	}
}

func silent() e2ee.Opened { return e2ee.Opened{Silent: true} }

// tagged handles text in clear that says its client has OTR.
func (s *Scheme) tagged(t *talk, b body, in e2ee.Incoming, now time.Time) (e2ee.Opened, error) {
	if t.live() && !in.Delayed {
		return e2ee.Opened{}, fmt.Errorf("otr: from %s: %w", t.peer.Bare, e2ee.ErrClear)
	}
	o := e2ee.NewOpened(b.text, policy.Clear, "")
	o.Silent = b.text == ""
	if b.version != 0 && !in.Delayed {
		o.Reply = s.begin(t, b.version, now)
	}
	return o, nil
}

// queried handles a query.
func (s *Scheme) queried(t *talk, b body, in e2ee.Incoming, now time.Time) e2ee.Opened {
	o := silent()
	if b.version != 0 && !in.Delayed {
		o.Reply = s.begin(t, b.version, now)
	}
	return o
}

// begin answers somebody who wants a session.
func (s *Scheme) begin(t *talk, version byte, now time.Time) []e2ee.Payload {
	if !t.mayShake(now) {
		return nil
	}
	var msg string
	if err := s.guarded(t, func() { msg = t.conv.Commit(version) }); err != nil {
		return nil
	}
	t.asked, t.shook = now, now
	return []e2ee.Payload{t.payload(msg)}
}

// failed handles an error message: the peer could not read us. Nobody vouches for
// it; believing it costs a handshake, at most once in a while.
func (s *Scheme) failed(t *talk, in e2ee.Incoming, now time.Time) e2ee.Opened {
	o := silent()
	if in.Delayed {
		return o
	}
	t.stale = t.conv.Established()
	o.Changes = []e2ee.Change{e2ee.Lost}
	if !t.busy(now) && t.mayAsk(now) {
		o.Reply = []e2ee.Payload{t.payload(query)}
	}
	s.log.Info("the peer could not read us; asking for a new session", "leg", s.account, "from", t.peer.Bare, "scheme", Name)
	return o
}

// encoded handles a whole message of a handshake or a session.
func (s *Scheme) encoded(t *talk, msg string, in e2ee.Incoming, now time.Time) (o e2ee.Opened, err error) {
	data := engine.IsData(msg)
	switch {
	case !data && in.Delayed:
		return silent(), nil
	case !data && !t.mayShake(now):
		return silent(), fmt.Errorf("%w: OTR handshakes", e2ee.ErrTooLarge)
	case data && in.Delayed && (!t.conv.Established() || in.Stamp.Before(t.since) || now.Sub(in.Stamp) > delayedFor):
		return s.unreadable(t, e2ee.ErrOffline, now)
	}
	if !data {
		t.shook = now
	}
	exposed := broken(t.conv.Exposed())
	var res engine.Result
	if perr := s.guarded(t, func() { res, err = t.conv.Receive(msg) }); perr != nil {
		o, _ := s.unreadable(t, perr, now)
		o.Changes = []e2ee.Change{e2ee.Lost}
		return o, perr
	}
	o.Reply = t.payloads(res.Reply)
	switch {
	case err == nil && res.Event == engine.NewSession:
		s.established(t, &o, res, exposed, now)
		return o, nil
	case errors.Is(err, engine.ErrElsewhere):
		return silent(), nil
	case err == nil && !res.Data:
		o.Silent = true
		return o, nil
	case err == nil:
		return s.opened(t, o, res, exposed, in, now)
	case errors.Is(err, engine.ErrReplay):
		if t.knows(in.ID) {
			return e2ee.Opened{Silent: true, Redelivered: true}, nil
		}
		return o, fmt.Errorf("otr: from %s: %w", t.peer.Bare, e2ee.ErrReplay)
	case data && (errors.Is(err, engine.ErrNoSession) || errors.Is(err, engine.ErrUnreadable)):
		if t.knows(in.ID) { // its keys are gone since
			return e2ee.Opened{Silent: true, Redelivered: true}, nil
		}
		return s.unreadable(t, fmt.Errorf("%w: %w", e2ee.ErrHandshake, err), now)
	case errors.Is(err, engine.ErrIgnorable):
		if !t.live() && !t.busy(now) && t.mayAsk(now) { // it has a session, and we have not
			o.Reply = []e2ee.Payload{t.payload(query)}
		}
		o.Silent = true
		return o, nil
	}
	o.Silent = true
	return o, fmt.Errorf("otr: from %s: %w: %w", t.peer.Bare, e2ee.ErrMalformed, err)
}

// unreadable handles a message of a session that is not ours any more: its sender
// is asked for it again, once a minute, by a query and then inside of the session.
func (s *Scheme) unreadable(t *talk, why error, now time.Time) (e2ee.Opened, error) {
	var o e2ee.Opened
	if t.told.IsZero() || now.Sub(t.told) >= repeatEvery {
		t.told, t.repeat = now, true
		switch {
		case t.busy(now):
		case t.live() && errors.Is(why, e2ee.ErrOffline):
			s.askToRepeat(t, &o)
		default:
			t.asked = now
			o.Reply = []e2ee.Payload{t.payload(query)}
		}
	}
	return o, fmt.Errorf("otr: from %s: %w", t.peer.Bare, why)
}

// established handles the end of a handshake.
func (s *Scheme) established(t *talk, o *e2ee.Opened, res engine.Result, run e2ee.SMPOutcome, now time.Time) {
	if !t.conv.Asking() { // the run, if there was one, was of the session before
		t.endSMP(run)
	}
	rung, err := s.trust.Meet(t.asPeer(t.peer), e2ee.KeyOTR, res.Fingerprint)
	s.log.Info("session", "leg", s.account, "from", t.peer.Bare, "scheme", Name, "fpr", res.Fingerprint, "rung", rung.String(), "instance", res.Instance, "err", err)
	o.Silent = true
	s.prefer(t, res)
	if t.conv.Instance() != res.Instance {
		return // of another client, whose key must not be used: ours goes on
	}
	t.since, t.heard = now, now
	t.stale, t.wants, t.ended, t.here = false, false, false, true
	t.asked, t.pause = time.Time{}, 0
	o.Changes = append(o.Changes, e2ee.Established)
	if t.repeat {
		s.askToRepeat(t, o)
	}
}

// prefer takes the instance in use that spoke last, unless that would take the talk
// from one whose key may be used to one whose may not.
func (s *Scheme) prefer(t *talk, res engine.Result) {
	if res.Instance != t.conv.Instance() {
		_, now := s.trust.Rung(t.asPeer(t.peer), e2ee.KeyOTR, t.conv.Fingerprint())
		_, then := s.trust.Rung(t.asPeer(t.peer), e2ee.KeyOTR, res.Fingerprint)
		if now != nil || then == nil {
			t.conv.Use(res.Instance)
		}
	}
	t.fpr = t.conv.Fingerprint()
}

// askToRepeat says inside of the session that a message was lost with another one,
// if its key may hear us.
func (s *Scheme) askToRepeat(t *talk, o *e2ee.Opened) {
	t.repeat = false
	if _, err := s.trust.Rung(t.asPeer(t.peer), e2ee.KeyOTR, t.fpr); err != nil {
		return
	}
	if msg, err := s.write(t, pleaseRepeat); err == nil {
		o.Reply = append(o.Reply, t.payload(msg))
	}
}

// opened handles a data message that the session has proven to be the peer's.
func (s *Scheme) opened(t *talk, o e2ee.Opened, res engine.Result, run e2ee.SMPOutcome, in e2ee.Incoming, now time.Time) (e2ee.Opened, error) {
	t.remember(in.ID)
	changes := o.Changes
	same := res.Instance == t.conv.Instance()
	if !res.Old {
		s.prefer(t, res)
	}
	if !res.Old && res.Instance == t.conv.Instance() {
		t.heard, t.pause = now, 0
		if len(res.Text) > 0 {
			t.spoke = now
		}
		if t.stale { // it kept the session after all
			t.stale = false
			changes = append(changes, e2ee.Established)
		}
		if same { // another client says nothing of what this one got
			changes = append(changes, e2ee.Proven)
		}
	}
	replies := append(o.Reply, s.event(t, res, run, &changes, now)...)
	rung, err := s.trust.Rung(t.asPeer(t.peer), e2ee.KeyOTR, res.Fingerprint)
	text := ""
	if err == nil {
		text = s.read(t, string(res.Text))
	}
	out := e2ee.NewOpened(text, rung, res.Fingerprint)
	out.Reply, out.Changes, out.Silent = replies, changes, len(res.Text) == 0
	if err != nil && len(res.Text) > 0 {
		return out, fmt.Errorf("otr: from %s: %w", t.peer.Bare, err)
	}
	if len(text) > maxText {
		return out, fmt.Errorf("%w: OTR message", e2ee.ErrTooLarge)
	}
	if t.live() && len(res.Text) > 0 && len(replies) == 0 && now.Sub(later(t.sent, t.since)) >= heartbeatAfter {
		if msg, err := t.conv.Heartbeat(); err == nil { // so that the peer's keys go on
			t.sent = now
			out.Reply = append(out.Reply, t.payload(msg))
		}
	}
	return out, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// read makes text of a payload, as its client wrote it.
func (s *Scheme) read(t *talk, payload string) string {
	if f := guess(payload); f != FormatAuto {
		t.shown = f
	}
	if s.formatOf(t) == FormatHTML {
		return unescape(payload)
	}
	return payload
}
