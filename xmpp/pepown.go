package xmpp

import (
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// ownAgain is how often our own account is asked on the whole what it publishes, and
// ownBurst how many times at once: two clients that both insist must not keep each
// other busy.
const (
	ownAgain = 10 * time.Minute
	ownBurst = 3
)

// ownNews takes the news of our own account that one of the nodes of ours has changed.
func (s *session) ownNews(e *element.Element) {
	node := e.Child(nsPubSubEvent, "event").Child(nsPubSubEvent, "items").Get("node")
	for _, a := range s.leg.announcers() {
		if node == a.Node() || strings.HasPrefix(node, a.Node()+":") {
			s.leg.mu.Lock()
			s.leg.own.wanted = true
			s.leg.mu.Unlock()
			s.tendOwn(time.Now())
			return
		}
	}
}

// tendOwn asks our own account, where that is due, whether it still has what was
// published: another client logged in as the bot may have put its keys in the place
// of ours, and then nobody finds them.
func (s *session) tendOwn(now time.Time) {
	l := s.leg
	l.mu.Lock()
	k := &l.own
	k.wanted = k.wanted && len(l.published) > 0 // else all is published anyway
	if !k.wanted || k.paid.Sub(now) >= ownBurst*ownAgain {
		l.mu.Unlock()
		return
	}
	if k.paid.Before(now) {
		k.paid = now
	}
	*k = keyLook{paid: k.paid.Add(ownAgain)}
	l.mu.Unlock()
	for _, a := range l.announcers() {
		s.askOwn(a)
	}
}

func (s *session) askOwn(a e2ee.Announcer) {
	l := s.leg
	var nodes []string
	l.mu.Lock()
	for node := range l.published {
		if node == a.Node() || strings.HasPrefix(node, a.Node()+":") {
			nodes = append(nodes, node)
		}
	}
	l.mu.Unlock()
	for _, node := range nodes {
		s.ask("get", "", itemsOf(node), pepTimeout, func(reply *element.Element, err error) {
			var refused *stanzaError
			if err != nil && (!errors.As(err, &refused) || refused.Condition != "item-not-found") {
				return
			}
			var payload *element.Element
			if it := newest(reply, node); it != nil && len(it.Children) > 0 {
				payload = it.Children[0]
			}
			l.mu.Lock()
			is, there := l.published[node]
			lost := there && !same(is.Payload, payload)
			if lost {
				delete(l.published, node)
			}
			l.mu.Unlock()
			if lost {
				l.log.Warn("the bot's published key was replaced by another client of its account, and is published again", "leg", l.name, "scheme", a.Name())
				l.work.submit(&lane{}, func() { s.publishOf(a) })
			}
		})
	}
}

// same reports whether two elements say the same.
func same(a, b *element.Element) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Is(b.Space, b.Local) && strings.TrimSpace(a.Text) == strings.TrimSpace(b.Text) &&
		!slices.ContainsFunc(a.Attr, func(x element.Attr) bool { return b.Get(x.Name) != x.Value }) &&
		slices.EqualFunc(a.Children, b.Children, same)
}
