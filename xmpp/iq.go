package xmpp

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"drawbridge/xmpp/element"
)

// iqMax bounds the questions of ours that wait for their answers.
const iqMax = 4096

var (
	errIQTimeout = errors.New("xmpp: no answer")
	errIQMany    = errors.New("xmpp: too many questions wait for answers")
)

// stanzaError is an error stanza (RFC 6120 §8.3). Its text is free-form and
// never decides anything; it is not kept, as it may quote us.
type stanzaError struct {
	Condition string
	Type      string // auth, cancel, continue, modify, wait
}

// conditions are those of RFC 6120 §8.3.3.
var conditions = []string{
	"bad-request", "conflict", "feature-not-implemented", "forbidden", "gone", "internal-server-error", "item-not-found",
	"jid-malformed", "not-acceptable", "not-allowed", "not-authorized", "policy-violation", "recipient-unavailable", "redirect",
	"registration-required", "remote-server-not-found", "remote-server-timeout", "resource-constraint", "service-unavailable",
	"subscription-required", "undefined-condition", "unexpected-request",
}

// Error names the condition.
func (e *stanzaError) Error() string { return "xmpp: refused: " + e.Condition }

// errorOf reads the <error/> of a stanza.
func errorOf(e *element.Element) *stanzaError {
	out := &stanzaError{Condition: "undefined-condition"}
	for _, c := range e.Children {
		if c.Local != "error" {
			continue
		}
		out.Type = c.Get("type")
		for _, cond := range c.Children {
			// Only what the RFC knows: the name of an element is foreign words, too.
			if i := slices.Index(conditions, cond.Local); i >= 0 && cond.Space == nsStanzas {
				out.Condition = conditions[i]
				return out
			}
		}
	}
	return out
}

// question is an IQ of ours that waits for its answer.
type question struct {
	to       string // bare or full, as asked; "" for the own account
	deadline time.Time
	answer   func(reply *element.Element, err error)
}

// iqTable matches answers with questions (RFC 6120 §8.2.3). An answer counts
// only if it comes from whom we asked.
type iqTable struct {
	mu     sync.Mutex // guards all below
	closed bool
	n      uint64
	open   map[string]question
}

// add enters a question and returns the id to ask it under.
func (t *iqTable) add(prefix string, q question) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.open) >= iqMax {
		return "", errIQMany
	}
	if t.open == nil {
		t.open = map[string]question{}
	}
	t.n++
	id := prefix + strconv.FormatUint(t.n, 36)
	t.open[id] = q
	return id, nil
}

// match takes out the question that reply answers.
func (t *iqTable) match(id string, fits func(to string) bool) (question, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.open[id]
	if !ok || !fits(q.to) {
		return question{}, false
	}
	delete(t.open, id)
	return q, true
}

// expired takes out the questions whose time is over; all of them if now is zero,
// and then none can be added any more.
func (t *iqTable) expired(now time.Time) []question {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = t.closed || now.IsZero()
	var out []question
	for id, q := range t.open {
		if now.IsZero() || q.deadline.Before(now) {
			out = append(out, q)
			delete(t.open, id)
		}
	}
	return out
}

// postpone gives the questions that wait more time: there was no stream for d.
func (t *iqTable) postpone(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, q := range t.open {
		q.deadline = q.deadline.Add(d)
		t.open[id] = q
	}
}

// ask sends an IQ; answer is called once, from the reader or the housekeeper, and
// must be quick. err is a *stanzaError, errIQTimeout or errIQMany.
func (s *session) ask(typ, to string, payload *element.Element, timeout time.Duration, answer func(*element.Element, error)) {
	id, err := s.iqs.add(s.idPrefix, question{to: to, deadline: time.Now().Add(timeout), answer: answer})
	if err != nil {
		answer(nil, err)
		return
	}
	s.out.own(element.New(nsClient, "iq", "type", typ, "id", id, "to", to).Add(payload))
}

// iq handles an IQ: an answer to us, or a question that gets its answer.
func (s *session) iq(e *element.Element) {
	switch e.Get("type") {
	case "result", "error":
		s.answered(e)
	case "get", "set":
		s.answer(e)
	}
}

func (s *session) answered(e *element.Element) {
	q, ok := s.answers(e)
	switch {
	case !ok:
	case e.Get("type") == "error":
		q.answer(e, errorOf(e))
	default:
		q.answer(e, nil)
	}
}

// skipped gives up the question whose answer could not be read; head is its start tag.
func (s *session) skipped(head *element.Element, why error) {
	if head.Is(nsClient, "iq") && head.Get("type") != "get" && head.Get("type") != "set" {
		if q, ok := s.answers(head); ok {
			s.guard("iq", func() { q.answer(nil, why) })
		}
	}
}

// answers takes out the question that e answers.
func (s *session) answers(e *element.Element) (question, bool) {
	from := e.Get("from")
	return s.iqs.match(e.Get("id"), func(to string) bool {
		if from == to {
			return true
		}
		bare, res := splitJID(from)
		if to == "" { // our server answers for the account in any of these forms
			return from == "" || bare == s.bare && (res == "" || from == s.full) || bare == s.domain
		}
		toBare, toRes := splitJID(to)
		return bare == toBare && res == toRes || from == "" && toBare == s.domain
	})
}

// answer replies to a get or a set. What we do not know is refused, as RFC 6120
// §8.4 asks, so that nobody waits for a timeout.
func (s *session) answer(e *element.Element) {
	from, id := e.Get("from"), e.Get("id")
	reply := func(payload *element.Element) {
		s.out.reply(element.New(nsClient, "iq", "type", "result", "id", id, "to", from).Add(payload))
	}
	if e.Get("type") == "set" {
		if q := e.Child(nsRoster, "query"); q != nil && s.isOwn(from) {
			s.rosterPush(q)
			reply(nil)
			return
		}
		s.refuse(e, "cancel", "service-unavailable")
		return
	}
	if !s.knows(from) {
		s.refuse(e, "cancel", "service-unavailable")
		return
	}
	var q *element.Element
	if len(e.Children) > 0 {
		q = e.Children[0]
	}
	switch {
	case q.Is(nsPing, "ping"):
		reply(nil)
	case q.Is(nsInfo, "query"):
		s.answerInfo(q, reply, e)
	case q.Is(nsItems, "query"):
		reply(element.New(nsItems, "query", "node", q.Get("node")))
	case q.Is(nsVersion, "query") && !s.conf().HideVersion:
		v := element.New(nsVersion, "query").Add(element.New(nsVersion, "name").SetText(softwareName))
		if ver := s.conf().Version; ver != "" {
			v.Add(element.New(nsVersion, "version").SetText(ver))
		} else {
			v.Add(element.New(nsVersion, "version").SetText("unknown"))
		}
		reply(v)
	case q.Is(nsTime, "time"):
		reply(element.New(nsTime, "time").Add(
			element.New(nsTime, "tzo").SetText("+00:00"),
			element.New(nsTime, "utc").SetText(time.Now().UTC().Format(time.RFC3339))))
	case q.Is(nsLast, "query"):
		idle := time.Since(time.Unix(0, s.lastSent.Load()))
		reply(element.New(nsLast, "query", "seconds", strconv.Itoa(int(idle.Seconds()))))
	default:
		s.refuse(e, "cancel", "service-unavailable")
	}
}

// knows reports whether a question may be answered: of a configured person, a room
// and who is in it, our account and our server. Others hear what a server says
// for a resource that is not there, and so do not learn that the bot is online.
func (s *session) knows(from string) bool {
	bare, _ := splitJID(from)
	if bare == "" || bare == s.bare || bare == s.domain {
		return true
	}
	l := s.leg
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[bare] != nil || l.byJID[bare] != nil
}

// refuse answers a question with an error.
func (s *session) refuse(e *element.Element, typ, condition string) {
	s.out.reply(element.New(nsClient, "iq", "type", "error", "id", e.Get("id"), "to", e.Get("from")).Add(
		element.New(nsClient, "error", "type", typ).Add(element.New(nsStanzas, condition))))
}

// isOwn reports whether a stanza comes from our own account or its server on
// behalf of it (RFC 6120 §8.1.2.1).
func (s *session) isOwn(from string) bool {
	if from == "" {
		return true
	}
	bare, res := splitJID(from)
	return bare == s.bare && (res == "" || from == s.full)
}
