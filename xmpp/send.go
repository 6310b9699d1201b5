package xmpp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

var errTooLarge = errors.New("xmpp: the message is too large for one stanza")

// Send puts m on the wire. The proof of a chat is the server's acknowledgement
// (XEP-0198), or its answer to a ping behind the message; of a room's message
// the reflection.
func (l *Leg) Send(ctx context.Context, m bridge.Outgoing) error {
	_, err := l.SendAll(ctx, []bridge.Outgoing{m})
	return err
}

// SendAll puts ms on the wire in one write, which is one TLS record for the
// server to open, and one turn in which it serves the others in a room.
func (l *Leg) SendAll(ctx context.Context, ms []bridge.Outgoing) (n int, err error) {
	s := l.session()
	if s == nil {
		return 0, bridge.ErrNotReady
	}
	paced, err := s.turn(ctx)
	if err != nil {
		return 0, err
	}
	if paced {
		ms = ms[:1]
	}
	switch to := ms[0].To; to.Kind {
	case bridge.Chat:
		return s.sendChat(ctx, ms)
	case bridge.MUC:
		return s.sendRoom(ctx, ms)
	default:
		return 0, fmt.Errorf("xmpp: send: %s is no room of this leg", to)
	}
}

// sendChat sends the messages that could be sealed before one that could not.
func (s *session) sendChat(ctx context.Context, ms []bridge.Outgoing) (n int, err error) {
	s.leg.mu.Lock()
	c := s.leg.people[ms[0].To.Name]
	s.leg.mu.Unlock()
	s.leg.inTurn(c, func() { n, err = s.sendChatNow(ctx, c, ms) })
	return n, err
}

func (s *session) sendChatNow(ctx context.Context, c *contact, ms []bridge.Outgoing) (int, error) {
	p, to, err := s.addressee(ms[0].To.Name)
	if err != nil || c == nil { // a reload adds them just now
		return 0, cmp.Or(err, bridge.ErrNotReady)
	}
	made, err := s.chatMessages(ctx, p, to, ms)
	if len(made) == 0 {
		return 0, err
	}
	ms = ms[:len(made)]
	now := time.Now()
	msgs := make([]*element.Element, 0, len(made)+1) // and a request for acknowledgement
	for i := range made {
		msgs = append(msgs, made[i].msg)
		if made[i].session {
			c.unread.sent(ms[i].ID, made[i].msg.Get("to"), now)
		}
		c.kept.Store(!made[i].session)
	}
	if s.st().SM() && s.proofs.request(now) {
		msgs = append(msgs, stream.AckRequest()) // in one write
	}
	last, werr := s.st().Send(msgs...)
	if werr != nil {
		if !s.unsent(ms, werr) {
			return 0, bridge.ErrNotReady
		}
		return len(ms), err
	}
	s.lastSent.Store(now.UnixNano())
	ask := false
	first := last - uint64(len(ms)) + 1
	for i := range ms {
		ask = s.proofs.chat(waiting{room: ms[i].To, id: ms[i].ID, seq: first + uint64(i), sent: now, session: made[i].session}) || ask
	}
	if ask {
		s.wantAck()
	}
	return len(ms), err
}

// made is a message to a contact, ready to be written.
type made struct {
	msg *element.Element
	sealing
}

// sealing is how a text went into a message.
type sealing struct {
	carried bool // the request for a receipt is inside of the encryption
	session bool // a session of one resource can read it, and nothing else
}

// chatMessages makes the stanzas of the messages that come before one that cannot
// be sent, and says why that is so. Where the scheme allows it, all cores seal.
func (s *session) chatMessages(ctx context.Context, p e2ee.Peer, to string, ms []bridge.Outgoing) ([]made, error) {
	msgs := make([]made, len(ms))
	errs := make([]error, len(ms))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(ms); i = int(next.Add(1)) - 1 {
			errs[i] = errSchemePanic
			s.guard("send", func() { msgs[i], errs[i] = s.chatMessage(ctx, p, to, &ms[i]) })
			if errs[i] != nil {
				next.Store(int64(len(ms))) // what comes behind it stays here
			}
		}
	}
	var wg sync.WaitGroup
	if s.unordered(p, ms) {
		for range min(s.leg.deps.Cores, len(ms)) - 1 {
			wg.Go(work)
		}
	}
	work()
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return msgs[:i], err
		}
	}
	return msgs, nil
}

// unordered reports whether no scheme minds in which order ms are sealed.
func (s *session) unordered(p e2ee.Peer, ms []bridge.Outgoing) bool {
	for i := range ms {
		if scheme, _, err := s.choose(ms[i], p); err == nil {
			if _, ok := scheme.(e2ee.Unordered); !ok {
				return false
			}
		}
	}
	return len(ms) > 1
}

func (s *session) chatMessage(ctx context.Context, p e2ee.Peer, to string, m *bridge.Outgoing) (made, error) {
	msg := element.New(nsClient, "message", "to", to, "type", "chat", "id", m.ID)
	how, err := s.body(ctx, msg, p, *m)
	if err != nil {
		return made{}, err
	}
	msg.Add(element.New(nsSID, "origin-id", "id", m.ID))
	if !how.carried {
		msg.Add(element.New(nsReceipts, "request"))
	}
	s.stamp(msg, m)
	return made{msg, how}, s.fits(msg)
}

// stamp tells when a line that waited long was said (XEP-0203). Beside an encrypted
// one it tells the server the time, and nothing else.
func (s *session) stamp(msg *element.Element, m *bridge.Outgoing) {
	if m.Late {
		msg.Add(element.New(nsDelay, "delay", "from", s.bare, "stamp", m.Said.UTC().Format(placeFormat)))
	}
}

// unsent deals with a failed write of ms. It reports false if nothing of it has
// left; else part of it may have, and all of ms are put in doubt.
func (s *session) unsent(ms []bridge.Outgoing, err error) bool {
	if isClosed(err) {
		return false
	}
	for i := range ms {
		s.leg.log.Debug("write failed", "leg", s.leg.name, "id", ms[i].ID, "err", err)
		s.proofs.prove(bridge.Proof{Room: ms[i].To, ID: ms[i].ID, Outcome: bridge.Doubt})
	}
	return true
}

// addressee returns whom to write to: the resource that spoke last, while it is
// there and no other showed itself since (RFC 6121 §5.1), else the bare JID.
func (s *session) addressee(name string) (p e2ee.Peer, to string, err error) {
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.people[name]
	if c == nil || len(c.resources) == 0 || s.reading { // a reload tells the core first of a new person
		return p, "", bridge.ErrNotReady
	}
	p = e2ee.Peer{Account: l.name, Self: s.bare, Person: c.person}
	if r := c.resources[c.last]; r != nil {
		p.Bare = r.bare
		p.Resource = strings.TrimPrefix(c.last, r.bare+"/")
		return p, c.last, nil
	}
	for _, j := range c.person.JIDs {
		bare, _ := splitJID(j)
		for _, r := range c.resources {
			if r.bare == bare && (p.Bare == "" || bare == c.lastBare) {
				p.Bare = bare
			}
		}
	}
	p.Resource = c.foremost(p.Bare)
	return p, p.Bare, nil
}

// foremost is the resource of bare to begin a session with while none has spoken:
// the one of the highest priority, of several the one that came last. l.mu is held.
func (c *contact) foremost(bare string) string {
	best := ""
	for full, r := range c.resources {
		if r.bare != bare {
			continue
		}
		b := c.resources[best]
		if b == nil || cmp.Or(cmp.Compare(r.priority, b.priority), r.came.Compare(b.came), cmp.Compare(best, full)) > 0 {
			best = full
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(best, bare), "/")
}

// body seals the text of m into msg, or writes it in clear where that is
// licensed and no scheme can be used.
func (s *session) body(ctx context.Context, msg *element.Element, p e2ee.Peer, m bridge.Outgoing) (how sealing, err error) {
	p.Floor = m.Floor
	scheme, _, err := s.choose(m, p)
	if err != nil {
		if m.Floor == policy.Clear && m.Clear.Licenses(m.To) {
			b, err := clearBody(m)
			if err != nil {
				return how, err
			}
			msg.Add(b)
			return how, nil
		}
		return how, held(err)
	}
	var pay e2ee.Payload
	pay, how.carried, err = s.carry(ctx, scheme, p, &m)
	switch {
	case err == nil && pay.Rung < m.Floor: // the better key was revoked since choose
		return how, held(fmt.Errorf("%w: reaches only %s", e2ee.ErrFloor, pay.Rung))
	case err == nil:
		addPayload(msg, pay)
		if pay.Resource != "" {
			msg.Set("to", p.Bare+"/"+pay.Resource)
		}
		how.session = isSession(scheme)
		return how, nil
	case errors.Is(err, e2ee.ErrHandshake):
		if len(pay.Children) > 0 || pay.Body != "" {
			s.handshake(p, pay)
		}
		return how, held(err)
	case errors.Is(err, e2ee.ErrTooLarge), errors.Is(err, errSchemePanic):
		return how, fmt.Errorf("xmpp: send to %s by %s: %w", m.To.Name, scheme.Name(), err)
	case ctx.Err() != nil:
		return how, ctx.Err()
	}
	return how, held(err)
}

func held(err error) *bridge.HoldError {
	return &bridge.HoldError{Reason: reason(err), Err: err, Soon: errors.Is(err, e2ee.ErrHandshake) || errors.Is(err, e2ee.ErrAsking)}
}

func reason(err error) string {
	return printable(strings.ReplaceAll(err.Error(), "e2ee: ", ""), 300)
}

func (s *session) choose(m bridge.Outgoing, p e2ee.Peer) (scheme e2ee.Scheme, rung policy.Rung, err error) {
	err = errSchemePanic
	s.guard("choose", func() { scheme, rung, err = e2ee.Choose(s.leg.deps.Schemes, m.Schemes, m.Floor, p) })
	return scheme, rung, err
}

func (s *session) seal(ctx context.Context, scheme e2ee.Scheme, p e2ee.Peer, text e2ee.Plain) (pay e2ee.Payload, err error) {
	err = errSchemePanic
	s.guard("seal", func() { pay, err = scheme.Seal(ctx, p, text) })
	return pay, err
}

// addPayload adds what a scheme made, with its name (XEP-0380) and hints (XEP-0334).
func addPayload(msg *element.Element, pay e2ee.Payload) {
	if pay.Body != "" {
		msg.Add(element.New(nsClient, "body").SetText(pay.Body))
	}
	msg.Add(pay.Children...)
	if pay.EME != "" {
		msg.Add(element.New(nsEME, "encryption", "namespace", pay.EME))
	}
	if pay.Store {
		msg.Add(element.New(nsHints, "store"))
	} else {
		msg.Add(element.New(nsHints, "no-store"))
	}
	if pay.NoCopy {
		msg.Add(element.New(nsHints, "no-copy"), element.New(nsCarbons, "private"))
	}
}

// handshake sends what a scheme wants to go to the peer at once. It is written
// here and now, so that no message sealed later overtakes it.
func (s *session) handshake(p e2ee.Peer, pay e2ee.Payload) {
	msg := letter(p, pay)
	if msg == nil {
		msg = element.New(nsClient, "message", "to", p.Bare, "type", "chat")
		addPayload(msg, pay)
	}
	if _, err := s.st().Send(msg); err != nil {
		s.leg.log.Debug("write failed", "leg", s.leg.name, "err", err)
	}
}

// fits checks the size of a message, which must not cost us the stream.
func (s *session) fits(msg *element.Element) error {
	if n, limit := wireSize(msg), s.conf().MaxStanza; n > limit {
		return fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, n, limit)
	}
	return nil
}

// turn waits for the turn of one message where the server has complained of our
// rate, and reports whether it has.
func (s *session) turn(ctx context.Context) (paced bool, err error) {
	s.leg.mu.Lock()
	d := s.leg.pace.wait(time.Now())
	paced = s.leg.pace.gap > 0
	s.leg.mu.Unlock()
	if d <= 0 {
		return paced, nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return paced, nil
	case <-s.st().done:
		return paced, bridge.ErrNotReady
	case <-ctx.Done():
		return paced, ctx.Err()
	}
}

// isClosed reports whether nothing was written, since the stream has ended.
func isClosed(err error) bool {
	return errors.Is(err, stream.ErrNotSent) || errors.Is(err, stream.ErrClosed)
}

// wireSize is the size of a stanza on the wire, or a little more.
func wireSize(e *element.Element) int {
	n := 2*len(e.Local) + len(e.Space) + 16 + escaped(e.Text)
	for _, a := range e.Attr {
		n += len(a.Name) + 4 + escaped(a.Value)
	}
	for _, c := range e.Children {
		n += wireSize(c)
	}
	return n
}

// escaped is the length of s in XML: a quote or an ampersand takes up to six.
func escaped(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '&', '<', '>', '"', '\'':
			n += 5
		}
	}
	return n
}
