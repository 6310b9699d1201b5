//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	xotr "golang.org/x/crypto/otr"

	"drawbridge/internal/lab"
)

const clubRoom = "club@rooms.localhost"

// standing has a hall for people with an encrypted session, and a club whose members are heard.
const standing = `
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, otr: {start: peer}}
store: {path: store}
people:
  dora: {jids: [dora@localhost], otr: ["${dora}"]}
  carol: {jids: [carol@localhost], groups: [ops]}
bridges:
  dev:
    xmpp: {account: bot, people: [dora], rooms: [{room: away@rooms.localhost, require: clear}]}
    schemes: [otr]
    announce: off
rooms:
  hall: {xmpp: {account: bot, room: dev@rooms.localhost}, default: allow, dry_run: false}
  club: {xmpp: {account: bot, room: club@rooms.localhost}, default: allow, dry_run: false}
rules:
  - {id: sessions, rooms: [hall], do: [join, speak], if: {below: verified}, effect: quarantine}
  - {id: strangers, rooms: [club], do: [join, speak], if: {affiliation: none, role: [participant, visitor]}, effect: quarantine}
  - {id: ops, rooms: [club], do: op, who: {groups: [ops]}, effect: allow}
safety: {max_removals: {count: 20, share: 100%}}
`

// Scenario: who has no OTR session of a verified key is not heard in the hall, is told to
// begin one, and is heard while it stands and the key counts. In the club members are
// heard, as soon as somebody makes one. A ban holds in the hall whose strangers had their
// voice taken: ejabberd lets them back in where the room is moderated.
func TestGuardedByStanding(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, h *house, s *lab.XMPPServer) {
		dora := h.scriptedOTR(s, "dora", 0)
		h.config(standing)
		h.start()
		h.guardShows("status", devRoom+": held", clubRoom+": held")

		t.Log("a session")
		seated := h.XMPPUser(s, "dora", "room")
		seated.Presence("")
		seated.JoinRoom(devRoom, "dora")
		roleOf := func() string { return role(seated, devRoom, "dora") }
		comesTo(t, "dora's role without a session", roleOf, "visitor")
		seated.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<message") && lab.Attr(st, "from") == devRoom+"/bridge" && strings.Contains(st, "encrypted chat (OTR or OpenPGP)")
		}, "to be told what to do")
		talks := func() {
			dora.login(s)
			dora.send(xotr.QueryMessage)
			dora.sealed()
		}
		talks()
		comesTo(t, "dora's role with one", roleOf, "participant")
		h.guardSays([]string{"explain", "dora", "hall"}, "affiliation=none  role=participant  encryption=verified")
		dora.Close()
		comesTo(t, "dora's role as the client went", roleOf, "visitor")
		talks()
		comesTo(t, "dora's role with another", roleOf, "participant")
		h.ok("trust", "revoke", "dora", h.vars["dora"])
		comesTo(t, "dora's role without the key", roleOf, "visitor")

		t.Log("a member")
		mallory, carol := h.XMPPUser(s, "mallory", ""), h.XMPPUser(s, "carol", "")
		for name, u := range map[string]*lab.XMPPUser{"mallory": mallory, "carol": carol} {
			u.Presence("")
			u.JoinRoom(clubRoom, name)
		}
		comesTo(t, "mallory's role as a stranger", func() string { return role(mallory, clubRoom, "mallory") }, "visitor")
		carol.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == clubRoom+"/carol" && strings.Contains(st, "affiliation='admin'")
		}, "to be admin, as the rules say")
		carol.Send("<iq type='set' id='join-us' to='" + clubRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='mallory@localhost' affiliation='member'/></query></iq>")
		comesTo(t, "mallory's role as a member", func() string { return role(mallory, clubRoom, "mallory") }, "participant")
		h.guardSays([]string{"explain", "mallory", "club"}, "affiliation=member  role=participant")
		h.file("milder.yaml", os.Expand(strings.Replace(standing, "id: strangers, rooms: [club], do: [join, speak]", "id: strangers, rooms: [club], do: [speak]", 1), func(name string) string { return h.vars[name] }))
		for _, part := range []string{"join -> quarantine by strangers", "now: allow"} {
			h.guardSays([]string{"simulate", "milder.yaml", "--room", "club"}, part)
		}

		t.Log("a ban after a quarantine")
		if got := seat(mallory, "mallory"); got != "in" {
			t.Fatalf("mallory is answered %q", got)
		}
		comesTo(t, "mallory's role", func() string { return role(mallory, devRoom, "mallory") }, "visitor")
		h.ok("guard", "ban", "mallory@localhost", "--room", "hall", "--for", "1h")
		out(mallory, "mallory", "301")
		comesTo(t, "mallory, banned, is answered", func() string { return seat(mallory, "mallory") }, "forbidden")
		if strings.HasSuffix(t.Name(), "/ejabberd") {
			h.guardShows("status", "cannot be kept here: silence")
		}
		for range 3 {
			if got := seat(mallory, "mallory"); got != "forbidden" {
				t.Errorf("mallory, banned, is answered %q", got)
			}
		}
	})
}
