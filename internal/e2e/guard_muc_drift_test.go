//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

const (
	devRoomJID   = "dev@rooms.localhost"
	lobbyRoomJID = "lobby@rooms.localhost"
)

// guardedRooms is a closed room whose affiliations are kept, and an open one with a
// subject that is.
const guardedRooms = officeRoom + `    dry_run: false
  hall:
    xmpp: {account: bot, room: lobby@rooms.localhost}
    default: allow
    lock: {topic: true}
    joins: {count: 4, per: 1h, for: 1h}
    dry_run: false
rules:
  - {id: staff-in, rooms: [office], do: [join, speak], who: {groups: [staff]}, effect: allow}
  - {id: ops-op, do: [op], who: {groups: [ops]}, effect: allow}
safety: {max_removals: {count: 20, share: 100%}}
`

// owner is somebody who owns rooms and asks their service as owners do.
type owner struct {
	*lab.XMPPUser
	h *house
	n int
}

// owner makes rooms and gives the bot ownership of them, too.
func (h *house) owner(s *lab.XMPPServer, name string, rooms ...string) *owner {
	h.t.Helper()
	o := &owner{XMPPUser: h.XMPPUser(s, name, ""), h: h}
	o.Presence("")
	for _, room := range rooms {
		o.JoinRoom(room, name)
		o.iq(room, "set", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>")
		o.make(room, botJID, "owner")
	}
	return o
}

// iq asks a room, which must answer well, and returns that.
func (o *owner) iq(room, typ, query string) string {
	o.h.t.Helper()
	o.n++
	id := fmt.Sprint("owner-", o.n)
	o.Send("<iq type='" + typ + "' id='" + id + "' to='" + room + "'>" + query + "</iq>")
	st := o.Expect(func(st string) bool { return strings.HasPrefix(st, "<iq") && lab.Attr(st, "id") == id }, "an answer")
	if lab.Attr(st, "type") != "result" {
		o.h.t.Fatalf("%s is refused: %s", query, st)
	}
	return st
}

// make gives somebody an affiliation.
func (o *owner) make(room, jid, is string) {
	o.h.t.Helper()
	o.iq(room, "set", "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='"+jid+"' affiliation='"+is+"'/></query>")
}

// configure sets a field of a room's configuration.
func (o *owner) configure(room, field, value string) {
	o.h.t.Helper()
	o.iq(room, "set", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field><field var='muc#roomconfig_"+field+"'><value>"+value+"</value></field></x></query>")
}

// configured returns a field of a room's configuration.
func (o *owner) configured(room, field string) string {
	o.h.t.Helper()
	form := o.iq(room, "get", "<query xmlns='http://jabber.org/protocol/muc#owner'/>")
	for _, part := range strings.Split(form, "<field ")[1:] {
		if strings.Contains(part, "muc#roomconfig_"+field+"'") || strings.Contains(part, "muc#roomconfig_"+field+`"`) {
			if _, options, ok := strings.Cut(part, "</option>"); ok {
				part = part[:strings.Index(part, "<option")] + options[strings.LastIndex(options, "</option>")+1:]
			}
			_, value, _ := strings.Cut(part, "<value>")
			value, _, _ = strings.Cut(value, "</value>")
			return map[string]string{"true": "1", "false": "0", "": "0"}[value] + strings.TrimPrefix(strings.TrimPrefix(value, "true"), "false")
		}
	}
	return ""
}

// holders returns who has an affiliation.
func (o *owner) holders(room, is string) (out []string) {
	o.h.t.Helper()
	list := o.iq(room, "get", "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='"+is+"'/></query>")
	for _, part := range strings.Split(list, "<item ")[1:] {
		out = append(out, lab.Attr("<item "+strings.SplitN(part, ">", 2)[0]+">", "jid"))
	}
	slices.Sort(out)
	return out
}

// comesTo waits until something is so.
func comesTo[T comparable](t *testing.T, what string, get func() T, want T) {
	t.Helper()
	var got T
	if !lab.Poll(wait, func() bool { got = get(); return got == want }) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// subject is what a room's subject is, as somebody was told last.
func subject(u *lab.XMPPUser, room string) string {
	out := ""
	for _, st := range u.Stanzas() {
		if strings.HasPrefix(st, "<message") && strings.HasPrefix(lab.Attr(st, "from"), room) && strings.Contains(st, "<subject") && !strings.Contains(st, "<body") {
			out, _ = lab.Child(st, "subject")
		}
	}
	return out
}

// Scenario: an owner beside the bot changes what the guard keeps: the configuration,
// who is what, the subject. It is set back, and told; who does it again and again is told of,
// and left alone for now.
func TestGuardedMUCDrift(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		carol := h.owner(s, "carol", devRoomJID, lobbyRoomJID)
		carol.make(lobbyRoomJID, "alice@localhost", "admin")
		alice := h.XMPPUser(s, "alice", "")
		alice.Presence("")
		alice.JoinRoom(lobbyRoomJID, "alice")
		carol.Send("<message type='groupchat' to='" + lobbyRoomJID + "'><subject>the plans</subject></message>")
		comesTo(t, "the subject", func() string { return subject(alice, lobbyRoomJID) }, "the plans")
		whois := carol.configured(devRoomJID, "whois")
		h.config(guardedRooms)
		h.start()
		h.guardShows("status", "office: armed", "dev@rooms.localhost: held", "lobby@rooms.localhost: held")
		comesTo(t, "members-only", func() string { return carol.configured(devRoomJID, "membersonly") }, "1")
		comesTo(t, "who may set the subject", func() string { return carol.configured(lobbyRoomJID, "changesubject") }, "0")

		t.Log("the configuration")
		other := map[string]string{"moderators": "anyone", "anyone": "moderators"}[whois]
		for _, x := range []struct{ field, to, back string }{{"whois", other, whois}, {"membersonly", "0", "1"}, {"moderatedroom", "1", "0"}} {
			carol.configure(devRoomJID, x.field, x.to)
			comesTo(t, x.field, func() string { return carol.configured(devRoomJID, x.field) }, x.back)
		}

		t.Log("affiliations")
		carol.make(devRoomJID, "mallory@localhost", "admin")
		comesTo(t, "admins", func() string { return strings.Join(carol.holders(devRoomJID, "admin"), " ") }, "")
		carol.make(devRoomJID, "alice@localhost", "admin")
		comesTo(t, "members", func() string { return strings.Join(carol.holders(devRoomJID, "member"), " ") }, "alice@localhost")
		h.logs(`mallory@localhost was made admin of bot/dev@rooms.localhost`)
		carol.make(devRoomJID, "mallory@localhost", "owner")
		h.guardShows("status", "mallory@localhost is owner too", "drop-owner needs two admins")
		carol.make(devRoomJID, "mallory@localhost", "none")
		h.guardHides("status", "mallory@localhost is owner too")

		t.Log("the subject")
		alice.Send("<message type='groupchat' to='" + lobbyRoomJID + "'><subject>sold</subject></message>")
		comesTo(t, "the subject that carol sees", func() bool {
			return strings.Contains(strings.Join(carol.Stanzas(), ""), "<subject>sold<")
		}, true)
		comesTo(t, "the subject", func() string { return subject(carol.XMPPUser, lobbyRoomJID) }, "the plans")
		carol.Send("<message type='groupchat' to='" + lobbyRoomJID + "'><subject>other plans</subject></message>")
		comesTo(t, "the subject", func() string { return subject(alice, lobbyRoomJID) }, "other plans")
		alice.Send("<message type='groupchat' to='" + lobbyRoomJID + "'><subject>sold again</subject></message>")
		comesTo(t, "the subject that carol sees", func() bool {
			return strings.Contains(strings.Join(carol.Stanzas(), ""), "<subject>sold again<")
		}, true)
		comesTo(t, "the subject", func() string { return subject(carol.XMPPUser, lobbyRoomJID) }, "other plans")

		t.Log("a war")
		comesTo(t, "the alarm about a war", func() bool {
			carol.configure(lobbyRoomJID, "changesubject", "1")
			return strings.Contains(h.ok("guard", "status"), "sets muc#roomconfig_changesubject back again and again")
		}, true)
	})
}

// logs waits until the bot's log holds part.
func (h *house) logs(part string) {
	h.t.Helper()
	if !lab.Poll(wait, func() bool { return strings.Contains(h.log(), part) }) {
		h.t.Fatalf("the log never holds %q", part)
	}
}
