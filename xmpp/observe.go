package xmpp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
)

// maxHolders bounds each list of affiliations that is read; maxTaken the bytes of a
// stanza, so that such a list fits.
const (
	maxHolders = 10000
	maxTaken   = 2 << 20
)

const roomConfig = "http://jabber.org/protocol/muc#roomconfig"

var (
	errList    = errors.New("xmpp: not a whole list of affiliations")
	errChanged = errors.New("xmpp: the lists changed while they were read")
)

func formRequest() *request {
	return &request{typ: "get", what: "the configuration", query: element.New(nsMUCOwner, "query")}
}

// configForm is the room's configuration in an answer.
func configForm(r *request) (*form.Form, error) {
	if r.err != nil {
		return nil, r.err
	}
	f, err := form.Parse(r.answer.Child(nsMUCOwner, "query").Child(nsForm, "x"))
	if err == nil && f.Kind != roomConfig {
		err = fmt.Errorf("%w: it is of another type", form.Err)
	}
	return f, err
}

// listed are the affiliations that a room keeps lists of.
var listed = [...]policy.Affiliation{policy.Owner, policy.Admin, policy.Member, policy.Outcast}

// Observe reads a MUC's configuration and its four lists, and adds who is there, as
// presences tell and the room's lists of roles. All of it is whole, or there is an error. Where the bot is not owner, nobody shows it the
// room: Holds is false then, and beside who is there only its own affiliation is told.
func (l *Leg) Observe(ctx context.Context, room bridge.Room) (bridge.Observed, error) {
	var out bridge.Observed
	s, m, err := l.inRoom(room)
	if err != nil {
		return out, err
	}
	own := l.whoIsThere(m, &out)
	if own != policy.Owner {
		if own != "" && own != policy.NoOne {
			out.MUC.Affiliations = []policy.Holder{{JID: s.bare, Is: own}}
		}
		return out, nil
	}
	shut := false // the reader's
	config := formRequest()
	config.heed = func(e *element.Element) {
		f, err := form.Parse(e.Child(nsMUCOwner, "query").Child(nsForm, "x"))
		shut = err == nil && f.Field(policy.FieldMembersOnly).Value() == "1"
	}
	reqs := []*request{config}
	for _, is := range listed {
		q := element.New(nsMUCAdmin, "query").Add(element.New(nsMUCAdmin, "item", "affiliation", string(is)))
		reqs = append(reqs, &request{typ: "get", what: "the list of " + string(is) + "s", query: q})
	}
	for _, role := range []policy.Role{policy.Moderator, policy.Participant, policy.Visitor} {
		reqs = append(reqs, &request{
			typ: "get", query: element.New(nsMUCAdmin, "query").Add(element.New(nsMUCAdmin, "item", "role", string(role))),
			heed: func(e *element.Element) { l.count(m, role, e, shut) },
		})
	}
	if err := s.askAll(ctx, room.Name, reqs); err != nil {
		return bridge.Observed{}, err
	}
	broken := func(r *request, err error) (bridge.Observed, error) {
		return bridge.Observed{}, fmt.Errorf("xmpp: read %s of %s: %w", r.what, room.Name, err)
	}
	f, err := configForm(reqs[0])
	if err != nil {
		return broken(reqs[0], err)
	}
	out.MUC.Config = configOf(f)
	for i, is := range listed {
		r := reqs[i+1]
		if r.err != nil {
			return broken(r, r.err)
		}
		if out.MUC.Affiliations, err = appendHolders(out.MUC.Affiliations, r.answer, is); err != nil {
			return broken(r, err)
		}
	}
	if err := distinct(out.MUC.Affiliations); err != nil {
		return broken(reqs[1], err)
	}
	out.MUCCaps = l.capsOf(m, f)
	l.mu.Lock()
	out.MUC.Subject = m.subject
	l.mu.Unlock()
	out.Holds = l.whoIsThere(m, &out) == policy.Owner && slices.ContainsFunc(out.MUC.Affiliations, func(h policy.Holder) bool {
		return h.JID == s.bare && h.Is == policy.Owner
	})
	return out, nil
}

// whoIsThere fills in who is there now, and returns our own affiliation.
func (l *Leg) whoIsThere(m *muc, out *bridge.Observed) (own policy.Affiliation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out.MUC.Occupants = out.MUC.Occupants[:0]
	for _, nick := range slices.Sorted(maps.Keys(m.occupants)) {
		o := m.occupants[nick]
		if nick == m.nick {
			own = policy.Affiliation(o.is)
		}
		out.MUC.Occupants = append(out.MUC.Occupants, policy.Occupant{Nick: nick, JID: o.jid, Is: policy.Affiliation(o.is), Role: policy.Role(o.role)})
	}
	return own
}

// count compares who has a role, as the room lists it (XEP-0045 §8.5, §9.8), with what
// presences told: Prosody 0.12 tells nobody whom it puts out as it turns members-only
// (shut), a room may be set to show no visitors, and ejabberd 23.01 shows who has become
// moderator only the JIDs of those who come next. A list that a room does not give, or
// that is not whole, changes nothing.
func (l *Leg) count(m *muc, role policy.Role, answer *element.Element, shut bool) {
	q := answer.Child(nsMUCAdmin, "query")
	if q == nil || len(q.Children) > maxOccupants {
		return
	}
	there := map[string]mucUser{}
	for _, c := range q.Children {
		nick := keptName(c.Get("nick"))
		if !c.Is(nsMUCAdmin, "item") || nick == "" || c.Get("role") != string(role) {
			return
		}
		u := mucUser{role: string(role), is: keptWord(c.Get("affiliation"), affiliationNames)}
		u.jid, _ = splitJID(keptName(c.Get("jid")))
		there[nick] = u
	}
	l.mu.Lock()
	var gone []bridge.Event
	for _, nick := range slices.Sorted(maps.Keys(m.occupants)) {
		if _, listed := there[nick]; listed || nick == m.nick || m.occupants[nick].role != string(role) {
			continue
		}
		gone = append(gone, bridge.Event{Kind: bridge.Parted, Room: m.room, Who: l.occupantSender(m, nick)})
		u := mucUser{}
		if shut && m.occupants[nick].is == string(policy.NoOne) {
			u.codes = []string{"322"}
		}
		l.went(m, nick, u)
	}
	for _, nick := range slices.Sorted(maps.Keys(there)) {
		switch o := m.occupants[nick]; {
		case o == nil && m.inside():
			l.present(m, nick, there[nick])
		case o != nil && o.jid == "" && there[nick].jid != "":
			u := there[nick]
			u.role, u.is = o.role, o.is
			l.present(m, nick, u)
		}
	}
	l.mu.Unlock()
	l.look()
	for _, e := range gone {
		l.notify(e)
	}
}

// configOf is what the fields say, as policy compares it.
func configOf(f *form.Form) map[string]string {
	out := make(map[string]string, len(f.Fields))
	for i := range f.Fields {
		if x := &f.Fields[i]; x.Name != "FORM_TYPE" {
			out[strings.Clone(x.Name)] = strings.Clone(x.Value())
		}
	}
	return out
}

// appendHolders reads one list (XEP-0045 §9.5 and the like). An item that is not of
// the list, or of nobody, makes all of it worthless.
func appendHolders(to []policy.Holder, answer *element.Element, is policy.Affiliation) ([]policy.Holder, error) {
	q := answer.Child(nsMUCAdmin, "query")
	if q == nil {
		return nil, fmt.Errorf("%w: there is none", errList)
	}
	n := 0
	for _, c := range q.Children {
		if !c.Is(nsMUCAdmin, "item") {
			continue
		}
		bare, _ := splitJID(keptName(c.Get("jid")))
		if n++; n > maxHolders {
			return nil, fmt.Errorf("%w: more than %d", errList, maxHolders)
		}
		if bare == "" || c.Get("affiliation") != string(is) {
			return nil, fmt.Errorf("%w: an item does not belong there", errList)
		}
		h := policy.Holder{JID: bare, Is: is}
		if r := c.Child(nsMUCAdmin, "reason"); r != nil {
			h.Reason = printable(r.Text, 200)
		}
		to = append(to, h)
	}
	return to, nil
}

// distinct refuses lists in which somebody stands twice: they were changed meanwhile.
func distinct(all []policy.Holder) error {
	seen := make(map[string]bool, len(all))
	for _, h := range all {
		if seen[h.JID] {
			return errChanged
		}
		seen[h.JID] = true
	}
	return nil
}

// ejabberdFields are such as only ejabberd's form has, of 23.01 and later.
var ejabberdFields = []string{
	"allow_visitor_nickchange", "muc#roomconfig_allowvisitornickchange", "members_by_default", "muc#roomconfig_membersbydefault",
}

// capsOf tells by its form what serves the room: of rooms, ejabberd answers no version.
func (l *Leg) capsOf(m *muc, f *form.Form) policy.MUCCaps {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range ejabberdFields {
		m.ejabberd = m.ejabberd || f.Field(name) != nil
	}
	return policy.MUCCaps{Ejabberd: m.ejabberd, Items: adminItems}
}
