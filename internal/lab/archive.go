package lab

import (
	"fmt"
	"strings"
)

// Archive returns what an archive (XEP-0313) holds, oldest first: that of a room,
// or with "" the user's own. They are the forwarded messages, as raw stanzas.
func (u *XMPPUser) Archive(room string) []string {
	u.lab.Helper()
	var out []string
	to, after := "", ""
	if room != "" {
		to = " to='" + Escape(room) + "'"
	}
	for page := 0; ; page++ {
		u.ids++
		id := fmt.Sprintf("mam%d", u.ids)
		u.Send("<iq type='set' id='" + id + "'" + to + "><query xmlns='urn:xmpp:mam:2' queryid='" + id + "'>" +
			"<set xmlns='http://jabber.org/protocol/rsm'><max>50</max>" + after + "</set></query></iq>")
		fin := u.Expect(func(st string) bool { return strings.HasPrefix(st, "<iq") && Attr(st, "id") == id }, "a page of the archive")
		if Attr(fin, "type") != "result" {
			u.lab.Fatalf("lab: the archive of %s%s: %s", u.JID, room, fin)
		}
		for _, st := range u.Stanzas() {
			if strings.HasPrefix(st, "<message") && (strings.Contains(st, "queryid='"+id+"'") || strings.Contains(st, `queryid="`+id+`"`)) {
				_, inner, _ := strings.Cut(st, "<forwarded")
				if i := strings.Index(inner, "<message"); i >= 0 {
					inner, _, _ = strings.Cut(inner[i:], "</forwarded>")
					out = append(out, inner)
				}
			}
		}
		last, more := Child(fin, "last")
		if !more || strings.Contains(fin, "complete='true'") || strings.Contains(fin, `complete="true"`) {
			return out
		}
		after = "<after>" + Escape(last) + "</after>"
	}
}
