package xmpp

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	s := l.session()
	if s == nil {
		return bridge.ErrNotReady
	}
	switch m.To.Kind {
	case bridge.Chat:
		return s.sendChat(ctx, m)
	case bridge.MUC:
		return s.sendRoom(ctx, m)
	}
	return fmt.Errorf("xmpp: send: %s is no room of this leg", m.To)
}

func (s *session) sendChat(ctx context.Context, m bridge.Outgoing) error {
	p, to, err := s.addressee(m.To.Name)
	if err != nil {
		return err
	}
	msg := element.New(nsClient, "message", "to", to, "type", "chat", "id", m.ID)
	if err := s.body(ctx, msg, p, m); err != nil {
		return err
	}
	msg.Add(
		element.New(nsSID, "origin-id", "id", m.ID),
		element.New(nsReceipts, "request"))
	if m.Late {
		msg.Add(element.New(nsDelay, "delay", "from", s.bare, "stamp", m.Said.UTC().Format("2006-01-02T15:04:05.000Z")))
	}
	if err := s.ready(ctx, msg); err != nil {
		return err
	}
	now := time.Now()
	stanzas := append(make([]*element.Element, 0, 2), msg)
	if s.st.SM() && s.proofs.request(now) {
		stanzas = append(stanzas, stream.AckRequest()) // in one write
	}
	seq, err := s.st.Send(stanzas...)
	if err != nil {
		return s.unsent(m, err)
	}
	s.lastSent.Store(now.UnixNano())
	if s.proofs.chat(waiting{room: m.To, id: m.ID, seq: seq, sent: now}) {
		s.wantAck()
	}
	return nil
}

// unsent tells what a failed write means: part of the message may have left.
func (s *session) unsent(m bridge.Outgoing, err error) error {
	if isClosed(err) {
		return bridge.ErrNotReady
	}
	s.leg.log.Debug("write failed", "leg", s.leg.name, "id", m.ID, "err", err)
	s.proofs.prove(bridge.Proof{Room: m.To, ID: m.ID, Outcome: bridge.Doubt})
	return nil
}

// addressee returns whom to write to: the resource that spoke last, while it is
// there and no other showed itself since (RFC 6121 §5.1), else the bare JID.
func (s *session) addressee(name string) (p e2ee.Peer, to string, err error) {
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.people[name]
	if c == nil {
		return p, "", fmt.Errorf("xmpp: send: %s is not a contact of %s", name, l.name)
	}
	if len(c.resources) == 0 {
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
	return p, p.Bare, nil
}

// body seals the text of m into msg, or writes it in clear where that is
// licensed and no scheme can be used.
func (s *session) body(ctx context.Context, msg *element.Element, p e2ee.Peer, m bridge.Outgoing) error {
	scheme, _, err := s.choose(m, p)
	if err != nil {
		if m.Floor == policy.Clear && m.Clear.Licenses(m.To) {
			b, err := clearBody(m)
			if err != nil {
				return err
			}
			msg.Add(b)
			return nil
		}
		return &bridge.HoldError{Reason: reason(err), Err: err}
	}
	pay, err := s.seal(ctx, scheme, p, m.Text)
	switch {
	case err == nil:
		addPayload(msg, pay)
		return nil
	case errors.Is(err, e2ee.ErrHandshake):
		if len(pay.Children) > 0 {
			s.handshake(p, pay)
		}
		return &bridge.HoldError{Reason: reason(err), Err: err}
	case errors.Is(err, e2ee.ErrTooLarge), errors.Is(err, errSchemePanic):
		return fmt.Errorf("xmpp: send to %s by %s: %w", m.To.Name, scheme.Name(), err)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &bridge.HoldError{Reason: reason(err), Err: err}
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
	to := p.Bare
	if p.Resource != "" {
		to += "/" + p.Resource
	}
	msg := element.New(nsClient, "message", "to", to, "type", "chat")
	addPayload(msg, pay)
	if _, err := s.st.Send(msg); err != nil {
		s.leg.log.Debug("write failed", "leg", s.leg.name, "err", err)
	}
}

// ready checks the size of a message, which must not cost us the stream, and
// waits for its turn where the server has complained of our rate.
func (s *session) ready(ctx context.Context, msg *element.Element) error {
	if n := wireSize(msg); n > s.conf().MaxStanza {
		return fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, n, s.conf().MaxStanza)
	}
	s.leg.mu.Lock()
	d := s.leg.pace.wait(time.Now())
	s.leg.mu.Unlock()
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.done:
		return bridge.ErrNotReady
	case <-ctx.Done():
		return ctx.Err()
	}
}

func isClosed(err error) bool { return errors.Is(err, stream.ErrClosed) }

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
