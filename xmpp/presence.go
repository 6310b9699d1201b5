package xmpp

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// signatureFor is how long one presence signature is used: a key change makes a
// new one at once, and joining a hundred rooms does not sign a hundred times.
const signatureFor = time.Hour

// available returns an available presence with our caps, signed over exactly its
// status (XEP-0027 §2). One unsigned presence switches Psi's encryption off, so
// with a signer and no signature there is none, but an error.
func (s *session) available(to string) (*element.Element, error) {
	status := s.conf().Status
	p := element.New(nsClient, "presence", "to", to)
	if status != "" {
		p.Add(element.New(nsClient, "status").SetText(status))
	}
	if to == "" {
		p.Add(element.New(nsClient, "priority").SetText("100"))
	}
	p.Add(s.capsElement())
	x, err := s.sign(status)
	if x != nil {
		p.Add(x)
	}
	return p, err
}

func (s *session) sign(status string) (*element.Element, error) {
	if len(s.leg.signers) == 0 {
		return nil, nil
	}
	s.sigMu.Lock()
	defer s.sigMu.Unlock()
	if s.sig != nil && s.sig.status == status && time.Since(s.sig.made) < signatureFor {
		return s.sig.x, s.sig.err
	}
	sig := &signature{status: status, made: time.Now(), err: errors.New("xmpp: the signer panicked")}
	s.guard("sign", func() { sig.x, sig.err = s.leg.signers[0].SignPresence(status) })
	if sig.err != nil {
		sig.x = nil
	}
	s.sig = sig
	return sig.x, sig.err
}

// announce shows our presence to all who are subscribed.
func (s *session) announce() {
	p, err := s.available("")
	if err != nil {
		s.leg.note("presence", "presence cannot be signed, so none is shown and nobody sees the bot online: %v", err)
		s.leg.log.Error("presence cannot be signed, so none is shown", "leg", s.leg.name, "err", err)
		s.leg.notify(bridge.Event{Kind: bridge.KeyProblem, Room: bridge.Room{Leg: s.leg.name, Name: s.bare}, Detail: "the bot's own key cannot sign its presence: nobody sees it online, or writes to it, until the key is renewed and reloaded"})
		return
	}
	s.leg.note("presence", "")
	s.out.own(p)
}

// presence handles a presence: of a room, a contact, ourselves or a stranger.
func (s *session) presence(e *element.Element) {
	bare, res := splitJID(e.Get("from"))
	typ := e.Get("type")
	l := s.leg
	if m := l.room(bare); m != nil {
		s.roomPresence(m, e, typ, res)
		return
	}
	l.mu.Lock()
	c := l.byJID[bare]
	l.mu.Unlock()
	switch typ {
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		s.subscription(c, typ, bare)
		return
	case "probe":
		return
	}
	switch {
	case bare == s.bare || bare == "":
		s.otherResource(e.Get("from"), typ)
	case c == nil:
		l.counts.add(countStrangers)
		l.stranger(e, typ)
	case typ == "":
		s.online(c, bare, res, e)
	case typ == "unavailable":
		s.offline(c, bare, res)
	case typ == "error":
		l.counts.add(countErrors)
		s.unreachable(c, bare, errorOf(e))
	}
}

// maxStrangers bounds the presences kept of people who are not configured.
const maxStrangers = 1000

// stranger keeps the presence of somebody who may be configured later: a server
// does not show it again.
func (l *Leg) stranger(e *element.Element, typ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := e.Get("from")
	if typ != "" {
		delete(l.strangers, from)
	} else if len(l.strangers) < maxStrangers {
		l.strangers[from] = element.New(nsClient, "presence", "from", from).Add(element.New(nsCaps, "c", "node", clientOf(e.Child(nsCaps, "c").Get("node"))))
	}
}

// known takes the presences of newly configured people that were kept.
func (l *Leg) known(s *session) {
	l.mu.Lock()
	var of []*element.Element
	for from, e := range l.strangers {
		if bare, _ := splitJID(from); l.byJID[bare] != nil {
			of = append(of, e)
			delete(l.strangers, from)
		}
	}
	l.mu.Unlock()
	for _, e := range of {
		s.guard("presence", func() { s.presence(e) })
	}
}

// otherResource warns of a second client on the bot's account: messages of
// encrypted conversations would go astray between the two.
func (s *session) otherResource(from, typ string) {
	if from == s.full || from == "" || from == s.bare {
		return
	}
	_, res := splitJID(from)
	if typ == "unavailable" {
		s.leg.note("resource", "")
		return
	}
	s.leg.note("resource", "another client is logged in to the bot's account (resource %q): messages may go there instead; log it out", printable(res, 60))
}

// online takes an available presence of a contact.
func (s *session) online(c *contact, bare, res string, e *element.Element) {
	l := s.leg
	full := bare + "/" + res
	node := e.Child(nsCaps, "c").Get("node")
	l.mu.Lock()
	first := len(c.resources) == 0 && !s.reading
	r := c.resources[full]
	if r == nil {
		if len(c.resources) >= maxResources {
			l.mu.Unlock()
			return
		}
		r = &resource{bare: bare, came: time.Now()}
		c.resources[full] = r
	}
	r.silent, r.priority, r.sign = false, priorityOf(e), signed(e, res)
	if name := clientOf(node); name != "" {
		r.client = name
	}
	client := r.client
	ask := r.client == "" && !r.asked
	r.asked = r.asked || ask
	if c.last != "" && c.last != full {
		c.last = ""
	}
	if c.last == "" {
		c.client = r.client
	}
	sub := c.subs[bare]
	sub.to = true // or the server would not show it to us
	c.subs[bare] = sub
	l.mu.Unlock()
	if first {
		l.notify(bridge.Event{Kind: bridge.RoomUp, Room: c.room, Who: c.sender(r.client, bare)})
	}
	if ask {
		s.ask("get", full, element.New(nsVersion, "query"), time.Minute, func(reply *element.Element, err error) {
			if err == nil {
				s.versionOf(c, r, reply)
				s.arrive(c, bare, res, l.clientAt(c, bare, res))
			}
		})
	}
	s.arrive(c, bare, res, client)
	s.checkSignatures(c)
}

// signed is the signature of a presence, nil if it has none; x is the stanza's.
func signed(e *element.Element, res string) *signedPresence {
	x := e.Child(nsSigned, "x")
	if x == nil {
		return nil
	}
	return &signedPresence{res: strings.Clone(res), status: strings.Clone(statusOf(e)), x: element.New(nsSigned, "x").SetText(strings.Clone(x.Text))}
}

// priorityOf is the priority of a presence (RFC 6121 §4.7.2.3), 0 if it has none.
func priorityOf(e *element.Element) int {
	if p := e.Child(nsClient, "priority"); p != nil {
		if n, err := strconv.ParseInt(p.Text, 10, 8); err == nil {
			return int(n)
		}
	}
	return 0
}

func statusOf(e *element.Element) string {
	if st := e.Child(nsClient, "status"); st != nil {
		return st.Text
	}
	return ""
}

// versionOf names the client of a resource whose caps did not.
func (s *session) versionOf(c *contact, r *resource, reply *element.Element) {
	v := reply.Child(nsVersion, "query").Child(nsVersion, "name")
	if v == nil {
		return
	}
	s.leg.mu.Lock()
	defer s.leg.mu.Unlock()
	if r.client = clientOf(v.Text); c.client == "" {
		c.client = r.client
	}
}

// signedPresence is what is checked of a presence with a signature. Leg.mu guards the
// last three.
type signedPresence struct {
	res, status   string
	x             *element.Element
	checked, good bool
	note          string // what is wrong with it
}

// recheck looks again at the signed presences of c: a key may have come or gone since,
// or another one count.
func (s *session) recheck(c *contact) {
	s.leg.mu.Lock()
	for _, r := range c.resources {
		if r.sign != nil {
			r.sign.checked = false
		}
	}
	s.leg.mu.Unlock()
	s.checkSignatures(c)
}

// checkSignatures verifies a contact's signed presences beside the messages, those that
// are new. It is a hint: keys are never learnt from it, and what may be sent or taken in
// does not depend on it. A guard hears who shows such a key.
func (s *session) checkSignatures(c *contact) {
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	bare, sp := c.unchecked()
	if sp == nil || c.checking || len(l.signers) == 0 {
		return // who is at it takes this one, too
	}
	c.checking = true
	l.work.submit(c.lane, func() {
		for sp != nil {
			l.mu.Lock()
			p := e2ee.Peer{Account: l.name, Self: s.bare, Bare: bare, Resource: sp.res, Person: c.person}
			sp.checked = true
			l.mu.Unlock()
			err := errors.New("the verifier panicked")
			s.guard("verify", func() { err = l.signers[0].VerifyPresence(p, sp.status, sp.x) })
			l.mu.Lock()
			if sp.good, sp.note = err == nil, ""; err != nil {
				sp.note = c.person.Name + "'s presence is not signed by a pinned key: " + printable(err.Error(), 200)
			}
			bare, sp = c.unchecked()
			c.checking = sp != nil
			l.mu.Unlock()
		}
		l.tellSessions(c)
	})
}

// unchecked returns a signed presence of c that is to be verified; l.mu is held.
func (c *contact) unchecked() (bare string, sp *signedPresence) {
	for _, r := range c.resources {
		if r.sign != nil && !r.sign.checked {
			return r.bare, r.sign
		}
	}
	return "", nil
}

// signNote says what is wrong with the signature of a presence of theirs; l.mu is held.
func (c *contact) signNote() string {
	for _, full := range slices.Sorted(maps.Keys(c.resources)) {
		if sp := c.resources[full].sign; sp != nil && sp.note != "" {
			return sp.note
		}
	}
	return ""
}

// offline takes an unavailable presence of a contact.
func (s *session) offline(c *contact, bare, res string) {
	s.leg.drop(c, func(full string, r *resource) bool {
		return r.bare == bare && (res == "" || full == bare+"/"+res)
	}, "offline")
}

// unreachable takes an error to our presence or subscription request.
func (s *session) unreachable(c *contact, bare string, why *stanzaError) {
	l := s.leg
	l.mu.Lock()
	sub := c.subs[bare]
	sub.asked, sub.refused = false, "cannot be reached: "+why.Condition
	c.subs[bare] = sub
	l.mu.Unlock()
	s.offline(c, bare, "")
}

// drop forgets resources of c that match, and reports c down with the last one.
func (l *Leg) drop(c *contact, match func(full string, r *resource) bool, why string) {
	l.mu.Lock()
	before := len(c.resources)
	var left []string
	for full, r := range c.resources {
		if match(full, r) {
			left = append(left, full)
			delete(c.resources, full)
			if c.last == full {
				c.last = ""
			}
		}
	}
	down := before > 0 && len(c.resources) == 0
	l.mu.Unlock()
	l.leave(left...)
	if s := l.session(); s != nil {
		for _, full := range left {
			s.unread(c, c.unread.left(full, time.Now()), "left")
		}
	}
	if down {
		l.notify(bridge.Event{Kind: bridge.RoomDown, Room: c.room, Detail: why})
	}
}

// sender is c as who speaks.
func (c *contact) sender(client, bare string) bridge.Sender {
	return bridge.Sender{Nick: c.room.Name, Person: c.room.Name, JID: bare, Client: client}
}
