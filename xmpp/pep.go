package xmpp

import (
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// Namespaces of XEP-0060 and XEP-0163.
const (
	nsPubSub      = "http://jabber.org/protocol/pubsub"
	nsPubSubOwner = "http://jabber.org/protocol/pubsub#owner"
	nsPubSubEvent = "http://jabber.org/protocol/pubsub#event"

	formNode    = "http://jabber.org/protocol/pubsub#node_config"
	formPublish = "http://jabber.org/protocol/pubsub#publish-options"
)

const (
	pepTimeout = 30 * time.Second // of one question
	// keysAgain is how often a contact's keys are asked for on the whole, and keysBurst
	// how many times at once: a key that was published now is needed for the next
	// message, but who publishes all the time does not keep us busy.
	keysAgain = 10 * time.Second
	keysBurst = 4
	// maxNodes bounds the nodes that are asked for after the list of a contact.
	maxNodes = 8
)

// keyLook is a look at the keys that a contact publishes.
type keyLook struct {
	wanted bool      // another one is due
	open   int       // nodes that have not been taken yet
	paid   time.Time // the looks so far, keysAgain each, reach until then
}

// announcers are the schemes that publish keys and are listed for somebody.
func (l *Leg) announcers() []e2ee.Announcer {
	var out []e2ee.Announcer
	conf := l.conf.Load()
	for _, s := range l.deps.Schemes {
		a, ok := s.(e2ee.Announcer)
		if ok && slices.ContainsFunc(conf.People, func(p policy.Person) bool { return slices.Contains(l.orderOf(conf, p.Name), s.Name()) }) {
			out = append(out, a)
		}
	}
	return out
}

// orderOf returns the schemes listed for a person, in order of preference.
func (l *Leg) orderOf(conf *setup, person string) []string {
	if order, ok := conf.Schemes[person]; ok {
		return order
	}
	return l.order
}

// publishKeys publishes what the schemes announce, unless it is there already, and
// asks for the keys of all people.
func (s *session) publishKeys() {
	list := s.leg.announcers()
	if len(list) == 0 {
		return
	}
	for _, a := range list {
		s.leg.work.submit(&lane{}, func() { s.publishOf(a) })
	}
	s.leg.mu.Lock()
	for _, c := range s.leg.people {
		c.keys.wanted = true
	}
	s.leg.own.wanted = true
	s.leg.mu.Unlock()
	s.tendKeys(time.Now())
}

func (s *session) publishOf(a e2ee.Announcer) {
	var items []e2ee.Item
	err := errSchemePanic
	s.guard("announce", func() { items, err = a.Announce(s.bare) })
	if err != nil {
		s.leg.note("keys", "the bot's key cannot be published, so people have to import it: %v", err)
		s.leg.log.Warn("key not published", "leg", s.leg.name, "scheme", a.Name(), "err", err)
		return
	}
	s.publish(a.Name(), items)
}

// publish publishes items, one after the other: the last one names the others.
func (s *session) publish(scheme string, items []e2ee.Item) {
	if len(items) == 0 {
		s.leg.note("keys", "")
		return
	}
	it, rest := items[0], items[1:]
	s.leg.mu.Lock()
	is := s.leg.published[it.Node]
	s.leg.mu.Unlock()
	if is.ID == it.ID && same(is.Payload, it.Payload) {
		s.publish(scheme, rest)
		return
	}
	done := func(err error) {
		if err != nil {
			s.leg.note("keys", "the bot's key was not published, so people have to import it: %v", err)
			s.leg.log.Warn("key not published", "leg", s.leg.name, "scheme", scheme, "err", err)
			return
		}
		s.leg.mu.Lock()
		s.leg.published[it.Node] = it
		s.leg.mu.Unlock()
		s.publish(scheme, rest)
	}
	s.put(it, true, func(err error) {
		var refused *stanzaError
		if !errors.As(err, &refused) {
			done(err)
			return
		}
		// The server does not know publish-options, or the node is there and is not
		// open: then it is published as it is, and opened.
		s.put(it, false, func(err error) {
			if err != nil {
				done(err)
				return
			}
			s.openNode(it.Node, done)
		})
	})
}

// put publishes one item (XEP-0060 §7.1), with the options of a public key or as the
// node is.
func (s *session) put(it e2ee.Item, options bool, done func(error)) {
	q := element.New(nsPubSub, "pubsub").Add(element.New(nsPubSub, "publish", "node", it.Node).Add(
		element.New(nsPubSub, "item", "id", it.ID).Add(it.Payload)))
	if options {
		q.Add(element.New(nsPubSub, "publish-options").Add(nodeForm(formPublish)))
	}
	s.ask("set", "", q, pepTimeout, func(_ *element.Element, err error) { done(err) })
}

// openNode configures a node so that everybody may read it (XEP-0060 §8.2). A server
// that refuses leaves it to those who see our presence, which contacts do.
func (s *session) openNode(node string, done func(error)) {
	q := element.New(nsPubSubOwner, "pubsub").Add(element.New(nsPubSubOwner, "configure", "node", node).Add(nodeForm(formNode)))
	s.ask("set", "", q, pepTimeout, func(_ *element.Element, err error) {
		if err != nil {
			s.leg.log.Info("published key is for contacts only", "leg", s.leg.name, "err", err)
		}
		done(nil)
	})
}

// nodeForm is the form of a node with one item, kept, for everybody.
func nodeForm(kind string) *element.Element {
	x := element.New(nsForm, "x", "type", "submit")
	for _, f := range [][2]string{{"FORM_TYPE", kind}, {"pubsub#access_model", "open"}, {"pubsub#persist_items", "true"}, {"pubsub#max_items", "1"}} {
		field := element.New(nsForm, "field", "var", f[0])
		if f[0] == "FORM_TYPE" {
			field = element.New(nsForm, "field", "var", f[0], "type", "hidden")
		}
		x.Add(field.Add(element.New(nsForm, "value").SetText(f[1])))
	}
	return x
}

// tendKeys asks for the keys of people where that is due.
func (s *session) tendKeys(now time.Time) {
	list := s.leg.announcers()
	if len(list) == 0 {
		return
	}
	s.tendOwn(now)
	if since := s.waiting.Load(); since != 0 && now.UnixNano()-since >= int64(keylessFor) {
		s.keysCame()
	}
	type look struct {
		c    *contact
		jids []string
	}
	var due []look
	s.leg.mu.Lock()
	for _, c := range s.leg.people {
		if k := &c.keys; k.wanted && k.open == 0 && k.paid.Sub(now) < keysBurst*keysAgain {
			if k.paid.Before(now) {
				k.paid = now
			}
			*k = keyLook{open: len(list) * len(c.person.JIDs), paid: k.paid.Add(keysAgain)}
			due = append(due, look{c, c.person.JIDs})
		}
	}
	s.leg.mu.Unlock()
	for _, d := range due {
		for _, a := range list {
			for _, jid := range d.jids {
				s.askKeys(a, d.c, jid, a.Node(), nil)
			}
		}
	}
}

// askKeys asks a contact's account for the newest item of a node, and hands it to
// the scheme, then for the nodes in rest and those that the scheme wants.
func (s *session) askKeys(a e2ee.Announcer, c *contact, jid, node string, rest []string) {
	s.ask("get", jid, itemsOf(node), pepTimeout, func(reply *element.Element, err error) {
		if errors.Is(err, errIQTimeout) && s.leg.session() != s {
			s.leg.mu.Lock() // it is over, and said nothing; the next one asks anew
			c.keys = keyLook{}
			s.leg.mu.Unlock()
			return
		}
		var item *element.Element
		if err == nil {
			item = newest(reply, node)
		}
		s.leg.work.submit(c.lane, func() { s.takeKeys(a, c, jid, node, item, err, rest) })
	})
}

// itemsOf asks for the newest item of a node (XEP-0060 §6.5.7).
func itemsOf(node string) *element.Element {
	return element.New(nsPubSub, "pubsub").Add(element.New(nsPubSub, "items", "node", node, "max_items", "1"))
}

// newest returns the last item of a node in an answer, nil if there is none: PEP
// services that do not know max_items send all, the oldest first.
func newest(reply *element.Element, node string) *element.Element {
	items := reply.Child(nsPubSub, "pubsub").Child(nsPubSub, "items")
	if items == nil || items.Get("node") != node {
		return nil
	}
	for _, it := range slices.Backward(items.Children) {
		if it.Is(nsPubSub, "item") {
			return it
		}
	}
	return nil
}

func (s *session) takeKeys(a e2ee.Announcer, c *contact, jid, node string, item *element.Element, err error, rest []string) {
	l := s.leg
	p := e2ee.Peer{Account: l.name, Self: s.bare, Bare: jid}
	l.mu.Lock()
	p.Person = c.person
	l.mu.Unlock()
	var next []string
	changed := false
	s.guard("keys", func() { next, changed = a.Take(p, node, item, err) })
	if changed {
		l.notify(bridge.Event{Kind: bridge.RoomKeys, Room: c.room})
		s.recheck(c)
	}
	rest = append(rest, next...)
	if len(rest) > maxNodes {
		rest = rest[:maxNodes]
	}
	if len(rest) > 0 {
		s.askKeys(a, c, jid, rest[0], rest[1:])
		return
	}
	l.mu.Lock()
	c.keys.open = max(c.keys.open-1, 0)
	l.mu.Unlock()
	s.keysCame()
}

// pepEvent takes the news of a contact's account that a node has changed, and
// reports whether it was that (XEP-0163 §4.3). What stands in it is asked for anew.
func (s *session) pepEvent(e *element.Element, bare string) bool {
	items := e.Child(nsPubSubEvent, "event").Child(nsPubSubEvent, "items")
	if items == nil {
		return false
	}
	l := s.leg
	l.mu.Lock()
	c := l.byJID[bare]
	l.mu.Unlock()
	if c == nil {
		return false
	}
	for _, a := range l.announcers() {
		if items.Get("node") == a.Node() || strings.HasPrefix(items.Get("node"), a.Node()+":") {
			l.mu.Lock()
			c.keys.wanted = true
			l.mu.Unlock()
			s.tendKeys(time.Now())
			return true
		}
	}
	return false
}
