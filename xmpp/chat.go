package xmpp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

var (
	// errUnknownScheme is the Problem of a message in an encryption that the
	// account does not have; its body is a fallback, never content.
	errUnknownScheme = errors.New("xmpp: encrypted in a way this account does not know")
	errSchemePanic   = errors.New("xmpp: the scheme panicked")
)

// message handles a message; true if the ticket was kept for the core.
func (s *session) message(e *element.Element, ticket uint64) bool {
	l := s.leg
	from, typ := e.Get("from"), e.Get("type")
	bare, res := splitJID(from)
	if r := e.Child(nsMAM, "result"); r != nil {
		return s.result(r, from, ticket)
	}
	switch {
	case bare == "" || bare == s.bare: // carbons, PEP, echoes: mellium 0.15
		l.counts.add(countOwn)
		s.ownNews(e)
		return false
	case typ == "error":
		s.bounced(e, bare)
		return false
	case s.pepEvent(e, bare):
		return false
	case typ == "headline":
		l.counts.add(countHeadlines)
		return false
	}
	if m := l.room(bare); m != nil {
		if typ == "groupchat" {
			return s.waits(bare, e, ticket) || s.groupchat(m, e, res, ticket)
		}
		if res != "" || !s.roomWord(m, e) {
			l.counts.add(countPrivate)
		}
		return false
	}
	l.mu.Lock()
	c := l.byJID[bare]
	l.mu.Unlock()
	switch {
	case c == nil || typ == "groupchat":
		l.counts.add(countStrangers)
		return false
	case e.Child(nsCarbons, "received") != nil || e.Child(nsCarbons, "sent") != nil:
		l.counts.add(countOwn)
		return false
	}
	if r := e.Child(nsReceipts, "received"); r != nil {
		s.proofs.receipt(c.room, r.Get("id"))
		c.unread.received(r.Get("id"), from, time.Now())
	}
	return s.waits(s.bare, e, ticket) || s.waitsForKey(c, e, bare, res, ticket) || s.chat(c, e, bare, res, ticket)
}

// chat handles a message of a configured person.
func (s *session) chat(c *contact, e *element.Element, bare, res string, ticket uint64) bool {
	l := s.leg
	now := time.Now()
	in := e2ee.Incoming{Children: e.Children, ID: messageID(e, s.bare), Stamp: now}
	if b := e.Child(nsClient, "body"); b != nil {
		in.Body = b.Text
	}
	if stamp, ok := delayOf(e, now); ok {
		in.Stamp, in.Delayed = stamp, true
	}
	key := inHand{c.room, in.ID}
	if !l.takes(key) {
		return false
	}
	p := s.heard(c, bare, res, in.Delayed)
	scheme, problem := s.claim(p, in)
	if scheme == nil && problem == nil {
		if in.Body == "" {
			l.given(key)
			l.counts.add(countEmpty)
			return false
		}
		if foreignEncryption(e, in.Body) {
			problem = errUnknownScheme
		}
	}
	it := &item{size: sizeOf(e), msg: bridge.Message{
		ID: in.ID, Room: c.room, From: c.sender(l.clientAt(c, bare, res), bare), Time: in.Stamp, Delayed: in.Delayed,
		Facts: l.chatFacts(c, bare, e2ee.Opened{}), Taken: s.taken(e, ticket, key),
	}}
	s.cursor(&it.msg, s.bare, keptID(stanzaID(e, s.bare)), ticket)
	it.skipped = func() { it.msg.Taken(false) }
	switch {
	case problem != nil:
		l.unreadable(it, scheme, problem)
		l.pipe.push(it)
	case scheme == nil:
		it.msg.Kind, it.msg.Text = said(strings.Clone(in.Body))
		l.pipe.push(it)
	default:
		it.ready = make(chan struct{})
		if l.pipe.push(it) {
			turn := c.lane
			if _, ok := scheme.(e2ee.Unordered); ok {
				turn = &lane{} // any worker may have it: the pipe keeps the order
			}
			l.work.submit(turn, func() {
				defer close(it.ready)
				if !s.guard("open", func() { s.open(c, it, scheme, p, in, e) }) {
					l.unreadable(it, scheme, errSchemePanic)
				}
			})
		}
	}
	return true
}

// claim asks which scheme the message is of; a scheme that panics has it, too.
func (s *session) claim(p e2ee.Peer, in e2ee.Incoming) (scheme e2ee.Scheme, err error) {
	err = errSchemePanic
	order := s.leg.order
	if p.Person != nil {
		order = s.leg.orderOf(s.conf(), p.Person.Name)
	}
	s.guard("claim", func() { scheme, err = e2ee.Claim(s.leg.deps.Schemes, order, p, in) })
	return scheme, err
}

// open decrypts a message on one of the workers and fills it.
func (s *session) open(c *contact, it *item, scheme e2ee.Scheme, p e2ee.Peer, in e2ee.Incoming, e *element.Element) {
	l := s.leg
	var o e2ee.Opened
	err := errSchemePanic
	// The context is never cancelled: a message half opened is of no use, and a
	// scheme does no I/O.
	of := c
	if _, ok := scheme.(e2ee.Session); !ok {
		of = nil
	}
	l.inTurn(of, func() {
		s.guard("open", func() { o, err = scheme.Open(context.Background(), p, in) })
		for _, reply := range o.Reply {
			s.handshake(p, reply)
		}
	})
	s.changed(c, it, p, in.Stamp, o.Changes)
	if err != nil {
		l.unreadable(it, scheme, err)
		return
	}
	it.msg.Scheme, it.msg.Rung, it.msg.Redelivered, it.msg.Seen = scheme.Name(), o.Rung, o.Redelivered, o.Seen
	it.msg.Signed = o.Signed
	if o.Rung >= policy.Signed {
		it.msg.Key = strings.ToUpper(o.Fingerprint)
	}
	it.msg.Facts = l.chatFacts(c, p.Bare, o)
	it.msg.Kind, it.msg.Text = openedText(o)
	s.inside(c, it, scheme, p, o.Inside, e)
	if o.Silent || it.msg.Text.Len() == 0 {
		l.counts.add(countEmpty)
		it.skip = true
		return
	}
	if o.Rung == policy.Clear { // clear text beside something for the scheme
		it.msg.Scheme = ""
		return
	}
	l.mu.Lock()
	c.inRung, c.inScheme = o.Rung, scheme.Name()
	l.mu.Unlock()
}

func (l *Leg) unreadable(it *item, scheme e2ee.Scheme, problem error) {
	l.counts.add(countUnreadable)
	it.msg.Kind, it.msg.Text, it.msg.Rung, it.msg.Problem = bridge.Unreadable, bridge.Text{}, policy.Clear, problem
	if scheme != nil {
		it.msg.Scheme = scheme.Name()
	}
	l.log.Debug("message could not be opened", "leg", l.name, "from", it.msg.From.Person, "scheme", it.msg.Scheme, "err", problem)
}

// heard notes that a resource spoke, so that replies go to it, and returns the
// peer it is. A client that hides its presence counts as online from now on.
func (s *session) heard(c *contact, bare, res string, delayed bool) e2ee.Peer {
	l := s.leg
	full := bare + "/" + res
	up := false
	l.mu.Lock()
	if res != "" && !delayed {
		r := c.resources[full]
		if r == nil && len(c.resources) < maxResources {
			up = len(c.resources) == 0 && !s.reading
			r = &resource{bare: bare, silent: true}
			c.resources[full] = r
		}
		if r != nil {
			c.last, c.lastBare, c.client = full, bare, r.client
		}
	}
	p := e2ee.Peer{Account: l.name, Self: s.bare, Bare: bare, Resource: res, Person: c.person}
	l.mu.Unlock()
	if up {
		l.notify(bridge.Event{Kind: bridge.RoomUp, Room: c.room, Who: c.sender("", bare)})
	}
	return p
}

func (l *Leg) clientAt(c *contact, bare, res string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := c.resources[bare+"/"+res]; r != nil {
		return r.client
	}
	return ""
}

// inHand is a message of a chat that the core does not have yet.
type inHand struct {
	room bridge.Room
	id   string // as in bridge.Message, "" for none
}

// takes reports whether a message is to be handled: false for one that is in hand,
// live and from an archive. Two copies would be opened side by side, and the first
// in line be the one that a scheme calls redelivered.
func (l *Leg) takes(key inHand) bool {
	if key.id == "" {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inHand[key] {
		return false
	}
	l.inHand[key] = true
	return true
}

// given ends takes: the core has the message, or there was nothing to give.
func (l *Leg) given(key inHand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inHand, key)
}

// taken returns what the core calls once it has the message: the stanza counts
// as handled, and a receipt is sent if one was asked for (XEP-0184), never
// before, and never for a message that was refused.
func (s *session) taken(e *element.Element, ticket uint64, key inHand) func(bool) {
	id, from := e.Get("id"), e.Get("from")
	wants := id != "" && e.Child(nsReceipts, "request") != nil
	return func(ok bool) {
		s.leg.given(key)
		s.tickets.done(ticket)
		if ok && wants {
			s.leg.receipt(element.New(nsClient, "message", "to", from, "type", "chat", "id", s.idPrefix+"r-"+id).Add(
				element.New(nsReceipts, "received", "id", id),
				element.New(nsHints, "store")))
		}
	}
}

// messageID returns the id under which the message would come again: the archive
// id that by has given it (XEP-0359), else the sender's, if it is long enough to
// be unique (Psi's are five digits).
func messageID(e *element.Element, by string) string {
	for _, c := range e.Children {
		if c.Is(nsSID, "stanza-id") {
			if b, _ := splitJID(c.Get("by")); b == by {
				return keptID(c.Get("id"))
			}
		}
	}
	if o := e.Child(nsSID, "origin-id").Get("id"); len(o) >= minUnique {
		return keptID("o:" + o)
	}
	if id := e.Get("id"); len(id) >= minUnique {
		return keptID("i:" + id)
	}
	return ""
}

const minUnique = 16

// maxID is the longest id that is remembered as it is; of a longer one its hash is.
const maxID = 128

// keptID is id without the stanza it stood in.
func keptID(id string) string {
	if len(id) <= maxID {
		return strings.Clone(id)
	}
	sum := sha256.Sum256([]byte(id))
	return "h:" + hex.EncodeToString(sum[:])
}

// delayOf returns when a delayed message was said (XEP-0203); never later than now.
func delayOf(e *element.Element, now time.Time) (time.Time, bool) {
	d := e.Child(nsDelay, "delay")
	if d == nil {
		return now, false
	}
	t, err := time.Parse(time.RFC3339, d.Get("stamp"))
	if err != nil || t.After(now) {
		t = now
	}
	return t, true
}

// foreignEncryption reports a message whose body is only a fallback: another
// encryption is announced (XEP-0380), or seen.
func foreignEncryption(e *element.Element, body string) bool {
	for _, c := range e.Children {
		switch c.Space {
		case nsEME, "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "urn:xmpp:openpgp:0", "jabber:x:encrypted":
			return true
		}
	}
	return strings.HasPrefix(body, "?OTR")
}

// sizeOf is about what a stanza weighs in memory.
func sizeOf(e *element.Element) int {
	n := 200 + len(e.Text)
	for _, a := range e.Attr {
		n += 32 + len(a.Value)
	}
	for _, c := range e.Children {
		n += sizeOf(c)
	}
	return n
}

// bounced handles a message of ours that came back. What it carries is our own
// fallback body, or anything: only the condition is read.
func (s *session) bounced(e *element.Element, bare string) {
	l := s.leg
	l.counts.add(countErrors)
	id, why := e.Get("id"), errorOf(e)
	if m := l.room(bare); m != nil {
		s.roomBounce(m, id, why)
		return
	}
	l.mu.Lock()
	c := l.byJID[bare]
	l.mu.Unlock()
	if c == nil {
		return
	}
	if s.cameBack(c, e.Get("from"), id) {
		l.drop(c, func(_ string, r *resource) bool { return r.silent && r.bare == bare }, "not reachable: "+why.Condition)
		return
	}
	if why.Condition == "not-acceptable" { // Psi: "Unable to decrypt"
		if !s.proofs.bounce(c.room, id, why) {
			return
		}
		l.counts.add(countUndecryptable)
		l.notify(bridge.Event{
			Kind: bridge.KeyProblem, Room: c.room, Who: c.sender("", bare),
			Detail: c.person.Name + " cannot decrypt us: their client has another key of the bot, or theirs is not the pinned one",
		})
		return
	}
	if s.proofs.bounce(c.room, id, why) {
		l.drop(c, func(_ string, r *resource) bool { return r.silent && r.bare == bare }, "not reachable: "+why.Condition)
	}
}
