package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
)

// adminTimeout is how long a room's service may take to answer an owner.
const adminTimeout = 30 * time.Second

// adminItems is how many changes go out at once: in one IQ to ejabberd, which saves
// the room for each; else in one each, since Prosody 0.12 takes the first item of an
// IQ, and says "result" to all.
const adminItems = 50

// request is an IQ to a room's service, and its answer.
type request struct {
	typ   string // get or set
	what  string // for errors
	query *element.Element
	items []adminItem // of a set
	// heed, if not nil, is called with a good answer by the reader, so between what the
	// room said before and after it.
	heed func(answer *element.Element)

	answer *element.Element
	err    error
}

// inRoom returns the session and the room, if we are in it.
func (l *Leg) inRoom(room bridge.Room) (*session, *muc, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.rooms[room.Name]
	if l.sess == nil || m == nil || m.room != room || !m.inside() {
		return nil, nil, bridge.ErrNotReady
	}
	return l.sess, m, nil
}

// askAll asks a room's service all at once, and waits until all is answered. Its
// error is that of the waiting: ErrNotReady if the stream ends first.
func (s *session) askAll(ctx context.Context, room string, reqs []*request) error {
	st := s.st()
	answered := make(chan struct{}, len(reqs))
	for _, r := range reqs {
		s.ask(r.typ, room, r.query, adminTimeout, func(e *element.Element, err error) {
			if r.answer, r.err = e, err; err == nil && r.heed != nil {
				r.heed(e)
			}
			answered <- struct{}{}
		})
	}
	for range reqs {
		select {
		case <-answered:
		case <-st.done:
			return bridge.ErrNotReady
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Apply carries out a step in a MUC: affiliations, then roles, then the
// configuration, then the subject, invitations and the end of the room, each only where
// all before it was done. It returns when the service has answered, with each refusal's
// condition; one to a subject or an invitation comes as SightRefused. That a room says it
// did something is not taken for true: the guard reads it back (MUCStep.Again).
func (l *Leg) Apply(ctx context.Context, room bridge.Room, c bridge.Changes) error {
	s, m, err := l.inRoom(room)
	if err != nil {
		return err
	}
	if step := c.Step; step != nil {
		var holders, visits []adminItem
		for _, h := range step.Holders {
			holders = append(holders, adminItem{holder: &h})
		}
		for _, v := range step.Visits {
			visits = append(visits, adminItem{visit: &v})
		}
		for _, items := range [][]adminItem{holders, visits} {
			if err := s.setItems(ctx, m, items); err != nil {
				return err
			}
		}
		if err := s.setFields(ctx, m, step.Fields); err != nil {
			return err
		}
		if step.Subject != nil {
			s.out.own(element.New(nsClient, "message", "to", m.room.Name, "type", "groupchat", "id", s.asideID("subject")).Add(
				element.New(nsClient, "subject").SetText(*step.Subject)))
		}
	}
	for _, jid := range c.Invite {
		s.out.own(element.New(nsClient, "message", "to", m.room.Name, "id", s.asideID("invite")).Add(
			element.New(nsMUCUser, "x").Add(element.New(nsMUCUser, "invite", "to", jid))))
	}
	return s.destroy(ctx, m, c.Destroy)
}

// destroy ends a room, for good: Prosody keeps its address closed, ejabberd lets anybody
// make it anew and own it.
func (s *session) destroy(ctx context.Context, m *muc, d *bridge.Destroy) error {
	if d == nil {
		return nil
	}
	e := element.New(nsMUCOwner, "destroy", "jid", d.Venue)
	if reason := printable(d.Reason, 300); reason != "" {
		e.Add(element.New(nsMUCOwner, "reason").SetText(reason))
	}
	r := &request{typ: "set", query: element.New(nsMUCOwner, "query").Add(e)}
	if err := s.askAll(ctx, m.room.Name, []*request{r}); err != nil {
		return err
	}
	if r.err != nil {
		return fmt.Errorf("xmpp: destroy %s: %w", m.room.Name, r.err)
	}
	return nil
}

// adminItem is one change: of an affiliation or of a role.
type adminItem struct {
	holder *policy.Holder
	visit  *policy.Visit
}

func (a adminItem) element() *element.Element {
	var e *element.Element
	reason := ""
	if h := a.holder; h != nil {
		e, reason = element.New(nsMUCAdmin, "item", "jid", h.JID, "affiliation", string(h.Is)), h.Reason
	} else {
		e, reason = element.New(nsMUCAdmin, "item", "nick", a.visit.Nick, "role", string(a.visit.Role)), a.visit.Reason
	}
	if reason = printable(reason, 300); reason != "" {
		e.Add(element.New(nsMUCAdmin, "reason").SetText(reason))
	}
	return e
}

// String says what is to change.
func (a adminItem) String() string {
	if h := a.holder; h != nil {
		return fmt.Sprintf("make %s %s", printable(h.JID, 100), h.Is)
	}
	return fmt.Sprintf("make the role of %s %s", printable(a.visit.Nick, 100), a.visit.Role)
}

func setRequest(items []adminItem) *request {
	q := element.New(nsMUCAdmin, "query")
	for _, it := range items {
		q.Add(it.element())
	}
	return &request{typ: "set", query: q, items: items}
}

// setItems changes affiliations or roles. Of several in one IQ, of which the service
// refuses one, the others are done.
func (s *session) setItems(ctx context.Context, m *muc, items []adminItem) error {
	s.leg.mu.Lock()
	each := 1
	if m.ejabberd {
		each = adminItems
	}
	s.leg.mu.Unlock()
	var errs []error
	for chunk := range slices.Chunk(items, adminItems) {
		var reqs []*request
		for of := range slices.Chunk(chunk, each) {
			reqs = append(reqs, setRequest(of))
		}
		for len(reqs) > 0 {
			if err := s.askAll(ctx, m.room.Name, reqs); err != nil {
				return err
			}
			var again []*request
			for _, r := range reqs {
				var refused *stanzaError
				if r.err != nil && len(r.items) > 1 && errors.As(r.err, &refused) {
					for i := range r.items {
						again = append(again, setRequest(r.items[i:i+1]))
					}
				} else if r.err != nil && !s.goneAnyway(m, r) {
					errs = append(errs, fmt.Errorf("xmpp: %s in %s: %w", r.items[0], m.room.Name, r.err))
				}
			}
			reqs = again
		}
	}
	return errors.Join(errs...)
}

// goneAnyway reports a kick of somebody who went by themselves, whether the room told
// us or not.
func (s *session) goneAnyway(m *muc, r *request) bool {
	v := r.items[0].visit
	var refused *stanzaError
	if v == nil || v.Role != policy.NoRole || !errors.As(r.err, &refused) {
		return false
	}
	l := s.leg
	l.mu.Lock()
	defer l.look()
	defer l.mu.Unlock()
	if refused.Condition == "item-not-found" && m.occupants[v.Nick] != nil && v.Nick != m.nick {
		l.went(m, v.Nick, mucUser{})
	}
	return m.occupants[v.Nick] == nil
}

// setFields changes fields of the configuration: it reads the whole form and returns
// it whole, so that nothing else changes.
func (s *session) setFields(ctx context.Context, m *muc, fields []policy.Field) error {
	if len(fields) == 0 {
		return nil
	}
	get := formRequest()
	if err := s.askAll(ctx, m.room.Name, []*request{get}); err != nil {
		return err
	}
	f, err := configForm(get)
	if err != nil {
		return fmt.Errorf("xmpp: read the configuration of %s: %w", m.room.Name, err)
	}
	changed := false
	for _, want := range fields {
		x := f.Field(want.Var)
		if x == nil {
			return fmt.Errorf("xmpp: %s has no %s", m.room.Name, printable(want.Var, 100))
		}
		changed = x.Set(want.Value) || changed
	}
	if !changed {
		return nil
	}
	set := &request{typ: "set", query: element.New(nsMUCOwner, "query").Add(f.Submit())}
	if err := s.askAll(ctx, m.room.Name, []*request{set}); err != nil {
		return err
	}
	if set.err != nil {
		return fmt.Errorf("xmpp: configure %s: %w", m.room.Name, set.err)
	}
	return nil
}
