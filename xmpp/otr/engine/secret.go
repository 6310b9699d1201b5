package engine

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
)

// Asking reports whether a run of SMP is under way, with any instance.
func (c *Conversation) Asking() bool {
	return slices.ContainsFunc(c.peers, func(p *instance) bool { return p.cur != nil && p.cur.smp.active() })
}

// Exposed reports whether a run of SMP under way has sent something made of the
// secret: if it ends now, it has failed.
func (c *Conversation) Exposed() bool {
	return slices.ContainsFunc(c.peers, func(p *instance) bool { return p.cur != nil && p.cur.smp.exposed })
}

// Ask begins a run of SMP in the session in use. Error: ErrNoSession, or ErrBusy.
func (c *Conversation) Ask(question string, secret []byte) (string, error) {
	s := c.cur()
	switch {
	case s == nil:
		return "", ErrNoSession
	case c.Asking():
		return "", ErrBusy
	}
	question = strings.ReplaceAll(question, "\x00", "")
	if len(question) > maxQuestion {
		question = strings.ToValidUTF8(question[:maxQuestion], "")
	}
	return s.message(flagIgnore, nil, s.smp.ask(question, c.secret(s, secret, true)))
}

// Answer gives the secret after SMPAsked, to the instance that asked.
func (c *Conversation) Answer(secret []byte) (string, error) {
	if c.asker == nil || c.asker.cur == nil || c.asker.cur.smp.state != answering {
		return "", ErrNoSession
	}
	s := c.asker.cur
	return s.message(flagIgnore, nil, s.smp.answer(c.secret(s, secret, false)))
}

// Abort ends the run of SMP with the instance that asked last, else that of the
// session in use, and tells the peer.
func (c *Conversation) Abort() (string, error) {
	s := c.cur()
	if c.asker != nil && c.asker.cur != nil && c.asker.cur.smp.active() {
		s = c.asker.cur
	}
	if s == nil {
		return "", ErrNoSession
	}
	s.smp = smp{}
	return s.message(flagIgnore, nil, tlv{typ: tlvSMPAbort})
}

// DropSMP ends all runs of SMP without a word.
func (c *Conversation) DropSMP() {
	for _, p := range c.peers {
		if p.cur != nil {
			p.cur.smp = smp{}
		}
	}
}

// secret binds a shared secret to the two keys and the session.
func (c *Conversation) secret(s *session, shared []byte, weAsk bool) *big.Int {
	a, b := c.key.fpr, s.peer.Fingerprint()
	if !weAsk {
		a, b = b, a
	}
	h := sha256.New()
	h.Write([]byte{1})
	h.Write(a)
	h.Write(b)
	h.Write(s.ssid[:])
	h.Write(shared)
	return new(big.Int).SetBytes(h.Sum(nil))
}

// onSMP takes a message of SMP. One that is not due, or wrong, ends the run.
func (c *Conversation) onSMP(p *instance, t tlv, res *Result) {
	m := &p.cur.smp
	var out tlv
	var same, done bool
	var err error
	switch {
	case t.typ == tlvSMPAbort:
		if m.active() {
			res.Event = broken(m)
		}
		*m = smp{}
		return
	case t.typ == tlvSMP1 && m.state == expect1:
		err = m.asked(t.data)
	case t.typ == tlvSMP1Q && m.state == expect1:
		question, rest, ok := bytes.Cut(t.data, []byte{0})
		if !ok || len(question) > maxQuestion {
			err = errProof
			break
		}
		res.Question = string(question)
		err = m.asked(rest)
	case t.typ == tlvSMP2 && m.state == expect2:
		out, err = m.second(t.data)
	case t.typ == tlvSMP3 && m.state == expect3:
		out, same, err = m.third(t.data)
		done = true
	case t.typ == tlvSMP4 && m.state == expect4:
		same, err = m.fourth(t.data)
		done = true
	default:
		err = errProof
	}
	switch {
	case err != nil:
		if m.active() {
			res.Event = broken(m)
		}
		res.Question = ""
		*m, out = smp{}, tlv{typ: tlvSMPAbort}
	case m.state == answering:
		res.Event, c.asker = SMPAsked, p
	case done && same:
		res.Event, *m = SMPMatched, smp{}
	case done:
		res.Event, *m = SMPFailed, smp{}
	}
	if out.typ != 0 {
		if msg, err := p.cur.message(flagIgnore, nil, out); err == nil {
			res.Reply = append(res.Reply, msg)
		}
	}
}

// broken is the event of a run that broke off.
func broken(m *smp) Event {
	if m.exposed {
		return SMPFailed
	}
	return SMPAbandoned
}
