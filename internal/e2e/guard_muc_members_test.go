//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// botAsked is what the bot asked of the room about its lists and configuration, in order:
// "list" for a list read, "alice member" for one who becomes that, "closed" for the switch.
func botAsked(s *lab.XMPPServer) (out []string) {
	for _, st := range s.Stanzas() {
		x := st.XML
		if !st.In || !strings.HasPrefix(x, "<iq") || lab.Attr(x, "to") != devRoomJID || !strings.Contains(x, "muc#admin") && !strings.Contains(x, "muc#owner") {
			continue
		}
		switch set := lab.Attr(x, "type") == "set"; {
		case set && strings.Contains(x, "muc#roomconfig_membersonly"):
			_, value, _ := strings.Cut(x, "muc#roomconfig_membersonly")
			if _, value, _ = strings.Cut(value, "<value>"); strings.HasPrefix(value, "1") || strings.HasPrefix(value, "true") {
				out = append(out, "closed")
			}
		case set:
			for _, item := range strings.Split(x, "<item ")[1:] {
				item = "<item " + strings.SplitN(item, ">", 2)[0] + ">"
				out = append(out, lab.Attr(item, "jid")+" "+lab.Attr(item, "affiliation"))
			}
		case strings.Contains(x, "affiliation=") && strings.Contains(x, "member"):
			out = append(out, "list")
		}
	}
	return out
}

// Scenario: a room with people in it becomes one of members. On the wire (of Prosody, which
// shows it whole) its list is written, read back, and only then is the door shut. Where that
// would put out more than may go at once the room stays as it is: that is told, and the
// difference shown, until the rules let them stay.
func TestMembersOnlyOnTheWire(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		s.AddUser("alice", "carol", "mallory", "gast1", "gast2")
		few := strings.Replace(guardedRoom, "count: 20, share: 100%", "count: 1, share: 100%", 1)
		h.config(few)
		carol := h.owner(s, "carol", devRoomJID)
		users := map[string]*lab.XMPPUser{}
		for _, name := range []string{"alice", "gast1", "gast2"} { // who is there before the bot is no intruder
			u := h.XMPPUser(s, name, "")
			u.Presence("")
			u.JoinRoom(devRoomJID, name)
			users[name] = u
		}
		h.start()
		h.guardShows("status", "office: dry run", "to change: ")

		t.Log("too many would go")
		h.ok("guard", "enable", "office")
		h.guardShows("status", "is left as it is: ", "to change: muc#roomconfig_membersonly=1", "! bot/dev@rooms.localhost is left as it is")
		if got := carol.configured(devRoomJID, "membersonly"); got != "0" {
			t.Errorf("members-only is %q", got)
		}

		t.Log("the rules let them stay")
		h.config(strings.Replace(few, "people:\n", "people:\n  gast1: {jids: [gast1@localhost], groups: [staff]}\n  gast2: {jids: [gast2@localhost], groups: [staff]}\n", 1))
		h.ok("reload")
		mallory := h.XMPPUser(s, "mallory", "")
		comesTo(t, "the door", func() string { return seat(mallory, "mallory") }, "registration-required")
		h.guardHides("status", "is left as it is")
		for name, u := range users {
			for _, st := range u.Stanzas() {
				if strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == "unavailable" && lab.Attr(st, "from") == devRoomJID+"/"+name {
					t.Errorf("%s was put out: %s", name, st)
				}
			}
		}
		if strings.HasSuffix(t.Name(), "/ejabberd") {
			return // whose log of stanzas leaves some out
		}
		asked := botAsked(s)
		at := func(what string) (last int) {
			last = -1
			for i, x := range asked {
				if x == what {
					last = i
				}
			}
			return last
		}
		for _, name := range []string{"alice", "gast1", "gast2"} {
			member, closed, read := at(name+"@localhost member"), at("closed"), false
			for i := member + 1; member >= 0 && i < closed; i++ {
				read = read || asked[i] == "list"
			}
			if !read {
				t.Errorf("%s is not written, read back, and then the door shut, in: %q", name, asked)
			}
		}
	})
}
