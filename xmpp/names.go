package xmpp

import "strings"

// Namespaces.
const (
	nsClient   = "jabber:client"
	nsRoster   = "jabber:iq:roster"
	nsVersion  = "jabber:iq:version"
	nsLast     = "jabber:iq:last"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsPing     = "urn:xmpp:ping"
	nsTime     = "urn:xmpp:time"
	nsInfo     = "http://jabber.org/protocol/disco#info"
	nsItems    = "http://jabber.org/protocol/disco#items"
	nsCaps     = "http://jabber.org/protocol/caps"
	nsMUC      = "http://jabber.org/protocol/muc"
	nsMUCUser  = "http://jabber.org/protocol/muc#user"
	nsMUCOwner = "http://jabber.org/protocol/muc#owner"
	nsForm     = "jabber:x:data"
	nsDelay    = "urn:xmpp:delay"
	nsSID      = "urn:xmpp:sid:0"
	nsStableID = "http://jabber.org/protocol/muc#stable_id"
	nsMUCAdmin = "http://jabber.org/protocol/muc#admin"
	nsOccupant = "urn:xmpp:occupant-id:0"
	nsMark     = "urn:drawbridge:0" // marks a line that a Drawbridge put into a room
	nsReceipts = "urn:xmpp:receipts"
	nsMAM      = "urn:xmpp:mam:2"
	nsRSM      = "http://jabber.org/protocol/rsm"
	nsForward  = "urn:xmpp:forward:0"
	nsMarkers  = "urn:xmpp:chat-markers:0"
	nsHints    = "urn:xmpp:hints"
	nsEME      = "urn:xmpp:eme:0"
	nsCarbons  = "urn:xmpp:carbons:2"
	nsSigned   = "jabber:x:signed"
)

// splitJID cuts a JID as the server stamped it into its bare part, in lower case
// (the only folding that servers leave undone in the ASCII that configured JIDs
// are compared in), and its resource.
func splitJID(full string) (bare, resource string) {
	bare, resource, _ = strings.Cut(full, "/")
	return strings.ToLower(bare), resource
}

// printable makes foreign words fit for a status or log line: one line without
// control or bidi characters, at most max bytes.
func printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0:
			return ' '
		case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	s = strings.TrimSpace(s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}
