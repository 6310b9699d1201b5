package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/register"
)

// This file is what the bot does for people who are new on Jabber: invitations to
// accounts and to rooms.

const (
	nsConference   = "jabber:x:conference" // XEP-0249
	nodeCommands   = "http://jabber.org/protocol/commands"
	featureMembers = "muc_membersonly"
)

var _ register.Asker = (*Leg)(nil)

// errNotOurs means that the room lets the bot invite nobody.
var errNotOurs = errors.New("the room is for members alone, and the bot is neither owner nor admin of it")

// AskIQ implements register.Asker. It fails with bridge.ErrNotReady while there is no stream.
func (l *Leg) AskIQ(ctx context.Context, typ, to string, payload *element.Element) (*element.Element, error) {
	iq, err := l.askIQ(ctx, typ, to, payload)
	if iq != nil && err != nil {
		return nil, register.RefusalOf(iq)
	}
	return iq, err
}

// askIQ asks somebody, and returns the answer. One that is an error comes with a *stanzaError.
func (l *Leg) askIQ(ctx context.Context, typ, to string, payload *element.Element) (*element.Element, error) {
	s := l.session()
	if s == nil {
		return nil, bridge.ErrNotReady
	}
	type reply struct {
		e   *element.Element
		err error
	}
	got := make(chan reply, 1)
	st := s.st()
	s.ask(typ, to, payload, adminTimeout, func(e *element.Element, err error) { got <- reply{e, err} })
	select {
	case r := <-got:
		return r.e, r.err
	case <-st.done:
		return nil, bridge.ErrNotReady
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// noCommands are the conditions by which a server says that it has no commands, or none
// for us.
var noCommands = []string{"service-unavailable", "feature-not-implemented", "item-not-found", "not-allowed", "forbidden", "not-authorized", "registration-required"}

// Invites reports whether the account's server has a command by which the bot may
// invite to accounts (XEP-0401).
func (l *Leg) Invites(ctx context.Context) (bool, error) {
	s := l.session()
	if s == nil {
		return false, bridge.ErrNotReady
	}
	iq, err := l.askIQ(ctx, "get", s.domain, element.New(nsItems, "query", "node", nodeCommands))
	var no *stanzaError
	switch {
	case errors.As(err, &no) && slices.Contains(noCommands, no.Condition):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("xmpp: ask %s for its commands: %w", s.domain, err)
	}
	q := iq.Child(nsItems, "query")
	return q != nil && slices.ContainsFunc(q.Children, func(c *element.Element) bool {
		return c.Is(nsItems, "item") && (c.Get("node") == register.NodeInvite || c.Get("node") == register.NodeCreateAccount)
	}), nil
}

// Invitation asks the account's server for an invitation to an account (XEP-0401).
func (l *Leg) Invitation(ctx context.Context) (register.Invitation, error) {
	s := l.session()
	if s == nil {
		return register.Invitation{}, bridge.ErrNotReady
	}
	return register.Invite(ctx, l, s.domain)
}

// AskIn invites a bare JID to a MUC that the bot is in: by the room itself where it is
// for members alone, which makes them one (XEP-0045 §7.8.2); else directly (XEP-0249).
func (l *Leg) AskIn(ctx context.Context, room bridge.Room, jid string) error {
	s, m, err := l.inRoom(room)
	if err != nil {
		return err
	}
	iq, err := l.askIQ(ctx, "get", room.Name, element.New(nsInfo, "query"))
	if err != nil {
		return fmt.Errorf("xmpp: ask what kind of room %s is: %w", room.Name, err)
	}
	q := iq.Child(nsInfo, "query")
	if q == nil {
		return fmt.Errorf("xmpp: %s does not say what kind of room it is", room.Name)
	}
	if !slices.ContainsFunc(q.Children, func(c *element.Element) bool { return c.Is(nsInfo, "feature") && c.Get("var") == featureMembers }) {
		s.out.own(element.New(nsClient, "message", "to", jid, "id", s.asideID("invite")).Add(element.New(nsConference, "x", "jid", room.Name)))
		return nil
	}
	l.mu.Lock()
	own := policy.Affiliation("")
	if o := m.occupants[m.nick]; o != nil {
		own = policy.Affiliation(o.is)
	}
	l.mu.Unlock()
	if own != policy.Owner && own != policy.Admin {
		return fmt.Errorf("xmpp: invite to %s: %w", room.Name, errNotOurs)
	}
	return l.Apply(ctx, room, bridge.Changes{Invite: []string{jid}})
}
